// SPDX-License-Identifier: MIT
/* Mounts: new ones, over, off, moved, remounted, and the way back out. */
#include "attack.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	mkdir("/tmp/m", 0755);
	MUST_FAIL("mount tmpfs", mount("x", "/tmp/m", "tmpfs", 0, NULL));
	MUST_FAIL("mount proc", mount("x", "/tmp/m", "proc", 0, NULL));
	MUST_FAIL("mount sysfs", mount("x", "/tmp/m", "sysfs", 0, NULL));
	MUST_FAIL("mount cgroup2", mount("x", "/tmp/m", "cgroup2", 0, NULL));
	MUST_FAIL("bind", mount("/", "/tmp/m", NULL, MS_BIND | MS_REC, NULL));
	MUST_FAIL("remount rw", mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
	MUST_FAIL("remount suid", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
	MUST_FAIL("larger tmpfs", mount(NULL, "/dev/shm", NULL, MS_REMOUNT, "size=100g"));
	MUST_FAIL("move", mount("/proc", "/tmp/m", NULL, MS_MOVE, NULL));
	MUST_FAIL("propagation", mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL));
	MUST_FAIL("umount mask", umount2("/proc/keys", MNT_DETACH));
	MUST_FAIL("umount /proc/sys", umount2("/proc/sys", MNT_DETACH));
	MUST_FAIL("umount /", umount2("/", MNT_DETACH));
	MUST_FAIL("pivot_root", syscall(SYS_pivot_root, ".", "."));
	MUST_FAIL("open_tree", syscall(428, AT_FDCWD, "/", 1));
	MUST_FAIL("move_mount", syscall(429, AT_FDCWD, "/proc", AT_FDCWD, "/tmp/m", 0));
	MUST_FAIL("fsopen", syscall(430, "tmpfs", 0));
	MUST_FAIL("fspick", syscall(433, AT_FDCWD, "/", 0));
	MUST_FAIL("mount_setattr", syscall(442, AT_FDCWD, "/proc/sys", 0, NULL, 0));
	return attack_succeeded;
}
