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
 * a child behind.
 *
 * Children.  A host that is PID 1 of a PID namespace, or a child subreaper, inherits the process
 * that keeps its guests, as it does all orphans; guest_trim() reaps it.
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
};

/* Network of a guest. */
enum {
	GUEST_NETWORK_NONE = 0, /* a network namespace of its own with only lo, up */
	GUEST_NETWORK_HOST = 1, /* the host's network, its loopback and abstract sockets included */
};

/* guest_config.flags */
enum {
	GUEST_NO_SECCOMP = 1 << 0, /* no filter but the rule that keeps prlimit(2) off PID 1 */
	GUEST_BEST_EFFORT =
		1 << 1, /* a limit that nothing here can enforce is dropped, not refused */
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
	uint32_t flags; /* GUEST_NO_SECCOMP, GUEST_BEST_EFFORT; 0 */
	/*
	 * NULL: the embedded rootfs. A directory: read-only below the guest's own writable layer. A
	 * file: any tar, plain or compressed with xz, gzip, bzip2, zstd or lz4; unpacked once for
	 * all guests of the process that name it.
	 */
	const char *rootfs_path;
	int32_t rootfs_fd;	  /* the same as an open fd, which stays the caller's; -1: none */
	uint32_t network;	  /* GUEST_NETWORK_*; GUEST_NETWORK_NONE */
	const char *hostname;	  /* at most 64 bytes; NULL: "guest" */
	uint64_t writable_bytes;  /* what the guest may write, /tmp and /dev/shm included; 1 GiB */
	uint64_t writable_inodes; /* files it may create; 1,048,576 */
	const struct guest_mount *mounts; /* stride: mounts[0].size */
	uint64_t mounts_count;
	/*
	 * What the guest's commands may do inside their own user namespace, as cap_from_text(3):
	 * for example "cap_chown,cap_setuid=ep" or "=". NULL: for uid 0 cap_chown,
	 * cap_dac_override, cap_fowner, cap_fsetid, cap_kill, cap_setgid, cap_setuid, cap_setpcap
	 * and cap_net_bind_service; else none.
	 */
	const char *capabilities;
	uint32_t uid, gid;	/* whom commands run as, inside; 0 */
	uint64_t memory_bytes;	/* 0: no limit */
	uint64_t pids_max;	/* 0: no limit */
	uint64_t cpu_quota;	/* thousandths of a CPU; 0: no limit */
	uint64_t rootfs_bytes;	/* cap on an unpacked rootfs; 4 GiB */
	uint64_t rootfs_inodes; /* cap on the files of an unpacked rootfs; 1,048,576 */
};

/* guest_command.flags */
enum {
	GUEST_TRUNCATE_OUTPUT =
		1 << 0, /* drop what exceeds output_limit_bytes and let the command go on */
	GUEST_MERGE_STDERR = 1 << 1, /* stderr goes where stdout goes */
	GUEST_NO_CAPTURE = 1 << 2,   /* hand output to on_output only, store none */
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
	const char *cwd;	/* absolute, in the guest; NULL: "/" */
	const void *stdin_data; /* what the command reads as stdin if stdin_fd is -1 */
	uint64_t stdin_size;	/* 0: stdin is empty */
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
};

/* guest_result.cause */
enum {
	GUEST_EXITED = 1,    /* exit_code says how */
	GUEST_SIGNALED = 2,  /* term_signal says by what */
	GUEST_TIMED_OUT = 3, /* timeout_ns passed; everything it had started was killed */
	GUEST_OOM_KILLED = 4,
	GUEST_OUTPUT_LIMIT = 5, /* output_limit_bytes was exceeded; killed */
	GUEST_CANCELLED = 6,	/* on_output asked for the end */
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
	char *stdout_data;   /* captured bytes and a NUL behind them; freed by guest_result_clear();
				never NULL */
	uint64_t stdout_size; /* in bytes, without that NUL */
	char *stderr_data;
	uint64_t stderr_size;
	uint32_t truncated; /* bit mask of GUEST_STDOUT, GUEST_STDERR: more had been written than is
			       here */
	uint32_t reserved;
	uint64_t wall_ns; /* from the request to the end of the command */
	uint64_t user_ns; /* CPU time of the command and of its children that it waited for */
	uint64_t system_ns;
	uint64_t max_rss_bytes;	    /* of the largest single process among them */
	uint64_t memory_peak_bytes; /* of all its processes together; 0: not known (needs cgroup v2)
				     */
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
 * it (some hundred milliseconds), later ones share it (about one millisecond).
 *
 * `config` may be NULL for the defaults. The handle is the caller's, to be given to
 * guest_shutdown(). Returns 0, -EINVAL or -E2BIG (config), -ENOMEM, -EMFILE, -ENOENT (rootfs_path,
 * a mount's source), -ENOSPC (user namespaces are off, or the rootfs exceeds its caps: see the
 * stage), -EPERM (the host forbids namespaces), -EBADMSG (the rootfs archive is damaged),
 * -EOPNOTSUPP (a limit or an idmapped mount that this host cannot do), or another negative errno
 * with its stage.
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
 * handle of the parent process); -EPIPE (the guest is lost: shut it down); -ENOMEM, -EMFILE,
 * -EAGAIN.
 */
GUEST_API int guest_run(struct guest *guest, const struct guest_command *command,
			struct guest_result *ret_result, struct guest_error *err);

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

/* What the embedded rootfs is, one line: "python 2026-01-31 (Debian 12.9), 19 MB". Static. */
GUEST_API const char *guest_rootfs_description(void);

/* "0.1.0". Static. */
GUEST_API const char *guest_version(void);

#ifdef __cplusplus
}
#endif

#endif
