// SPDX-License-Identifier: MIT
/*
 * What a guest's processes use, by procfs.
 *
 * Memory is counted twice over. What each process has resident is quickly read, but counts shared
 * pages as often as they are mapped; shares are told by smaps_rollup, proc(5), which takes the
 * kernel as long as there is memory, and as the process likes. So a child of ours reads that, for
 * as long as we care to wait. Memory that need not be mapped to be used (the guest's tmpfs, memfds,
 * System V segments) is counted besides; since it may be mapped as well, the larger of both counts.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

#define UNMAPPED_EVERY 8
#define EXACT_TIMEOUT_MS 1000
#define INODE_BYTES \
	1024 /* of kernel memory, on tmpfs; an extended attribute counts as inodes there */
#define MEMFDS_BITS 12
#define MEMFDS (1U << MEMFDS_BITS) /* that are told apart */
#define SEGMENT_FIELDS 16	   /* of /proc/sysvipc/shm, proc(5) */
#define SEGMENT_RSS 14

struct usage {
	uint64_t anonymous, shared; /* bytes */
	uint64_t threads, cpu_ns;
	pid_t parent;
	bool is_zombie;
	char place[32]; /* in /proc, of a thread that tells of its memory and its fds */
};

/* "Key:   123 kB" in bytes; 0 if it is not there. The key begins with the end of the line before,
 * since a process can have it in its name. */
static uint64_t kilobytes(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

/* From /proc/PID/stat: "PID (NAME) STATE ..." with the fields counted from STATE, the third. */
static void read_stat(const char *text, struct usage *usage)
{
	const char *at = strrchr(text, ')');
	uint64_t tick_ns = 1000000000ULL / (uint64_t)sysconf(_SC_CLK_TCK), ticks = 0;

	for (int field = 3; at && field <= 20; field++) {
		at = strchr(at + 1, ' ');
		if (at && field == 3)
			usage->is_zombie = at[1] == 'Z';
		if (at && field == 4)
			usage->parent = (pid_t)strtol(at + 1, NULL, 10);
		if (at && field >= 14 && field <= 17) /* utime, stime, cutime, cstime */
			ticks += strtoull(at + 1, NULL, 10);
		if (at && field == 20)
			usage->threads = strtoull(at + 1, NULL, 10);
	}
	usage->cpu_ns = ticks * tick_ns;
}

/* A process whose first thread has ended tells nothing; its others do. */
static void find_place(const struct holder *holder, pid_t pid, struct usage *usage)
{
	struct dirent *entry;
	DIR *directory;
	int fd;

	snprintf(usage->place, sizeof(usage->place), "%d", pid);
	if (!usage->is_zombie || usage->threads < 2)
		return;
	snprintf(usage->place, sizeof(usage->place), "%d/task", pid);
	fd = openat(holder->proc, usage->place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory) {
		fd_close(&fd);
		return;
	}
	while ((entry = readdir(directory))) {
		long tid = strtol(entry->d_name, NULL, 10);

		if (tid > 0 && tid != pid)
			snprintf(usage->place, sizeof(usage->place), "%d/task/%ld", pid, tid);
	}
	closedir(directory);
}

/* A child of vfork(2), or of clone(2) with CLONE_VM: all that it has is counted with its parent. */
static bool shares_memory(const struct usage *usage, pid_t pid)
{
	return usage->parent > 1 && syscall(SYS_kcmp, pid, usage->parent, KCMP_VM, 0, 0) == 0;
}

/* The shares of a process in the memory that it uses; none if that is not told. */
static bool read_shares(const struct holder *holder, struct usage *usage)
{
	char path[64], text[2048];

	snprintf(path, sizeof(path), "%s/smaps_rollup", usage->place);
	if (fd_read_text_at(holder->proc, path, text, sizeof(text)) <= 0)
		return false;
	usage->anonymous = kilobytes(text, "\nPss_Anon:") + kilobytes(text, "\nSwapPss:");
	usage->shared = kilobytes(text, "\nPss_Shmem:");
	return true;
}

/* The last bytes of a file, in a string. */
static void read_tail(const struct holder *holder, const char *path, char *text, size_t size)
{
	int fd = openat(holder->proc, path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, text + have, size - 1 - have)) > 0) {
		have += (size_t)n;
		if (have == size - 1) { /* keep half of it */
			have = size / 2;
			memmove(text, text + size - 1 - have, have);
		}
	}
	text[have] = '\0';
	fd_close(&fd);
}

