// SPDX-License-Identifier: MIT
/*
 * A guest's commands, as their holder sees them: from the request to the message that says how they
 * ended.
 *
 * How one is started is in command.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

/* A storm of forks brings orphans faster than they can be reaped; the host wants to be heard, too.
 */
#define REAPED_AT_ONCE 64

/* After a kill: who is not dead by then may be in a storm of forks, where it waits long for a CPU
 * to die on, as we would for one to wake on: so one that has children is not waited for. */
#define SWEEP_DELAY_NS 2000000ULL
#define RELEASE_DELAY_NS 10000000ULL /* the same, before we ask why it is not dead */

static void close_pipes(struct run *run)
{
	for (int i = 0; i < 2; i++) {
		fd_close(&run->pipes[i].read);
		fd_close(&run->pipes[i].write);
	}
}

/* The ends that the host reads from. Their number. */
static size_t read_ends(const struct run *run, int fds[2])
{
	size_t count = 0;

	for (int i = 0; i < 2; i++)
		if (run->pipes[i].read >= 0)
			fds[count++] = run->pipes[i].read;
	return count;
}

static int send_started(const struct run *run, struct guest_error *err)
{
	struct wire_plain started;
	int fds[2], r;
	size_t count = read_ends(run, fds);

	if (count == 0)
		return 0;
	r = wire_send(run->socket, &started, sizeof(started), WIRE_STARTED, fds, count, 1);
	return r < 0 ? error_make(err, -r, GUEST_STAGE_PIPE, "handing stdio over") : 0;
}

void run_hand_over(struct holder *holder)
{
	struct guest_error err = { .size = sizeof(err) };
	struct run *run = holder->quiet;

	if (send_started(run, &err) < 0) {
		wire_send_failed(run->socket, &err);
		run_kill(holder, run, 0);
	}
	close_pipes(run);
	holder->quiet = NULL;
}

void run_feed(struct holder *holder, struct run *run)
{
	struct guest_error err = { .size = sizeof(err) };
	int r = input_move(&run->input);

	if (r == 0)
		return;
	error_make(&err, -r, GUEST_STAGE_PIPE, "passing stdin on");
	input_close(&run->input);
	wire_send_failed(run->socket, &err);
	run_kill(holder, run, 0);
}

/* For a command that is forked. */
static struct command_slot *take_slot(struct holder *holder)
{
	struct command_slot *slot = holder->slots;

	if (!slot) {
		slot = mmap(NULL, RUN_SLOTS * sizeof(*slot), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (slot == MAP_FAILED)
			return NULL;
		holder->slots = slot;
	}
	while (slot->used)
		slot++;
	slot->used = true;
	slot->marker[0] = '\0';
	slot->exec_ns = 0;
	return slot;
}

/* Most guests have one command at a time. */
static struct run first_run HELPER_BEFORE(1);
static bool first_run_is_taken;

/* Another. */
struct large_run {
	struct run run;
	_Alignas(16) char place[RUN_PLACE_SIZE];
};

static struct run *run_new(void)
{
	static _Alignas(4096) char first_place[RUN_PLACE_SIZE] HELPER_BEHIND(1);
	struct large_run *large = NULL;
	struct run *run = &first_run;

