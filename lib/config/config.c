// SPDX-License-Identifier: MIT
#include "config/config.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

#define DEFAULT_WRITABLE_BYTES (1ULL << 30)
#define DEFAULT_WRITABLE_INODES (1ULL << 20)
#define DEFAULT_ROOTFS_BYTES (4ULL << 30)
#define DEFAULT_ROOTFS_INODES (1ULL << 20)
#define DEFAULT_OUTPUT_LIMIT (256ULL << 20)
#define WRITABLE_INODES_MIN 64 /* a guest's own directories need some */
#define HOSTNAME_MAX 64	       /* __NEW_UTS_LEN */

#define CPU_WEIGHT_MAX 10000
#define MEMORY_MIN (1 << 20) /* less holds no program */

#define CONFIG_FLAGS (GUEST_NO_SECCOMP | GUEST_BEST_EFFORT | GUEST_CGROUP | GUEST_MOVE_HOST)
#define COMMAND_FLAGS \
	(GUEST_TRUNCATE_OUTPUT | GUEST_MERGE_STDERR | GUEST_NO_CAPTURE | GUEST_KEEP_BACKGROUND)

/* Fill the caller's struct, of whatever size, with the first bytes of the defaults. */
static int init_struct(void *to, size_t size, const void *defaults, size_t known)
{
	uint32_t size32 = (uint32_t)size;

	if (!to || size < sizeof(size32) * 2)
		return -EINVAL;
	if (size > CONFIG_STRUCT_MAX)
		return -E2BIG;
	memset(to, 0, size);
	memcpy(to, defaults, size < known ? size : known);
	memcpy(to, &size32, sizeof(size32));
	return 0;
}

int guest_config_init(struct guest_config *config, size_t size)
{
	const struct guest_config defaults = {
		.rootfs_fd = -1,
		.network = GUEST_NETWORK_NONE,
		.writable_bytes = DEFAULT_WRITABLE_BYTES,
		.writable_inodes = DEFAULT_WRITABLE_INODES,
		.rootfs_bytes = DEFAULT_ROOTFS_BYTES,
		.rootfs_inodes = DEFAULT_ROOTFS_INODES,
	};

	return init_struct(config, size, &defaults, sizeof(defaults));
}

int guest_command_init(struct guest_command *command, size_t size)
{
	const struct guest_command defaults = {
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = -1,
		.output_limit_bytes = DEFAULT_OUTPUT_LIMIT,
	};

	return init_struct(command, size, &defaults, sizeof(defaults));
}

int guest_limits_init(struct guest_limits *limits, size_t size)
{
	const struct guest_limits defaults = {
		.memory_bytes = GUEST_LIMIT_KEEP,
		.memory_high_bytes = GUEST_LIMIT_KEEP,
		.pids_max = GUEST_LIMIT_KEEP,
		.cpu_quota = GUEST_LIMIT_KEEP,
		.cpu_weight = GUEST_LIMIT_KEEP,
	};

	return init_struct(limits, size, &defaults, sizeof(defaults));
}

int config_read_limits(struct guest_limits *limits, const struct guest_limits *from,
		       struct guest_error *err)
{
	int r;

	if (!from)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "limits is NULL");
	guest_limits_init(limits, sizeof(*limits));
	r = config_copy_in(limits, sizeof(*limits), from, "guest_limits", err);
	if (r < 0)
		return r;
	if (limits->flags)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "unknown flags %#x",
				  limits->flags);
	if (limits->memory_bytes > 0 && limits->memory_bytes < MEMORY_MIN)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "memory_bytes is below %d",
				  MEMORY_MIN);
	if (limits->cpu_weight > CPU_WEIGHT_MAX && limits->cpu_weight != GUEST_LIMIT_KEEP)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "cpu_weight is above %d",
				  CPU_WEIGHT_MAX);
	return 0;
}

int config_copy_in(void *to, size_t known, const void *from, const char *name,
		   struct guest_error *err)
{
	const char *bytes = from;
	uint32_t size;

	memcpy(&size, from, sizeof(size));
	if (size > CONFIG_STRUCT_MAX)
		return error_text(err, E2BIG, GUEST_STAGE_CONFIG, "struct %s: size is %u", name,
				  size);
	/* none ends in the middle of a pointer */
	if (size < sizeof(size) * 2 || size % sizeof(void *) != 0)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "struct %s: size is %u; call its _init() or set it to sizeof()",
				  name, size);
	for (size_t i = known; i < size; i++)
		if (bytes[i])
			return error_text(err, E2BIG, GUEST_STAGE_CONFIG,
					  "struct %s has fields that this libguest does not know",
					  name);
	memcpy(to, from, size < known ? size : known);
	return 0;
}

