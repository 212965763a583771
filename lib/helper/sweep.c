// SPDX-License-Identifier: MIT
/*
 * Killing what a command leaves behind.
 *
 * Its control group, if it has one, kills all that is in it (cgroup.kill), whatever forks.
 *
 * Else, if no other command runs, all processes of the PID namespace are its: kill(-1), which is
 * atomic against fork, and reap until there is no child. Else its processes are known by the cgroup
 * namespace in which they were born (a command cannot make another without CAP_SYS_ADMIN): its own,
 * or, if it was alone when it began and has told none, any that is no other run's. They fork while
 * we look, so: stop everything at once, kill the members until none is left, and let the others go
 * on.
 *
 * A stop of everything is felt by the other commands, so we look first whether anything is left.
 * Walking /proc does not tell: a process has its PID before it can be seen, so a storm of forks
 * slips through. But when the command is dead, whatever is left of it has a topmost process whose
 * parent is dead, and that is our child at every moment. Our list of children grows at its end
 * and shrinks only when we reap, so one reading of it misses nothing.
 *
 * A stop is noted for a child that is being forked meanwhile, and its end is not. So a child whose
 * parent was in fork(2) all that time is born stopped when we have gone on, and is looked for then.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "cgroup/cgroup.h"
#include "helper/helper.h"

#define SWEEP_PAUSE_US 100
/* then they are stuck in the kernel, and die when they leave it */
#define SWEEP_TIMEOUT_NS 8000000000ULL
#define WALK_TIMEOUT_NS 3000000000ULL /* the host waits for two and a sweep (pump.c) */
#define PRESS_EVERY 64		      /* processes of a walk */
#define PRESS_LOOKS 16
#define GROUP_LOOKS 8 /* at a group that is being killed, until its processes are, one by one */
#define BORN_FIRST_NS 1000000ULL   /* when we look for the first and the last time; */
#define BORN_LAST_NS 4000000000ULL /* and whenever that time has doubled */
#define FORKING_MAX 16
#define FORKING_LOOKS 64 /* at those that are not stopped */
#define KEPT_MAX 32
#define LOOKS 100
#define LOOKS_TIMEOUT_NS 500000000ULL

/* False if it cannot be done that way: before Linux 5.14. */
static bool sweep_group(const struct run *run, bool *done)
{
	uint64_t deadline = sys_now_ns() + SWEEP_TIMEOUT_NS;
	bool killed = false;

	for (int looks = 1;; looks++) {
		char text[128];

		(void)fd_read_text_at(run->cgroup, "cgroup.events", text, sizeof(text));
		*done = strstr(text, "populated 0");
		if (*done || (killed && sys_now_ns() >= deadline))
			return true;
		if (!killed)
			run_tell_killing(run);
		if (!killed && fd_write_file_at(run->cgroup, "cgroup.kill", "1") < 0)
			return false;
		killed = true;
		if (looks % GROUP_LOOKS == 0)
			cgroup_kill_each(run->cgroup);
		usleep(SWEEP_PAUSE_US);
	}
}

static bool sweep_alone(const struct holder *holder, struct run *run)
{
	struct pollfd dead = { .fd = holder->signals, .events = POLLIN };
	uint64_t deadline = sys_now_ns() + SWEEP_TIMEOUT_NS;
	struct signalfd_siginfo info;

	while (sys_now_ns() < deadline) {
		struct rusage usage;
		int status;
		pid_t pid = run_wait(holder, -1, run, &status, &usage);

		if (pid > 0) {
			run->cpu_dead_ns += WIFSTOPPED(status) ? 0 : run_cpu_ns(&usage);
			continue;
		}
		if (pid < 0 && errno == ECHILD) /* every descendant is dead */
			return true;
		kill(-1, SIGKILL);
		poll(&dead, 1, SWEEP_TIMEOUT_NS / 1000000);
		(void)!read(holder->signals, &info, sizeof(info));
	}
	return false;
}

