// SPDX-License-Identifier: MIT
/*
 * Guests made ahead. A thread makes them, one after the other and without the lock; whoever takes
 * one takes it out of a ring, or makes one if that is empty.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "base/thread.h"
#include "config/config.h"
#include "host/host.h"

#define STACK_SIZE (512 << 10)

/* Between attempts that fail: doubled from one to the next. */
#define PAUSE_MIN_NS 10000000ULL
#define PAUSE_MAX_NS 1000000000ULL

struct guest_pool {
	uint64_t owner;		     /* host_process() of who made it */
	struct guest_config *config; /* a copy */
	int rootfs_fd;		     /* its rootfs_fd, if it has one; else -EBADF */
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	bool ending;
	uint32_t size;
	uint32_t first, count; /* of those that are ready; count is read without the lock, too */
	struct guest *ready[]; /* a ring; NULL is an empty place */
};

/* With the lock held. */
static void put(struct guest_pool *pool, struct guest *guest)
{
	pool->ready[(pool->first + pool->count) % pool->size] = guest;
	__atomic_store_n(&pool->count, pool->count + 1, __ATOMIC_RELAXED);
}

/* The oldest, or NULL. */
static struct guest *pop(struct guest_pool *pool)
{
	struct guest *guest = NULL;

	pthread_mutex_lock(&pool->lock);
	if (pool->count > 0) {
		guest = pool->ready[pool->first];
		pool->ready[pool->first] = NULL;
		pool->first = (pool->first + 1) % pool->size;
		__atomic_store_n(&pool->count, pool->count - 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&pool->lock);
	return guest;
}

/* With the lock held, which is given up meanwhile. */
static void pause_for(struct guest_pool *pool, uint64_t pause_ns)
{
	const uint64_t end = sys_now_ns() + pause_ns;
	const struct timespec deadline = { (time_t)(end / 1000000000), (long)(end % 1000000000) };

	while (!pool->ending &&
	       pthread_cond_timedwait(&pool->changed, &pool->lock, &deadline) != ETIMEDOUT)
		;
}

/*
 * With the lock held: until a guest is taken, or the pool ends. A thread that is woken may run
 * before the one that woke it, who has a guest to use, goes on; one of SCHED_BATCH does not. Where
 * they had one CPU, 3 to 8 takes in 100 lasted as long as making the next guest, and about 1 does
 * now. What the thread starts shall be as the host is, so that it wears this only in its sleep.
 */
static void wait_for_taker(struct guest_pool *pool)
{
	const struct sched_param none = { .sched_priority = 0 };
	bool batch = sched_getscheduler(0) == SCHED_OTHER &&
		     sched_setscheduler(0, SCHED_BATCH, &none) == 0;

	pthread_cond_wait(&pool->changed, &pool->lock);
	if (batch)
		(void)sched_setscheduler(0, SCHED_OTHER, &none);
}

static void *fill(void *argument)
{
	struct guest_error err = { .size = sizeof(err) }; /* whoever takes one will meet it, too */
	struct guest_pool *pool = argument;
	uint64_t pause_ns = PAUSE_MIN_NS;
	struct guest *guest;
	int r;

	pthread_mutex_lock(&pool->lock);
	while (!pool->ending) {
		if (pool->count == pool->size) {
			wait_for_taker(pool);
			continue;
		}
		pthread_mutex_unlock(&pool->lock);
		r = host_guest_create(&guest, pool->config, &err);
		pthread_mutex_lock(&pool->lock);
		if (r == 0) {
			put(pool, guest);
			pause_ns = PAUSE_MIN_NS;
		} else {
			pause_for(pool, pause_ns);
			pause_ns = pause_ns < PAUSE_MAX_NS / 2 ? pause_ns * 2 : PAUSE_MAX_NS;
		}
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* rootfs_fd is opened anew for each guest: the pool needs one of its own. */
static int own_rootfs(struct guest_pool *pool, struct guest_error *err)
{
	struct host_rootfs rootfs;
	int r = host_rootfs_open(&rootfs, pool->config, err);

	if (r < 0)
		return r;
	if (S_ISFIFO(rootfs.st.st_mode))
		r = error_text(err, EINVAL, GUEST_STAGE_ROOTFS,
			       "a pipe can be read but once, and a pool may have to do so again");
	if (pool->config->rootfs_fd >= 0)
		pool->config->rootfs_fd = pool->rootfs_fd = fd_move(&rootfs.fd);
	host_rootfs_close(&rootfs);
	return r;
}

static void pool_free(struct guest_pool *pool)
{
	fd_close(&pool->rootfs_fd);
	free(pool->config);
	free(pool);
}

static struct guest_pool *pool_new(const struct guest_config *config, uint32_t size,
				   struct guest_error *err)
{
	struct guest_pool *pool = calloc(1, sizeof(*pool) + size * sizeof(pool->ready[0]));
	pthread_condattr_t monotonic;

	if (!pool) {
		error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "pool");
		return NULL;
	}
	pool->owner = host_process();
	pool->size = size;
	pool->rootfs_fd = -EBADF;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (config_copy(&pool->config, config, err) == 0 && own_rootfs(pool, err) == 0)
		return pool;
	pool_free(pool);
	return NULL;
}

/* End what is ready and free it all; there is no thread any more. */
static int pool_clear(struct guest_pool *pool, struct guest_error *err)
{
	struct guest *guest;
	int r = 0;

	while ((guest = pop(pool))) {
		int ended = host_guest_end(guest, r < 0 ? NULL : err);

		r = r < 0 ? r : ended;
	}
	pthread_cond_destroy(&pool->changed);
	pthread_mutex_destroy(&pool->lock);
	pool_free(pool);
	return r;
}

int pool_create(struct guest_pool **ret_pool, const struct guest_config *config, uint32_t size,
		struct guest_error *err)
{
	struct guest_pool *pool = pool_new(config, size, err);
	struct guest *guest;
	int r;

	if (!pool)
		return err->code;
	r = host_guest_create(&guest, pool->config, err);
	if (r == 0) {
		put(pool, guest);
		r = thread_start(&pool->thread, STACK_SIZE, fill, pool);
		if (r < 0)
			error_make(err, -r, GUEST_STAGE_MEMORY, "thread");
	}
	if (r < 0)
		(void)pool_clear(pool, NULL);
	else
		*ret_pool = pool;
	return r;
}

/* Its holder, and with that all of it, may have been killed while nobody looked. */
static bool is_alive(const struct guest *guest)
{
	return host_wait_readable(guest->pidfd, 0) == -ETIMEDOUT;
}

int pool_take(struct guest_pool *pool, struct guest **ret_guest, struct guest_error *err)
{
	int r = host_check_owner(pool->owner, "the pool", err);
	struct guest *guest;

	if (r < 0)
		return r;
	while ((guest = pop(pool)) && !is_alive(guest))
		(void)host_guest_end(guest, NULL);
	if (guest) {
		host_guest_begin(guest, pool->config);
		*ret_guest = guest;
	} else {
		r = host_guest_create(ret_guest, pool->config, err);
	}
	pthread_cond_signal(&pool->changed);
	return r;
}

uint32_t pool_ready(const struct guest_pool *pool)
{
	if (host_check_owner(pool->owner, "the pool", NULL) < 0)
		return 0;
	return __atomic_load_n(&pool->count, __ATOMIC_RELAXED);
}

/* In a forked child: there is no thread, the lock may be held for ever, and `count` may be wrong.
 */
static void forget(struct guest_pool *pool)
{
	for (uint32_t i = 0; i < pool->size; i++)
		if (pool->ready[i])
			host_guest_put(pool->ready[i]);
	pool_free(pool);
}

int pool_end(struct guest_pool *pool, struct guest_error *err)
{
	int r = host_check_owner(pool->owner, "the pool", err);

	if (r < 0) {
		forget(pool);
		return r;
	}
	pthread_mutex_lock(&pool->lock);
	pool->ending = true;
	pthread_cond_signal(&pool->changed);
	pthread_mutex_unlock(&pool->lock);
	pthread_join(pool->thread, NULL);
	return pool_clear(pool, err);
}