	if (first_run_is_taken) {
		large = malloc(sizeof(*large));
		if (!large)
			return NULL;
		run = &large->run;
	}
	first_run_is_taken = true;
	memset(run, 0, sizeof(*run));
	run->stack_end =
		large ? large->place + sizeof(large->place) : first_place + sizeof(first_place);
	run->socket = run->cgroup = -EBADF;
	for (int i = 0; i < 2; i++)
		run->pipes[i] = (struct run_pipe){ -EBADF, -EBADF };
	run->input.socket = -EBADF;
	run->input.pipe = (struct run_pipe){ -EBADF, -EBADF };
	return run;
}

/* Its command has been reaped, or was not started. */
static void run_free(struct holder *holder, struct run *run)
{
	struct run **link = &holder->runs;

	while (*link && *link != run)
		link = &(*link)->next;
	if (*link) {
		*link = run->next;
		holder->runs_count--;
	}
	if (run->slot)
		run->slot->used = false;
	if (holder->quiet == run)
		holder->quiet = NULL;
	fd_close(&run->socket);
	fd_close(&run->cgroup);
	close_pipes(run);
	input_close(&run->input);
	if (run->mapped)
		munmap(run->mapped, run->mapped_size);
	free(run->strings);
	if (run == &first_run)
		first_run_is_taken = false;
	else
		free(run);
}

/* Start the command; the run is in the list afterwards. */
static int launch(struct holder *holder, struct run *run, struct guest_error *err)
{
	if (holder->runs_count == RUN_SLOTS)
		return error_text(err, EAGAIN, GUEST_STAGE_FORK, "%d commands run already",
				  RUN_SLOTS);
	run->slot = command_shares(&run->command) ? &run->own_slot : take_slot(holder);
	if (!run->slot)
		return error_make(err, errno, GUEST_STAGE_MEMORY, "slots");
	run->command.slot = run->slot;
	run->pid = command_start(&run->command, run->stack_end);
	if (run->pid < 0)
		return error_make(err, errno, GUEST_STAGE_FORK, "command");
	run->next = holder->runs;
	holder->runs = run;
	holder->runs_count++;
	holder->next_sample = 0;
	return 0;
}

/*
 * The only command of a guest is quiet until it writes: its pipes go to the host when there is
 * something in them, which spares the many that write nothing, or all of it just before they end,
 * a message. Until then their other ends stay open here, so that poll(2) does not see them end.
 */
static int start(struct holder *holder, const struct run_request *request, struct run *run,
		 struct guest_error *err)
{
	struct command *command = &run->command;
	int r;

