/* SPDX-License-Identifier: MIT */
/*
 * The helper: one static program that is, in turn, launcher, keeper, holder and (until its exec)
 * command. lib/guest.c tells how they work together. Every function here runs in a process with a
 * single thread.
 */
#ifndef GUEST_HELPER_HELPER_H
#define GUEST_HELPER_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "guest/guest.h"
#include "wire/wire.h"

#define HELPER_CONTROL_FD 3 /* where the launcher finds the control socket */

/*
 * A fork pays for each page that it writes with a fault and a copy, for as long as it lives. So
 * what all of them write lies on three pages, and what is large between and around these: the
 * linker sorts these sections by name, and no variable's begins with a digit.
 *
 *     the stack, which grows down from the middle of a page
 *     and variables, which have the rest of that
 *     the stack of a guest's first command, with a page of its own that ends like that one
 *     and the message, which begins there
 */
#define HELPER_BEFORE(place) __attribute__((section(".bss." #place)))
#define HELPER_BEHIND(place) __attribute__((section(".bss.z" #place)))

#define HELPER_STACK_SHARE 1856 /* of the first of these pages */
#define HELPER_PLACE_SHARE 2560 /* of the other, for the first command's stack and strings */

/* The message that is being served; what a process has in it, its forks may still read. */
extern union helper_message {
	struct wire_start start;
	struct wire_janitor janitor;
	struct wire_create create;
	struct wire_run run;
	struct wire_ask ask;
	struct wire_plain plain;
	char bytes[WIRE_MAX];
} helper_message;

/* --- memory.c: malloc(3), and what forks get and are about to use --- */

/* A block of malloc(3)'s that no fork shall have, nor page tables for it. */
void memory_keep_from_forks(void *block);

/* The variables and the stack, the end of which lies beside them: all that the keeper writes after
 * it has forked. */
void memory_populate_stack(void);

/* These, the program, the first command's place, and the keeper's sign to go on. */
void memory_populate_holder(const void *go);

/* --- idmap.c: which ids a keeper gets --- */

struct idmap_line {
	uint32_t inside, outside, count;
};

struct idmap {
	struct idmap_line lines[2]; /* the same shape for uids and gids, but for `outside` */
	uint32_t gid_outside[2];
	uint32_t lines_count;
	uint32_t ids_count; /* mapped in all */
	bool by_newuidmap;  /* written by newuidmap(1) and newgidmap(1), for want of privilege */
	bool deny_setgroups;
	bool privileged; /* real root: can make idmapped mounts and hand them to guests */
};

/* The best map that this process may have written for its child; never maps a privileged host id.
 */
int idmap_plan(struct idmap *map, struct guest_error *err);

/* How files get the ids of this map, three numbers for a line of it: as they are outside, unless
 * mounts are idmapped. */
void idmap_stored(const struct idmap *map, uint32_t ids[WIRE_IDS]);

/* Drop to the single id that needs no privilege, where newuidmap has failed. */
void idmap_single(struct idmap *map);

/* Write it for a child in a new user namespace. `proc`: a directory fd of a procfs that shows
 * `pid`. */
int idmap_write(const struct idmap *map, int proc, pid_t pid, struct guest_error *err);

/*
 * Write the map of a user namespace nested in the one of `map`: the same ids under the same numbers
 * or, if there is one id only, that one as uid and gid.
 */
int idmap_write_nested(const struct idmap *map, int proc, pid_t pid, uint32_t uid, uint32_t gid,
		       struct guest_error *err);

/* --- keeper.c, keeper_tree.c --- */

#define KEEPER_ETC 3

/* "/etc/hostname", hosts and resolv.conf: a guest gets its own where the rootfs' are not right. */
extern const char *const keeper_etc[KEEPER_ETC];

