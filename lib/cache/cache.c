// SPDX-License-Identifier: MIT
/*
 * Two processes that fill the same entry know nothing of each other: each unpacks into a directory
 * of its own, and the first to rename it wins. An entry is locked shared by each process that it
 * serves, and exclusively by who removes it; so nobody loses what its guests run on. One that
 * cannot be locked so is given another name. That, and what is left behind by who was killed, is
 * for the next one who fills an entry to remove, when it is old and without a lock.
 */
#include "cache/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"

#define FORMAT "libguest cache2" /* changes with what an entry is */
#define ENTRY_PREFIX "rootfs-"
#define PARTIAL_PREFIX "tmp-"
#define PARTIAL_SECONDS 60			/* may be without a lock for as long, when new */
#define UNUSED_SECONDS ((time_t)30 * 24 * 3600) /* then an entry is removed */
#define OPEN_DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

int cache_place(const char *cache_dir, char **ret_path, struct guest_error *err)
{
	const char *base = secure_getenv("XDG_CACHE_HOME"), *home = secure_getenv("HOME");
	char *path = NULL;
	int n;

	if (cache_dir[0])
		n = asprintf(&path, "%s", cache_dir);
	else if (base && base[0] == '/')
		n = asprintf(&path, "%s/libguest", base);
	else if (home && home[0] == '/')
		n = asprintf(&path, "%s/.cache/libguest", home);
	else
		return error_text(err, ENOENT, GUEST_STAGE_CACHE,
				  "no place for it: set HOME or XDG_CACHE_HOME, or name a "
				  "directory as cache_dir");
	if (n < 0)
		return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "cache_dir");
	/* with one of these a symbolic link would be followed */
	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	*ret_path = path;
	return 0;
}

/* Nobody else may have had a hand in it. `forbidden`: mode bits. */
static int check_owner(int fd, mode_t forbidden, const char *path, struct guest_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_make(err, errno, GUEST_STAGE_CACHE, "%.100s", path);
	if (st.st_uid != geteuid())
		return error_text(
			err, EPERM, GUEST_STAGE_CACHE,
			"%.100s belongs to user %u, not to %u: remove it, or name another "
			"cache_dir",
			path, st.st_uid, geteuid());
	if (st.st_mode & forbidden)
		return error_text(
			err, EPERM, GUEST_STAGE_CACHE,
			"%.100s is open to others (mode %o): chmod 700, if nobody has put "
			"anything there",
			path, st.st_mode & 07777);
	return 0;
}

/* The directory that holds all entries; made if it is not there. */
static int open_cache(const char *path, struct guest_error *err)
{
	cleanup_free char *parent = strdup(path);
	char *slash = parent ? strrchr(parent, '/') : NULL;
	cleanup_fd int fd = -EBADF;
	int r;

	if (slash && slash > parent) {
		*slash = '\0';
		(void)mkdir(parent, 0700); /* as ~/.cache is made by who needs it first */
	}
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_make(err, errno, GUEST_STAGE_CACHE, "making %.100s", path);
	fd = fd_above_stdio(open(path, OPEN_DIRECTORY));
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return error_text(err, EPERM, GUEST_STAGE_CACHE,
				  "%.100s is no directory, or a symbolic link: name the directory",
				  path);
	if (fd < 0)
		return error_make(err, errno, GUEST_STAGE_CACHE, "%.100s", path);
	r = check_owner(fd, 022, path, err);
	return r < 0 ? r : fd_move(&fd);
}

static bool is_named(int cache, const char *name, int fd)
{
	struct stat named, st;

	return fstatat(cache, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &st) == 0 &&
	       named.st_ino == st.st_ino && named.st_dev == st.st_dev;
}

/* A name that nobody has. */
static void partial_name(char *name, size_t size)
{
	snprintf(name, size, PARTIAL_PREFIX "%d-%llu", getpid(), (unsigned long long)sys_now_ns());
}

/* Remove what has this name, if it is still this; what is in use merely gets another name, by which
 * it will be found when it is old. */
static int remove_entry(const struct cache_entry *entry, const char *name, int fd)
{
	int cache = entry->cache;
	char partial[64];

	if (!is_named(cache, name, fd))
		return 0; /* somebody else has done so */
	partial_name(partial, sizeof(partial));
	if (renameat(cache, name, cache, partial) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 &&
	    (cache_empty_tree(fd) == 0 || entry->empty(fd) == 0))
		(void)unlinkat(cache, partial, AT_REMOVEDIR);
	return 0;
}

static bool has_name(const char *name, const char *prefix, const char *characters)
{
	size_t size = strlen(prefix);

	return strncmp(name, prefix, size) == 0 && name[size] &&
	       !name[size + strspn(name + size, characters)];
}

