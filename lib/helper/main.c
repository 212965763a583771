// SPDX-License-Identifier: MIT
/*
 * The launcher: what the library execs. It makes the keeper in its new namespaces, writes the
 * keeper's id maps (only a process outside may), hands the keeper's pidfd to the host, and exits;
 * so the host has no child.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

#define KEEPER_STACK_SIZE 262144
#define OLD_STACK_REACH (2U << 20)

extern const char _end[]; /* of the program; the linker's */

/* A host that the kernel shall not kill for want of memory (proc(5)) would have guests that it
 * cannot: those of a control group whose limit they have met could then not even be ended so. */
static void be_no_exception(void)
{
	char text[16];

	if (fd_read_text_at(AT_FDCWD, "/proc/self/oom_score_adj", text, sizeof(text)) > 0 &&
	    text[0] == '-')
		(void)fd_write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", "0");
}

/*
 * The host may have given us anything: its stdio (which nobody shall wait for), fds, blocked or
 * ignored signals, an odd umask. Signals stay blocked in keepers and holders, which read them from
 * a signalfd. -errno if the host's fds cannot be closed, which guests must never have.
 */
static int normalise(void)
{
	/* what the host limited itself to is not for guests; and the keeper has an fd for each of
	 * them */
	static const int raised[] = { RLIMIT_AS, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE,
				      RLIMIT_NOFILE };
	sigset_t all;
	int null, r;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		if (null < 0)
			close(fd);
		else if (fd != null)
			dup2(null, fd);
	if (null > 2)
		close(null);
	fcntl(HELPER_CONTROL_FD, F_SETFD, FD_CLOEXEC);
	r = sys_close_range(HELPER_CONTROL_FD + 1, ~0U, 0) < 0 ? -errno : 0;
	umask(022);
	be_no_exception();
	for (size_t i = 0; i < sizeof(raised) / sizeof(raised[0]); i++) {
		struct rlimit limit;

		if (getrlimit(raised[i], &limit) < 0)
			continue;
		limit.rlim_cur = limit.rlim_max;
		setrlimit(raised[i], &limit);
	}
	for (size_t i = 0; i < HELPER_SHARED_LIMITS; i++)
		helper_divide_limit(helper_shared_limits[i], 2);
	/* cleared if the host is a set-user-ID program; without it the keeper's uid_map belongs to
	 * root */
	prctl(PR_SET_DUMPABLE, 1);
	prctl(PR_SET_NAME, "guest-keeper");
	return r;
}

static long read_number(const char *file)
{
	char text[24] = "";
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	fd_close(&fd);
	return n <= 0 ? -1 : strtol(text, NULL, 10);
}

/* A kernel or a host can refuse user namespaces in several ways; each has its own remedy. */
static int explain_clone(int errnum, struct guest_error *err)
{
	int r = error_make(err, errnum, GUEST_STAGE_CLONE, "user namespace");
	struct stat root, real_root;

	if (errnum == ENOSPC || errnum == EUSERS)
		return error_remedy(err,
				    "user namespaces are off or used up on this host: raise sysctl "
				    "user.max_user_namespaces (it is 0 or reached)");
	if (errnum == EINVAL || errnum == ENOSYS)
		return error_remedy(
			err, "this kernel is built without user namespaces (CONFIG_USER_NS)");
	if (errnum != EPERM && errnum != EACCES)
		return r;
	if (read_number("/proc/sys/kernel/unprivileged_userns_clone") == 0)
		return error_remedy(err, "sysctl kernel.unprivileged_userns_clone=1 allows it");
	if (prctl(PR_GET_SECCOMP) > 0)
		return error_remedy(
			err,
			"a seccomp filter of the container refuses it: run the container with "
			"one that allows user namespaces (docker: --security-opt seccomp=...)");
	if (stat("/", &root) == 0 && stat("/proc/1/root/", &real_root) == 0 &&
	    (root.st_ino != real_root.st_ino || root.st_dev != real_root.st_dev))
		return error_remedy(err,
				    "this program runs in a chroot, where the kernel refuses user "
				    "namespaces: use pivot_root or a container instead");
	return error_remedy(
		err, "this process runs in a chroot, has no id of its own, or a security module "
		     "forbids user namespaces");
}