struct keeper {
	struct idmap map;
	int control;	    /* to the host */
	int host;	    /* pidfd of the host */
	int remove;	    /* a directory to be emptied, and no more; else -EBADF */
	int proc;	    /* O_PATH of a procfs of the keeper's PID namespace */
	int mount_ns;	    /* its own, with nothing of the host in it */
	int host_tree_ns;   /* one with the host's tree at /host; -EBADF if map.privileged */
	int undertaker;	    /* socket to it */
	int signals;	    /* signalfd of SIGCHLD */
	pid_t unpacker;	    /* while the rootfs is unpacked */
	long watches;	    /* inotify watches that the host's user may have; -1: not known */
	long suid_dumpable; /* the sysctl, proc_sys_fs(5) */
	int guest_fds;	    /* from here on guests' mount namespaces; a new holder closes them */
	size_t held;	    /* how many of these there are: below UNDERTAKER_KEEPS */
	uint32_t created;   /* holders so far */
	uint32_t *go;	    /* shared with them: up to which number they have their maps */
	uint32_t template;  /* KEEPER_*: what the rootfs has and lacks */
	uint32_t masks;	    /* bit n: keeper_masks[n] can be opened and must be masked in guests */
	uint32_t mask_directories; /* bit n: it is a directory */
	char etc[KEEPER_ETC][160]; /* what the rootfs has there; "": not just such a file */
};

enum {
	KEEPER_MISSING_PROC = 1 << 0,
	KEEPER_MISSING_DEV = 1 << 1,
	KEEPER_MISSING_TMP = 1 << 2,
	KEEPER_MISSING_RUN = 1 << 3,
	KEEPER_TMP_IN_USE = 1 << 4, /* the rootfs has files in /tmp, which must not be covered */
};

/* Files and directories of procfs that tell about the host, or act on it. NULL-terminated. */
extern const char *const keeper_masks[];

/* The keeper's life, from the clone on. `go`: a socket on which the launcher says when. */
__attribute__((noreturn)) void keeper_main(struct keeper *keeper, const struct wire_start *start,
					   int archive, int unpacker, int go);

/* Build the tree: template, /dev, /proc, and pivot into it. */
int keeper_tree(struct keeper *keeper, const struct wire_start *start, int archive, int unpacker,
		int rootfs_tree, struct guest_error *err);

/* --- undertaker.c: holds mount namespaces of guests, and closes those of the dead --- */

#define UNDERTAKER_KEEPS 16 /* at most, at once */

int undertaker_start(struct keeper *keeper, struct guest_error *err);

/* Give it those of guests that live, by the guests' numbers. The fds stay the caller's. */
int undertaker_keep(const struct keeper *keeper, const uint32_t *numbers, const int *fds,
		    size_t count);

/* Have it close one: `fd`, which stays the caller's, or if negative what it keeps for `number`.
 * -EAGAIN: it is busy. */
int undertaker_close(const struct keeper *keeper, uint32_t number, int fd);

/* --- unpack_start.c: the unpacker's confinement --- */

/* Run the unpacker on `archive` with /template as its root. Returns its report's fd. */
int unpack_start(struct keeper *keeper, const struct wire_start *start, int archive, int unpacker,
		 struct guest_error *err);

/* Wait for its report; gives up with -EPIPE when the host dies. */
int unpack_wait(const struct keeper *keeper, int report, struct guest_error *err);

/* --- holder.c, holder_tree.c, mounts.c --- */

/* A guest in the making: what its holder needs of the keeper and of the request. */
struct holder_plan {
	const struct keeper *keeper;
	uint32_t number; /* from 1 on */
	const struct wire_create *create;
	int socket; /* the guest socket */
	int *trees; /* detached mounts that came with the request */
	size_t trees_count;
};

/* The holder's life, from the clone on. Never returns. */
__attribute__((noreturn)) void holder_main(const struct holder_plan *plan);

/* Build the guest's tree and enter it. Returns an fd of its /proc. */
int holder_tree(const struct holder_plan *plan, struct guest_error *err);

/* Mount what the caller asked for below the new root, before the pivot. */
int mounts_apply(const struct holder_plan *plan, int root, struct guest_error *err);

