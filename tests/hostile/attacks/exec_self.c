// SPDX-License-Identifier: MIT
/* Executes itself through /proc/self/fd, again and again, with as large an argv and environment as it gets. */
#include "attack.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define STRINGS 9

extern char **environ;

int main(int argc, char **argv)
{
	static char large[100000];
	char *arguments[STRINGS + 2] = { argv[0] }, *environment[STRINGS + 1] = { NULL }, path[32];
	int rounds = argc > 1 ? atoi(argv[1]) : 20;
	int fd = open("/proc/self/exe", O_RDONLY);

	if (fork() == 0) {
		setsid();
		for (;;)
			pause();
	}
	if (rounds == 0)
		return 0;
	memset(large, 'x', sizeof(large) - 1);
	snprintf(path, sizeof(path), "%d", rounds - 1);
	arguments[1] = strdup(path);
	for (int i = 0; i < STRINGS; i++) {
		environment[i] = large;
		if (i > 0)
			arguments[i + 1] = large;
	}
	environment[STRINGS] = NULL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	execve(path, arguments, environment);
	printf("execve: %s\n", strerror(errno));
	return 1;
}
