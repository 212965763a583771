// SPDX-License-Identifier: MIT
#include <dlfcn.h>
#include <errno.h>

#include "base/error.h"
#include "base/mnt.h"

#define MNT_LIBRARY "libmount.so.1"

#define LOAD(name)                                                \
	mnt->name = (__typeof__(mnt->name))dlsym(library, #name); \
	if (!mnt->name)                                           \
		missing = #name;

int mnt_load(struct mnt *mnt, int stage, struct guest_error *err)
{
	void *library = dlopen(MNT_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	const char *missing = NULL;

	if (!library)
		return error_text(err, ENOENT, stage, "%s; install it (Debian: libmount1)",
				  dlerror());
	MNT_FUNCTIONS(LOAD)
	if (missing)
		return error_text(err, ENOENT, stage, "no %s in " MNT_LIBRARY, missing);
	return 0;
}