/* --- run.c, sweep.c, command.c --- */

#define HOLDER_NAME "guest-holder"
#define COMMAND_MARKER_SIZE 28
#define RUN_SLOTS 2048 /* commands that can run at once in a guest */

/* What a command tells its holder before exec, in memory that they share. */
struct command_slot {
	bool used;			  /* of those for commands that are forked */
	uint64_t exec_ns;		  /* CLOCK_MONOTONIC before its exec */
	char marker[COMMAND_MARKER_SIZE]; /* the link text of its cgroup namespace; "": not told */
};

/* All that a command needs between clone and exec, made ready before the clone. */
struct command {
	const char *cwd, *path; /* path: where to look for argv[0] */
	char *const *argv, *const *envp;
	int stdio[3];
	int socket; /* the run socket, for a failure's report */
	int proc;
	int cgroup;	   /* its control group, or -EBADF */
	bool in_cgroup;	   /* it was born there */
	bool in_namespace; /* it was born in a cgroup namespace of its own */
	bool is_alone;	   /* in its guest: nobody will ask for its marker */
	const struct wire_run_limits *limits;
	struct command_slot *slot;
	const struct holder *holder;
};

/*
 * Start it. What `command` points to must stay until its exec, and so must the stack: where it can
 * be, the child shares our memory, since copying that would take longer than all the rest. Its PID,
 * or -1 and errno.
 */
pid_t command_start(struct command *command, void *stack_end);

/* Will it share our memory? */
bool command_shares(const struct command *command);

/* Can a child be told apart from us that has our memory? */
bool command_may_share(void);

/* Where a command is born: its stack and, above that, as a program finds them, short strings. */
#define RUN_STRINGS_SIZE 4096 /* at most */
#define RUN_PLACE_SIZE (5 * 4096 + HELPER_PLACE_SHARE)

/* Both ends of a pipe to or from a command; -EBADF: the host has it, or gave something else. */
struct run_pipe {
	int read, write;
};

/* Large stdin_data on its way from the host to the command. */
struct run_input {
	int socket;
	struct run_pipe pipe; /* whose read end stays open, to tell what the command has left */
	char *buffer;	      /* NULL: there is none, or all of it has been passed on */
	size_t at, size;      /* what has had no room in the pipe yet */
	uint64_t moved;
};

/* A file of the caller's that is a command's stdin, stdout or stderr. */
struct run_file {
	dev_t device;
	ino_t inode; /* 0: none */
};

/* A command that runs. */
struct run {
	struct run *next;
	char *stack_end; /* of its start */
	pid_t pid;
	int socket;
	struct command_slot *slot; /* own_slot, or one of holder->slots */
	struct command_slot own_slot;
	bool killed;
	bool keep_background;
	bool keeps_socket; /* it becomes holder->idle */
	int cgroup;	   /* or -EBADF */
	struct run_pipe pipes[2];
	struct run_input input;
	struct run_file given[3];
	struct wire_run_limits limits;
	uint32_t cause; /* GUEST_* for which we have killed it */
	uint32_t seen;	/* GUEST_SEEN_* */
	uint64_t written_bytes;
	/* watched: CPU time of those that are dead and were not waited for; of all; and the most */
	uint64_t cpu_dead_ns, cpu_ns, memory_peak, processes_peak;
	uint64_t memory, processes; /* at the last look */
	uint64_t shared, unmapped;  /* what of that is in memory files: mapped, and kept */
	struct command command;
	char *strings; /* argv, NULL, envp, NULL, and what they point to, where that is not short */
	char *mapped;  /* from the host, where it is long */
	size_t mapped_size;
};

