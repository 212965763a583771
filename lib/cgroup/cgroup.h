/* SPDX-License-Identifier: MIT */
/* Control groups, version 2: where this process's own is, and what may be done below it. */
#ifndef GUEST_CGROUP_CGROUP_H
#define GUEST_CGROUP_CGROUP_H

#include <stdbool.h>

#include "guest/guest.h"

struct cgroup_place {
	char path[4096]; /* of this process's own group, below the mount of cgroup2; "" if there is
			    no such mount */
	bool writable;	 /* groups can be made in it */
	bool memory, pids, cpu; /* controllers that it could hand to groups below it */
};

/* Find it, through the mount table and /proc/self/cgroup. That there is none is not an error. */
int cgroup_find(struct cgroup_place *place, struct guest_error *err);

#endif
