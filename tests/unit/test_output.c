// SPDX-License-Identifier: MIT
#include "unit.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/host.h"

static int ends[2];
static struct output output;
static struct budget budget;
static struct guest_command command;

static void setup(void)
{
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	budget = (struct budget){ 0 };
	output = (struct output){ .fd = ends[0], .stream = GUEST_STDOUT, .budget = &budget };
	ck_assert_int_eq(guest_command_init(&command, sizeof(command)), 0);
}

static void teardown(void)
{
	close(ends[1]);
	if (output.fd >= 0)
		close(output.fd);
	block_free(output.data);
}

static void put(const char *text)
{
	ck_assert_int_eq(write(ends[1], text, strlen(text)), (ssize_t)strlen(text));
}

START_TEST(bytes_are_kept_and_end_with_a_nul)
{
	put("one");
	ck_assert_int_eq(output_read(&output, &command), OUTPUT_MORE);
	put("two");
	ck_assert_int_eq(output_drain(&output, &command), OUTPUT_MORE);
	ck_assert_int_eq(output_finish(&output), 0);
	ck_assert_str_eq(output.data, "onetwo");
	ck_assert_uint_eq(output.size, 6);
}
END_TEST

START_TEST(nothing_is_an_empty_string)
{
	ck_assert_int_eq(output_read(&output, &command), OUTPUT_MORE);
	ck_assert_int_eq(output_finish(&output), 0);
	ck_assert_str_eq(output.data, "");
}
END_TEST

START_TEST(stream_that_is_not_captured_is_an_empty_string)
{
	struct output none = { .fd = -EBADF };

	ck_assert_int_eq(output_drain(&none, &command), OUTPUT_END);
	ck_assert_int_eq(output_finish(&none), 0);
	ck_assert_str_eq(none.data, "");
	block_free(none.data);
}
END_TEST

START_TEST(end_of_the_pipe_closes_it)
{
	put("last");
	close(ends[1]);
	ck_assert_int_eq(output_drain(&output, &command), OUTPUT_END);
	ck_assert_int_eq(output.fd, -EBADF);
	ck_assert_int_eq(output_read(&output, &command), OUTPUT_END);
	ck_assert_uint_eq(output.size, 4);
	ends[1] = -1;
}
END_TEST

START_TEST(limit_is_exact)
{
	command.output_limit_bytes = 5;
	put("12345");
	ck_assert_int_eq(output_drain(&output, &command), OUTPUT_MORE);
	ck_assert(!output.truncated);
	put("6");
	ck_assert_int_eq(output_read(&output, &command), OUTPUT_OVER);
	ck_assert(output.truncated);
	ck_assert_int_eq(output_finish(&output), 0);
	ck_assert_str_eq(output.data, "12345");
}
END_TEST

START_TEST(excess_is_dropped_on_demand)
{
	command.output_limit_bytes = 5;
	command.flags = GUEST_TRUNCATE_OUTPUT;
	for (int i = 0; i < 1000; i++) {
		put("0123456789");
		ck_assert_int_eq(output_read(&output, &command), OUTPUT_MORE);
	}
	ck_assert(output.truncated);
	ck_assert_uint_eq(output.size, 5);
	ck_assert_uint_eq(output.total, 10000);
	ck_assert_uint_le(output.capacity, 1 << 18);
}
END_TEST

START_TEST(much_is_kept_whole)
{
	enum { ROUNDS = 10000, SIZE = 997 };
	char piece[SIZE];

	command.output_limit_bytes = 0;
	for (int i = 0; i < ROUNDS; i++) {
		memset(piece, i, sizeof(piece));
		ck_assert_int_eq(write(ends[1], piece, SIZE), SIZE);
		ck_assert_int_eq(output_drain(&output, &command), OUTPUT_MORE);
	}
	ck_assert_int_eq(output_finish(&output), 0);
	ck_assert_uint_eq(output.size, (size_t)ROUNDS * SIZE);
	for (int i = 0; i < ROUNDS; i++)
		ck_assert_int_eq(output.data[i * SIZE + i % SIZE], (char)i);
}
END_TEST