struct holder {
	int socket; /* to the host */
	int host;   /* its pidfd: a keeper that was stopped does not see its end */
	int proc;
	int signals; /* signalfd of SIGCHLD */
	int null;    /* /dev/null, read-only */
	int io;	     /* our own I/O counts, in procfs; -EBADF: not wanted */
	uint32_t uid, gid;
	bool many_ids;
	uint32_t nofile_soft, nofile_hard;
	uint64_t capabilities, inheritable;
	struct wire_limits limits;
	rlim_t processes;      /* our own soft RLIMIT_NPROC, while the guest has none */
	uint64_t next_sample;  /* CLOCK_MONOTONIC */
	uint64_t next_sweep;   /* the same; 0: nobody has been killed */
	uint64_t next_release; /* the same */
	uint64_t next_born;    /* the same; 0: nothing has been stopped */
	uint64_t born_delay;   /* in ns */
	uint64_t cpu_ended_ns; /* CPU time of commands that have ended, where that is watched */
	uint32_t samples;
	uint64_t memory; /* at the last look */
	bool background; /* something that a command left running is there, and shall be */
	bool paused;	 /* by SIGSTOP */
	bool may_share;	 /* its memory with commands until their exec */
	struct command_slot *slots; /* NULL: no command was forked yet */
	struct run *runs;
	uint32_t runs_count;
	struct run *quiet; /* the one that has not written yet, and still has its pipes here */
	const struct guest_error *unfit; /* why no command may run; NULL: they may */
	int idle; /* the run socket that is kept, between two runs; else -EBADF */
};

/* A WIRE_RUN and the fds that came with it, but for the run's socket. */
struct run_request {
	const struct wire_run *message;
	const int *fds;
	size_t fds_count;
};

/* run_request.c: read it into run->command, and make what is missing of its stdio. */
int run_read_request(const struct holder *holder, const struct run_request *request,
		     struct run *run, struct guest_error *err);

/*
 * Start what a WIRE_RUN asks for. Takes over the run's socket and the fds; tells the host about
 * failures itself.
 */
void run_start(struct holder *holder, const struct wire_run *message, int *socket, int *fds,
	       size_t fds_count);

/* More of its stdin has come, or there is room for more. */
void run_feed(struct holder *holder, struct run *run);

/* Give the host the pipes of holder->quiet. */
void run_hand_over(struct holder *holder);

/* A message, or the end, on a run's socket: a signal, or kill the run. */
void run_serve(struct holder *holder, struct run *run);

/* Kill a run, for a reason of ours (GUEST_*), or 0. */
void run_kill(struct holder *holder, struct run *run, uint32_t cause);

/* Tell the host that a run's group is being killed. */
void run_tell_killing(const struct run *run);

/* Reap what has died. True if more of it may be there. */
bool run_reap(struct holder *holder);

/*
 * wait4(2), without waiting: of what has died, or has been stopped. What the dead have written
 * counts for `owner`, if there is one and it is counted.
 */
pid_t run_wait(const struct holder *holder, pid_t pid, struct run *owner, int *status,
	       struct rusage *usage);

/* The same with a child that is no run's main process, whose run counts what it has used. False if
 * it lives. */
bool run_reap_orphan(const struct holder *holder, pid_t pid);

/* Kill who keeps killed commands from us by tracing them. */
void run_release(struct holder *holder);

/*
 * Kill all that a run has started, when its main process is dead, and reap it. Where it has no
 * control group, other runs' processes are told apart by their cgroup namespace, of which each run
 * has one of its own. False if something is stuck in the kernel; it dies when it leaves it.
 */
bool sweep_run(struct holder *holder, struct run *run);

/* Kill all of the runs that have been killed and are not dead, while everything stands still. */
void sweep_killed(struct holder *holder);

/* The end of a stop of everything. */
void sweep_continue(struct holder *holder);

/* Some time after that: what was being born then. */
void sweep_continue_born(struct holder *holder);

/* Has the run's main process any, so that there is more to kill? Not those of its other threads. */
bool sweep_has_children(const struct holder *holder, const struct run *run);

/* What a run leaves behind shall stay: no other run may take it for its own. */
void sweep_keep(const struct holder *holder, const struct run *run);

