/* SPDX-License-Identifier: MIT */
/*
 * libguest: a private Linux userland as a function call.
 *
 * A guest is a throw-away Debian userland: its own user, mount, PID, UTS, IPC and (by default)
 * network namespaces above a read-only template that all guests of a process share. It needs no
 * root, no daemon and no image: the root file system travels inside the library.
 *
 *     struct guest *guest;
 *     struct guest_command command;
 *     struct guest_result result = { .size = sizeof(result) };
 *
 *     guest_command_init(&command, sizeof(command));
 *     command.argv = (const char *const[]){ "uname", "-a", NULL };
 *     if (guest_init(&guest, NULL, NULL) == 0) {
 *             if (guest_run(guest, &command, &result, NULL) == 0)
 *                     fwrite(result.stdout_data, 1, result.stdout_size, stdout);
 *             guest_result_clear(&result);
 *             guest_shutdown(guest, NULL);
 *     }
 *
 * Returns.  Every call that can fail returns 0 or a negative errno. Outputs are untouched on
 * failure, and errno is left as it was. `err` may be NULL; otherwise it is filled in on failure and
 * says what to do.
 *
 * Sizes.  Every public struct begins with `uint32_t size`, set by the caller to sizeof() of it (the
 * *_init() calls do so). A struct that comes in may be shorter than the library's (the missing tail
 * has its defaults) or longer (the tail must then be zero, else -E2BIG), as with clone3(2) and
 * openat2(2). In struct guest_error and struct guest_result a size of 0 stands for the size in the
 * first version.
 *
 * Threads.  Every call is thread-safe. guest_run() may be called on one guest from any number of
 * threads at once. A handle must not be used during or after its guest_shutdown(). No call changes
 * signal handlers, the working directory, the umask, the environment or the locale, and none leaves
 * a child behind. guest_spawn() makes a thread for each command and guest_pool_init() one for each
 * pool, with all signals blocked, that end with them; there is no other.
 *
 * Limits.  What bounds memory, processes and CPU is a cgroup v2 group where one can be had, and
 * otherwise rlimits and the guest's own supervisor, which samples. A limit that nothing here can
 * enforce is an error (GUEST_STAGE_LIMITS) unless GUEST_BEST_EFFORT is set, and guest_info() and
 * struct guest_result say of each limit what enforces it. guest(7) tells where groups are looked
 * for.
 *
 * Children.  A host that is PID 1 of a PID namespace, or a child subreaper, inherits the processes
 * that keep its guests and their control groups, as it does all orphans; guest_trim() reaps them.
 *
 * Forks.  A handle belongs to the process that made it: in a forked child each call on it gives
 * -ECHILD and leaves the guest alone. The child may make guests of its own.
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GUEST_API __attribute__((visibility("default")))
#else
#define GUEST_API
#endif

#define GUEST_VERSION_MAJOR 0
#define GUEST_VERSION_MINOR 1
#define GUEST_VERSION_PATCH 0

struct guest;

/*
 * What went wrong. A plain object of 256 bytes; nothing in it needs freeing.
 *
 * `code` is what the call returned (a negative errno), `sys_errno` the positive errno of the step
 * that failed (0 where no system call did), `stage` one of GUEST_STAGE_*, and `message` one line of
 * text: the step, what it was about, the errno in words, and the remedy where one is known.
 */
struct guest_error {
	uint32_t size;
	int32_t code;
	int32_t sys_errno;
	int32_t stage;
	char message[240];
};

