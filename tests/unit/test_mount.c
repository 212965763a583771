// SPDX-License-Identifier: MIT
#include "unit.h"

#include <linux/mount.h>
#include <stdlib.h>

#include "config/config.h"

#define ALWAYS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

static int read_mount(struct config_mount *to, uint32_t type, const char *options)
{
	const struct guest_mount from = {
		.size = sizeof(from),
		.type = type,
		.source = type == GUEST_MOUNT_BIND ? "/source" : NULL,
		.target = "/target",
		.options = options,
	};
	struct guest_error err = { .size = sizeof(err) };

	return config_read_mount(to, &from, &err);
}

START_TEST(options_of_binds_are_read)
{
	static const struct {
		const char *options;
		uint32_t attributes;
		bool recurse, idmap;
	} cases[] = {
		{ NULL, ALWAYS, true, true },
		{ "", ALWAYS, true, true },
		{ "ro", ALWAYS | MOUNT_ATTR_RDONLY, true, true },
		{ "ro,rw", ALWAYS, true, true },
		{ "ro,noexec,noatime", ALWAYS | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME, true, true },
		{ "noexec,exec", ALWAYS, true, true },
		{ "norecurse", ALWAYS, false, true },
		{ "noidmap,nosuid,nodev", ALWAYS, true, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config_mount mount;

		ck_assert_int_eq(read_mount(&mount, GUEST_MOUNT_BIND, cases[i].options), 0);
		ck_assert_msg(mount.attributes == cases[i].attributes, "%s: %#x", cases[i].options, mount.attributes);
		ck_assert_int_eq(mount.recurse, cases[i].recurse);
		ck_assert_int_eq(mount.idmap, cases[i].idmap);
		ck_assert_str_eq(mount.tmpfs_data, "");
	}
}
END_TEST

START_TEST(options_of_tmpfs_are_read)
{
	static const char *const cases[][2] = {
		{ "size=64m", "size=64m" },
		{ "ro,size=1g,nr_inodes=5k,mode=0700", "size=1g,nr_inodes=5k,mode=0700" },
		{ "size=50%", "size=50%" },
		{ "mode=1777,noexec", "mode=1777" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config_mount mount;

		ck_assert_int_eq(read_mount(&mount, GUEST_MOUNT_TMPFS, cases[i][0]), 0);
		ck_assert_str_eq(mount.tmpfs_data, cases[i][1]);
	}
}
END_TEST

START_TEST(unknown_options_are_refused)
{
	static const char *const bad[] = { "suid", "dev", "RO", "ro=1", "size=1m", "loop", "x-mount.mkdir", "remount",
					   "\"ro\"", "ro\nrw", "\xff", "norecurse=1", "lowerdir=/x" };
	struct config_mount mount;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(read_mount(&mount, GUEST_MOUNT_BIND, bad[i]) == -EINVAL, "%s", bad[i]);
}
END_TEST

START_TEST(nothing_but_numbers_reaches_the_kernel)
{
	static const char *const bad[] = {
		"size=",	       "size",		       "size=1m,uid=0",	  "size=\"1m,uid=0\"", "size=1m\\,uid=0",
		"size=-1",	       "size=1 m",	       "size=1mm",	  "size=m1",	       "size=0x10",
		"size=m",	       "nr_inodes=\"5\"",      "mode=07a7",	  "mpol=bind:0",       "huge=always",
		"size=99999999999999999999999999999", "uid=0", "bind", "norecurse", "noidmap",
	};
	struct config_mount mount;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(read_mount(&mount, GUEST_MOUNT_TMPFS, bad[i]) == -EINVAL, "%s gives \"%s\"", bad[i],
			      mount.tmpfs_data);
}
END_TEST

START_TEST(huge_options_are_refused)
{
	size_t size = 1 << 20;
	char *options = malloc(size + 1);
	struct config_mount mount;

	memset(options, 'x', size);
	options[size] = '\0';
	ck_assert_int_eq(read_mount(&mount, GUEST_MOUNT_BIND, options), -EINVAL);
	for (size_t i = 0; i + 8 < size; i += 8)
		memcpy(options + i, "size=1m,", 8);
	ck_assert_int_eq(read_mount(&mount, GUEST_MOUNT_TMPFS, options), -EINVAL);
	memset(options, '"', size);
	ck_assert_int_eq(read_mount(&mount, GUEST_MOUNT_BIND, options), -EINVAL);
	free(options);
}
END_TEST

static int read_odd(struct guest_mount from)
{
	const struct guest_config config = { .mounts = &from, .mounts_count = 1 };
	struct guest_error err = { .size = sizeof(err) };
	struct config_mount to;
	struct guest_mount mount;
	int r = config_get_mount(&mount, &config, 0, &err);

	return r < 0 ? r : config_read_mount(&to, &mount, &err);
}

START_TEST(mounts_that_make_no_sense_are_refused)
{
	const uint32_t size = sizeof(struct guest_mount);

	ck_assert_int_eq(read_odd((struct guest_mount){ .size = 0, .source = "/s", .target = "/t" }), -EINVAL);
	ck_assert_int_eq(read_odd((struct guest_mount){ .size = size, .source = "/s" }), -EINVAL);
	ck_assert_int_eq(read_odd((struct guest_mount){ .size = size, .source = "/s", .target = "t" }), -EINVAL);
	ck_assert_int_eq(read_odd((struct guest_mount){ .size = size, .source = "/s", .target = "/" }), -EINVAL);
	ck_assert_int_eq(read_odd((struct guest_mount){ .size = size, .source = "/s", .target = "///" }), -EINVAL);
	ck_assert_int_eq(read_odd((struct guest_mount){ .size = size, .target = "/t" }), -EINVAL);
	ck_assert_int_eq(read_odd((struct guest_mount){ .size = size, .type = 1, .source = "/s", .target = "/t" }),
			 -EINVAL);
	ck_assert_int_eq(read_odd((struct guest_mount){ .size = size, .type = 2, .target = "/t" }), -EINVAL);
	ck_assert_int_eq(read_odd((struct guest_mount){ .size = size, .source = "/s", .target = "/t" }), 0);
}
END_TEST

TCase *mount_case(void)
{
	TCase *tcase = tcase_create("mount");

	tcase_add_test(tcase, options_of_binds_are_read);
	tcase_add_test(tcase, options_of_tmpfs_are_read);
	tcase_add_test(tcase, unknown_options_are_refused);
	tcase_add_test(tcase, nothing_but_numbers_reaches_the_kernel);
	tcase_add_test(tcase, huge_options_are_refused);
	tcase_add_test(tcase, mounts_that_make_no_sense_are_refused);
	return tcase;
}
