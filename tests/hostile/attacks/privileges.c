// SPDX-License-Identifier: MIT
/* Privileges by exec: a set-user-id copy of a program, and file capabilities. */
#include "attack.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

int main(void)
{
	/* version 2, permitted and effective: all */
	static const unsigned char all[20] = { 1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
					       0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 };
	int fd = open("/tmp/program", O_WRONLY | O_CREAT, 0755);

	MUST_BE("a file can be made", fd >= 0);
	MUST_FAIL("file capabilities", fsetxattr(fd, "security.capability", all, sizeof(all), 0));
	MUST_BE("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	MUST_FAIL("no_new_privs off", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
	MUST_FAIL("CAP_SYS_ADMIN into the ambient set", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
	return attack_succeeded;
}
