// SPDX-License-Identifier: MIT
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_ERRNO 4095

void take_bytes(struct fuzz_input *input, void *to, size_t size)
{
	size_t n = size < input->size ? size : input->size;

	memset(to, 0, size);
	if (n > 0)
		memcpy(to, input->data, n);
	input->data += n;
	input->size -= n;
}

uint8_t take_byte(struct fuzz_input *input)
{
	uint8_t value;

	take_bytes(input, &value, sizeof(value));
	return value;
}

uint32_t take_u32(struct fuzz_input *input)
{
	uint32_t value;

	take_bytes(input, &value, sizeof(value));
	return value;
}

uint64_t take_u64(struct fuzz_input *input)
{
	uint64_t value;

	take_bytes(input, &value, sizeof(value));
	return value;
}

void *take_block(struct fuzz_input *input, size_t size)
{
	void *block = malloc(size);

	ASSERT(block || size == 0);
	take_bytes(input, block, size);
	return block;
}

char *take_string(struct fuzz_input *input)
{
	const uint8_t *nul = input->size > 0 ? memchr(input->data, '\0', input->size) : NULL;
	size_t length = nul ? (size_t)(nul - input->data) : input->size;
	char *string = malloc(length + 1);

	ASSERT(string);
	take_bytes(input, string, length);
	string[length] = '\0';
	if (nul)
		take_byte(input);
	return string;
}

void fuzz_assert(int holds, const char *what, int line)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold, in line %d: %s\n", line, what);
	abort();
}

void check_error(int r, const struct guest_error *err)
{
	const char *end = memchr(err->message, '\0', sizeof(err->message));

	if (r >= 0)
		return;
	ASSERT(r >= -MAX_ERRNO);
	ASSERT(err->code == r);
	ASSERT(end && end > err->message);
	ASSERT(!strpbrk(err->message, "\n\r\t\x1b"));
}

uint64_t open_fds(void)
{
	uint64_t fds = 0;

	for (int fd = 0; fd < 64; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			fds |= UINT64_C(1) << fd;
	return fds;
}

const char *file_of(const void *data, size_t size)
{
	static char path[32];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	ASSERT(ftruncate(fd, 0) == 0);
	ASSERT(pwrite(fd, data, size, 0) == (ssize_t)size);
	return path;
}
