// SPDX-License-Identifier: MIT
/* Pseudo-terminals: argv[1] is "one", which there must be; or all that can be had, said and kept. */
#include "attack.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct rlimit files;
	int count = 0;

	if (argc > 1 && strcmp(argv[1], "one") == 0)
		return posix_openpt(O_RDWR | O_NOCTTY) < 0;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	while (posix_openpt(O_RDWR | O_NOCTTY) >= 0)
		count++;
	printf("%d\n", count);
	fflush(stdout);
	for (;;)
		pause();
}