/* Steps that can fail. New ones are added at the end; guest_stage_name() gives their names. */
enum {
	GUEST_STAGE_NONE = 0,
	GUEST_STAGE_CONFIG = 1, /* the caller's structs do not make sense */
	GUEST_STAGE_MEMORY = 2,
	GUEST_STAGE_HELPER = 3,	 /* the embedded helper could not be started, or died */
	GUEST_STAGE_CLONE = 4,	 /* clone(2) of the namespaces */
	GUEST_STAGE_UID_MAP = 5, /* uid_map, gid_map, setgroups, newuidmap(1) */
	GUEST_STAGE_CREDENTIALS = 6,
	GUEST_STAGE_MOUNT = 7,
	GUEST_STAGE_MOUNT_PROC = 8,
	GUEST_STAGE_MOUNT_OVERLAY = 9,
	GUEST_STAGE_MOUNT_USER = 10, /* one of guest_config.mounts */
	GUEST_STAGE_PIVOT_ROOT = 11,
	GUEST_STAGE_HOSTNAME = 12,
	GUEST_STAGE_NETWORK = 13,
	GUEST_STAGE_ROOTFS = 14, /* the rootfs cannot be opened or is of no known kind */
	GUEST_STAGE_UNPACK = 15, /* the rootfs archive cannot be unpacked */
	GUEST_STAGE_SECCOMP = 16,
	GUEST_STAGE_CAPABILITIES = 17,
	GUEST_STAGE_RLIMIT = 18,
	GUEST_STAGE_PIPE = 19,
	GUEST_STAGE_FORK = 20, /* clone(2) of a command */
	GUEST_STAGE_CHDIR = 21,
	GUEST_STAGE_EXECVE = 22,
	GUEST_STAGE_HANDLE = 23,   /* a handle of another process, or of a guest that is lost */
	GUEST_STAGE_PROTOCOL = 24, /* a message between host and helper that makes no sense */
	GUEST_STAGE_CGROUP = 25,
	GUEST_STAGE_LIMITS = 26, /* a limit that cannot be enforced here */
	GUEST_STAGE_BUDGET = 27, /* a budget of the guest is spent */
	GUEST_STAGE_CACHE = 28,	 /* guest_config.cache_dir */
};

/* What enforces a limit; guest_enforcer_name() gives the names in quotes. */
enum {
	GUEST_ENFORCED_NOT = 0,		    /* "none": not asked for, or GUEST_BEST_EFFORT */
	GUEST_ENFORCED_CGROUP2 = 1,	    /* "cgroup2" */
	GUEST_ENFORCED_CGROUP2_SYSTEMD = 2, /* "cgroup2:systemd": a group that systemd made */
	GUEST_ENFORCED_RLIMIT = 3,	    /* "rlimit": setrlimit(2) */
	GUEST_ENFORCED_SAMPLED = 4,	    /* "sampled": looked at every few milliseconds */
};

/* Network of a guest. */
enum {
	GUEST_NETWORK_NONE = 0, /* a network namespace of its own with only lo, up */
	GUEST_NETWORK_HOST = 1, /* the host's network, its loopback and abstract sockets included */
};

/* guest_config.flags */
enum {
	/* no filter but for prlimit(2) of others, keyctl(2), PTRACE_O_TRACEEXIT, splice(2) and
	 * sendfile(2), and io_uring: see guest(7). Such guests share an unpacked rootfs with each
	 * other only */
	GUEST_NO_SECCOMP = 1 << 0,
	GUEST_BEST_EFFORT =
		1 << 1,	       /* a limit that nothing here can enforce is dropped, not refused */
	GUEST_CGROUP = 1 << 2, /* a cgroup v2 group even where no limit asks for one; nothing less
				  will do for the limits */
	GUEST_MOVE_HOST = 1 << 3, /* this process may be moved into a leaf of its own delegated
				     group, where groups for guests cannot be made otherwise */
};

/* guest_mount.type */
enum {
	GUEST_MOUNT_BIND = 0,
	GUEST_MOUNT_TMPFS = 1,
};

/*
 * Something mounted into a guest.
 *
 * `target` is an absolute path in the guest; what is missing of it is made. It is resolved inside
 * the guest's root: no symlink leads out. `source` is a host path (bind: directory, file or socket)
 * and NULL for tmpfs. `options` is text as for mount(8), or NULL: ro, rw, nosuid, nodev, noexec,
 * noatime (both types), norecurse and noidmap (bind), size=, nr_inodes=, mode= (tmpfs). nosuid and
 * nodev are always on.
 *
 * A bind takes the mounts below `source` with it unless norecurse is given. Where the host program
 * is root, a bind is mounted idmapped, so that the guest's root owns what the host's root owns in
 * it; where the file system cannot do that, a read-only bind is mounted as it is, a writable one is
 * refused (-EOPNOTSUPP) unless noidmap is given.
 */
