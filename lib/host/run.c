// SPDX-License-Identifier: MIT
/*
 * One run: the request, then a loop over the run's socket and the captured streams until the holder
 * says how the command ended. Nothing waits for the end of a stream, which somebody else may hold
 * open.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"
#include "config/config.h"
#include "host/host.h"

/* After the kill of a run, until its end must have come: only what is stuck in the kernel takes
 * longer. */
#define KILL_GRACE_NS 10000000000ULL

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define STRINGS_MAX (64U << 20)

struct pump {
	struct guest *guest;
	const struct guest_command *command;
	int socket;
	struct output outputs[2];
	uint64_t started, deadline;
	uint32_t cause; /* ours: why we killed it; 0: we did not */
	int failure;	/* -errno of ours that ends the run, after a kill */
	struct wire_ended ended;
};

static const char *const *default_environment(uint32_t uid)
{
	static const char *const root[] = {
		"PATH=" DEFAULT_PATH, "HOME=/root", "USER=root", "LOGNAME=root",
		"LANG=C.UTF-8",	      "TERM=dumb",  NULL
	};
	static const char *const other[] = {
		"PATH=" DEFAULT_PATH, "HOME=/home/guest", "USER=guest", "LOGNAME=guest",
		"LANG=C.UTF-8",	      "TERM=dumb",	  NULL
	};

	return uid == 0 ? root : other;
}

static const char *search_path(const char *const *envp)
{
	for (; *envp; envp++)
		if (strncmp(*envp, "PATH=", 5) == 0)
			return *envp + 5;
	return DEFAULT_PATH;
}

static size_t strings_size(const char *const *strings, uint32_t *ret_count)
{
	size_t size = 0;

	for (*ret_count = 0; strings[*ret_count]; ++*ret_count)
		size += strlen(strings[*ret_count]) + 1;
	return size;
}

static char *put_string(char *to, const char *string)
{
	size_t size = strlen(string) + 1;

	memcpy(to, string, size);
	return to + size;
}

/* cwd, search path, argv and envp behind the struct or, if they are long, in a memfd. */
static int add_strings(struct request *request, struct wire_run *run, const struct guest *guest,
		       const struct guest_command *command, struct guest_error *err)
{
	const char *const *envp = command->envp ? command->envp : default_environment(guest->uid);
	const char *path = search_path(envp);
	size_t size = strlen(command->cwd) + 1 + strlen(path) + 1;
	cleanup_free char *strings = NULL;
	char *at;
	int fd, r;

	size += strings_size(command->argv, &run->argc);
	size += strings_size(envp, &run->envc);
	if (size > STRINGS_MAX)
		return error_make(err, E2BIG, GUEST_STAGE_EXECVE, "argv and envp");
	strings = malloc(size);
	if (!strings)
		return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "argv and envp");
	at = put_string(put_string(strings, command->cwd), path);
	for (uint32_t i = 0; i < run->argc; i++)
		at = put_string(at, command->argv[i]);
	for (uint32_t i = 0; i < run->envc; i++)
		at = put_string(at, envp[i]);
	run->strings_size = size;
	if (size <= WIRE_INLINE) {
		r = request_add(request, strings, size, err);
		return r < 0 ? r : 0;
	}
	run->flags |= WIRE_RUN_MEMFD;
	fd = fd_sealed_copy("guest-argv", strings, size, false);
	if (fd < 0)
		return error_make(err, -fd, GUEST_STAGE_MEMORY, "memfd of argv and envp");
	r = request_add_fd(request, fd, err);
	return r < 0 ? r : 0;
}

static int add_duplicate(struct request *request, int fd, const char *name, struct guest_error *err)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3), flags, r;
	struct stat st;

	flags = own < 0 ? -1 : fcntl(own, F_GETFL);
	if (flags < 0 || fstat(own, &st) < 0) {
		fd_close(&own);
		return error_make(err, errno, GUEST_STAGE_CONFIG, "%s", name);
	}
	/* a directory would be a way out: "/proc/self/fd/0/.." is the host's */
	if (S_ISDIR(st.st_mode) || flags & O_PATH) {
		fd_close(&own);
		return error_make(err, S_ISDIR(st.st_mode) ? EISDIR : EBADF, GUEST_STAGE_CONFIG,
				  "%s", name);
	}
	r = request_add_fd(request, own, err);
	return r < 0 ? r : 0;
}

