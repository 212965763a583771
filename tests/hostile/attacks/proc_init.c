// SPDX-License-Identifier: MIT
/* The links of PID 1 in procfs, by which one could leave the guest. */
#include "attack.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

int main(void)
{
	static const char *const links[] = { "/proc/1/root", "/proc/1/cwd", "/proc/1/exe", "/proc/1/ns/mnt" };
	static const char *const folders[] = { "/proc/1/fd", "/proc/1/map_files", "/proc/1/fdinfo" };
	char target[256];

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		MUST_FAIL(links[i], readlink(links[i], target, sizeof(target)));
		MUST_FAIL(links[i], open(links[i], O_RDONLY));
		MUST_FAIL(links[i], open(links[i], O_WRONLY));
	}
	MUST_FAIL("chdir /proc/1/cwd", chdir("/proc/1/cwd"));
	MUST_FAIL("chroot /proc/1/root", chroot("/proc/1/root"));
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		MUST_BE(folders[i], opendir(folders[i]) == NULL);
	return attack_succeeded;
}
