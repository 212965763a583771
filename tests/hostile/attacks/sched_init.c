// SPDX-License-Identifier: MIT
/* Starving PID 1: its priorities, its CPUs, its timers, and what the OOM killer thinks of it. */
#include "attack.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IOPRIO_IDLE (3 << 13)

int main(void)
{
	const struct sched_param zero = { 0 }, high = { .sched_priority = 50 };
	char attributes[48] = { 48 };
	int before = getpriority(PRIO_PROCESS, 1), fd;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	MUST_FAIL("nice of PID 1", setpriority(PRIO_PROCESS, 1, 19));
	setpriority(PRIO_USER, 0, 19); /* that is we ourselves, too */
	MUST_BE("nice of PID 1 is as before", getpriority(PRIO_PROCESS, 1) == before);
	MUST_FAIL("CPUs of PID 1", sched_setaffinity(1, sizeof(one), &one));
	MUST_FAIL("SCHED_IDLE for PID 1", syscall(SYS_sched_setscheduler, 1, SCHED_IDLE, &zero));
	MUST_FAIL("sched_setattr of PID 1", syscall(SYS_sched_setattr, 1, attributes, 0));
	MUST_FAIL("I/O priority of PID 1", syscall(SYS_ioprio_set, 1, 1, IOPRIO_IDLE));
	MUST_FAIL("process group of PID 1", setpgid(1, getpid()));
	fd = open("/proc/1/timerslack_ns", O_WRONLY);
	MUST_FAIL("timer slack of PID 1", write(fd, "1000000000000000", 16));
	MUST_FAIL("a real-time priority", syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &high));
	MUST_FAIL("nice -20", setpriority(PRIO_PROCESS, 0, -20));
	fd = open("/proc/self/oom_score_adj", O_WRONLY);
	MUST_FAIL("safe from the OOM killer", write(fd, "-1000", 5));
	return attack_succeeded;
}