struct guest_mount {
	uint32_t size;
	uint32_t type;
	const char *source;
	const char *target;
	const char *options;
};

/*
 * A guest to be. Filled with defaults by guest_config_init(); everything it points to is copied by
 * guest_init() and may be freed afterwards.
 */
struct guest_config {
	uint32_t size;
	uint32_t flags; /* GUEST_NO_SECCOMP and those below it; 0 */
	/*
	 * NULL: the embedded rootfs. A directory: read-only below the guest's own writable layer. A
	 * file: any tar, plain or compressed with xz, gzip, bzip2, zstd or lz4; unpacked once for
	 * all guests of the process that name it.
	 */
	const char *rootfs_path;
	int32_t rootfs_fd;    /* the same as an open fd, which stays the caller's; -1: none */
	uint32_t network;     /* GUEST_NETWORK_*; GUEST_NETWORK_NONE */
	const char *hostname; /* at most 64 bytes; NULL: "guest" */
	/*
	 * What the guest may write, /tmp and /dev/shm included; then it gets ENOSPC. 0: 1 GiB. It
	 * counts against memory_bytes, too: if that is not larger, this becomes half of it.
	 */
	uint64_t writable_bytes;
	uint64_t writable_inodes;	  /* files it may create; 1,048,576 */
	const struct guest_mount *mounts; /* stride: mounts[0].size */
	uint64_t mounts_count;
	/*
	 * What the guest's commands may do inside their own user namespace, as cap_from_text(3):
	 * for example "cap_chown,cap_setuid=ep" or "=". NULL: for uid 0 cap_chown,
	 * cap_dac_override, cap_fowner, cap_fsetid, cap_kill, cap_setgid, cap_setuid, cap_setpcap
	 * and cap_net_bind_service; else none.
	 */
	const char *capabilities;
	uint32_t uid, gid; /* whom commands run as, inside; 0 */
	/*
	 * Limits on all commands of the guest together; 0: none. As memory.max (with no swap),
	 * pids.max (threads count) and cpu.max of cgroup v2.
	 */
	uint64_t memory_bytes;
	uint64_t pids_max;
	uint64_t cpu_quota;	/* thousandths of a CPU */
	uint64_t rootfs_bytes;	/* cap on an unpacked rootfs; 4 GiB */
	uint64_t rootfs_inodes; /* cap on the files of an unpacked rootfs; 1,048,576 */
	/* More limits, for which nothing but cgroup v2 will do; 0 or NULL: none. */
	uint64_t
		memory_high_bytes; /* beyond it the guest is slowed down, not killed: memory.high */
	uint64_t cpu_weight;	   /* 1 to 10000, where others have 100: cpu.weight */
	/*
	 * Lines as in io.max, "/dev/sda rbps=1048576 wiops=100": a block device's path or
	 * MAJOR:MINOR, then any of rbps, wbps, riops, wiops.
	 */
	const char *io_max;
	/*
	 * The directory of a cgroup v2 group, without processes, in which those for guests are
	 * made; NULL: one is looked for.
	 */
	const char *cgroup_parent;
	/*
	 * Budgets for the guest's life; 0: none. When one is spent, no command is started any more
	 * (-EDQUOT, GUEST_STAGE_BUDGET), and those that run are ended with the cause in brackets.
	 */
	uint64_t budget_commands; /* that may be started */
	uint64_t budget_cpu_ns;	  /* of all commands together (GUEST_CPU_TIME) */
	uint64_t budget_wall_ns;  /* since guest_init() or guest_pool_take() (GUEST_TIMED_OUT) */
	uint64_t budget_output_bytes;  /* captured (GUEST_OUTPUT_LIMIT) */
	uint64_t budget_written_bytes; /* by write(2) and its like, to whatever it be; counted at
					  the end of each command, which is not ended for it */
	/*
	 * An absolute path: a directory that keeps the rootfs unpacked on disk, for later processes
	 * of this user; "": $XDG_CACHE_HOME/libguest or ~/.cache/libguest; NULL: nothing is kept.
	 * It is made if it is not there, and must belong to the effective user, with nobody else
	 * allowed to write in it, else -EPERM. The first guest fills it, which takes longer than
	 * unpacking alone. An entry that has been changed is made anew; while a guest of any
	 * process uses one, leave it alone. Where there can be no cache, the guest is made without,
	 * and guest_info() says why. A rootfs that is a directory needs none. See guest(7).
	 */
	const char *cache_dir;
};

