// SPDX-License-Identifier: MIT
/*
 * One run: a loop over the run's socket and the captured streams until the holder says how the
 * command ended. Nothing waits for the end of a stream, which somebody else may hold open.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"
#include "host/host.h"

#define PATIENT_RUNS 4

/* After the kill of a run, until its end must have come: only what is stuck in the kernel takes
 * longer. Its holder may have others to kill first. */
static uint64_t patience(const struct guest *guest)
{
	uint64_t runs = __atomic_load_n(&guest->running, __ATOMIC_RELAXED);

	return HOST_PATIENCE_NS * (runs < PATIENT_RUNS ? runs : PATIENT_RUNS);
}

/* End the run, for a reason of ours; only the first counts. */
static void kill_run(struct pump *pump, uint32_t cause, int failure)
{
	if (pump->cause || pump->failure)
		return;
	pump->cause = cause;
	pump->failure = failure;
	pump->deadline = sys_now_ns() + patience(pump->guest);
	/* this end is a kill, too, and takes no memory */
	if (wire_send_plain(pump->socket, WIRE_KILL) < 0) {
		shutdown(pump->socket, SHUT_WR);
		pump->is_shut = true;
	}
}

/* The same, and nobody wants more output: on_output is not called again. */
static void hang_up(struct pump *pump, uint32_t cause, int failure)
{
	kill_run(pump, cause, failure);
	for (int i = 0; i < 2; i++)
		output_close(&pump->outputs[i]);
}

/* For want of something of ours. The error is that of the first reason, as is the run's end. */
static void fail_run(struct pump *pump, int errnum, const char *what, struct guest_error *err)
{
	if (!pump->cause && !pump->failure)
		kill_run(pump, 0, error_make(err, errnum, GUEST_STAGE_PROTOCOL, "%s", what));
}

static void judge(struct pump *pump, int event)
{
	if (event == OUTPUT_OVER && !pump->cause && !pump->failure &&
	    (pump->outputs[0].over_budget || pump->outputs[1].over_budget))
		pump->seen |= GUEST_SEEN_BUDGET;
	if (event < 0)
		hang_up(pump, 0, event);
	else if (event == OUTPUT_OVER)
		kill_run(pump, GUEST_OUTPUT_LIMIT, 0);
	else if (event == OUTPUT_CANCEL)
		hang_up(pump, GUEST_CANCELLED, 0);
}

static int take_pipes(struct pump *pump, int *fds, size_t count)
{
	size_t n = 0;
	int r = 0;

	for (int i = 0; i < 2; i++) {
		bool wanted = pump->outputs[i].stream != 0 && !pump->has_pipes;

		if (!wanted || n == count)
			continue;
		pump->outputs[i].fd = fds[n++];
		if (fcntl(pump->outputs[i].fd, F_SETFL, O_NONBLOCK) < 0)
			r = -errno;
	}
	pump->has_pipes = true;
	wire_close_fds(fds + n, count - n);
	return n == count ? r : -EPROTO;
}

static int stuck(struct pump *pump, struct guest_error *err)
{
	__atomic_store_n(&pump->guest->broken, 1, __ATOMIC_RELAXED);
	return error_text(
		err, ETIMEDOUT, GUEST_STAGE_HANDLE,
		"a process outlived its kill, stuck in the kernel (a hung network file system?); shut the "
		"guest down");
}

/* One that came without its fds, for which there was no room. It may have been the last. */
static int lose_message(struct pump *pump, int r, const struct wire_ended *lost,
			struct guest_error *err)
{
	bool is_last = r == -EMFILE && lost->header.type == WIRE_ENDED &&
		       lost->header.size == sizeof(*lost);

	r = error_make(err, -r, GUEST_STAGE_PROTOCOL, "reading from the guest");
	if (!is_last)
		kill_run(pump, 0, r);
	pump->failure = r; /* whatever it was killed for */
	pump->over = is_last;
	return is_last;
}