static int check_hostname(const char *hostname, struct guest_error *err)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	size_t length = strnlen(hostname, HOSTNAME_MAX + 1);

	if (length == 0 || length > HOSTNAME_MAX || hostname[strspn(hostname, allowed)])
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "hostname: 1 to %d letters, digits, dots, hyphens or underscores",
				  HOSTNAME_MAX);
	return 0;
}

static uint64_t or_default(uint64_t value, uint64_t default_value)
{
	return value ? value : default_value;
}

static int check_limits(const struct guest_config *config, struct guest_error *err)
{
	if (config->cpu_weight > CPU_WEIGHT_MAX)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "cpu_weight is above %d",
				  CPU_WEIGHT_MAX);
	if (config->memory_bytes > 0 && config->memory_bytes < MEMORY_MIN)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "memory_bytes is below %d",
				  MEMORY_MIN);
	if (config->cgroup_parent && config->cgroup_parent[0] != '/')
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "cgroup_parent is not an absolute path");
	return 0;
}

static int check_config(struct guest_config *config, struct guest_error *err)
{
	if (config->flags & ~(uint32_t)CONFIG_FLAGS)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "unknown flags %#x",
				  config->flags);
	if (config->network > GUEST_NETWORK_HOST)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "unknown network %u",
				  config->network);
	if (config->rootfs_path && config->rootfs_fd >= 0)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "both rootfs_path and rootfs_fd are given");
	if (config->uid == (uint32_t)-1 || config->gid == (uint32_t)-1)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "uid and gid cannot be -1");
	if (config->mounts_count > 0 && !config->mounts)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "mounts is NULL, mounts_count is not 0");
	if (config->mounts_count > CONFIG_MOUNTS_MAX)
		return error_text(err, E2BIG, GUEST_STAGE_CONFIG, "more than %d mounts",
				  CONFIG_MOUNTS_MAX);
	if (config->writable_inodes < WRITABLE_INODES_MIN)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "writable_inodes is below %d",
				  WRITABLE_INODES_MIN);
	if (config->cache_dir && config->cache_dir[0] && config->cache_dir[0] != '/')
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "cache_dir is not an absolute path");
	return check_limits(config, err);
}

int config_read(struct guest_config *config, const struct guest_config *from,
		struct guest_error *err)
{
	int r;

	guest_config_init(config, sizeof(*config));
	r = from ? config_copy_in(config, sizeof(*config), from, "guest_config", err) : 0;
	if (r < 0)
		return r;
	if (!config->hostname)
		config->hostname = "guest";
	config->writable_bytes = or_default(config->writable_bytes, DEFAULT_WRITABLE_BYTES);
	config->writable_inodes = or_default(config->writable_inodes, DEFAULT_WRITABLE_INODES);
	config->rootfs_bytes = or_default(config->rootfs_bytes, DEFAULT_ROOTFS_BYTES);
	config->rootfs_inodes = or_default(config->rootfs_inodes, DEFAULT_ROOTFS_INODES);
	r = check_hostname(config->hostname, err);
	return r < 0 ? r : check_config(config, err);
}

int config_read_command(struct guest_command *command, const struct guest_command *from,
			struct guest_error *err)
{
	int r;

	if (!from)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "command is NULL");
	guest_command_init(command, sizeof(*command));
	r = config_copy_in(command, sizeof(*command), from, "guest_command", err);
	if (r < 0)
		return r;
	if (command->reserved)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "reserved is not 0");
	if (command->flags & ~(uint32_t)COMMAND_FLAGS)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "unknown flags %#x",
				  command->flags);
	if (!command->argv || !command->argv[0])
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "argv is empty");
	if (command->stdin_fd >= 0 && command->stdin_size > 0)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "both stdin_fd and stdin_data are given");
	if (command->stdin_size > 0 && !command->stdin_data)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "stdin_data is NULL, stdin_size is not 0");
	if (command->stderr_fd >= 0 && command->flags & GUEST_MERGE_STDERR)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "both stderr_fd and GUEST_MERGE_STDERR are given");
	if (command->cpu_weight > CPU_WEIGHT_MAX)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "cpu_weight is above %d",
				  CPU_WEIGHT_MAX);
	if (!command->cwd)
		command->cwd = "/";
	if (command->cwd[0] != '/')
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "cwd is not an absolute path");
	return 0;
}
