// SPDX-License-Identifier: MIT
/*
 * A guest's commands, as their holder sees them: from the request to the message that says how they
 * ended.
 *
 * A command is a fork, never vfork or CLONE_VM: a guest process may stop it before its exec, and
 * with vfork the holder would hang with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

/* A request, taken apart. Owns its fds, the mapping, and the vector. */
struct request {
	const struct wire_run *message;
	int *fds;
	size_t fds_count;
	char *strings;
	bool mapped;
	char **vector; /* argv, NULL, envp, NULL */
	int ours[3];   /* the ends that the command gets; not owned where they are among fds */
	int theirs[2]; /* the host's ends of captured output */
	bool own[3];
};

static int map_strings(struct request *request, struct guest_error *err)
{
	const struct wire_run *message = request->message;
	int fd = request->fds[request->fds_count - 1];
	struct stat st;

	if (!(message->flags & WIRE_RUN_MEMFD)) {
		if (sizeof(*message) + message->strings_size != message->header.size)
			return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "strings");
		request->strings = (char *)(message + 1);
		return 0;
	}
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != message->strings_size)
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "strings' memfd");
	request->strings = mmap(NULL, message->strings_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (request->strings == MAP_FAILED)
		return error_make(err, errno, GUEST_STAGE_MEMORY, "mapping the command's strings");
	request->mapped = true;
	return 0;
}

static const char *next_string(char **at, size_t *left)
{
	char *string = *at, *nul = memchr(string, '\0', *left);

	if (!nul)
		return NULL;
	*left -= (size_t)(nul + 1 - string);
	*at = nul + 1;
	return string;
}

static int read_strings(struct request *request, struct command *command, struct guest_error *err)
{
	const struct wire_run *message = request->message;
	size_t count = (size_t)message->argc + message->envc + 2, n = 0,
	       left = message->strings_size;
	char *at;
	int r = map_strings(request, err);

	if (r < 0)
		return r;
	at = request->strings;
	request->vector = calloc(count, sizeof(*request->vector));
	if (!request->vector)
		return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "argv");
	command->cwd = next_string(&at, &left);
	command->path = command->cwd ? next_string(&at, &left) : NULL;
	for (size_t i = 0; command->path && i < count; i++) {
		if (i == message->argc || i == count - 1)
			continue; /* the NULL behind each */
		request->vector[i] = (char *)next_string(&at, &left);
		n += request->vector[i] != NULL;
	}
	if (n != count - 2 || message->argc == 0)
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "argv");
	command->argv = request->vector;
	command->envp = request->vector + message->argc + 1;
	return 0;
}

/*
 * A pipe made here counts against the guest's ids. If the command is not root in the guest, it must
 * own the pipe, or it could not open /dev/stdout.
 */
static int make_pipe(const struct holder *holder, struct request *request, int stream,
		     struct guest_error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_make(err, errno, GUEST_STAGE_PIPE, "stdio");
	request->ours[stream] = ends[1];
	request->theirs[stream - 1] = ends[0];
	request->own[stream] = true;
	if (holder->many_ids && (holder->uid | holder->gid) &&
	    fchown(ends[1], holder->uid, holder->gid) < 0)
		return error_make(err, errno, GUEST_STAGE_PIPE, "owner of stdio");
	return 0;
}

static int prepare_stdio(const struct holder *holder, struct request *request,
			 struct guest_error *err)
{
	const struct wire_run *message = request->message;
	size_t at = 1;
	size_t want = 1 + !!message->has_stdin + !!message->has_stdout + !!message->has_stderr +
		      !!(message->flags & WIRE_RUN_MEMFD);
	int r = 0;

	if (want != request->fds_count)
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "fds");
	request->ours[0] = message->has_stdin ? request->fds[at++] : holder->null;
	if (message->has_stdout)
		request->ours[1] = request->fds[at++];
	else
		r = make_pipe(holder, request, 1, err);
	if (message->flags & WIRE_RUN_MERGE_STDERR)
		request->ours[2] = request->ours[1];
	else if (message->has_stderr)
		request->ours[2] = request->fds[at++];
	else if (r == 0)
		r = make_pipe(holder, request, 2, err);
	return r;
}

static int send_started(struct request *request, int socket)
{
	struct wire_plain started;
	int fds[2];
	size_t n = 0;

	for (int i = 0; i < 2; i++)
		if (request->theirs[i] >= 0)
			fds[n++] = request->theirs[i];
	if (n == 0)
		return 0;
	return wire_send(socket, &started, sizeof(started), WIRE_STARTED, fds, n, 1);
}

