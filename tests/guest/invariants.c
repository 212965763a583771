// SPDX-License-Identifier: MIT
#include "invariants.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/guest.h"

#define FDS_MAX 256

struct state {
	int fds[FDS_MAX], fds_count;
	char *mounts;
	int temporary;
};

static pid_t reaper, runner;
static bool mounts_are_ours; /* nobody else changes them */
static struct state before;

static char *read_file(const char *path)
{
	size_t size = 0, capacity = 1 << 16;
	char *text = malloc(capacity);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while (fd >= 0 && (n = read(fd, text + size, capacity - size - 1)) > 0) {
		size += (size_t)n;
		if (capacity - size < 4096)
			text = realloc(text, capacity *= 2);
	}
	text[size] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

/* Files with a name of ours that this user has there; another's tests may run beside. */
static int count_temporary(const char *folder)
{
	DIR *directory = opendir(folder);
	struct dirent *entry;
	struct stat st;
	int count = 0;

	while (directory && (entry = readdir(directory)))
		count += strncmp(entry->d_name, "libguest", 8) == 0 &&
			 fstatat(dirfd(directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			 st.st_uid == geteuid();
	if (directory)
		closedir(directory);
	return count;
}

static void list_fds(struct state *state)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;

	state->fds_count = 0;
	while (directory && (entry = readdir(directory)) && state->fds_count < FDS_MAX) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && fd != dirfd(directory))
			state->fds[state->fds_count++] = fd;
	}
	if (directory)
		closedir(directory);
}

static void take(struct state *state)
{
	list_fds(state);
	state->mounts = read_file("/proc/self/mountinfo");
	state->temporary = count_temporary("/tmp") + count_temporary("/dev/shm");
}

void invariants_note(void)
{
	take(&before);
}

static bool had_fd(int fd)
{
	for (int i = 0; i < before.fds_count; i++)
		if (before.fds[i] == fd)
			return true;
	return false;
}

static void check_fds(const struct state *after)
{
	for (int i = 0; i < after->fds_count; i++) {
		char link[32], target[128] = "";

		if (had_fd(after->fds[i]))
			continue;
		snprintf(link, sizeof(link), "/proc/self/fd/%d", after->fds[i]);
		(void)!readlink(link, target, sizeof(target) - 1);
		ck_abort_msg("fd %d is left: %s", after->fds[i], target);
	}
	ck_assert_int_eq(after->fds_count, before.fds_count);
}

static char group_prefix[32];
static int groups, scopes;

static int count_group(const char *path, const struct stat *st, int type, struct FTW *at)
{
	const char *name = path + at->base, *suffix = strrchr(name, '.');

	(void)st;
	if (type != FTW_D || strncmp(name, group_prefix, strlen(group_prefix)) != 0)
		return 0;
	if (suffix && strcmp(suffix, ".scope") == 0)
		scopes++;
	else
		groups++;
	return 0;
}

/* Control groups that this process has made. */
static int count_groups(const char *mounts)
{
	const char *line = strstr(mounts, " - cgroup2 ");
	char path[256] = "";

	groups = scopes = 0;
	snprintf(group_prefix, sizeof(group_prefix), "libguest-%d-", getpid());
	while (line && line > mounts && line[-1] != '\n')
		line--;
	if (line && sscanf(line, "%*s %*s %*s %*s %255s", path) == 1)
		nftw(path, count_group, 16, FTW_PHYS);
	return groups;
}

/* Those are removed by systemd, which may take a moment after the last process has gone. */
static int wait_for_scopes(const char *mounts)
{
	for (int i = 0; scopes > 0 && i < 1000; i++) {
		usleep(10000);
		count_groups(mounts);
	}
	return scopes;
}

void invariants_check(void)
{
	struct state after;

	ck_assert_int_eq(guest_trim(NULL), 0);
	errno = 0;
	ck_assert_msg(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD, "a child is left");
	ck_assert_msg(invariants_wait_lost(10000) == 0, "%d processes are left", invariants_lost());
	take(&after);
	check_fds(&after);
	ck_assert_msg(!mounts_are_ours || strcmp(before.mounts, after.mounts) == 0, "mounts differ, before:\n%s\nafter:\n%s",
		      before.mounts, after.mounts);
	ck_assert_int_eq(after.temporary, before.temporary);
	ck_assert_msg(count_groups(after.mounts) == 0, "%d control groups are left", groups);
	ck_assert_msg(wait_for_scopes(after.mounts) == 0, "%d scopes are left", scopes);
	free(before.mounts);
	free(after.mounts);
}

struct process {
	char name[17], state;
	pid_t parent;
};

static bool look_at(pid_t pid, struct process *process)
{
	char path[32];
	FILE *file;
	int n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	n = fscanf(file, "%*d (%16[^)]) %c %d", process->name, &process->state, &process->parent);
	fclose(file);
	return n == 3 && process->state != 'Z' && process->state != 'X';
}

static bool is_lost(pid_t pid, const struct process *process)
{
	return process->parent == reaper && pid != runner;
}

int invariants_lost(void)
{
	DIR *directory = opendir("/proc");
	struct process process;
	struct dirent *entry;
	int count = 0;

	while (directory && (entry = readdir(directory))) {
		pid_t pid = atoi(entry->d_name);

		count += pid > 0 && look_at(pid, &process) && is_lost(pid, &process);
	}
	if (directory)
		closedir(directory);
	return count;
}

int invariants_wait_lost(int milliseconds)
{
	int left;

	while ((left = invariants_lost()) > 0 && milliseconds-- > 0)
		usleep(1000);
	return left;
}

pid_t invariants_find(const char *name)
{
	DIR *directory = opendir("/proc");
	struct process process, parent;
	struct dirent *entry;
	pid_t found = 0;

	while (directory && !found && (entry = readdir(directory))) {
		pid_t pid = atoi(entry->d_name);

		if (pid <= 0 || !look_at(pid, &process) || strcmp(process.name, name) != 0)
			continue;
		if (is_lost(pid, &process) ||
		    (look_at(process.parent, &parent) && is_lost(process.parent, &parent)))
			found = pid;
	}
	if (directory)
		closedir(directory);
	return found;
}

/*
 * Others on this machine may mount things. So with the privilege, and only with it could the library change mounts
 * of the host at all, the tests have a mount namespace of their own, in which mounts would spread.
 */
static void own_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0)
		return;
	mounts_are_ours = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
			  mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) == 0;
}

int invariants_run(int (*run)(void))
{
	int status, left;
	pid_t pid;

	own_mounts();
	reaper = getpid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fflush(NULL);
	runner = fork();
	if (runner == 0) {
		runner = getpid();
		exit(run());
	}
	while ((pid = waitpid(-1, &status, 0)) != runner)
		if (pid < 0)
			return 1;
	left = invariants_wait_lost(10000);
	if (left > 0)
		printf("%d processes are left\n", left);
	return WIFEXITED(status) ? (WEXITSTATUS(status) ? WEXITSTATUS(status) : left > 0) : 1;
}
