/* SPDX-License-Identifier: MIT */
/*
 * Control groups, version 2: where groups for guests can be made, making and removing them, their
 * limits and what they tell.
 *
 *   LEVEL/                       a group without processes, found or named
 *     libguest-PID-N/            a tree: one for each keeper that has guests with limits
 *       keeper/                  the keeper and its holders: no guest's limit takes them along
 *       gN/                      a guest, with its limits
 *         run-N/                 a command and all that it starts, with its own
 *
 * remove.c is part of the helper, too.
 */
#ifndef GUEST_CGROUP_CGROUP_H
#define GUEST_CGROUP_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest/guest.h"

/* --- find.c: this process's own place --- */

struct cgroup_place {
	char mount[2048]; /* where cgroup2 is mounted; "" if it is not */
	char own[2048];	  /* the path of this process's group below it; "" for the topmost */
};

int cgroup_find(struct cgroup_place *place, struct guest_error *err);

/* Take the path of a group out of the text of /proc/PID/cgroup. False if it is in none. */
bool cgroup_parse_own(const char *text, char *path, size_t size);

/* --- limits.c: the files of one group --- */

enum {
	CGROUP_MEMORY = 1 << 0,
	CGROUP_PIDS = 1 << 1,
	CGROUP_CPU = 1 << 2,
	CGROUP_IO = 1 << 3,
};

struct cgroup_limits {
	uint64_t memory, memory_high, pids; /* 0: none; GUEST_LIMIT_KEEP */
	uint64_t cpu_quota, cpu_weight;
	const char *io_max; /* NULL: leave it */
};

/* The controllers that these limits need. */
uint32_t cgroup_limits_need(const struct cgroup_limits *limits);

#define CGROUP_IO_TEXT_MAX 4096

/* Write them into the group `dir`. */
int cgroup_limits_write(int dir, const struct cgroup_limits *limits, struct guest_error *err);

/* Make the lines of io.max out of a caller's text, whose devices may be paths. */
int cgroup_parse_io_max(const char *text, char *lines, size_t size, struct guest_error *err);

/* What a group has used and met; what its kernel does not tell is 0. */
struct cgroup_usage {
	uint64_t user_ns, system_ns;
	uint64_t memory_peak, memory_now;
	uint64_t processes_peak, processes_now;
	uint64_t oom_kills, pids_refused; /* events, here and below */
};

enum {
	CGROUP_READ_CPU = 1 << 0,
	CGROUP_READ_PEAKS = 1 << 1,
	CGROUP_READ_NOW = 1 << 2,
	CGROUP_READ_OOM_KILLS = 1 << 3,
	CGROUP_READ_PIDS_REFUSED = 1 << 4,
};

void cgroup_usage_read(int dir, uint32_t what, struct cgroup_usage *usage);

/* The number behind `key` in a file of "KEY NUMBER" lines; 0 if it is not there. */
uint64_t cgroup_parse_key(const char *text, const char *key);

/* Stop all processes in it, or let them go on. */
int cgroup_freeze(int dir, bool frozen, struct guest_error *err);

/* --- tree.c --- */

struct cgroup_request {
	const char *parent;   /* the level that the caller names; NULL: look for one */
	uint32_t controllers; /* that are needed */
	bool may_move_host;
	pid_t first; /* the process to move there: the keeper, or the launcher whose child it will
			be */
	/* Called before the group `name` is made in `level`: somebody shall remove it, come what
	   may. 0 or -errno. */
	int (*before)(void *user_data, int level, const char *name, const char *host_leaf);
	void *user_data;
};

struct cgroup_tree {
	int level, dir; /* of the level and of the tree; -EBADF: there is none */
	char name[64];
	char path[4096];      /* of the tree */
	char host_leaf[64];   /* below the level: where this process was moved; "" */
	uint32_t controllers; /* that groups in it have */
	bool by_systemd;
	uid_t uid; /* who the keeper and the holders are in the host's numbers; cgroup_tree_give()
		    */
	gid_t gid;
};

/* Make a tree with its first process. The error tells of each place what was wrong with it. */
int cgroup_tree_make(struct cgroup_tree *tree, const struct cgroup_request *request,
		     struct guest_error *err);

/* Let the keeper and the holders, which are these, add processes to what is in it. */
int cgroup_tree_give(struct cgroup_tree *tree, uid_t uid, gid_t gid, struct guest_error *err);

/* Have more controllers in it. */
int cgroup_tree_enable(struct cgroup_tree *tree, uint32_t controllers, struct guest_error *err);

/* Remove it, when its processes have been killed, and close it. */
void cgroup_tree_remove(struct cgroup_tree *tree);

/* Close the fds only. */
void cgroup_tree_forget(struct cgroup_tree *tree);

/* Move a process into the keeper's group. */
int cgroup_tree_adopt(const struct cgroup_tree *tree, pid_t pid, struct guest_error *err);

/* Make the group `name` in `dir`; the holders may add processes to it, and kill it. Its fd, or
 * -errno. */
int cgroup_make(const struct cgroup_tree *tree, int dir, const char *name, struct guest_error *err);

/* Let the groups below `dir` have these controllers. */
int cgroup_enable(int dir, uint32_t controllers);

/* --- remove.c --- */

/*
 * SIGKILL for each process in a group, or the first of them. Before Linux 5.14 there is no
 * cgroup.kill, and that passes over a process whose first thread is dead.
 */
void cgroup_kill_each(int dir);

/* Take off what slows down those in a group, and their death: cpu.max and io.max. */
void cgroup_unthrottle(int dir);

/* The same, of those below it, too. */
void cgroup_unthrottle_all(int dir);

/*
 * Kill all that is in a group and below it, and remove it. 0, also if it is not there; -EBUSY if
 * something in it does not die for a long time.
 */
int cgroup_remove(int parent, const char *name);

#endif
