/* SPDX-License-Identifier: MIT */
/*
 * The host program's side: start the helper, find or make the keeper for a rootfs, ask it for
 * guests, run commands in them and pump their output. Everything here is thread-safe unless it says
 * otherwise.
 */
#ifndef GUEST_HOST_HOST_H
#define GUEST_HOST_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "guest/guest.h"
#include "wire/wire.h"

#define HOST_NEVER UINT64_MAX /* a deadline that does not come */

/* --- rootfs.c: what a config names as rootfs --- */

struct host_rootfs {
	bool embedded;
	uint32_t kind; /* enum wire_rootfs */
	int fd;	       /* -EBADF for the embedded one until it is needed */
	char *path;    /* of a directory: absolute, without symlinks */
	struct stat st;
	uint64_t bytes, inodes;
};

int host_rootfs_open(struct host_rootfs *rootfs, const struct guest_config *config,
		     struct guest_error *err);
void host_rootfs_close(struct host_rootfs *rootfs);

/* Would the same template serve both? */
bool host_rootfs_same(const struct host_rootfs *a, const struct host_rootfs *b);

/* --- launch.c: exec the helper --- */

/* Start the helper. Returns the control socket; the pidfd of our child, which will soon exit, in
 * ret_pidfd. */
int host_launch(int *ret_pidfd, struct guest_error *err);

/* Wait until a child is gone, whoever reaps it; at once if it is no child. Closes the pidfd. */
void host_launch_wait(int *pidfd);

/* --- keeper.c: the keepers of this process --- */

struct keeper {
	struct keeper *next;
	struct host_rootfs rootfs; /* the fd is closed once it is unpacked */
	int state;		   /* enum keeper_state */
	unsigned int users;	   /* guests, and threads that are making one */
	int control;
	int pidfd;
	int user_ns; /* the keeper's, where this process is root; else -EBADF */
	uint32_t ids_count;
	struct guest_error error; /* why it could not be started */
};

/*
 * The keeper for a rootfs: a running one, or a new one, which takes as long as the unpacking. The
 * caller is then one of its users. `rootfs` is not taken over.
 */
int keeper_get(struct keeper **ret_keeper, struct host_rootfs *rootfs, struct guest_error *err);

/* No longer use it. It goes on, for later guests, unless it was retired. */
void keeper_put(struct keeper *keeper);

/* Give no more guests to it: it is dead, or does not see what was mounted after it was made. */
void keeper_retire(struct keeper *keeper);

/* End those that have no users. */
void keeper_trim(void);

/* --- guest.c: making and ending one --- */

struct guest {
	uint64_t owner; /* host_process() of who made it */
	struct keeper *keeper;
	int socket;
	int pidfd;  /* of the holder */
	int broken; /* atomic: a process of it is stuck in the kernel */
	uint32_t uid;
};

int host_guest_create(struct guest **ret_guest, const struct guest_config *config,
		      struct guest_error *err);
int host_guest_end(struct guest *guest, struct guest_error *err);

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

/* --- run.c, output.c --- */

int host_run(struct guest *guest, const struct guest_command *command, struct guest_result *result,
	     struct guest_error *err);

/* What arrives of one stream. */
struct output {
	int fd;		 /* -EBADF: not captured, or at its end */
	uint32_t stream; /* GUEST_STDOUT, GUEST_STDERR */
	char *data;
	size_t size, capacity;
	uint64_t total; /* bytes that arrived */
	bool truncated;
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

/* A NUL behind the data, which is never NULL then. */
int output_finish(struct output *output);

/* --- process.c --- */

/* A number for this process, other than that of any it was forked from. */
uint64_t host_process(void);

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
