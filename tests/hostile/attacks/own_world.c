// SPDX-License-Identifier: MIT
/* What is only the holder's to set: names, the root, clocks. */
#include "attack.h"

#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	struct timex change = { .modes = ADJ_FREQUENCY };
	const struct timespec then = { 1, 0 };

	MUST_FAIL("hostname", sethostname("mine", 4));
	MUST_FAIL("domain name", setdomainname("mine", 4));
	MUST_FAIL("chroot", chroot("/tmp"));
	MUST_FAIL("clock_settime", clock_settime(CLOCK_REALTIME, &then));
	MUST_FAIL("adjtimex", adjtimex(&change));
	return attack_succeeded;
}
