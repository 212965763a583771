// SPDX-License-Identifier: MIT
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

START_TEST(close_takes_anything_and_keeps_errno)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), none = -EBADF;

	errno = 55;
	fd_close(&fd);
	ck_assert_int_eq(fd, -EBADF);
	fd_close(&fd);
	fd_close(&none);
	ck_assert_int_eq(errno, 55);
}
END_TEST

START_TEST(move_leaves_nothing_behind)
{
	int fd = 17;

	ck_assert_int_eq(fd_move(&fd), 17);
	ck_assert_int_eq(fd, -EBADF);
}
END_TEST

START_TEST(low_fds_are_moved_above_stdio)
{
	int saved = fcntl(0, F_DUPFD_CLOEXEC, 10), low, high;

	close(0);
	low = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(low, 0);
	high = fd_above_stdio(low);
	ck_assert_int_gt(high, 2);
	ck_assert_int_eq(fcntl(high, F_GETFD), FD_CLOEXEC);
	ck_assert_int_lt(fcntl(0, F_GETFD), 0);
	ck_assert_int_eq(fd_above_stdio(high), high);
	ck_assert_int_eq(fd_above_stdio(-1), -1);
	dup2(saved, 0);
	close(saved);
	close(high);
}
END_TEST

START_TEST(read_all_tells_an_early_end)
{
	char bytes[8];
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(fd_write_all(ends[1], "12345", 5), 0);
	ck_assert_int_eq(fd_read_all(ends[0], bytes, 3), 0);
	ck_assert_int_eq(memcmp(bytes, "123", 3), 0);
	close(ends[1]);
	ck_assert_int_eq(fd_read_all(ends[0], bytes, 8), -ENODATA);
	ck_assert_int_eq(fd_read_all(ends[0], bytes, 0), 0);
	close(ends[0]);
	ck_assert_int_eq(fd_read_all(-1, bytes, 1), -EBADF);
	ck_assert_int_eq(fd_write_all(-1, bytes, 1), -EBADF);
}
END_TEST

START_TEST(sealed_copy_holds_the_bytes_and_cannot_change)
{
	char bytes[4] = "";
	int fd = fd_sealed_copy("test", "data", 4, false);

	ck_assert_int_gt(fd, 2);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(read(fd, bytes, 4), 4);
	ck_assert_int_eq(memcmp(bytes, "data", 4), 0);
	ck_assert_int_lt(write(fd, "x", 1), 0);
	ck_assert_int_lt(pwrite(fd, "x", 1, 0), 0);
	ck_assert_int_lt(ftruncate(fd, 0), 0);
	ck_assert_int_lt(ftruncate(fd, 100), 0);
	ck_assert_int_lt(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	close(fd);
}
END_TEST

START_TEST(sealed_copy_can_be_empty_and_executable)
{
	struct stat st;
	int fd = fd_sealed_copy("test", NULL, 0, false);

	ck_assert_int_ge(fd, 0);
	close(fd);
	fd = fd_sealed_copy("test", "x", 1, true);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0111, 0111);
	close(fd);
}
END_TEST

START_TEST(write_file_writes_to_what_is_there)
{
	char name[] = "/tmp/unit-XXXXXX", text[8] = "";
	int fd = mkstemp(name);

	ck_assert_int_eq(fd_write_file_at(AT_FDCWD, name, "value"), 0);
	ck_assert_int_eq(read(fd, text, sizeof(text)), 5);
	ck_assert_str_eq(text, "value");
	close(fd);
	unlink(name);
	ck_assert_int_eq(fd_write_file_at(AT_FDCWD, name, "value"), -ENOENT);
}
END_TEST

START_TEST(attributes_close_and_free)
{
	int before = count_fds();

	{
		cleanup_fd int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		cleanup_free char *bytes = malloc(10);
		cleanup_free char *taken = malloc(10);

		(void)bytes;
		ck_assert_int_ge(fd, 0);
		free(take_pointer(taken));
	}
	ck_assert_int_eq(count_fds(), before);
}
END_TEST

TCase *fd_case(void)
{
	TCase *tcase = tcase_create("fd");

	tcase_add_test(tcase, close_takes_anything_and_keeps_errno);
	tcase_add_test(tcase, move_leaves_nothing_behind);
	tcase_add_test(tcase, low_fds_are_moved_above_stdio);
	tcase_add_test(tcase, read_all_tells_an_early_end);
	tcase_add_test(tcase, sealed_copy_holds_the_bytes_and_cannot_change);
	tcase_add_test(tcase, sealed_copy_can_be_empty_and_executable);
	tcase_add_test(tcase, write_file_writes_to_what_is_there);
	tcase_add_test(tcase, attributes_close_and_free);
	return tcase;
}
