/* SPDX-License-Identifier: MIT */
/*
 * The host program's side: start the helper, find or make the keeper for a rootfs, ask it for
 * guests, run commands in them and pump their output. Everything here is thread-safe unless it says
 * otherwise.
 */
#ifndef GUEST_HOST_HOST_H
#define GUEST_HOST_HOST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "cache/cache.h"
#include "cgroup/cgroup.h"
#include "guest/guest.h"
#include "wire/wire.h"

#define HOST_NEVER UINT64_MAX /* a deadline that does not come */

/* Until a holder must have answered: one that kills a storm does nothing else for two walks and a
 * sweep (sweep.c). */
#define HOST_PATIENCE_NS 20000000000ULL

/* --- rootfs.c: what a config names as rootfs --- */

struct host_rootfs {
	bool embedded;
	uint32_t kind; /* enum wire_rootfs */
	int fd;	       /* -EBADF for the embedded one until it is needed */
	char *cache;   /* where an unpacked archive is kept; NULL: nowhere */
	struct stat st;
	uint64_t bytes, inodes;
};

int host_rootfs_open(struct host_rootfs *rootfs, const struct guest_config *config,
		     struct guest_error *err);
void host_rootfs_close(struct host_rootfs *rootfs);

/*
 * The name of its entry in a cache. The embedded one is known by its digest, a file by its inode
 * and times. -EOPNOTSUPP: a pipe, or a file without a name, which nobody will open again.
 */
int host_rootfs_key(const struct host_rootfs *rootfs, char *key, size_t size,
		    struct guest_error *err);

/* The path of what an fd refers to: absolute, without symlinks. To be freed; NULL with errno. */
char *host_path_of_fd(int fd);

/* Would the same template, from the same place, serve both? */
bool host_rootfs_same(const struct host_rootfs *a, const struct host_rootfs *b);

/* --- launch.c: exec the helper --- */

/* Start the helper. Returns the control socket; the pidfd of our child, which will soon exit, in
 * ret_pidfd. */
int host_launch(int *ret_pidfd, pid_t *ret_pid, struct guest_error *err);

/* Wait until a child is gone, whoever reaps it; at once if it is no child. Closes the pidfd. */
void host_launch_wait(int *pidfd);

/* --- group.c: the control groups of a keeper --- */

struct keeper;

/* What a guest wants of them. */
struct group_wish {
	bool wanted;	    /* any at all */
	const char *parent; /* guest_config.cgroup_parent */
	uint32_t controllers;
	bool may_move_host;
};

struct group_tree {
	pthread_mutex_t lock;
	char *parent;		 /* named by the caller; NULL: found */
	struct cgroup_tree tree; /* tree.dir is -EBADF before it is made */
	int janitor;		 /* its control socket */
	int janitor_pidfd;
	uint32_t made;		  /* groups for guests so far */
	struct guest_error error; /* why it could not be made; code 0: not tried */
	uint32_t failed;	  /* with these controllers */
	bool failed_moving;	  /* though it could have moved this process */
};

int group_init(struct group_tree *group, const char *parent);

/*
 * Make it before there is a keeper, and move the launcher there, whose child the keeper will be: a
 * process that is in no user namespace yet, which systemd will always take, and nothing of the
 * template counts against this process's own limits. If it fails, group_get() will say so.
 */
void group_prepare(struct group_tree *group, const struct group_wish *wish, pid_t launcher);

/* Then, if it has been made, let the keeper use it. */
int group_give(struct keeper *keeper, struct guest_error *err);

/* Make it if it is not there, with these controllers. 0, or -EOPNOTSUPP with the reasons. */
int group_get(struct keeper *keeper, const struct group_wish *wish, struct guest_error *err);

/* The controllers that it has; 0: it is not there. */
uint32_t group_controllers(struct keeper *keeper);

/* Make a group for a guest. Its fd, and its directory in ret_path (to be freed). */
int group_make_guest(struct keeper *keeper, char **ret_path, struct guest_error *err);

/* Remove a guest's, when its processes are dead. */
void group_remove_guest(struct keeper *keeper, const char *path);

/* When the keeper is dead. */
void group_end(struct group_tree *group);

/* Undo group_prepare(), for another try. */
void group_undo(struct group_tree *group);

/* Close the fds that a forked child has of it. */
void group_forget(struct group_tree *group);

/* --- keeper.c: the keepers of this process --- */