static void request_clear(struct request *request)
{
	for (int i = 0; i < 3; i++)
		if (request->own[i])
			fd_close(&request->ours[i]);
	wire_close_fds(request->theirs, 2);
	if (request->mapped)
		munmap(request->strings, request->message->strings_size);
	free(request->vector);
	wire_close_fds(request->fds, request->fds_count);
}

static struct command_slot *take_slot(struct command_slot *slots)
{
	for (size_t i = 0; i < RUN_SLOTS; i++) {
		if (slots[i].state != COMMAND_FREE)
			continue;
		slots[i].state = COMMAND_STARTING;
		slots[i].marker[0] = '\0';
		return &slots[i];
	}
	return NULL;
}

static void run_free(struct holder *holder, struct run *run)
{
	struct run **link = &holder->runs;

	while (*link && *link != run)
		link = &(*link)->next;
	if (*link)
		*link = run->next;
	if (run->slot)
		run->slot->state = COMMAND_FREE;
	fd_close(&run->socket);
	free(run);
}

/* Fork the command; the run is in the list afterwards. */
static int launch(struct holder *holder, struct run *run, struct command *command,
		  struct guest_error *err)
{
	run->slot = take_slot(holder->slots);
	if (!run->slot)
		return error_text(err, EAGAIN, GUEST_STAGE_FORK, "%d commands run already",
				  RUN_SLOTS);
	command->slot = run->slot;
	run->pid = sys_clone(CLONE_NEWCGROUP | SIGCHLD, NULL);
	if (run->pid == 0)
		command_exec(command);
	if (run->pid < 0)
		return error_make(err, errno, GUEST_STAGE_FORK, "command");
	run->next = holder->runs;
	holder->runs = run;
	return 0;
}

static int start(struct holder *holder, struct request *request, struct run *run,
		 struct guest_error *err)
{
	struct command command = { .holder = holder, .proc = holder->proc, .socket = run->socket };
	int r = read_strings(request, &command, err);

	if (r == 0)
		r = prepare_stdio(holder, request, err);
	if (r < 0)
		return r;
	memcpy(command.stdio, request->ours, sizeof(command.stdio));
	r = send_started(request, run->socket);
	if (r < 0)
		return error_make(err, -r, GUEST_STAGE_PIPE, "handing stdio over");
	return launch(holder, run, &command, err);
}

void run_start(struct holder *holder, const struct wire_run *message, int *fds, size_t fds_count)
{
	struct guest_error err = { .size = sizeof(err) };
	struct request request = {
		.message = message,
		.fds = fds,
		.fds_count = fds_count,
		.ours = { -EBADF, -EBADF, -EBADF },
		.theirs = { -EBADF, -EBADF },
	};
	struct run *run = calloc(1, sizeof(*run));

	if (!run) {
		error_make(&err, ENOMEM, GUEST_STAGE_MEMORY, "run");
		wire_send_failed(fds[0], &err);
	} else {
		run->socket = fd_move(&fds[0]);
		if (start(holder, &request, run, &err) < 0) {
			wire_send_failed(run->socket, &err);
			run_free(holder, run);
		}
	}
	request_clear(&request);
}

void run_cancel(struct holder *holder, struct run *run)
{
	run->killed = true;
	/* alone, all at once; else the others of this run follow when its main process is reaped */
	kill(holder->runs == run && !run->next ? -1 : run->pid, SIGKILL);
}

static uint64_t timeval_ns(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000000U + (uint64_t)time->tv_usec * 1000U;
}

static void finish(struct holder *holder, struct run *run, int status, const struct rusage *usage)
{
	struct wire_ended ended = {
		.status = status,
		.user_ns = timeval_ns(&usage->ru_utime),
		.system_ns = timeval_ns(&usage->ru_stime),
		.max_rss_bytes = (uint64_t)usage->ru_maxrss * 1024,
	};

	if (!sweep_run(holder, run))
		ended.flags |= WIRE_ENDED_STUCK;
	(void)wire_send(run->socket, &ended, sizeof(ended), WIRE_ENDED, NULL, 0, 1);
	run_free(holder, run);
}

static struct run *find_run(const struct holder *holder, pid_t pid)
{
	struct run *run = holder->runs;

	while (run && run->pid != pid)
		run = run->next;
	return run;
}

void run_reap(struct holder *holder)
{
	struct rusage usage;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG | WUNTRACED | __WALL, &usage)) > 0) {
		struct run *run = find_run(holder, pid);

		if (!run) /* an orphan that its run has left us */
			continue;
		if (!WIFSTOPPED(status))
			finish(holder, run, status, &usage);
		else if (__atomic_load_n(&run->slot->state, __ATOMIC_ACQUIRE) == COMMAND_STARTING)
			kill(pid, SIGCONT); /* another of the guest's processes stopped it before
					       its exec */
	}
}
