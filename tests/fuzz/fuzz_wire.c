// SPDX-License-Identifier: MIT
/*
 * Any packet, with any fds, to who receives it: wire_receive() and wire_string(); and what a guest's holder does with
 * those it serves, the request for a command up to the fork of it, and the messages on a run's socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

/* It tests how requests are read, and shall end nobody. */
static int killed;

static int count_kill(pid_t pid, int signal)
{
	(void)pid;
	(void)signal;
	killed++;
	return 0;
}

#define kill(pid, signal) count_kill(pid, signal)
#include "helper/run.c"
#undef kill
#include "helper/input.c"
#include "helper/run_request.c"

#define TOO_MANY_FDS 200 /* more than fit; the kernel carries 253 */
#define SENT_MAX 8192

enum packet_flags {
	HONEST = 1 << 0,  /* the header tells the truth */
	STRINGS = 1 << 1, /* and so does strings_size */
	FIRST_IS_SOCKET = 1 << 2,
	LAST_IS_STRINGS = 1 << 3,
	MANY = 1 << 4,
	SHORT_BUFFER = 1 << 5,
};

/* What run.c is linked with and does not come to. */
pid_t command_start(struct command *command, void *stack_end)
{
	(void)command;
	(void)stack_end;
	abort();
}

bool command_shares(const struct command *command)
{
	(void)command;
	abort();
}

void sweep_keep(const struct holder *holder, const struct run *run)
{
	(void)holder;
	(void)run;
}

bool sweep_run(struct holder *holder, struct run *run)
{
	(void)holder;
	(void)run;
	return true;
}

bool sweep_has_children(const struct holder *holder, const struct run *run)
{
	(void)holder;
	return run->pid % 2;
}

struct run *sweep_owner(const struct holder *holder, pid_t pid)
{
	(void)pid;
	return holder->runs;
}

void sample_rest(struct holder *holder, struct run *run)
{
	(void)holder;
	(void)run;
}

void sample_end(struct holder *holder, struct run *run, uint64_t cpu_ns)
{
	(void)holder;
	(void)run;
	(void)cpu_ns;
}

static int some_fd(uint8_t kind)
{
	int ends[2];

	switch (kind % 5) {
	case 0:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	case 1:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case 2:
		return open("/dev/null", O_PATH | O_CLOEXEC);
	case 3:
		return memfd_create("empty", MFD_CLOEXEC);
	default:
		ASSERT(pipe2(ends, O_CLOEXEC) == 0);
		close(ends[1]);
		return ends[0];
	}
}

struct packet {
	uint8_t flags;
	int fds[TOO_MANY_FDS];
	size_t fds_count;
	int answers; /* where the run socket is heard, or -1 */
	char *bytes;
	size_t size;
};

static void add_fds(struct packet *packet, struct fuzz_input *input)
{
	uint8_t kinds = take_byte(input), count = packet->flags & MANY ? TOO_MANY_FDS : take_byte(input) % 8;
	int sockets[2];

	if (packet->flags & FIRST_IS_SOCKET) {
		ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
		packet->answers = sockets[0];
		packet->fds[packet->fds_count++] = sockets[1];
	}
	while (packet->fds_count < count)
		packet->fds[packet->fds_count++] = some_fd(kinds++);
}

static void add_bytes(struct packet *packet, struct fuzz_input *input)
{
	struct wire_run *run;
	size_t strings;

	packet->size = input->size < SENT_MAX ? input->size : SENT_MAX;
	packet->bytes = take_block(input, packet->size);
	run = (struct wire_run *)packet->bytes;
	if (packet->size < sizeof(*run))
		return;
	strings = packet->size - sizeof(*run);
	if (packet->flags & STRINGS)
		run->strings_size = strings;
	if (packet->flags & LAST_IS_STRINGS && packet->fds_count > 1) {
		int fd = memfd_create("strings", MFD_CLOEXEC);

		ASSERT(fd >= 0 && write(fd, run + 1, strings) == (ssize_t)strings);
		close(packet->fds[packet->fds_count - 1]);
		packet->fds[packet->fds_count - 1] = fd;
	}
}