/* Of another run than the one that is gone, whose PID may already be somebody else's. */
static bool is_main(const struct holder *holder, const struct run *gone, pid_t pid)
{
	for (const struct run *run = holder->runs; run; run = run->next)
		if (run != gone && run->pid == pid)
			return true;
	return false;
}

/* Was it alone when it began? Else it tells its marker before it can start anything. */
static bool is_unmarked(const struct run *run)
{
	return run->command.is_alone && !run->slot->marker[0];
}

/* Namespaces of runs that are over and have left something, which an unmarked run could take for
 * its own. */
static char kept[KEPT_MAX][COMMAND_MARKER_SIZE] HELPER_BEHIND(3);
static size_t kept_count;

/*
 * The kernel gives a dead namespace's number to another. If it is now a younger run's, which has
 * told so before its exec, then nothing is left of the one that had it.
 */
static bool is_taken(const struct holder *holder, const struct run *gone, const char *marker)
{
	for (const struct run *run = holder->runs; run; run = run->next)
		if (run != gone && strcmp(run->slot->marker, marker) == 0)
			return true;
	for (size_t i = 0; is_unmarked(gone) && i < kept_count && i < KEPT_MAX; i++)
		if (strcmp(kept[i], marker) == 0)
			return true;
	return false;
}

enum kinship {
	STRANGER,
	MEMBER,
	DEAD,
	UNKNOWN,
};

enum stat_field {
	STAT_STATE = 0,
	STAT_SESSION = 3,
	STAT_THREADS = 17,
	STAT_FIELDS,
};

/* proc(5): PID/stat from the state on, that as the character it is. False if there is none. */
static bool read_stat(const struct holder *holder, pid_t pid, long *fields)
{
	char path[32], text[512], *at;

	snprintf(path, sizeof(path), "%d/stat", pid);
	(void)fd_read_text_at(holder->proc, path, text, sizeof(text));
	at = strrchr(text, ')'); /* "PID (NAME) STATE PPID PGRP SESSION ..." */
	if (!at || at[1] != ' ')
		return false;
	fields[STAT_STATE] = at[2];
	at += 3;
	for (int field = STAT_STATE + 1; field < STAT_FIELDS; field++)
		fields[field] = strtol(at, &at, 10);
	return true;
}

/* A zombie may live, if it is only its first thread that has ended. */
static bool may_live(const struct holder *holder, pid_t pid, pid_t *ret_session)
{
	long fields[STAT_FIELDS];
	bool ended;

	if (!read_stat(holder, pid, fields))
		return false;
	ended = fields[STAT_STATE] == 'Z' || fields[STAT_STATE] == 'X';
	*ret_session = (pid_t)fields[STAT_SESSION];
	return !ended || fields[STAT_THREADS] > 1;
}

/* The marker of any thread that has not ended, where the first one has; or -1, EACCES. */
static ssize_t marker_of_threads(const struct holder *holder, pid_t pid, char *marker)
{
	struct dirent *entry;
	DIR *directory;
	char path[48];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%d/task", pid);
	fd = openat(holder->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory) {
		fd_close(&fd);
		return -1;
	}
	while (n < 0 && (entry = readdir(directory))) {
		snprintf(path, sizeof(path), "%.20s/ns/cgroup", entry->d_name);
		n = readlinkat(fd, path, marker, COMMAND_MARKER_SIZE - 1);
		if (n < 0 && errno == EACCES)
			break;
	}
	closedir(directory);
	if (n >= 0)
		marker[n] = '\0';
	return n;
}

static ssize_t read_marker(const struct holder *holder, pid_t pid, char *marker)
{
	char path[48];
	ssize_t n;

	snprintf(path, sizeof(path), "%d/ns/cgroup", pid);
	n = readlinkat(holder->proc, path, marker, COMMAND_MARKER_SIZE - 1);
	marker[n < 0 ? 0 : n] = '\0';
	return n;
}

