// SPDX-License-Identifier: MIT
/* A set-user-ID file of the rootfs: run as another user than its owner, it must not have become the owner. */
#include "attack.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned int wanted = argc > 1 ? (unsigned int)atoi(argv[1]) : 0;
	struct stat st;

	MUST_BE("the bit is there", stat(argv[0], &st) == 0 && (st.st_mode & S_ISUID));
	MUST_BE("the user is the same", geteuid() == wanted && getuid() == wanted);
	MUST_FAIL("becoming root", wanted == 0 ? -1 : setuid(0));
	return attack_succeeded;
}
