// SPDX-License-Identifier: MIT
/* Stops everybody, for ever: commands that are being started, too. argv[1]: for how many milliseconds. */
#include "attack.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long left = argc > 1 ? atol(argv[1]) * 10 : 1000;
	const struct timespec pause = { 0, 100000 };

	while (left-- > 0) {
		kill(-1, SIGSTOP);
		nanosleep(&pause, NULL);
	}
	kill(-1, SIGCONT);
	return 0;
}
