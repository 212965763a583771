// SPDX-License-Identifier: MIT
/* For one who may mount: mounts inside the host's folder /shared, made to be seen by as many as can be. */
#include "attack.h"

#include <sys/mount.h>
#include <unistd.h>

int main(void)
{
	mount(NULL, "/shared", NULL, MS_SHARED, NULL);
	MUST_BE("a mount below", mount("spread", "/shared/below", "tmpfs", 0, NULL) == 0);
	MUST_BE("a bind", mount("/", "/shared/below", NULL, MS_BIND | MS_REC, NULL) == 0);
	return attack_succeeded;
}
