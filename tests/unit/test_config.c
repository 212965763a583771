// SPDX-License-Identifier: MIT
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/config.h"

struct larger_config {
	struct guest_config config;
	char tail[64];
};

static struct guest_config config_of(void)
{
	struct guest_config config;

	ck_assert_int_eq(guest_config_init(&config, sizeof(config)), 0);
	return config;
}

static struct guest_command command_of(void)
{
	static const char *const argv[] = { "true", NULL };
	struct guest_command command;

	ck_assert_int_eq(guest_command_init(&command, sizeof(command)), 0);
	command.argv = argv;
	return command;
}

static int read_config(const struct guest_config *config)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest_config checked;
	int r = config_read(&checked, config, &err);

	if (r < 0) {
		ck_assert_int_eq(err.code, r);
		ck_assert_int_ne(err.message[0], '\0');
	}
	return r;
}

static int read_command(const struct guest_command *command)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest_command checked;
	int r = config_read_command(&checked, command, &err);

	if (r < 0) {
		ck_assert_int_eq(err.code, r);
		ck_assert_int_eq(err.stage, GUEST_STAGE_CONFIG);
	}
	return r;
}

START_TEST(defaults_are_the_documented_ones)
{
	struct guest_config config = config_of();

	ck_assert_uint_eq(config.size, sizeof(config));
	ck_assert_int_eq(config.rootfs_fd, -1);
	ck_assert_ptr_null(config.rootfs_path);
	ck_assert_uint_eq(config.network, GUEST_NETWORK_NONE);
	ck_assert_uint_eq(config.writable_bytes, 1ULL << 30);
	ck_assert_uint_eq(config.writable_inodes, 1048576);
	ck_assert_uint_eq(config.rootfs_bytes, 4ULL << 30);
	ck_assert_uint_eq(config.rootfs_inodes, 1048576);
	ck_assert_uint_eq(config.flags | config.uid | config.gid, 0);
	ck_assert_uint_eq(config.memory_bytes | config.pids_max | config.cpu_quota, 0);
}
END_TEST

START_TEST(command_defaults_are_the_documented_ones)
{
	struct guest_command command;

	ck_assert_int_eq(guest_command_init(&command, sizeof(command)), 0);
	ck_assert_uint_eq(command.size, sizeof(command));
	ck_assert_int_eq(command.stdin_fd, -1);
	ck_assert_int_eq(command.stdout_fd, -1);
	ck_assert_int_eq(command.stderr_fd, -1);
	ck_assert_uint_eq(command.output_limit_bytes, 256ULL << 20);
	ck_assert_uint_eq(command.timeout_ns, 0);
	ck_assert_ptr_null(command.argv);
}
END_TEST

START_TEST(init_refuses_what_it_cannot_fill)
{
	static char room[8192];
	struct guest_config *config = (struct guest_config *)room;

	ck_assert_int_eq(guest_config_init(NULL, sizeof(*config)), -EINVAL);
	ck_assert_int_eq(guest_config_init(config, 0), -EINVAL);
	ck_assert_int_eq(guest_config_init(config, 4), -EINVAL);
	ck_assert_int_eq(guest_config_init(config, CONFIG_STRUCT_MAX + 1), -E2BIG);
	ck_assert_int_eq(guest_config_init(config, SIZE_MAX), -E2BIG);
	ck_assert_int_eq(guest_command_init(NULL, sizeof(struct guest_command)), -EINVAL);
}
END_TEST

START_TEST(init_writes_no_more_than_the_size)
{
	for (size_t size = 8; size <= sizeof(struct larger_config); size++) {
		unsigned char *exact = malloc(size + 1);

		exact[size] = 0xa5;
		ck_assert_int_eq(guest_config_init((struct guest_config *)exact, size), 0);
		ck_assert_uint_eq(exact[size], 0xa5);
		ck_assert_uint_eq(*(uint32_t *)exact, size);
		free(exact);
	}
}
END_TEST

START_TEST(shorter_structs_count_as_zero_behind)
{
	struct guest_config whole = config_of(), checked;

	for (uint32_t size = 8; size < sizeof(whole); size += sizeof(void *)) {
		void *exact = malloc(size); /* so that a sanitizer sees a read beyond */

		memcpy(exact, &whole, size);
		memcpy(exact, &size, sizeof(size));
		ck_assert_int_eq(config_read(&checked, exact, NULL), 0);
		ck_assert_uint_eq(checked.writable_bytes, 1ULL << 30);
		ck_assert_str_eq(checked.hostname, "guest");
		free(exact);
	}
}
END_TEST

