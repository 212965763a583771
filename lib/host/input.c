// SPDX-License-Identifier: MIT
/*
 * stdin_data. What is small, or has to outlive the call, is copied into a sealed memfd; the rest is
 * sent while the command reads it, and is nowhere copied as a whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "host/host.h"

#define SEND_AT_ONCE 262144 /* bytes; there may be output to be read */

/* The memfd; a copy of it is kept, whose offset tells how much was read. */
static int add_copy(struct input *input, struct request *request, struct guest_error *err)
{
	int fd = fd_sealed_copy("guest-stdin", input->data, input->size, false);

	if (fd < 0)
		return error_make(err, -fd, GUEST_STAGE_MEMORY, "memfd of stdin");
	input->copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return request_add_fd(request, fd, err);
}

int input_add(struct input *input, const struct guest_command *command, bool is_spawned,
	      struct request *request, uint32_t *flags, struct guest_error *err)
{
	int sockets[2];

	input->data = command->stdin_data;
	input->size = command->stdin_size;
	if (input->size <= INPUT_COPY_MAX || is_spawned || command->flags & GUEST_KEEP_BACKGROUND)
		return add_copy(input, request, err);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return error_make(err, errno, GUEST_STAGE_PIPE, "socketpair of stdin");
	input->socket = fd_above_stdio(sockets[0]);
	sockets[1] = fd_above_stdio(sockets[1]);
	if (input->socket < 0 || sockets[1] < 0) {
		fd_close(&sockets[1]);
		return error_make(err, errno, GUEST_STAGE_PIPE, "socketpair of stdin");
	}
	*flags |= WIRE_RUN_STDIN_STREAM;
	return request_add_fd(request, sockets[1], err);
}

int input_send(struct input *input)
{
	uint64_t left = input->size - input->sent;
	ssize_t n;

	do
		n = send(input->socket, input->data + input->sent,
			 left < SEND_AT_ONCE ? left : SEND_AT_ONCE, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n > 0 && (input->sent += (uint64_t)n) < input->size)
		return 0;
	/* closing alone is no end while a forked copy of this process has it, too */
	shutdown(input->socket, SHUT_WR);
	fd_close(&input->socket);
	return n >= 0 || errno == EPIPE || errno == ECONNRESET ? 0 : -errno;
}

uint64_t input_bytes_read(const struct input *input, const struct wire_ended *ended)
{
	off_t at = input->copy < 0 ? (off_t)ended->stdin_bytes : lseek(input->copy, 0, SEEK_CUR);

	return at < 0 ? 0 : (uint64_t)at > input->size ? input->size : (uint64_t)at;
}

void input_clear(struct input *input)
{
	if (input->socket >= 0)
		shutdown(input->socket, SHUT_RDWR);
	fd_close(&input->socket);
	fd_close(&input->copy);
}
