// SPDX-License-Identifier: MIT
/* The program file of PID 1 and one's own, to change what the host would run next. */
#include "attack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	(void)argc;
	MUST_FAIL("/proc/1/exe for writing", open("/proc/1/exe", O_WRONLY | O_TRUNC));
	MUST_FAIL("/proc/1/exe for reading", open("/proc/1/exe", O_RDONLY));
	MUST_FAIL("/proc/self/exe for writing", open("/proc/self/exe", O_WRONLY | O_TRUNC));
	MUST_FAIL("the bound program for writing", open(argv[0], O_WRONLY));
	MUST_FAIL("its mode", chmod(argv[0], 0777));
	MUST_FAIL("its end", unlink(argv[0]));
	return attack_succeeded;
}
