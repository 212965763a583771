// SPDX-License-Identifier: MIT
/*
 * Killing what a command leaves behind.
 *
 * If no other command runs, all processes of the PID namespace are its: kill(-1), which is atomic
 * against fork, and reap until there is no child. Else its processes are known by the cgroup
 * namespace in which they were born (a command cannot make another without CAP_SYS_ADMIN). They
 * fork while we look, so: stop everything at once, kill the members until none is left, and let the
 * others go on.
 *
 * A stop of everything is felt by the other commands, so we look first. PIDs are given in ascending
 * order and procfs lists them so, so that a process which forks and exits ahead of us is met at
 * last: one look sees each storm, unless the PIDs have wrapped meanwhile, and for that the last one
 * is compared.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "helper/helper.h"

#define SWEEP_PAUSE_US 100
#define SWEEP_ROUNDS 20000 /* then they are stuck in the kernel, and die when they leave it */

static void sweep_alone(void)
{
	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG | __WALL);

		if (pid > 0)
			continue;
		if (pid < 0) /* ECHILD: every descendant is dead */
			return;
		kill(-1, SIGKILL);
		waitpid(-1, NULL, __WALL);
	}
}

/* The PID namespace's last PID; 0 if this kernel does not tell (CONFIG_CHECKPOINT_RESTORE). */
static long last_pid(int proc)
{
	char text[24] = "";
	int fd = openat(proc, "sys/kernel/ns_last_pid", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = '\0';
	fd_close(&fd);
	return strtol(text, NULL, 10);
}

static bool is_other_run(const struct holder *holder, pid_t pid)
{
	for (const struct run *run = holder->runs; run; run = run->next)
		if (run->pid == pid)
			return true;
	return false;
}

/*
 * The kernel gives a dead namespace's number to another. If it is now a younger run's, which has
 * told so before its exec, then nothing is left of the one that had it.
 */
static bool is_taken(const struct holder *holder, const struct run *gone, const char *marker)
{
	for (const struct run *run = holder->runs; run; run = run->next)
		if (run != gone && strcmp(run->slot->marker, marker) == 0)
			return true;
	return false;
}

static bool is_member(const struct holder *holder, const struct run *gone, pid_t pid)
{
	char path[48], marker[COMMAND_MARKER_SIZE] = "";
	ssize_t n;

	snprintf(path, sizeof(path), "%d/ns/cgroup", pid);
	n = readlinkat(holder->proc, path, marker, sizeof(marker) - 1);
	/* what we may not look into, and is no command before its exec, has made itself so: not to
	 * be spared */
	if (n < 0)
		return errno == EACCES && !is_other_run(holder, pid);
	return strcmp(marker, gone->slot->marker) == 0 && !is_taken(holder, gone, marker);
}

/* Count the living members, and send each a signal if it is not 0. */
static size_t walk(const struct holder *holder, const struct run *gone, DIR *directory, int sig)
{
	struct dirent *entry;
	size_t members = 0;

	rewinddir(directory);
	while ((entry = readdir(directory))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid <= 1 || !is_member(holder, gone, pid))
			continue;
		members++;
		if (sig)
			kill(pid, sig);
	}
	return members;
}

static bool any_left(const struct holder *holder, const struct run *gone, DIR *directory)
{
	long before = last_pid(holder->proc);

	if (walk(holder, gone, directory, 0) > 0)
		return true;
	return before == 0 || last_pid(holder->proc) < before;
}

static void sweep_among_others(struct holder *holder, const struct run *gone)
{
	int fd = openat(holder->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);

	if (!directory) {
		fd_close(&fd);
		return;
	}
	if (any_left(holder, gone, directory)) {
		int rounds = 0;

		kill(-1, SIGSTOP);
		/* until they have died: a namespace is left at exit */
		while (walk(holder, gone, directory, SIGKILL) > 0 && rounds++ < SWEEP_ROUNDS)
			usleep(SWEEP_PAUSE_US);
		kill(-1, SIGCONT);
	}
	closedir(directory);
}

void sweep_run(struct holder *holder, const struct run *run)
{
	if (holder->runs == run && !run->next)
		sweep_alone();
	else
		sweep_among_others(holder, run);
}
