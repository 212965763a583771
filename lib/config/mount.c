// SPDX-License-Identifier: MIT
#include <errno.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mnt.h"
#include "config/config.h"

static const struct {
	const char *name;
	uint32_t set, clear;
} attribute_options[] = {
	{ "ro", MOUNT_ATTR_RDONLY, 0 },	      { "rw", 0, MOUNT_ATTR_RDONLY },
	{ "nosuid", MOUNT_ATTR_NOSUID, 0 },   { "nodev", MOUNT_ATTR_NODEV, 0 },
	{ "noexec", MOUNT_ATTR_NOEXEC, 0 },   { "exec", 0, MOUNT_ATTR_NOEXEC },
	{ "noatime", MOUNT_ATTR_NOATIME, 0 },
};

static bool is(const char *name, size_t size, const char *wanted)
{
	return strlen(wanted) == size && memcmp(name, wanted, size) == 0;
}

static bool read_attribute(struct config_mount *to, const char *name, size_t size)
{
	for (size_t i = 0; i < sizeof(attribute_options) / sizeof(attribute_options[0]); i++) {
		if (!is(name, size, attribute_options[i].name))
			continue;
		to->attributes |= attribute_options[i].set;
		to->attributes &= ~attribute_options[i].clear;
		return true;
	}
	return false;
}

static bool read_bind_option(struct config_mount *to, const char *name, size_t size)
{
	if (is(name, size, "norecurse"))
		to->recurse = false;
	else if (is(name, size, "noidmap"))
		to->idmap = false;
	else
		return is(name, size, "bind") || is(name, size, "rbind");
	return true;
}

/* Digits and a suffix only: the text goes to the kernel, and a comma in it would be another option.
 */
static bool read_tmpfs_option(struct config_mount *to, const char *name, size_t size,
			      const char *value, size_t value_size)
{
	size_t used = strlen(to->tmpfs_data), room = CONFIG_TMPFS_MAX - used;
	size_t digits = value ? strspn(value, "0123456789") : 0;

	if (!is(name, size, "size") && !is(name, size, "nr_inodes") && !is(name, size, "mode"))
		return false;
	if (!value || value_size == 0 || value_size > 20 || digits == 0 ||
	    digits < value_size - !!strchr("kKmMgG%", value[value_size - 1]))
		return false;
	return snprintf(to->tmpfs_data + used, room, "%s%.*s=%.*s", used ? "," : "", (int)size,
			name, (int)value_size, value) < (int)room;
}

static int read_options(struct config_mount *to, const struct guest_mount *mount,
			struct guest_error *err)
{
	char *at = (char *)mount->options, *name, *value;
	size_t name_size, value_size;
	struct mnt mnt;
	int r = at ? mnt_load(&mnt, GUEST_STAGE_CONFIG, err) : 0;

	if (r < 0)
		return r;
	while (at &&
	       (r = mnt.mnt_optstr_next_option(&at, &name, &name_size, &value, &value_size)) == 0) {
		bool known = !value && read_attribute(to, name, name_size);

		if (!known && mount->type == GUEST_MOUNT_BIND)
			known = !value && read_bind_option(to, name, name_size);
		else if (!known)
			known = read_tmpfs_option(to, name, name_size, value, value_size);
		if (!known)
			return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
					  "mount on %.60s: option \"%.*s\"", mount->target,
					  (int)(name_size > 60 ? 60 : name_size), name);
	}
	if (r < 0)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "mount on %.60s: options cannot be parsed", mount->target);
	return 0;
}

int config_get_mount(struct guest_mount *mount, const struct guest_config *config, size_t index,
		     struct guest_error *err)
{
	const void *from = (const char *)config->mounts + index * config->mounts[0].size;
	uint32_t size;
	int r;

	memcpy(&size, from, sizeof(size)); /* aligned only if the first one's size is */
	if (size > config->mounts[0].size)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "mounts are of different sizes");
	*mount = (struct guest_mount){ 0 };
	r = config_copy_in(mount, sizeof(*mount), from, "guest_mount", err);
	mount->size = sizeof(*mount);
	return r;
}

int config_read_mount(struct config_mount *to, const struct guest_mount *mount,
		      struct guest_error *err)
{
	if (mount->type != GUEST_MOUNT_BIND && mount->type != GUEST_MOUNT_TMPFS)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "unknown mount type %u",
				  mount->type);
	if (!mount->target || mount->target[0] != '/' || !mount->target[strspn(mount->target, "/")])
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "a mount's target must be an absolute path below /");
	if ((mount->type == GUEST_MOUNT_BIND) != !!mount->source)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "mount on %.60s: a bind needs a source, a tmpfs has none",
				  mount->target);
	*to = (struct config_mount){
		.attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
		.recurse = true,
		.idmap = true,
	};
	return read_options(to, mount, err);
}