/* guest_command.flags */
enum {
	GUEST_TRUNCATE_OUTPUT =
		1 << 0, /* drop what exceeds output_limit_bytes and let the command go on */
	GUEST_MERGE_STDERR = 1 << 1, /* stderr goes where stdout goes */
	GUEST_NO_CAPTURE = 1 << 2,   /* hand output to on_output only, store none */
	GUEST_KEEP_BACKGROUND =
		1 << 3, /* what the command leaves running when it ends goes on, until the guest's
			   end; killed with the command if that is killed */
};

/* `stream` of on_output */
enum {
	GUEST_STDOUT = 1,
	GUEST_STDERR = 2,
};

/*
 * A command to run. Filled with defaults by guest_command_init(); read only during the call that
 * takes it.
 */
struct guest_command {
	uint32_t size;
	uint32_t flags;
	const char *const *argv; /* NULL-terminated; argv[0] without a slash is looked up in the
				    guest's PATH */
	/*
	 * NULL-terminated "NAME=value" strings, the whole environment; NULL: PATH, HOME, USER,
	 * LOGNAME, LANG and TERM with plain values. The host's environment is never passed on. PATH
	 * in it, or /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin, is where argv[0]
	 * is looked for.
	 */
	const char *const *envp;
	const char *cwd; /* absolute, in the guest; NULL: "/" */
	/*
	 * What the command reads as stdin if stdin_fd is -1: a file of its own or, if it is more
	 * than 1 MiB and guest_run() waits for the command, without GUEST_KEEP_BACKGROUND, a pipe;
	 * then it must not change during the call.
	 */
	const void *stdin_data;
	uint64_t stdin_size; /* 0: stdin is empty */
	/*
	 * Fds of the caller's own; they stay the caller's. What the guest is given it has: it can
	 * open a file anew through /proc/self/fd, for writing too where the file's mode and owner
	 * let it (where the host program is not root, the guest's root has its rights on files).
	 * Directories are refused (-EISDIR): they would be a way out.
	 */
	int32_t stdin_fd;    /* the caller's fd to be stdin; stays the caller's; -1: stdin_data */
	int32_t stdout_fd;   /* the caller's fd to be stdout; stays the caller's; -1: captured */
	int32_t stderr_fd;   /* the same for stderr */
	uint32_t reserved;   /* 0 */
	uint64_t timeout_ns; /* wall clock, from the start of the call; 0: none */
	uint64_t output_limit_bytes; /* for stdout and stderr each, captured; 0: none; 256 MiB */
	/*
	 * Called, from the thread that called guest_run(), with each piece of captured output as it
	 * arrives. `data` is valid during the call only. Returning anything but 0 ends the command
	 * (GUEST_CANCELLED).
	 */
	int (*on_output)(void *user_data, uint32_t stream, const void *data, size_t size);
	void *user_data;
	/* Limits on this command and all that it starts, within those of the guest; 0: none. */
	uint64_t memory_bytes;
	uint64_t pids_max;
	uint64_t cpu_quota;   /* thousandths of a CPU; cgroup v2 only */
	uint64_t cpu_time_ns; /* CPU time of all its processes together */
	/* Limits on each of its processes, as setrlimit(2); 0: none. */
	uint64_t address_space_bytes; /* RLIMIT_AS */
	uint64_t data_bytes;	      /* RLIMIT_DATA */
	uint64_t file_size_bytes;     /* RLIMIT_FSIZE */
	uint64_t open_files;	      /* RLIMIT_NOFILE; never above the guest's own, at most 4096 */
	/*
	 * More limits on the command and all that it starts, as those of guest_config, for which
	 * nothing but cgroup v2 will do; 0 or NULL: none. cpu_weight is against other commands of
	 * the guest.
	 */
	uint64_t memory_high_bytes;
	uint64_t cpu_weight;
	const char *io_max;
};

