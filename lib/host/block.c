// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "host/host.h"

#define HUGE_PAGE ((size_t)2 << 20) /* or no multiple of one: then there are just none */
#define MAPPED_FROM (HUGE_PAGE / 2)
#define RESERVED ((size_t)1 << 30)

/*
 * What lies before the bytes. A large block is a mapping within address space that is reserved for
 * it, so that it grows where it is.
 */
struct block {
	size_t mapped, reserved; /* 0: malloc's */
	alignas(max_align_t) char bytes[];
};

static struct block *block_of(char *bytes)
{
	return bytes ? (struct block *)(bytes - offsetof(struct block, bytes)) : NULL;
}

static void release(struct block *block)
{
	if (block && block->mapped)
		munmap(block, block->reserved);
	else
		free(block);
}

/* Address space that begins where a huge page does, or NULL. */
static void *reserve(size_t size)
{
	char *map = mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (map == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)map % HUGE_PAGE;
	if (before > 0)
		munmap(map, before);
	munmap(map + before + size, HUGE_PAGE - before);
	return map + before;
}

/* What it may become. The host may need itself what RLIMIT_AS leaves. */
static size_t room_for(size_t size)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur != RLIM_INFINITY)
		return size;
	return size < RESERVED ? RESERVED : 2 * size;
}

static struct block *map(struct block *old, size_t used, size_t size)
{
	size_t reserved = room_for(size);
	struct block *block = reserve(reserved);

	if (!block)
		block = reserve(reserved = size);
	if (!block)
		return NULL;
	madvise(block, reserved, MADV_HUGEPAGE); /* without them it is slower */
	if (mprotect(block, size, PROT_READ | PROT_WRITE) < 0) {
		munmap(block, reserved);
		return NULL;
	}
	if (old)
		memcpy(block->bytes, old->bytes, used);
	release(old);
	block->mapped = size;
	block->reserved = reserved;
	return block;
}

static struct block *grow_mapped(struct block *old, size_t used, size_t size)
{
	if (!old || size > old->reserved)
		return map(old, used, size);
	if (mprotect(old, size, PROT_READ | PROT_WRITE) < 0)
		return NULL;
	old->mapped = size;
	return old;
}

static struct block *grow_small(struct block *old, size_t size)
{
	struct block *block = realloc(old, size);

	if (block)
		block->mapped = block->reserved = 0;
	return block;
}

int block_grow(char **bytes, size_t used, size_t *capacity)
{
	struct block *block = block_of(*bytes);
	size_t size;

	if (*capacity > SIZE_MAX / 4)
		return -ENOMEM;
	size = offsetof(struct block, bytes) + *capacity;
	if (size < MAPPED_FROM) {
		block = grow_small(block, size);
	} else {
		size = (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
		block = grow_mapped(block, used, size);
	}
	if (!block)
		return -ENOMEM;
	*bytes = block->bytes;
	*capacity = size - offsetof(struct block, bytes);
	return 0;
}

void block_trim(char *bytes)
{
	struct block *block = block_of(bytes);

	if (block && block->mapped < block->reserved) {
		munmap((char *)block + block->mapped, block->reserved - block->mapped);
		block->reserved = block->mapped;
	}
}

void block_free(char *bytes)
{
	release(block_of(bytes));
}