/*
 * The keeper's stack lies beside its variables, so that a fork of it copies one page table: those
 * of the kernel's places for stacks and mappings would be six pages more.
 */
static pid_t clone_keeper(int (*begin)(void *), void *argument, int *ret_pidfd)
{
	static _Alignas(4096) char stack[KEEPER_STACK_SIZE + HELPER_STACK_SHARE] HELPER_BEFORE(0);

	return clone(begin, stack + sizeof(stack),
		     CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_PIDFD | SIGCHLD, argument,
		     ret_pidfd);
}

/* A rootfs directory of a host that is root, mounted so that the keeper's root owns what the host's
 * owns. Read-only, unless it is to be filled. */
static int idmapped_rootfs(int rootfs, bool fill, int user_ns, struct guest_error *err)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			    (fill ? 0 : MOUNT_ATTR_RDONLY),
		.propagation = MS_PRIVATE, /* as the root of the unpacker, it must not be shared */
		.userns_fd = (uint64_t)user_ns,
	};
	int tree = sys_open_tree(rootfs, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	int r;

	if (tree < 0)
		return error_make(err, errno, GUEST_STAGE_ROOTFS,
				  "open_tree of the rootfs directory");
	if (sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) == 0)
		return tree;
	r = error_make(err, errno, GUEST_STAGE_ROOTFS,
		       "the rootfs directory cannot be mounted idmapped");
	if (r == -EINVAL)
		r = error_remedy(
			err,
			"its file system cannot do that on this kernel: give a tar of it, put it on "
			"ext4, xfs or btrfs, or run as an ordinary user");
	fd_close(&tree);
	return r;
}

/* The procfs of our PID namespace. In another one's, a child's number would be somebody else. */
static int open_own_proc(struct guest_error *err)
{
	char self[16] = "";
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (proc >= 0 && readlinkat(proc, "self", self, sizeof(self) - 1) > 0 &&
	    strtol(self, NULL, 10) == getpid())
		return proc;
	fd_close(&proc);
	error_text(err, ENOENT, GUEST_STAGE_UID_MAP,
		   "/proc is missing, or of another PID namespace");
	return error_remedy(err, "mount -t proc proc /proc");
}

static int end_at_once(void *argument)
{
	(void)argument;
	return 0;
}

/* Where no user namespace can be made at all, that is the reason to tell. Keeps `err` otherwise. */
static void probe_clone(struct guest_error *err)
{
	int pidfd = -EBADF;
	pid_t pid = clone_keeper(end_at_once, NULL, &pidfd);

	if (pid < 0)
		explain_clone(errno, err);
	else
		waitpid(pid, NULL, 0);
	fd_close(&pidfd);
}

struct launch {
	const struct wire_start *start;
	int directory, archive, unpacker, proc;
	int go[2];	   /* how the keeper hears that it has its maps */
	const void *stack; /* ours, of which the keeper has a copy */
	struct keeper keeper;
};

static int begin_keeper(void *argument)
{
	struct launch *launch = argument;
	uintptr_t beyond = ((uintptr_t)_end + 4095) & ~(uintptr_t)4095;

	/* all there is, which is the stack, and the vDSO with its variables */
	madvise((void *)beyond, (uintptr_t)launch->stack + OLD_STACK_REACH - beyond, MADV_DONTFORK);
	fd_close(&launch->go[0]);
	fd_close(&launch->proc);
	keeper_main(&launch->keeper, launch->start, launch->archive, launch->unpacker,
		    launch->go[1]);
}

