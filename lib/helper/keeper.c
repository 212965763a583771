// SPDX-License-Identifier: MIT
/*
 * The keeper: PID 1 of its own PID namespace, one for each host process, rootfs and kind of filter.
 * It builds the tree that guests share (keeper_tree.c), then makes a holder for each CREATE on the
 * control socket. It ends, and with it all guests, when the host does: that is seen by the host's
 * pidfd, since the socket's end never comes while a forked copy of the host still has it.
 *
 * It has two mount namespaces. In its own there is nothing of the host, so that a guest's start
 * does not depend on the host's mount table. Where binds have to be made by path (a host that is
 * not root), an earlier one that still has the host's tree at /host is kept, for guests with binds
 * only.
 *
 * Tearing a guest's mounts down takes the kernel milliseconds. So each guest's mount namespace is
 * held open: by the keeper, that of the few newest guests, and by the undertaker (undertaker.c),
 * that of others and, when the holder is dead, all, to close it.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "cache/cache.h"
#include "helper/helper.h"

const char *const keeper_masks[] = {
	"kcore",	 "keys",	  "key-users", "kallsyms",   "timer_list", "sched_debug",
	"latency_stats", "sysrq-trigger", "kmsg",      "kpagecount", "kpageflags", "vmallocinfo",
	"acpi",		 "scsi",	  "asound",    NULL,
};

struct keeper_guest {
	struct keeper_guest *next;
	pid_t pid;
	uint32_t number;
	int mount_ns; /* -EBADF: the undertaker keeps it */
};

/* A few, and those of most requests. With UNDERTAKER_KEEPS more, a table of fds is within the
 * kernel's struct files_struct, which has room for 64. */
#define KEEPER_OWN_FDS 48

/* The newest first. `late`: dead, and the undertaker has yet to be told. */
static struct keeper_guest *guests, *late, *unused;

#define GUESTS_AT_ONCE 128 /* are allocated, where no holder gets a copy of them */

static struct keeper_guest *guest_new(void)
{
	static struct keeper_guest *next, *end;
	struct keeper_guest *guest = unused;

	if (guest) {
		unused = guest->next;
		return guest;
	}
	if (next == end) {
		guest = calloc(GUESTS_AT_ONCE, sizeof(*guest));
		if (!guest)
			return NULL;
		memory_keep_from_forks(guest);
		next = guest;
		end = guest + GUESTS_AT_ONCE;
	}
	return next++;
}

static void guest_free(struct keeper_guest *guest)
{
	guest->next = unused;
	unused = guest;
}

/* Until the maps are written every id is 65534, and nothing can be created. */
static int become_root(struct guest_error *err)
{
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return error_make(err, errno, GUEST_STAGE_CREDENTIALS,
				  "becoming root of the user namespace");
	setgroups(
		0,
		NULL); /* EPERM where setgroups is denied; then the host's groups stay, unmapped */
	/* changing ids clears it, and with it the right to write the holders' uid_map */
	prctl(PR_SET_DUMPABLE, 1);
	setsid();
	return 0;
}

/* Any other error than a refusal says nothing about the next time. */
static bool may_open(int proc, const char *name, int mode)
{
	int fd = openat(proc, name, mode | O_NONBLOCK | O_CLOEXEC);
	bool refused = fd < 0 && (errno == ENOENT || errno == EACCES || errno == EPERM);

	fd_close(&fd);
	return !refused;
}

/* Which files of /proc can this user open at all? The others need no mask. */
static void find_masks(struct keeper *keeper)
{
	struct stat st;

	for (size_t i = 0; keeper_masks[i]; i++) {
		if (may_open(keeper->proc, keeper_masks[i], O_RDONLY) ||
		    may_open(keeper->proc, keeper_masks[i], O_WRONLY))
			keeper->masks |= 1U << i;
		if (fstatat(keeper->proc, keeper_masks[i], &st, 0) == 0 && S_ISDIR(st.st_mode))
			keeper->mask_directories |= 1U << i;
	}
}

/*
 * Inotify instances and watches count against the host's user as well, in each namespace up to the
 * host's: what all guests together may have stays below half of the host's default (128 instances),
 * and of what the host's user has (watches).
 */
