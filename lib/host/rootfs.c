// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "host/host.h"
#include "payload/payload.h"

/* A FIFO's writer need not be there yet when it is opened, but is waited for when it is read. */
static int open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		fcntl(fd, F_SETFL, 0);
	return fd;
}

/* An fd of our own, with an offset of its own where that can be (not for a pipe). */
static int reopen(int fd)
{
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open_file(path);
	if (own < 0)
		own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return fd_above_stdio(own);
}

char *host_path_of_fd(int fd)
{
	char link[32], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return NULL;
	path[n] = '\0';
	return strdup(path);
}

static int look_at(struct host_rootfs *rootfs, const char *name, struct guest_error *err)
{
	if (fstat(rootfs->fd, &rootfs->st) < 0)
		return error_make(err, errno, GUEST_STAGE_ROOTFS, "%.100s", name);
	if (S_ISDIR(rootfs->st.st_mode)) {
		rootfs->kind = WIRE_ROOTFS_DIRECTORY;
		return 0;
	}
	rootfs->kind = WIRE_ROOTFS_ARCHIVE;
	fcntl(rootfs->fd, F_SETFL,
	      0); /* opened without waiting for a FIFO's writer; to be waited for now */
	if (!S_ISREG(rootfs->st.st_mode) && !S_ISFIFO(rootfs->st.st_mode))
		return error_text(err, EINVAL, GUEST_STAGE_ROOTFS,
				  "%.100s is neither a directory nor a file", name);
	return 0;
}

int host_rootfs_open(struct host_rootfs *rootfs, const struct guest_config *config,
		     struct guest_error *err)
{
	int r;

	*rootfs = (struct host_rootfs){
		.fd = -EBADF,
		.bytes = config->rootfs_bytes,
		.inodes = config->rootfs_inodes,
	};
	if (!config->rootfs_path && config->rootfs_fd < 0) {
		rootfs->embedded = true;
		return config->cache_dir ? cache_place(config->cache_dir, &rootfs->cache, err) : 0;
	}
	if (config->rootfs_path)
		rootfs->fd = fd_above_stdio(open_file(config->rootfs_path));
	else
		rootfs->fd = reopen(config->rootfs_fd);
	if (rootfs->fd < 0)
		return error_make(err, errno, GUEST_STAGE_ROOTFS, "%.100s",
				  config->rootfs_path ? config->rootfs_path : "rootfs_fd");
	r = look_at(rootfs, config->rootfs_path ? config->rootfs_path : "rootfs_fd", err);
	if (r == 0 && config->cache_dir && rootfs->kind == WIRE_ROOTFS_ARCHIVE)
		r = cache_place(config->cache_dir, &rootfs->cache, err);
	if (r < 0)
		host_rootfs_close(rootfs);
	return r;
}

void host_rootfs_close(struct host_rootfs *rootfs)
{
	fd_close(&rootfs->fd);
	free(rootfs->cache);
	rootfs->cache = NULL;
}

int host_rootfs_key(const struct host_rootfs *rootfs, char *key, size_t size,
		    struct guest_error *err)
{
	const struct stat *st = &rootfs->st;

	if (rootfs->embedded) {
		snprintf(key, size, "%s", payload_rootfs_digest);
		return 0;
	}
	if (!S_ISREG(st->st_mode) || st->st_nlink == 0 || lseek(rootfs->fd, 0, SEEK_CUR) != 0)
		return error_text(err, EOPNOTSUPP, GUEST_STAGE_CACHE,
				  "the rootfs is not a whole file with a name");
	snprintf(key, size, "%llx-%llx-%llx-%llx.%lx-%llx.%lx", (unsigned long long)st->st_dev,
		 (unsigned long long)st->st_ino, (unsigned long long)st->st_size,
		 (unsigned long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
		 (unsigned long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
	return 0;
}

static bool same_string(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool host_rootfs_same(const struct host_rootfs *a, const struct host_rootfs *b)
{
	const struct stat *x = &a->st, *y = &b->st;

	if (a->embedded != b->embedded || a->bytes != b->bytes || a->inodes != b->inodes ||
	    !same_string(a->cache, b->cache))
		return false;
	if (a->embedded)
		return true;
	if (a->kind != b->kind || x->st_dev != y->st_dev || x->st_ino != y->st_ino)
		return false;
	/* a directory is used as it is; a file may have been written anew */
	return a->kind == WIRE_ROOTFS_DIRECTORY ||
	       (S_ISREG(x->st_mode) && x->st_size == y->st_size &&
		x->st_mtim.tv_sec == y->st_mtim.tv_sec &&
		x->st_mtim.tv_nsec == y->st_mtim.tv_nsec &&
		x->st_ctim.tv_sec == y->st_ctim.tv_sec && x->st_ctim.tv_nsec == y->st_ctim.tv_nsec);
}
