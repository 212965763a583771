// SPDX-License-Identifier: MIT
/*
 * Limits that no control group enforces: the holder looks at the guest's processes every few
 * milliseconds, adds up what they use, and kills the command that has too much.
 *
 * Only if what is quickly counted exceeds a limit is it counted exactly (usage.c); if that cannot
 * be had in time, what is quickly counted decides. So a command is not killed for less than its
 * limit, unless it makes counting dear; but shared memory that is in use and mapped nowhere at the
 * time is not seen, nor is the CPU time of who lived between two looks and was waited for by
 * nobody.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

#define INTERVAL_NS 5000000ULL
#define INTERVAL_MIN_NS 1000000ULL
#define CPU_INTERVAL_MAX_NS 50000000ULL
#define COST_FACTOR 10 /* a look that takes long is taken less often */

static bool watches(const struct run *run)
{
	const struct wire_run_limits *limits = &run->limits;

	return !run->killed && (limits->memory_bytes || limits->pids_max || limits->cpu_ns);
}

static uint64_t run_used_ns(const struct run *run)
{
	return run->cgroup >= 0 ? run->cpu_ns : run->cpu_ns + run->cpu_dead_ns;
}

/* CPU time that all commands have used. */
static uint64_t guest_used_ns(const struct holder *holder)
{
	uint64_t used = holder->cpu_ended_ns;

	for (const struct run *run = holder->runs; run; run = run->next)
		used += run_used_ns(run);
	return used;
}

/* Is there a limit for which processes have to be looked at? */
static bool walk_wanted(const struct holder *holder, bool *memory)
{
	bool wanted = holder->limits.pids_max || holder->limits.processes;

	*memory = holder->limits.memory_bytes;
	for (const struct run *run = holder->runs; run; run = run->next) {
		wanted |= run->cgroup < 0 && (watches(run) || holder->limits.cpu_ns);
		wanted |= watches(run) && run->limits.pids_max;
		*memory |= watches(run) && run->limits.memory_bytes;
	}
	return wanted || *memory;
}

static bool any_limit(const struct holder *holder)
{
	if (!holder->runs && !holder->background)
		return false;
	if (holder->limits.memory_bytes || holder->limits.pids_max || holder->limits.processes ||
	    holder->limits.cpu_ns)
		return true;
	for (const struct run *run = holder->runs; run; run = run->next)
		if (watches(run))
			return true;
	return false;
}

int sample_timeout(const struct holder *holder)
{
	uint64_t now;

	if (!any_limit(holder))
		return -1;
	now = sys_now_ns();
	if (holder->next_sample <= now)
		return 0;
	return (int)((holder->next_sample - now + 999999) / 1000000);
}

bool sample_disk_is_full(void)
{
	struct statfs fs;

	return statfs("/", &fs) == 0 && (fs.f_bfree == 0 || (fs.f_files > 0 && fs.f_ffree == 0));
}

static bool memory_exceeded(const struct holder *holder, uint64_t memory)
{
	if (holder->limits.memory_bytes && memory > holder->limits.memory_bytes)
		return true;
	for (const struct run *run = holder->runs; run; run = run->next)
		if (watches(run) && run->limits.memory_bytes &&
		    run->memory > run->limits.memory_bytes)
			return true;
	return false;
}

static bool processes_exceeded(const struct holder *holder, uint64_t threads)
{
	if (holder->limits.pids_max && threads > holder->limits.pids_max)
		return true;
	for (const struct run *run = holder->runs; run; run = run->next)
		if (watches(run) && run->limits.pids_max && run->processes > run->limits.pids_max)
			return true;
	return false;
}

/* The one that uses most of what there is too much of; all else if that is no command's. */
static void kill_largest(struct holder *holder, uint32_t cause)
{
	struct run *largest = NULL;

	for (struct run *run = holder->runs; run; run = run->next) {
		bool more = !largest ||
			    (cause == GUEST_OOM_KILLED ? run->memory > largest->memory :
							 run->processes > largest->processes);

		if (!run->killed && more)
			largest = run;
	}
	if (largest)
		run_kill(holder, largest, cause);
	else
		kill(-1, SIGKILL);
}

static void judge_run(struct holder *holder, struct run *run)
{
	const struct wire_run_limits *limits = &run->limits;

	if (run->memory > run->memory_peak)
		run->memory_peak = run->memory;
	if (run->processes > run->processes_peak)
		run->processes_peak = run->processes;
	if (run->killed)
		return;
	if (limits->cpu_ns && run_used_ns(run) > limits->cpu_ns)
		run_kill(holder, run, GUEST_CPU_TIME);
	else if (limits->memory_bytes && run->memory > limits->memory_bytes)
		run_kill(holder, run, GUEST_OOM_KILLED);
	else if (limits->pids_max && run->processes > limits->pids_max)
		run_kill(holder, run, GUEST_TOO_MANY_PROCESSES);
}