struct keeper {
	struct keeper *next;
	struct host_rootfs rootfs; /* the fd is closed once it is unpacked */
	bool seccomp;
	uint32_t template_source; /* GUEST_TEMPLATE_* */
	struct cache_entry cache; /* GUEST_TEMPLATE_CACHED, _FILLED: its lock, while we use it */
	struct guest_error cache_error; /* GUEST_TEMPLATE_NO_CACHE: why */
	int state;			/* enum keeper_state */
	unsigned int users;		/* guests, and threads that are making one */
	int control;
	int pidfd;
	int user_ns; /* the keeper's, where this process is root; else -EBADF */
	uint32_t ids_count;
	pid_t pid; /* in this process's PID namespace */
	uid_t uid; /* what its root is to the host */
	gid_t gid;
	uint32_t stored_ids[CACHE_IDS]; /* how its ids are stored in files */
	struct guest_error error;	/* why it could not be started */
	struct group_tree group;
};

/*
 * The keeper for a rootfs: a running one, or a new one, which takes as long as the unpacking. The
 * caller is then one of its users. `rootfs` is not taken over. `wish`: what its control groups
 * shall be able to. `seccomp`: its guests have the default filter.
 */
int keeper_get(struct keeper **ret_keeper, struct host_rootfs *rootfs,
	       const struct group_wish *wish, bool seccomp, struct guest_error *err);

/* No longer use it. It goes on, for later guests, unless it was retired. */
void keeper_put(struct keeper *keeper);

/* Give no more guests to it: it is dead, or does not see what was mounted after it was made. */
void keeper_retire(struct keeper *keeper);

/* End those that have no users. */
void keeper_trim(void);

/* --- guest.c: making and ending one --- */

#define LIMITS_READY (1U << 31) /* groups of commands can be made */

/* What sees to each limit: GUEST_ENFORCED_*. */
struct enforcers {
	uint32_t memory, memory_high, pids, cpu, cpu_weight, io;
};

/* The limits on a guest. */
struct limits {
	int dir;	   /* of its group, or -EBADF */
	char *path;	   /* the same */
	uint64_t commands; /* groups made in it; atomic */
	bool best_effort, only_cgroup;
	uint32_t enabled; /* controllers for groups of commands, and LIMITS_READY; atomic */
	struct cgroup_limits values;   /* its io_max: as the group tells them; owned */
	struct wire_limits wire, told; /* what the holder shall see to, and has been told */
	struct enforcers by;	       /* atomic, each */
	uint32_t lifted; /* by guest->rates: runs that end; cpu_quota and io_max are off */
};

/* Those on a command. */
struct command_limits {
	int dir; /* of its group, or -EBADF */
	char name[32];
	uint64_t pids_refused; /* in the guest's group, before it was started */
	struct enforcers by;
	uint32_t cpu_time_by;
	bool lifted; /* its cpu_quota and io_max are off, and so are the guest's */
};

/* What a guest may use in its life, and has used. All atomic. */
struct budget {
	uint64_t commands, cpu_ns, wall_deadline, output_bytes, written_bytes; /* 0: no end */
	uint64_t commands_used, cpu_used_ns, output_used, written_used;
};

struct guest {
	uint32_t references; /* the handle's, and one for each command that was spawned */
	uint64_t owner;	     /* host_process() of who made it */
	struct keeper *keeper;
	int socket;
	int idle;   /* atomic: the run socket that is kept, between two runs; else -EBADF */
	bool keeps; /* atomic: there is one, or a run that will leave it */
	int pidfd;  /* of the holder */
	int broken; /* atomic: a process of it is stuck in the kernel */
	uint32_t uid;
	bool stopped;	  /* paused, by SIGSTOP */
	bool has_setuid;  /* its root may become other users */
	uint32_t running; /* atomic: commands */
	uint64_t made_at; /* CLOCK_MONOTONIC */
	uint64_t writable_bytes, writable_inodes;
	struct budget budget;
	pthread_mutex_t lock;  /* of what follows, where it is changed */
	pthread_mutex_t rates; /* of limits.lifted, and what that is about; taken after `lock` */
	struct limits limits;
};

int host_guest_create(struct guest **ret_guest, const struct guest_config *config,
		      struct guest_error *err);
int host_guest_end(struct guest *guest, struct guest_error *err);

/* Its life begins now: its budgets, and the time it has been there. host_guest_create() does it. */
void host_guest_begin(struct guest *guest, const struct guest_config *config);

/* Free it, with its fds, if nobody has it any more. */
void host_guest_put(struct guest *guest);

/* Ask its holder something (info.c). */
int host_ask(struct guest *guest, enum wire_question question, const struct wire_limits *limits,
	     struct wire_report *ret_report, struct guest_error *err);

