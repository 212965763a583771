// SPDX-License-Identifier: MIT
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>

#include "base/sys.h"
#include "host/host.h"

int host_poll_timeout(uint64_t deadline)
{
	uint64_t now, left;

	if (deadline == HOST_NEVER)
		return -1;
	now = sys_now_ns();
	if (deadline <= now)
		return 0;
	left = (deadline - now + 999999) / 1000000;
	return left > INT_MAX ? INT_MAX : (int)left;
}

#define END_PATIENCE_NS 1000000000ULL
#define END_TIMEOUT_NS 9000000000ULL

static int wait_for(int fd, short events, uint64_t deadline)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	for (;;) {
		int n = poll(&poll_fd, 1, host_poll_timeout(deadline));

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (deadline != HOST_NEVER && sys_now_ns() >= deadline)
			return -ETIMEDOUT;
	}
}

int host_wait_readable(int fd, uint64_t deadline)
{
	return wait_for(fd, POLLIN, deadline);
}

int host_wait_dead(int pidfd)
{
	int r = host_wait_readable(pidfd, sys_now_ns() + END_PATIENCE_NS);

	if (r != -ETIMEDOUT)
		return r;
	sys_pidfd_send_signal(pidfd, SIGKILL); /* it may have been stopped */
	return host_wait_readable(pidfd, sys_now_ns() + END_TIMEOUT_NS);
}

int host_send(int socket, struct request *request, enum wire_type type, uint64_t deadline)
{
	for (;;) {
		int r = wire_send(socket, request->bytes, request->size, type, request->fds,
				  request->fds_count, 1);

		if (r != -EAGAIN)
			return r;
		r = wait_for(socket, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
}