/* The one that is, if it is not over. */
static struct run *unmarked(const struct holder *holder)
{
	struct run *run = holder->runs;

	while (run && !is_unmarked(run))
		run = run->next;
	return run;
}

void sweep_keep(const struct holder *holder, const struct run *run)
{
	struct run *other = unmarked(holder);
	char *marker = other ? other->slot->marker : NULL;

	if (!holder->background)
		kept_count = 0;
	if (!other || other == run || read_marker(holder, other->pid, marker) > 0 ||
	    marker_of_threads(holder, other->pid, marker) > 0)
		return;
	marker[0] = '\0';
	memcpy(kept[kept_count++ % KEPT_MAX], run->slot->marker, COMMAND_MARKER_SIZE);
}

struct run *sweep_owner(const struct holder *holder, pid_t pid)
{
	char marker[COMMAND_MARKER_SIZE];
	struct run *run = holder->runs;
	pid_t session = 0;

	if (run && !run->next && !holder->background)
		return run;
	if (read_marker(holder, pid, marker) > 0) {
		while (run && strcmp(run->slot->marker, marker) != 0)
			run = run->next;
		return run || holder->background ? run : unmarked(holder);
	}
	(void)may_live(holder, pid, &session); /* the dead have no namespaces any more */
	while (run && run->pid != session)
		run = run->next;
	return run;
}

/*
 * A process that executes what it may not read cannot be looked into. It is told by its session:
 * each command begins one. What has left that is nobody's, and not spared.
 */
static enum kinship kinship(const struct holder *holder, const struct run *gone, pid_t pid)
{
	char marker[COMMAND_MARKER_SIZE];
	ssize_t n = read_marker(holder, pid, marker);
	pid_t session;

	if (n < 0) {
		bool hidden = errno == EACCES;

		if (is_main(holder, gone, pid))
			return STRANGER; /* before its exec */
		if (!may_live(holder, pid, &session))
			return DEAD;
		if (!hidden) {
			n = marker_of_threads(holder, pid, marker);
			hidden = n < 0 && errno == EACCES;
		}
		if (hidden)
			return is_main(holder, gone, session) ? STRANGER : MEMBER;
		if (n < 0)
			return DEAD;
	}
	if (!is_unmarked(gone) && strcmp(marker, gone->slot->marker) != 0)
		return STRANGER;
	return is_taken(holder, gone, marker) ? STRANGER : MEMBER;
}

static char children[65536] HELPER_BEHIND(3);

/* Our children, in text; false if they cannot be listed (no CONFIG_PROC_CHILDREN), or are too many.
 */
static bool list_children(const struct holder *holder, char *text, size_t size)
{
	static int list = -1;
	ssize_t n = -1;

	if (list < 0)
		list = openat(holder->proc, "1/task/1/children", O_RDONLY | O_CLOEXEC);
	if (lseek(list, 0, SEEK_SET) < 0)
		return false;
	while (size > 1 && (n = read(list, text, size - 1)) > 0) {
		text += n;
		size -= (size_t)n;
	}
	*text = '\0';
	return n == 0;
}

/* MEMBER: something is left. DEAD: orphans have died while we looked, and may have left others.
 * UNKNOWN: there is no list. */
static enum kinship look(const struct holder *holder, const struct run *gone)
{
	enum kinship found = STRANGER, kin;
	char *at = children;

	if (!list_children(holder, children, sizeof(children)))
		return UNKNOWN;
	for (;;) {
		pid_t pid = (pid_t)strtol(at, &at, 10);

		if (pid <= 0)
			return found;
		if (is_main(holder, gone, pid))
			continue;
		if (run_reap_orphan(holder, pid)) {
			found = DEAD;
			continue;
		}
		kin = kinship(holder, gone, pid);
		if (kin == MEMBER)
			return MEMBER;
		if (kin == DEAD)
			found = DEAD;
	}
}

