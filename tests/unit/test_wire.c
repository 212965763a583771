// SPDX-License-Identifier: MIT
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/wire.h"

static int ends[2], fds[WIRE_FDS_MAX], fds_before;
static size_t count;
static char bytes[WIRE_MAX];

static void setup(void)
{
	fds_before = count_fds();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	count = 0;
}

static void teardown(void)
{
	close(ends[0]);
	close(ends[1]);
	ck_assert_int_eq(count_fds(), fds_before);
}

static int receive(void)
{
	return wire_receive(ends[1], bytes, sizeof(bytes), fds, &count, 1);
}

START_TEST(message_arrives_with_its_header)
{
	struct wire_failed failed = { .error = { .size = 256, .code = -5, .message = "text" } };

	ck_assert_int_eq(wire_send(ends[0], &failed, sizeof(failed), WIRE_FAILED, NULL, 0, 1), 0);
	ck_assert_int_eq(receive(), WIRE_FAILED);
	ck_assert_uint_eq(count, 0);
	ck_assert_uint_eq(((struct wire_failed *)bytes)->header.size, sizeof(failed));
	ck_assert_str_eq(((struct wire_failed *)bytes)->error.message, "text");
}
END_TEST

START_TEST(fds_arrive_above_stdio_and_close_on_exec)
{
	int sent[WIRE_FDS_MAX];
	struct wire_plain plain;

	for (size_t i = 0; i < WIRE_FDS_MAX; i++)
		sent[i] = 0;
	ck_assert_int_eq(wire_send(ends[0], &plain, sizeof(plain), WIRE_STARTED, sent, WIRE_FDS_MAX, 1), 0);
	ck_assert_int_eq(receive(), WIRE_STARTED);
	ck_assert_uint_eq(count, WIRE_FDS_MAX);
	for (size_t i = 0; i < count; i++) {
		ck_assert_int_gt(fds[i], 2);
		ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
	}
	wire_close_fds(fds, count);
}
END_TEST

START_TEST(message_of_the_largest_size_fits)
{
	char *large = calloc(1, WIRE_MAX + 1);

	ck_assert_int_eq(wire_send(ends[0], large, WIRE_MAX, WIRE_RUN, NULL, 0, 1), 0);
	ck_assert_int_eq(receive(), WIRE_RUN);
	ck_assert_int_eq(wire_send(ends[0], large, WIRE_MAX + 1, WIRE_RUN, NULL, 0, 1), -E2BIG);
	ck_assert_int_eq(wire_send(ends[0], large, 100, WIRE_RUN, fds, WIRE_FDS_MAX + 1, 1), -E2BIG);
	free(large);
}
END_TEST

START_TEST(nothing_there_is_eagain)
{
	ck_assert_int_eq(receive(), -EAGAIN);
}
END_TEST

START_TEST(full_queue_is_eagain)
{
	struct wire_plain plain;
	int sent = 0, r;

	while ((r = wire_send(ends[0], &plain, sizeof(plain), WIRE_KILL, NULL, 0, 1)) == 0)
		sent++;
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_int_gt(sent, 10);
}
END_TEST

START_TEST(other_side_gone_is_epipe)
{
	close(ends[0]);
	ck_assert_int_eq(receive(), -EPIPE);
	ck_assert_int_eq(wire_send_plain(ends[1], WIRE_KILL), -EPIPE);
	ends[0] = dup(ends[1]);
}
END_TEST

START_TEST(last_words_arrive_before_the_end)
{
	ck_assert_int_eq(wire_send_plain(ends[0], WIRE_READY), 0);
	close(ends[0]);
	ck_assert_int_eq(receive(), WIRE_READY);
	ck_assert_int_eq(receive(), -EPIPE);
	ends[0] = dup(ends[1]);
}
END_TEST

