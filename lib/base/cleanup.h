/* SPDX-License-Identifier: MIT */
/* Attributes that free what a scope owns when it is left. */
#ifndef GUEST_BASE_CLEANUP_H
#define GUEST_BASE_CLEANUP_H

#include <stdlib.h>

#include "base/fd.h"

static inline void cleanup_fd_run(int *fd)
{
	fd_close(fd);
}

static inline void cleanup_free_run(void *pointer)
{
	free(*(void **)pointer);
}

#define cleanup_fd __attribute__((cleanup(cleanup_fd_run)))
#define cleanup_free __attribute__((cleanup(cleanup_free_run)))

/* Take the value out of an owning variable, so that its cleanup finds nothing. */
#define take_pointer(pointer)                           \
	({                                              \
		__typeof__(pointer) taken_ = (pointer); \
		(pointer) = NULL;                       \
		taken_;                                 \
	})

#endif
