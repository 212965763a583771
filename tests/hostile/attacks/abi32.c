// SPDX-License-Identifier: MIT
/* The 32-bit system call table, in which the filter's numbers mean other things. */
#include "attack.h"

#include <stdlib.h>
#include <unistd.h>

int main(void)
{
#ifdef __x86_64__
	long result = 20; /* getpid there */

	__asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
	MUST_BE("int 0x80 getpid is refused", result < 0);
	result = 340; /* prlimit64 there */
	__asm__ volatile("int $0x80" : "+a"(result) : "b"(1), "c"(0), "d"(0), "S"(0) : "memory", "r8", "r9", "r10", "r11");
	MUST_BE("int 0x80 prlimit64 is refused", result < 0);
#endif
	return attack_succeeded;
}
