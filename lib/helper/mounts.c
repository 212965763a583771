// SPDX-License-Identifier: MIT
/*
 * The caller's mounts. A target is resolved inside the new root, of which the caller's rootfs may
 * be hostile: openat2(2) with RESOLVE_IN_ROOT, and nothing is done by path but below an fd so
 * found.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

static int open_in_root(int root, const char *path)
{
	return sys_openat2(root, path, O_PATH | O_CLOEXEC, 0,
			   RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* One component: what is there, or a new directory (or, for a bound file's target, an empty file).
 */
static int step_into(int root, int parent, const char *prefix, const char *name, bool as_file)
{
	int fd = open_in_root(root, prefix), file;

	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (!as_file) {
		if (mkdirat(parent, name, 0755) < 0)
			return -1;
		return open_in_root(root, prefix);
	}
	file = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	fd_close(&file);
	return open_in_root(root, prefix);
}

/* An O_PATH fd of the target; what is missing of the path is made. */
static int open_target(int root, const char *target, bool as_file)
{
	char path[4096];
	int parent = open_in_root(root, "/");
	char *at = path;

	if (parent < 0 || strlen(target) >= sizeof(path)) {
		errno = parent < 0 ? errno : ENAMETOOLONG;
		fd_close(&parent);
		return -1;
	}
	strcpy(path, target);
	while (*(at += strspn(at, "/"))) {
		char *end = at + strcspn(at, "/"), separator = *end;
		bool last = end[strspn(end, "/")] == '\0';
		int fd;

		*end = '\0';
		fd = step_into(root, parent, path, at, as_file && last);
		fd_close(&parent);
		if (fd < 0)
			return -1;
		parent = fd;
		*end = separator;
		at = end;
	}
	return parent;
}

/* The host's file or directory at a path, in the mount namespace that has the host's tree. */
static int open_source(const struct wire_mount *mount, const char *source, struct guest_error *err)
{
	unsigned int flags =
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (mount->recurse ? AT_RECURSIVE : 0);
	char path[4096 + 8];
	struct stat st;
	int tree, r;

	if (!source || snprintf(path, sizeof(path), "/host%s", source) >= (int)sizeof(path))
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "no source");
	tree = sys_open_tree(AT_FDCWD, path, flags | AT_SYMLINK_NOFOLLOW);
	if (tree < 0) {
		r = error_make(err, errno, GUEST_STAGE_MOUNT_USER, "bind of %s", source);
		if (r == -EINVAL && !mount->recurse)
			error_remedy(
				err,
				"something is mounted below it, which may not be uncovered: leave out "
				"norecurse");
		return r;
	}
	if (fstat(tree, &st) < 0 || st.st_ino != mount->inode || st.st_dev != mount->device) {
		fd_close(&tree);
		/* mounted after the keeper was made: the host starts another one */
		return error_text(err, ESTALE, GUEST_STAGE_MOUNT_USER, "%s is not what it was",
				  source);
	}
	return tree;
}

static int mount_tree(int tree, int target, const struct wire_mount *mount, const char *name,
		      struct guest_error *err)
{
	struct mount_attr attr = {
		.attr_set = mount->attributes,
		.attr_clr = mount->attributes & MOUNT_ATTR_NOATIME ? MOUNT_ATTR__ATIME : 0,
		.propagation = MS_PRIVATE, /* else what either mounts there, the other has, too */
	};
	unsigned int recurse = mount->recurse ? AT_RECURSIVE : 0;

	if (sys_mount_setattr(tree, "", AT_EMPTY_PATH | recurse, &attr) < 0)
		return error_make(err, errno, GUEST_STAGE_MOUNT_USER, "options of %s", name);
	if (sys_move_mount(tree, "", target, "",
			   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return error_make(err, errno, GUEST_STAGE_MOUNT_USER, "bind on %s", name);
	return 0;
}

static int mount_tmpfs(int target, const struct wire_mount *mount, const char *name,
		       const char *data, struct guest_error *err)
{
	static const struct {
		uint32_t attribute;
		unsigned long flag;
	} table[] = {
		{ MOUNT_ATTR_RDONLY, MS_RDONLY },   { MOUNT_ATTR_NOSUID, MS_NOSUID },
		{ MOUNT_ATTR_NODEV, MS_NODEV },	    { MOUNT_ATTR_NOEXEC, MS_NOEXEC },
		{ MOUNT_ATTR_NOATIME, MS_NOATIME },
	};
	unsigned long flags = 0;
	char path[32];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (mount->attributes & table[i].attribute)
			flags |= table[i].flag;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	return helper_mount(name, path, "tmpfs", flags, data, GUEST_STAGE_MOUNT_USER, err);
}

static int apply_one(const struct holder_plan *plan, int root, const struct wire_mount *mount,
		     struct guest_error *err)
{
	const char *source = wire_string(plan->create, mount->source);
	const char *name = wire_string(plan->create, mount->target);
	int target, tree = -EBADF, r;

	if (!name)
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "no target");
	target = open_target(root, name, mount->type == GUEST_MOUNT_BIND && !mount->is_directory);
	if (target < 0)
		return error_make(err, errno, GUEST_STAGE_MOUNT_USER, "target %s", name);
	if (mount->type == GUEST_MOUNT_TMPFS) {
		r = mount_tmpfs(target, mount, name, wire_string(plan->create, mount->data), err);
	} else if (mount->tree >= 0 && (size_t)mount->tree < plan->trees_count) {
		r = mount_tree(plan->trees[mount->tree], target, mount, name, err);
	} else {
		tree = open_source(mount, source, err);
		r = tree < 0 ? tree : mount_tree(tree, target, mount, name, err);
	}
	fd_close(&tree);
	fd_close(&target);
	return r;
}

int mounts_apply(const struct holder_plan *plan, int root, struct guest_error *err)
{
	const struct wire_mount *mounts = (const struct wire_mount *)(plan->create + 1);
	uint32_t count = plan->create->mounts_count;

	if (count > WIRE_MOUNTS_MAX ||
	    sizeof(*plan->create) + count * sizeof(*mounts) > plan->create->header.size)
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "mounts");
	for (uint32_t i = 0; i < count; i++) {
		int r = apply_one(plan, root, &mounts[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}