/* The run that a process belongs to; NULL if none, or not to be told. */
struct run *sweep_owner(const struct holder *holder, pid_t pid);

/* The CPU time in a wait4(2). */
uint64_t run_cpu_ns(const struct rusage *usage);

/* --- input.c: large stdin_data --- */

struct pollfd;

/* The pipe is there. What comes by a socket, which stays the caller's, shall go through it. After a
 * failure, too, input_close(). */
int input_open(struct run_input *input, int socket, struct guest_error *err);
void input_close(struct run_input *input);

/* What to wait for before input_move(); false: nothing. */
bool input_poll(const struct run_input *input, struct pollfd *poll_fd);

/* Pass on what there is and has room. 0 or -errno. */
int input_move(struct run_input *input);

/* Bytes that the command has read. */
uint64_t input_read(const struct run_input *input);

/* --- usage.c: what a guest's processes use --- */

/*
 * Look at all of them. Returns the bytes of memory that they have, if that is wanted; `exact`:
 * shared memory once, which the guest can make take long. What belongs to a run is noted there.
 */
uint64_t usage_walk(struct holder *holder, bool memory, bool exact, uint64_t *ret_threads);

/* The same, exactly, by a child; nothing is changed if that cannot be had in time. */
void usage_walk_exactly(struct holder *holder, bool with_memory, uint64_t *memory,
			uint64_t *threads);

/* --- sample.c: limits that no control group enforces --- */

/* poll(2)'s time-out until the next look: -1 if there is nothing to be looked at. */
int sample_timeout(const struct holder *holder);

/* Look, if it is time, and kill what exceeds a limit. */
void sample_look(struct holder *holder);

/* A look at what a run has left, before that is killed. */
void sample_rest(struct holder *holder, struct run *run);

/* The end of a run. `cpu_ns`: as wait4(2) told of its main process. */
void sample_end(struct holder *holder, struct run *run, uint64_t cpu_ns);

/* Are the guest's bytes or inodes used up? */
bool sample_disk_is_full(void);

/* --- janitor.c --- */

/* Remove a control group when the host is gone, or has closed the socket. */
__attribute__((noreturn)) void janitor_main(const struct wire_janitor *message, int *fds,
					    size_t fds_count);

/* --- confine.c: what processes must not do --- */

/* No core files, and no program of the host's that is started for them. */
int confine_core(struct guest_error *err);

/* Drop all but `keep` (bit n: capability n) from the bounding set. */
int confine_bounding_set(uint64_t keep, struct guest_error *err);

enum confine_filter {
	CONFINE_DEFAULT,
	CONFINE_MINIMAL, /* only what keeps prlimit(2) off other processes */
	CONFINE_MARKER,	 /* besides one of those: no other cgroup namespace */
};

/*
 * no_new_privs and a seccomp filter. Async-signal-safe.
 *
 * A filter takes the kernel long to make, and memory. So it is the keeper's, and what it forks has
 * it, too; by sys_word (base/sys.h), which is drawn with the default one, keeper and holder make
 * guests all the same. No guest comes to know it: nobody in there may look into a holder or what it
 * forks, and an exec leaves nothing of that.
 */
int confine_seccomp(enum confine_filter filter, struct guest_error *err);

/* --- step.c: what all of them do --- */

/* mount(2), with the error made. */
int helper_mount(const char *source, const char *target, const char *type, unsigned long flags,
		 const char *data, int stage, struct guest_error *err);

/* Limits that count per user: RLIMIT_SIGPENDING and its like. */
#define HELPER_SHARED_LIMITS 3
extern const int helper_shared_limits[HELPER_SHARED_LIMITS];

/* Lower this process's soft limit to a part of it. */
void helper_divide_limit(int resource, unsigned int divisor);

/* The remedy where user namespaces can be made, and have no rights. Returns err->code. */
int helper_explain_apparmor(struct guest_error *err);

/* Tell the other side and end the process. */
__attribute__((noreturn)) void helper_fail(int socket, const struct guest_error *err);

#endif
