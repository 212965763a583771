// SPDX-License-Identifier: MIT
/*
 * The registry of this process's keepers, one for each rootfs in use with and without the filter.
 * After a fork the child sees that the registry is not its own and begins an empty one; the
 * parent's keepers are left alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"
#include "host/host.h"
#include "payload/payload.h"

#define START_TIMEOUT_NS 600000000000ULL /* unpacking the largest rootfs on a slow machine */
#define CACHE_TRIES 4			 /* found, changed; made, but later than another; found */

_Static_assert(CACHE_IDS == WIRE_IDS, "the cache compares what the launcher tells");

enum keeper_state {
	KEEPER_STARTING,
	KEEPER_READY,
	KEEPER_RETIRED,
	KEEPER_FAILED,
};

struct registry {
	uint64_t owner; /* host_process() */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a keeper is no longer STARTING */
	struct keeper *keepers;
};

static struct registry *current;

static struct registry *registry_new(void)
{
	struct registry *registry = calloc(1, sizeof(*registry));

	if (!registry)
		return NULL;
	registry->owner = host_process();
	pthread_mutex_init(&registry->lock, NULL);
	pthread_cond_init(&registry->changed, NULL);
	return registry;
}

/* Close the child's copies of the parent's fds. The locks may have been held by a thread that is
 * not here. */
static void registry_forget(struct registry *registry)
{
	for (struct keeper *keeper = registry->keepers; keeper; keeper = keeper->next) {
		fd_close(&keeper->control);
		fd_close(&keeper->pidfd);
		fd_close(&keeper->user_ns);
		cache_close(&keeper->cache);
		group_forget(&keeper->group);
	}
}

static struct registry *registry_get(void)
{
	struct registry *seen = __atomic_load_n(&current, __ATOMIC_ACQUIRE), *fresh;
	uint64_t self = host_process();

	if (!self)
		return NULL;
	if (seen && seen->owner == self)
		return seen;
	fresh = registry_new();
	if (!fresh)
		return NULL;
	if (__atomic_compare_exchange_n(&current, &seen, fresh, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE)) {
		if (seen)
			registry_forget(seen); /* its memory stays: guests of the parent still point
						  to it */
		return fresh;
	}
	free(fresh); /* another thread was faster */
	return seen;
}

/* An fd that is taken over, or what -1 and errno say. */
static int add_fd(struct request *request, int fd, const char *what, struct guest_error *err)
{
	if (fd < 0)
		return error_make(err, errno, GUEST_STAGE_HELPER, "%s", what);
	return request_add_fd(request, fd, err);
}

/* The directory that becomes the template. */
static int add_directory(struct request *request, int directory, struct guest_error *err)
{
	cleanup_free char *path = host_path_of_fd(directory);
	struct wire_start *start;
	struct stat st;
	int offset;

	if (!path || fstat(directory, &st) < 0)
		return error_make(err, errno, GUEST_STAGE_ROOTFS, "the rootfs directory");
	offset = request_add_string(request, path, err);
	if (offset < 0)
		return offset;
	start = (struct wire_start *)request->bytes;
	start->rootfs_string = (uint32_t)offset;
	start->rootfs_device = st.st_dev;
	start->rootfs_inode = st.st_ino;
	return add_fd(request, fcntl(directory, F_DUPFD_CLOEXEC, 3), "rootfs", err);
}

/* The archive, from its beginning if it can be read again, and what unpacks it. */
static int add_archive(struct request *request, const struct host_rootfs *rootfs,
		       struct guest_error *err)
{
	int r;

	r = rootfs->embedded ? payload_open_rootfs(err) : fcntl(rootfs->fd, F_DUPFD_CLOEXEC, 3);
	if (r < 0 && rootfs->embedded)
		return r;
	if (rootfs->cache)
		(void)lseek(r, 0, SEEK_SET);
	r = add_fd(request, r, "rootfs", err);
	if (r >= 0)
		r = payload_open_program(&payload_unpacker, 0, err);
	return r < 0 ? r : request_add_fd(request, r, err);
}

