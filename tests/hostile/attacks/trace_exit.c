// SPDX-License-Identifier: MIT
/*
 * Processes that nothing can kill: two that trace each other with PTRACE_O_TRACEEXIT. Once there they would be there
 * for ever, so only the two ways to that option are tried.
 */
#include "attack.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	pid_t seized = fork(), child;
	int status;

	if (seized == 0)
		for (;;)
			pause();
	MUST_FAIL_WITH("PTRACE_SEIZE", EPERM, ptrace(PTRACE_SEIZE, seized, 0, PTRACE_O_TRACEEXIT));
	MUST_FAIL_WITH("with others", EPERM,
		       ptrace(PTRACE_SEIZE, seized, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXIT));
	MUST_FAIL_WITH("high bits of the request", EPERM,
		       syscall(SYS_ptrace, PTRACE_SEIZE | 0x100000000L, (long)seized, 0, PTRACE_O_TRACEEXIT));
	MUST_BE("PTRACE_SEIZE without it", ptrace(PTRACE_SEIZE, seized, 0, PTRACE_O_TRACESYSGOOD) == 0);
	MUST_FAIL_WITH("PTRACE_SETOPTIONS of what is seized", EPERM,
		       ptrace(PTRACE_SETOPTIONS, seized, 0, PTRACE_O_TRACEEXIT));
	kill(seized, SIGKILL);
	child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(0);
	}
	MUST_BE("the child is stopped", waitpid(child, &status, 0) == child && WIFSTOPPED(status));
	MUST_FAIL_WITH("PTRACE_SETOPTIONS", EPERM, ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXIT));
#ifdef __x86_64__
	MUST_FAIL_WITH("PTRACE_OLDSETOPTIONS", EPERM, syscall(SYS_ptrace, 21, (long)child, 0, PTRACE_O_TRACEEXIT));
#endif
	MUST_BE("PTRACE_SETOPTIONS without it", ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEFORK) == 0);
	ptrace(PTRACE_CONT, child, 0, 0);
	return attack_succeeded;
}