static int add_stdio(struct request *request, struct wire_run *run,
		     const struct guest_command *command, struct guest_error *err)
{
	int r = 0;

	run->has_stdin = command->stdin_fd >= 0 || command->stdin_size > 0;
	run->has_stdout = command->stdout_fd >= 0;
	run->has_stderr = command->stderr_fd >= 0;
	if (command->flags & GUEST_MERGE_STDERR)
		run->flags |= WIRE_RUN_MERGE_STDERR;
	if (command->stdin_fd >= 0) {
		r = add_duplicate(request, command->stdin_fd, "stdin_fd", err);
	} else if (command->stdin_size > 0) {
		r = fd_sealed_copy("guest-stdin", command->stdin_data, command->stdin_size, false);
		r = r < 0 ? error_make(err, -r, GUEST_STAGE_MEMORY, "memfd of stdin") :
			    request_add_fd(request, r, err);
	}
	if (r >= 0 && run->has_stdout)
		r = add_duplicate(request, command->stdout_fd, "stdout_fd", err);
	if (r >= 0 && run->has_stderr)
		r = add_duplicate(request, command->stderr_fd, "stderr_fd", err);
	return r < 0 ? r : 0;
}

static int send_request(struct pump *pump, struct guest_error *err)
{
	struct wire_run run = { 0 };
	struct request request;
	int sockets[2], r;

	r = request_init(&request, sizeof(run), err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
		request_clear(&request);
		return error_make(err, errno, GUEST_STAGE_FORK, "socketpair");
	}
	pump->socket = fd_above_stdio(sockets[0]);
	sockets[1] = fd_above_stdio(sockets[1]);
	request_add_fd(&request, sockets[1], NULL);
	if (pump->socket < 0 || sockets[1] < 0)
		r = error_make(err, errno, GUEST_STAGE_FORK, "socketpair");
	if (r == 0)
		r = add_stdio(&request, &run, pump->command, err);
	if (r == 0)
		r = add_strings(&request, &run, pump->guest, pump->command, err);
	if (r == 0) {
		memcpy(request.bytes, &run, sizeof(run));
		r = host_send(pump->guest->socket, &request, WIRE_RUN, pump->deadline);
		if (r == -EPIPE)
			error_text(err, EPIPE, GUEST_STAGE_HANDLE,
				   "the guest is lost: its init process was killed");
		else if (r < 0)
			error_make(err, -r, GUEST_STAGE_FORK, "talking to the guest");
	}
	request_clear(&request);
	return r;
}

/* End the run, for a reason of ours; only the first counts. */
static void kill_run(struct pump *pump, uint32_t cause, int failure)
{
	if (pump->cause || pump->failure)
		return;
	pump->cause = cause;
	pump->failure = failure;
	pump->deadline = sys_now_ns() + KILL_GRACE_NS;
	(void)wire_send_plain(pump->socket, WIRE_KILL);
}

/* on_output wants no more: it is not called again. */
static void cancel(struct pump *pump)
{
	kill_run(pump, GUEST_CANCELLED, 0);
	for (int i = 0; i < 2; i++)
		fd_close(&pump->outputs[i].fd);
}

static void judge(struct pump *pump, int event)
{
	if (event < 0)
		kill_run(pump, 0, event);
	else if (event == OUTPUT_OVER)
		kill_run(pump, GUEST_OUTPUT_LIMIT, 0);
	else if (event == OUTPUT_CANCEL)
		cancel(pump);
}

static int take_pipes(struct pump *pump, int *fds, size_t count)
{
	size_t n = 0;

	for (int i = 0; i < 2; i++) {
		bool wanted = pump->outputs[i].stream != 0;

		if (!wanted || n == count)
			continue;
		pump->outputs[i].fd = fds[n++];
		if (fcntl(pump->outputs[i].fd, F_SETFL, O_NONBLOCK) < 0)
			return -errno;
	}
	return n == count ? 0 : -EPROTO;
}

static int stuck(struct pump *pump, struct guest_error *err)
{
	__atomic_store_n(&pump->guest->broken, 1, __ATOMIC_RELAXED);
	return error_text(
		err, ETIMEDOUT, GUEST_STAGE_HANDLE,
		"a process outlived its kill, stuck in the kernel (a hung network file system?); shut the "
		"guest down");
}

/* A message on the run's socket. 1: the run has ended; 0: go on; or an error of the call. */
static int take_message(struct pump *pump, struct guest_error *err)
{
	union {
		struct wire_ended ended;
		struct wire_failed failed;
	} message;
	int fds[WIRE_FDS_MAX], r;
	size_t count = 0;

	r = wire_receive(pump->socket, &message, sizeof(message), fds, &count, 1);
	if (r == -EAGAIN)
		return 0;
	if (r == -EPIPE)
		return error_text(err, EPIPE, GUEST_STAGE_HANDLE,
				  "the guest is lost: its init process was killed");
	if (r < 0)
		return error_make(err, -r, GUEST_STAGE_PROTOCOL, "reading from the guest");
	if (r == WIRE_STARTED) {
		r = take_pipes(pump, fds, count);
		return r < 0 ? error_make(err, -r, GUEST_STAGE_PROTOCOL, "pipes of the guest") : 0;
	}
	wire_close_fds(fds, count);
	if (r == WIRE_ENDED && message.ended.header.size == sizeof(message.ended)) {
		pump->ended = message.ended;
		return pump->ended.flags & WIRE_ENDED_STUCK ? stuck(pump, err) : 1;
	}
	if (r == WIRE_FAILED && message.failed.header.size == sizeof(message.failed) &&
	    message.failed.error.code < 0) {
		*err = message.failed.error;
		err->message[sizeof(err->message) - 1] = '\0';
		return err->code;
	}
	return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "message %d of the guest", r);
}