int host_pause(struct guest *guest, bool pause, struct guest_error *err);
int host_info(struct guest *guest, struct guest_info *info, struct guest_error *err);

/* --- pool.c: guests made ahead --- */

int pool_create(struct guest_pool **ret_pool, const struct guest_config *config, uint32_t size,
		struct guest_error *err);
int pool_take(struct guest_pool *pool, struct guest **ret_guest, struct guest_error *err);
uint32_t pool_ready(const struct guest_pool *pool);
int pool_end(struct guest_pool *pool, struct guest_error *err);

/* --- budget.c --- */

void budget_init(struct budget *budget, const struct guest_config *config);

/* Take one command out of it. -EDQUOT if anything is spent. */
int budget_take(struct budget *budget, struct guest_error *err);

/* Count what has been used. True: within it. */
bool budget_count(uint64_t *used, uint64_t allowed, uint64_t more);

/* --- limits.c: what holds for a guest, and who sees to it --- */

/* Make out how the limits of a config are enforced; make its group; fill in what is the holder's
 * part. */
int limits_init(struct guest *guest, const struct guest_config *config, struct wire_limits *wire,
		struct guest_error *err);

/* Before all its processes are killed: nothing may hold them up. */
void limits_lift_all(struct guest *guest);

/* Remove its group; then close it, when nobody uses it any more. */
void limits_end(struct guest *guest);
void limits_free(struct guest *guest);
int limits_set(struct guest *guest, const struct guest_limits *limits, struct guest_error *err);

/* What a config wants of control groups. */
struct group_wish limits_wish(const struct guest_config *config);

/*
 * A command's own limits: its group, and what is the holder's part. To be ended with
 * limits_end_command().
 */
int limits_begin_command(struct guest *guest, const struct guest_command *command,
			 struct command_limits *limits, struct wire_run_limits *wire,
			 struct guest_error *err);

/* It is being killed: what is throttled takes long to die. Until limits_end_command(), nothing
 * limits the rates of CPU and I/O of the command, nor of its guest. */
void limits_lift(struct guest *guest, struct command_limits *limits);
void limits_end_command(struct guest *guest, struct command_limits *limits);

/* --- mounts.c: what the host contributes to a guest's mounts --- */

struct request;

/* Add config->mounts to the request: sources looked up, options read, for root the mounts already
 * made. */
int host_add_mounts(struct request *request, const struct guest_config *config,
		    const struct keeper *keeper, struct guest_error *err);

/* --- request.c: a message in the making --- */

struct request {
	char *bytes; /* a wire struct, then what was added */
	size_t size, capacity;
	int fds[WIRE_FDS_MAX]; /* owned */
	size_t fds_count;
};

int request_init(struct request *request, size_t struct_size, struct guest_error *err);
void request_clear(struct request *request);

/* Append bytes. Returns their offset, or -ENOMEM, or -E2BIG beyond WIRE_MAX. */
int request_add(struct request *request, const void *data, size_t size, struct guest_error *err);
int request_add_string(struct request *request, const char *string, struct guest_error *err);

/* Take over an fd; its index, or -E2BIG (closed). */
int request_add_fd(struct request *request, int fd, struct guest_error *err);

/* Make a pair of sockets and add the other end. 0, or -errno: then *ret_ours is to be closed, too,
 * if it is there. */
int request_add_socket(struct request *request, int *ret_ours, struct guest_error *err);

/* --- run.c, pump.c, spawn.c, info.c --- */

int host_run(struct guest *guest, const struct guest_command *command, struct guest_result *result,
	     struct guest_error *err);

int spawn_start(struct guest *guest, const struct guest_command *command,
		struct guest_process **ret_process, struct guest_error *err);
int spawn_wait(struct guest_process *process, uint64_t timeout_ns, struct guest_result *result,
	       struct guest_error *err);
int spawn_fd(const struct guest_process *process);
int spawn_signal(struct guest_process *process, int signal, bool cancel, struct guest_error *err);
void spawn_free(struct guest_process *process);

/* --- block.c: memory for captured output, which may become much: large blocks grow without being
 * copied, and consist of huge pages where the system has any --- */

/*
 * At least *capacity bytes, of which `used` are kept. *bytes is NULL at first; *capacity becomes
 * what there is. 0 or -ENOMEM: then everything is as before.
 */
int block_grow(char **bytes, size_t used, size_t *capacity);
void block_trim(char *bytes); /* it grows no more: give back address space; NULL-safe */
void block_free(char *bytes); /* NULL-safe */

