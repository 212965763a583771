// SPDX-License-Identifier: MIT
/*
 * The unpacker reads what may be a hostile archive with large libraries. So it runs in mount, PID,
 * network and IPC namespaces of its own, with the template as its whole world, four capabilities
 * over files, a bounded address space, and the filter that guests have. How much it writes is
 * capped by the template's tmpfs; in a directory of a cache, which has no such cap, by itself
 * alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

#define UNPACK_CAPABILITIES \
	(1U << CAP_CHOWN | 1U << CAP_DAC_OVERRIDE | 1U << CAP_FOWNER | 1U << CAP_FSETID)
#define MAX_ERRNO 4095
#define UNPACK_MEMORY_MIB "512" /* for the decoder: its own default */
#define UNPACK_ADDRESS_SPACE (4ULL << 30)

static int confine(struct guest_error *err)
{
	struct rlimit address_space = { UNPACK_ADDRESS_SPACE, UNPACK_ADDRESS_SPACE };
	struct rlimit inherited;
	int r;

	if (chdir("/template") < 0 || sys_pivot_root(".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return error_make(err, errno, GUEST_STAGE_PIVOT_ROOT, "unpacker");
	if (getrlimit(RLIMIT_AS, &inherited) == 0 && inherited.rlim_max < UNPACK_ADDRESS_SPACE)
		address_space = inherited;
	if (setrlimit(RLIMIT_AS, &address_space) < 0)
		return error_make(err, errno, GUEST_STAGE_RLIMIT, "unpacker");
	r = confine_core(err);
	if (r == 0)
		r = confine_bounding_set(UNPACK_CAPABILITIES, err);
	return r < 0 ? r : confine_seccomp(CONFINE_DEFAULT, err);
}

__attribute__((noreturn)) static void become_unpacker(const struct keeper *keeper,
						      const struct wire_start *start, int archive,
						      int unpacker, int report)
{
	struct guest_error err = { .size = sizeof(err) };
	bool fill = start->rootfs == WIRE_ROOTFS_FILL;
	char ids[16], mib[24], inodes[24];
	char *argv[] = { "guest-unpack", ids, fill ? UNPACK_MEMORY_MIB : NULL, mib, inodes, NULL };
	int exec_fd = fcntl(unpacker, F_DUPFD_CLOEXEC, 10);

	if (confine(&err) == 0) {
		snprintf(ids, sizeof(ids), "%u", keeper->map.ids_count);
		snprintf(mib, sizeof(mib), "%u", (uint32_t)((start->rootfs_bytes >> 20) + 1));
		snprintf(inodes, sizeof(inodes), "%llu", (unsigned long long)start->rootfs_inodes);
		dup2(archive, 0);
		if (report == HELPER_CONTROL_FD)
			fcntl(report, F_SETFD, 0);
		else
			dup2(report, HELPER_CONTROL_FD);
		sys_execveat(exec_fd, "", argv, (char *[]){ NULL }, AT_EMPTY_PATH);
		error_make(&err, errno, GUEST_STAGE_UNPACK, "starting the unpacker");
		report = HELPER_CONTROL_FD;
	}
	(void)fd_write_all(report, &err, sizeof(err));
	_exit(1);
}

int unpack_start(struct keeper *keeper, const struct wire_start *start, int archive, int unpacker,
		 struct guest_error *err)
{
	int report[2];
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) < 0)
		return error_make(err, errno, GUEST_STAGE_UNPACK, "pipe");
	pid = sys_clone(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | SIGCHLD, NULL);
	if (pid == 0)
		become_unpacker(keeper, start, archive, unpacker, report[1]);
	close(report[1]);
	keeper->unpacker = pid;
	if (pid > 0)
		return report[0];
	error_make(err, errno, GUEST_STAGE_UNPACK, "clone");
	close(report[0]);
	return err->code;
}

/* 0, or -ENODATA if it ended without one. The host may die meanwhile, and we with it. */
static int read_report(const struct keeper *keeper, int report, struct guest_error *told)
{
	struct pollfd poll_fds[] = { { .fd = report, .events = POLLIN },
				     { .fd = keeper->host, .events = POLLIN } };
	size_t size = 0;

	while (size < sizeof(*told)) {
		ssize_t n;

		if (poll(poll_fds, 2, -1) < 0)
			continue;
		if (poll_fds[1].revents)
			_exit(0);
		n = read(report, (char *)told + size, sizeof(*told) - size);
		if (n <= 0)
			return -ENODATA;
		size += (size_t)n;
	}
	return 0;
}

int unpack_wait(const struct keeper *keeper, int report, struct guest_error *err)
{
	struct guest_error told;
	int r = read_report(keeper, report, &told);

	kill(keeper->unpacker, SIGKILL); /* it has nothing more to do */
	waitpid(keeper->unpacker, NULL, 0);
	if (r < 0)
		return error_text(
			err, EBADMSG, GUEST_STAGE_UNPACK,
			"the unpacker died: the archive is damaged or hostile, or memory ran out");
	if (told.code == 0)
		return 0;
	/* it may have been taken over: nothing of this is believed but that it failed */
	told.message[sizeof(told.message) - 1] = '\0';
	r = told.code < 0 && told.code > -MAX_ERRNO ? told.code : -EPROTO;
	error_text(err, -r, told.stage == GUEST_STAGE_ROOTFS ? told.stage : GUEST_STAGE_UNPACK,
		   "%s", told.message);
	err->sys_errno = told.sys_errno;
	return r;
}
