// SPDX-License-Identifier: MIT
/*
 * A sum over the inodes of a tree. Most of the time goes into waiting for memory, in which the
 * kernel has them, so some threads share the work. They let others go first while the caller has
 * something else to do, who then does the rest with them.
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
#define PIECE 2048	   /* bytes of paths, taken at once */

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

/* Where the first path begins that does not begin before. */
static size_t next_path(const struct cache_list *list, size_t offset)
{
	if (offset == 0 || offset >= list->used)
		return offset;
	return offset - 1 + strlen(list->paths + offset - 1) + 1;
}

/* One piece after the other, until all are taken. */
static void *add_pieces(void *argument)
{
	struct cache_sum *sum = argument;
	const struct cache_list *list = sum->list;

	while (__atomic_load_n(&sum->r, __ATOMIC_RELAXED) == 0) {
		size_t piece = __atomic_fetch_add(&sum->piece, 1, __ATOMIC_RELAXED);
		size_t at = next_path(list, piece * PIECE),
		       end = next_path(list, (piece + 1) * PIECE);
		uint64_t part = 0;
		struct stat st;

		if (at >= list->used)
			break;
		for (; at < list->used && at < end; at += strlen(list->paths + at) + 1) {
			if (fstatat(sum->tree, list->paths + at, &st, AT_SYMLINK_NOFOLLOW) < 0) {
				__atomic_store_n(&sum->r, -errno, __ATOMIC_RELAXED);
				break;
			}
			part += sum_inode(at, &st); /* in whatever order */
		}
		__atomic_fetch_add(&sum->sum, part, __ATOMIC_RELAXED);
		/* the kernel places new processes behind us, for some ms, where a CPU is idle */
		if (!__atomic_load_n(&sum->ending, __ATOMIC_RELAXED))
			sched_yield();
	}
	return NULL;
}

static size_t count_threads(const struct cache_list *list)
{
	size_t count = list->used / THREAD_BYTES + 1;
	cpu_set_t set;

	if (count > CACHE_SUM_THREADS)
		count = CACHE_SUM_THREADS;
	if (sched_getaffinity(0, sizeof(set), &set) == 0 && (size_t)CPU_COUNT(&set) < count)
		count = (size_t)CPU_COUNT(&set);
	return count;
}

void cache_sum_begin(struct cache_sum *sum, int tree, const struct cache_list *list)
{
	size_t count = count_threads(list);

	*sum = (struct cache_sum){ .tree = tree, .list = list, .begun = true };
	while (sum->threads_count < count &&
	       thread_start(&sum->threads[sum->threads_count], THREAD_STACK, add_pieces, sum) == 0)
		sum->threads_count++;
}

int cache_sum_end(struct cache_sum *sum, uint64_t *ret_sum)
{
	__atomic_store_n(&sum->ending, 1, __ATOMIC_RELAXED);
	add_pieces(sum);
	while (sum->threads_count > 0)
		pthread_join(sum->threads[--sum->threads_count], NULL);
	sum->begun = false;
	*ret_sum = sum->sum;
	return sum->r;
}
