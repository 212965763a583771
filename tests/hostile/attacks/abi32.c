// SPDX-License-Identifier: MIT
/* The 32-bit system call table, in which the filter's numbers mean other things. */
#include "attack.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __x86_64__
static sigjmp_buf no_entry;

static void leave(int sig)
{
	(void)sig;
	siglongjmp(no_entry, 1);
}

/* int 0x80 with these two; -1 where the kernel has no such entry. */
static long call(long number, long first)
{
	if (sigsetjmp(no_entry, 1))
		return -1;
	__asm__ volatile("int $0x80"
			 : "+a"(number)
			 : "b"(first), "c"(0), "d"(0), "S"(0)
			 : "memory", "r8", "r9", "r10", "r11");
	return number;
}
#endif

int main(void)
{
#ifdef __x86_64__
	signal(SIGSEGV, leave);
	MUST_BE("int 0x80 getpid is refused", call(20, 0) < 0);
	MUST_BE("int 0x80 prlimit64 is refused", call(340, 1) < 0);
#endif
	return attack_succeeded;
}
