// SPDX-License-Identifier: MIT
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/host.h"
#include "payload/payload.h"

const char payload_rootfs_digest[] = "digest";

static struct host_rootfs open_rootfs(const char *path, int fd)
{
	struct guest_error err = { .size = sizeof(err) };
	struct host_rootfs rootfs;
	struct guest_config config;

	guest_config_init(&config, sizeof(config));
	config.rootfs_path = path;
	config.rootfs_fd = fd;
	ck_assert_msg(host_rootfs_open(&rootfs, &config, &err) == 0, "%s", err.message);
	return rootfs;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	fputs(text, file);
	fclose(file);
}

START_TEST(embedded_rootfs_is_the_same_with_the_same_caps)
{
	struct host_rootfs a = open_rootfs(NULL, -1), b = open_rootfs(NULL, -1);

	ck_assert(a.embedded);
	ck_assert(host_rootfs_same(&a, &b));
	b.bytes++;
	ck_assert(!host_rootfs_same(&a, &b));
	b = a;
	b.inodes++;
	ck_assert(!host_rootfs_same(&a, &b));
}
END_TEST

START_TEST(folder_is_the_same_by_any_path)
{
	struct host_rootfs a = open_rootfs("/usr", -1), b = open_rootfs("/usr/../usr/.", -1),
			   c = open_rootfs("/", -1);

	ck_assert_uint_eq(a.kind, WIRE_ROOTFS_DIRECTORY);
	for (int i = 0; i < 2; i++) {
		char *path = host_path_of_fd(i ? b.fd : a.fd);

		ck_assert_str_eq(path, "/usr");
		free(path);
	}
	ck_assert(host_rootfs_same(&a, &b));
	ck_assert(!host_rootfs_same(&a, &c));
	host_rootfs_close(&a);
	host_rootfs_close(&b);
	host_rootfs_close(&c);
}
END_TEST

START_TEST(file_is_the_same_until_it_is_written)
{
	char name[] = "/tmp/unit-XXXXXX";
	struct host_rootfs a, b;
	int fd = mkstemp(name);

	close(fd);
	write_file(name, "one");
	a = open_rootfs(name, -1);
	b = open_rootfs(name, -1);
	ck_assert_uint_eq(a.kind, WIRE_ROOTFS_ARCHIVE);
	ck_assert(host_rootfs_same(&a, &b));
	host_rootfs_close(&b);
	write_file(name, "other");
	b = open_rootfs(name, -1);
	ck_assert(!host_rootfs_same(&a, &b));
	host_rootfs_close(&a);
	host_rootfs_close(&b);
	unlink(name);
}
END_TEST

START_TEST(pipes_are_never_the_same)
{
	struct host_rootfs a, b;
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	a = open_rootfs(NULL, ends[0]);
	b = open_rootfs(NULL, ends[0]);
	ck_assert(!host_rootfs_same(&a, &b));
	host_rootfs_close(&a);
	host_rootfs_close(&b);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(fd_of_the_caller_keeps_its_offset)
{
	char name[] = "/tmp/unit-XXXXXX";
	struct host_rootfs rootfs;
	int fd = mkstemp(name);

	write_file(name, "text");
	rootfs = open_rootfs(NULL, fd);
	ck_assert_int_ne(rootfs.fd, fd);
	ck_assert_int_eq(lseek(rootfs.fd, 2, SEEK_SET), 2);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 0);
	host_rootfs_close(&rootfs);
	close(fd);
	unlink(name);
}
END_TEST

START_TEST(what_is_no_rootfs_is_refused)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest_config config;
	struct host_rootfs rootfs;
	int before = count_fds();

	guest_config_init(&config, sizeof(config));
	config.rootfs_path = "/no/such";
	ck_assert_int_eq(host_rootfs_open(&rootfs, &config, &err), -ENOENT);
	config.rootfs_path = "/dev/null";
	ck_assert_int_eq(host_rootfs_open(&rootfs, &config, &err), -EINVAL);
	ck_assert_int_eq(err.stage, GUEST_STAGE_ROOTFS);
	ck_assert_int_eq(count_fds(), before);
}
END_TEST

TCase *rootfs_case(void)
{
	TCase *tcase = tcase_create("rootfs");

	tcase_add_test(tcase, embedded_rootfs_is_the_same_with_the_same_caps);
	tcase_add_test(tcase, folder_is_the_same_by_any_path);
	tcase_add_test(tcase, file_is_the_same_until_it_is_written);
	tcase_add_test(tcase, pipes_are_never_the_same);
	tcase_add_test(tcase, fd_of_the_caller_keeps_its_offset);
	tcase_add_test(tcase, what_is_no_rootfs_is_refused);
	return tcase;
}
