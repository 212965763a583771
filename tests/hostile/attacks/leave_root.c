// SPDX-License-Identifier: MIT
/*
 * Up beyond the root, by a directory that is held open, through a chroot, and through what lies under the root's
 * mount: every way up must end in the same root.
 */
#include "attack.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEEP 64

static struct stat root;

static int is_root(const char *path)
{
	struct stat here;

	return stat(path, &here) == 0 && here.st_dev == root.st_dev && here.st_ino == root.st_ino &&
	       access("/opt/attack", X_OK) == 0;
}

static void climb(const char *how)
{
	for (int i = 0; i < DEEP; i++)
		MUST_BE(how, chdir("..") == 0);
	MUST_BE(how, is_root("."));
	MUST_BE(how, is_root("/.."));
	MUST_BE(how, is_root("/proc/1/root") || errno == EACCES);
	MUST_BE(how, is_root("/proc/1/cwd") || errno == EACCES);
}

int main(void)
{
	int top = open("/", O_PATH | O_DIRECTORY), deep;

	MUST_BE("stat", stat("/", &root) == 0 && mkdir("/tmp/deep", 0755) == 0);
	deep = open("/tmp/deep", O_PATH | O_DIRECTORY);
	climb("..");
	(void)umount2("/", MNT_DETACH);
	climb(".. after umount");
	if (chroot("/tmp/deep") == 0) {
		MUST_BE("fchdir", fchdir(top) == 0);
		for (int i = 0; i < DEEP; i++)
			MUST_BE("climbing", chdir("..") == 0);
		MUST_BE("chroot back", chroot(".") == 0);
		climb(".. after chroot");
		MUST_BE("fchdir", fchdir(deep) == 0);
		climb(".. from a deeper place");
	}
	return attack_succeeded;
}
