// SPDX-License-Identifier: MIT
/*
 * The helper's malloc(3), for the little that it allocates: each block is a mapping of its own, and
 * is returned when it is freed. libc's own keeps memory that every guest would get a copy of, and
 * looks for a random number on the first stack, of which holders have none.
 *
 * And the pages of the variables and of the stack that a fork is about to write, made beforehand.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "helper/helper.h"

/* the linker's */
extern const char __executable_start[], etext[];

#define PAGE ((uintptr_t)4096)
#define HEADER_SIZE 16 /* as malloc(3) aligns */

/* What lies before a block; its size is that of the mapping. */
struct header {
	_Alignas(HEADER_SIZE) size_t size;
};

static void *finish(void *mapping, size_t size)
{
	struct header *header = mapping;

	if (mapping == MAP_FAILED)
		return NULL;
	header->size = size;
	return header + 1;
}

static int add_header(size_t *size)
{
	if (!__builtin_add_overflow(*size, sizeof(struct header), size))
		return 0;
	errno = ENOMEM;
	return -1;
}

void *malloc(size_t size)
{
	if (add_header(&size) < 0)
		return NULL;
	return finish(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		      size);
}

void *calloc(size_t count, size_t size)
{
	if (__builtin_mul_overflow(count, size, &size))
		size = SIZE_MAX;
	return malloc(size); /* which is zeroed */
}

void *realloc(void *block, size_t size)
{
	struct header *header = block;

	if (!block)
		return malloc(size);
	if (add_header(&size) < 0)
		return NULL;
	header--;
	return finish(mremap(header, header->size, size, MREMAP_MAYMOVE), size);
}

void free(void *block)
{
	struct header *header = block;

	if (block)
		munmap(header - 1, header[-1].size);
}

void memory_keep_from_forks(void *block)
{
	struct header *header = (struct header *)block - 1;

	madvise(header, header->size, MADV_DONTFORK);
}

/* At once, which takes a tenth of a fault for each. Where it fails (before Linux 5.14), faults do.
 */
static void populate(const void *first, const void *last, int advice)
{
	uintptr_t start = (uintptr_t)first & ~(PAGE - 1);

	madvise((void *)start, (uintptr_t)last + 1 - start, advice);
}

void memory_populate_stack(void)
{
	uintptr_t variables = (uintptr_t)&errno; /* of which it is one */

	populate((void *)(variables - PAGE), (void *)variables, MADV_POPULATE_WRITE);
}

void memory_populate_holder(const void *go)
{
	populate(__executable_start, etext, MADV_POPULATE_READ);
	memory_populate_stack();
	populate(&helper_message, &helper_message, MADV_POPULATE_WRITE);
	populate(go, go, MADV_POPULATE_WRITE);
}
