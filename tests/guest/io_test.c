// SPDX-License-Identifier: MIT
/* What goes into a command and comes out of it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define LARGE (100U << 20)

/* Bytes of all values, not periodic in anything that a buffer's size could be. */
static char *random_bytes(size_t size)
{
	char *bytes = malloc(size);
	uint64_t state = 88172645463325252ULL;

	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < size; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		bytes[i] = (char)(state >> 32);
	}
	return bytes;
}

START_TEST(stdout_and_stderr_are_captured_apart)
{
	struct guest_result result;

	run_shell(guest_with(NULL), "echo out; echo err >&2; printf out; printf err >&2", &result);
	ck_assert_uint_eq(result.stdout_size, 7);
	ck_assert_str_eq(result.stdout_data, "out\nout");
	ck_assert_uint_eq(result.stderr_size, 7);
	ck_assert_str_eq(result.stderr_data, "err\nerr");
	ck_assert_uint_eq(result.truncated, 0);
	guest_result_clear(&result);
}
END_TEST

START_TEST(no_output_is_an_empty_string)
{
	struct guest_result result;

	run_argv(guest_with(NULL), ARGV("true"), &result);
	ck_assert_str_eq(result.stdout_data, "");
	ck_assert_str_eq(result.stderr_data, "");
	ck_assert_uint_eq(result.stdout_size + result.stderr_size, 0);
	guest_result_clear(&result);
}
END_TEST

START_TEST(merged_stderr_comes_in_order)
{
	struct guest_command command = command_of(SHELL("echo 1; echo 2 >&2; echo 3; echo 4 >&2"));
	struct guest_result result;

	command.flags = GUEST_MERGE_STDERR;
	run(guest_with(NULL), &command, &result);
	ck_assert_str_eq(result.stdout_data, "1\n2\n3\n4\n");
	ck_assert_uint_eq(result.stderr_size, 0);
	guest_result_clear(&result);
}
END_TEST

START_TEST(stdin_is_empty_by_default)
{
	expect_shell(guest_with(NULL), "cat; read x || echo end", "end\n");
}
END_TEST

START_TEST(stdin_data_arrives_byte_by_byte)
{
	char *bytes = random_bytes(300000);
	struct guest_command command = command_of(ARGV("cat"));
	struct guest *guest = guest_with(NULL);
	struct guest_result result;
	size_t sizes[] = { 1, 2, 4095, 4096, 4097, 65536, 65537, 300000 };

	bytes[0] = '\0';
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		command.stdin_data = bytes;
		command.stdin_size = sizes[i];
		run(guest, &command, &result);
		ck_assert_uint_eq(result.stdout_size, sizes[i]);
		ck_assert_int_eq(memcmp(result.stdout_data, bytes, sizes[i]), 0);
		ck_assert_int_eq(result.stdout_data[sizes[i]], '\0');
		guest_result_clear(&result);
	}
	free(bytes);
}
END_TEST

START_TEST(stdin_data_of_size_0_needs_no_pointer)
{
	struct guest_command command = command_of(ARGV("cat"));
	struct guest_result result;

	command.stdin_data = "";
	run(guest_with(NULL), &command, &result);
	ck_assert_uint_eq(result.stdout_size, 0);
	guest_result_clear(&result);
}
END_TEST

static struct guest_command command_reading(const char *bytes, const char *const *argv)
{
	struct guest_command command = command_of(argv);

	command.stdin_data = bytes;
	command.stdin_size = LARGE;
	return command;
}

START_TEST(a_hundred_megabytes_go_through_and_back)
{
	char *bytes = random_bytes(LARGE);
	struct guest_command command = command_reading(bytes, ARGV("cat"));
	struct guest_result result;

	run(guest_with(NULL), &command, &result);
	ck_assert_uint_eq(result.stdout_size, LARGE);
	ck_assert_int_eq(memcmp(result.stdout_data, bytes, LARGE), 0);
	ck_assert_uint_eq(result.truncated, 0);
	guest_result_clear(&result);
	free(bytes);
}
END_TEST

START_TEST(stdin_that_nobody_reads_blocks_nothing)
{
	char *bytes = random_bytes(LARGE);
	struct guest_command command = command_reading(bytes, ARGV("sleep", "100"));
	struct guest_result result;

	command.timeout_ns = 200 * MILLISECOND;
	run(guest_with(NULL), &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT);
	guest_result_clear(&result);
	free(bytes);
}
END_TEST