/* A message on the run's socket. 1: the run has ended; 0: go on; or an error of the call. */
static int take_message(struct pump *pump, struct guest_error *err)
{
	union {
		struct wire_ended ended;
		struct wire_failed failed;
	} message = { 0 };
	int fds[WIRE_FDS_MAX], r;
	size_t count = 0;

	r = wire_receive(pump->socket, &message, sizeof(message), fds, &count, 1);
	if (r == -EAGAIN)
		return 0;
	if (r == -EPIPE && pump->failure) /* which this has come of */
		return 1;
	if (r == -EPIPE)
		return error_text(err, EPIPE, GUEST_STAGE_HANDLE,
				  "the guest is lost: its init process was killed");
	if (r < 0)
		return lose_message(pump, r, &message.ended, err);
	if (r == WIRE_STARTED) {
		r = take_pipes(pump, fds, count);
		if (r < 0)
			fail_run(pump, -r, "pipes of the guest", err);
		return 0;
	}
	if (r == WIRE_ENDED && message.ended.header.size == sizeof(message.ended)) {
		r = count > 0 ? take_pipes(pump, fds, count) : 0;
		if (r < 0)
			return error_make(err, -r, GUEST_STAGE_PROTOCOL, "pipes of the guest");
		pump->ended = message.ended;
		pump->over = true;
		return pump->ended.flags & WIRE_ENDED_STUCK ? stuck(pump, err) : 1;
	}
	wire_close_fds(fds, count);
	if (r == WIRE_KILLING) {
		limits_lift(pump->guest, &pump->limits);
		return 0;
	}
	if (r == WIRE_FAILED && message.failed.header.size == sizeof(message.failed)) {
		/* it is about to exit; but another process of the guest may have stopped it */
		r = error_take(err, &message.failed.error);
		kill_run(pump, 0, r);
		pump->failure = r;
		return 0;
	}
	return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "message %d of the guest", r);
}

static int deadline_passed(struct pump *pump, struct guest_error *err)
{
	if (pump->cause || pump->failure)
		return stuck(pump, err);
	if (pump->deadline == pump->guest->budget.wall_deadline)
		pump->seen |= GUEST_SEEN_BUDGET;
	kill_run(pump, GUEST_TIMED_OUT, 0);
	return 0;
}

/* Another thread wants its end. */
static void look_for_cancel(struct pump *pump)
{
	if (__atomic_load_n(&pump->cancelled, __ATOMIC_ACQUIRE))
		kill_run(pump, GUEST_CANCELLED, 0);
}

static void feed(struct pump *pump, struct guest_error *err)
{
	int r = input_send(&pump->input);

	if (r < 0)
		fail_run(pump, -r, "sending stdin", err);
}

int pump_go(struct pump *pump, bool until_exec, struct guest_error *err)
{
	while (!pump->over) {
		/* output waits for the thread that on_output is to be called from */
		struct pollfd poll_fds[] = {
			{ .fd = pump->socket, .events = POLLIN },
			{ .fd = until_exec ? -1 : pump->outputs[0].fd, .events = POLLIN },
			{ .fd = until_exec ? -1 : pump->outputs[1].fd, .events = POLLIN },
			{ .fd = pump->wake, .events = POLLIN },
			{ .fd = until_exec ? pump->exec : -1, .events = POLLIN },
			{ .fd = pump->input.socket, .events = POLLOUT },
		};
		int n = poll(poll_fds, sizeof(poll_fds) / sizeof(poll_fds[0]),
			     host_poll_timeout(pump->deadline));
		int r = 0;

		if (n < 0 && errno != EINTR)
			fail_run(pump, errno, "poll", err);
		for (int i = 0; n > 0 && i < 2; i++)
			if (poll_fds[i + 1].revents)
				judge(pump, output_read(&pump->outputs[i], pump->command));
		if (n > 0 && poll_fds[0].revents)
			r = take_message(pump, err);
		if (r == 0 && n > 0 && poll_fds[5].revents)
			feed(pump, err);
		if (r == 0 && n > 0 && poll_fds[3].revents) {
			pump->wake = -EBADF;
			look_for_cancel(pump);
		}
		if (r == 0 && pump->deadline != HOST_NEVER && sys_now_ns() >= pump->deadline)
			r = deadline_passed(pump, err);
		if (r != 0)
			return r < 0 ? r : 0;
		/* a message that came first tells why the exec failed: it is read before */
		if (n > 0 && poll_fds[4].revents && !poll_fds[0].revents && !pump->failure)
			return 1;
	}
	return 0;
}

/* What the command wrote before its end and is still in the pipes. All writers are dead. */
static int drain(struct pump *pump)
{
	for (int i = 0; i < 2; i++) {
		int event = output_drain(&pump->outputs[i], pump->command);

		if (event < 0)
			return event;
		judge(pump, event);
	}
	return 0;
}

/* Why it ended: what we did, what its holder did, what the kernel tells of its group, how it ended.
 */
