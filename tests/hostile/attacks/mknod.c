// SPDX-License-Identifier: MIT
/* Device nodes. A whiteout (0:0) is what overlayfs allows to anybody, and is no device. */
#include "attack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int main(void)
{
	MUST_FAIL("mem", mknod("/tmp/mem", S_IFCHR | 0666, makedev(1, 1)));
	MUST_FAIL("null", mknod("/tmp/null", S_IFCHR | 0666, makedev(1, 3)));
	MUST_FAIL("disk", mknod("/tmp/disk", S_IFBLK | 0666, makedev(8, 0)));
	MUST_FAIL("disk in /dev", mknod("/dev/disk", S_IFBLK | 0666, makedev(254, 0)));
	if (mknod("/tmp/whiteout", S_IFCHR | 0666, makedev(0, 0)) == 0)
		MUST_FAIL("opening a whiteout", open("/tmp/whiteout", O_RDWR));
	return attack_succeeded;
}