static void cap_quotas(const struct keeper *keeper)
{
	char half[24];

	(void)fd_write_file_at(AT_FDCWD, "/proc/sys/user/max_inotify_instances", "64");
	(void)fd_write_file_at(AT_FDCWD, "/proc/sys/user/max_fanotify_groups", "8");
	if (keeper->watches < 0)
		return;
	snprintf(half, sizeof(half), "%ld", keeper->watches / 2);
	(void)fd_write_file_at(AT_FDCWD, "/proc/sys/user/max_inotify_watches", half);
}

/* From here on the keeper's own mount namespace has nothing of the host. */
static int leave_host_tree(struct keeper *keeper, struct guest_error *err)
{
	if (!keeper->map.privileged) {
		keeper->host_tree_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
		if (keeper->host_tree_ns < 0 || unshare(CLONE_NEWNS) < 0)
			return error_make(err, errno, GUEST_STAGE_MOUNT, "second mount namespace");
	}
	if (umount2("/host", MNT_DETACH) < 0)
		return error_make(err, errno, GUEST_STAGE_PIVOT_ROOT, "detaching the host's tree");
	keeper->mount_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	return keeper->mount_ns < 0 ?
		       error_make(err, errno, GUEST_STAGE_MOUNT, "/proc/self/ns/mnt") :
		       0;
}

/*
 * Some limits count for all processes of a user, in each user namespace up to the host's; there the
 * soft limit of who made the next namespace counts. The launcher has halved them, so that guests
 * together leave half to the host; a guest gets a part of that.
 */
static int share_limits(struct keeper *keeper, struct guest_error *err)
{
	struct rlimit files;

	for (size_t i = 0; i < HELPER_SHARED_LIMITS; i++)
		helper_divide_limit(helper_shared_limits[i], 4);
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return error_make(err, errno, GUEST_STAGE_RLIMIT, "RLIMIT_NOFILE");
	keeper->guest_fds =
		files.rlim_cur / 2 < KEEPER_OWN_FDS ? (int)(files.rlim_cur / 2) : KEEPER_OWN_FDS;
	return 0;
}

static int keeper_setup(struct keeper *keeper, const struct wire_start *start, int archive,
			int unpacker, int rootfs_tree, struct guest_error *err)
{
	static _Alignas(4096) char go[4096] HELPER_BEHIND(9); /* the place for a mapping */
	sigset_t child;
	int r = become_root(err);

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	keeper->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (r == 0 && keeper->signals < 0)
		r = error_make(err, errno, GUEST_STAGE_HELPER, "signalfd");
	if (r == 0)
		r = keeper_tree(keeper, start, archive, unpacker, rootfs_tree, err);
	if (r == 0)
		r = leave_host_tree(keeper, err);
	if (r == 0)
		r = confine_core(err);
	if (r == 0)
		r = confine_seccomp(start->flags & WIRE_START_NO_SECCOMP ? CONFINE_MINIMAL :
									   CONFINE_DEFAULT,
				    err);
	if (r == 0)
		r = undertaker_start(keeper, err);
	if (r == 0)
		r = share_limits(keeper, err);
	if (r < 0)
		return r;
	find_masks(keeper);
	cap_quotas(keeper);
	keeper->go = mmap(go, sizeof(go), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS |
				  (sysconf(_SC_PAGESIZE) == sizeof(go) ? MAP_FIXED : 0),
			  -1, 0);
	if (keeper->go == MAP_FAILED)
		return error_make(err, errno, GUEST_STAGE_MEMORY, "mmap");
	return 0;
}

static int remedy(struct guest_error *err)
{
	if (err->code == -ENOSPC)
		error_remedy(
			err,
			"raise sysctl user.max_user_namespaces, max_mnt_namespaces, max_net_namespaces...");
	else if (err->code == -EMFILE)
		error_remedy(err, "raise the hard limit RLIMIT_NOFILE");
	return err->code;
}

