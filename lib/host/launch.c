// SPDX-License-Identifier: MIT
/*
 * Starting the helper from a program of any size, with any number of threads: vfork-style, so that
 * nothing is copied and only system calls run in the child until it execs.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"
#include "host/host.h"
#include "payload/payload.h"

#define CONTROL_FD 3 /* HELPER_CONTROL_FD */
#define STACK_SIZE 32768
#define KERNEL_SIGSET_SIZE (_NSIG / 8)

struct child {
	int program, control;
	int errnum; /* written by the child, in our memory */
};

static int child_main(void *argument)
{
	struct child *child = argument;
	char *argv[] = { (char *)"guest-helper", NULL }, *envp[] = { NULL };
	int program = child->program;

	if (program == CONTROL_FD)
		program = fcntl(program, F_DUPFD_CLOEXEC, CONTROL_FD + 1);
	if (program >= 0 && (child->control == CONTROL_FD ? fcntl(CONTROL_FD, F_SETFD, 0) :
							    dup2(child->control, CONTROL_FD)) >= 0)
		sys_execveat(program, "", argv, envp, AT_EMPTY_PATH);
	child->errnum = errno;
	_exit(127);
}

/* Signal handlers of the host must not run in the child, which shares its memory. libc keeps some
 * out of reach. */
static int clone_and_exec(struct child *child, int *ret_pidfd)
{
	uint64_t all = UINT64_MAX, before;
	char *stack = malloc(STACK_SIZE);
	int pid, saved;

	if (!stack) {
		errno = ENOMEM;
		return -1;
	}
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, KERNEL_SIGSET_SIZE);
	pid = clone(child_main, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
		    child, ret_pidfd);
	saved = errno;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, KERNEL_SIGSET_SIZE);
	free(stack);
	errno = saved;
	return pid;
}

/* Where Ubuntu's AppArmor restricts user namespaces, only a program with a profile, by its path,
 * may use them. */
static bool wants_path(void)
{
	cleanup_fd int fd = open("/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
				 O_RDONLY | O_CLOEXEC);
	char value;

	return fd >= 0 && read(fd, &value, 1) == 1 && value == '1' && geteuid() != 0;
}

int host_launch(int *ret_pidfd, pid_t *ret_pid, struct guest_error *err)
{
	cleanup_fd int program = payload_open_program(&payload_helper, wants_path(), err);
	cleanup_fd int ours = -EBADF;
	cleanup_fd int theirs = -EBADF;
	struct child child;
	int sockets[2], pidfd = -EBADF, moved = -EBADF, errnum;

	if (program < 0)
		return program;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return error_make(err, errno, GUEST_STAGE_HELPER, "socketpair");
	ours = fd_above_stdio(sockets[0]);
	theirs = fd_above_stdio(sockets[1]);
	if (ours < 0 || theirs < 0)
		return error_make(err, errno, GUEST_STAGE_HELPER, "socketpair");
	child = (struct child){ .program = program, .control = theirs };
	*ret_pid = clone_and_exec(&child, &pidfd);
	if (*ret_pid < 0)
		return error_make(err, errno, GUEST_STAGE_HELPER, "clone");
	errnum = child.errnum;
	if (!errnum && pidfd <= 2) {
		moved = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
		errnum = moved < 0 ? errno : 0;
	}
	if (errnum) {
		shutdown(ours, SHUT_RDWR); /* it ends, if it runs at all */
		host_launch_wait(&pidfd);
		return error_make(err, errnum, GUEST_STAGE_HELPER, "starting the helper");
	}
	if (moved >= 0) {
		fd_close(&pidfd);
		pidfd = moved;
	}
	*ret_pidfd = pidfd;
	return fd_move(&ours);
}

void host_launch_wait(int *pidfd)
{
	siginfo_t info;

	/* ECHILD: somebody else has reaped it, or SIGCHLD is ignored */
	while (*pidfd >= 0 && waitid(P_PIDFD, (id_t)*pidfd, &info, WEXITED | __WALL) < 0 &&
	       errno == EINTR)
		;
	fd_close(pidfd);
}
