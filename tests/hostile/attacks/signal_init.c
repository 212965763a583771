// SPDX-License-Identifier: MIT
/* Every signal to PID 1 and to everybody, and limits for PID 1. */
#include "attack.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	const struct rlimit zero = { 0, 0 };

	for (int sig = 1; sig < 65; sig++) {
		kill(1, sig);
		sigqueue(1, sig, (union sigval){ .sival_int = 1 });
	}
	for (int limit = 0; limit < RLIM_NLIMITS; limit++) {
		MUST_FAIL_WITH("prlimit of PID 1", EPERM, syscall(SYS_prlimit64, 1, limit, &zero, NULL));
		MUST_FAIL_WITH("prlimit of a parent", EPERM, syscall(SYS_prlimit64, getppid() ? getppid() : 1, limit,
								     &zero, NULL));
	}
	/* what is asked of oneself stays allowed */
	MUST_BE("prlimit of oneself", syscall(SYS_prlimit64, 0, RLIMIT_CORE, &zero, NULL) == 0);
	return attack_succeeded;
}
