// SPDX-License-Identifier: MIT
/*
 * The holder: PID 1 of a guest. A fork of the keeper that never execs inside the guest's user
 * namespace and is not dumpable, so that ptrace, /proc/1/mem and pidfd_getfd are refused even to
 * CAP_SYS_PTRACE in the guest. It starts commands, reaps, and ends when the host says so or is
 * gone; with it ends every process of the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

/* Until the keeper has written our maps. It cannot die in between: we would, too. */
static void wait_for_go(const struct holder_plan *plan)
{
	uint32_t *go = plan->keeper->go, seen;

	while ((int32_t)((seen = __atomic_load_n(go, __ATOMIC_ACQUIRE)) - plan->number) < 0)
		sys_futex_wait(go, seen, NULL);
}

static int bring_up_loopback(struct guest_error *err)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;

	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		r = error_make(err, errno, GUEST_STAGE_NETWORK, "bringing lo up");
	fd_close(&fd);
	return r;
}

static int name_and_network(const struct holder_plan *plan, struct guest_error *err)
{
	const char *hostname = wire_string(plan->create, plan->create->hostname);

	if (!hostname || sethostname(hostname, strlen(hostname)) < 0)
		return error_make(err, errno, GUEST_STAGE_HOSTNAME, "hostname");
	return plan->create->flags & WIRE_CREATE_NET ? bring_up_loopback(err) : 0;
}

static int open_fds(struct holder *holder, struct guest_error *err)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	holder->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	holder->null = fd_above_stdio(open("/dev/null", O_RDONLY | O_CLOEXEC));
	if (holder->signals < 0 || holder->null < 0)
		return error_make(err, errno, GUEST_STAGE_HELPER, "holder's fds");
	return 0;
}

/* What a holder has by being a fork of the keeper. */
static void close_keeper_fds(const struct keeper *keeper)
{
	int fds[] = { keeper->control,	    keeper->proc,	keeper->mount_ns,
		      keeper->host_tree_ns, keeper->undertaker, keeper->signals };

	wire_close_fds(fds, sizeof(fds) / sizeof(fds[0]));
}

static int setup(struct holder *holder, const struct holder_plan *plan, struct guest_error *err)
{
	int r;

	prctl(PR_SET_NAME, HOLDER_NAME);
	if (plan->keeper->held > 0)
		sys_close_range((unsigned int)plan->keeper->guest_fds, ~0U, 0);
	/* what needs no ids, while the keeper writes our maps */
	r = name_and_network(plan, err);
	if (r < 0)
		return r;
	wait_for_go(plan);
	if (plan->create->flags & WIRE_CREATE_COUNT_WRITTEN)
		holder->io =
			fd_above_stdio(openat(plan->keeper->proc, "self/io", O_RDONLY | O_CLOEXEC));
	/* nobody may look into us from here on; the keeper has opened what it needs */
	prctl(PR_SET_DUMPABLE, 0);
	r = holder->proc = holder_tree(plan, err);
	if (!(plan->create->flags & WIRE_CREATE_CGROUP)) /* for clone3(2) into those */
		sys_word = 0;
	close_keeper_fds(plan->keeper);
	wire_close_fds(plan->trees, plan->trees_count);
	return r < 0 ? r : open_fds(holder, err);
}

/* Commands are started by us: their limit is one for that, too. */
static void limit_processes(struct holder *holder)
{
	struct rlimit limit;

	if (holder->many_ids && holder->uid) /* those of commands are counted by themselves */
		return;
	if (getrlimit(RLIMIT_NPROC, &limit) < 0)
		return;
	if (!holder->processes)
		holder->processes = limit.rlim_cur;
	limit.rlim_cur = holder->limits.processes ? holder->limits.processes : holder->processes;
	if (limit.rlim_cur > limit.rlim_max)
		limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NPROC, &limit);
}