/* All that it has resident. That stands behind its groups, of which there may be thousands. */
static void read_resident(const struct holder *holder, struct usage *usage)
{
	char path[64], text[8192];

	snprintf(path, sizeof(path), "%s/status", usage->place);
	read_tail(holder, path, text, sizeof(text));
	usage->anonymous = kilobytes(text, "\nRssAnon:") + kilobytes(text, "\nVmSwap:");
	usage->shared = kilobytes(text, "\nRssShmem:");
}

static bool look_at(const struct holder *holder, pid_t pid, bool memory, bool exact,
		    struct usage *usage)
{
	char path[32], text[1024];

	*usage = (struct usage){ 0 };
	snprintf(path, sizeof(path), "%d/stat", pid);
	if (fd_read_text_at(holder->proc, path, text, sizeof(text)) <= 0)
		return false;
	read_stat(text, usage);
	if (!memory)
		return true;
	find_place(holder, pid, usage);
	/* of two whose first threads are dead kcmp(2) says that they share what they do not have */
	if (exact && !usage->is_zombie && shares_memory(usage, pid))
		return true;
	if (!exact || !read_shares(holder, usage))
		read_resident(holder, usage);
	return true;
}

/* Of memory files, to be counted once. */
static ino_t seen[MEMFDS] HELPER_BEHIND(3);
static bool any_seen;

/* False if it was seen before. What there is no more room for is always new. */
static bool is_new(ino_t inode)
{
	size_t first = (uint64_t)inode * 0x9e3779b97f4a7c15U >> (64 - MEMFDS_BITS);

	for (size_t i = 0; i < MEMFDS; i++) {
		ino_t *at = &seen[(first + i) % MEMFDS];

		if (*at == inode)
			return false;
		if (*at == 0) {
			*at = inode;
			return any_seen = true;
		}
	}
	return true;
}

/* The caller's, such as stdin_data. */
static bool is_given(const struct holder *holder, const struct stat *st)
{
	for (const struct run *run = holder->runs; run; run = run->next)
		for (int i = 0; i < 3; i++)
			if (run->given[i].inode == st->st_ino && run->given[i].device == st->st_dev)
				return true;
	return false;
}

static dev_t memfd_device(void)
{
	static dev_t device;
	struct stat st;

	if (!device) {
		int fd = sys_memfd_create("guest-device", MFD_CLOEXEC);

		if (fd >= 0 && fstat(fd, &st) == 0)
			device = st.st_dev;
		fd_close(&fd);
	}
	return device;
}

/* Memory files of the guest among the fds of a process, each once. */
static uint64_t memory_files(const struct holder *holder, const struct usage *usage)
{
	dev_t device = memfd_device();
	struct dirent *entry;
	uint64_t bytes = 0;
	struct stat st;
	char path[64];
	DIR *directory;
	int fd;

	snprintf(path, sizeof(path), "%s/fd", usage->place);
	fd = openat(holder->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory) {
		fd_close(&fd);
		return 0;
	}
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.' &&
		    fstatat(dirfd(directory), entry->d_name, &st, 0) == 0 && st.st_dev == device &&
		    !is_given(holder, &st) && is_new(st.st_ino))
			bytes += (uint64_t)st.st_blocks * 512;
	closedir(directory);
	return bytes;
}

/* What a System V segment has in memory, by its line of /proc/sysvipc/shm. */
static uint64_t segment_bytes(const char *at)
{
	uint64_t field[SEGMENT_FIELDS] = { 0 };
	char *end = (char *)at;

	for (size_t i = 0; i < SEGMENT_FIELDS; i++)
		field[i] = strtoull(end, &end, 10);
	return field[SEGMENT_RSS];
}

/* Of those whose lines are whole; then comes the rest. */
static uint64_t read_segments(const char *text, size_t *ret_rest)
{
	const char *line = text, *end;
	uint64_t bytes = 0;

	for (; (end = strchr(line, '\n')); line = end + 1)
		bytes += segment_bytes(line);
	*ret_rest = (size_t)(line - text);
	return bytes;
}

/* All of them, attached or not. The first line, of names, has none. */
static uint64_t segments(const struct holder *holder)
{
	int fd = openat(holder->proc, "sysvipc/shm", O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	char text[4096];
	uint64_t bytes = 0;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, text + have, sizeof(text) - 1 - have)) > 0) {
		size_t rest;

		text[have += (size_t)n] = '\0';
		bytes += read_segments(text, &rest);
		have -= rest;
		memmove(text, text + rest, have);
	}
	fd_close(&fd);
	return bytes;
}

