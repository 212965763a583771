// SPDX-License-Identifier: MIT
/* PID 1 by ptrace, its memory, its fds. */
#include "attack.h"

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

int main(void)
{
	static const char *const files[] = { "/proc/1/mem", "/proc/1/environ", "/proc/1/maps", "/proc/1/syscall",
					     "/proc/1/stack", "/proc/1/auxv" };
	char bytes[16];
	struct iovec here = { bytes, sizeof(bytes) }, there = { (void *)0x400000, sizeof(bytes) };
	int pidfd = (int)syscall(SYS_pidfd_open, 1, 0);

	MUST_FAIL("PTRACE_ATTACH", ptrace(PTRACE_ATTACH, 1, 0, 0));
	MUST_FAIL("PTRACE_SEIZE", ptrace(PTRACE_SEIZE, 1, 0, 0));
	MUST_FAIL("process_vm_readv", process_vm_readv(1, &here, 1, &there, 1, 0));
	MUST_FAIL("process_vm_writev", process_vm_writev(1, &here, 1, &there, 1, 0));
	for (int fd = 0; pidfd >= 0 && fd < 32; fd++)
		MUST_FAIL("pidfd_getfd", syscall(SYS_pidfd_getfd, pidfd, fd, 0));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int fd = open(files[i], O_RDONLY);

		if (fd >= 0 && read(fd, bytes, sizeof(bytes)) > 0) {
			printf("%s: can be read\n", files[i]);
			attack_succeeded = 1;
		}
		MUST_FAIL(files[i], open(files[i], O_RDWR));
	}
	return attack_succeeded;
}
