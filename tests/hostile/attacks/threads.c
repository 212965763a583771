// SPDX-License-Identifier: MIT
/* Very many threads, each with locks that the kernel has to look after when it dies, and stacks to free. */
#include "attack.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define THREADS 1500
#define LOCKS 100

static pthread_mutex_t locks[THREADS][LOCKS];

__attribute__((noreturn)) static void *hold(void *argument)
{
	pthread_mutex_t *own = argument;

	for (int i = 0; i < LOCKS; i++)
		pthread_mutex_lock(&own[i]);
	for (;;)
		pause();
}

static void be_many(void)
{
	pthread_mutexattr_t robust;
	pthread_attr_t small;
	pthread_t thread;

	pthread_mutexattr_init(&robust);
	pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 16384);
	for (int i = 0; i < THREADS; i++) {
		for (int j = 0; j < LOCKS; j++)
			pthread_mutex_init(&locks[i][j], &robust);
		if (pthread_create(&thread, &small, hold, locks[i]) != 0)
			break;
	}
	for (;;)
		pause();
}

int main(void)
{
	if (fork() == 0) {
		setsid();
		be_many();
	}
	usleep(100000);
	return 0;
}
