/* SPDX-License-Identifier: MIT */
/*
 * libmount(3), loaded when something needs it: with the libraries that it needs itself it would
 * take most of the time that loading this library takes, and few programs get that far.
 */
#ifndef GUEST_BASE_MNT_H
#define GUEST_BASE_MNT_H

#include <libmount.h>

#include "guest/guest.h"

/* clang-format off */
#define MNT_FUNCTIONS(f) \
	f(mnt_optstr_next_option) \
	f(mnt_new_table_from_file) \
	f(mnt_unref_table) \
	f(mnt_new_iter) \
	f(mnt_free_iter) \
	f(mnt_table_next_fs) \
	f(mnt_fs_get_root) \
	f(mnt_fs_get_target) \
	f(mnt_fs_match_fstype)
/* clang-format on */

#define MNT_DECLARE(name) __typeof__(name) *name;

struct mnt {
	MNT_FUNCTIONS(MNT_DECLARE)
};

/*
 * 0; or -ENOENT, libmount is not there, or -ELIBACC, it cannot be used; or that of a shortage that
 * passes. It stays loaded. Thread-safe.
 */
int mnt_load(struct mnt *mnt, int stage, struct guest_error *err);

#endif
