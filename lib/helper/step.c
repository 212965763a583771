// SPDX-License-Identifier: MIT
#include <errno.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "base/sys.h"
#include "helper/helper.h"

union helper_message helper_message HELPER_BEHIND(2);

const int helper_shared_limits[HELPER_SHARED_LIMITS] = { RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE,
							 RLIMIT_MEMLOCK };

void helper_divide_limit(int resource, unsigned int divisor)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return;
	limit.rlim_cur /= divisor;
	setrlimit(resource, &limit);
}

int helper_mount(const char *source, const char *target, const char *type, unsigned long flags,
		 const char *data, int stage, struct guest_error *err)
{
	if (sys_mount(source, target, type, flags, data) == 0)
		return 0;
	return error_make(err, errno, stage, "%s on %s",
			  type	 ? type :
			  source ? source :
				   "flags",
			  target);
}

int helper_explain_apparmor(struct guest_error *err)
{
	return error_remedy(
		err, "if AppArmor keeps user namespaces from programs without a profile: load "
		     "guest-helper.apparmor, installed with libguest, or sysctl "
		     "kernel.apparmor_restrict_unprivileged_userns=0");
}

void helper_fail(int socket, const struct guest_error *err)
{
	wire_send_failed(socket, err);
	_exit(1);
}
