// SPDX-License-Identifier: MIT
/* Files to choke on: trees as deep as they get, the longest names, holes, loops, many links, odd modes and locks. */
#include "attack.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DEPTH 3000

static void dig(void)
{
	char name[256];

	memset(name, 'n', 255);
	name[255] = '\0';
	if (mkdir("/tmp/deep", 0755) < 0 || chdir("/tmp/deep") < 0)
		return;
	for (int i = 0; i < DEPTH; i++)
		if (mkdir(name, 0755) < 0 || chdir(name) < 0)
			break;
	symlink("../..", "up");
	close(open("\n\033[31m\xff", O_CREAT | O_WRONLY, 0));
}

static void make_holes(void)
{
	int fd = open("/tmp/holes", O_RDWR | O_CREAT, 0600);

	if (ftruncate(fd, 1LL << 50) < 0)
		return;
	for (long long at = 0; at < 1LL << 50; at += 1LL << 42)
		if (pwrite(fd, "x", 1, at) != 1)
			break;
	for (int i = 0; i < 1000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "user.%d", i);
		if (fsetxattr(fd, name, name, sizeof(name), 0) < 0)
			break;
	}
	flock(fd, LOCK_EX);
}

int main(void)
{
	dig();
	make_holes();
	for (int i = 0; i < 40; i++) {
		char name[32], next[32];

		snprintf(name, sizeof(name), "/tmp/loop%d", i);
		snprintf(next, sizeof(next), "/tmp/loop%d", (i + 1) % 40);
		symlink(next, name);
	}
	mkfifo("/tmp/fifo", 0600);
	if (fork() == 0) {
		setsid();
		open("/tmp/fifo", O_RDONLY);
		for (;;)
			pause();
	}
	return 0;
}