static pid_t clone_holder(const struct holder_plan *plan, int *ret_pidfd, struct guest_error *err)
{
	const struct keeper *keeper = plan->keeper;
	bool host_tree = plan->create->flags & WIRE_CREATE_HOST_TREE;
	unsigned long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS |
			      CLONE_NEWIPC | CLONE_PIDFD | SIGCHLD;
	pid_t pid;

	if (plan->create->flags & WIRE_CREATE_NET)
		flags |= CLONE_NEWNET;
	if (host_tree && sys_setns(keeper->host_tree_ns, CLONE_NEWNS) < 0)
		return error_make(err, errno, GUEST_STAGE_MOUNT_USER, "entering the host's tree");
	pid = sys_clone(flags, ret_pidfd);
	if (pid == 0)
		holder_main(plan);
	if (pid > 0)
		memory_populate_stack();
	else
		error_make(err, errno, GUEST_STAGE_CLONE, "a guest's namespaces");
	if (host_tree && sys_setns(keeper->mount_ns, CLONE_NEWNS) < 0)
		_exit(1); /* cannot go on with the host's tree in view */
	return pid < 0 ? remedy(err) : pid;
}

/* An fd of the new guest's mount namespace. The holder can be looked into only until its maps are
 * there. By a path it takes longer, and procfs makes objects that stay. */
static int open_mount_ns(const struct keeper *keeper, pid_t pid, int pidfd)
{
	int low = ioctl(pidfd, PIDFD_GET_MNT_NAMESPACE, 0), fd;
	char path[32];

	if (low < 0 && errno != EMFILE) { /* before Linux 6.11 */
		snprintf(path, sizeof(path), "%d/ns/mnt", pid);
		low = openat(keeper->proc, path, O_RDONLY | O_CLOEXEC);
	}
	fd = low < 0 ? low : fcntl(low, F_DUPFD_CLOEXEC, keeper->guest_fds);
	fd_close(&low);
	return fd;
}

/* The newest guests' mount namespaces, to the undertaker. If that is busy or dead, they end with
 * their holders, which takes longer. */
static void hand_over(struct keeper *keeper)
{
	uint32_t numbers[UNDERTAKER_KEEPS];
	struct keeper_guest *guest = guests;
	int fds[UNDERTAKER_KEEPS];

	for (size_t i = 0; i < keeper->held; i++, guest = guest->next) {
		numbers[i] = guest->number;
		fds[i] = fd_move(&guest->mount_ns);
	}
	(void)undertaker_keep(keeper, numbers, fds, keeper->held);
	wire_close_fds(fds, keeper->held);
	keeper->held = 0;
}

static int finish_holder(struct keeper *keeper, const struct wire_create *create, pid_t pid,
			 int pidfd, struct guest_error *err)
{
	struct keeper_guest *guest = guest_new();
	int r;

	if (!guest)
		return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "guest");
	guest->pid = pid;
	guest->number = keeper->created;
	guest->mount_ns = open_mount_ns(keeper, pid, pidfd);
	if (guest->mount_ns < 0) {
		error_make(err, errno, GUEST_STAGE_CLONE, "opening the guest's mount namespace");
		guest_free(guest);
		return remedy(err);
	}
	guest->next = guests;
	guests = guest;
	keeper->held++;
	r = idmap_write_nested(&keeper->map, keeper->proc, pid, create->uid, create->gid, err);
	if (r < 0)
		return r;
	/* holders of earlier numbers that have not run yet may go as well */
	__atomic_store_n(keeper->go, keeper->created, __ATOMIC_RELEASE);
	sys_futex_wake(keeper->go);
	if (keeper->held == UNDERTAKER_KEEPS)
		hand_over(keeper);
	return 0;
}

/* So many that some are where a new holder closes what is the keeper's. */
static bool many_fds(const struct keeper *keeper, const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= keeper->guest_fds)
			return true;
	return false;
}

static void create_guest(struct keeper *keeper, int *fds, size_t fds_count)
{
	struct guest_error err = { .size = sizeof(err) };
	struct holder_plan plan = {
		.keeper = keeper,
		.number = ++keeper->created,
		.create = &helper_message.create,
		.socket = fds[0],
		.trees = fds + 1,
		.trees_count = fds_count - 1,
	};
	int pidfd = -EBADF;
	pid_t pid;

	if (keeper->held > 0 && many_fds(keeper, fds, fds_count))
		hand_over(keeper);
	pid = clone_holder(&plan, &pidfd, &err);
	if (pid > 0 && finish_holder(keeper, &helper_message.create, pid, pidfd, &err) < 0)
		kill(pid, SIGKILL);
	fd_close(&pidfd);
	if (err.code < 0)
		wire_send_failed(fds[0], &err);
	wire_close_fds(fds, fds_count);
}

