/* SPDX-License-Identifier: MIT */
/*
 * The allocator of the test program and of the libraries in it, in which a chosen call fails: malloc(3), calloc(3),
 * realloc(3), strdup(3) and mmap(2), those of libmount, libcap and the C library's own included.
 */
#ifndef ALLOCATION_H
#define ALLOCATION_H

#include <stdbool.h>

enum allocation_fate {
	ALLOCATION_FAILS,
	ALLOCATION_FAILS_FOR_EVER, /* and so do all after it */
	ALLOCATION_FORKS,	   /* it fails, and besides there is now a copy of the process that does nothing */
};

/* What becomes of the number-th call from now on; 0: nothing. */
void allocation_fail(unsigned long number, enum allocation_fate fate);

/* End the copy. */
void allocation_end_copy(void);

/* Calls count and fail only in between. */
void allocation_arm(bool armed);

/* How many have failed. */
unsigned long allocation_failures(void);

/* Blocks that are allocated now. */
long allocation_live(void);

#endif