START_TEST(longer_structs_need_a_zero_tail)
{
	struct larger_config larger;

	ck_assert_int_eq(guest_config_init(&larger.config, sizeof(larger)), 0);
	ck_assert_int_eq(read_config(&larger.config), 0);
	for (size_t i = 0; i < sizeof(larger.tail); i++) {
		larger.tail[i] = 1;
		ck_assert_int_eq(read_config(&larger.config), -E2BIG);
		larger.tail[i] = 0;
	}
}
END_TEST

START_TEST(sizes_that_cannot_be_are_refused)
{
	struct guest_config config = config_of();

	for (uint32_t size = 0; size < 8; size++) {
		config.size = size;
		ck_assert_int_eq(read_config(&config), -EINVAL);
	}
	config.size = sizeof(config) - 1; /* in the middle of its last pointer */
	ck_assert_int_eq(read_config(&config), -EINVAL);
	config.size = UINT32_MAX;
	ck_assert_int_eq(read_config(&config), -E2BIG);
	config.size = CONFIG_STRUCT_MAX + 1;
	ck_assert_int_eq(read_config(&config), -E2BIG);
}
END_TEST

START_TEST(null_config_is_the_default)
{
	struct guest_config checked;

	ck_assert_int_eq(config_read(&checked, NULL, NULL), 0);
	ck_assert_str_eq(checked.hostname, "guest");
	ck_assert_uint_eq(checked.writable_bytes, 1ULL << 30);
}
END_TEST

START_TEST(hostnames_are_checked)
{
	static const char *const bad[] = { "", "a b", "a\nb", "a/b", "\xc3\xa4",
					   "x23456789012345678901234567890123456789012345678901234567890123456" };
	struct guest_config config = config_of();

	config.hostname = "A-z_0.9";
	ck_assert_int_eq(read_config(&config), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		config.hostname = bad[i];
		ck_assert_msg(read_config(&config) == -EINVAL, "\"%s\"", bad[i]);
	}
	config.hostname = "x234567890123456789012345678901234567890123456789012345678901234";
	ck_assert_int_eq(read_config(&config), 0);
}
END_TEST

#define REFUSES(field, value, wanted)                               \
	do {                                                        \
		struct guest_config config_ = config_of();          \
		config_.field = (value);                            \
		ck_assert_int_eq(read_config(&config_), (wanted)); \
	} while (0)

START_TEST(configs_that_make_no_sense_are_refused)
{
	struct guest_config both = config_of();

	REFUSES(flags, 16, -EINVAL);
	REFUSES(flags, 1U << 31, -EINVAL);
	REFUSES(network, 2, -EINVAL);
	REFUSES(uid, UINT32_MAX, -EINVAL);
	REFUSES(gid, UINT32_MAX, -EINVAL);
	REFUSES(mounts_count, 1, -EINVAL);
	REFUSES(writable_inodes, 1, -EINVAL);
	both.rootfs_path = "/x";
	both.rootfs_fd = 0;
	ck_assert_int_eq(read_config(&both), -EINVAL);
}
END_TEST

START_TEST(commands_that_make_no_sense_are_refused)
{
	static const char *const none[] = { NULL };
	struct guest_command command;

	ck_assert_int_eq(read_command(NULL), -EINVAL);
	command = command_of();
	ck_assert_int_eq(read_command(&command), 0);
	command.flags = 1U << 30;
	ck_assert_int_eq(read_command(&command), -EINVAL);
	command = command_of();
	command.argv = NULL;
	ck_assert_int_eq(read_command(&command), -EINVAL);
	command.argv = none;
	ck_assert_int_eq(read_command(&command), -EINVAL);
	command = command_of();
	command.cwd = "relative";
	ck_assert_int_eq(read_command(&command), -EINVAL);
	command = command_of();
	command.reserved = 1;
	ck_assert_int_eq(read_command(&command), -EINVAL);
}
END_TEST

START_TEST(commands_with_two_inputs_or_outputs_are_refused)
{
	struct guest_command command = command_of();

	command.stdin_fd = 0;
	command.stdin_data = "x";
	command.stdin_size = 1;
	ck_assert_int_eq(read_command(&command), -EINVAL);
	command = command_of();
	command.stdin_size = 1;
	ck_assert_int_eq(read_command(&command), -EINVAL);
	command = command_of();
	command.stderr_fd = 1;
	command.flags = GUEST_MERGE_STDERR;
	ck_assert_int_eq(read_command(&command), -EINVAL);
}
END_TEST