static uint32_t find_cause(struct pump *pump, const struct cgroup_usage *usage)
{
	int status = pump->ended.status;
	bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

	if (pump->cause)
		return pump->cause;
	if (pump->ended.cause == GUEST_TIMED_OUT &&
	    pump->deadline == pump->guest->budget.wall_deadline)
		pump->seen |= GUEST_SEEN_BUDGET;
	if (pump->ended.cause)
		return pump->ended.cause;
	if (usage->oom_kills > 0 && killed)
		return GUEST_OOM_KILLED;
	/* by another thread, which look_for_cancel() has not seen */
	if (killed && __atomic_load_n(&pump->cancelled, __ATOMIC_ACQUIRE))
		return GUEST_CANCELLED;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
		pump->seen |= GUEST_SEEN_SUSPECTED; /* or somebody sent it */
		return GUEST_SECCOMP_KILLED;
	}
	if (failed && pump->seen & (GUEST_SEEN_PIDS_MAX | GUEST_SEEN_DISK_FULL)) {
		pump->seen |= GUEST_SEEN_SUSPECTED;
		return pump->seen & GUEST_SEEN_PIDS_MAX ? GUEST_TOO_MANY_PROCESSES :
							  GUEST_DISK_FULL;
	}
	return WIFEXITED(status) ? GUEST_EXITED : GUEST_SIGNALED;
}

static uint64_t smaller_limit(uint64_t value, uint64_t limit)
{
	return limit > 0 && limit < value ? limit : value;
}

/* The kernel notes as a peak what it has then refused. */
static void cap_peaks(const struct pump *pump, struct cgroup_usage *usage)
{
	struct cgroup_limits *guest = &pump->guest->limits.values;
	const struct guest_command *command = pump->command;
	uint64_t memory = __atomic_load_n(&guest->memory, __ATOMIC_RELAXED);
	uint64_t pids = __atomic_load_n(&guest->pids, __ATOMIC_RELAXED);

	usage->memory_peak = smaller_limit(usage->memory_peak, memory);
	usage->memory_peak = smaller_limit(usage->memory_peak, command->memory_bytes);
	usage->processes_peak = smaller_limit(usage->processes_peak, pids);
	usage->processes_peak = smaller_limit(usage->processes_peak, command->pids_max);
}

/* What the command's group tells, and the guest's: whose limit it was that was met, not all kernels
 * tell. */
