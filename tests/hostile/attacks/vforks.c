// SPDX-License-Identifier: MIT
/* Parents that wait in vfork(2), where a stop does not reach them, for children that are stopped or never exec. */
#include "attack.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define VFORK_FLAGS 0x4000L /* CLONE_VFORK, without CLONE_VM: the child has a stack of its own */

static void wait_for_a_child(int stop)
{
	if (fork() > 0)
		return;
	setsid();
	if (syscall(SYS_clone, VFORK_FLAGS | SIGCHLD, NULL, NULL, NULL, 0L) == 0) {
		if (stop)
			raise(SIGSTOP);
		if (syscall(SYS_clone, VFORK_FLAGS | SIGCHLD, NULL, NULL, NULL, 0L) == 0)
			for (;;)
				pause();
	}
	/* what was waited for is dead, so we are the last */
	if (fork() == 0)
		for (;;)
			pause();
	_exit(0);
}

int main(void)
{
	for (int i = 0; i < 4; i++)
		wait_for_a_child(i & 1);
	usleep(50000);
	return 0;
}
