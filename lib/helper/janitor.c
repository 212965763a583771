// SPDX-License-Identifier: MIT
/*
 * The janitor: a process outside the control groups of a keeper, that removes them when the host is
 * gone; nobody else is left then who could. The host's own end of it is not needed: the host
 * removes them itself and closes the socket.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "cgroup/cgroup.h"
#include "helper/helper.h"

/* Back to where the host was before it was moved into a leaf, so that the leaf can go. */
static void remove_host_leaf(int level, const char *leaf)
{
	(void)fd_write_file_at(level, "cgroup.subtree_control", "-memory -pids -cpu -io");
	(void)fd_write_file_at(level, "cgroup.procs", "0");
	(void)unlinkat(level, leaf, AT_REMOVEDIR);
}

__attribute__((noreturn)) void janitor_main(const struct wire_janitor *message, int *fds,
					    size_t fds_count)
{
	const char *tree = wire_string(message, message->tree);
	const char *leaf = wire_string(message, message->host_leaf);
	struct pollfd poll_fds[2] = { { .fd = HELPER_CONTROL_FD, .events = POLLIN },
				      { .fd = fds_count > 0 ? fds[0] : -1, .events = POLLIN } };
	struct wire_plain ready;
	int self;

	if (fds_count != 2 || !tree)
		_exit(1);
	switch (fork()) {
	case -1:
		_exit(1);
	case 0:
		break;
	default:
		_exit(0); /* the host has no child */
	}
	prctl(PR_SET_NAME, "guest-janitor");
	setsid();
	self = sys_pidfd_open(getpid(), 0);
	if (self < 0 ||
	    wire_send(HELPER_CONTROL_FD, &ready, sizeof(ready), WIRE_READY, &self, 1, 1) < 0)
		_exit(1);
	fd_close(&self);
	while (!poll_fds[0].revents && !poll_fds[1].revents)
		(void)poll(poll_fds, 2, -1);
	(void)cgroup_remove(fds[1], tree);
	if (poll_fds[1].revents && leaf)
		remove_host_leaf(fds[1], leaf);
	_exit(0);
}
