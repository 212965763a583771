// SPDX-License-Identifier: MIT
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "fuzz.h"
#include "payload/payload.h"

int __wrap_host_launch(int *ret_pidfd, pid_t *ret_pid, struct guest_error *err);
int __wrap_host_send(int socket, struct request *request, enum wire_type type, uint64_t deadline);
void __wrap_group_prepare(struct group_tree *group, const struct group_wish *wish, pid_t launcher);
int __wrap_group_get(struct keeper *keeper, const struct group_wish *wish, struct guest_error *err);

const struct payload_blob payload_rootfs, payload_helper, payload_unpacker;
const char payload_rootfs_digest[] = "";

int payload_open_rootfs(struct guest_error *err)
{
	(void)err;
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int payload_open_program(const struct payload_blob *blob, int by_path, struct guest_error *err)
{
	(void)blob;
	(void)by_path;
	return payload_open_rootfs(err);
}

/* The control socket's other end: kept, or the library would see its end. */
static int control = -EBADF;

int __wrap_host_launch(int *ret_pidfd, pid_t *ret_pid, struct guest_error *err)
{
	int sockets[2];

	(void)err;
	ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
	peer_close();
	control = sockets[1];
	*ret_pidfd = -EBADF;
	*ret_pid = 0;
	return sockets[0];
}

/* Does a run come with a socket of its own, before what its flags tell of? */
static bool has_socket(const struct request *request)
{
	const uint32_t with_fd = WIRE_RUN_STDIN | WIRE_RUN_STDOUT | WIRE_RUN_STDERR | WIRE_RUN_CGROUP | WIRE_RUN_EXEC |
				 WIRE_RUN_MEMFD;
	uint32_t flags = ((const struct wire_run *)request->bytes)->flags & with_fd;

	return request->fds_count > (size_t)__builtin_popcount(flags);
}

/* On a socket that an earlier run has left, the other end of which is closed: a new pair takes its place. */
static void answer_on_kept(int socket, const struct request *request)
{
	int sockets[2];

	ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
	ASSERT(dup3(sockets[0], socket, O_CLOEXEC) == socket);
	close(sockets[0]);
	peer_answer(sockets[1], request, WIRE_RUN);
	close(sockets[1]);
}

int __wrap_host_send(int socket, struct request *request, enum wire_type type, uint64_t deadline)
{
	(void)deadline;
	ASSERT(request->size <= WIRE_MAX && (request->fds_count > 0 || type == WIRE_RUN));
	if (type == WIRE_START) {
		peer_answer(control, request, type);
		shutdown(control, SHUT_WR);
		return 0;
	}
	if (type == WIRE_RUN && !has_socket(request))
		answer_on_kept(socket, request);
	else
		peer_answer(request->fds[0], request, type); /* closed with the request */
	return 0;
}

void peer_close(void)
{
	fd_close(&control);
}

int __wrap_group_get(struct keeper *keeper, const struct group_wish *wish, struct guest_error *err)
{
	(void)keeper;
	(void)wish;
	return error_text(err, EOPNOTSUPP, GUEST_STAGE_CGROUP, "no groups");
}

void __wrap_group_prepare(struct group_tree *group, const struct group_wish *wish, pid_t launcher)
{
	(void)group;
	(void)wish;
	(void)launcher;
}

void peer_send(int socket, void *message, size_t size, uint16_t type, int *fds, size_t fds_count)
{
	(void)wire_send(socket, message, size, type, fds, fds_count, 1);
	wire_close_fds(fds, fds_count);
}

int peer_pipe(const void *text, size_t size)
{
	int ends[2];

	ASSERT(pipe2(ends, O_CLOEXEC) == 0);
	ASSERT(write(ends[1], text, size) == (ssize_t)size);
	close(ends[1]);
	return ends[0];
}

static void send_plain(int socket, enum wire_type type, int *fds, size_t fds_count)
{
	struct wire_plain plain;

	peer_send(socket, &plain, sizeof(plain), type, fds, fds_count);
}

static void run(int socket, const struct wire_run *run)
{
	struct wire_ended ended = { .status = 3 << 8, .user_ns = 1, .max_rss_bytes = 1 << 20 };
	int fds[2], n = 0;

	if (!(run->flags & WIRE_RUN_STDOUT))
		fds[n++] = peer_pipe("out", 3);
	if (!(run->flags & (WIRE_RUN_STDERR | WIRE_RUN_MERGE_STDERR)))
		fds[n++] = peer_pipe("err", 3);
	if (n > 0)
		send_plain(socket, WIRE_STARTED, fds, (size_t)n);
	peer_send(socket, &ended, sizeof(ended), WIRE_ENDED, NULL, 0);
}

void peer_answer_honestly(int socket, const struct request *request, enum wire_type type)
{
	struct wire_keeper keeper = { .ids_count = 65536, .pid = 1 };
	struct wire_report report = { .writable_used_bytes = 1 };
	/* in the place of a pidfd: the process is dead */
	int dead = peer_pipe("", 0);

	if (type == WIRE_START) {
		peer_send(socket, &keeper, sizeof(keeper), WIRE_KEEPER, &dead, 1);
		send_plain(socket, WIRE_READY, NULL, 0);
	} else if (type == WIRE_CREATE) {
		send_plain(socket, WIRE_READY, &dead, 1);
	} else if (type == WIRE_RUN) {
		run(socket, (const struct wire_run *)request->bytes);
	} else {
		ASSERT(type == WIRE_ASK);
		peer_send(socket, &report, sizeof(report), WIRE_REPORT, NULL, 0);
	}
	fd_close(&dead);
}
