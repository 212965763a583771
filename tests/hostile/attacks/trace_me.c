// SPDX-License-Identifier: MIT
/* Makes PID 1 the tracer of its children, and of threads of this process, and stops them. */
#include "attack.h"

#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <unistd.h>

static void *thread(void *argument)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	if (argument)
		for (;;)
			pause();
	return NULL;
}

static void be_traced(int count)
{
	pthread_t threads[8];

	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, thread, i & 1 ? NULL : &threads);
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	while (count-- > 0)
		raise(SIGTRAP); /* PID 1 will not continue it */
}

int main(void)
{
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (pid == 0 && fork() == 0) {
			usleep(1000); /* until PID 1 is the parent */
			be_traced(3);
			_exit(0);
		}
		if (pid == 0)
			_exit(0);
	}
	usleep(20000);
	be_traced(0);
	return 0;
}