	if (holder->unfit) {
		*err = *holder->unfit;
		return err->code;
	}
	r = run_read_request(holder, request, run, err);
	if (r < 0)
		return r;
	run->limits = request->message->limits;
	run->keep_background = request->message->flags & WIRE_RUN_KEEP_BACKGROUND;
	command->holder = holder;
	command->proc = holder->proc;
	command->socket = run->socket;
	command->limits = &run->limits;
	command->is_alone = !holder->runs && !holder->background;
	if (!command->is_alone)
		r = send_started(run, err);
	if (r == 0)
		r = launch(holder, run, err);
	if (r < 0)
		return r;
	if (command->is_alone)
		holder->quiet = run;
	else
		close_pipes(run);
	if (command->cgroup >= 0)
		run->cgroup = fcntl(command->cgroup, F_DUPFD_CLOEXEC, 3);
	return 0;
}

/* All that it has started is dead. Its socket may be for the next. */
static void send_ended(struct holder *holder, struct run *run, struct wire_ended *ended)
{
	struct guest_error err = { .size = sizeof(err) };
	int fds[2], r, waiting = 0;
	size_t count = 0;

	for (int i = 0; i < 2 && count == 0; i++)
		if (run->pipes[i].read >= 0 &&
		    (ioctl(run->pipes[i].read, FIONREAD, &waiting) < 0 || waiting > 0))
			count = read_ends(run, fds);
	r = wire_send(run->socket, ended, sizeof(*ended), WIRE_ENDED, fds, count, 1);
	if (r == 0 && run->keeps_socket) {
		fd_close(&holder->idle); /* one that the host has given up */
		holder->idle = fd_move(&run->socket);
	}
	if (r < 0 && count > 0) {
		error_make(&err, -r, GUEST_STAGE_PIPE, "handing stdio over");
		wire_send_failed(run->socket, &err);
	}
}

void run_start(struct holder *holder, const struct wire_run *message, int *socket, int *fds,
	       size_t fds_count)
{
	struct guest_error err = { .size = sizeof(err) };
	const struct run_request request = { message, fds, fds_count };
	struct wire_ended ended = { .status = 0 };
	struct run *run = run_new();

	if (!run) {
		error_make(&err, ENOMEM, GUEST_STAGE_MEMORY, "run");
		wire_send_failed(*socket, &err);
		fd_close(socket);
	} else {
		run->keeps_socket = message->flags & WIRE_RUN_KEEP_SOCKET;
		run->socket = fd_move(socket);
		if (start(holder, &request, run, &err) < 0) {
			wire_send_failed(run->socket, &err);
			close_pipes(run);
			send_ended(holder, run, &ended);
			run_free(holder, run);
		}
	}
	wire_close_fds(fds, fds_count);
}

void run_tell_killing(const struct run *run)
{
	struct wire_plain killing;

	(void)wire_send(run->socket, &killing, sizeof(killing), WIRE_KILLING, NULL, 0, 1);
}

void run_kill(struct holder *holder, struct run *run, uint32_t cause)
{
	if (run->killed)
		return;
	run->killed = true;
	run->cause = cause;
	if (holder->next_release < sys_now_ns())
		holder->next_release = sys_now_ns() + RELEASE_DELAY_NS;
	if (run->cgroup >= 0)
		run_tell_killing(run);
	if (run->cgroup >= 0 && fd_write_file_at(run->cgroup, "cgroup.kill", "1") == 0) {
		kill(run->pid, SIGKILL); /* if its first thread is dead, it is still there */
		return;
	}
	if (holder->runs == run && !run->next && !holder->background) {
		kill(-1, SIGKILL);
		return;
	}
	if (sweep_has_children(holder, run))
		holder->next_sweep = sys_now_ns();
	else if (!holder->next_sweep)
		holder->next_sweep = sys_now_ns() + SWEEP_DELAY_NS;
	kill(run->pid, SIGKILL);
}

void run_serve(struct holder *holder, struct run *run)
{
	union {
		struct wire_signal signal;
		struct wire_plain plain;
	} message;
	int fds[WIRE_FDS_MAX], r;
	size_t count = 0;

	r = wire_receive(run->socket, &message, sizeof(message), fds, &count, 1);
	wire_close_fds(fds, count);
	if (r == WIRE_SIGNAL && message.signal.header.size == sizeof(message.signal))
		kill(run->pid, message.signal.signal); /* not reaped yet, or it would not be here */
	else if (r != -EAGAIN)
		run_kill(holder, run, 0);
}

static pid_t tracer_of(const struct holder *holder, pid_t pid)
{
	char path[32], text[1024], *line;

	snprintf(path, sizeof(path), "%d/status", pid);
	(void)fd_read_text_at(holder->proc, path, text, sizeof(text));
	line = strstr(text, "\nTracerPid:");
	return line ? (pid_t)strtol(line + strlen("\nTracerPid:"), NULL, 10) : 0;
}

/* A dead process is its tracer's until that one has waited for it, or is dead, too. */
void run_release(struct holder *holder)
{
	holder->next_release = sys_now_ns() + RELEASE_DELAY_NS;
	for (const struct run *run = holder->runs; run; run = run->next) {
		pid_t tracer = run->killed ? tracer_of(holder, run->pid) : 0;

		if (tracer > 1)
			kill(tracer, SIGKILL);
	}
}

static uint64_t timeval_ns(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000000U + (uint64_t)time->tv_usec * 1000U;
}

uint64_t run_cpu_ns(const struct rusage *usage)
{
	return timeval_ns(&usage->ru_utime) + timeval_ns(&usage->ru_stime);
}

static void finish(struct holder *holder, struct run *run, int status, const struct rusage *usage)
{
	struct wire_ended ended = {
		.status = status,
		.user_ns = timeval_ns(&usage->ru_utime),
		.system_ns = timeval_ns(&usage->ru_stime),
		.max_rss_bytes = (uint64_t)usage->ru_maxrss * 1024,
		.minor_faults = (uint64_t)usage->ru_minflt,
		.major_faults = (uint64_t)usage->ru_majflt,
		.exec_ns = run->slot->exec_ns,
	};

	sample_rest(holder, run);
	if (run->keep_background && !run->killed) {
		sweep_keep(holder, run);
		holder->background = true;
	} else if (!sweep_run(holder, run)) {
		ended.flags |= WIRE_ENDED_STUCK;
	}
	sample_end(holder, run, run_cpu_ns(usage));
	ended.stdin_bytes = input_read(&run->input);
	ended.written_bytes = run->written_bytes;
	ended.cause = run->cause;
	ended.seen = run->seen;
	ended.cpu_ns = run->cpu_ns;
	ended.memory_peak = run->memory_peak;
	ended.processes_peak = run->processes_peak;
	send_ended(holder, run, &ended);
	run_free(holder, run);
}

static struct run *find_run(const struct holder *holder, pid_t pid)
{
	struct run *run = holder->runs;

