// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mnt.h"
#include "cgroup/cgroup.h"

#define CGROUP_FILE_MAX 16384 /* /proc/self/cgroup: a line for each hierarchy */

bool cgroup_parse_own(const char *text, char *path, size_t size)
{
	/* version 2 is the hierarchy with the number 0 and no controllers, cgroups(7) */
	while (text && strncmp(text, "0::/", 4) != 0) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	if (!text)
		return false;
	text += 3;
	if (strcspn(text, "\n") >= size)
		return false;
	snprintf(path, size, "%.*s", (int)strcspn(text, "\n"), text);
	return true;
}

static int read_own(char *path, size_t size)
{
	cleanup_fd int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	cleanup_free char *text = calloc(1, CGROUP_FILE_MAX);

	if (!text)
		return -ENOMEM;
	if (fd < 0)
		return -errno;
	if (read(fd, text, CGROUP_FILE_MAX - 1) < 0)
		return -errno;
	return cgroup_parse_own(text, path, size) ? 0 : -ENOENT;
}

/*
 * The first mount of type cgroup2 (a hybrid host has it beside version 1). A container may see a
 * part of the hierarchy only: then the mount's root is not "/", and /proc/self/cgroup counts from
 * above it.
 */
static int find_mount(struct cgroup_place *place, const struct mnt *mnt, const char *mountinfo)
{
	struct libmnt_table *table = mnt->mnt_new_table_from_file(mountinfo);
	struct libmnt_iter *iter = mnt->mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;
	int r = table && iter ? 0 : -ENOMEM;

	while (r == 0 && !place->mount[0] && mnt->mnt_table_next_fs(table, iter, &fs) == 0) {
		const char *root = mnt->mnt_fs_get_root(fs), *target = mnt->mnt_fs_get_target(fs);
		size_t length = root ? strlen(root) : 0;

		if (!mnt->mnt_fs_match_fstype(fs, "cgroup2") || !target ||
		    strlen(target) >= sizeof(place->mount))
			continue;
		strcpy(place->mount, target);
		if (length > 1 && strncmp(place->own, root, length) == 0 &&
		    (place->own[length] == '/' || !place->own[length]))
			memmove(place->own, place->own + length, strlen(place->own + length) + 1);
	}
	mnt->mnt_free_iter(iter);
	mnt->mnt_unref_table(table);
	return r;
}

int cgroup_find(struct cgroup_place *place, struct guest_error *err)
{
	struct mnt mnt;
	int r;

	*place = (struct cgroup_place){ .mount = "" };
	r = read_own(place->own, sizeof(place->own));
	if (r == -ENOENT) /* version 1 only, or no /proc */
		return 0;
	if (r < 0)
		return error_make(err, -r, GUEST_STAGE_CGROUP, "looking for cgroup2");
	r = mnt_load(&mnt, GUEST_STAGE_CGROUP, err);
	if (r < 0)
		return r;
	r = find_mount(place, &mnt, "/proc/self/mountinfo");
	if (r < 0)
		return error_make(err, -r, GUEST_STAGE_CGROUP, "looking for cgroup2");
	if (strcmp(place->own, "/") == 0)
		place->own[0] = '\0';
	return 0;
}