/*
 * guest_result.cause: why the command ended. Those from GUEST_TOO_MANY_PROCESSES to
 * GUEST_SECCOMP_KILLED explain an end that was the command's own: exit_code and term_signal say
 * what it was.
 */
enum {
	GUEST_EXITED = 1,	/* exit_code says how */
	GUEST_SIGNALED = 2,	/* term_signal says by what */
	GUEST_TIMED_OUT = 3,	/* timeout_ns or budget_wall_ns passed; killed */
	GUEST_OOM_KILLED = 4,	/* memory_bytes was exceeded; killed */
	GUEST_OUTPUT_LIMIT = 5, /* output_limit_bytes or budget_output_bytes was exceeded; killed */
	GUEST_CANCELLED = 6,	/* on_output asked for the end, or guest_cancel() */
	GUEST_CPU_TIME = 7,	/* cpu_time_ns or budget_cpu_ns was used up; killed, if it had not
				   ended by itself */
	GUEST_TOO_MANY_PROCESSES = 8, /* a fork was refused by pids_max, and it failed; or more were
					 sampled; killed */
	GUEST_DISK_FULL = 9, /* it failed, and the guest's writable_bytes or inodes are used up */
	GUEST_SECCOMP_KILLED = 10, /* SIGSYS: a seccomp filter of the command's own (suspected, as
				      any process may send that signal) */
	GUEST_LOST = 11, /* the guest's init process was killed: guest_run() gives -EPIPE */
};

/* guest_result.seen */
enum {
	GUEST_SEEN_OOM = 1 << 0,      /* a process of it was killed for want of memory */
	GUEST_SEEN_PIDS_MAX = 1 << 1, /* a fork was refused by pids_max; without a group: it had
					 that many processes */
	GUEST_SEEN_DISK_FULL =
		1 << 2,		    /* at its end writable_bytes or writable_inodes were used up */
	GUEST_SEEN_BUDGET = 1 << 3, /* the limit that ended it was one of the guest's budgets */
	GUEST_SEEN_SUSPECTED = 1 << 4, /* `cause` is the likely one, not a certain one */
};

/*
 * What became of a command. Set `size` (and nothing else) before the first use; guest_run()
 * overwrites the rest, so call guest_result_clear() before using it again.
 */
struct guest_result {
	uint32_t size;
	uint32_t cause;	     /* GUEST_EXITED... */
	int32_t exit_code;   /* 0 to 255 if it exited, else -1 */
	int32_t term_signal; /* the signal that ended it, else 0; SIGKILL if we killed it */
	char *stdout_data;   /* captured bytes and a NUL behind them; freed by guest_result_clear(),
				by nothing else; never NULL */
	uint64_t stdout_size; /* in bytes, without that NUL */
	char *stderr_data;
	uint64_t stderr_size;
	uint32_t truncated; /* bit mask of GUEST_STDOUT, GUEST_STDERR: more had been written than is
			       here */
	uint32_t seen;	    /* bit mask of GUEST_SEEN_* */
	uint64_t wall_ns;   /* from the request to the end of the command */
	/* CPU time: of all its processes with cgroup v2, else of the command and of those of its
	   descendants that were waited for. */
	uint64_t user_ns;
	uint64_t system_ns;
	uint64_t max_rss_bytes;		     /* of the largest single process among them */
	uint64_t memory_peak_bytes;	     /* of all its processes together; 0: not known */
	uint64_t minor_faults, major_faults; /* page faults, of the same processes */
	uint64_t stdin_bytes;		     /* of stdin_data that have been read */
	uint64_t stdout_bytes, stderr_bytes; /* that arrived, kept or not */
	uint64_t written_bytes; /* by write(2); 0: not known (only with budget_written_bytes) */
	uint64_t processes;	/* most at once, threads included; 0: not known */
	uint64_t setup_ns;	/* from the request to the exec of the command */
	/* GUEST_ENFORCED_*: what enforced the limits that held for it, its own or the guest's. */
	uint32_t memory_enforced, pids_enforced, cpu_enforced, cpu_time_enforced;
	uint32_t memory_high_enforced, cpu_weight_enforced, io_enforced;
	uint32_t reserved; /* 0 */
};

