/* SPDX-License-Identifier: MIT */
/*
 * The messages between the library and its helper processes. Both come from one build, so a message
 * is a C struct, sent whole in one SOCK_SEQPACKET packet; strings follow the struct and are named
 * by their offset.
 *
 * On the control socket:
 *   host to helper       START    what the keeper shall be, with its fds
 *   helper to host       KEEPER   the keeper's pidfd (and user namespace)
 *   keeper to host       READY or FAILED: the template is there, or why not
 *   host to keeper       CREATE   a holder to be, with its end of a guest socket
 *   host to helper       JANITOR  instead of START: remove a group when the host is gone
 *
 * On a guest socket:
 *   keeper or holder     READY (with the holder's pidfd) or FAILED
 *   host to holder       RUN      a command, with an end of a run socket, if none is free
 *   host to holder       ASK      something about the guest, with a socket for the REPORT
 *   host to holder       SHUTDOWN
 *
 * On a run socket:
 *   holder to host       STARTED  the host's ends of the output pipes
 *   command or holder    FAILED   before exec: why not; ENDED comes nevertheless
 *   host to holder       SIGNAL, KILL
 *   holder to host       KILLING  its group: the host may take off what slows that down
 *   holder to host       ENDED    the wait status and usage; everything it started is dead
 *   host to holder       RUN      the next, on the one that is kept for it
 *
 * A run has a socket of its own, so that any number of threads run commands in one guest without a
 * lock and without reading each other's answers. The end of any socket means that the other side is
 * gone.
 */
#ifndef GUEST_WIRE_WIRE_H
#define GUEST_WIRE_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest/guest.h"

#define WIRE_MAX                                                                                   \
	131072		  /* bytes of one message; well below the default socket buffer of 212,992 \
			   */
#define WIRE_INLINE 16384 /* a command's strings above this travel in a memfd */
#define WIRE_FDS_MAX 160
#define WIRE_MOUNTS_MAX 128
#define WIRE_IDS 6	   /* three numbers for each line of an id map */
#define WIRE_STRING_NONE 0 /* offset of a string that is not there */

enum wire_type {
	WIRE_START = 1,
	WIRE_KEEPER,
	WIRE_READY,
	WIRE_FAILED,
	WIRE_CREATE,
	WIRE_RUN,
	WIRE_SHUTDOWN,
	WIRE_STARTED,
	WIRE_ENDED,
	WIRE_KILL,
	WIRE_JANITOR,
	WIRE_ASK,
	WIRE_REPORT,
	WIRE_SIGNAL,
	WIRE_KILLING,
};

struct wire_header {
	uint32_t size;	    /* of the whole message */
	uint16_t type;	    /* enum wire_type */
	uint16_t fds_count; /* sent along */
};

enum wire_rootfs {
	WIRE_ROOTFS_ARCHIVE = 0,
	WIRE_ROOTFS_DIRECTORY = 1,
	WIRE_ROOTFS_FILL = 2, /* an archive, unpacked into a directory */
	/* no rootfs: empty the directory with the rights of a guest's root, and exit */
	WIRE_ROOTFS_REMOVE = 3,
};

enum wire_start_flags {
	WIRE_START_NO_SECCOMP = 1 << 0, /* for guests with the least filter only */
};

/*
 * fds: the host's pidfd; the directory, where there is one; the archive and the unpacker's
 * executable, where there is one
 */
struct wire_start {
	struct wire_header header;
	uint32_t flags;			      /* enum wire_start_flags */
	uint32_t rootfs;		      /* enum wire_rootfs */
	uint32_t rootfs_string;		      /* the directory's absolute path */
	uint64_t rootfs_device, rootfs_inode; /* and what must be found there */
	uint64_t rootfs_bytes, rootfs_inodes;
};

/* fds: the keeper's pidfd; the keeper's user namespace where a host that is root may need it for id
 * maps */
struct wire_keeper {
	struct wire_header header;
	uint32_t ids_count;	       /* ids mapped into the keeper: 1, or a range */
	int32_t pid;		       /* of the keeper, in the host's PID namespace */
	uint32_t uid, gid;	       /* what its root is to the host */
	uint32_t stored_ids[WIRE_IDS]; /* how its ids are stored in files; for comparison only */
};

/* fds: the host's pidfd, the group above that to be removed */
struct wire_janitor {
	struct wire_header header;
	uint32_t tree;	    /* string: the group */
	uint32_t host_leaf; /* string: one into which the host was moved */
};

/* READY, SHUTDOWN, KILL, KILLING; and STARTED with the fds of stdout and stderr, those that are
 * captured: they come with ENDED, if the command wrote only then, and not at all, if it wrote
 * nothing */
struct wire_plain {
	struct wire_header header;
};

struct wire_failed {
	struct wire_header header;
	struct guest_error error;
};

struct wire_mount {
	uint32_t type;	     /* GUEST_MOUNT_* */
	uint32_t attributes; /* MOUNT_ATTR_* to set */
	uint32_t recurse;
	uint32_t source, target, data; /* strings; data: what tmpfs is told */
	int32_t tree; /* index of the fd of a detached mount that the host made, or -1: bind
			 `source` */
	uint32_t is_directory;
	uint64_t device, inode; /* what must be found at `source` */
};

enum wire_create_flags {
	WIRE_CREATE_NET = 1 << 0,	/* a network namespace of its own */
	WIRE_CREATE_HOST_TREE = 1 << 1, /* binds by path: needs the host's tree */
	WIRE_CREATE_CGROUP = 1 << 2,	/* commands come with control groups */
	WIRE_CREATE_COUNT_WRITTEN = 1 << 3,
};

