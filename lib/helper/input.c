// SPDX-License-Identifier: MIT
/*
 * Large stdin_data: it comes by a socket and goes on through a pipe. The host could not write to
 * the pipe itself: a forked copy of it would have that open as well, and the command would never
 * see its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "helper/helper.h"

#define BUFFER_SIZE 65536 /* what a pipe holds, pipe(7) */
#define MOVES_AT_ONCE 4	  /* there are others to be served */

int input_open(struct run_input *input, int socket, struct guest_error *err)
{
	input->socket = fcntl(socket, F_DUPFD_CLOEXEC, 3);
	if (input->socket < 0 || fcntl(input->pipe.write, F_SETFL, O_NONBLOCK) < 0)
		return error_make(err, errno, GUEST_STAGE_PIPE, "stdin");
	input->buffer = malloc(BUFFER_SIZE);
	return input->buffer ? 0 : error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "stdin");
}

/* No more will come. */
static void end(struct run_input *input)
{
	fd_close(&input->socket);
	fd_close(&input->pipe.write);
	free(input->buffer);
	input->buffer = NULL;
}

void input_close(struct run_input *input)
{
	end(input);
	fd_close(&input->pipe.read);
}

bool input_poll(const struct run_input *input, struct pollfd *poll_fd)
{
	bool waits_for_room = input->at < input->size;

	if (!input->buffer)
		return false;
	poll_fd->fd = waits_for_room ? input->pipe.write : input->socket;
	poll_fd->events = waits_for_room ? POLLOUT : POLLIN;
	return true;
}

/* Fill the buffer: the bytes, 0 at the end, or -errno. */
static ssize_t fill(struct run_input *input)
{
	ssize_t n = recv(input->socket, input->buffer, BUFFER_SIZE, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	input->at = 0;
	input->size = (size_t)n;
	return n;
}

static ssize_t empty(struct run_input *input)
{
	ssize_t n = write(input->pipe.write, input->buffer + input->at, input->size - input->at);

	if (n < 0)
		return -errno;
	input->at += (size_t)n;
	input->moved += (uint64_t)n;
	return n;
}

int input_move(struct run_input *input)
{
	for (int moves = 0; moves < MOVES_AT_ONCE;) {
		ssize_t n = input->at < input->size ? empty(input) : fill(input);

		if (n == -EAGAIN)
			return 0;
		if (n < 0 && n != -EINTR)
			return (int)n;
		if (n == 0) {
			end(input);
			return 0;
		}
		moves += input->at == input->size;
	}
	return 0;
}

uint64_t input_read(const struct run_input *input)
{
	int unread = 0;

	(void)ioctl(input->pipe.read, FIONREAD, &unread);
	/* the guest can open the pipe, and write to it, too */
	return (uint64_t)unread < input->moved ? input->moved - (uint64_t)unread : 0;
}
