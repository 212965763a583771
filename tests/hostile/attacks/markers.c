// SPDX-License-Identifier: MIT
/* Another cgroup namespace: by it the processes of a run are told from those of others. */
#include "attack.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	struct clone_args args = { .flags = CLONE_NEWCGROUP, .exit_signal = SIGCHLD };
	long pid;
	int fd;

	MUST_FAIL("unshare", unshare(CLONE_NEWCGROUP));
	MUST_FAIL("unshare, with others", unshare(CLONE_NEWCGROUP | CLONE_NEWUSER));
	MUST_FAIL("unshare, high bits", syscall(SYS_unshare, CLONE_NEWCGROUP | 0x100000000L));
	pid = syscall(SYS_clone, (long)CLONE_NEWCGROUP | SIGCHLD, NULL, NULL, NULL, 0L);
	if (pid == 0)
		_exit(0);
	MUST_FAIL("clone", pid);
	pid = syscall(435, &args, sizeof(args));
	if (pid == 0)
		_exit(0);
	MUST_FAIL("clone3", pid);
	fd = open("/proc/self/ns/cgroup", O_RDONLY);
	MUST_BE("there is one", fd >= 0);
	MUST_FAIL("setns", setns(fd, CLONE_NEWCGROUP));
	MUST_FAIL("setns of any", setns(fd, 0));
	return attack_succeeded;
}