static int send_start(struct keeper *keeper, uint32_t kind, int directory, struct guest_error *err)
{
	const struct host_rootfs *rootfs = &keeper->rootfs;
	struct wire_start *start;
	struct request request;
	int r;

	r = request_init(&request, sizeof(*start), err);
	if (r < 0)
		return r;
	r = add_fd(&request, fd_above_stdio(sys_pidfd_open(getpid(), 0)), "pidfd_open", err);
	if (r >= 0 && kind != WIRE_ROOTFS_ARCHIVE)
		r = add_directory(&request, directory, err);
	if (r >= 0 && (kind == WIRE_ROOTFS_ARCHIVE || kind == WIRE_ROOTFS_FILL))
		r = add_archive(&request, rootfs, err);
	if (r >= 0) {
		start = (struct wire_start *)request.bytes;
		start->flags = keeper->seccomp ? 0 : WIRE_START_NO_SECCOMP;
		start->rootfs = kind;
		start->rootfs_bytes = rootfs->bytes;
		start->rootfs_inodes = rootfs->inodes;
		/* the first: there is room */
		r = host_send(keeper->control, &request, WIRE_START, HOST_NEVER);
		if (r < 0)
			error_make(err, -r, GUEST_STAGE_HELPER, "talking to the helper");
	}
	request_clear(&request);
	return r < 0 ? r : 0;
}

/* KEEPER from the launcher, then READY from the keeper; or FAILED from either. */
static int receive_answer(struct keeper *keeper, int wanted, uint64_t deadline,
			  struct guest_error *err)
{
	union {
		struct wire_keeper keeper;
		struct wire_failed failed;
	} message;
	int fds[WIRE_FDS_MAX], r;
	size_t count = 0;

	r = host_wait_readable(keeper->control, deadline);
	if (r == 0)
		r = wire_receive(keeper->control, &message, sizeof(message), fds, &count, 1);
	if (r == WIRE_FAILED && message.failed.header.size == sizeof(message.failed)) {
		wire_close_fds(fds, count);
		return error_take(err, &message.failed.error);
	}
	if (r < 0)
		return r == -EPIPE ?
			       error_text(err, EIO, GUEST_STAGE_HELPER,
					  "the helper died while it made the namespaces") :
			       error_make(err, -r, GUEST_STAGE_HELPER, "waiting for the helper");
	if (r == wanted && r == WIRE_KEEPER && (count == 1 || count == 2) &&
	    message.keeper.header.size == sizeof(message.keeper)) {
		keeper->pidfd = fds[0];
		keeper->user_ns = count > 1 ? fds[1] : -EBADF;
		keeper->ids_count = message.keeper.ids_count;
		keeper->pid = message.keeper.pid;
		keeper->uid = message.keeper.uid;
		keeper->gid = message.keeper.gid;
		memcpy(keeper->stored_ids, message.keeper.stored_ids, sizeof(keeper->stored_ids));
		return 0;
	}
	wire_close_fds(fds, count);
	return r == wanted && r == WIRE_READY ?
		       0 :
		       error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "message %d of the helper", r);
}

/* With a template of this kind (enum wire_rootfs) in `directory`. */
static int start_once(struct keeper *keeper, const struct group_wish *wish, uint32_t kind,
		      int directory, struct guest_error *err)
{
	uint64_t deadline = sys_now_ns() + START_TIMEOUT_NS;
	int launcher = -EBADF, r;
	pid_t pid;

	keeper->control = host_launch(&launcher, &pid, err);
	if (keeper->control < 0)
		return keeper->control;
	if (wish->wanted)
		group_prepare(&keeper->group, wish, pid);
	r = send_start(keeper, kind, directory, err);
	if (r == 0)
		r = receive_answer(keeper, WIRE_KEEPER, deadline, err);
	if (r == 0)
		r = group_give(keeper, err);
	/* then the launcher ends, if it has not yet; a forked copy of this process has the socket,
	 * too */
	if (r < 0)
		shutdown(keeper->control, SHUT_RDWR);
	host_launch_wait(&launcher);
	return r < 0 ? r : receive_answer(keeper, WIRE_READY, deadline, err);
}