START_TEST(capability_text_becomes_masks)
{
	static const struct {
		const char *text;
		uint32_t uid;
		uint64_t permitted, inheritable;
	} cases[] = {
		{ NULL, 0, 0x5fb, 0 },
		{ NULL, 1, 0, 0 },
		{ "=", 0, 0, 0 },
		{ "", 0, 0, 0 },
		{ "cap_chown=ep", 0, 1, 0 },
		{ "cap_chown,cap_setuid=ep", 0, 0x81, 0 },
		{ "cap_chown=eip", 0, 1, 1 },
		{ "cap_chown=i", 0, 0, 0 },
		{ "cap_chown=ep", 1000, 1, 1 },
		{ "=ep cap_sys_admin-ep", 0, ~(1ULL << 21), 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t known = cases[i].permitted == ~(1ULL << 21) ? 0xffffffffffULL : UINT64_MAX;
		uint64_t permitted = 9, inheritable = 9;

		ck_assert_int_eq(config_read_capabilities(cases[i].text, cases[i].uid, &permitted, &inheritable,
							  NULL), 0);
		ck_assert_msg((permitted & known) == (cases[i].permitted & known), "case %zu: %#llx", i,
			      (unsigned long long)permitted);
		ck_assert_uint_eq(inheritable, cases[i].inheritable);
	}
}
END_TEST

START_TEST(capability_text_that_makes_no_sense_is_refused)
{
	static const char *const bad[] = { "cap_fly=ep", "ep", "cap_chown", "cap_chown=x", "%s%s%s%n" };
	struct guest_error err;
	uint64_t permitted = 9, inheritable = 9;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err = (struct guest_error){ .size = sizeof(err) };
		ck_assert_msg(config_read_capabilities(bad[i], 0, &permitted, &inheritable, &err) == -EINVAL, "%s",
			      bad[i]);
		ck_assert_ptr_nonnull(strstr(err.message, bad[i]));
	}
	ck_assert_uint_eq(permitted, 9);
}
END_TEST

static struct guest_config *copy_of(const struct guest_config *config)
{
	struct guest_config checked, *copy = NULL;
	struct guest_error err = { .size = sizeof(err) };

	ck_assert_int_eq(config_read(&checked, config, &err), 0);
	ck_assert_int_eq(config_copy(&copy, &checked, &err), 0);
	return copy;
}

START_TEST(copy_needs_nothing_of_the_original)
{
	struct odd_mount {
		struct guest_mount mount;
		uint32_t tail[2];
	} mounts[] = {
		{ .mount = { .type = GUEST_MOUNT_BIND, .source = "/source", .target = "/a", .options = "ro" } },
		{ .mount = { .type = GUEST_MOUNT_TMPFS, .target = "/b" } },
	};
	char *hostname = strdup("host.name"), *device = strdup("/dev/sda wiops=1\n8:0 riops=2");
	struct guest_config config = config_of(), *copy;

	mounts[0].mount.size = mounts[1].mount.size = sizeof(mounts[0]);
	config.hostname = hostname;
	config.io_max = device;
	config.capabilities = "";
	config.cgroup_parent = "/sys/fs/cgroup/parent";
	config.rootfs_path = "/root.tar";
	config.mounts = &mounts[0].mount;
	config.mounts_count = 2;
	config.budget_wall_ns = 4711;
	copy = copy_of(&config);
	free(hostname);
	free(device);
	memset(mounts, 'X', sizeof(mounts));
	ck_assert_str_eq(copy->hostname, "host.name");
	ck_assert_str_eq(copy->io_max, "/dev/sda wiops=1\n8:0 riops=2");
	ck_assert_str_eq(copy->capabilities, "");
	ck_assert_str_eq(copy->cgroup_parent, "/sys/fs/cgroup/parent");
	ck_assert_str_eq(copy->rootfs_path, "/root.tar");
	ck_assert_uint_eq(copy->budget_wall_ns, 4711);
	ck_assert_uint_eq(copy->mounts_count, 2);
	ck_assert_uint_eq(copy->mounts[0].size, sizeof(copy->mounts[0]));
	ck_assert_str_eq(copy->mounts[0].source, "/source");
	ck_assert_str_eq(copy->mounts[0].target, "/a");
	ck_assert_str_eq(copy->mounts[0].options, "ro");
	ck_assert_uint_eq(copy->mounts[1].type, GUEST_MOUNT_TMPFS);
	ck_assert_ptr_null(copy->mounts[1].source);
	ck_assert_str_eq(copy->mounts[1].target, "/b");
	ck_assert_ptr_null(copy->mounts[1].options);
	free(copy);
}
END_TEST