/* Clone the keeper, write its maps, tell it to go on. */
static int launch_once(struct launch *launch, struct guest_error *err)
{
	const struct idmap *map = &launch->keeper.map;
	struct wire_keeper answer = {
		.ids_count = map->ids_count,
		.uid = map->lines[0].outside,
		.gid = map->gid_outside[0],
	};
	bool fill = launch->start->rootfs == WIRE_ROOTFS_FILL;
	int fds[2] = { -1, -1 }, tree = -EBADF, *go = launch->go, r;
	struct wire_plain plain;
	char path[32];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, go) < 0)
		return error_make(err, errno, GUEST_STAGE_HELPER, "socketpair");
	launch->stack = &pid;
	pid = clone_keeper(begin_keeper, launch, &fds[0]);
	if (pid < 0)
		return explain_clone(errno, err);
	close(go[1]);
	answer.pid = pid;
	idmap_stored(map, answer.stored_ids);
	r = idmap_write(&launch->keeper.map, launch->proc, pid, err);
	if (r == 0 && launch->keeper.map.privileged) {
		snprintf(path, sizeof(path), "%d/ns/user", pid);
		fds[1] = openat(launch->proc, path, O_RDONLY | O_CLOEXEC);
		if (fds[1] < 0 && launch->directory >= 0)
			r = error_make(err, errno, GUEST_STAGE_UID_MAP, "opening ns/user");
	}
	if (r == 0 && fds[1] >= 0 && launch->directory >= 0) {
		tree = idmapped_rootfs(launch->directory, fill, fds[1], err);
		r = tree < 0 ? tree : 0;
	}
	if (r == 0)
		r = wire_send(launch->keeper.control, &answer, sizeof(answer), WIRE_KEEPER, fds,
			      fds[1] >= 0 ? 2 : 1, 0);
	if (r == 0)
		r = wire_send(go[0], &plain, sizeof(plain), WIRE_READY, &tree, tree >= 0 ? 1 : 0,
			      0);
	if (r < 0 && err->code == 0)
		error_make(err, -r, GUEST_STAGE_HELPER, "handing the keeper over");
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	close(go[0]);
	return r;
}

int main(void)
{
	static struct launch launch;
	struct guest_error err = { .size = sizeof(err) };
	int fds[WIRE_FDS_MAX], r, closed = normalise();
	size_t fds_count, n = 1;

	r = wire_receive(HELPER_CONTROL_FD, &helper_message, sizeof(helper_message), fds,
			 &fds_count, 0);
	if (r == WIRE_JANITOR)
		janitor_main(&helper_message.janitor, fds, fds_count);
	if (r != WIRE_START || fds_count < 2)
		return 1;
	launch.start = &helper_message.start;
	launch.keeper.control = HELPER_CONTROL_FD;
	launch.keeper.host = fds[0];
	launch.directory = launch.keeper.remove = -EBADF;
	if (launch.start->rootfs == WIRE_ROOTFS_REMOVE)
		launch.keeper.remove = fds[n++];
	else if (launch.start->rootfs != WIRE_ROOTFS_ARCHIVE)
		launch.directory = fds[n++];
	launch.archive = n + 1 < fds_count ? fds[n] : -EBADF;
	launch.unpacker = n + 1 < fds_count ? fds[n + 1] : -EBADF;
	if (closed < 0) {
		error_make(&err, -closed, GUEST_STAGE_HELPER, "close_range");
		helper_fail(HELPER_CONTROL_FD, &err);
	}
	launch.keeper.watches = read_number("/proc/sys/user/max_inotify_watches");
	launch.keeper.suid_dumpable = read_number("/proc/sys/fs/suid_dumpable");
	r = launch.proc = open_own_proc(&err);
	if (r >= 0)
		r = idmap_plan(&launch.keeper.map, &err);
	if (r < 0)
		probe_clone(&err);
	else
		r = launch_once(&launch, &err);
	if (r < 0 && launch.keeper.map.by_newuidmap && err.stage == GUEST_STAGE_UID_MAP) {
		idmap_single(&launch.keeper.map);
		r = launch_once(&launch, &err);
	}
	if (r < 0)
		helper_fail(HELPER_CONTROL_FD, &err);
	return 0;
}
