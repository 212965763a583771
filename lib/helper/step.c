// SPDX-License-Identifier: MIT
#include <errno.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/error.h"
#include "helper/helper.h"

int helper_mount(const char *source, const char *target, const char *type, unsigned long flags,
		 const char *data, int stage, struct guest_error *err)
{
	if (mount(source, target, type, flags, data) == 0)
		return 0;
	return error_make(err, errno, stage, "%s on %s",
			  type	 ? type :
			  source ? source :
				   "flags",
			  target);
}

void helper_fail(int socket, const struct guest_error *err)
{
	wire_send_failed(socket, err);
	_exit(1);
}
