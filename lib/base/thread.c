// SPDX-License-Identifier: MIT
#include "base/thread.h"

#include <errno.h>
#include <signal.h>

int thread_start(pthread_t *ret_thread, size_t stack_size, void *(*run)(void *), void *argument)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int errnum;

	pthread_attr_init(&attr);
	if (stack_size > 0)
		pthread_attr_setstacksize(&attr, stack_size);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	errnum = pthread_create(ret_thread, &attr, run, argument);
	if (errnum == EINVAL) /* the host's thread-local variables leave nothing of it */
		errnum = pthread_create(ret_thread, NULL, run, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -errnum;
}
