// SPDX-License-Identifier: MIT
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mnt.h"

#define MNT_LIBRARY "libmount.so.1"

#define LOAD(name)                                                \
	mnt->name = (__typeof__(mnt->name))dlsym(library, #name); \
	if (!mnt->name)                                           \
		missing = #name;

/* dlopen(3) tells it in words only, in the language of the host program. */
static int why(const char *words)
{
	int fd = open("/", O_PATH | O_CLOEXEC), r = fd < 0 ? errno : ELIBACC;

	if (fd >= 0)
		close(fd);
	if (strstr(words, strerror(ENOENT)))
		return ENOENT;
	return strstr(words, strerror(ENOMEM)) ? ENOMEM : r;
}

int mnt_load(struct mnt *mnt, int stage, struct guest_error *err)
{
	void *library = dlopen(MNT_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	const char *missing = NULL;

	if (!library) {
		const char *words = dlerror();
		int r = error_text(err, why(words), stage, "%s", words);

		if (r == -ENOENT)
			error_remedy(err, "install libmount (Debian: libmount1)");
		return r;
	}
	MNT_FUNCTIONS(LOAD)
	if (missing)
		return error_text(err, ELIBACC, stage, "no %s in " MNT_LIBRARY, missing);
	return 0;
}
