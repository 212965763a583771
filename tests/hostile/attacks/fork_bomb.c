// SPDX-License-Identifier: MIT
/*
 * A fork bomb: every process forks for ever. Only so many of them get through, argv[1], since the machine is not ours
 * alone. argv[2]: "wait" for those that are there already, instead of trying on.
 */
#include "attack.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int most = argc > 1 ? atoi(argv[1]) : 100;
	int *count = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		if (__atomic_add_fetch(count, 1, __ATOMIC_RELAXED) <= most) {
			fork();
			continue;
		}
		__atomic_sub_fetch(count, 1, __ATOMIC_RELAXED);
		if (argc > 2)
			pause();
	}
}
