// SPDX-License-Identifier: MIT
/* What counts against a quota of the whole host, holds up the host's programs, or is memory where nobody looks. */
#include "attack.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4
#endif
#define CLOSE_RANGE_UNSHARE_FLAG 2

static void kernel_programs(void)
{
	struct sock_filter all = { BPF_RET | BPF_K, 0, 0, 0xffff };
	struct sock_fprog program = { 1, &all };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	MUST_BE("a socket", fd >= 0);
	MUST_FAIL_WITH("SO_ATTACH_FILTER", EPERM,
		       setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
	MUST_FAIL_WITH("high bits of it", EPERM,
		       syscall(SYS_setsockopt, fd, SOL_SOCKET | 0x100000000L, SO_ATTACH_FILTER | 0x100000000L, &program,
			       sizeof(program)));
	MUST_FAIL_WITH("SO_ATTACH_REUSEPORT_CBPF", EPERM,
		       setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)));
	MUST_FAIL_WITH("SO_ATTACH_BPF", EPERM, setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof(fd)));
	close(fd);
}

static void memory(void)
{
	MUST_FAIL_WITH("memfd_secret", ENOSYS, syscall(447, 0));
	MUST_FAIL_WITH("huge pages", ENOMEM,
		       mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
	MUST_FAIL_WITH("a memfd of huge pages", ENOMEM, syscall(SYS_memfd_create, "huge", MFD_HUGETLB));
	MUST_FAIL_WITH("a segment of huge pages", ENOMEM, shmget(IPC_PRIVATE, 2 << 20, IPC_CREAT | SHM_HUGETLB | 0600));
}

static void *leave_fds(void *unused)
{
	(void)unused;
	MUST_FAIL_WITH("fds of a thread", EPERM, unshare(CLONE_FILES));
	MUST_FAIL_WITH("the same, by close_range", EINVAL,
		       syscall(SYS_close_range, 1000, ~0U, CLOSE_RANGE_UNSHARE_FLAG));
	MUST_FAIL_WITH("a thread with fds of its own", EPERM,
		       syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, 0, 0, 0));
	return NULL;
}

int main(void)
{
	unsigned long context = 0;
	pthread_t thread;
	int fd = open("/lease", O_RDONLY | O_CREAT, 0600);

	MUST_FAIL_WITH("io_setup", ENOSYS, syscall(SYS_io_setup, 1, &context));
	if (fd >= 0)
		MUST_FAIL_WITH("F_SETLEASE", EPERM, fcntl(fd, F_SETLEASE, F_RDLCK));
	kernel_programs();
	memory();
	MUST_BE("a thread", pthread_create(&thread, NULL, leave_fds, NULL) == 0 && pthread_join(thread, NULL) == 0);
	return attack_succeeded;
}