START_TEST(stdin_that_is_read_in_part_is_counted)
{
	char *bytes = random_bytes(LARGE);
	struct guest_command command = command_reading(bytes, SHELL("head -c 300000 | wc -c; exec <&-; sleep 0.1"));
	struct guest *guest = guest_with(NULL);
	struct guest_result result;

	run(guest, &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	ck_assert_str_eq(result.stdout_data, "300000\n");
	ck_assert_uint_ge(result.stdin_bytes, 300000);
	ck_assert_uint_lt(result.stdin_bytes, LARGE);
	guest_result_clear(&result);
	command.argv = ARGV("true");
	run(guest, &command, &result);
	ck_assert_uint_eq(result.stdin_bytes, 0);
	guest_result_clear(&result);
	free(bytes);
}
END_TEST

/* Forks a copy of the host that has all its fds, when the command has begun. */
static int fork_a_copy(void *user_data, uint32_t stream, const void *data, size_t size)
{
	pid_t *copy = user_data;

	(void)stream, (void)data, (void)size;
	if (*copy != 0)
		return 0;
	*copy = fork();
	while (*copy == 0)
		pause();
	return 0;
}

START_TEST(large_stdin_ends_though_a_copy_of_the_host_lives)
{
	char *bytes = random_bytes(LARGE);
	struct guest_command command = command_reading(bytes, SHELL("echo begun; cat | wc -c"));
	struct guest_result result;
	pid_t copy = 0;

	command.on_output = fork_a_copy;
	command.user_data = &copy;
	command.timeout_ns = 60 * SECOND;
	run(guest_with(NULL), &command, &result);
	ck_assert_int_gt(copy, 0);
	kill(copy, SIGKILL);
	ck_assert_int_eq(waitpid(copy, NULL, 0), copy);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	ck_assert_str_eq(result.stdout_data, "begun\n104857600\n");
	ck_assert_uint_eq(result.stdin_bytes, LARGE);
	guest_result_clear(&result);
	free(bytes);
}
END_TEST

struct reader {
	struct guest *guest;
	char *bytes;
};

static void *read_large(void *argument)
{
	const struct reader *reader = argument;
	struct guest_command command = command_reading(reader->bytes, ARGV("cat"));
	struct guest_result result;

	run(reader->guest, &command, &result);
	ck_assert_uint_eq(result.stdout_size, LARGE);
	ck_assert_int_eq(memcmp(result.stdout_data, reader->bytes, LARGE), 0);
	guest_result_clear(&result);
	return NULL;
}

START_TEST(large_stdin_goes_to_several_at_once)
{
	struct reader reader = { guest_with(NULL), random_bytes(LARGE) };
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_large, &reader), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	free(reader.bytes);
}
END_TEST

/* 0: as the guest's root; 1: as another user of it. */
START_TEST(large_stdin_can_be_opened_by_name)
{
	char *bytes = random_bytes(LARGE);
	struct guest_config config = config_default();
	struct guest_command command = command_reading(bytes, SHELL("cat /dev/stdin | wc -c"));
	struct guest_result result;

	if (_i == 1)
		config.uid = config.gid = 1000;
	run(guest_with(&config), &command, &result);
	ck_assert_msg(atoi(result.stdout_data) == LARGE, "%s%s", result.stdout_data, result.stderr_data);
	guest_result_clear(&result);
	free(bytes);
}
END_TEST

START_TEST(stdin_data_cannot_be_changed_by_the_command)
{
	struct guest_command command = command_of(SHELL("(echo x >/proc/self/fd/0) 2>/dev/null; cat"));
	struct guest_result result;
	char text[] = "original";

	command.stdin_data = text;
	command.stdin_size = 8;
	run(guest_with(NULL), &command, &result);
	ck_assert_str_eq(text, "original");
	ck_assert_str_eq(result.stdout_data, "original");
	guest_result_clear(&result);
}
END_TEST

START_TEST(stdin_fd_can_be_a_pipe_and_stays_the_callers)
{
	struct guest_command command = command_of(ARGV("cat"));
	struct guest_result result;
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(write(ends[1], "piped", 5), 5);
	close(ends[1]);
	command.stdin_fd = ends[0];
	run(guest_with(NULL), &command, &result);
	ck_assert_str_eq(result.stdout_data, "piped");
	ck_assert_int_ge(fcntl(ends[0], F_GETFD), 0);
	close(ends[0]);
	guest_result_clear(&result);
}
END_TEST