START_TEST(truncated_message_is_refused_and_its_fds_closed)
{
	struct wire_failed failed = { .error = { .code = -1 } };
	int sent[2] = { 0, 1 };

	ck_assert_int_eq(wire_send(ends[0], &failed, sizeof(failed), WIRE_FAILED, sent, 2, 1), 0);
	ck_assert_int_eq(wire_receive(ends[1], bytes, sizeof(failed) - 1, fds, &count, 1), -EPROTO);
	ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(messages_that_lie_about_themselves_are_refused)
{
	struct wire_header header = { .size = sizeof(header) + 1, .type = WIRE_KILL };

	ck_assert_int_eq(send(ends[0], &header, sizeof(header), 0), sizeof(header));
	ck_assert_int_eq(receive(), -EPROTO);
	header.size = sizeof(header);
	header.fds_count = 1;
	ck_assert_int_eq(send(ends[0], &header, sizeof(header), 0), sizeof(header));
	ck_assert_int_eq(receive(), -EPROTO);
	ck_assert_int_eq(send(ends[0], "x", 1, 0), 1);
	ck_assert_int_eq(receive(), -EPROTO);
}
END_TEST

START_TEST(lost_fds_are_emfile_and_none_is_kept)
{
	struct rlimit before, low;
	struct wire_plain plain;
	int sent[20] = { 0 }, r;

	ck_assert_int_eq(wire_send(ends[0], &plain, sizeof(plain), WIRE_STARTED, sent, 20, 1), 0);
	getrlimit(RLIMIT_NOFILE, &before);
	low = (struct rlimit){ (rlim_t)ends[1] + 6, before.rlim_max };
	setrlimit(RLIMIT_NOFILE, &low);
	r = receive();
	setrlimit(RLIMIT_NOFILE, &before);
	ck_assert_int_eq(r, -EMFILE);
}
END_TEST

START_TEST(strings_must_end_inside_the_message)
{
	struct {
		struct wire_header header;
		char text[8];
	} message = { .header = { .size = sizeof(message) }, .text = { 'a', 'b', '\0', 'c', 'd', 'e', 'f', 'g' } };
	uint32_t start = sizeof(message.header);

	ck_assert_str_eq(wire_string(&message, start), "ab");
	ck_assert_str_eq(wire_string(&message, start + 2), "");
	ck_assert_ptr_null(wire_string(&message, start + 3));
	ck_assert_ptr_null(wire_string(&message, WIRE_STRING_NONE));
	ck_assert_ptr_null(wire_string(&message, start - 1));
	ck_assert_ptr_null(wire_string(&message, sizeof(message)));
	ck_assert_ptr_null(wire_string(&message, UINT32_MAX));
}
END_TEST

START_TEST(failure_is_sent_whole)
{
	struct guest_error err = { .size = 256, .code = -ENOENT, .stage = GUEST_STAGE_EXECVE, .message = "what" };

	wire_send_failed(ends[0], &err);
	ck_assert_int_eq(receive(), WIRE_FAILED);
	ck_assert_mem_eq(&((struct wire_failed *)bytes)->error, &err, sizeof(err));
}
END_TEST

TCase *wire_case(void)
{
	TCase *tcase = tcase_create("wire");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, message_arrives_with_its_header);
	tcase_add_test(tcase, fds_arrive_above_stdio_and_close_on_exec);
	tcase_add_test(tcase, message_of_the_largest_size_fits);
	tcase_add_test(tcase, nothing_there_is_eagain);
	tcase_add_test(tcase, full_queue_is_eagain);
	tcase_add_test(tcase, other_side_gone_is_epipe);
	tcase_add_test(tcase, last_words_arrive_before_the_end);
	tcase_add_test(tcase, truncated_message_is_refused_and_its_fds_closed);
	tcase_add_test(tcase, messages_that_lie_about_themselves_are_refused);
	tcase_add_test(tcase, lost_fds_are_emfile_and_none_is_kept);
	tcase_add_test(tcase, strings_must_end_inside_the_message);
	tcase_add_test(tcase, failure_is_sent_whole);
	return tcase;
}
