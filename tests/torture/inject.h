/* SPDX-License-Identifier: MIT */
/*
 * System calls that fail in a chosen process of a life: the host program itself, or one of those that the library
 * makes. A filter (seccomp_unotify(2)) has the kernel ask here before each call that is of interest, in any process
 * below, tracing or not being forbidden; so nothing of the library has to know.
 */
#ifndef INJECT_H
#define INJECT_H

#include <stddef.h>

#include "life.h"

enum inject_role {
	INJECT_HOST,
	INJECT_LAUNCHER,
	INJECT_KEEPER,
	INJECT_UNDERTAKER,
	INJECT_UNPACKER,
	INJECT_HOLDER,
	INJECT_COMMAND, /* until it executes */
	INJECT_ROLES,
	INJECT_ALL = INJECT_ROLES,
};

#define INJECT_DEATH (-1) /* instead of an errno: the process is killed */

struct inject_case {
	int role;
	int call;	     /* an index */
	unsigned int number; /* the number-th such call of this role in a life, from 1 on; 0: all, of all roles */
	int errnum;
};

/* All cases of a kind of life, by a life in which nothing fails. To be freed. */
struct inject_case *inject_cases(struct life *life, size_t *ret_count);

/* "holder/mount/12/ENOMEM". Static. */
const char *inject_case_name(const struct inject_case *one);

/* Lead a life with one case; NULL for none. What was wrong with it, or NULL. `ret_hit`: it came to that. */
const char *inject_lead(struct life *life, const struct inject_case *one, bool *ret_hit);

/* Why there can be no injection here; NULL if there can. */
const char *inject_unavailable(struct life *life);

#endif
