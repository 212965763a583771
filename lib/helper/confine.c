// SPDX-License-Identifier: MIT
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/sys.h"
#include "helper/filter.h"
#include "helper/helper.h"

/* Made by seccomp_filter.c at build time. */
static const struct sock_filter filter_default[] = {
#include "filter_default.inc"
};

static const struct sock_filter filter_minimal[] = {
#include "filter_minimal.inc"
};

static const struct sock_filter filter_marker[] = {
#include "filter_marker.inc"
};

uint64_t sys_word;

int confine_core(struct guest_error *err)
{
	/* 1 is no room for a file, and means that a dump is piped to no program, core(5); 0 does
	   not, but is all that we may have where the host program has no more */
	const struct rlimit most = { 1, 1 };
	struct rlimit now;
	int failure;

	if (setrlimit(RLIMIT_CORE, &most) == 0)
		return 0;
	failure = errno;
	if (getrlimit(RLIMIT_CORE, &now) < 0 || now.rlim_max > 0)
		return error_make(err, failure, GUEST_STAGE_RLIMIT, "core");
	return 0;
}

int confine_bounding_set(uint64_t keep, struct guest_error *err)
{
	for (int capability = 0; capability < 64; capability++) {
		if (keep >> capability & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
			continue;
		if (errno == EINVAL) /* beyond the last one that this kernel knows */
			break;
		return error_make(err, errno, GUEST_STAGE_CAPABILITIES, "dropping capability %d",
				  capability);
	}
	return 0;
}

/* With a word of our own. */
static int copy_default(struct sock_filter *copy)
{
	const uint32_t low = (uint32_t)FILTER_WORD, high = (uint32_t)(FILTER_WORD >> 32);

	if (syscall(SYS_getrandom, &sys_word, sizeof(sys_word), 0) != sizeof(sys_word))
		return -1;
	memcpy(copy, filter_default, sizeof(filter_default));
	for (size_t i = 0; i < sizeof(filter_default) / sizeof(filter_default[0]); i++)
		if (copy[i].k == low)
			copy[i].k = (uint32_t)sys_word;
		else if (copy[i].k == high)
			copy[i].k = (uint32_t)(sys_word >> 32);
	return 0;
}

#define PROGRAM(array, program)                            \
	{                                                  \
		.len = sizeof(array) / sizeof((array)[0]), \
		.filter = (struct sock_filter *)(program)  \
	}

int confine_seccomp(enum confine_filter filter, struct guest_error *err)
{
	struct sock_filter copy[sizeof(filter_default) / sizeof(filter_default[0])];
	const struct sock_fprog programs[] = {
		[CONFINE_DEFAULT] = PROGRAM(filter_default, copy),
		[CONFINE_MINIMAL] = PROGRAM(filter_minimal, filter_minimal),
		[CONFINE_MARKER] = PROGRAM(filter_marker, filter_marker),
	};

	if (filter == CONFINE_DEFAULT && copy_default(copy) < 0)
		return error_make(err, errno, GUEST_STAGE_SECCOMP, "getrandom");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_make(err, errno, GUEST_STAGE_SECCOMP, "no_new_privs");
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &programs[filter]) < 0)
		return error_make(err, errno, GUEST_STAGE_SECCOMP, "installing the filter");
	if (filter == CONFINE_DEFAULT)
		explicit_bzero(copy, sizeof(copy)); /* holders have a copy of our stack */
	return 0;
}
