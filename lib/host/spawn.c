// SPDX-License-Identifier: MIT
/*
 * Commands that run while the caller does something else: each has a thread that pumps its output
 * until its end, and an eventfd that says that the end has come.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"
#include "base/thread.h"
#include "host/host.h"

#define ANNOUNCE_TRIES 10 /* somebody waits for it who would wait for ever */

struct guest_process {
	uint64_t owner; /* host_process() of who made it */
	struct guest *guest;
	struct guest_command command; /* what of it is needed after the start */
	struct pump pump;
	pthread_t thread;
	int finished_fd, wake_fd; /* eventfds */
	pthread_mutex_t lock;	  /* of what follows, and of the pump's socket */
	bool finished, taken;
	int code; /* what guest_run() would have returned */
	struct guest_result result;
	struct guest_error error;
};

static void announce(int eventfd)
{
	const uint64_t one = 1;

	for (int tries = 0; tries < ANNOUNCE_TRIES; tries++)
		if (write(eventfd, &one, sizeof(one)) > 0 || errno == EAGAIN)
			return;
}

static void *pump_thread(void *argument)
{
	struct guest_process *process = argument;
	struct pump *pump = &process->pump;
	int r = pump_go(pump, false, &process->error);

	r = pump_finish(pump, r, &process->result, &process->error);
	pthread_mutex_lock(&process->lock);
	pump_clear(pump);
	process->code = r;
	process->finished = true;
	pthread_mutex_unlock(&process->lock);
	announce(process->finished_fd);
	return NULL;
}

static void process_free(struct guest_process *process)
{
	guest_result_clear(&process->result);
	fd_close(&process->finished_fd);
	fd_close(&process->wake_fd);
	pthread_mutex_destroy(&process->lock);
	host_guest_put(process->guest);
	free(process);
}

static struct guest_process *process_new(struct guest *guest, const struct guest_command *command,
					 struct guest_error *err)
{
	struct guest_process *process = calloc(1, sizeof(*process));

	if (!process) {
		error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "process");
		return NULL;
	}
	__atomic_add_fetch(&guest->references, 1, __ATOMIC_RELAXED);
	process->owner = guest->owner;
	process->guest = guest;
	process->command = *command;
	process->result.size = sizeof(process->result);
	process->error.size = sizeof(process->error);
	pthread_mutex_init(&process->lock, NULL);
	process->finished_fd = fd_above_stdio(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	process->wake_fd = fd_above_stdio(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (process->finished_fd >= 0 && process->wake_fd >= 0)
		return process;
	error_make(err, errno, GUEST_STAGE_PIPE, "eventfd");
	process_free(process);
	return NULL;
}

/* Up to the exec, in the caller's thread. */
static int start(struct guest_process *process, struct guest_error *err)
{
	struct pump *pump = &process->pump;
	int r = pump_start(pump, process->guest, &process->command, true, err);

	pump->wake = process->wake_fd;
	if (r == 0)
		r = pump_go(pump, true, err);
	if (r == 0 && pump->failure)
		r = pump->failure;
	if (r >= 0) {
		r = thread_start(&process->thread, 0, pump_thread, process);
		if (r < 0)
			error_make(err, -r, GUEST_STAGE_MEMORY, "thread");
	}
	if (r < 0) /* its holder kills it when the socket is closed */
		pump_clear(pump);
	return r;
}

int spawn_start(struct guest *guest, const struct guest_command *command,
		struct guest_process **ret_process, struct guest_error *err)
{
	struct guest_process *process = process_new(guest, command, err);
	int r;

	if (!process)
		return err->code;
	r = start(process, err);
	if (r < 0)
		process_free(process);
	else
		*ret_process = process;
	return r;
}

static int check_owner(const struct guest_process *process, struct guest_error *err)
{
	return host_check_owner(process->owner, "the command", err);
}

int spawn_wait(struct guest_process *process, uint64_t timeout_ns, struct guest_result *result,
	       struct guest_error *err)
{
	uint64_t now = sys_now_ns();
	int r = check_owner(process, err);

	if (r < 0)
		return r;
	r = host_wait_readable(process->finished_fd,
			       timeout_ns < HOST_NEVER - now ? now + timeout_ns : HOST_NEVER);
	if (r == -ETIMEDOUT)
		return error_text(err, ETIMEDOUT, GUEST_STAGE_NONE, "the command still runs");
	if (r < 0)
		return error_make(err, -r, GUEST_STAGE_PROTOCOL, "poll");
	pthread_mutex_lock(&process->lock);
	if (process->taken) {
		r = error_text(err, ESRCH, GUEST_STAGE_HANDLE, "the result has been taken");
	} else {
		process->taken = true;
		r = process->code;
		*err = process->error;
		*result = process->result;
		process->result = (struct guest_result){ .size = sizeof(process->result) };
	}
	pthread_mutex_unlock(&process->lock);
	return r;
}

int spawn_fd(const struct guest_process *process)
{
	return process->finished_fd;
}

int spawn_signal(struct guest_process *process, int signal, bool cancel, struct guest_error *err)
{
	struct wire_signal message = { .signal = signal };
	int r = check_owner(process, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&process->lock);
	if (process->finished) {
		r = error_text(err, ESRCH, GUEST_STAGE_HANDLE, "the command has ended");
	} else if (cancel) {
		__atomic_store_n(&process->pump.cancelled, 1, __ATOMIC_RELEASE);
		/* the thread may have to wait for the lock of a pipe that the command keeps */
		(void)wire_send_plain(process->pump.socket, WIRE_KILL);
		announce(process->wake_fd);
	} else {
		r = wire_send(process->pump.socket, &message, sizeof(message), WIRE_SIGNAL, NULL, 0,
			      1);
		if (r < 0)
			error_make(err, -r, GUEST_STAGE_HANDLE, "signal");
	}
	pthread_mutex_unlock(&process->lock);
	return r;
}

void spawn_free(struct guest_process *process)
{
	/* in a forked child there is no such thread */
	if (check_owner(process, NULL) == 0) {
		(void)spawn_signal(process, 0, true, NULL);
		pthread_join(process->thread, NULL);
	} else {
		fd_close(&process->pump.socket);
	}
	process_free(process);
}
