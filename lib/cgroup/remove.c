// SPDX-License-Identifier: MIT
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "cgroup/cgroup.h"

#define PAUSE_US 500
#define TIMEOUT_NS 10000000000ULL
#define NAME_SIZE 256
#define KILL_TRIES 8 /* of all at once, until they are killed one by one */

static DIR *list(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);

	if (!directory)
		fd_close(&fd);
	return directory;
}

void cgroup_unthrottle(int dir)
{
	char text[CGROUP_IO_TEXT_MAX], line[96], *at = text;

	(void)fd_write_file_at(dir, "cpu.max", "max");
	(void)fd_read_text_at(dir, "io.max", text, sizeof(text));
	for (size_t device; (device = strcspn(at, " ")) < strcspn(at, "\n");) {
		snprintf(line, sizeof(line), "%.*s rbps=max wbps=max riops=max wiops=max",
			 (int)device, at);
		(void)fd_write_file_at(dir, "io.max", line);
		at += strcspn(at, "\n");
		at += *at == '\n';
	}
}

void cgroup_unthrottle_all(int dir)
{
	DIR *directory = list(dir);
	struct dirent *entry;

	cgroup_unthrottle(dir);
	while (directory && (entry = readdir(directory))) {
		int fd = -EBADF;

		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			fd = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			cgroup_unthrottle(fd);
		fd_close(&fd);
	}
	if (directory)
		closedir(directory);
}

/* The name of any group in it; false if there is none. */
static bool any_below(int dir, char name[NAME_SIZE])
{
	DIR *directory = list(dir);
	struct dirent *entry;
	bool found = false;

	if (!directory)
		return false;
	while (!found && (entry = readdir(directory))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		snprintf(name, NAME_SIZE, "%s", entry->d_name);
		found = true;
	}
	closedir(directory);
	return found;
}

void cgroup_kill_each(int dir)
{
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	char text[4096], *at = text;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	pid_t pid;

	fd_close(&fd);
	text[n < 0 ? 0 : n] = '\0';
	while ((pid = (pid_t)strtol(at, &at, 10)) > 0)
		kill(pid, SIGKILL);
}

static int remove_until(int parent, const char *name, uint64_t deadline)
{
	char below[NAME_SIZE];
	int dir, r = 0;

	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? 0 : -errno;
	cgroup_unthrottle(dir);
	while (r == 0 && any_below(dir, below))
		r = remove_until(dir, below, deadline);
	/* busy until the killed are gone */
	for (int tries = 1; r == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT;
	     tries++) {
		if (errno != EBUSY || sys_now_ns() >= deadline)
			r = -errno;
		else if (fd_write_file_at(dir, "cgroup.kill", "1") < 0 || tries % KILL_TRIES == 0)
			cgroup_kill_each(dir);
		usleep(PAUSE_US);
	}
	fd_close(&dir);
	return r;
}

int cgroup_remove(int parent, const char *name)
{
	return remove_until(parent, name, sys_now_ns() + TIMEOUT_NS);
}
