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

#define THREADS_MAX 4
#define THREAD_STACK 65536
#define THREAD_BYTES 16384 /* of paths; it is not worth a thread to look at fewer */

/* Those that begin at these offsets of the list. */
struct part {
	pthread_t thread;
	int tree;
	const struct cache_list *list;
	size_t begin, end;
	uint64_t sum;
	int r;
};

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

static void *sum_part(void *argument)
{
	struct part *part = argument;
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

	if (count > THREADS_MAX)
		count = THREADS_MAX;
	if (sched_getaffinity(0, sizeof(set), &set) == 0 && (size_t)CPU_COUNT(&set) < count)
		count = (size_t)CPU_COUNT(&set);
	return count;
}

int cache_sum_tree(int tree, const struct cache_list *list, uint64_t *ret_sum)
{
	struct part parts[THREADS_MAX];
	size_t count = count_parts(list), started = 1;
	int r = 0;

	for (size_t i = 0; i < count; i++)
		parts[i] = (struct part){
			.tree = tree,
			.list = list,
			.begin = next_path(list, list->used * i / count),
			.end = next_path(list, list->used * (i + 1) / count),
		};
	while (started < count &&
	       thread_start(&parts[started].thread, THREAD_STACK, sum_part, &parts[started]) == 0)
		started++;
	sum_part(&parts[0]);
	for (size_t i = started; i < count; i++)
		sum_part(&parts[i]);
	*ret_sum = 0;
	for (size_t i = 0; i < count; i++) {
		if (i > 0 && i < started)
			pthread_join(parts[i].thread, NULL);
		*ret_sum += parts[i].sum;
		if (r == 0)
			r = parts[i].r;
	}
	return r;
}
