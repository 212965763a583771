// SPDX-License-Identifier: MIT
/* Other than the own fds: inherited sockets, folders of the host, by number and through procfs. */
#include "attack.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	struct stat st;

	for (int fd = 3; fd < 4096; fd++)
		MUST_FAIL("an fd beyond stdio", fcntl(fd, F_GETFD));
	for (int fd = 0; fd < 3; fd++) {
		char path[32];

		MUST_BE("stdio is no folder", fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode) && !S_ISSOCK(st.st_mode));
		snprintf(path, sizeof(path), "/proc/self/fd/%d/..", fd);
		MUST_FAIL("chdir through an fd", chdir(path));
	}
	MUST_BE("the root is the end", chdir("../../../../../..") == 0 && stat("/proc/1", &st) == 0);
	return attack_succeeded;
}
