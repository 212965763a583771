// SPDX-License-Identifier: MIT
/*
 * The keeper's tree: one small tmpfs that becomes its root, in which every guest finds
 *
 *   /template   the unpacked rootfs, in a tmpfs of its own or in a directory of a cache; or the
 *               caller's directory; read-only
 *   /dev        nodes bound from the host's /dev, and the usual links; read-only
 *   /proc       of the keeper's PID namespace: without one a guest may not mount its own
 *   /guest      where a holder mounts the guest's writable tmpfs
 *   /empty      what masked directories look like
 *   /host       the host's tree, in one of the keeper's two mount namespaces only (see keeper.c)
 *
 * What is read-only here is locked for every guest; a guest could undo what its own holder sets.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

static const char *const device_nodes[] = {
	"null", "zero", "full", "random", "urandom", "tty", NULL
};

static const char *const device_links[][2] = {
	{ "/proc/self/fd", "/dev/fd" },	      { "/proc/self/fd/0", "/dev/stdin" },
	{ "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" },
	{ "pts/ptmx", "/dev/ptmx" },
};

static int make_directory(const char *path, mode_t mode, struct guest_error *err)
{
	if (mkdir(path, mode) == 0)
		return 0;
	return error_make(err, errno, GUEST_STAGE_MOUNT, "mkdir %s", path);
}

/* The tmpfs that becomes the root. Any directory that the host has will do to mount it on for a
 * moment. */
static int enter_own_root(struct guest_error *err)
{
	static const char *const places[] = {
		"/tmp", "/run", "/var", "/usr", "/etc", "/dev", NULL
	};
	const char *place = NULL;
	int r;

	r = helper_mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL, GUEST_STAGE_MOUNT, err);
	if (r < 0)
		return helper_explain_apparmor(err);
	for (size_t i = 0; places[i] && !place; i++)
		if (mount("guest", places[i], "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m") ==
		    0)
			place = places[i];
	if (!place)
		return error_make(err, errno, GUEST_STAGE_MOUNT, "tmpfs on /tmp");
	if (chdir(place) < 0 || mkdir("host", 0755) < 0)
		return error_make(err, errno, GUEST_STAGE_MOUNT, "mkdir in a new tmpfs");
	if (sys_pivot_root(".", "host") < 0) {
		r = error_make(err, errno, GUEST_STAGE_PIVOT_ROOT, "keeper");
		if (r == -EINVAL)
			error_remedy(
				err,
				"the host's root is an initramfs or a chroot, which cannot be pivoted "
				"from: switch_root to a mounted file system first");
		return r;
	}
	if (chdir("/") < 0)
		return error_make(err, errno, GUEST_STAGE_PIVOT_ROOT, "chdir /");
	return 0;
}

static int mount_proc(struct keeper *keeper, struct guest_error *err)
{
	int r = helper_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL,
			     GUEST_STAGE_MOUNT_PROC, err);

	if (r == -EPERM)
		return error_remedy(
			err, "this host's own /proc has mounts over it (as in a container), so the "
			     "kernel allows no new one: run the container with an unmasked /proc "
			     "(docker: --security-opt systempaths=unconfined)");
	if (r < 0)
		return r;
	keeper->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return keeper->proc < 0 ? error_make(err, errno, GUEST_STAGE_MOUNT_PROC, "opening /proc") :
				  0;
}

static int make_devices(struct guest_error *err)
{
	/* no bar to writing to the device, but to changing the host's node */
	struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };
	char node[24], source[32];
	int r;

	r = make_directory("/dev", 0755, err);
	if (r < 0)
		return r;
	for (size_t i = 0; device_nodes[i]; i++) {
		int fd;

		snprintf(node, sizeof(node), "/dev/%s", device_nodes[i]);
		snprintf(source, sizeof(source), "/host%s", node);
		if (access(source, F_OK) < 0 && strcmp(device_nodes[i], "tty") == 0)
			continue;
		fd = open(node, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd < 0)
			return error_make(err, errno, GUEST_STAGE_MOUNT, "creating %s", node);
		close(fd);
		if (mount(source, node, NULL, MS_BIND, NULL) < 0)
			return error_make(err, errno, GUEST_STAGE_MOUNT, "bind of the host's %s",
					  node);
		if (sys_mount_setattr(AT_FDCWD, node, 0, &read_only) < 0)
			return error_make(err, errno, GUEST_STAGE_MOUNT, "making %s read-only",
					  node);
	}
	for (size_t i = 0; i < sizeof(device_links) / sizeof(device_links[0]); i++)
		if (symlink(device_links[i][0], device_links[i][1]) < 0)
			return error_make(err, errno, GUEST_STAGE_MOUNT, "symlink %s",
					  device_links[i][1]);
	r = make_directory("/dev/pts", 0755, err);
	return r < 0 ? r : make_directory("/dev/shm", 01777, err);
}

static int mount_template_tmpfs(const struct wire_start *start, struct guest_error *err)
{
	char data[96];

	snprintf(data, sizeof(data), "mode=755,size=%llu,nr_inodes=%llu",
		 (unsigned long long)start->rootfs_bytes, (unsigned long long)start->rootfs_inodes);
	return helper_mount("template", "/template", "tmpfs", MS_NOSUID | MS_NODEV, data,
			    GUEST_STAGE_MOUNT, err);
}

/* The caller's directory, found again by its path in this mount namespace, and checked to be the
 * same. */