static void keeper_stop(struct keeper *keeper)
{
	/* closing alone is no end while a forked copy of this process has the socket, too */
	if (keeper->control >= 0)
		shutdown(keeper->control, SHUT_RDWR);
	fd_close(&keeper->control);
	if (keeper->pidfd >= 0 && host_wait_dead(keeper->pidfd) == 0)
		host_launch_wait(&keeper->pidfd); /* ours if we are PID 1 or a subreaper */
	fd_close(&keeper->pidfd);
	fd_close(&keeper->user_ns);
}

/* End a keeper and free it. Nobody uses it, and it is in no list. */
static void keeper_free(struct keeper *keeper)
{
	keeper_stop(keeper);
	cache_close(&keeper->cache);
	group_end(&keeper->group);
	host_rootfs_close(&keeper->rootfs);
	free(keeper);
}

static struct keeper *keeper_new(struct host_rootfs *rootfs, const struct group_wish *wish,
				 bool seccomp)
{
	struct keeper *keeper = calloc(1, sizeof(*keeper));

	if (!keeper || group_init(&keeper->group, wish->parent) < 0) {
		free(keeper);
		return NULL;
	}
	keeper->rootfs = *rootfs;
	rootfs->fd = -EBADF;
	rootfs->cache = NULL;
	keeper->seccomp = seccomp;
	keeper->cache.cache = keeper->cache.fd = keeper->cache.tree = -EBADF;
	keeper->state = KEEPER_STARTING;
	keeper->control = keeper->pidfd = keeper->user_ns = -EBADF;
	return keeper;
}

/* Remove what is in a directory, with the rights of a guest's root. */
static int empty_as_guest(int directory)
{
	struct host_rootfs none = { .fd = -EBADF };
	const struct group_wish wish = { .wanted = false };
	struct keeper *remover = keeper_new(&none, &wish, true);
	struct guest_error err = { .size = sizeof(err) };
	int r;

	if (!remover)
		return -ENOMEM;
	r = start_once(remover, &wish, WIRE_ROOTFS_REMOVE, directory, &err);
	keeper_free(remover);
	return r;
}

/*
 * With a template in the cache. 0; -EPERM: something is wrong with the cache; else there can be
 * none now. More than a few times, somebody plays tricks with it.
 */
static int start_cached(struct keeper *keeper, const struct group_wish *wish,
			struct guest_error *err)
{
	struct cache_entry *cache = &keeper->cache;
	char key[128];
	int changed, r = host_rootfs_key(&keeper->rootfs, key, sizeof(key), err);

	if (r < 0)
		return r;
	r = -EAGAIN;
	for (int tries = 0; tries < CACHE_TRIES && r == -EAGAIN; tries++) {
		r = cache_get(cache, keeper->rootfs.cache, key, empty_as_guest, err);
		if (r < 0)
			continue;
		if (!cache->fresh)
			cache_check_begin(cache); /* while the helper works */
		r = start_once(keeper, wish,
			       cache->fresh ? WIRE_ROOTFS_FILL : WIRE_ROOTFS_DIRECTORY, cache->tree,
			       err);
		if (r == -EAGAIN) /* no process could be made; else it tells of a change */
			r = -EBUSY;
		changed = cache_check_end(cache, err);
		if (changed < 0) /* whatever else has come of it */
			r = changed;
		if (r == 0)
			r = cache_settle(cache, keeper->stored_ids, err);
		if (r == 0)
			return 0;
		keeper_stop(keeper);
		group_undo(&keeper->group);
		r = cache_drop(cache, r == -EPERM ? -EACCES : r, err);
	}
	return r;
}

static int keeper_start(struct keeper *keeper, const struct group_wish *wish,
			struct guest_error *err)
{
	const struct host_rootfs *rootfs = &keeper->rootfs;
	int r = rootfs->cache ? start_cached(keeper, wish, &keeper->cache_error) : -EOPNOTSUPP;

	if (r == -EPERM)
		*err = keeper->cache_error;
	if (r == -EPERM)
		return r;
	if (r == 0)
		keeper->template_source =
			keeper->cache.fresh ? GUEST_TEMPLATE_FILLED : GUEST_TEMPLATE_CACHED;
	else
		keeper->template_source = rootfs->cache ? GUEST_TEMPLATE_NO_CACHE :
					  rootfs->kind == WIRE_ROOTFS_ARCHIVE ?
							  GUEST_TEMPLATE_UNPACKED :
							  GUEST_TEMPLATE_DIRECTORY;
	return r == 0 ? 0 : start_once(keeper, wish, rootfs->kind, rootfs->fd, err);
}