/* DEAD: again and again, as with one that its tracer keeps; or a storm that is fast. */
static enum kinship look_often(const struct holder *holder, const struct run *gone)
{
	uint64_t deadline = sys_now_ns() + LOOKS_TIMEOUT_NS;
	enum kinship found = DEAD;

	for (int i = 0; i < LOOKS && found == DEAD && sys_now_ns() < deadline; i++)
		found = look(holder, gone);
	return found;
}

/* Of this run; or of any that is to be killed, if there is none. */
static bool is_doomed(const struct holder *holder, const struct run *gone, pid_t pid)
{
	const struct run *owner;

	if (gone)
		return kinship(holder, gone, pid) == MEMBER;
	owner = sweep_owner(holder, pid);
	return owner && owner->killed;
}

/* Cuts the last number off. 0: there is none. */
static pid_t cut_last(char *text, size_t *size)
{
	size_t n = *size;

	while (n > 0 && text[n - 1] == ' ')
		n--;
	text[n] = '\0';
	while (n > 0 && text[n - 1] != ' ')
		n--;
	*size = n;
	return (pid_t)strtol(text + n, NULL, 10);
}

/*
 * Stop everything, reap orphans, kill those that are doomed. A storm leaves thousands of dead, and
 * what lives of it is the youngest: it is met first, before it gets any CPU again to undo the stop
 * and to go on. What is older is left to the walk: `seen` is the youngest that has been looked at.
 * Returns how many lived.
 */
static size_t press(const struct holder *holder, const struct run *gone, pid_t *seen)
{
	size_t size, looks = 0, lived = 0;
	pid_t pid, youngest = 0;

	kill(-1, SIGSTOP);
	(void)list_children(holder, children, sizeof(children));
	size = strlen(children);
	while ((pid = cut_last(children, &size)) > 0 && pid != *seen) {
		if (is_main(holder, gone, pid) || run_reap_orphan(holder, pid))
			continue;
		if (looks == 0)
			youngest = pid;
		if (looks++ >= PRESS_LOOKS || !is_doomed(holder, gone, pid))
			continue;
		lived++;
		kill(pid, SIGKILL);
	}
	if (youngest)
		*seen = youngest;
	return lived;
}

/* Kill the doomed that live. Returns how many there were; more, if time is up. A storm may go on
 * while we walk, and would keep us walking. */
static size_t kill_doomed(const struct holder *holder, const struct run *gone, DIR *directory,
			  uint64_t deadline)
{
	struct dirent *entry;
	pid_t seen = 0;
	size_t lived = press(holder, gone, &seen);

	rewinddir(directory);
	for (unsigned int n = 1; (entry = readdir(directory)); n++) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (n % PRESS_EVERY == 0)
			lived += press(holder, gone, &seen);
		if (n % PRESS_EVERY == 0 && sys_now_ns() >= deadline)
			return lived + 1;
		if (pid <= 1 || !is_doomed(holder, gone, pid))
			continue;
		lived++;
		kill(pid, SIGKILL);
	}
	return lived;
}

/*
 * Nothing forks any more: who was forking when it was stopped has a child that is stopped, too.
 * That child may come into sight after we have passed its place, so two walks in a row must find
 * none. One of them may have let the others go on before it died, so they are stopped at each
 * walk, and the list of our children has the last word.
 */
static bool kill_stopped(const struct holder *holder, const struct run *gone, DIR *directory)
{
	uint64_t deadline = sys_now_ns() + SWEEP_TIMEOUT_NS;
	int clean = 0;

	while (sys_now_ns() < deadline) {
		if (kill_doomed(holder, gone, directory, deadline) > 0) {
			clean = 0;
			usleep(SWEEP_PAUSE_US); /* until they have died: a namespace is left at exit
						 */
		} else if (++clean == 2) {
			if (look_often(holder, gone) != MEMBER)
				return true;
			clean = 0;
		}
	}
	return false;
}