static void send_packet(const struct packet *packet, int socket)
{
	struct wire_header header;
	struct iovec iov = { .iov_base = packet->bytes, .iov_len = packet->size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union {
		char bytes[CMSG_SPACE(sizeof(packet->fds))];
		struct cmsghdr cmsg;
	} control;
	size_t fds_size = packet->fds_count * sizeof(int);

	if (packet->flags & HONEST && packet->size >= sizeof(header)) {
		memcpy(&header, packet->bytes, sizeof(header));
		header.size = (uint32_t)packet->size;
		header.fds_count = (uint16_t)packet->fds_count;
		memcpy(packet->bytes, &header, sizeof(header));
	}
	if (fds_size > 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fds_size);
		control.cmsg.cmsg_level = SOL_SOCKET;
		control.cmsg.cmsg_type = SCM_RIGHTS;
		control.cmsg.cmsg_len = CMSG_LEN(fds_size);
		memcpy(CMSG_DATA(&control.cmsg), packet->fds, fds_size);
	}
	ASSERT(sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0);
	for (size_t i = 0; i < packet->fds_count; i++)
		close(packet->fds[i]);
}

static void check_strings(const struct wire_header *message)
{
	uint32_t offsets[] = { 0, 7, 8, message->size - 1, message->size, UINT32_MAX, 0, 0, 0, 0 };
	const char *bytes = (const char *)message;

	for (size_t i = 1; i <= 4 && (i + 1) * sizeof(uint32_t) <= message->size; i++)
		memcpy(&offsets[5 + i], bytes + i * sizeof(uint32_t), sizeof(uint32_t));
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		const char *string = wire_string(message, offsets[i]);

		ASSERT(!string || (string == bytes + offsets[i] && string + strlen(string) < bytes + message->size));
	}
}

/* The command is not started: as many as can be run already. */
static void run_command(const void *message, int *fds, size_t fds_count)
{
	struct holder holder = {
		.null = open("/dev/null", O_RDONLY | O_CLOEXEC), .runs_count = RUN_SLOTS, .io = -1, .idle = -1
	};

	run_start(&holder, message, &fds[0], fds + 1, fds_count - 1);
	ASSERT(!holder.runs && !holder.quiet);
	if (holder.idle >= 0)
		close(holder.idle);
	close(holder.null);
}

/* It is told that the command was not started; before that there may be pipes. */
static void check_answers(int socket)
{
	struct wire_failed failed;
	int fds[WIRE_FDS_MAX], r;
	size_t count;

	r = wire_receive(socket, &failed, sizeof(failed), fds, &count, 1);
	if (r == WIRE_STARTED) {
		ASSERT(count == 1 || count == 2);
		wire_close_fds(fds, count);
		r = wire_receive(socket, &failed, sizeof(failed), fds, &count, 1);
		ASSERT(r != WIRE_FAILED || failed.error.code == -EAGAIN);
	}
	ASSERT(r == WIRE_FAILED && count == 0);
	check_error(failed.error.code, &failed.error);
	ASSERT(failed.error.code < 0);
}

static void receive(const struct packet *packet, int socket)
{
	size_t room = packet->flags & SHORT_BUFFER ? 64 : SENT_MAX, count = 0;
	struct wire_header *message = malloc(room), *exact;
	int fds[WIRE_FDS_MAX], r = wire_receive(socket, message, room, fds, &count, 1);

	if (r >= 0) {
		ASSERT(message->size == packet->size && r == message->type && count == packet->fds_count);
		exact = malloc(message->size);
		memcpy(exact, message, message->size);
		check_strings(exact);
		/* as holder.c asks for it */
		if (r == WIRE_RUN && count >= 1 && message->size >= sizeof(struct wire_run)) {
			run_command(exact, fds, count);
			if (packet->answers >= 0)
				check_answers(packet->answers);
		} else {
			wire_close_fds(fds, count);
		}
		free(exact);
	}
	free(message);
	ASSERT(wire_receive(socket, &r, sizeof(r), fds, &count, 1) == -EPIPE);
}

/* The same packet to a run's socket. */
static void serve_run(struct packet *packet)
{
	struct run run = { .pid = -1, .cgroup = -EBADF };
	struct holder holder = { .runs = &run };
	int sockets[2];

	ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
	run.socket = sockets[0];
	send_packet(packet, sockets[1]);
	killed = 0;
	run_serve(&holder, &run);
	ASSERT(killed == 1);
	close(sockets[0]);
	close(sockets[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct packet packet = { .flags = take_byte(&input), .answers = -1 };
	uint64_t before = open_fds();
	int sockets[2];

	add_fds(&packet, &input);
	add_bytes(&packet, &input);
	ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
	send_packet(&packet, sockets[1]);
	close(sockets[1]);
	receive(&packet, sockets[0]);
	close(sockets[0]);
	if (packet.answers >= 0)
		close(packet.answers);
	packet.fds_count = 0;
	serve_run(&packet);
	free(packet.bytes);
	ASSERT(open_fds() == before);
	return 0;
}
