// SPDX-License-Identifier: MIT
/*
 * Keeping the lock of the pipes that a command's output and input come by: who else reads, writes, asks or closes them
 * then waits where no signal reaches it. splice(2) and sendfile(2) keep it while they wait for a socket.
 */
#include "attack.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	static char page[4096];
	int sockets[2], input = open("/proc/self/fd/0", O_WRONLY);

	MUST_BE("sockets", socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
	printf("something to be read\n");
	fflush(stdout);
	usleep(20000);
	MUST_BE("output", write(1, page, sizeof(page)) == sizeof(page));
	MUST_FAIL_WITH("splice, a socket to stdout", EINVAL, splice(sockets[0], NULL, 1, NULL, sizeof(page), 0));
	MUST_FAIL_WITH("sendfile, a socket to stdout", EINVAL, sendfile(1, sockets[0], NULL, sizeof(page)));
	MUST_FAIL_WITH("splice, a socket to stdin", EINVAL, splice(sockets[0], NULL, input, NULL, sizeof(page), 0));
	MUST_FAIL_WITH("sendfile, a socket to stdin", EINVAL, sendfile(input, sockets[0], NULL, sizeof(page)));
	MUST_FAIL_WITH("splice, stdin to a socket", EINVAL, splice(0, NULL, sockets[0], NULL, 1 << 20, 0));
#ifdef SYS_io_uring_setup
	MUST_FAIL_WITH("io_uring, which has a splice, too", ENOSYS, syscall(SYS_io_uring_setup, 1, page));
#endif
	return attack_succeeded;
}
