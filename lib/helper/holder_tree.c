// SPDX-License-Identifier: MIT
/*
 * A guest's tree, by mount(2): a tmpfs with the guest's caps at /guest, in it the writable layer of
 * an overlay over the keeper's /template, and on that overlay /proc, /dev and what the caller
 * wants; that then becomes the root.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

#define ROOT "/guest/root"
#define UPPER "/guest/upper"

/* As the embedded rootfs has it. */
#define NO_SERVERS "# No name servers: a guest has no network of its own.\n"

static int make_directory(const char *path, mode_t mode, struct guest_error *err)
{
	if (mkdir(path, mode) == 0)
		return 0;
	return error_make(err, errno, GUEST_STAGE_MOUNT, "mkdir %s", path);
}

/* The writable layer's own directories: what the overlay needs, and what the rootfs lacks. */
static int make_layer(const struct holder_plan *plan, struct guest_error *err)
{
	const struct {
		const char *path;
		mode_t mode;
		bool wanted;
	} places[] = {
		{ "/guest/root", 0755, true },
		{ "/guest/work", 0755, true },
		{ "/guest/shm", 01777, true },
		{ "/guest/tmp", 01777, true },
		{ "/guest/upper", 0755, true },
		{ "/guest/upper/proc", 0555, plan->keeper->template & KEEPER_MISSING_PROC },
		{ "/guest/upper/dev", 0755, plan->keeper->template & KEEPER_MISSING_DEV },
		{ "/guest/upper/tmp", 01777, plan->keeper->template & KEEPER_MISSING_TMP },
		{ "/guest/upper/run", 0755, plan->keeper->template & KEEPER_MISSING_RUN },
	};
	char data[96];
	int r;

	snprintf(data, sizeof(data), "mode=755,size=%llu,nr_inodes=%llu",
		 (unsigned long long)plan->create->writable_bytes,
		 (unsigned long long)plan->create->writable_inodes);
	r = helper_mount("guest", "/guest", "tmpfs", MS_NOSUID | MS_NODEV, data, GUEST_STAGE_MOUNT,
			 err);
	umask(0);
	for (size_t i = 0; r == 0 && i < sizeof(places) / sizeof(places[0]); i++)
		if (places[i].wanted)
			r = make_directory(places[i].path, places[i].mode, err);
	umask(022);
	return r;
}

