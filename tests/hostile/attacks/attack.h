/* SPDX-License-Identifier: MIT */
/*
 * An attack: a static program that a guest runs, and that tries what it must not be able to do. It exits with 0 if
 * all was refused, and with 1, having said what was not, otherwise.
 */
#ifndef ATTACK_H
#define ATTACK_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int attack_succeeded __attribute__((unused));

/* `result`: what a system call returned; it must be -1. */
#define MUST_FAIL(what, result)                                                     \
	do {                                                                        \
		if ((long)(result) != -1) {                                         \
			printf("%s: not refused\n", what);                          \
			attack_succeeded = 1;                                       \
		}                                                                   \
	} while (0)

/* The same, and errno must be this. */
#define MUST_FAIL_WITH(what, wanted, result)                                        \
	do {                                                                        \
		long result_ = (long)(result);                                      \
		if (result_ != -1 || errno != (wanted)) {                           \
			printf("%s: %ld, %s\n", what, result_, strerror(errno));    \
			attack_succeeded = 1;                                       \
		}                                                                   \
	} while (0)

#define MUST_BE(what, condition)                                                    \
	do {                                                                        \
		if (!(condition)) {                                                 \
			printf("%s: not so\n", what);                               \
			attack_succeeded = 1;                                       \
		}                                                                   \
	} while (0)

#endif
