/* SPDX-License-Identifier: MIT */
/*
 * The caller's structs: defaults, sizes, validation, text to masks. What leaves this room is
 * complete and makes sense; the rooms above need not check again.
 */
#ifndef GUEST_CONFIG_CONFIG_H
#define GUEST_CONFIG_CONFIG_H

#include <stdbool.h>

#include "guest/guest.h"

#define CONFIG_STRUCT_MAX 4096 /* bytes; no public struct will ever be larger */
#define CONFIG_MOUNTS_MAX 128

/*
 * Copy a struct of the caller's (which begins with its size) over one of `known` bytes that holds
 * the defaults, by the kernel's rule for extensible structs: of a shorter one the defaults stay. 0,
 * -EINVAL or -E2BIG.
 */
int config_copy_in(void *to, size_t known, const void *from, const char *name,
		   struct guest_error *err);

/* A caller's config, checked, with every 0 that stands for a default replaced. NULL: the defaults.
 */
int config_read(struct guest_config *config, const struct guest_config *from,
		struct guest_error *err);

/*
 * A copy of a config that has been read, with all that it points to, in one block: to be freed.
 * Relative paths become absolute, and hold wherever the caller goes. rootfs_fd is left as it is.
 */
int config_copy(struct guest_config **ret_copy, const struct guest_config *config,
		struct guest_error *err);

int config_read_command(struct guest_command *command, const struct guest_command *from,
			struct guest_error *err);

int config_read_limits(struct guest_limits *limits, const struct guest_limits *from,
		       struct guest_error *err);

/* What the text of guest_config.capabilities says, as bit masks. NULL: the default for this uid. */
int config_read_capabilities(const char *text, uint32_t uid, uint64_t *ret_permitted,
			     uint64_t *ret_inheritable, struct guest_error *err);

#define CONFIG_TMPFS_MAX 128 /* bytes of a tmpfs' own options */

/* The options of a guest_mount, taken apart. */
struct config_mount {
	uint32_t attributes; /* MOUNT_ATTR_* */
	bool recurse;
	bool idmap;
	/* what mount(2) is given as data; with room for the limits that are not among them */
	char tmpfs_data[CONFIG_TMPFS_MAX + 64];
};

/* The mount at `index` of a config that has been read, by the stride of its array. */
int config_get_mount(struct guest_mount *mount, const struct guest_config *config, size_t index,
		     struct guest_error *err);

int config_read_mount(struct config_mount *to, const struct guest_mount *mount,
		      struct guest_error *err);

#endif
