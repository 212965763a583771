// SPDX-License-Identifier: MIT
#include "unit.h"

#include <stdlib.h>

#include "base/error.h"

START_TEST(error_says_stage_what_and_errno)
{
	struct guest_error err;

	errno = 99;
	ck_assert_int_eq(error_make(&err, ENOENT, GUEST_STAGE_CHDIR, "to %s", "/x"), -ENOENT);
	ck_assert_int_eq(errno, 99);
	ck_assert_uint_eq(err.size, 256);
	ck_assert_int_eq(err.code, -ENOENT);
	ck_assert_int_eq(err.sys_errno, ENOENT);
	ck_assert_int_eq(err.stage, GUEST_STAGE_CHDIR);
	ck_assert_str_eq(err.message, "chdir: to /x: No such file or directory");
}
END_TEST

START_TEST(error_without_a_system_call_has_no_errno)
{
	struct guest_error err;

	ck_assert_int_eq(error_text(&err, EINVAL, GUEST_STAGE_CONFIG, "bad"), -EINVAL);
	ck_assert_int_eq(err.sys_errno, 0);
	ck_assert_str_eq(err.message, "config: bad");
	ck_assert_int_eq(error_remedy(&err, "do %d", 7), -EINVAL);
	ck_assert_str_eq(err.message, "config: bad; do 7");
}
END_TEST

START_TEST(errors_may_be_null)
{
	ck_assert_int_eq(error_make(NULL, EIO, GUEST_STAGE_PIPE, "x"), -EIO);
	ck_assert_int_eq(error_text(NULL, EIO, GUEST_STAGE_PIPE, "x"), -EIO);
	ck_assert_int_eq(error_remedy(NULL, "x"), 0);
}
END_TEST

START_TEST(long_messages_are_cut)
{
	struct guest_error err;
	char text[1000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_make(&err, EIO, GUEST_STAGE_PIPE, "%s", text);
	error_remedy(&err, "%s", text);
	ck_assert_uint_eq(strlen(err.message), sizeof(err.message) - 1);
}
END_TEST

START_TEST(message_is_one_line_whatever_it_is_about)
{
	struct guest_error err;

	error_text(&err, EINVAL, GUEST_STAGE_CONFIG, "\"%s\"", "a\nb\x1b[2J\x7f\xc3\xa4");
	error_remedy(&err, "do\tthis");
	ck_assert_str_eq(err.message, "config: \"a?b?[2J?\xc3\xa4\"; do?this");
}
END_TEST

START_TEST(error_that_was_sent_is_believed_if_it_makes_sense)
{
	struct guest_error err, from;

	error_make(&from, ENOENT, GUEST_STAGE_CHDIR, "/x");
	from.size = 7;
	ck_assert_int_eq(error_take(&err, &from), -ENOENT);
	ck_assert_uint_eq(err.size, sizeof(err));
	ck_assert_str_eq(err.message, from.message);
	memset(from.message, '\n', sizeof(from.message));
	ck_assert_int_eq(error_take(&err, &from), -ENOENT);
	ck_assert_uint_eq(strspn(err.message, "?"), sizeof(err.message) - 1);
	ck_assert_int_eq(err.message[sizeof(err.message) - 1], '\0');
}
END_TEST

START_TEST(error_that_was_sent_without_a_reason_is_one_of_the_protocol)
{
	static const int32_t codes[] = { 0, 1, INT32_MAX, INT32_MIN, -4096 };
	struct guest_error err, from;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		error_make(&from, ENOENT, GUEST_STAGE_CHDIR, "/x");
		from.code = codes[i];
		ck_assert_int_eq(error_take(&err, &from), -EPROTO);
		ck_assert_int_eq(err.code, -EPROTO);
		ck_assert_int_eq(err.stage, GUEST_STAGE_PROTOCOL);
	}
	from = (struct guest_error){ .code = -EIO };
	ck_assert_int_eq(error_take(&err, &from), -EPROTO);
}
END_TEST

START_TEST(copy_out_writes_as_much_as_there_is_room_for)
{
	struct guest_error from;

	error_make(&from, ENOSPC, GUEST_STAGE_MOUNT, "text");
	for (uint32_t size = 4; size <= sizeof(from); size++) {
		char *room = malloc(size + 1);
		struct guest_error *to = (struct guest_error *)room;

		memset(room, 0x5a, size + 1);
		to->size = size;
		ck_assert_int_eq(error_copy_out(to, &from), -ENOSPC);
		ck_assert_uint_eq(to->size, size);
		ck_assert_int_eq(room[size], 0x5a);
		if (size >= 8)
			ck_assert_int_eq(to->code, -ENOSPC);
		if (size > offsetof(struct guest_error, message))
			ck_assert_ptr_nonnull(memchr(to->message, '\0', size - offsetof(struct guest_error, message)));
		free(room);
	}
}
END_TEST

START_TEST(copy_out_knows_sizes_from_0_to_huge)
{
	struct guest_error from, to = { 0 };

	error_make(&from, ENOSPC, GUEST_STAGE_MOUNT, "text");
	ck_assert_int_eq(error_copy_out(&to, &from), -ENOSPC);
	ck_assert_uint_eq(to.size, sizeof(to));
	ck_assert_str_eq(to.message, from.message);
	ck_assert_int_eq(error_copy_out(NULL, &from), -ENOSPC);
	for (uint32_t size = 1; size < 4; size++) {
		to.size = size;
		error_copy_out(&to, &from);
	}
}
END_TEST

START_TEST(every_stage_and_cause_has_a_name)
{
	for (int stage = 0; stage <= GUEST_STAGE_CACHE; stage++)
		ck_assert_str_ne(guest_stage_name(stage), "unknown");
	ck_assert_str_eq(guest_stage_name(GUEST_STAGE_CACHE + 1), "unknown");
	ck_assert_str_eq(guest_stage_name(-1), "unknown");
	ck_assert_str_eq(guest_stage_name(INT32_MIN), "unknown");
}
END_TEST

START_TEST(every_errno_has_words)
{
	for (int errnum = 1; errnum < 200; errnum++)
		ck_assert_int_ne(error_words(errnum)[0], '\0');
	ck_assert_int_ne(error_words(-1)[0], '\0');
}
END_TEST

TCase *error_case(void)
{
	TCase *tcase = tcase_create("error");

	tcase_add_test(tcase, error_says_stage_what_and_errno);
	tcase_add_test(tcase, error_without_a_system_call_has_no_errno);
	tcase_add_test(tcase, errors_may_be_null);
	tcase_add_test(tcase, long_messages_are_cut);
	tcase_add_test(tcase, message_is_one_line_whatever_it_is_about);
	tcase_add_test(tcase, error_that_was_sent_is_believed_if_it_makes_sense);
	tcase_add_test(tcase, error_that_was_sent_without_a_reason_is_one_of_the_protocol);
	tcase_add_test(tcase, copy_out_writes_as_much_as_there_is_room_for);
	tcase_add_test(tcase, copy_out_knows_sizes_from_0_to_huge);
	tcase_add_test(tcase, every_stage_and_cause_has_a_name);
	tcase_add_test(tcase, every_errno_has_words);
	return tcase;
}
