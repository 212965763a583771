// SPDX-License-Identifier: MIT
/* Characters into the terminal of the host: stdin is one. */
#include "attack.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	char character = 'x', paste = 3;

	MUST_BE("stdin is a terminal", isatty(0));
	MUST_FAIL("TIOCSTI", ioctl(0, TIOCSTI, &character));
	MUST_FAIL("TIOCSTI with high bits", syscall(SYS_ioctl, 0L, TIOCSTI | 0x100000000L, &character));
	MUST_FAIL("TIOCLINUX", syscall(SYS_ioctl, 0L, 0x541CL, &paste));
	MUST_FAIL("TIOCLINUX with high bits", syscall(SYS_ioctl, 0L, 0x541CL | 0x100000000L, &paste));
	MUST_FAIL("/dev/tty", open("/dev/tty", O_RDWR));
	MUST_FAIL("TIOCSCTTY by force", ioctl(0, TIOCSCTTY, 1));
	return attack_succeeded;
}
