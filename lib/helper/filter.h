/* SPDX-License-Identifier: MIT */
/* What seccomp_filter.c and who installs its filters agree on. */
#ifndef GUEST_HELPER_FILTER_H
#define GUEST_HELPER_FILTER_H

/* Stands in the filter where each keeper's own word (base/sys.h) shall be. Any number would do, but
 * for those that the filter has for something else. */
#define FILTER_WORD 0x9d1e5b7a3c2f8461ULL

#endif
