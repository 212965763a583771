// SPDX-License-Identifier: MIT
#include "host/host.h"

int host_run(struct guest *guest, const struct guest_command *command, struct guest_result *result,
	     struct guest_error *err)
{
	struct pump pump;
	int r = pump_start(&pump, guest, command, false, err);

	if (r == 0)
		r = pump_go(&pump, false, err);
	r = pump_finish(&pump, r, result, err);
	pump_clear(&pump);
	return r;
}
