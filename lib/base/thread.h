/* SPDX-License-Identifier: MIT */
/* The library's own threads. */
#ifndef GUEST_BASE_THREAD_H
#define GUEST_BASE_THREAD_H

#include <pthread.h>
#include <stddef.h>

/* A thread with all signals blocked: the host's are not for it. stack_size 0: as usual. 0 or
 * -errno. */
int thread_start(pthread_t *ret_thread, size_t stack_size, void *(*run)(void *), void *argument);

#endif