	while (run && run->pid != pid)
		run = run->next;
	return run;
}

/* What our children have written, those that they have waited for included: the kernel adds it to
 * our own when we reap them. */
static uint64_t read_written(const struct holder *holder)
{
	char text[512], *at;
	ssize_t n = pread(holder->io, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	at = strstr(text, "wchar: "); /* proc(5) */
	return at ? strtoull(at + strlen("wchar: "), NULL, 10) : 0;
}

/* The run that an orphan's usage counts for, if anything is counted. */
static struct run *orphans_owner(const struct holder *holder, pid_t pid)
{
	bool counted = holder->limits.cpu_ns > 0 || holder->io >= 0;

	for (const struct run *run = holder->runs; run && !counted; run = run->next)
		counted = run->limits.cpu_ns > 0;
	return counted ? sweep_owner(holder, pid) : NULL;
}

/* Before its exec it has our name. What stops it afterwards is the guest's own business. */
static bool has_executed(const struct holder *holder, pid_t pid)
{
	char path[32], name[32];

	snprintf(path, sizeof(path), "%d/comm", pid);
	return fd_read_text_at(holder->proc, path, name, sizeof(name)) > 0 &&
	       strcmp(name, HOLDER_NAME "\n") != 0;
}

pid_t run_wait(const struct holder *holder, pid_t pid, struct run *owner, int *status,
	       struct rusage *usage)
{
	bool count_written = owner && holder->io >= 0;
	uint64_t written = count_written ? read_written(holder) : 0;

	pid = wait4(pid, status, WNOHANG | WUNTRACED | __WALL, usage);
	if (pid > 0 && count_written)
		owner->written_bytes += read_written(holder) - written;
	return pid;
}

bool run_reap_orphan(const struct holder *holder, pid_t pid)
{
	struct run *owner = orphans_owner(holder, pid);
	struct rusage usage;
	int status;

	pid = run_wait(holder, pid, owner, &status, &usage);
	if (pid == 0 || (pid > 0 && WIFSTOPPED(status)))
		return false;
	if (pid > 0 && owner)
		owner->cpu_dead_ns += run_cpu_ns(&usage);
	return true;
}

/* Reap one that is dead. False if there is none. */
static bool reap_one(struct holder *holder)
{
	siginfo_t info = { 0 };
	struct rusage usage;
	struct run *run;
	int status;

	if (waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) < 0) {
		if (errno == EINTR) /* the signal that told of it will not come again */
			return true;
		if (errno == ECHILD)
			holder->background = false;
		return false;
	}
	if (info.si_pid == 0)
		return false;
	run = find_run(holder, info.si_pid);
	if (!run) {
		(void)run_reap_orphan(holder, info.si_pid);
		return true;
	}
	if (run_wait(holder, run->pid, run, &status, &usage) <= 0)
		return true;
	if (!WIFSTOPPED(status))
		finish(holder, run, status, &usage);
	else if (!holder->paused && !has_executed(holder, run->pid))
		kill(run->pid, SIGCONT); /* another of the guest's processes did it */
	return true;
}

bool run_reap(struct holder *holder)
{
	for (int i = 0; i < REAPED_AT_ONCE; i++)
		if (!reap_one(holder))
			return false;
	return true;
}