static bool same_string(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* The first that is usable or will be. */
static struct keeper *registry_find(const struct registry *registry,
				    const struct host_rootfs *rootfs, const char *parent,
				    bool seccomp)
{
	struct keeper *keeper = registry->keepers;

	while (keeper && (keeper->state > KEEPER_READY || keeper->seccomp != seccomp ||
			  !host_rootfs_same(&keeper->rootfs, rootfs) ||
			  !same_string(keeper->group.parent, parent)))
		keeper = keeper->next;
	return keeper;
}

/* With the lock held: out of the list if nobody will use it any more. Returns it, to be freed
 * without the lock. */
static struct keeper *unlink_unused(struct registry *registry, struct keeper *keeper,
				    bool even_if_ready)
{
	struct keeper **link = &registry->keepers;

	if (keeper->users > 0 || keeper->state == KEEPER_STARTING ||
	    (keeper->state == KEEPER_READY && !even_if_ready))
		return NULL;
	while (*link && *link != keeper)
		link = &(*link)->next;
	if (*link)
		*link = keeper->next;
	return keeper;
}

int keeper_get(struct keeper **ret_keeper, struct host_rootfs *rootfs,
	       const struct group_wish *wish, bool seccomp, struct guest_error *err)
{
	struct registry *registry = registry_get();
	struct keeper *keeper;
	int r = 0;

	if (!registry)
		return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "registry");
	pthread_mutex_lock(&registry->lock);
	keeper = registry_find(registry, rootfs, wish->parent, seccomp);
	if (keeper) {
		keeper->users++;
		while (keeper->state == KEEPER_STARTING)
			pthread_cond_wait(&registry->changed, &registry->lock);
		if (keeper->state == KEEPER_FAILED) {
			*err = keeper->error;
			r = err->code;
		}
	} else {
		keeper = keeper_new(rootfs, wish, seccomp);
		if (!keeper) {
			pthread_mutex_unlock(&registry->lock);
			return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "keeper");
		}
		keeper->users = 1;
		keeper->next = registry->keepers;
		registry->keepers = keeper;
		pthread_mutex_unlock(&registry->lock);
		r = keeper_start(keeper, wish, err);
		fd_close(&keeper->rootfs.fd);
		pthread_mutex_lock(&registry->lock);
		if (r < 0)
			keeper->error = *err;
		keeper->state = r < 0 ? KEEPER_FAILED : KEEPER_READY;
		pthread_cond_broadcast(&registry->changed);
	}
	pthread_mutex_unlock(&registry->lock);
	if (r < 0)
		keeper_put(keeper);
	else
		*ret_keeper = keeper;
	return r;
}

void keeper_put(struct keeper *keeper)
{
	struct registry *registry = registry_get();
	struct keeper *unused;

	pthread_mutex_lock(&registry->lock);
	keeper->users--;
	unused = unlink_unused(registry, keeper, false);
	pthread_mutex_unlock(&registry->lock);
	if (unused)
		keeper_free(unused);
}

void keeper_retire(struct keeper *keeper)
{
	struct registry *registry = registry_get();

	pthread_mutex_lock(&registry->lock);
	keeper->state = KEEPER_RETIRED;
	pthread_mutex_unlock(&registry->lock);
}

void keeper_trim(void)
{
	struct registry *registry = registry_get();
	struct keeper *keeper, *next, *unused = NULL;

	if (!registry)
		return;
	pthread_mutex_lock(&registry->lock);
	for (keeper = registry->keepers; keeper; keeper = next) {
		next = keeper->next;
		if (unlink_unused(registry, keeper, true)) {
			keeper->next = unused;
			unused = keeper;
		}
	}
	pthread_mutex_unlock(&registry->lock);
	for (keeper = unused; keeper; keeper = next) {
		next = keeper->next;
		keeper_free(keeper);
	}
}
