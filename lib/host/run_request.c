// SPDX-License-Identifier: MIT
/* What a command is to be, as a message to its guest's holder. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "host/host.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define STRINGS_MAX (64U << 20)
#define LATE_NS 50000000U /* for the holder, after our own time-out */

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

static int add_stdio(struct pump *pump, struct request *request, struct wire_run *run,
		     bool is_spawned, struct guest_error *err)
{
	const struct guest_command *command = pump->command;
	int r = 0;

	if (command->flags & GUEST_MERGE_STDERR)
		run->flags |= WIRE_RUN_MERGE_STDERR;
	if (command->flags & GUEST_KEEP_BACKGROUND)
		run->flags |= WIRE_RUN_KEEP_BACKGROUND;
	if (command->stdin_fd >= 0 || command->stdin_size > 0) {
		run->flags |= WIRE_RUN_STDIN;
		r = command->stdin_fd >= 0 ?
			    add_duplicate(request, command->stdin_fd, "stdin_fd", err) :
			    input_add(&pump->input, command, is_spawned, request, &run->flags, err);
	}
	if (r >= 0 && command->stdout_fd >= 0) {
		run->flags |= WIRE_RUN_STDOUT;
		r = add_duplicate(request, command->stdout_fd, "stdout_fd", err);
	}
	if (r >= 0 && command->stderr_fd >= 0) {
		run->flags |= WIRE_RUN_STDERR;
		r = add_duplicate(request, command->stderr_fd, "stderr_fd", err);
	}
	return r < 0 ? r : 0;
}

/* The group that it runs in, and what its holder sees to. */
static int add_limits(struct pump *pump, struct request *request, struct wire_run *run,
		      struct guest_error *err)
{
	const struct guest_command *command = pump->command;
	int r;

	run->limits = (struct wire_run_limits){
		.deadline_ns = pump->deadline < HOST_NEVER - LATE_NS ? pump->deadline + LATE_NS : 0,
		.cpu_ns = command->cpu_time_ns,
		.address_space = command->address_space_bytes,
		.data = command->data_bytes,
		.file_size = command->file_size_bytes,
		.open_files = command->open_files,
	};
	r = limits_begin_command(pump->guest, command, &pump->limits, &run->limits, err);
	if (r < 0 || pump->limits.dir < 0)
		return r;
	run->flags |= WIRE_RUN_CGROUP;
	r = fcntl(pump->limits.dir, F_DUPFD_CLOEXEC, 3);
	r = r < 0 ? error_make(err, errno, GUEST_STAGE_CGROUP, "command's group") :
		    request_add_fd(request, r, err);
	return r < 0 ? r : 0;
}

/* A pipe whose other end is closed by the command's exec. */
static int add_exec_pipe(struct pump *pump, struct request *request, struct wire_run *run,
			 struct guest_error *err)
{
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_make(err, errno, GUEST_STAGE_PIPE, "exec");
	pump->exec = fd_above_stdio(ends[0]);
	ends[1] = fd_above_stdio(ends[1]);
	run->flags |= WIRE_RUN_EXEC;
	r = request_add_fd(request, ends[1], err);
	if (pump->exec < 0 || ends[1] < 0)
		r = error_make(err, EMFILE, GUEST_STAGE_PIPE, "exec");
	return r < 0 ? r : 0;
}

/*
 * The one that is kept; or a new one, the other end of which goes with the request: the first,
 * which is kept from then on, or while another run has that. Returns the socket to send the request
 * on.
 */
static int add_socket(struct pump *pump, struct request *request, struct guest_error *err)
{
	int r;

	pump->socket = __atomic_exchange_n(&pump->guest->idle, -EBADF, __ATOMIC_ACQUIRE);
	pump->is_kept = pump->socket >= 0;
	if (pump->is_kept)
		return pump->socket;
	pump->is_kept = !__atomic_exchange_n(&pump->guest->keeps, true, __ATOMIC_ACQUIRE);
	r = request_add_socket(request, &pump->socket, err);
	return r < 0 ? r : pump->guest->socket;
}

static int fill_request(struct pump *pump, struct request *request, bool tell_exec,
			struct guest_error *err)
{
	struct wire_run run = { .flags = pump->is_kept ? WIRE_RUN_KEEP_SOCKET : 0 };
	int r = add_stdio(pump, request, &run, tell_exec, err);

	if (r == 0)
		r = add_limits(pump, request, &run, err);
	if (r == 0 && tell_exec)
		r = add_exec_pipe(pump, request, &run, err);
	if (r == 0)
		r = add_strings(request, &run, pump->guest, pump->command, err);
	if (r == 0)
		memcpy(request->bytes, &run, sizeof(run));
	return r;
}

int request_send_run(struct pump *pump, bool tell_exec, struct guest_error *err)
{
	struct request request;
	int socket, r;

	r = request_init(&request, sizeof(struct wire_run), err);
	if (r < 0)
		return r;
	r = socket = add_socket(pump, &request, err);
	if (r >= 0)
		r = fill_request(pump, &request, tell_exec, err);
	if (r == 0) {
		r = host_send(socket, &request, WIRE_RUN, pump->deadline);
		if (r == -EPIPE)
			error_text(err, EPIPE, GUEST_STAGE_HANDLE,
				   "the guest is lost: its init process was killed");
		else if (r < 0)
			error_make(err, -r, GUEST_STAGE_FORK, "talking to the guest");
	}
	/* nothing has been sent: a socket that is kept, and has not ended, is for the next */
	pump->over = r < 0 && r != -EPIPE && socket == pump->socket;
	request_clear(&request);
	return r;
}
