// SPDX-License-Identifier: MIT
/*
 * Large stdin_data: it comes by a socket and goes on through a pipe, by reference (splice(2)). The
 * host could not write to the pipe itself: a forked copy of it would have that open as well, and
 * the command would never see its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "helper/helper.h"

#define MOVE_AT_ONCE 262144 /* bytes; there are others to be served */

void input_close(struct run_input *input)
{
	fd_close(&input->socket);
	fd_close(&input->pipe.read);
	fd_close(&input->pipe.write);
}

void input_poll(const struct run_input *input, struct pollfd *poll_fd)
{
	poll_fd->fd = input->is_full ? input->pipe.write : input->socket;
	poll_fd->events = input->is_full ? POLLOUT : POLLIN;
}

/* EAGAIN means either that nothing has come, or that there is no room. */
static bool has_room(const struct run_input *input)
{
	struct pollfd room = { .fd = input->pipe.write, .events = POLLOUT };

	return poll(&room, 1, 0) > 0;
}

int input_move(struct run_input *input)
{
	for (size_t moved = 0; moved < MOVE_AT_ONCE;) {
		ssize_t n = splice(input->socket, NULL, input->pipe.write, NULL, MOVE_AT_ONCE,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		input->is_full = n < 0 && !has_room(input);
		if (n < 0)
			return 0;
		if (n == 0) {
			fd_close(&input->socket);
			fd_close(&input->pipe.write);
			return 0;
		}
		moved += (size_t)n;
		input->moved += (uint64_t)n;
	}
	return 0;
}

uint64_t input_read(const struct run_input *input)
{
	int unread = 0;

	if (input->pipe.read < 0 || ioctl(input->pipe.read, FIONREAD, &unread) < 0)
		return 0;
	return input->moved - (uint64_t)unread;
}
