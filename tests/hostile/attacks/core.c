// SPDX-License-Identifier: MIT
/* A limit on core files of 1 keeps a program of the host's from being started for them; 0 would not. */
#include "attack.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static void must_stay(const char *what, rlim_t value)
{
	struct rlimit limit = { 0, 0 };

	getrlimit(RLIMIT_CORE, &limit);
	MUST_BE(what, limit.rlim_cur == value && limit.rlim_max == value);
}

int main(void)
{
	const struct rlimit none = { 0, 0 }, all = { RLIM_INFINITY, RLIM_INFINITY };
	struct rlimit before;

	getrlimit(RLIMIT_CORE, &before); /* 0, if the host program has no more */
	MUST_BE("no file", before.rlim_cur <= 1 && before.rlim_max == before.rlim_cur);
	(void)setrlimit(RLIMIT_CORE, &none);
	must_stay("setrlimit", before.rlim_max);
	(void)setrlimit(RLIMIT_CORE, &all);
	must_stay("setrlimit, unlimited", before.rlim_max);
	(void)syscall(SYS_setrlimit, RLIMIT_CORE, &none);
	must_stay("the old setrlimit", before.rlim_max);
	(void)syscall(SYS_prlimit64, getpid(), RLIMIT_CORE, &none, NULL);
	must_stay("prlimit", before.rlim_max);
	(void)syscall(SYS_prlimit64, 0, RLIMIT_CORE | 0x100000000L, &none, NULL);
	must_stay("high bits of the resource", before.rlim_max);
	return attack_succeeded;
}
