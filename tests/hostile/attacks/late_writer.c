// SPDX-License-Identifier: MIT
/*
 * Output that goes on after its run has ended. `late_writer take`: waits for an fd on an abstract socket, and writes
 * to it for ever. `late_writer give`: hands its stdout there, and ends.
 */
#include "attack.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void take(int listening)
{
	union control control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int fd;

	listen(listening, 5);
	printf("ready\n");
	fflush(stdout);
	if (recvmsg(accept(listening, NULL, NULL), &msg, 0) != 1)
		exit(2);
	memcpy(&fd, CMSG_DATA(&control.align), sizeof(fd));
	signal(SIGPIPE, SIG_IGN);
	for (;;)
		if (write(fd, "late\n", 5) < 0 && errno == EPIPE)
			break;
	printf("refused\n");
	exit(0);
}

static void give(int connected)
{
	union control control = { 0 };
	struct iovec iov = { (void *)"x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int fd = STDOUT_FILENO;

	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	if (sendmsg(connected, &msg, 0) != 1)
		exit(2);
	usleep(20000);
	exit(0);
}

int main(int argc, char **argv)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0late" };
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + 5;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (argc > 1 && strcmp(argv[1], "take") == 0 && bind(fd, (struct sockaddr *)&name, size) == 0)
		take(fd);
	if (argc > 1 && strcmp(argv[1], "give") == 0 && connect(fd, (struct sockaddr *)&name, size) == 0)
		give(fd);
	return 3;
}