static void tell_late(const struct keeper *keeper)
{
	struct keeper_guest *guest;

	while (late && undertaker_close(keeper, late->number, -EBADF) != -EAGAIN) {
		guest = late;
		late = guest->next;
		guest_free(guest);
	}
}

static void bury(struct keeper *keeper, pid_t pid)
{
	struct keeper_guest **link = &guests, *guest;

	while (*link && (*link)->pid != pid)
		link = &(*link)->next;
	guest = *link;
	if (!guest)
		return;
	*link = guest->next;
	if (guest->mount_ns < 0) {
		guest->next = late;
		late = guest;
		tell_late(keeper);
		return;
	}
	(void)undertaker_close(keeper, guest->number, guest->mount_ns);
	fd_close(&guest->mount_ns);
	guest_free(guest);
	keeper->held--;
}

static void reap(struct keeper *keeper)
{
	struct signalfd_siginfo info;
	pid_t pid;

	(void)!read(keeper->signals, &info, sizeof(info));
	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		bury(keeper, pid);
}

/* A message of the host. Returns false when the host has closed the socket. */
static bool serve(struct keeper *keeper)
{
	int fds[WIRE_FDS_MAX], r;
	size_t fds_count = 0;

	r = wire_receive(keeper->control, &helper_message, sizeof(helper_message), fds, &fds_count,
			 1);
	if (r == WIRE_CREATE && fds_count >= 1 &&
	    helper_message.create.header.size >= sizeof(helper_message.create))
		create_guest(keeper, fds, fds_count);
	else if (r >= 0)
		wire_close_fds(fds, fds_count);
	return r != -EPIPE;
}

__attribute__((noreturn)) static void keeper_loop(struct keeper *keeper)
{
	struct pollfd poll_fds[4] = {
		{ .fd = keeper->control, .events = POLLIN },
		{ .fd = keeper->host, .events = POLLIN },
		{ .fd = keeper->signals, .events = POLLIN },
		{ .events = POLLOUT },
	};

	for (;;) {
		poll_fds[3].fd = late ? keeper->undertaker : -1;
		if (poll(poll_fds, 4, -1) < 0 && errno != EINTR)
			_exit(1);
		if (poll_fds[1].revents)
			_exit(0);
		if (poll_fds[2].revents)
			reap(keeper);
		if (poll_fds[3].revents)
			tell_late(keeper);
		if (poll_fds[0].revents && !serve(keeper))
			_exit(0);
	}
}

/* What guests have made belongs to ids that the host's user has for guests only. */
__attribute__((noreturn)) static void remove_main(struct keeper *keeper)
{
	struct guest_error err = { .size = sizeof(err) };
	int r = become_root(&err);

	if (r == 0)
		r = cache_empty_tree(keeper->remove);
	if (r < 0 && err.code == 0)
		error_make(&err, -r, GUEST_STAGE_CACHE, "removing an entry");
	if (r < 0)
		helper_fail(keeper->control, &err);
	_exit(wire_send_plain(keeper->control, WIRE_READY) < 0);
}

/* Not inlined: its place on the stack is for what serves requests. */
__attribute__((noinline)) static void begin(struct keeper *keeper, const struct wire_start *start,
					    int archive, int unpacker, int go)
{
	struct guest_error err = { .size = sizeof(err) };
	struct wire_plain ready;
	int fds[WIRE_FDS_MAX];
	size_t fds_count = 0;

	/* the launcher has written the maps; if it died instead, so do we */
	if (wire_receive(go, &ready, sizeof(ready), fds, &fds_count, 0) != WIRE_READY)
		_exit(1);
	fd_close(&go);
	keeper->host_tree_ns = -EBADF;
	if (keeper->remove >= 0)
		remove_main(keeper);
	if (keeper_setup(keeper, start, archive, unpacker, fds_count > 0 ? fds[0] : -EBADF, &err) <
	    0)
		helper_fail(keeper->control, &err);
	fd_close(&archive);
	fd_close(&unpacker);
	wire_close_fds(fds, fds_count);
	if (wire_send_plain(keeper->control, WIRE_READY) < 0)
		_exit(1);
}

__attribute__((noreturn)) void keeper_main(struct keeper *keeper, const struct wire_start *start,
					   int archive, int unpacker, int go)
{
	begin(keeper, start, archive, unpacker, go);
	keeper_loop(keeper);
}
