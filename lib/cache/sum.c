// SPDX-License-Identifier: MIT
/*
 * A sum over the inodes of a tree. Most of the time goes into waiting for memory, in which the
 * kernel has them, so some threads share the work.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "base/thread.h"
#include "cache/cache.h"

#define THREAD_STACK 65536
#define THREAD_BYTES 16384 /* of paths; it is not worth a thread to look at fewer */

/* One more number into a sum. The multiplier is that of Fibonacci hashing: 2^64 / 1.618... */
static uint64_t mix(uint64_t sum, uint64_t number)
{
	sum = (sum ^ number) * 0x9e3779b97f4a7c15U;
	return sum ^ sum >> 32;
}

static uint64_t sum_inode(size_t at, const struct stat *st)
{
	uint64_t sum = mix(at, st->st_ino);

	sum = mix(sum, st->st_mode);
	sum = mix(sum, (uint64_t)st->st_uid << 32 | st->st_gid);
	sum = mix(sum, (uint64_t)st->st_size);
	sum = mix(sum, (uint64_t)st->st_mtim.tv_sec);
	sum = mix(sum, (uint64_t)st->st_ctim.tv_sec);
	return mix(sum, (uint64_t)st->st_mtim.tv_nsec << 32 | (uint64_t)st->st_ctim.tv_nsec);
}

static void *add_part(void *argument)
{
	struct cache_sum_part *part = argument;
	const char *paths = part->list->paths;
	struct stat st;

	for (size_t at = part->begin; at < part->end; at += strlen(paths + at) + 1) {
		if (fstatat(part->tree, paths + at, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			part->r = -errno;
			break;
		}
		part->sum += sum_inode(at, &st); /* in whatever order */
	}
	return NULL;
}

/* Where the first path begins that does not begin before. */
static size_t next_path(const struct cache_list *list, size_t offset)
{
	return offset == 0 ? 0 : offset - 1 + strlen(list->paths + offset - 1) + 1;
}

static size_t count_parts(const struct cache_list *list)
{
	size_t count = list->used / THREAD_BYTES + 1;
	cpu_set_t set;

	if (count > CACHE_SUM_PARTS)
		count = CACHE_SUM_PARTS;
	if (sched_getaffinity(0, sizeof(set), &set) == 0 && (size_t)CPU_COUNT(&set) < count)
		count = (size_t)CPU_COUNT(&set);
	return count;
}

void cache_sum_begin(struct cache_sum *sum, int tree, const struct cache_list *list)
{
	size_t count = count_parts(list);

	*sum = (struct cache_sum){ .count = count };
	for (size_t i = 0; i < count; i++) {
		struct cache_sum_part *part = &sum->parts[i];

		part->tree = tree;
		part->list = list;
		part->begin = next_path(list, list->used * i / count);
		part->end = next_path(list, list->used * (i + 1) / count);
		part->threaded = thread_start(&part->thread, THREAD_STACK, add_part, part) == 0;
	}
}

int cache_sum_end(struct cache_sum *sum, uint64_t *ret_sum)
{
	int r = 0;

	*ret_sum = 0;
	for (size_t i = 0; i < sum->count; i++) {
		struct cache_sum_part *part = &sum->parts[i];

		if (part->threaded)
			pthread_join(part->thread, NULL);
		else
			add_part(part);
		*ret_sum += part->sum;
		if (r == 0)
			r = part->r;
	}
	sum->count = 0;
	return r;
}
