// SPDX-License-Identifier: MIT
/* The host's keys, in the session keyring that its processes inherit; and its quota of keys. */
#include "attack.h"

#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "none";
	long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", name, 0);

	MUST_FAIL("the host's key", key);
	MUST_FAIL("a keyring's number", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
	MUST_FAIL("request_key", syscall(SYS_request_key, "user", name, NULL, KEY_SPEC_PROCESS_KEYRING));
	MUST_FAIL("add_key", syscall(SYS_add_key, "user", "mine", "x", 1, KEY_SPEC_PROCESS_KEYRING));
	return attack_succeeded;
}