static int bind_rootfs(const struct wire_start *start, struct guest_error *err)
{
	const char *path = wire_string(start, start->rootfs_string);
	char source[4096 + 8];
	struct stat st;
	int r;

	if (!path || snprintf(source, sizeof(source), "/host%s", path) >= (int)sizeof(source))
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "no rootfs path");
	if (mount(source, "/template", NULL, MS_BIND, NULL) < 0) {
		r = error_make(err, errno, GUEST_STAGE_ROOTFS, "bind of %s", path);
		if (r == -EINVAL)
			error_remedy(
				err,
				"other file systems are mounted below it: give a directory without "
				"mounts in it, or a tar");
		return r;
	}
	if (stat("/template", &st) < 0 || st.st_ino != start->rootfs_inode ||
	    st.st_dev != start->rootfs_device)
		return error_text(err, ESTALE, GUEST_STAGE_ROOTFS, "%s has changed in the meantime",
				  path);
	return 0;
}

static int set_attributes(uint64_t attributes, struct guest_error *err)
{
	struct mount_attr attr = { .attr_set = attributes };

	if (sys_mount_setattr(AT_FDCWD, "/template", 0, &attr) == 0)
		return 0;
	return error_make(err, errno, GUEST_STAGE_ROOTFS, "making the template read-only");
}

/* Read-only, unless it is to be filled. */
static int mount_rootfs_directory(const struct wire_start *start, int tree, struct guest_error *err)
{
	bool fill = start->rootfs == WIRE_ROOTFS_FILL;
	int r;

	if (tree >= 0) {
		if (sys_move_mount(tree, "", AT_FDCWD, "/template", MOVE_MOUNT_F_EMPTY_PATH) == 0)
			return 0;
		return error_make(err, errno, GUEST_STAGE_ROOTFS, "mounting the rootfs directory");
	}
	r = bind_rootfs(start, err);
	if (r < 0)
		return r;
	return set_attributes(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (fill ? 0 : MOUNT_ATTR_RDONLY),
			      err);
}

/* More than "." and ".."? Not by readdir(3), which allocates memory that each guest would get. */
static bool is_empty(const char *path)
{
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_Alignas(struct dirent) char buffer[2048];
	bool empty = true;
	long size;

	while (empty && (size = syscall(SYS_getdents64, directory, buffer, sizeof(buffer))) > 0)
		for (long at = 0; empty && at < size;) {
			const struct dirent *entry = (struct dirent *)(buffer + at);

			empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
			at += entry->d_reclen;
		}
	fd_close(&directory);
	return empty;
}

/* Mount points that the rootfs lacks, or has as something else than a directory. */
static uint32_t look_at_template(void)
{
	static const struct {
		const char *path;
		uint32_t bit;
	} wanted[] = {
		{ "/template/proc", KEEPER_MISSING_PROC },
		{ "/template/dev", KEEPER_MISSING_DEV },
		{ "/template/tmp", KEEPER_MISSING_TMP },
		{ "/template/run", KEEPER_MISSING_RUN },
	};
	uint32_t found = 0;
	struct stat st;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (lstat(wanted[i].path, &st) < 0 || !S_ISDIR(st.st_mode))
			found |= wanted[i].bit;
	if (!(found & KEEPER_MISSING_TMP) && !is_empty("/template/tmp"))
		found |= KEEPER_TMP_IN_USE;
	return found;
}

const char *const keeper_etc[KEEPER_ETC] = { "/etc/hostname", "/etc/hosts", "/etc/resolv.conf" };

/* Short plain files, as we would write them. The owner of a directory may change them later, as all
 * that is in it. */
static void read_etc(struct keeper *keeper)
{
	char path[32];
	struct stat st;

	if (lstat("/template/etc", &st) < 0 || !S_ISDIR(st.st_mode))
		return;
	for (size_t i = 0; i < KEEPER_ETC; i++) {
		snprintf(path, sizeof(path), "/template%s", keeper_etc[i]);
		if (lstat(path, &st) == 0 && st.st_mode == (S_IFREG | 0644) && st.st_uid == 0 &&
		    st.st_gid == 0 && st.st_size < (off_t)sizeof(keeper->etc[i]))
			(void)fd_read_text_at(AT_FDCWD, path, keeper->etc[i],
					      sizeof(keeper->etc[i]));
	}
}

static int make_places(struct guest_error *err)
{
	static const char *const places[] = { "/template", "/proc", "/guest", "/empty", NULL };

	for (size_t i = 0; places[i]; i++) {
		int r = make_directory(places[i], 0755, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int keeper_tree(struct keeper *keeper, const struct wire_start *start, int archive, int unpacker,
		int rootfs_tree, struct guest_error *err)
{
	bool in_memory = start->rootfs == WIRE_ROOTFS_ARCHIVE;
	bool unpack = start->rootfs != WIRE_ROOTFS_DIRECTORY;
	int report = -EBADF, r;

	r = enter_own_root(err);
	if (r == 0)
		r = make_places(err);
	if (r == 0)
		r = in_memory ? mount_template_tmpfs(start, err) :
				mount_rootfs_directory(start, rootfs_tree, err);
	if (r == 0 && unpack) {
		report = unpack_start(keeper, start, archive, unpacker, err);
		r = report < 0 ? report : 0;
	}
	if (r == 0) /* while the unpacker works */
		r = mount_proc(keeper, err);
	if (r == 0)
		r = make_devices(err);
	if (r == 0 && unpack)
		r = unpack_wait(keeper, report, err);
	fd_close(&report);
	if (r == 0 && unpack)
		r = set_attributes(MOUNT_ATTR_RDONLY, err);
	if (r == 0)
		r = helper_mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV,
				 NULL, GUEST_STAGE_MOUNT, err);
	keeper->template = look_at_template();
	read_etc(keeper);
	return r;
}