/*
 * Fill in the defaults. `size` is sizeof() of the struct as the caller's compiler knows it. Returns
 * 0, or -EINVAL (NULL, or too small), or -E2BIG (larger than this library knows: use a smaller
 * struct).
 */
GUEST_API int guest_config_init(struct guest_config *config, size_t size);
GUEST_API int guest_command_init(struct guest_command *command, size_t size);

/*
 * Make a guest and wait until it can run commands. The first call in a process for a rootfs unpacks
 * it (some hundred milliseconds; a few where cache_dir has it), later ones share it (about one
 * millisecond).
 *
 * `config` may be NULL for the defaults. The handle is the caller's, to be given to
 * guest_shutdown(). Returns 0, -EINVAL or -E2BIG (config), -ENOMEM, -EMFILE, -ENOENT (rootfs_path,
 * a mount's source), -ENOSPC (user namespaces are off, or the rootfs exceeds its caps: see the
 * stage), -EPERM (the host forbids namespaces, or cache_dir cannot be trusted), -EBADMSG (the
 * rootfs archive is damaged), -EOPNOTSUPP (a limit or an idmapped mount that this host cannot do),
 * or another negative errno with its stage.
 */
GUEST_API int guest_init(struct guest **ret_guest, const struct guest_config *config,
			 struct guest_error *err);

/*
 * Run a command in a guest and wait for its end. When it returns, nothing that the command started
 * is alive.
 *
 * What happens to the command is a result, not an error: one that exits with 127 or dies of a
 * signal is a success of the call. Returns 0; -ENOENT, -EACCES, -ENOEXEC, -E2BIG... with stage
 * GUEST_STAGE_EXECVE or GUEST_STAGE_CHDIR if it could not be started; -EINVAL (command); -ECHILD (a
 * handle of the parent process); -EDQUOT (a budget is spent); -EOPNOTSUPP (a limit); -ENOMEM,
 * -EMFILE, -EAGAIN (pids_max); -ENOTRECOVERABLE: the guest could not be confined and runs nothing,
 * shut it down; -EPIPE: the guest is lost, shut it down. With -EPIPE alone the result is filled in,
 * too: the cause GUEST_LOST, and the output that had arrived.
 */
GUEST_API int guest_run(struct guest *guest, const struct guest_command *command,
			struct guest_result *ret_result, struct guest_error *err);

/*
 * A command that runs while the caller does something else. guest_spawn() starts it and returns
 * when it has been exec'd (or could not be: the errors of guest_run()). on_output is called from
 * another thread. The process is the caller's, to be given to guest_process_free().
 */
struct guest_process;
GUEST_API int guest_spawn(struct guest *guest, const struct guest_command *command,
			  struct guest_process **ret_process, struct guest_error *err);

/*
 * Wait for its end, for at most timeout_ns (0: just look; UINT64_MAX: for ever). Returns 0, and
 * then the result is the caller's as from guest_run(); -ETIMEDOUT (it still runs); -ESRCH (the
 * result has been taken before); -EPIPE (the guest was lost, see guest_run()); or what else
 * guest_run() gives.
 */
GUEST_API int guest_wait(struct guest_process *process, uint64_t timeout_ns,
			 struct guest_result *ret_result, struct guest_error *err);

/*
 * An fd that becomes readable when the command has ended, and stays so: for poll(2) and event
 * loops. It is the process's: not to be read or closed.
 */
GUEST_API int guest_process_fd(const struct guest_process *process);

/*
 * Send a signal to the command itself (as kill(2) to its main process), or end it with all that it
 * started, with the cause GUEST_CANCELLED. From any thread, while another is in guest_wait().
 * Return 0, -ESRCH (it has ended), -EINVAL (signal), -EPIPE (the guest is lost).
 */
GUEST_API int guest_kill(struct guest_process *process, int signal, struct guest_error *err);
GUEST_API int guest_cancel(struct guest_process *process, struct guest_error *err);

/* Cancel it if it runs, wait for its end, and free it. NULL-safe. */
GUEST_API void guest_process_free(struct guest_process *process);

/* Free what a result owns and zero it, except for its size. NULL-safe and twice-safe. */
GUEST_API void guest_result_clear(struct guest_result *result);

