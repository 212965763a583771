// SPDX-License-Identifier: MIT
/* Every file of PID 1 in procfs, for writing; but attr/, which is open to all and takes only what is one's own. */
#include "attack.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

static int try_folder(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int count = 0;

	while (directory && (entry = readdir(directory))) {
		int fd;

		/* this one is open to all, and asks who writes: see sched_init.c */
		if (strcmp(entry->d_name, "timerslack_ns") == 0)
			continue;
		count++;
		fd = openat(dirfd(directory), entry->d_name, O_WRONLY | O_NONBLOCK);
		if (fd < 0)
			continue;
		printf("%s/%s: can be opened for writing\n", path, entry->d_name);
		attack_succeeded = 1;
		close(fd);
	}
	if (directory)
		closedir(directory);
	return count;
}

int main(void)
{
	MUST_BE("PID 1 has files", try_folder("/proc/1") > 20);
	MUST_BE("its thread has files", try_folder("/proc/1/task/1") > 10);
	try_folder("/proc/1/net");
	return attack_succeeded;
}