/* Something that the host wants to know of the guest, or done to all of it. */
static void answer(struct holder *holder, const struct wire_ask *ask, int socket)
{
	struct pollfd asker = { .fd = socket };
	struct wire_report report = { 0 };
	struct statfs fs;

	if (poll(&asker, 1, 0) > 0) /* it has given up, and has told so */
		return;
	switch (ask->question) {
	case WIRE_ASK_PAUSE:
		holder->paused = true;
		kill(-1, SIGSTOP);
		break;
	case WIRE_ASK_RESUME:
		holder->paused = false;
		sweep_continue(holder);
		break;
	case WIRE_ASK_LIMITS:
		holder->limits = ask->limits;
		holder->next_sample = 0;
		limit_processes(holder);
		break;
	default:
		break;
	}
	if (statfs("/", &fs) == 0) {
		report.writable_used_bytes = (fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
		report.writable_used_inodes = fs.f_files - fs.f_ffree;
	}
	(void)wire_send(socket, &report, sizeof(report), WIRE_REPORT, NULL, 0, 1);
}

static void serve(struct holder *holder)
{
	const struct wire_run *run = &helper_message.run;
	const struct wire_ask *ask = &helper_message.ask;
	int fds[WIRE_FDS_MAX], r;
	size_t fds_count = 0;

	r = wire_receive(holder->socket, &helper_message, sizeof(helper_message), fds, &fds_count,
			 1);
	if (r == WIRE_SHUTDOWN || r == -EPIPE)
		_exit(0);
	if (r == WIRE_RUN && fds_count >= 1 && run->header.size >= sizeof(*run)) {
		run_start(holder, run, &fds[0], fds + 1, fds_count - 1);
		return; /* the fds are its own */
	}
	if (r == WIRE_ASK && fds_count == 1 && ask->header.size == sizeof(*ask))
		answer(holder, ask, fds[0]);
	if (r >= 0)
		wire_close_fds(fds, fds_count);
}

/* On the socket of a run that is over: the next; or what was meant for that one, and is too late.
 */
static void serve_idle(struct holder *holder)
{
	const struct wire_run *run = &helper_message.run;
	int fds[WIRE_FDS_MAX], r;
	size_t fds_count = 0;

	r = wire_receive(holder->idle, &helper_message, sizeof(helper_message), fds, &fds_count, 1);
	if (r == WIRE_RUN && run->header.size >= sizeof(*run)) {
		run_start(holder, run, &holder->idle, fds, fds_count);
		return;
	}
	if (r >= 0)
		wire_close_fds(fds, fds_count);
	if (r != WIRE_KILL && r != WIRE_SIGNAL && r != -EAGAIN)
		fd_close(&holder->idle);
}

enum {
	HEAR_HOST,	/* its requests */
	HEAR_CHILDREN,	/* that have died */
	HEAR_HOSTS_END, /* of which the socket does not tell, if a forked copy of the host has it */
	HEAR_IDLE,
	HEAR_OUTPUT,		     /* two, of the run that has been quiet so far */
	HEAR_RUNS = HEAR_OUTPUT + 2, /* signals for each, or that it shall end; its stdin, if any */
};

#define HEARD(runs) (HEAR_RUNS + 2 * (runs))
#define FEW_RUNS 4 /* for more, poll(2)'s array is not on the stack */

/* By poll(2), since what epoll(7) watches counts against a quota of the user, which a guest can use
 * up. */
static nfds_t fill_poll(const struct holder *holder, struct pollfd *fds)
{
	const struct run *quiet = holder->quiet;
	nfds_t n = HEAR_RUNS;

	fds[HEAR_HOST].fd = holder->socket;
	fds[HEAR_CHILDREN].fd = holder->signals;
	fds[HEAR_HOSTS_END].fd = holder->host;
	fds[HEAR_IDLE].fd = holder->idle;
	for (int i = 0; i < 2; i++)
		fds[HEAR_OUTPUT + i].fd = quiet ? quiet->pipes[i].read : -1;
	for (nfds_t i = 0; i < n; i++)
		fds[i].events = POLLIN;
	/* no entry without an fd of its own: poll(2) refuses more than RLIMIT_NOFILE */
	for (const struct run *run = holder->runs; run; run = run->next) {
		fds[n++] =
			(struct pollfd){ .fd = run->killed ? -1 : run->socket, .events = POLLIN };
		n += input_poll(&run->input, &fds[n]);
	}
	return n;
}

static int until(uint64_t time_ns)
{
	uint64_t now = sys_now_ns(), ms = now >= time_ns ? 0 : (time_ns - now + 999999) / 1000000;

	return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* Of two that may be -1, never. */
static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Of those that run; UINT64_MAX: never. */
static uint64_t next_deadline(const struct holder *holder)
{
	uint64_t next = UINT64_MAX;

	for (const struct run *run = holder->runs; run; run = run->next)
		if (!run->killed && run->limits.deadline_ns && run->limits.deadline_ns < next)
			next = run->limits.deadline_ns;
	return next;
}

/* The host's thread that should have done it may be waiting for the lock of a pipe, which what
 * writes into that can keep for long. */
static void end_late(struct holder *holder)
{
	uint64_t now = sys_now_ns();

	for (struct run *run = holder->runs; run; run = run->next)
		if (run->limits.deadline_ns && run->limits.deadline_ns <= now)
			run_kill(holder, run, GUEST_TIMED_OUT);
}

static bool any_killed(const struct holder *holder)
{
	const struct run *run = holder->runs;

	while (run && !run->killed)
		run = run->next;
	return run;
}

/* poll(2)'s, in milliseconds. */
static int next_timeout(const struct holder *holder, bool more_dead)
{
	uint64_t deadline = next_deadline(holder);
	int timeout = sample_timeout(holder);

	if (more_dead)
		return 0;
	if (holder->next_sweep)
		return 1;
	if (any_killed(holder))
		timeout = sooner(timeout, until(holder->next_release));
	if (holder->next_born)
		timeout = sooner(timeout, until(holder->next_born));
	if (deadline != UINT64_MAX)
		timeout = sooner(timeout, until(deadline));
	return timeout;
}

__attribute__((noreturn)) static void holder_loop(struct holder *holder)
{
	static struct pollfd many[HEARD(RUN_SLOTS)] HELPER_BEHIND(3);
	struct pollfd few[HEARD(FEW_RUNS)];
	struct signalfd_siginfo info;
	bool more_dead = false;

	for (;;) {
		struct pollfd *fds = holder->runs_count > FEW_RUNS ? many : few;
		struct run *run;
		nfds_t n;
		int ready;

		ready = poll(fds, fill_poll(holder, fds), next_timeout(holder, more_dead));
		if (any_killed(holder) && sys_now_ns() >= holder->next_release)
			run_release(holder);
		if (ready < 0)
			continue;
		if (fds[HEAR_HOSTS_END].revents)
			_exit(0);
		for (run = holder->runs, n = HEAR_RUNS; run; run = run->next) {
			bool has_input = run->input.buffer;

			if (fds[n++].revents)
				run_serve(holder, run);
			if (has_input && fds[n++].revents)
				run_feed(holder, run);
		}
		if (fds[HEAR_CHILDREN].revents || more_dead) {
			(void)!read(holder->signals, &info, sizeof(info));
			more_dead = run_reap(holder);
		}
		if (holder->quiet && (fds[HEAR_OUTPUT].revents || fds[HEAR_OUTPUT + 1].revents))
			run_hand_over(holder);
		if (fds[HEAR_IDLE].revents)
			serve_idle(holder);
		if (fds[HEAR_HOST].revents)
			serve(holder);
		if (holder->next_sweep && sys_now_ns() >= holder->next_sweep) {
			holder->next_sweep = 0;
			if (any_killed(holder))
				sweep_killed(holder);
		}
		if (holder->next_born && sys_now_ns() >= holder->next_born)
			sweep_continue_born(holder);
		if (next_deadline(holder) != UINT64_MAX)
			end_late(holder);
		sample_look(holder);
	}
}

__attribute__((noreturn)) void holder_main(const struct holder_plan *plan)
{
	struct guest_error err = { .size = sizeof(err) };
	struct wire_plain ready;
	struct holder holder = {
		.uid = plan->create->uid,
		.gid = plan->create->gid,
		.many_ids = plan->keeper->map.ids_count > 1,
		.nofile_soft = plan->create->nofile_soft,
		.nofile_hard = plan->create->nofile_hard,
		.capabilities = plan->create->capabilities,
		.inheritable = plan->create->inheritable,
		.limits = plan->create->limits,
		.io = -EBADF,
		.idle = -EBADF,
		/* a change of ids would make our memory dumpable, and a core dump kills who shares
		   it (before Linux 5.16) */
		.may_share = command_may_share() && (plan->keeper->suid_dumpable == 0 ||
						     !(plan->create->uid | plan->create->gid)),
	};
	int self;

	memory_populate_holder(plan->keeper->go);
	holder.socket = plan->socket;
	holder.host = plan->keeper->host;
	if (setup(&holder, plan, &err) < 0)
		helper_fail(holder.socket, &err);
	self = fd_above_stdio(sys_pidfd_open(getpid(), 0));
	if (self < 0 ||
	    wire_send(holder.socket, &ready, sizeof(ready), WIRE_READY, &self, 1, 1) < 0)
		_exit(1);
	/* the host's thread, which may have been woken on our CPU, goes first, and need not wait
	   for this, since no command runs before it is done */
	(void)sched_yield();
	if (confine_bounding_set(plan->create->capabilities, &err) < 0) {
		err.code = -ENOTRECOVERABLE; /* whatever it was; the message tells */
		holder.unfit = &err;
	}
	fd_close(&self);
	if (holder.limits.processes)
		limit_processes(&holder);
	holder_loop(&holder);
}
