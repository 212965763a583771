// SPDX-License-Identifier: MIT
/*
 * stdin_data on its way to a command: a file in memory, which the command may seek in; or, where
 * copying it first would take longer than the command does, a pipe that is fed while it runs.
 *
 * We have a copy of what the command reads from: it tells how much that was, and while we have it
 * a write is no error, nor a signal (SIGPIPE), when the command has closed its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "host/host.h"

#define FILE_MAX ((uint64_t)1 << 20)

/* Whoever is not the pipe's owner in the guest shall be able to open /dev/stdin, as with a file. */
static int open_pipe(struct input *input)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	input->write = fd_above_stdio(ends[1]);
	ends[0] = fd_above_stdio(ends[0]);
	if (input->write >= 0 && ends[0] >= 0 && fchmod(ends[0], 0444) == 0 &&
	    fcntl(input->write, F_SETFL, O_NONBLOCK) == 0)
		return ends[0];
	fd_close(&ends[0]);
	return -errno;
}

int input_open(struct input *input, const struct guest_command *command, bool may_feed,
	       struct guest_error *err)
{
	int fd;

	input->data = command->stdin_data;
	input->size = command->stdin_size;
	if (may_feed && input->size > FILE_MAX)
		fd = open_pipe(input);
	else
		fd = fd_sealed_copy("guest-stdin", input->data, input->size, false);
	if (fd < 0)
		return error_make(err, -fd, GUEST_STAGE_MEMORY, "stdin_data");
	input->copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (input->copy < 0) {
		fd_close(&fd);
		return error_make(err, errno, GUEST_STAGE_MEMORY, "stdin_data");
	}
	return fd;
}

int input_feed(struct input *input)
{
	ssize_t n = write(input->write, input->data + input->written, input->size - input->written);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	input->written += (uint64_t)n;
	if (input->written == input->size)
		fd_close(&input->write);
	return 0;
}

uint64_t input_read(const struct input *input)
{
	int left = 0;
	off_t at;

	if (input->copy < 0)
		return 0;
	if (input->written > 0) {
		(void)ioctl(input->copy, FIONREAD, &left);
		return (uint64_t)left < input->written ? input->written - (uint64_t)left : 0;
	}
	at = lseek(input->copy, 0, SEEK_CUR);
	return at < 0 ? 0 : (uint64_t)at > input->size ? input->size : (uint64_t)at;
}

void input_close(struct input *input)
{
	fd_close(&input->copy);
	fd_close(&input->write);
}
