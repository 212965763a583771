// SPDX-License-Identifier: MIT
#include "allocation.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is behind: the C library's, or the sanitizer's. */
#ifdef ABOVE_SANITIZER
#include <dlfcn.h>
#include <pthread.h>
#define REAL(name) __interceptor_##name
#else
#define REAL(name) __libc_##name
#endif

void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t count, size_t size);
void *REAL(realloc)(void *block, size_t size);
void REAL(free)(void *block);

static unsigned long wanted, seen, failed;
static enum allocation_fate fate;
static bool armed;
static long live;
static pid_t copy;
static __thread int spared; /* this thread's are */

void allocation_fail(unsigned long number, enum allocation_fate what)
{
	wanted = number;
	fate = what;
	seen = failed = 0;
}

static void make_copy(void)
{
	copy = fork();
	while (copy == 0)
		pause();
}

void allocation_end_copy(void)
{
	if (copy > 0 && kill(copy, SIGKILL) == 0)
		waitpid(copy, NULL, 0);
	copy = 0;
}

void allocation_arm(bool yes)
{
	armed = yes;
}

unsigned long allocation_failures(void)
{
	return failed;
}

long allocation_live(void)
{
#ifdef ABOVE_SANITIZER
	return 0; /* what its own realpath(3) and others allocate does not come by here */
#else
	return __atomic_load_n(&live, __ATOMIC_RELAXED);
#endif
}

static bool fails(void)
{
	if (!armed || !wanted || spared)
		return false;
	seen++;
	if (seen != wanted && !(fate == ALLOCATION_FAILS_FOR_EVER && seen > wanted))
		return false;
	failed++;
	if (fate == ALLOCATION_FORKS)
		make_copy();
	errno = ENOMEM;
	return true;
}

static void *counted(void *block)
{
	if (block)
		__atomic_add_fetch(&live, 1, __ATOMIC_RELAXED);
	return block;
}

/* The libraries shall find these before the C library's. */
#pragma GCC visibility push(default)

void *malloc(size_t size)
{
	return fails() ? NULL : counted(REAL(malloc)(size));
}

void *calloc(size_t count, size_t size)
{
	return fails() ? NULL : counted(REAL(calloc)(count, size));
}

void *realloc(void *block, size_t size)
{
	if (fails())
		return NULL;
	return block ? REAL(realloc)(block, size) : counted(REAL(realloc)(NULL, size));
}

void free(void *block)
{
	if (block)
		__atomic_sub_fetch(&live, 1, __ATOMIC_RELAXED);
	REAL(free)(block);
}

/* The sanitizer's would not come by malloc() above. */
char *strdup(const char *string)
{
	size_t size = strlen(string) + 1;
	char *block = malloc(size);

	return block ? memcpy(block, string, size) : NULL;
}

/* The C library's own do not come by here. */
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	return fails() ? MAP_FAILED : (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

#ifdef ABOVE_SANITIZER
/* The sanitizer asks it where a new thread's stack is, and ends the process if that fails. */
int pthread_getattr_np(pthread_t thread, pthread_attr_t *attr)
{
	int (*real)(pthread_t, pthread_attr_t *), r;

	spared++;
	*(void **)&real = dlsym(RTLD_NEXT, "pthread_getattr_np");
	r = real(thread, attr);
	spared--;
	return r;
}
#endif

#pragma GCC visibility pop
