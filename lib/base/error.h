/* SPDX-License-Identifier: MIT */
/*
 * Making a struct guest_error in one line: `return error_make(err, errno, GUEST_STAGE_X, "what %s",
 * path)`. Shared by the library and the helper. `err` may be NULL everywhere.
 */
#ifndef GUEST_BASE_ERROR_H
#define GUEST_BASE_ERROR_H

#include "guest/guest.h"

/* "stage: what: errno in words". Returns -errnum. Keeps errno. */
__attribute__((format(printf, 4, 5))) int error_make(struct guest_error *err, int errnum, int stage,
						     const char *format, ...);

/* "stage: what", for what no system call said: sys_errno is 0. Returns -errnum. Keeps errno. */
__attribute__((format(printf, 4, 5))) int error_text(struct guest_error *err, int errnum, int stage,
						     const char *format, ...);

/* Add "; remedy" to the message. Returns err->code, or 0 for NULL. Keeps errno. */
__attribute__((format(printf, 2, 3))) int error_remedy(struct guest_error *err, const char *format,
						       ...);

/*
 * Take over an error that another process has sent, who may have been taken over: `err` has a
 * negative errno and one line of text then, whatever was sent. Returns that errno.
 */
int error_take(struct guest_error *err, const struct guest_error *from);

/* The errno in words, in English whatever the locale. Static. */
const char *error_words(int errnum);

/*
 * Give a caller what happened: `from` (whose code is returned) as far as to->size goes. A size of 0
 * counts as the whole struct. `to` may be NULL.
 */
int error_copy_out(struct guest_error *to, const struct guest_error *from);

#endif
