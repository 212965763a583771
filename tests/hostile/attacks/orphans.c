// SPDX-License-Identifier: MIT
/*
 * Leaves processes of all kinds behind: in sessions of their own, deaf to signals, below a subreaper, told to die with
 * a parent that is another one, with a parent that is PID 1 by birth, and a storm of forks below a subreaper.
 */
#include "attack.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void stay(void)
{
	for (int sig = 1; sig < 65; sig++)
		signal(sig, SIG_IGN);
	for (;;)
		pause();
}

static void below_a_subreaper(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int i = 0; i < 5; i++) {
		if (fork() > 0)
			continue;
		setsid();
		if (fork() == 0)
			stay();
		_exit(0);
	}
	stay();
}

static void storm(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGCHLD, SIG_IGN);
	if (fork() == 0)
		for (;;)
			if (fork() > 0) {
				setsid();
				_exit(0);
			}
	stay();
}

int main(void)
{
	if (fork() == 0) {
		setsid();
		below_a_subreaper();
	}
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGCONT);
		stay();
	}
	if (fork() == 0) {
		setsid();
		storm();
	}
	/* PID 1 is its parent from the beginning */
	if (syscall(SYS_clone, (long)CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, 0L) == 0) {
		setsid();
		stay();
	}
	usleep(20000);
	return 0;
}