static bool is_born_stopped(const struct holder *holder, pid_t pid)
{
	char path[32], text[256];
	long fields[STAT_FIELDS], call;

	snprintf(path, sizeof(path), "%d/syscall", pid);
	if (fd_read_text_at(holder->proc, path, text, sizeof(text)) <= 0 ||
	    text[0] == 'r') /* "running" */
		return false;
	call = strtol(text, NULL, 10);
	if (call != SYS_clone && call != SYS_clone3 && call != SYS_fork && call != SYS_vfork)
		return false;
	return read_stat(holder, pid, fields) && fields[STAT_STATE] == 'T';
}

static DIR *open_processes(const struct holder *holder)
{
	int fd = openat(holder->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);

	if (!directory)
		fd_close(&fd);
	return directory;
}

/* Not doomed, and not stopped when all were: they may be in fork(2). */
static pid_t forking[FORKING_MAX];
static size_t forking_count;

static void note_forking(const struct holder *holder)
{
	DIR *directory = open_processes(holder);
	struct dirent *entry;
	int looks = 0;

	forking_count = 0;
	while (directory && looks < FORKING_LOOKS && (entry = readdir(directory))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		long fields[STAT_FIELDS];

		if (pid <= 1 || !read_stat(holder, pid, fields) ||
		    strchr("TtZX", (char)fields[STAT_STATE]))
			continue;
		looks++;
		if (!is_doomed(holder, NULL, pid) && forking_count < FORKING_MAX)
			forking[forking_count++] = pid;
	}
	if (directory)
		closedir(directory);
}

void sweep_continue(struct holder *holder)
{
	note_forking(holder);
	kill(-1, SIGCONT);
	holder->born_delay = BORN_FIRST_NS;
	holder->next_born = forking_count > 0 ? sys_now_ns() + BORN_FIRST_NS : 0;
}

static void continue_children(const struct holder *holder, pid_t parent)
{
	char path[48], text[1024], *at = text;
	pid_t pid;

	snprintf(path, sizeof(path), "%d/task/%d/children", parent, parent);
	(void)fd_read_text_at(holder->proc, path, text, sizeof(text));
	while ((pid = (pid_t)strtol(at, &at, 10)) > 0)
		if (is_born_stopped(holder, pid))
			kill(pid, SIGCONT);
}

void sweep_continue_born(struct holder *holder)
{
	for (size_t i = 0; i < forking_count && !holder->paused; i++)
		continue_children(holder, forking[i]);
	holder->born_delay *= 2;
	holder->next_born =
		holder->born_delay > BORN_LAST_NS ? 0 : sys_now_ns() + holder->born_delay;
}

static bool sweep_among_others(struct holder *holder, const struct run *run)
{
	DIR *directory = open_processes(holder);
	bool done;

	if (!directory)
		return false;
	done = kill_stopped(holder, run, directory);
	if (!holder->paused)
		sweep_continue(holder);
	closedir(directory);
	return done;
}

void sweep_killed(struct holder *holder)
{
	DIR *directory = open_processes(holder);

	if (!directory)
		return;
	/* twice, for those that come into sight late */
	for (int walk = 0; walk < 2; walk++)
		(void)kill_doomed(holder, NULL, directory, sys_now_ns() + WALK_TIMEOUT_NS);
	if (!holder->paused)
		sweep_continue(holder);
	closedir(directory);
}

bool sweep_has_children(const struct holder *holder, const struct run *run)
{
	char path[48], text[16];

	snprintf(path, sizeof(path), "%d/task/%d/children", run->pid, run->pid);
	return fd_read_text_at(holder->proc, path, text, sizeof(text)) > 0;
}

bool sweep_run(struct holder *holder, struct run *run)
{
	bool done;

	if (run->cgroup >= 0 && sweep_group(run, &done))
		return done;
	if (holder->runs == run && !run->next && !holder->background)
		return sweep_alone(holder, run);
	return look_often(holder, run) == STRANGER || sweep_among_others(holder, run);
}
