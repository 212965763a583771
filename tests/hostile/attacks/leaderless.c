// SPDX-License-Identifier: MIT
/* Processes of which the first thread has ended: zombies to look at, while other threads live, or follow each other. */
#include "attack.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((noreturn)) static void *stay(void *argument)
{
	(void)argument;
	for (;;)
		pause();
}

static void *follow(void *argument)
{
	pthread_attr_t detached;
	pthread_t next;

	(void)argument;
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	while (pthread_create(&next, &detached, follow, NULL) != 0)
		;
	return NULL;
}

static void be_leaderless(void *(*start)(void *))
{
	pthread_t thread;

	if (fork() > 0)
		return;
	setsid();
	pthread_create(&thread, NULL, start, NULL);
	syscall(SYS_exit, 0);
}

int main(void)
{
	be_leaderless(stay);
	be_leaderless(stay);
	be_leaderless(follow);
	usleep(50000);
	return 0;
}
