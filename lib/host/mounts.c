// SPDX-License-Identifier: MIT
/*
 * A bind's source is looked up here, by the caller's rights. A host that is root makes the mount
 * itself, idmapped, and hands it over; else the holder binds the path again in the keeper's copy of
 * the host's tree, and compares device and inode with what was found here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"
#include "config/config.h"
#include "host/host.h"

/* A mount of its own of what is at `path`, idmapped if that can be. */
static int make_tree(int source, const struct config_mount *options, const struct keeper *keeper,
		     const char *path, struct guest_error *err)
{
	unsigned int recurse = options->recurse ? AT_RECURSIVE : 0;
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP,
				   .userns_fd = (uint64_t)keeper->user_ns };
	int tree = fd_above_stdio(sys_open_tree(
		source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recurse));
	int r;

	if (tree < 0)
		return error_make(err, errno, GUEST_STAGE_MOUNT_USER, "bind of %.100s", path);
	if (!options->idmap || sys_mount_setattr(tree, "", AT_EMPTY_PATH | recurse, &attr) == 0)
		return tree;
	/* what is read-only harms nobody as it is: it belongs to nobody, and others may read it or
	 * not */
	if (errno == EINVAL && options->attributes & MOUNT_ATTR_RDONLY)
		return tree;
	r = error_make(err, errno == EINVAL ? EOPNOTSUPP : errno, GUEST_STAGE_MOUNT_USER,
		       "%.60s cannot be mounted idmapped", path);
	if (r == -EOPNOTSUPP)
		error_remedy(
			err,
			"mount it ro, or with noidmap (its files then belong to nobody), or from ext4, xfs "
			"or btrfs");
	fd_close(&tree);
	return r;
}

static int add_source(struct request *request, struct wire_mount *wire,
		      const struct guest_mount *mount, const struct config_mount *options,
		      const struct keeper *keeper, struct guest_error *err)
{
	cleanup_free char *path = realpath(mount->source, NULL);
	cleanup_fd int source = path ? fd_above_stdio(open(path, O_PATH | O_CLOEXEC)) : -1;
	struct stat st;
	int r;

	if (source < 0 || fstat(source, &st) < 0)
		return error_make(err, errno, GUEST_STAGE_MOUNT_USER, "source %.100s",
				  mount->source);
	wire->device = st.st_dev;
	wire->inode = st.st_ino;
	wire->is_directory = S_ISDIR(st.st_mode);
	if (keeper->user_ns < 0) {
		r = request_add_string(request, path, err);
		wire->source = r < 0 ? 0 : (uint32_t)r;
		((struct wire_create *)request->bytes)->flags |= WIRE_CREATE_HOST_TREE;
		return r < 0 ? r : 0;
	}
	r = make_tree(source, options, keeper, path, err);
	if (r < 0)
		return r;
	r = request_add_fd(request, r, err);
	if (r < 0)
		return r;
	wire->tree = r - 1; /* the guest socket comes before them */
	return 0;
}

/* A tmpfs whose size is not given may be as large as what the guest may write otherwise. */
static void cap_tmpfs(struct config_mount *options, const struct guest_config *config)
{
	size_t used = strlen(options->tmpfs_data);

	if (!strstr(options->tmpfs_data, "size="))
		used += (size_t)snprintf(options->tmpfs_data + used,
					 sizeof(options->tmpfs_data) - used, "%ssize=%llu",
					 used ? "," : "",
					 (unsigned long long)config->writable_bytes);
	if (!strstr(options->tmpfs_data, "nr_inodes="))
		snprintf(options->tmpfs_data + used, sizeof(options->tmpfs_data) - used,
			 ",nr_inodes=%llu", (unsigned long long)config->writable_inodes);
}

static int add_one(struct request *request, const struct guest_config *config,
		   const struct keeper *keeper, size_t index, struct guest_error *err)
{
	struct wire_mount wire = { .tree = -1 };
	struct config_mount options;
	struct guest_mount mount;
	int r;

	r = config_get_mount(&mount, config, index, err);
	if (r == 0)
		r = config_read_mount(&options, &mount, err);
	if (r < 0)
		return r;
	cap_tmpfs(&options, config);
	wire.type = mount.type;
	wire.attributes = options.attributes;
	wire.recurse = options.recurse;
	if (mount.type == GUEST_MOUNT_BIND)
		r = add_source(request, &wire, &mount, &options, keeper, err);
	if (r >= 0)
		r = request_add_string(request, mount.target, err);
	if (r < 0)
		return r;
	wire.target = (uint32_t)r;
	r = request_add_string(request, options.tmpfs_data, err);
	if (r < 0)
		return r;
	wire.data = (uint32_t)r;
	memcpy(request->bytes + sizeof(struct wire_create) + index * sizeof(wire), &wire,
	       sizeof(wire));
	return 0;
}

_Static_assert(CONFIG_MOUNTS_MAX <= WIRE_MOUNTS_MAX, "a guest takes as many as a config has");

int host_add_mounts(struct request *request, const struct guest_config *config,
		    const struct keeper *keeper, struct guest_error *err)
{
	static const struct wire_mount none[CONFIG_MOUNTS_MAX];
	int r;

	if (config->mounts_count == 0)
		return 0;
	r = request_add(request, none, config->mounts_count * sizeof(none[0]), err);
	for (size_t i = 0; r >= 0 && i < config->mounts_count; i++)
		r = add_one(request, config, keeper, i, err);
	if (r < 0)
		return r;
	((struct wire_create *)request->bytes)->mounts_count = (uint32_t)config->mounts_count;
	return 0;
}
