// SPDX-License-Identifier: MIT
/* All fds that there are, and then more. */
#include "attack.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

int main(void)
{
	struct rlimit limit;
	long opened = 0;

	getrlimit(RLIMIT_NOFILE, &limit);
	MUST_BE("hard limit is a limit", limit.rlim_max <= 4096);
	limit.rlim_cur = limit.rlim_max;
	MUST_BE("soft limit can be raised", setrlimit(RLIMIT_NOFILE, &limit) == 0);
	while (open("/dev/null", O_RDONLY) >= 0)
		opened++;
	MUST_BE("ends at the limit", opened < 4096 && errno == EMFILE);
	limit.rlim_max *= 2;
	limit.rlim_cur = limit.rlim_max;
	MUST_FAIL_WITH("hard limit", EPERM, setrlimit(RLIMIT_NOFILE, &limit));
	return attack_succeeded;
}
