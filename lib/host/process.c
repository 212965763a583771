// SPDX-License-Identifier: MIT
/*
 * Which process is this? Its PID does not tell: a forked child in a new PID namespace may have the
 * same. So a page that the kernel empties in a forked child (MADV_WIPEONFORK) holds a number.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/sys.h"
#include "host/host.h"

static uint64_t *page;

/* The page, made once; NULL if there is no memory. */
static uint64_t *get_page(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t *seen = __atomic_load_n(&page, __ATOMIC_ACQUIRE), *fresh;

	if (seen)
		return seen;
	fresh = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fresh == MAP_FAILED)
		return NULL;
	madvise(fresh, size, MADV_WIPEONFORK); /* without it, the PID has to do */
	if (__atomic_compare_exchange_n(&page, &seen, fresh, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		return fresh;
	munmap(fresh, size); /* another thread was faster */
	return seen;
}

uint64_t host_process(void)
{
	uint64_t *number = get_page(), seen = 0;

	if (!number)
		return 0;
	/* unlike any of an ancestor's: time has passed since */
	if (!__atomic_load_n(number, __ATOMIC_ACQUIRE))
		__atomic_compare_exchange_n(number, &seen, sys_now_ns() | 1, false,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	return __atomic_load_n(number, __ATOMIC_ACQUIRE) ^ ((uint64_t)getpid() << 32);
}

int host_check_owner(uint64_t owner, const char *what, struct guest_error *err)
{
	if (owner == host_process())
		return 0;
	return error_text(err, ECHILD, GUEST_STAGE_HANDLE,
			  "%s belongs to the process that made it; a forked child makes its own",
			  what);
}