/* --- output.c: what arrives of one stream --- */

struct output {
	int fd;		 /* -EBADF: not captured, or at its end */
	uint32_t stream; /* GUEST_STDOUT, GUEST_STDERR */
	char *data;
	size_t size, capacity;
	size_t populated; /* so much of it has its pages */
	uint64_t total;	  /* bytes that arrived */
	bool truncated;
	bool over_budget;
	struct budget *budget; /* of the guest */
};

enum output_event {
	OUTPUT_MORE = 0, /* read something, or nothing is there */
	OUTPUT_END,	 /* end of file: closed */
	OUTPUT_OVER,	 /* the limit was exceeded, and the command shall not go on */
	OUTPUT_CANCEL,	 /* on_output said so */
};

/* Read once, without blocking. An enum output_event, or -errno. */
int output_read(struct output *output, const struct guest_command *command);

/* Read all that is there. The same. */
int output_drain(struct output *output, const struct guest_command *command);

/* Read no more of it. What is in the pipe is cut off. */
void output_close(struct output *output);

/* A NUL behind the data, which is never NULL then. */
int output_finish(struct output *output);

/* --- input.c: stdin_data --- */

#define INPUT_COPY_MAX (1U << 20) /* what is larger is sent while the command reads it */

struct input {
	const char *data;
	uint64_t size, sent;
	int copy;   /* of the memfd, for its offset; else -EBADF */
	int socket; /* where the rest goes, when there is room; else -EBADF */
};

/* Add it to the request for a command. `is_spawned`: the data need not stay. Its index, or -errno.
 */
int input_add(struct input *input, const struct guest_command *command, bool is_spawned,
	      struct request *request, uint32_t *flags, struct guest_error *err);

/* Send what there is room for. 0 or -errno. */
int input_send(struct input *input);

/* How much the command has read. */
uint64_t input_bytes_read(const struct input *input, const struct wire_ended *ended);
void input_clear(struct input *input);

/* A run, from the request to its result. */
struct pump {
	struct guest *guest;
	const struct guest_command *command;
	int socket;
	bool is_kept;  /* it was, or will be, guest->idle */
	bool is_shut;  /* it is of no use for another run */
	int exec;      /* closes at the command's exec; -EBADF: not asked for */
	int wake;      /* not owned: readable when `cancelled` has changed */
	int cancelled; /* atomic */
	struct input input;
	struct output outputs[2];
	bool has_pipes; /* they have come */
	struct command_limits limits;
	uint64_t started, deadline;
	uint32_t cause; /* ours: why we killed it; 0: we did not */
	uint32_t seen;
	int failure; /* -errno of ours that ends the run, after a kill */
	bool over;   /* it has ended, as `ended` tells */
	struct wire_ended ended;
};

/* --- run_request.c --- */
int request_send_run(struct pump *pump, bool tell_exec, struct guest_error *err);

/* Send the request. After a failure, and in the end, pump_clear(). */
int pump_start(struct pump *pump, struct guest *guest, const struct guest_command *command,
	       bool tell_exec, struct guest_error *err);

/* Go on until the command has been exec'd (1, with `until_exec`) or has ended (0); or -errno. */
int pump_go(struct pump *pump, bool until_exec, struct guest_error *err);

/* After pump_go() or its failure `r`: the result. 0, or -errno; with -EPIPE there is a result, too.
 */
int pump_finish(struct pump *pump, int r, struct guest_result *result, struct guest_error *err);
void pump_clear(struct pump *pump);

/* --- process.c --- */

/* A number for this process, other than that of any it was forked from. 0 if there is no memory for
 * it yet. */
uint64_t host_process(void);

/* 0, or -ECHILD if `what` was made by another. */
int host_check_owner(uint64_t owner, const char *what, struct guest_error *err);

/* --- wait.c --- */

/* Wait for the end of a process of ours, and kill it if it takes long. 0, -ETIMEDOUT or -errno. */
int host_wait_dead(int pidfd);

/* Wait until fd is readable or at its end. 0, -ETIMEDOUT, or -errno. `deadline`: CLOCK_MONOTONIC,
 * ns. */
int host_wait_readable(int fd, uint64_t deadline);

/* Send a request, whose fds stay the caller's. 0, -ETIMEDOUT (the other side takes nothing), or
 * -errno. */
int host_send(int socket, struct request *request, enum wire_type type, uint64_t deadline);

/* poll(2)'s time-out for a deadline: milliseconds rounded up, -1 for HOST_NEVER. */
int host_poll_timeout(uint64_t deadline);

#endif
