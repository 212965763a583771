// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <libmount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "cgroup/cgroup.h"

/* The target of the first mount of type cgroup2 (a hybrid host has it beside version 1), or NULL.
 */
static char *find_mount(void)
{
	struct libmnt_table *table = mnt_new_table_from_file("/proc/self/mountinfo");
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;
	char *target = NULL;

	while (table && iter && !target && mnt_table_next_fs(table, iter, &fs) == 0)
		if (mnt_fs_match_fstype(fs, "cgroup2"))
			target = strdup(mnt_fs_get_target(fs));
	mnt_free_iter(iter);
	mnt_unref_table(table);
	return target;
}

/* The line "0::/path" of /proc/self/cgroup. */
static bool own_path(char *path, size_t size)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(path, (int)size, file)) {
		if (strncmp(path, "0::/", 4) != 0)
			continue;
		path[strcspn(path, "\n")] = '\0';
		memmove(path, path + 3, strlen(path + 3) + 1);
		found = true;
	}
	fclose(file);
	return found;
}

static void read_controllers(struct cgroup_place *place, int dir)
{
	cleanup_fd int fd = openat(dir, "cgroup.controllers", O_RDONLY | O_CLOEXEC);
	char text[256] = "", *rest = text, *name;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return;
	while ((name = strsep(&rest, " \n"))) {
		place->memory |= strcmp(name, "memory") == 0;
		place->pids |= strcmp(name, "pids") == 0;
		place->cpu |= strcmp(name, "cpu") == 0;
	}
}

int cgroup_find(struct cgroup_place *place, struct guest_error *err)
{
	cleanup_free char *mount = find_mount();
	char own[2048];
	int dir;

	*place = (struct cgroup_place){ 0 };
	if (!mount || !own_path(own, sizeof(own)))
		return 0;
	if (snprintf(place->path, sizeof(place->path), "%s%s", mount,
		     strcmp(own, "/") == 0 ? "" : own) >= (int)sizeof(place->path))
		return error_make(err, ENAMETOOLONG, GUEST_STAGE_CGROUP, "cgroup path");
	dir = open(place->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_make(err, errno, GUEST_STAGE_CGROUP, "%.150s", place->path);
	read_controllers(place, dir);
	place->writable = faccessat(dir, ".", W_OK, AT_EACCESS) == 0 &&
			  faccessat(dir, "cgroup.subtree_control", W_OK, AT_EACCESS) == 0;
	fd_close(&dir);
	return 0;
}