static size_t heard;

static int listen_to(void *user_data, uint32_t stream, const void *data, size_t size)
{
	ck_assert_uint_eq(stream, GUEST_STDOUT);
	ck_assert_ptr_nonnull(data);
	heard += size;
	return user_data != NULL;
}

START_TEST(listener_hears_no_more_than_the_limit)
{
	heard = 0;
	command.on_output = listen_to;
	command.output_limit_bytes = 3;
	command.flags = GUEST_TRUNCATE_OUTPUT | GUEST_NO_CAPTURE;
	put("12345");
	ck_assert_int_eq(output_read(&output, &command), OUTPUT_MORE);
	put("6");
	ck_assert_int_eq(output_read(&output, &command), OUTPUT_MORE);
	ck_assert_uint_eq(heard, 3);
	ck_assert_uint_eq(output.size, 0);
	ck_assert(output.truncated);
}
END_TEST

START_TEST(listener_can_cancel)
{
	heard = 0;
	command.on_output = listen_to;
	command.user_data = &heard;
	put("1");
	ck_assert_int_eq(output_read(&output, &command), OUTPUT_CANCEL);
}
END_TEST

/* From malloc's memory to a mapping, and from that to another: more of these with RLIMIT_AS. */
START_TEST(block_keeps_its_bytes_as_it_grows)
{
	static const size_t sizes[] = { 1, 1000, 1 << 19, 3 << 20, 3 << 20, 9 << 20, ((size_t)1 << 30) + 1 };
	size_t used = 0, capacity, wrong = 0;
	struct rlimit limit = { (rlim_t)1 << 46, (rlim_t)1 << 46 };
	char *bytes = NULL;

	if (_i == 1)
		ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		capacity = sizes[i];
		ck_assert_int_eq(block_grow(&bytes, used, &capacity), 0);
		ck_assert_uint_ge(capacity, sizes[i]);
		for (size_t k = 0; k < used; k++)
			wrong += bytes[k] != (char)(k % 251);
		bytes[capacity - 1] = (char)((capacity - 1) % 251); /* is there */
		for (; used < capacity && used < 10 << 20; used++)
			bytes[used] = (char)(used % 251);
		if (i % 2)
			block_trim(bytes);
	}
	ck_assert_uint_eq(wrong, 0);
	block_free(bytes);
	block_free(NULL);
}
END_TEST

START_TEST(block_that_cannot_grow_stays)
{
	static const size_t sizes[] = { 1000, 4 << 20 }, too_many[] = { SIZE_MAX / 4, SIZE_MAX };

	for (int i = 0; i < 4; i++) {
		char *bytes = NULL, *before;
		size_t capacity = sizes[i / 2], more = too_many[i % 2];

		ck_assert_int_eq(block_grow(&bytes, 0, &capacity), 0);
		memset(bytes, 7, capacity);
		before = bytes;
		ck_assert_int_eq(block_grow(&bytes, capacity, &more), -ENOMEM);
		ck_assert_uint_eq(more, too_many[i % 2]);
		ck_assert_ptr_eq(bytes, before);
		ck_assert(bytes[0] == 7 && memcmp(bytes, bytes + 1, capacity - 1) == 0);
		block_free(bytes);
	}
}
END_TEST

TCase *output_case(void)
{
	TCase *tcase = tcase_create("output");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, bytes_are_kept_and_end_with_a_nul);
	tcase_add_test(tcase, nothing_is_an_empty_string);
	tcase_add_test(tcase, stream_that_is_not_captured_is_an_empty_string);
	tcase_add_test(tcase, end_of_the_pipe_closes_it);
	tcase_add_test(tcase, limit_is_exact);
	tcase_add_test(tcase, excess_is_dropped_on_demand);
	tcase_add_test(tcase, much_is_kept_whole);
	tcase_add_loop_test(tcase, block_keeps_its_bytes_as_it_grows, 0, 2);
	tcase_add_test(tcase, block_that_cannot_grow_stays);
	tcase_add_test(tcase, listener_hears_no_more_than_the_limit);
	tcase_add_test(tcase, listener_can_cancel);
	return tcase;
}