/* What the holder enforces itself, for want of a control group; 0: nothing. */
struct wire_limits {
	uint64_t memory_bytes, pids_max; /* sampled */
	uint64_t cpu_ns;		 /* the budget of all commands; sampled */
	uint64_t processes;		 /* RLIMIT_NPROC of commands that are started */
};

/* fds: the guest socket, then the detached mounts */
struct wire_create {
	struct wire_header header;
	uint32_t flags;
	uint32_t hostname, resolv_conf; /* strings */
	uint32_t uid, gid;
	uint32_t nofile_soft, nofile_hard;
	uint32_t mounts_count;		    /* struct wire_mount's, behind this struct */
	uint64_t capabilities, inheritable; /* bit masks, bit n for capability n */
	uint64_t writable_bytes, writable_inodes;
	struct wire_limits limits;
};

enum wire_run_flags {
	WIRE_RUN_MERGE_STDERR = 1 << 0,
	WIRE_RUN_MEMFD = 1 << 1, /* the strings are in the last fd */
	WIRE_RUN_STDIN = 1 << 2,
	WIRE_RUN_STDOUT = 1 << 3,
	WIRE_RUN_STDERR = 1 << 4,
	WIRE_RUN_CGROUP = 1 << 5,
	WIRE_RUN_EXEC = 1 << 6,
	WIRE_RUN_KEEP_BACKGROUND = 1 << 7,
	WIRE_RUN_STDIN_STREAM = 1 << 8, /* stdin comes by a socket, for the holder to pass on */
	WIRE_RUN_KEEP_SOCKET = 1 << 9,	/* the run socket stays, for another run */
};

/* Limits of a command that its holder sets or enforces; 0: none. */
struct wire_run_limits {
	uint64_t memory_bytes, pids_max, cpu_ns; /* sampled */
	uint64_t address_space, data, file_size, open_files;
	uint64_t deadline_ns; /* of CLOCK_MONOTONIC, a little after the host's own; 0: none */
};

/*
 * fds: the run socket, unless the message comes on it, then those that the flags name, in their
 * order: stdin, stdout, stderr, the control group for the command, a pipe that closes at its exec,
 * the strings' memfd. Without: stdin is empty, an output is captured.
 *
 * The strings, one behind the other with their NULs: cwd, the search path, argv, envp.
 */
struct wire_run {
	struct wire_header header;
	uint32_t flags;
	uint32_t argc, envc;
	uint32_t reserved;
	uint64_t strings_size;
	struct wire_run_limits limits;
};

struct wire_signal {
	struct wire_header header;
	int32_t signal;
};

enum wire_ended_flags {
	WIRE_ENDED_STUCK = 1 << 0, /* something that it started is stuck in the kernel */
};

struct wire_ended {
	struct wire_header header;
	uint32_t flags;
	int32_t status; /* as from wait(2) */
	uint32_t cause; /* GUEST_* for which the holder has killed it; 0: it has not */
	uint32_t seen;	/* GUEST_SEEN_* */
	uint64_t user_ns, system_ns, max_rss_bytes, minor_faults, major_faults;
	uint64_t cpu_ns;	 /* of all of it, where that was watched; else 0 */
	uint64_t memory_peak;	 /* sampled; else 0 */
	uint64_t processes_peak; /* the same */
	uint64_t written_bytes;	 /* with WIRE_CREATE_COUNT_WRITTEN */
	uint64_t exec_ns;	 /* CLOCK_MONOTONIC at its exec */
	uint64_t stdin_bytes;	 /* read, with WIRE_RUN_STDIN_STREAM */
};

enum wire_question {
	WIRE_ASK_USAGE = 0,
	WIRE_ASK_PAUSE,	 /* by SIGSTOP */
	WIRE_ASK_RESUME, /* by SIGCONT */
	WIRE_ASK_LIMITS, /* have these from now on */
};

/* fds: a socket for the answer */
struct wire_ask {
	struct wire_header header;
	uint32_t question; /* enum wire_question */
	struct wire_limits limits;
};

struct wire_report {
	struct wire_header header;
	uint32_t reserved;
	uint64_t writable_used_bytes, writable_used_inodes;
};

/*
 * Send a message, whose header is filled in here. 0 or -errno: -EPIPE (nobody there), -EAGAIN
 * (`dont_wait` and the queue is full), -ETOOMANYREFS... No SIGPIPE.
 */
int wire_send(int socket, void *message, size_t size, enum wire_type type, const int *fds,
	      size_t fds_count, int dont_wait);

/* Send just a header. */
int wire_send_plain(int socket, enum wire_type type);

/* Send an error to the other side; what cannot be sent is dropped. Async-signal-safe. */
void wire_send_failed(int socket, const struct guest_error *error);

/*
 * Receive one message of at most `size` bytes into `message`, and its fds into fds[WIRE_FDS_MAX].
 * Returns its type, or -EPIPE (the other side is gone), -EAGAIN (`dont_wait`), -EMFILE (fds were
 * lost for want of slots), -EPROTO (makes no sense). On failure no fd is kept.
 */
int wire_receive(int socket, void *message, size_t size, int fds[WIRE_FDS_MAX],
		 size_t *ret_fds_count, int dont_wait);

void wire_close_fds(int *fds, size_t count);

/* The string at an offset of a received message, or NULL if there is none or it is not terminated
 * inside. */
const char *wire_string(const void *message, uint32_t offset);

#endif
