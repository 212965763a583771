// SPDX-License-Identifier: MIT
/*
 * The bytes of the archive file. It may be a pipe, so it is only ever read forward; and it is never
 * mapped: whoever else has it open could cut it short, which would be a SIGBUS here.
 */
#include "unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_BUFFER ((size_t)256 << 10)

int input_open(struct input *input, int fd, struct guest_error *err)
{
	*input = (struct input){ .fd = fd, .err = err };
	input->buffer = malloc(INPUT_BUFFER);
	if (!input->buffer)
		return fail(err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK, "input buffer");
	return 0;
}

void input_close(struct input *input)
{
	free(input->buffer);
	input->buffer = NULL;
}

int input_fill(struct input *input, size_t want)
{
	ssize_t n;

	if (input->filled - input->start >= want || input->end)
		return 0;
	memmove(input->buffer, input->buffer + input->start, input->filled - input->start);
	input->filled -= input->start;
	input->start = 0;
	while (input->filled < want) {
		n = read(input->fd, input->buffer + input->filled, INPUT_BUFFER - input->filled);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(input->err, -errno, errno, GUEST_STAGE_ROOTFS,
				    "read the rootfs archive");
		if (n == 0) {
			input->end = true;
			break;
		}
		input->filled += (size_t)n;
		input->total += (uint64_t)n;
	}
	return 0;
}

int input_trailing(struct input *input)
{
	return fail(
		input->err, -EBADMSG, 0, GUEST_STAGE_UNPACK,
		"the rootfs archive is damaged: something follows the end of its compressed data");
}

int input_expect_end(struct input *input, uint64_t zeros_max)
{
	uint64_t seen = 0;
	int r;

	for (;;) {
		r = input_fill(input, 1);
		if (r < 0)
			return r;
		if (input->start == input->filled)
			return 0;
		for (; input->start < input->filled; input->start++, seen++)
			if (input->buffer[input->start] != 0 || seen >= zeros_max)
				return input_trailing(input);
	}
}