/* With the CPU time of all that is, or was, in its control group. */
static void read_group_cpu(struct run *run)
{
	char text[512], *at;

	if (fd_read_text_at(run->cgroup, "cpu.stat", text, sizeof(text)) > 0 &&
	    (at = strstr(text, "usage_usec ")))
		run->cpu_ns = strtoull(at + strlen("usage_usec "), NULL, 10) * 1000;
}

/* The time in which all CPUs together may use up what is left, if that is sooner. */
static uint64_t sooner(uint64_t pause, uint64_t used, uint64_t limit)
{
	uint64_t cpus = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN), left;

	if (!limit)
		return pause;
	left = used < limit ? (limit - used) / cpus : 0;
	return left < pause ? left : pause;
}

static uint64_t interval(const struct holder *holder, bool walked)
{
	uint64_t pause = walked ? INTERVAL_NS : CPU_INTERVAL_MAX_NS;

	/* the closer to its limit, the sooner */
	if (walked && holder->limits.memory_bytes && holder->memory < holder->limits.memory_bytes)
		pause -= pause * holder->memory / holder->limits.memory_bytes;
	pause = sooner(pause, guest_used_ns(holder), holder->limits.cpu_ns);
	for (const struct run *run = holder->runs; run; run = run->next)
		if (!run->killed)
			pause = sooner(pause, run_used_ns(run), run->limits.cpu_ns);
	return pause < INTERVAL_MIN_NS ? INTERVAL_MIN_NS : pause;
}

/* The budget of CPU time is spent: all end. */
static void end_all(struct holder *holder)
{
	for (struct run *run = holder->runs; run; run = run->next) {
		if (run->killed)
			continue;
		run->seen |= GUEST_SEEN_BUDGET;
		run_kill(holder, run, GUEST_CPU_TIME);
	}
}

void sample_look(struct holder *holder)
{
	uint64_t busy, memory = 0, threads = 0, cost, pause;
	bool with_memory, walked;

	if (!any_limit(holder) || sys_now_ns() < holder->next_sample)
		return;
	holder->samples++;
	busy = sys_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	walked = walk_wanted(holder, &with_memory);
	if (walked)
		memory = usage_walk(holder, with_memory, false, &threads);
	/* processes that come and go while we walk may be counted beside their successors */
	if (walked && (memory_exceeded(holder, memory) || processes_exceeded(holder, threads)))
		usage_walk_exactly(holder, with_memory, &memory, &threads);
	holder->memory = memory;
	for (struct run *run = holder->runs; run; run = run->next) {
		if (run->cgroup >= 0)
			read_group_cpu(run);
		judge_run(holder, run);
	}
	if (holder->limits.memory_bytes && memory > holder->limits.memory_bytes)
		kill_largest(holder, GUEST_OOM_KILLED);
	if (holder->limits.pids_max && threads > holder->limits.pids_max)
		kill_largest(holder, GUEST_TOO_MANY_PROCESSES);
	if (holder->limits.cpu_ns && guest_used_ns(holder) > holder->limits.cpu_ns)
		end_all(holder);
	/* not what it took to get a CPU: when there are too few, we have to look */
	cost = (sys_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - busy) * COST_FACTOR;
	pause = interval(holder, walked);
	holder->next_sample = sys_now_ns() + (pause > cost ? pause : cost);
}

static void end_cpu_time(struct holder *holder, struct run *run, uint64_t cpu_ns)
{
	if (run->cgroup >= 0)
		read_group_cpu(run);
	else
		run->cpu_ns = cpu_ns; /* what it was when it lived is in there */
	run->cpu_ns = run_used_ns(run);
	holder->cpu_ended_ns += run->cpu_ns;
	if (run->killed)
		return;
	if (run->limits.cpu_ns && run->cpu_ns > run->limits.cpu_ns)
		run->cause = GUEST_CPU_TIME;
	if (holder->limits.cpu_ns && holder->cpu_ended_ns > holder->limits.cpu_ns) {
		run->cause = GUEST_CPU_TIME;
		run->seen |= GUEST_SEEN_BUDGET;
	}
}

void sample_rest(struct holder *holder, struct run *run)
{
	const struct wire_limits *limits = &holder->limits;
	uint64_t threads;

	if (run->killed || !(limits->processes || limits->pids_max || run->limits.pids_max))
		return;
	usage_walk(holder, false, false, &threads);
	run->processes++; /* the main process, which is dead */
	if (run->processes > run->processes_peak)
		run->processes_peak = run->processes;
}

void sample_end(struct holder *holder, struct run *run, uint64_t cpu_ns)
{
	uint64_t processes = holder->limits.processes;
	bool with_us = !holder->many_ids || !holder->uid; /* limits.c of the host */

	if (run->limits.cpu_ns || holder->limits.cpu_ns)
		end_cpu_time(holder, run, cpu_ns);
	if (run->cause == GUEST_OOM_KILLED)
		run->seen |= GUEST_SEEN_OOM;
	/* the kernel does not tell of forks that RLIMIT_NPROC has refused */
	if (processes && run->processes_peak + with_us >= processes)
		run->seen |= GUEST_SEEN_PIDS_MAX;
	if (sample_disk_is_full())
		run->seen |= GUEST_SEEN_DISK_FULL;
}
