// SPDX-License-Identifier: MIT
/*
 * Tricks with the pipes that the host reads: packets, other sizes, signals, readers of one's own, processes that hold
 * them, buffers that change after they were handed over. What is written as output is "done\n".
 */
#include "attack.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

int main(void)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov = { page, 5 };
	int reader, null;

	fcntl(1, F_SETPIPE_SZ, 1 << 20);
	fcntl(2, F_SETPIPE_SZ, 4096);
	fcntl(1, F_SETOWN, getpid());
	fcntl(1, F_SETSIG, SIGURG);
	fcntl(1, F_SETFL, O_NONBLOCK | O_ASYNC | O_DIRECT);
	fcntl(0, F_SETFL, O_NONBLOCK | O_ASYNC);
	reader = open("/proc/self/fd/1", O_RDONLY | O_NONBLOCK);
	null = open("/dev/null", O_RDWR);
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			setsid();
			for (int fd = 3; fd < 500; fd++)
				dup2(1, fd);
			for (;;)
				pause();
		}
	memcpy(page, "done\n", 5);
	MUST_BE("output", vmsplice(1, &iov, 1, 0) == 5);
	tee(reader, 2, 1, SPLICE_F_NONBLOCK);
	close(reader);
	dup2(null, 1);
	dup2(null, 2);
	usleep(20000);
	return 0;
}