/* Only what is surely ours: the directory is the caller's, and may have other things in it. */
static bool is_old(const char *name, int fd)
{
	bool partial = has_name(name, PARTIAL_PREFIX, "0123456789-");
	bool entry = has_name(name, ENTRY_PREFIX, "0123456789abcdef.-");
	struct stat st;

	if ((!partial && !entry) || fstat(fd, &st) < 0 || st.st_uid != geteuid() ||
	    (st.st_mode & 07777) != 0700)
		return false;
	return time(NULL) - st.st_mtime > (partial ? PARTIAL_SECONDS : UNUSED_SECONDS);
}

/* Remove what others have left behind, and what has served nobody for long. */
static void clean(const struct cache_entry *own)
{
	int cache = own->cache, fd = openat(cache, ".", OPEN_DIRECTORY);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		cleanup_fd int old = openat(cache, entry->d_name, OPEN_DIRECTORY);

		if (old < 0 || !is_old(entry->d_name, old) || flock(old, LOCK_EX | LOCK_NB) < 0)
			continue;
		if (faccessat(old, "rootfs", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			(void)remove_entry(own, entry->d_name, old);
		else
			(void)unlinkat(cache, entry->d_name, AT_REMOVEDIR); /* if it is empty */
	}
	if (directory)
		closedir(directory);
	else
		fd_close(&fd);
}

static int read_manifest(struct cache_entry *entry)
{
	struct cache_manifest *manifest = &entry->manifest;
	cleanup_fd int fd = openat(entry->fd, "manifest", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct cache_list *list = &entry->list;
	int r = fd < 0 ? -errno : fd_read_all(fd, manifest, sizeof(*manifest));

	if (r < 0)
		return r;
	if (memcmp(manifest->format, FORMAT, sizeof(FORMAT)) != 0 || manifest->list_size == 0 ||
	    manifest->list_size > CACHE_LIST_MAX)
		return -EINVAL;
	list->used = list->capacity = manifest->list_size;
	list->paths = malloc(list->used);
	if (!list->paths)
		return -ENOMEM;
	r = fd_read_all(fd, list->paths, list->used);
	return r == 0 && list->paths[list->used - 1] ? -EINVAL : r;
}

/* -ENOENT: there is none, or no longer. */
static int open_entry(struct cache_entry *entry, struct guest_error *err)
{
	int r;

	entry->fd = fd_above_stdio(openat(entry->cache, entry->key, OPEN_DIRECTORY));
	if (entry->fd < 0)
		return error_make(err, errno, GUEST_STAGE_CACHE, "%.100s", entry->key);
	r = check_owner(entry->fd, 077, entry->key, err);
	if (r < 0)
		return r;
	if (flock(entry->fd, LOCK_SH | LOCK_NB) < 0)
		/* who has it exclusively removes it */
		return error_make(err, errno == EWOULDBLOCK ? ENOENT : errno, GUEST_STAGE_CACHE,
				  "locking %.100s", entry->key);
	strcpy(entry->name, entry->key);
	entry->tree = fd_above_stdio(openat(entry->fd, "rootfs", OPEN_DIRECTORY));
	r = entry->tree < 0 ? -errno : read_manifest(entry);
	if (r < 0)
		return error_make(err, EAGAIN, GUEST_STAGE_CACHE, "%.100s is incomplete",
				  entry->key);
	(void)futimens(entry->fd, NULL); /* it has been used */
	return 0;
}

/*
 * A directory of ours alone, whatever umask, set-group-ID bit or default ACL say: nobody else may
 * reach the set-user-ID files that a rootfs has.
 */
static int make_directory(int at, const char *name, mode_t mode)
{
	cleanup_fd int fd = -EBADF;

	if (mkdirat(at, name, 0700) < 0)
		return -errno;
	fd = fd_above_stdio(openat(at, name, OPEN_DIRECTORY));
	if (fd < 0 || fchown(fd, geteuid(), getegid()) < 0 || fchmod(fd, mode) < 0)
		return -errno;
	(void)fremovexattr(fd, "system.posix_acl_default");
	return fd_move(&fd);
}

static int begin_entry(struct cache_entry *entry, struct guest_error *err)
{
	clean(entry);
	entry->fresh = true;
	partial_name(entry->name, sizeof(entry->name));
	entry->fd = make_directory(entry->cache, entry->name, 0700);
	if (entry->fd < 0)
		return error_make(err, -entry->fd, GUEST_STAGE_CACHE, "making an entry");
	if (flock(entry->fd, LOCK_EX | LOCK_NB) < 0)
		return error_make(err, errno, GUEST_STAGE_CACHE, "locking an entry");
	entry->tree = make_directory(entry->fd, "rootfs", 0755);
	if (entry->tree < 0)
		return error_make(err, -entry->tree, GUEST_STAGE_CACHE, "making an entry");
	return 0;
}

int cache_get(struct cache_entry *entry, const char *path, const char *key, cache_empty *empty,
	      struct guest_error *err)
{
	int r;

	*entry = (struct cache_entry){ .empty = empty, .fd = -EBADF, .tree = -EBADF };
	snprintf(entry->key, sizeof(entry->key), ENTRY_PREFIX "%s", key);
	r = entry->cache = open_cache(path, err);
	if (r >= 0)
		r = open_entry(entry, err);
	if (r == -ENOENT && entry->cache >= 0) {
		fd_close(&entry->fd);
		r = begin_entry(entry, err);
	}
	return r < 0 ? cache_drop(entry, r, err) : 0;
}

void cache_check_begin(struct cache_entry *entry)
{
	cache_sum_begin(&entry->sum, entry->tree, &entry->list);
}

int cache_check_end(struct cache_entry *entry, struct guest_error *err)
{
	uint64_t sum;
	int r;

	if (!entry->sum.begun)
		return 0;
	r = cache_sum_end(&entry->sum, &sum);
	if (r == 0 && sum == entry->manifest.sum)
		return 0;
	return error_text(err, EAGAIN, GUEST_STAGE_CACHE, "%.100s has been changed", entry->name);
}

/* All of the tree is on disk before the manifest is, and that before the name is. */
static int write_manifest(struct cache_entry *entry)
{
	struct cache_manifest *manifest = &entry->manifest;
	cleanup_fd int fd = -EBADF;
	int r;

	memcpy(manifest->format, FORMAT, sizeof(FORMAT));
	r = cache_list_tree(entry->tree, &entry->list);
	if (r < 0)
		return r;
	cache_sum_begin(&entry->sum, entry->tree, &entry->list);
	r = cache_sum_end(&entry->sum, &manifest->sum);
	if (r < 0)
		return r;
	manifest->list_size = entry->list.used;
	if (syncfs(entry->fd) < 0)
		return -errno;
	fd = fd_above_stdio(
		openat(entry->fd, "manifest", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, manifest, sizeof(*manifest));
	if (r == 0)
		r = fd_write_all(fd, entry->list.paths, entry->list.used);
	return r == 0 && (fsync(fd) < 0 || fsync(entry->fd) < 0) ? -errno : r;
}

static int publish(struct cache_entry *entry, struct guest_error *err)
{
	int r = write_manifest(entry);

	if (r < 0)
		return error_make(err, -r, GUEST_STAGE_CACHE, "writing the manifest");
	if (flock(entry->fd, LOCK_SH | LOCK_NB) < 0 ||
	    renameat(entry->cache, entry->name, entry->cache, entry->key) < 0)
		return error_make(err, errno == ENOTEMPTY || errno == EEXIST ? EAGAIN : errno,
				  GUEST_STAGE_CACHE, "renaming an entry");
	(void)fsync(entry->cache);
	strcpy(entry->name, entry->key);
	return 0;
}

/* All that is needed of an entry while it serves. */
static void keep_lock(struct cache_entry *entry)
{
	fd_close(&entry->cache);
	fd_close(&entry->tree);
	free(entry->list.paths);
	entry->list = (struct cache_list){ 0 };
}

int cache_settle(struct cache_entry *entry, const uint32_t stored_ids[CACHE_IDS],
		 struct guest_error *err)
{
	uint32_t *stored = entry->manifest.stored_ids;

	int r;

	if (entry->fresh) {
		memcpy(stored, stored_ids, sizeof(entry->manifest.stored_ids));
		r = publish(entry, err);
		if (r < 0)
			return r;
	} else if (memcmp(stored, stored_ids, sizeof(entry->manifest.stored_ids)) != 0) {
		return error_text(err, EAGAIN, GUEST_STAGE_CACHE, "%.100s was made with other ids",
				  entry->name);
	}
	keep_lock(entry);
	return 0;
}

int cache_drop(struct cache_entry *entry, int why, struct guest_error *err)
{
	int r = 0;

	if (entry->fd >= 0 && (entry->fresh || why == -EAGAIN))
		r = remove_entry(entry, entry->name, entry->fd);
	if (r < 0 && why == -EAGAIN)
		why = error_make(err, -r, GUEST_STAGE_CACHE, "removing %.80s, which has changed",
				 entry->name);
	cache_close(entry);
	return why;
}

void cache_close(struct cache_entry *entry)
{
	keep_lock(entry);
	fd_close(&entry->fd);
}