static void read_group(struct pump *pump, struct cgroup_usage *usage)
{
	struct cgroup_usage guest = { 0 };

	*usage = (struct cgroup_usage){ 0 };
	if (pump->limits.dir < 0)
		return;
	cgroup_usage_read(pump->limits.dir,
			  CGROUP_READ_CPU | CGROUP_READ_PEAKS | CGROUP_READ_OOM_KILLS |
				  CGROUP_READ_PIDS_REFUSED,
			  usage);
	cap_peaks(pump, usage);
	cgroup_usage_read(pump->guest->limits.dir, CGROUP_READ_PIDS_REFUSED, &guest);
	if (usage->oom_kills > 0)
		pump->seen |= GUEST_SEEN_OOM;
	if (usage->pids_refused > 0 || guest.pids_refused > pump->limits.pids_refused)
		pump->seen |= GUEST_SEEN_PIDS_MAX;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void count(struct pump *pump, const struct guest_result *result)
{
	struct budget *budget = &pump->guest->budget;

	(void)budget_count(&budget->cpu_used_ns, 0,
			   larger(result->user_ns + result->system_ns, pump->ended.cpu_ns));
	(void)budget_count(&budget->written_used, 0, result->written_bytes);
}

static int fill_result(struct pump *pump, bool lost, struct guest_result *result)
{
	const struct enforcers *by = &pump->limits.by;
	const struct wire_ended *ended = &pump->ended;
	struct output *outputs = pump->outputs;
	int status = ended->status, r = drain(pump);
	struct cgroup_usage usage;

	for (int i = 0; r == 0 && i < 2; i++)
		r = output_finish(&outputs[i]);
	if (r < 0)
		return r;
	pump->seen |= ended->seen;
	read_group(pump, &usage);
	*result = (struct guest_result){
		.size = result->size,
		.cause = lost ? GUEST_LOST : find_cause(pump, &usage),
		.exit_code = !lost && WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		.term_signal = lost		   ? SIGKILL :
			       WIFSIGNALED(status) ? WTERMSIG(status) :
						     0,
		.stdout_data = take_pointer(outputs[0].data),
		.stdout_size = outputs[0].size,
		.stderr_data = take_pointer(outputs[1].data),
		.stderr_size = outputs[1].size,
		.truncated = (outputs[0].truncated ? GUEST_STDOUT : 0) |
			     (outputs[1].truncated ? GUEST_STDERR : 0),
		.seen = pump->seen,
		.wall_ns = sys_now_ns() - pump->started,
		.user_ns = larger(usage.user_ns, ended->user_ns),
		.system_ns = larger(usage.system_ns, ended->system_ns),
		.max_rss_bytes = ended->max_rss_bytes,
		.memory_peak_bytes = larger(usage.memory_peak, ended->memory_peak),
		.minor_faults = ended->minor_faults,
		.major_faults = ended->major_faults,
		.stdin_bytes = input_bytes_read(&pump->input, ended),
		.stdout_bytes = outputs[0].total,
		.stderr_bytes = outputs[1].total,
		.written_bytes = ended->written_bytes,
		.processes = larger(usage.processes_peak, ended->processes_peak),
		.setup_ns = ended->exec_ns > pump->started ? ended->exec_ns - pump->started : 0,
		.memory_enforced = by->memory,
		.pids_enforced = by->pids,
		.cpu_enforced = by->cpu,
		.cpu_time_enforced = pump->limits.cpu_time_by,
		.memory_high_enforced = by->memory_high,
		.cpu_weight_enforced = by->cpu_weight,
		.io_enforced = by->io,
	};
	count(pump, result);
	return 0;
}

int pump_start(struct pump *pump, struct guest *guest, const struct guest_command *command,
	       bool tell_exec, struct guest_error *err)
{
	uint64_t wall = guest->budget.wall_deadline;
	int r;

	*pump = (struct pump){
		.guest = guest,
		.command = command,
		.socket = -EBADF,
		.exec = -EBADF,
		.wake = -EBADF,
		.input = { .copy = -EBADF, .socket = -EBADF },
		.outputs = { { .fd = -EBADF, .budget = &guest->budget },
			     { .fd = -EBADF, .budget = &guest->budget } },
		.limits = { .dir = -EBADF },
		.started = sys_now_ns(),
		.deadline = HOST_NEVER,
	};
	__atomic_add_fetch(&guest->running, 1, __ATOMIC_RELAXED);
	if (__atomic_load_n(&guest->broken, __ATOMIC_RELAXED))
		return error_text(err, EIO, GUEST_STAGE_HANDLE,
				  "a process of the guest is stuck; shut it down");
	if (command->timeout_ns > 0 && command->timeout_ns < HOST_NEVER - pump->started)
		pump->deadline = pump->started + command->timeout_ns;
	if (wall && wall < pump->deadline)
		pump->deadline = wall;
	if (command->stdout_fd < 0)
		pump->outputs[0].stream = GUEST_STDOUT;
	if (command->stderr_fd < 0 && !(command->flags & GUEST_MERGE_STDERR))
		pump->outputs[1].stream = GUEST_STDERR;
	r = budget_take(&guest->budget, err);
	return r < 0 ? r : request_send_run(pump, tell_exec, err);
}

int pump_finish(struct pump *pump, int r, struct guest_result *result, struct guest_error *err)
{
	if (r == 0 && pump->failure == 0)
		pump->failure = fill_result(pump, false, result);
	if (r == 0 && pump->failure < 0)
		r = err->code == pump->failure ?
			    pump->failure :
			    error_make(err, -pump->failure, GUEST_STAGE_MEMORY, "captured output");
	else if (r == -EPIPE)
		(void)fill_result(pump, true, result);
	return r;
}

/* The next run may have the socket: of this one nothing more will come. */
static void keep_socket(struct pump *pump)
{
	int socket = pump->socket;

	if (!pump->is_kept)
		return;
	if (!pump->over || pump->is_shut) {
		/* first, so that the holder cannot keep it beside that of the run which is next */
		shutdown(pump->socket, SHUT_RDWR);
		__atomic_store_n(&pump->guest->keeps, false, __ATOMIC_RELEASE);
		return;
	}
	pump->socket = -EBADF; /* first: should we be forked now, one of the two has it */
	__atomic_store_n(&pump->guest->idle, socket, __ATOMIC_RELEASE);
}

void pump_clear(struct pump *pump)
{
	keep_socket(pump);
	/* closing alone is no end while a forked copy of this process has it, too */
	if (pump->socket >= 0)
		shutdown(pump->socket, SHUT_RDWR);
	fd_close(&pump->socket);
	fd_close(&pump->exec);
	input_clear(&pump->input);
	for (int i = 0; i < 2; i++) {
		fd_close(&pump->outputs[i].fd);
		block_free(pump->outputs[i].data);
	}
	limits_end_command(pump->guest, &pump->limits);
	__atomic_sub_fetch(&pump->guest->running, 1, __ATOMIC_RELAXED);
}
