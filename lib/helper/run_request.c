// SPDX-License-Identifier: MIT
/* From the request for a command to all that its start needs. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "helper/helper.h"

/* The strings behind the message, or in a memfd. */
static char *map_strings(const struct run_request *request, struct run *run,
			 struct guest_error *err)
{
	const struct wire_run *message = request->message;
	struct stat st;
	void *mapped;
	int fd;

	if (!(message->flags & WIRE_RUN_MEMFD)) {
		if (sizeof(*message) + message->strings_size == message->header.size)
			return (char *)(message + 1);
		error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "strings");
		return NULL;
	}
	fd = request->fds_count > 0 ? request->fds[request->fds_count - 1] : -EBADF;
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != message->strings_size) {
		error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "strings' memfd");
		return NULL;
	}
	mapped = mmap(NULL, message->strings_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (mapped == MAP_FAILED) {
		error_make(err, errno, GUEST_STAGE_MEMORY, "mapping the command's strings");
		return NULL;
	}
	run->mapped_size = message->strings_size;
	return run->mapped = mapped;
}

/* Room for the vector, and for the strings if they have to be copied: the message goes, but the
 * command may not have read them yet. */
static char **make_room(struct run *run, size_t count, char **strings, size_t size)
{
	size_t vector = count * sizeof(char *), copied = run->mapped ? 0 : size;
	char *room;

	if (vector + copied > RUN_STRINGS_SIZE)
		room = run->strings = malloc(vector + copied);
	else
		room = run->stack_end -= (vector + copied + 15) & ~(size_t)15;
	if (!room)
		return NULL;
	memset(room, 0, vector);
	if (copied) {
		memcpy(room + vector, *strings, copied);
		*strings = room + vector;
	}
	return (char **)room;
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

static int read_strings(const struct run_request *request, struct run *run, struct guest_error *err)
{
	const struct wire_run *message = request->message;
	size_t count = (size_t)message->argc + message->envc + 2, n = 0,
	       left = message->strings_size;
	struct command *command = &run->command;
	char *at = map_strings(request, run, err), **vector;

	if (!at)
		return err->code;
	if (count - 2 > left) /* each has its NUL */
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "argc and envc");
	vector = make_room(run, count, &at, left);
	if (!vector)
		return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "argv");
	command->cwd = next_string(&at, &left);
	command->path = command->cwd ? next_string(&at, &left) : NULL;
	for (size_t i = 0; command->path && i < count; i++) {
		if (i == message->argc || i == count - 1)
			continue; /* the NULL behind each */
		vector[i] = (char *)next_string(&at, &left);
		n += vector[i] != NULL;
	}
	if (n != count - 2 || message->argc == 0)
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "argv");
	command->argv = vector;
	command->envp = vector + message->argc + 1;
	return 0;
}

/*
 * A pipe made here counts against the guest's ids. If the command is not root in the guest, it must
 * own the pipe, or it could not open /dev/stdout.
 */
static int make_pipe(const struct holder *holder, struct run_pipe *made, struct guest_error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_make(err, errno, GUEST_STAGE_PIPE, "stdio");
	*made = (struct run_pipe){ ends[0], ends[1] };
	if (holder->many_ids && (holder->uid | holder->gid) &&
	    fchown(ends[1], holder->uid, holder->gid) < 0)
		return error_make(err, errno, GUEST_STAGE_PIPE, "owner of stdio");
	return 0;
}

static int make_output(const struct holder *holder, struct run *run, int stream,
		       struct guest_error *err)
{
	struct run_pipe *made = &run->pipes[stream - 1];
	int r = make_pipe(holder, made, err);

	run->command.stdio[stream] = made->write;
	return r;
}

/* For what comes by a socket. */
static int make_input(const struct holder *holder, struct run *run, int socket,
		      struct guest_error *err)
{
	int r = make_pipe(holder, &run->input.pipe, err);

	if (r == 0)
		r = input_open(&run->input, socket, err);
	run->command.stdio[0] = run->input.pipe.read;
	return r;
}

/* The next fd that came with the request, if its flag says that it did. */
static int next_fd(const struct run_request *request, size_t *at, uint32_t flag)
{
	if (!(request->message->flags & flag) || *at >= request->fds_count)
		return -EBADF;
	return request->fds[(*at)++];
}

static int sort_fds(const struct holder *holder, const struct run_request *request, struct run *run,
		    struct guest_error *err)
{
	const uint32_t with_fd[] = { WIRE_RUN_STDIN,  WIRE_RUN_STDOUT, WIRE_RUN_STDERR,
				     WIRE_RUN_CGROUP, WIRE_RUN_EXEC,   WIRE_RUN_MEMFD };
	const struct wire_run *message = request->message;
	struct command *command = &run->command;
	size_t at = 0, want = 0;
	struct stat st;
	int r = 0;

	for (size_t i = 0; i < sizeof(with_fd) / sizeof(with_fd[0]); i++)
		want += !!(message->flags & with_fd[i]);
	if (want != request->fds_count)
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "fds");
	for (int i = 0; i < 3; i++) {
		command->stdio[i] = next_fd(request, &at, with_fd[i]);
		if (command->stdio[i] >= 0 && fstat(command->stdio[i], &st) == 0)
			run->given[i] = (struct run_file){ st.st_dev, st.st_ino };
	}
	command->cgroup = next_fd(request, &at, WIRE_RUN_CGROUP);
	if (command->stdio[0] >= 0 && message->flags & WIRE_RUN_STDIN_STREAM)
		r = make_input(holder, run, command->stdio[0], err);
	else if (command->stdio[0] < 0)
		command->stdio[0] = holder->null;
	if (command->stdio[1] < 0 && r == 0)
		r = make_output(holder, run, 1, err);
	if (message->flags & WIRE_RUN_MERGE_STDERR)
		command->stdio[2] = command->stdio[1];
	else if (command->stdio[2] < 0 && r == 0)
		r = make_output(holder, run, 2, err);
	return r;
}

int run_read_request(const struct holder *holder, const struct run_request *request,
		     struct run *run, struct guest_error *err)
{
	int r = read_strings(request, run, err);

	return r < 0 ? r : sort_fds(holder, request, run, err);
}