/*
 * End a guest. When it returns, every process of the guest is dead; its memory is being freed. Runs
 * that are under way in other threads end with -EPIPE, but must have returned before the handle is
 * given here. NULL-safe. The handle is gone afterwards, whatever is returned: 0, -ECHILD (a handle
 * of the parent process: freed here, the guest lives on), or -ETIMEDOUT (a process stuck in the
 * kernel outlived its kill).
 */
GUEST_API int guest_shutdown(struct guest *guest, struct guest_error *err);

/*
 * Stop all commands of a guest where they are, and let them go on. Time-outs go on running
 * meanwhile; commands that are started on a paused guest wait. By cgroup.freeze; without a group of
 * its own, by SIGSTOP and SIGCONT, which the guest's shells may notice. Return 0, -ECHILD, -EPIPE,
 * -ETIMEDOUT (a process that is stuck in the kernel does not stop).
 */
GUEST_API int guest_pause(struct guest *guest, struct guest_error *err);
GUEST_API int guest_resume(struct guest *guest, struct guest_error *err);

#define GUEST_LIMIT_KEEP UINT64_MAX /* leave this limit as it is */

/* Limits as in guest_config. guest_limits_init() sets each to GUEST_LIMIT_KEEP, io_max to NULL. */
struct guest_limits {
	uint32_t size;
	uint32_t flags; /* 0 */
	uint64_t memory_bytes, memory_high_bytes;
	uint64_t pids_max;
	uint64_t cpu_quota, cpu_weight;
	const char *io_max; /* NULL: leave as it is */
};

GUEST_API int guest_limits_init(struct guest_limits *limits, size_t size);

/*
 * Change the limits of a guest while it runs. With a group of its own they hold at once, for all
 * commands; memory_bytes below what is in use kills. A guest without one that is given its first
 * limit gets one for the commands that are started from then on. Returns 0, -EINVAL, -E2BIG,
 * -EOPNOTSUPP (nothing here enforces it), -ECHILD, -EPIPE.
 */
GUEST_API int guest_set_limits(struct guest *guest, const struct guest_limits *limits,
			       struct guest_error *err);

/* guest_info.template_source: where what the guest's writable layer lies over comes from. */
enum {
	GUEST_TEMPLATE_UNPACKED = 1,  /* unpacked into memory */
	GUEST_TEMPLATE_DIRECTORY = 2, /* the directory that is the rootfs */
	GUEST_TEMPLATE_CACHED = 3,    /* found in cache_dir */
	GUEST_TEMPLATE_FILLED = 4,    /* unpacked into cache_dir, for others to find */
	GUEST_TEMPLATE_NO_CACHE = 5,  /* unpacked into memory, though cache_dir is given */
};

/* What guest_info() tells. The caller sets `size`. */
struct guest_info {
	uint32_t size;
	uint32_t running; /* commands that run now */
	/* GUEST_ENFORCED_* for the limits on the guest */
	uint32_t memory_enforced, memory_high_enforced, pids_enforced, cpu_enforced,
		cpu_weight_enforced, io_enforced;
	const char *cgroup; /* directory of its group, valid until guest_shutdown(); NULL: none */
	/* limits in force; 0: none */
	uint64_t memory_bytes, memory_high_bytes, pids_max, cpu_quota, cpu_weight;
	uint64_t writable_bytes, writable_inodes;
	/* used so far, by all commands that have ended (and by those that run, where a group tells)
	 */
	uint64_t commands, cpu_ns, wall_ns, output_bytes, written_bytes;
	/* in use now */
	uint64_t memory_now_bytes, memory_peak_bytes; /* 0: not known (needs cgroup v2) */
	uint64_t processes_now;			      /* the same */
	uint64_t writable_used_bytes, writable_used_inodes;
	uint32_t template_source; /* GUEST_TEMPLATE_* */
	uint32_t reserved;
	const char *cache_error; /* with GUEST_TEMPLATE_NO_CACHE: why, valid until guest_shutdown();
				    else NULL */
};

/* Tell about a guest. Returns 0, -EINVAL, -ECHILD, -EPIPE, -ETIMEDOUT. */
GUEST_API int guest_info(struct guest *guest, struct guest_info *ret_info, struct guest_error *err);

