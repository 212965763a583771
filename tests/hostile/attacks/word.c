// SPDX-License-Identifier: MIT
/* What makes guests, as who makes them would ask for it, but with another word than the keeper's (confine.c). */
#include "attack.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper/filter.h"

/* Whatever capabilities we have, and also where the kernel would first find fault with something else. */
static void try_all(unsigned long word)
{
	long pid;

	MUST_FAIL_WITH("mount", EPERM, syscall(SYS_mount, "none", "/tmp", "tmpfs", 0L, NULL, word));
	MUST_FAIL_WITH("umount2", EPERM, syscall(SYS_umount2, "/tmp", ~0L, 0L, 0L, 0L, word));
	MUST_FAIL_WITH("pivot_root", EPERM, syscall(SYS_pivot_root, NULL, NULL, 0L, 0L, 0L, word));
	MUST_FAIL_WITH("open_tree", EPERM, syscall(SYS_open_tree, AT_FDCWD, "/", ~0L, 0L, 0L, word));
	MUST_FAIL_WITH("move_mount", EPERM, syscall(SYS_move_mount, -1L, "", -1L, "", ~0L, word));
	MUST_FAIL_WITH("mount_setattr", EPERM, syscall(SYS_mount_setattr, -1L, "", ~0L, NULL, 0L, word));
	MUST_FAIL_WITH("setns", EPERM, syscall(SYS_setns, -1L, 0L, 0L, 0L, 0L, word));
	MUST_FAIL_WITH("unshare", EPERM, syscall(SYS_unshare, CLONE_NEWNS, 0L, 0L, 0L, 0L, word));
	MUST_FAIL_WITH("clone3", ENOSYS, syscall(435, NULL, 0L, 0L, 0L, 0L, word));
	pid = syscall(SYS_clone, (long)(CLONE_NEWUSER | CLONE_NEWNS | SIGCHLD), NULL, NULL, NULL, 0L, word);
	if (pid == 0)
		_exit(0);
	MUST_FAIL_WITH("clone", EPERM, pid);
}

int main(void)
{
	const unsigned long low = FILTER_WORD & 0xffffffffUL;

	/* the last three where it might have been forgotten, or put in by halves */
	const unsigned long words[] = { 1, ~0UL, 0, FILTER_WORD, low };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		try_all(words[i]);
	return attack_succeeded;
}
