/* SPDX-License-Identifier: MIT */
/* Tests of single rooms of the library: no namespaces, no helper. They pass anywhere. */
#ifndef UNIT_H
#define UNIT_H

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "guest/guest.h"

TCase *config_case(void);
TCase *mount_case(void);
TCase *error_case(void);
TCase *fd_case(void);
TCase *wire_case(void);
TCase *output_case(void);
TCase *rootfs_case(void);

/* How many fds this process has. */
int count_fds(void);

#endif