START_TEST(stdin_fd_can_be_a_file_at_an_offset)
{
	struct guest_command command = command_of(ARGV("cat"));
	struct guest_result result;
	int fd;

	write_text(scratch("in"), "skipped kept");
	fd = open(scratch("in"), O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(lseek(fd, 8, SEEK_SET), 8);
	command.stdin_fd = fd;
	run(guest_with(NULL), &command, &result);
	ck_assert_str_eq(result.stdout_data, "kept");
	close(fd);
	guest_result_clear(&result);
}
END_TEST

START_TEST(output_fds_of_the_caller_are_written_to)
{
	struct guest_command command = command_of(SHELL("echo out; echo err >&2"));
	int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
	struct guest_result result;
	char text[16] = "";

	command.stdout_fd = out;
	command.stderr_fd = err;
	run(guest_with(NULL), &command, &result);
	ck_assert_int_eq(pread(out, text, sizeof(text), 0), 4);
	ck_assert_str_eq(text, "out\n");
	ck_assert_int_eq(pread(err, text, sizeof(text), 0), 4);
	ck_assert_str_eq(text, "err\n");
	ck_assert_uint_eq(result.stdout_size + result.stderr_size, 0);
	ck_assert_str_eq(result.stdout_data, "");
	close(out);
	close(err);
	guest_result_clear(&result);
}
END_TEST

START_TEST(merged_stderr_goes_to_the_callers_stdout_fd)
{
	struct guest_command command = command_of(SHELL("echo out; echo err >&2"));
	int out = memfd_create("out", MFD_CLOEXEC);
	struct guest_result result;
	char text[16] = "";

	command.stdout_fd = out;
	command.flags = GUEST_MERGE_STDERR;
	run(guest_with(NULL), &command, &result);
	ck_assert_int_eq(pread(out, text, sizeof(text), 0), 8);
	ck_assert_str_eq(text, "out\nerr\n");
	close(out);
	guest_result_clear(&result);
}
END_TEST

START_TEST(one_stream_can_be_captured_and_one_not)
{
	struct guest_command command = command_of(SHELL("echo out; echo err >&2"));
	int out = memfd_create("out", MFD_CLOEXEC);
	struct guest_result result;

	command.stdout_fd = out;
	run(guest_with(NULL), &command, &result);
	ck_assert_uint_eq(result.stdout_size, 0);
	ck_assert_str_eq(result.stderr_data, "err\n");
	close(out);
	guest_result_clear(&result);
}
END_TEST

START_TEST(fds_that_are_none_are_refused)
{
	struct guest *guest = guest_with(NULL);
	struct guest_error err;

	for (int stream = 0; stream < 3; stream++) {
		struct guest_command command = command_of(ARGV("true"));

		*(stream == 0 ? &command.stdin_fd : stream == 1 ? &command.stdout_fd : &command.stderr_fd) = 999;
		ck_assert_int_eq(run_fails(guest, &command, &err), -EBADF);
	}
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(folder_as_stdio_is_refused)
{
	struct guest_command command = command_of(ARGV("true"));
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int path = open("/", O_PATH | O_CLOEXEC);
	struct guest *guest = guest_with(NULL);
	struct guest_error err;

	command.stdin_fd = fd;
	ck_assert_int_eq(run_fails(guest, &command, &err), -EISDIR);
	command.stdin_fd = path;
	ck_assert_int_lt(run_fails(guest, &command, &err), 0);
	command.stdin_fd = -1;
	command.stderr_fd = fd;
	ck_assert_int_eq(run_fails(guest, &command, &err), -EISDIR);
	close(fd);
	close(path);
}
END_TEST

START_TEST(dev_stdout_can_be_opened)
{
	expect_shell(guest_with(NULL), "echo one >/dev/stdout; echo two >/proc/self/fd/1; echo three | cat /dev/stdin",
		     "one\ntwo\nthree\n");
}
END_TEST

START_TEST(output_is_complete_when_the_command_ends_at_once)
{
	struct guest *guest = guest_with(NULL);

	for (int i = 0; i < 200; i++) {
		struct guest_result result;

		run_shell(guest, "head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2", &result);
		ck_assert_uint_eq(result.stdout_size, 60000);
		ck_assert_uint_eq(result.stderr_size, 60000);
		guest_result_clear(&result);
	}
}
END_TEST

START_TEST(output_beyond_the_limit_ends_the_command)
{
	struct guest_command command = command_of(ARGV("yes"));
	struct guest_result result;

	command.output_limit_bytes = 100001;
	run(guest_with(NULL), &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_OUTPUT_LIMIT);
	ck_assert_uint_eq(result.stdout_size, 100001);
	ck_assert_uint_eq(result.truncated, GUEST_STDOUT);
	ck_assert_int_eq(result.term_signal, SIGKILL);
	guest_result_clear(&result);
}
END_TEST

START_TEST(output_of_just_the_limit_is_fine)
{
	struct guest_command command = command_of(SHELL("head -c 5000 /dev/zero; head -c 5000 /dev/zero >&2"));
	struct guest_result result;

	command.output_limit_bytes = 5000;
	run(guest_with(NULL), &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	ck_assert_uint_eq(result.stdout_size, 5000);
	ck_assert_uint_eq(result.stderr_size, 5000);
	ck_assert_uint_eq(result.truncated, 0);
	guest_result_clear(&result);
}
END_TEST

START_TEST(output_beyond_the_limit_can_be_dropped)
{
	struct guest_command command = command_of(SHELL("head -c 3000000 /dev/zero >&2; echo out; exit 7"));
	struct guest_result result;

	command.output_limit_bytes = 1000;
	command.flags = GUEST_TRUNCATE_OUTPUT;
	run(guest_with(NULL), &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	ck_assert_int_eq(result.exit_code, 7);
	ck_assert_uint_eq(result.truncated, GUEST_STDERR);
	ck_assert_uint_eq(result.stderr_size, 1000);
	ck_assert_str_eq(result.stdout_data, "out\n");
	guest_result_clear(&result);
}
END_TEST

/* The most memory that this process has had, in KB. */
static long peak_memory(void)
{
	const char *line = strstr(read_text("/proc/self/status"), "VmHWM:");

	return line ? atol(line + strlen("VmHWM:")) : 0;
}

START_TEST(flood_is_dropped_without_growing_the_host)
{
	struct guest_command command =
		command_of(SHELL("head -c 5000000000 /dev/zero & head -c 5000000000 /dev/zero >&2; wait"));
	struct guest *guest = guest_with(NULL);
	struct guest_result result;
	long before = peak_memory();

	command.output_limit_bytes = 1 << 20;
	command.flags = GUEST_TRUNCATE_OUTPUT;
	run(guest, &command, &result);
	ck_assert_uint_eq(result.truncated, GUEST_STDOUT | GUEST_STDERR);
	ck_assert_uint_eq(result.stdout_size, 1 << 20);
	ck_assert_uint_eq(result.stderr_size, 1 << 20);
	ck_assert_int_lt(peak_memory() - before, 16 << 10);
	guest_result_clear(&result);
}
END_TEST

struct heard {
	char bytes[2][4096];
	size_t sizes[2];
	int calls, end_at;
};

static int listen_to(void *user_data, uint32_t stream, const void *data, size_t size)
{
	struct heard *heard = user_data;
	int i = stream == GUEST_STDERR;

	if (heard->sizes[i] + size < sizeof(heard->bytes[i])) {
		memcpy(heard->bytes[i] + heard->sizes[i], data, size);
		heard->sizes[i] += size;
	}
	return ++heard->calls == heard->end_at;
}

START_TEST(on_output_gets_all_that_is_captured)
{
	struct guest_command command = command_of(SHELL("echo out; echo err >&2; echo more"));
	struct heard heard = { .end_at = -1 };
	struct guest_result result;

	command.on_output = listen_to;
	command.user_data = &heard;
	run(guest_with(NULL), &command, &result);
	ck_assert_str_eq(heard.bytes[0], "out\nmore\n");
	ck_assert_str_eq(heard.bytes[1], "err\n");
	ck_assert_str_eq(result.stdout_data, "out\nmore\n");
	guest_result_clear(&result);
}
END_TEST

START_TEST(output_is_not_stored_where_the_caller_does_not_want_it)
{
	struct guest_command command = command_of(SHELL("echo out; echo err >&2"));
	struct heard heard = { .end_at = -1 };
	struct guest_result result;

	command.on_output = listen_to;
	command.user_data = &heard;
	command.flags = GUEST_NO_CAPTURE;
	run(guest_with(NULL), &command, &result);
	ck_assert_str_eq(heard.bytes[0], "out\n");
	ck_assert_uint_eq(result.stdout_size + result.stderr_size, 0);
	ck_assert_uint_eq(result.truncated, 0);
	guest_result_clear(&result);
}
END_TEST

START_TEST(on_output_hears_while_the_command_runs)
{
	struct guest_command command = command_of(SHELL("echo first; exec sleep 100"));
	struct heard heard = { .end_at = 1 };
	struct guest_result result;

	command.on_output = listen_to;
	command.user_data = &heard;
	run(guest_with(NULL), &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_CANCELLED);
	ck_assert_int_eq(result.term_signal, SIGKILL);
	ck_assert_str_eq(heard.bytes[0], "first\n");
	ck_assert_str_eq(result.stdout_data, "first\n");
	ck_assert_uint_eq(result.truncated, 0);
	guest_result_clear(&result);
}
END_TEST

START_TEST(on_output_is_not_called_again_once_it_has_cancelled)
{
	struct guest_command command = command_of(SHELL("yes & yes >&2"));
	struct guest *guest = guest_with(NULL);

	command.on_output = listen_to;
	for (int i = 0; i < 10; i++) {
		struct heard heard = { .end_at = 3 };
		struct guest_result result;

		command.user_data = &heard;
		run(guest, &command, &result);
		ck_assert_uint_eq(result.cause, GUEST_CANCELLED);
		ck_assert_int_eq(heard.calls, 3);
		ck_assert_uint_eq(result.stdout_size + result.stderr_size, result.stdout_bytes + result.stderr_bytes);
		guest_result_clear(&result);
	}
}
END_TEST

START_TEST(closed_outputs_of_the_command_do_not_end_the_run)
{
	struct guest_result result;

	run_shell(guest_with(NULL), "exec >&- 2>&-; sleep 0.1; exit 5", &result);
	ck_assert_int_eq(result.exit_code, 5);
	guest_result_clear(&result);
}
END_TEST

static Suite *make(void)
{
	Suite *suite = suite_create("io");
	TCase *tcase = suite_case(suite, "stdin", 120);

	tcase_add_test(tcase, stdin_is_empty_by_default);
	tcase_add_test(tcase, stdin_data_arrives_byte_by_byte);
	tcase_add_test(tcase, stdin_data_of_size_0_needs_no_pointer);
	tcase_add_test(tcase, a_hundred_megabytes_go_through_and_back);
	tcase_add_test(tcase, stdin_that_nobody_reads_blocks_nothing);
	tcase_add_test(tcase, stdin_that_is_read_in_part_is_counted);
	tcase_add_test(tcase, large_stdin_ends_though_a_copy_of_the_host_lives);
	tcase_add_test(tcase, large_stdin_goes_to_several_at_once);
	tcase_add_loop_test(tcase, large_stdin_can_be_opened_by_name, 0, 2);
	tcase_add_test(tcase, stdin_data_cannot_be_changed_by_the_command);
	tcase_add_test(tcase, stdin_fd_can_be_a_pipe_and_stays_the_callers);
	tcase_add_test(tcase, stdin_fd_can_be_a_file_at_an_offset);
	tcase = suite_case(suite, "outputs", 120);
	tcase_add_test(tcase, stdout_and_stderr_are_captured_apart);
	tcase_add_test(tcase, no_output_is_an_empty_string);
	tcase_add_test(tcase, merged_stderr_comes_in_order);
	tcase_add_test(tcase, output_fds_of_the_caller_are_written_to);
	tcase_add_test(tcase, merged_stderr_goes_to_the_callers_stdout_fd);
	tcase_add_test(tcase, one_stream_can_be_captured_and_one_not);
	tcase_add_test(tcase, fds_that_are_none_are_refused);
	tcase_add_test(tcase, folder_as_stdio_is_refused);
	tcase_add_test(tcase, dev_stdout_can_be_opened);
	tcase_add_test(tcase, output_is_complete_when_the_command_ends_at_once);
	tcase_add_test(tcase, closed_outputs_of_the_command_do_not_end_the_run);
	tcase = suite_case(suite, "limits", 120);
	tcase_add_test(tcase, output_beyond_the_limit_ends_the_command);
	tcase_add_test(tcase, output_of_just_the_limit_is_fine);
	tcase_add_test(tcase, output_beyond_the_limit_can_be_dropped);
	tcase_add_test(tcase, flood_is_dropped_without_growing_the_host);
	tcase = suite_case(suite, "on_output", 60);
	tcase_add_test(tcase, on_output_gets_all_that_is_captured);
	tcase_add_test(tcase, output_is_not_stored_where_the_caller_does_not_want_it);
	tcase_add_test(tcase, on_output_hears_while_the_command_runs);
	tcase_add_test(tcase, on_output_is_not_called_again_once_it_has_cancelled);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
