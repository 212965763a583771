// SPDX-License-Identifier: MIT
/*
 * libFuzzer target: everything the unpacker does to an archive, up to the writer, whose functions
 * are replaced by ones that check what they are promised (paths that stay inside) and write
 * nothing.
 */
#include "unpack.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

static void check_path(const char *path)
{
	const char *part, *end;

	if (strlen(path) >= PATH_MAX)
		abort();
	for (part = path; *part; part = *end ? end + 1 : end) {
		end = strchrnul(part, '/');
		if (end == part || (*end && !end[1]))
			abort();
		if (part[0] == '.' && (end - part == 1 || (end - part == 2 && part[1] == '.')))
			abort();
	}
}

int writer_directory(struct writer *writer, const char *path, const struct metadata *meta)
{
	(void)writer;
	(void)meta;
	check_path(path);
	return 0;
}

int writer_symlink(struct writer *writer, const char *path, const char *target,
		   const struct metadata *meta)
{
	(void)writer;
	(void)meta;
	check_path(path);
	return strlen(target) > SIZE_MAX / 2 ? -1 : 0;
}

int writer_hardlink(struct writer *writer, const char *path, const char *target)
{
	(void)writer;
	check_path(path);
	check_path(target);
	return 0;
}

int writer_file_begin(struct writer *writer, const char *path, const struct metadata *meta)
{
	(void)writer;
	(void)meta;
	check_path(path);
	return 0;
}

int writer_file_data(struct writer *writer, const void *data, size_t size, uint64_t offset)
{
	const volatile uint8_t *bytes = data;
	size_t i;

	(void)writer;
	(void)offset;
	for (i = 0; i < size; i += 64) /* is it ours to read? */
		(void)bytes[i];
	return 0;
}

int writer_file_end(struct writer *writer, uint64_t size, const struct metadata *meta)
{
	(void)writer;
	(void)size;
	(void)meta;
	return 0;
}

int writer_finish(struct writer *writer)
{
	(void)writer;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct decoder_limits limits = { .memory_bytes = 64 << 20, .threads = 2 };
	static const struct walk_options options = { .ids = 65536, .decoded_bytes = 16 << 20 };
	struct guest_error err = { .size = sizeof(err) };
	static struct writer writer;
	struct walk_counts counts;
	struct decoder decoder;
	int fd, r;

	fd = memfd_create("archive", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	r = decoder_open(&decoder, fd, &limits, &err);
	if (r == 0)
		r = walk(&decoder, &writer, &options, &counts, &err);
	/* a failure says what failed, in one line; a success says nothing */
	if (r != err.code || (r < 0) != (err.message[0] != '\0') || strpbrk(err.message, "\n\x1b"))
		abort();
	decoder_close(&decoder);
	close(fd);
	return 0;
}
