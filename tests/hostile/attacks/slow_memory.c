// SPDX-License-Identifier: MIT
/*
 * Memory that whoever looks at it or copies from it has to wait for: threads that change the protection of very many
 * mappings all the time. argv[1]: "write", so that whoever reads the output has to wait; "hold" MiB, for whoever counts.
 */
#include "attack.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAPPINGS 30000L
#define CHANGERS 12
#define WRITERS 100
#define PIECES 1024

static char *many;

static void *change(void *unused)
{
	(void)unused;
	while (mprotect(many, MAPPINGS * 4096, PROT_READ) == 0)
		mprotect(many, MAPPINGS * 4096, PROT_READ | PROT_WRITE);
	return NULL;
}

/* Each piece lies across two pages, which are not there. */
static void *write_slowly(void *unused)
{
	size_t size = (PIECES + 1) * 8192;
	char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec pieces[PIECES];

	(void)unused;
	madvise(pages, size, MADV_NOHUGEPAGE);
	for (long i = 0; i < PIECES; i++)
		pieces[i] = (struct iovec){ pages + i * 8192 + 4095, 2 };
	while (writev(1, pieces, PIECES) > 0)
		madvise(pages, size, MADV_DONTNEED);
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = memfd_create("mapped", 0);
	size_t hold = argc > 2 ? (size_t)atoi(argv[2]) << 20 : 0;
	pthread_t thread;
	char *held;

	if (ftruncate(fd, 4096) < 0)
		return 1;
	many = mmap(NULL, MAPPINGS * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (long i = 0; i < MAPPINGS; i++)
		mmap(many + i * 4096, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	for (int i = 0; !hold && i < WRITERS; i++)
		pthread_create(&thread, NULL, write_slowly, NULL);
	for (int i = 0; i < CHANGERS; i++)
		pthread_create(&thread, NULL, change, NULL);
	held = malloc(hold);
	if (held)
		memset(held, 1, hold);
	for (;;)
		pause();
}
