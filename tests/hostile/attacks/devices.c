// SPDX-License-Identifier: MIT
/* The device nodes, which are the host's own. */
#include "attack.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	static const char *const nodes[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom" };

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		MUST_FAIL("time stamps", utimensat(AT_FDCWD, nodes[i], NULL, 0));
		MUST_FAIL("mode", chmod(nodes[i], 0));
		MUST_FAIL("owner", chown(nodes[i], 0, 0));
		MUST_FAIL("unlink", unlink(nodes[i]));
		MUST_FAIL("rename", rename(nodes[i], "/dev/other"));
		MUST_FAIL("remount", mount(NULL, nodes[i], NULL, MS_REMOUNT | MS_BIND, NULL));
		MUST_FAIL("umount", umount2(nodes[i], MNT_DETACH));
		MUST_BE("it works", close(open(nodes[i], O_RDWR)) == 0);
	}
	MUST_FAIL("a file in /dev", open("/dev/file", O_WRONLY | O_CREAT, 0600));
	MUST_FAIL("another /dev/shm", rename("/dev/shm", "/dev/old"));
	return attack_succeeded;
}