START_TEST(copy_of_defaults_has_no_more_than_they)
{
	struct guest_config *copy = copy_of(NULL);

	ck_assert_str_eq(copy->hostname, "guest");
	ck_assert_int_eq(copy->rootfs_fd, -1);
	ck_assert_ptr_null(copy->rootfs_path);
	ck_assert_ptr_null(copy->capabilities);
	ck_assert_ptr_null(copy->io_max);
	ck_assert_ptr_null(copy->cgroup_parent);
	ck_assert_uint_eq(copy->mounts_count, 0);
	free(copy);
}
END_TEST

START_TEST(copy_has_absolute_paths)
{
	struct guest_mount mount = { .size = sizeof(mount), .source = "in/./it", .target = "/a" };
	struct guest_config config = config_of(), *copy;
	char *here = getcwd(NULL, 0), wanted[4200];

	config.rootfs_path = "root.tar";
	config.mounts = &mount;
	config.mounts_count = 1;
	copy = copy_of(&config);
	snprintf(wanted, sizeof(wanted), "%s/root.tar", here);
	ck_assert_str_eq(copy->rootfs_path, wanted);
	snprintf(wanted, sizeof(wanted), "%s/in/./it", here);
	ck_assert_str_eq(copy->mounts[0].source, wanted);
	ck_assert_str_eq(copy->mounts[0].target, "/a");
	free(copy);
	config.rootfs_path = ""; /* no path at all, as before */
	copy = copy_of(&config);
	ck_assert_str_eq(copy->rootfs_path, "");
	free(copy);
	free(here);
}
END_TEST

START_TEST(mounts_that_cannot_be_copied_are_refused)
{
	struct guest_mount mounts[2] = { { .size = sizeof(mounts[0]), .target = "/a" }, { .size = 4, .target = "/b" } };
	struct guest_config config = config_of(), *copy = NULL;

	config.mounts = mounts;
	config.mounts_count = 2;
	ck_assert_int_eq(config_copy(&copy, &config, NULL), -EINVAL);
	mounts[1].size = sizeof(mounts[0]) + 1;
	ck_assert_int_eq(config_copy(&copy, &config, NULL), -EINVAL);
	ck_assert_ptr_null(copy);
	config.mounts_count = CONFIG_MOUNTS_MAX + 1;
	ck_assert_int_eq(read_config(&config), -E2BIG);
}
END_TEST

TCase *config_case(void)
{
	TCase *tcase = tcase_create("config");

	tcase_add_test(tcase, defaults_are_the_documented_ones);
	tcase_add_test(tcase, command_defaults_are_the_documented_ones);
	tcase_add_test(tcase, init_refuses_what_it_cannot_fill);
	tcase_add_test(tcase, init_writes_no_more_than_the_size);
	tcase_add_test(tcase, shorter_structs_count_as_zero_behind);
	tcase_add_test(tcase, longer_structs_need_a_zero_tail);
	tcase_add_test(tcase, sizes_that_cannot_be_are_refused);
	tcase_add_test(tcase, null_config_is_the_default);
	tcase_add_test(tcase, hostnames_are_checked);
	tcase_add_test(tcase, configs_that_make_no_sense_are_refused);
	tcase_add_test(tcase, commands_that_make_no_sense_are_refused);
	tcase_add_test(tcase, commands_with_two_inputs_or_outputs_are_refused);
	tcase_add_test(tcase, capability_text_becomes_masks);
	tcase_add_test(tcase, capability_text_that_makes_no_sense_is_refused);
	tcase_add_test(tcase, copy_needs_nothing_of_the_original);
	tcase_add_test(tcase, copy_of_defaults_has_no_more_than_they);
	tcase_add_test(tcase, copy_has_absolute_paths);
	tcase_add_test(tcase, mounts_that_cannot_be_copied_are_refused);
	return tcase;
}
