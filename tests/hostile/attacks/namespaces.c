// SPDX-License-Identifier: MIT
/* Namespaces of one's own, in which one would have all capabilities. */
#include "attack.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	static const int flags[] = { CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET,
				     CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWUSER | CLONE_NEWNS, 0x80 };

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		long pid;

		MUST_FAIL("unshare", unshare(flags[i]));
		if (flags[i] == 0x80)
			continue;
		pid = syscall(SYS_clone, (long)flags[i] | SIGCHLD, NULL, NULL, NULL, 0L);
		if (pid == 0)
			_exit(0);
		MUST_FAIL("clone", pid);
	}
	MUST_FAIL_WITH("clone3", ENOSYS, syscall(435, NULL, 0));
	return attack_succeeded;
}
