// SPDX-License-Identifier: MIT
/* Other namespaces than one's own. */
#include "attack.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	static const char *const names[] = { "user", "mnt", "pid", "net", "ipc", "uts", "cgroup" };
	int pidfd = (int)syscall(SYS_pidfd_open, 1, 0);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[64];
		int fd;

		snprintf(path, sizeof(path), "/proc/1/ns/%s", names[i]);
		MUST_FAIL(path, open(path, O_RDONLY));
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		fd = open(path, O_RDONLY);
		MUST_FAIL(path, setns(fd, 0));
	}
	MUST_FAIL("setns of a pidfd", setns(pidfd, CLONE_NEWNS | CLONE_NEWPID));
	return attack_succeeded;
}