static uint64_t disk_used(void)
{
	struct statfs fs;

	if (statfs("/", &fs) < 0)
		return 0;
	return (fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize +
	       (fs.f_files - fs.f_ffree) * INODE_BYTES;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* What all processes of the guest use; of those that belong to a run, that run's share as well. */
uint64_t usage_walk(struct holder *holder, bool memory, bool exact, uint64_t *threads)
{
	uint64_t anonymous = 0, shared = 0, unmapped = 0;
	bool files = memory && holder->samples % UNMAPPED_EVERY == 0;
	bool single = holder->runs && !holder->runs->next && !holder->background;
	int fd = openat(holder->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	pid_t self = getpid();

	*threads = 0;
	if (any_seen)
		memset(seen, 0, sizeof(seen));
	any_seen = false;
	for (struct run *run = holder->runs; run; run = run->next)
		run->memory = run->shared = run->unmapped = run->processes = run->cpu_ns = 0;
	if (!directory) {
		fd_close(&fd);
		return 0;
	}
	while ((entry = readdir(directory))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		uint64_t in_files = 0;
		struct usage usage;
		struct run *run;

		if (pid <= 1 || pid == self || !look_at(holder, pid, memory, exact, &usage))
			continue;
		anonymous += usage.anonymous;
		shared += usage.shared;
		*threads += usage.threads;
		if (files)
			unmapped += in_files = memory_files(holder, &usage);
		run = single ? holder->runs : sweep_owner(holder, pid);
		if (!run)
			continue;
		run->memory += usage.anonymous;
		run->shared += usage.shared;
		run->unmapped += in_files;
		run->processes += usage.threads;
		run->cpu_ns += usage.cpu_ns;
	}
	closedir(directory);
	if (memory)
		unmapped += disk_used() + (files ? segments(holder) : 0);
	if (single)
		holder->runs->unmapped = unmapped;
	for (struct run *run = holder->runs; run; run = run->next)
		run->memory += larger(run->shared, run->unmapped);
	return anonymous + larger(shared, unmapped);
}

/* A limit on processes is one for us, too. */
static pid_t fork_anyhow(void)
{
	struct rlimit limit, most;
	pid_t pid;

	getrlimit(RLIMIT_NPROC, &limit);
	most = (struct rlimit){ limit.rlim_max, limit.rlim_max };
	setrlimit(RLIMIT_NPROC, &most);
	pid = fork();
	setrlimit(RLIMIT_NPROC, &limit);
	return pid;
}

/* A child of ours; one that is stuck is reaped like an orphan. */
static void wait_or_kill(pid_t pid)
{
	struct pollfd ended = { .fd = sys_pidfd_open(pid, 0), .events = POLLIN };

	if (ended.fd < 0 || poll(&ended, 1, EXACT_TIMEOUT_MS) <= 0)
		kill(pid, SIGKILL);
	waitpid(pid, NULL, WNOHANG);
	fd_close(&ended.fd);
}

struct found {
	bool done;
	uint64_t memory, threads;
	struct {
		uint64_t memory, processes, cpu_ns;
	} runs[];
};

static void take_found(struct holder *holder, const struct found *found, uint64_t *memory,
		       uint64_t *threads)
{
	size_t i = 0;

	for (struct run *run = holder->runs; run; run = run->next, i++) {
		run->memory = found->runs[i].memory;
		run->processes = found->runs[i].processes;
		run->cpu_ns = found->runs[i].cpu_ns;
	}
	*memory = found->memory;
	*threads = found->threads;
}

static void find(struct holder *holder, bool with_memory, struct found *found)
{
	size_t i = 0;

	found->memory = usage_walk(holder, with_memory, true, &found->threads);
	for (const struct run *run = holder->runs; run; run = run->next, i++) {
		found->runs[i].memory = run->memory;
		found->runs[i].processes = run->processes;
		found->runs[i].cpu_ns = run->cpu_ns;
	}
	found->done = true;
}

/* The same, with shares; nothing is changed if that is not to be had. */
void usage_walk_exactly(struct holder *holder, bool with_memory, uint64_t *memory,
			uint64_t *threads)
{
	struct found *found;
	size_t size = sizeof(*found) + holder->runs_count * sizeof(found->runs[0]);
	pid_t pid;

	found = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (found == MAP_FAILED)
		return;
	pid = fork_anyhow();
	if (pid == 0) {
		find(holder, with_memory, found);
		_exit(0);
	}
	if (pid > 0)
		wait_or_kill(pid);
	if (found->done)
		take_found(holder, found, memory, threads);
	munmap(found, size);
}