#define GUEST_POOL_MAX 1024

/*
 * A pool: guests made ahead, all of one config, so that taking one costs a tenth of a millisecond
 * at most. guest_pool_init() makes the first of `size` (1 to GUEST_POOL_MAX) guests and returns, or
 * says why there can be none; a thread of the pool makes the others, and one more for each that is
 * taken. Everything that `config` points to is copied, rootfs_fd is duplicated, and relative paths
 * stay what they are now. What paths name is looked up for each guest when that is made, not when
 * it is taken; a guest that waits costs memory, three fds, four with a group, and no CPU time.
 * Returns 0, -EINVAL (size; a rootfs that is a pipe), or what guest_init() gives.
 */
struct guest_pool;
GUEST_API int guest_pool_init(struct guest_pool **ret_pool, const struct guest_config *config,
			      uint32_t size, struct guest_error *err);

/*
 * Take the oldest guest that is ready, or, if there is none, make one here and now. From then on it
 * is the caller's as if from guest_init(), outlives the pool, and its budgets begin. One that was
 * killed while it waited is never handed out. From any number of threads at once. Returns 0,
 * -EINVAL (NULL), -ECHILD (a pool of the parent process), or, if none was ready, what guest_init()
 * gives.
 */
GUEST_API int guest_pool_take(struct guest_pool *pool, struct guest **ret_guest,
			      struct guest_error *err);

/* How many are ready now; 0 for NULL, and for a pool of the parent process. */
GUEST_API uint32_t guest_pool_ready(const struct guest_pool *pool);

/*
 * End a pool, and the guests that nobody has taken. Those that were taken are not touched. Calls of
 * guest_pool_take() in other threads must have returned. NULL-safe. The handle is gone afterwards,
 * whatever is returned: 0, -ECHILD (a pool of the parent process: freed here, its guests live on),
 * or -ETIMEDOUT (as from guest_shutdown()).
 */
GUEST_API int guest_pool_shutdown(struct guest_pool *pool, struct guest_error *err);

/*
 * Give back what is kept for later guests: unpacked templates that no live guest uses, and the
 * processes that hold them. Guests are not touched. The next guest_init() is a cold one. Returns 0.
 */
GUEST_API int guest_trim(struct guest_error *err);

/* guest_finding.status */
enum {
	GUEST_FINDING_OK = 0,
	GUEST_FINDING_NOTE = 1,	  /* guests work; something optional does not */
	GUEST_FINDING_FAILED = 2, /* guests do not work */
};

/* One thing that guest_doctor() found out. The strings are valid during the callback only. */
struct guest_finding {
	uint32_t size;
	uint32_t status;    /* GUEST_FINDING_* */
	const char *name;   /* short and stable: "user-namespace", "proc", "cgroup2", ... */
	const char *detail; /* what was tried and what came of it */
	const char *remedy; /* what to do about it; "" if nothing */
};

/*
 * Find out what this host allows, by trying each step in a throw-away process. `on_finding` is
 * called for each step in turn; anything but 0 from it ends the walk. Returns the number of
 * findings that are GUEST_FINDING_FAILED (0: guests work here), or a negative errno.
 */
GUEST_API int guest_doctor(int (*on_finding)(void *user_data, const struct guest_finding *finding),
			   void *user_data, struct guest_error *err);

/* "pivot_root", "uid_map", "execve", ... for GUEST_STAGE_*; "unknown" for anything else. Static. */
GUEST_API const char *guest_stage_name(int32_t stage);

/* "exited", "timed out", ... for guest_result.cause; "unknown" for anything else. Static. */
GUEST_API const char *guest_cause_name(uint32_t cause);

/* "cgroup2", "sampled", ... for GUEST_ENFORCED_*; "unknown" for anything else. Static. */
GUEST_API const char *guest_enforcer_name(uint32_t enforcer);

/* What the embedded rootfs is, one line: "python 2026-01-31 (Debian 12.9), 19 MB". Static. */
GUEST_API const char *guest_rootfs_description(void);

/* "0.1.0". Static. */
GUEST_API const char *guest_version(void);

#ifdef __cplusplus
}
#endif

#endif
