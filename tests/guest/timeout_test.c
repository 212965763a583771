// SPDX-License-Identifier: MIT
/* Time-outs, and that nothing which a command has started outlives its run. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "support.h"

/* Counts, then waits for the end of its stdin. */
#define COUNTING SHELL("i=0; while [ $i -lt 100 ]; do echo $i; i=$((i + 1)); done; read x; echo end")

START_TEST(command_that_is_too_slow_is_killed)
{
	struct guest_command command = command_of(ARGV("sleep", "1000"));
	struct guest_result result;

	command.timeout_ns = 100 * MILLISECOND;
	run(guest_with(NULL), &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT);
	ck_assert_int_eq(result.term_signal, SIGKILL);
	ck_assert_int_eq(result.exit_code, -1);
	ck_assert_uint_ge(result.wall_ns, 100 * MILLISECOND);
	ck_assert_uint_lt(result.wall_ns, 10 * SECOND);
	guest_result_clear(&result);
}
END_TEST

START_TEST(command_that_is_fast_enough_is_not_killed)
{
	struct guest_command command = command_of(SHELL("sleep 0.1; echo done"));
	struct guest_result result;

	command.timeout_ns = 60 * SECOND;
	run(guest_with(NULL), &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	ck_assert_str_eq(result.stdout_data, "done\n");
	guest_result_clear(&result);
}
END_TEST

START_TEST(output_until_the_time_out_is_kept)
{
	struct guest_command command = command_of(SHELL("echo out; echo err >&2; sleep 1000"));
	struct guest_result result;

	command.timeout_ns = 500 * MILLISECOND * slowness();
	run(guest_with(NULL), &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT);
	ck_assert_str_eq(result.stdout_data, "out\n");
	ck_assert_str_eq(result.stderr_data, "err\n");
	guest_result_clear(&result);
}
END_TEST

START_TEST(shortest_and_longest_time_outs_work)
{
	struct guest_command command = command_of(ARGV("sleep", "1000"));
	struct guest *guest = guest_with(NULL);
	struct guest_result result;

	command.timeout_ns = 1;
	run(guest, &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT);
	guest_result_clear(&result);
	command.argv = ARGV("true");
	command.timeout_ns = UINT64_MAX;
	run(guest, &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	guest_result_clear(&result);
}
END_TEST

START_TEST(time_out_takes_stubborn_orphans_along)
{
	run_and_see_all_dead(guest_with_tool(), ARGV(TOOL, "orphans", "20"), 300 * MILLISECOND, GUEST_TIMED_OUT);
}
END_TEST

START_TEST(stubborn_command_is_killed)
{
	run_and_see_all_dead(guest_with_tool(), ARGV(TOOL, "stubborn"), 100 * MILLISECOND, GUEST_TIMED_OUT);
}
END_TEST

START_TEST(end_of_the_command_takes_orphans_along)
{
	run_and_see_all_dead(guest_with_tool(), ARGV(TOOL, "orphans", "20", "exit"), 0, GUEST_EXITED);
}
END_TEST

START_TEST(run_does_not_wait_for_an_orphan_that_keeps_stdout)
{
	struct guest *guest = guest_with(NULL);
	struct guest_result result;

	run_shell(guest, "sleep 1000 & echo done", &result);
	ck_assert_str_eq(result.stdout_data, "done\n");
	ck_assert_uint_lt(result.wall_ns, 30 * SECOND);
	guest_result_clear(&result);
}
END_TEST

START_TEST(storm_of_forks_ends_with_its_command)
{
	struct guest *guest = guest_with_tool();

	for (int i = 0; i < 5; i++)
		run_and_see_all_dead(guest, ARGV(TOOL, "storm"), 100 * MILLISECOND, GUEST_TIMED_OUT);
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(orphans_die_and_other_commands_go_on)
{
	struct guest *guest = guest_with_tool();
	struct background background;

	background_begin(&background, guest, COUNTING);
	usleep(100000);
	for (int i = 0; i < 10; i++)
		run_and_see_all_dead(guest, ARGV(TOOL, "orphans", "10", "exit"), 0, GUEST_EXITED);
	background_end(&background, "99\nend\n");
}
END_TEST

START_TEST(storms_die_and_other_commands_go_on)
{
	struct guest *guest = guest_with_tool();
	struct background background;

	background_begin(&background, guest, COUNTING);
	usleep(100000);
	for (int i = 0; i < 10; i++)
		run_and_see_all_dead(guest, ARGV(TOOL, "storm"), 50 * MILLISECOND, GUEST_TIMED_OUT);
	background_end(&background, "99\nend\n");
}
END_TEST

START_TEST(shutdown_kills_what_stays_behind)
{
	struct guest *guest = guest_with_tool();
	struct guest_command command = command_of(ARGV(TOOL, "orphans", "5", "exit"));
	struct guest_result result;
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	command.stdout_fd = ends[1];
	run(guest, &command, &result);
	guest_result_clear(&result);
	close(ends[1]);
	guest_end(guest);
	ck_assert(pipe_ended(ends[0]));
	close(ends[0]);
}
END_TEST

static Suite *make(void)
{
	Suite *suite = suite_create("timeout");
	TCase *tcase = suite_case(suite, "time-outs", 60);

	tcase_add_test(tcase, command_that_is_too_slow_is_killed);
	tcase_add_test(tcase, command_that_is_fast_enough_is_not_killed);
	tcase_add_test(tcase, output_until_the_time_out_is_kept);
	tcase_add_test(tcase, shortest_and_longest_time_outs_work);
	tcase = suite_case(suite, "orphans", 60);
	tcase_add_test(tcase, time_out_takes_stubborn_orphans_along);
	tcase_add_test(tcase, stubborn_command_is_killed);
	tcase_add_test(tcase, end_of_the_command_takes_orphans_along);
	tcase_add_test(tcase, run_does_not_wait_for_an_orphan_that_keeps_stdout);
	tcase_add_test(tcase, storm_of_forks_ends_with_its_command);
	tcase_add_test(tcase, orphans_die_and_other_commands_go_on);
	tcase_add_test(tcase, storms_die_and_other_commands_go_on);
	tcase_add_test(tcase, shutdown_kills_what_stays_behind);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