static int write_file(const char *name, const char *text, struct guest_error *err)
{
	char path[48];
	int fd, r;

	snprintf(path, sizeof(path), UPPER "%s", name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
	fd_close(&fd);
	return r < 0 ? error_make(err, -r, GUEST_STAGE_MOUNT, "writing %s", name) : 0;
}

/* Written into the layer before the overlay is there, so that nothing of the rootfs is followed. */
static int write_etc(const struct holder_plan *plan, struct guest_error *err)
{
	const char *hostname = wire_string(plan->create, plan->create->hostname);
	const char *resolv_conf = wire_string(plan->create, plan->create->resolv_conf);
	char name[80], hosts[160];
	const char *const texts[KEEPER_ETC] = { name, hosts,
						resolv_conf ? resolv_conf : NO_SERVERS };
	bool have_etc = false;
	int r = 0;

	snprintf(name, sizeof(name), "%s\n", hostname);
	snprintf(hosts, sizeof(hosts),
		 "127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost ip6-loopback\n", hostname);
	for (size_t i = 0; r == 0 && i < KEEPER_ETC; i++) {
		const char *have = plan->keeper->etc[i];

		if (have[0] && strcmp(have, texts[i]) == 0)
			continue;
		if (!have_etc)
			r = make_directory(UPPER "/etc", 0755, err);
		have_etc = true;
		if (r == 0)
			r = write_file(keeper_etc[i], texts[i], err);
	}
	return r;
}

static int mount_overlay(struct guest_error *err)
{
	int r = helper_mount(
		"overlay", ROOT, "overlay", MS_NOSUID | MS_NODEV,
		"lowerdir=/template,upperdir=/guest/upper,workdir=/guest/work,userxattr",
		GUEST_STAGE_MOUNT_OVERLAY, err);

	if (r == -EPERM || r == -ENODEV || r == -EINVAL)
		return error_remedy(
			err, r == -ENODEV ?
				     "load the kernel module: modprobe overlay" :
				     "overlayfs in a user namespace needs Linux 5.11 or later");
	return r;
}

/* The kernel has 3072 pseudo-terminals (sysctl kernel.pty.max) for all guests together. */
static int mount_devices(const struct holder_plan *plan, struct guest_error *err)
{
	const char *pts = plan->keeper->map.ids_count > 5 ?
				  "newinstance,ptmxmode=0666,mode=0620,max=256,gid=5" :
				  "newinstance,ptmxmode=0666,mode=0620,max=256";
	int r;

	r = helper_mount("/dev", ROOT "/dev", NULL, MS_BIND | MS_REC, NULL, GUEST_STAGE_MOUNT, err);
	if (r == 0)
		r = helper_mount("devpts", ROOT "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, pts,
				 GUEST_STAGE_MOUNT, err);
	if (r == 0)
		r = helper_mount("/guest/shm", ROOT "/dev/shm", NULL, MS_BIND, NULL,
				 GUEST_STAGE_MOUNT, err);
	return r;
}

/*
 * A plain tmpfs is faster than an overlay, and inode numbers of directories are the same to stat(2)
 * and to readdir(3) in it. It is the guest's own, so that one cap holds for all.
 */
static int mount_tmp(const struct holder_plan *plan, struct guest_error *err)
{
	if (plan->keeper->template & KEEPER_TMP_IN_USE)
		return 0;
	return helper_mount("/guest/tmp", ROOT "/tmp", NULL, MS_BIND, NULL, GUEST_STAGE_MOUNT, err);
}

static int mask_proc(const struct holder_plan *plan, struct guest_error *err)
{
	char path[64];
	int r = 0;

	for (size_t i = 0; r == 0 && keeper_masks[i]; i++) {
		if (!(plan->keeper->masks >> i & 1))
			continue;
		snprintf(path, sizeof(path), ROOT "/proc/%s", keeper_masks[i]);
		r = helper_mount(plan->keeper->mask_directories >> i & 1 ? "/empty" : "/dev/null",
				 path, NULL, MS_BIND, NULL, GUEST_STAGE_MOUNT_PROC, err);
	}
	return r;
}

/*
 * What the kernel counts per user on the host too, and nested user namespaces, by which a command
 * would get capabilities anew. Files that this kernel does not have are no gap.
 */
static int cap_quotas(struct guest_error *err)
{
	int r = fd_write_file_at(AT_FDCWD, ROOT "/proc/sys/user/max_user_namespaces", "0");

	if (r == 0 || r == -ENOENT)
		r = fd_write_file_at(AT_FDCWD, ROOT "/proc/sys/user/max_inotify_instances", "32");
	return r == 0 || r == -ENOENT ?
		       0 :
		       error_make(err, -r, GUEST_STAGE_MOUNT_PROC, "writing /proc/sys/user");
}

static int mount_proc(const struct holder_plan *plan, struct guest_error *err)
{
	int r;

	r = helper_mount("proc", ROOT "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL,
			 GUEST_STAGE_MOUNT_PROC, err);
	if (r < 0)
		return r;
	r = cap_quotas(err);
	if (r == 0)
		r = helper_mount(ROOT "/proc/sys", ROOT "/proc/sys", NULL, MS_BIND, NULL,
				 GUEST_STAGE_MOUNT_PROC, err);
	if (r == 0)
		r = helper_mount(NULL, ROOT "/proc/sys", NULL,
				 MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV |
					 MS_NOEXEC,
				 NULL, GUEST_STAGE_MOUNT_PROC, err);
	return r < 0 ? r : mask_proc(plan, err);
}

static int apply_mounts(const struct holder_plan *plan, struct guest_error *err)
{
	int root, r;

	if (plan->create->mounts_count == 0)
		return 0;
	root = open(ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_make(err, errno, GUEST_STAGE_MOUNT_USER, "opening the root");
	r = mounts_apply(plan, root, err);
	fd_close(&root);
	return r;
}

/* pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, and is
 * detached. */
static int change_root(struct guest_error *err)
{
	if (sys_pivot_root(".", ".") < 0)
		return error_make(err, errno, GUEST_STAGE_PIVOT_ROOT, "guest");
	if (sys_umount2(".", MNT_DETACH) < 0)
		return error_make(err, errno, GUEST_STAGE_PIVOT_ROOT, "detaching the old root");
	return 0;
}

/*
 * On top of the old root, where it lies for good, as switch_root(8) does it. Above the topmost
 * mount no path leads, and only who may mount could take that away. Detaching would have us wait
 * until every CPU has let go of the old tree (RCU), which takes a busy machine a millisecond.
 */
static int cover_root(struct guest_error *err)
{
	if (sys_mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
		return error_make(err, errno, GUEST_STAGE_PIVOT_ROOT, "guest");
	return 0;
}

static int enter(const struct holder_plan *plan, struct guest_error *err)
{
	/* who may mount, or has the host's tree below, which is better gone */
	bool detach = plan->create->capabilities >> CAP_SYS_ADMIN & 1 ||
		      plan->create->flags & WIRE_CREATE_HOST_TREE;
	int r;

	if (chdir(ROOT) < 0)
		return error_make(err, errno, GUEST_STAGE_PIVOT_ROOT, "guest");
	r = detach ? change_root(err) : cover_root(err);
	if (r == 0 && chdir("/") < 0)
		r = error_make(err, errno, GUEST_STAGE_PIVOT_ROOT, "chdir /");
	return r;
}

/*
 * The guest's /proc or, where something is or could be mounted below it that hides what we look at,
 * a mount of our own: at our end, the kernel waits for an RCU grace period before that is gone.
 */
static int open_proc(const struct holder_plan *plan)
{
	if (plan->create->capabilities >> CAP_SYS_ADMIN & 1 || plan->create->mounts_count > 0)
		return sys_open_tree(AT_FDCWD, ROOT "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return open(ROOT "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int holder_tree(const struct holder_plan *plan, struct guest_error *err)
{
	int proc, r;

	r = make_layer(plan, err);
	if (r == 0)
		r = write_etc(plan, err);
	if (r == 0)
		r = mount_overlay(err);
	if (r == 0)
		r = mount_devices(plan, err);
	if (r == 0)
		r = mount_tmp(plan, err);
	if (r == 0)
		r = mount_proc(plan, err);
	if (r == 0)
		r = apply_mounts(plan, err);
	if (r < 0)
		return r;
	proc = open_proc(plan);
	if (proc < 0)
		return error_make(err, errno, GUEST_STAGE_MOUNT_PROC, "opening /proc");
	r = enter(plan, err);
	if (r < 0)
		fd_close(&proc);
	return r < 0 ? r : proc;
}