static int deadline_passed(struct pump *pump, struct guest_error *err)
{
	if (pump->cause || pump->failure)
		return stuck(pump, err);
	kill_run(pump, GUEST_TIMED_OUT, 0);
	return 0;
}

static int pump_until_end(struct pump *pump, struct guest_error *err)
{
	for (;;) {
		struct pollfd poll_fds[3] = {
			{ .fd = pump->socket, .events = POLLIN },
			{ .fd = pump->outputs[0].fd, .events = POLLIN },
			{ .fd = pump->outputs[1].fd, .events = POLLIN },
		};
		int n = poll(poll_fds, 3, host_poll_timeout(pump->deadline)), r = 0;

		if (n < 0 && errno != EINTR)
			return error_make(err, errno, GUEST_STAGE_PROTOCOL, "poll");
		for (int i = 0; n > 0 && i < 2; i++)
			if (poll_fds[i + 1].revents)
				judge(pump, output_read(&pump->outputs[i], pump->command));
		if (n > 0 && poll_fds[0].revents)
			r = take_message(pump, err);
		if (r == 0 && pump->deadline != HOST_NEVER && sys_now_ns() >= pump->deadline)
			r = deadline_passed(pump, err);
		if (r != 0)
			return r < 0 ? r : 0;
	}
}

/* What the command wrote before its end and is still in the pipes. All writers are dead. */
static int drain(struct pump *pump)
{
	for (int i = 0; i < 2; i++) {
		int event = output_drain(&pump->outputs[i], pump->command);

		if (event < 0)
			return event;
		judge(pump, event);
	}
	return 0;
}

static int fill_result(struct pump *pump, struct guest_result *result)
{
	int status = pump->ended.status, r = drain(pump);

	for (int i = 0; r == 0 && i < 2; i++)
		r = output_finish(&pump->outputs[i]);
	if (r < 0)
		return r;
	*result = (struct guest_result){
		.size = result->size,
		.cause = pump->cause	   ? pump->cause :
			 WIFEXITED(status) ? GUEST_EXITED :
					     GUEST_SIGNALED,
		.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		.term_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
		.stdout_data = take_pointer(pump->outputs[0].data),
		.stdout_size = pump->outputs[0].size,
		.stderr_data = take_pointer(pump->outputs[1].data),
		.stderr_size = pump->outputs[1].size,
		.truncated = (pump->outputs[0].truncated ? GUEST_STDOUT : 0) |
			     (pump->outputs[1].truncated ? GUEST_STDERR : 0),
		.wall_ns = sys_now_ns() - pump->started,
		.user_ns = pump->ended.user_ns,
		.system_ns = pump->ended.system_ns,
		.max_rss_bytes = pump->ended.max_rss_bytes,
	};
	return 0;
}

static void pump_clear(struct pump *pump)
{
	fd_close(&pump->socket);
	for (int i = 0; i < 2; i++) {
		fd_close(&pump->outputs[i].fd);
		free(pump->outputs[i].data);
	}
}

int host_run(struct guest *guest, const struct guest_command *command, struct guest_result *result,
	     struct guest_error *err)
{
	struct pump pump = {
		.guest = guest,
		.command = command,
		.socket = -EBADF,
		.outputs = { { .fd = -EBADF }, { .fd = -EBADF } },
		.started = sys_now_ns(),
		.deadline = HOST_NEVER,
	};
	int r;

	if (__atomic_load_n(&guest->broken, __ATOMIC_RELAXED))
		return error_text(err, EIO, GUEST_STAGE_HANDLE,
				  "a process of the guest is stuck; shut it down");
	if (command->timeout_ns > 0 && command->timeout_ns < HOST_NEVER - pump.started)
		pump.deadline = pump.started + command->timeout_ns;
	if (command->stdout_fd < 0)
		pump.outputs[0].stream = GUEST_STDOUT;
	if (command->stderr_fd < 0 && !(command->flags & GUEST_MERGE_STDERR))
		pump.outputs[1].stream = GUEST_STDERR;
	r = send_request(&pump, err);
	if (r == 0)
		r = pump_until_end(&pump, err);
	if (r == 0 && pump.failure == 0)
		pump.failure = fill_result(&pump, result);
	if (r == 0 && pump.failure < 0)
		r = error_make(err, -pump.failure, GUEST_STAGE_MEMORY, "captured output");
	pump_clear(&pump);
	return r;
}
