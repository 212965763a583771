// SPDX-License-Identifier: MIT
/*
 * Walks over a tree, breadth first and without recursion: however deep it is, that takes one fd,
 * and a list of paths in which directories come before what is in them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "cache/cache.h"

#define PATH_DEEP 256 /* bytes */
#define MOVES 100     /* names to try */

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* `directory`: the offset of its path in the list. `end`: "/" or "". */
static int add_path(struct cache_list *list, size_t directory, const char *name, const char *end)
{
	size_t above = strlen(list->paths + directory), size = above + strlen(name) + 2;
	char *path;

	if (list->used + size > CACHE_LIST_MAX)
		return -E2BIG;
	if (size > list->capacity - list->used) {
		size_t capacity = (list->used + size) * 2;
		char *paths = realloc(list->paths, capacity);

		if (!paths)
			return -ENOMEM;
		list->paths = paths;
		list->capacity = capacity;
	}
	path = list->paths + list->used;
	memcpy(path, list->paths + directory, above);
	strcpy(stpcpy(path + above, name), end);
	list->used += strlen(path) + 1;
	return 0;
}

/* Add what is in a directory to the list: directories and files. */
static int list_directory(struct cache_list *list, size_t path, int tree, DIR *directory)
{
	int fd = dirfd(directory), r = 0;
	struct dirent *entry;
	struct stat st;

	(void)tree;
	while (r == 0 && ((void)(errno = 0), (entry = readdir(directory)))) {
		if (is_dot(entry->d_name))
			continue;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		if (S_ISDIR(st.st_mode))
			r = add_path(list, path, entry->d_name, "/");
		else if (S_ISREG(st.st_mode))
			r = add_path(list, path, entry->d_name, "");
	}
	return r < 0 ? r : -errno;
}

/* A directory that lies deep, to the top of the tree, so that paths stay short. */
static int move_up(struct cache_list *list, int tree, int fd, const char *name)
{
	char moved[24];

	for (int tries = 0; tries < MOVES; tries++) {
		snprintf(moved, sizeof(moved), "moved-%zu", list->used + (size_t)tries);
		if (renameat(fd, name, tree, moved) == 0)
			return add_path(list, 0, moved, "/");
	}
	return -errno;
}

/* Add its directories to the list and remove what else is in it. What does not work will be seen
 * when the directory cannot be removed. */
static int empty_directory(struct cache_list *list, size_t path, int tree, DIR *directory)
{
	bool deep = strlen(list->paths + path) > PATH_DEEP;
	int fd = dirfd(directory), r = 0;
	struct dirent *entry;

	while (r != -ENOMEM && r != -E2BIG && (entry = readdir(directory))) {
		const char *name = entry->d_name;

		if (is_dot(name) || unlinkat(fd, name, 0) == 0 || errno != EISDIR)
			continue;
		(void)fchmodat(fd, name, 0700, 0);
		r = deep ? move_up(list, tree, fd, name) : add_path(list, path, name, "/");
	}
	return r == -ENOMEM || r == -E2BIG ? r : 0;
}

/* Walks past what this user cannot look into. */
static int list_tree(struct cache_list *list, int tree,
		     int (*list_one)(struct cache_list *, size_t, int, DIR *))
{
	int r = 0;

	list->used = list->capacity = sizeof("./");
	list->paths = strdup("./");
	if (!list->paths)
		return -ENOMEM;
	for (size_t at = 0, size; r == 0 && at < list->used; at += size) {
		const char *path = list->paths + at;
		DIR *directory;
		int fd;

		size = strlen(path) + 1;
		if (path[size - 2] != '/')
			continue;
		fd = sys_openat2(tree, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0,
				 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
		if (fd < 0 && errno == EACCES)
			continue;
		directory = fd < 0 ? NULL : fdopendir(fd);
		r = directory ? list_one(list, at, tree, directory) : -errno;
		if (directory)
			closedir(directory);
		else
			fd_close(&fd);
	}
	return r;
}

int cache_list_tree(int tree, struct cache_list *ret_list)
{
	return list_tree(ret_list, tree, list_directory);
}

int cache_empty_tree(int tree)
{
	struct cache_list list = { 0 };
	int r = list_tree(&list, tree, empty_directory);

	/* the directories backwards, down to the tree's own, which stays */
	while (list.paths && list.used > sizeof("./")) {
		do
			list.used--;
		while (list.paths[list.used - 1]);
		if (unlinkat(tree, list.paths + list.used, AT_REMOVEDIR) < 0)
			r = -errno;
	}
	free(list.paths);
	return r;
}
