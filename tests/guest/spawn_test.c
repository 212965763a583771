// SPDX-License-Identifier: MIT
/* Commands that run while the caller does something else, and what they leave behind when asked to. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

static struct guest_process *spawn(struct guest *guest, const struct guest_command *command)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest_process *process = NULL;
	int r = guest_spawn(guest, command, &process, &err);

	ck_assert_msg(r == 0, "guest_spawn: %d, %s", r, err.message);
	return process;
}

static struct guest_process *spawn_shell(struct guest *guest, const char *script)
{
	struct guest_command command = command_of(SHELL(script));

	return spawn(guest, &command);
}

static void wait_for(struct guest_process *process, struct guest_result *result)
{
	struct guest_error err = { .size = sizeof(err) };
	int r;

	*result = (struct guest_result){ .size = sizeof(*result) };
	r = guest_wait(process, 60 * SECOND, result, &err);
	ck_assert_msg(r == 0, "guest_wait: %d, %s", r, err.message);
}

START_TEST(command_runs_while_the_caller_goes_on)
{
	struct guest *guest = guest_with(NULL);
	struct guest_process *process = spawn_shell(guest, "sleep 0.3; echo out; echo err >&2; exit 3");
	struct guest_result result = { .size = sizeof(result) };
	struct pollfd poll_fd = { .fd = guest_process_fd(process), .events = POLLIN };

	expect_shell(guest, "echo meanwhile", "meanwhile\n");
	ck_assert_int_eq(guest_wait(process, 0, &result, NULL), -ETIMEDOUT);
	ck_assert_int_eq(poll(&poll_fd, 1, 0), 0);
	ck_assert_int_eq(poll(&poll_fd, 1, 30000), 1);
	wait_for(process, &result);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	ck_assert_int_eq(result.exit_code, 3);
	ck_assert_str_eq(result.stdout_data, "out\n");
	ck_assert_str_eq(result.stderr_data, "err\n");
	guest_result_clear(&result);
	ck_assert_int_eq(guest_wait(process, 0, &result, NULL), -ESRCH);
	ck_assert_int_eq(guest_kill(process, SIGTERM, NULL), -ESRCH);
	ck_assert_int_eq(guest_cancel(process, NULL), -ESRCH);
	ck_assert_int_eq(poll(&poll_fd, 1, 0), 1);
	guest_process_free(process);
}
END_TEST

START_TEST(fd_is_silent_while_output_comes)
{
	struct guest *guest = guest_with(NULL);
	struct guest_process *process = spawn_shell(guest, "echo early; sleep 1");
	struct pollfd poll_fd = { .fd = guest_process_fd(process), .events = POLLIN };

	ck_assert_int_eq(poll(&poll_fd, 1, 200), 0);
	ck_assert_int_eq(poll(&poll_fd, 1, 30000), 1);
	guest_process_free(process);
}
END_TEST

START_TEST(what_cannot_be_started_is_told_at_once)
{
	struct guest *guest = guest_with(NULL);
	struct guest_command command = command_of(ARGV("/no/such/program"));
	struct guest_process *process = NULL;
	struct guest_error err = { .size = sizeof(err) };

	ck_assert_int_eq(guest_spawn(guest, &command, &process, &err), -ENOENT);
	ck_assert_int_eq(err.stage, GUEST_STAGE_EXECVE);
	ck_assert_ptr_null(process);
	ck_assert_int_eq(guest_spawn(guest, NULL, &process, &err), -EINVAL);
	ck_assert_int_eq(guest_spawn(guest, &command, NULL, &err), -EINVAL);
	ck_assert_int_eq(guest_wait(NULL, 0, NULL, &err), -EINVAL);
	ck_assert_int_eq(guest_kill(NULL, 1, &err), -EINVAL);
	guest_process_free(NULL);
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(signal_goes_to_the_command_itself)
{
	struct guest *guest = guest_with(NULL);
	struct guest_process *process =
		spawn_shell(guest, "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.02; done");
	struct guest_command command;
	struct guest_result result;

	usleep(200000 * slowness());
	ck_assert_int_eq(guest_kill(process, 4711, NULL), -EINVAL);
	ck_assert_int_eq(guest_kill(process, 0, NULL), 0);
	ck_assert_int_eq(guest_kill(process, SIGTERM, NULL), 0);
	wait_for(process, &result);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	ck_assert_int_eq(result.exit_code, 7);
	ck_assert_str_eq(result.stdout_data, "ready\ncaught\n");
	guest_result_clear(&result);
	guest_process_free(process);
	command = command_of(ARGV("sleep", "60"));
	process = spawn(guest, &command);
	ck_assert_int_eq(guest_kill(process, SIGINT, NULL), 0);
	wait_for(process, &result);
	ck_assert_uint_eq(result.cause, GUEST_SIGNALED);
	ck_assert_int_eq(result.term_signal, SIGINT);
	guest_result_clear(&result);
	guest_process_free(process);
}
END_TEST

/* The next run has the socket of the last one: nothing that was sent late may reach it. */
START_TEST(however_a_command_ends_the_next_knows_nothing_of_it)
{
	struct guest *guest = guest_with(NULL);
	struct guest_command command = command_of(ARGV("sleep", "60")), none = command_of(ARGV("/no/such/program"));
	struct guest_error err = { .size = sizeof(err) };
	struct guest_process *process;
	struct guest_result result;

	command.timeout_ns = 5 * MILLISECOND;
	for (int i = 0; i < 20; i++) {
		expect_shell(guest, "echo out", "out\n");
		expect_shell(guest, ":", "");
		ck_assert_int_eq(run_fails(guest, &none, &err), -ENOENT);
		run(guest, &command, &result);
		ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT);
		guest_result_clear(&result);
		process = spawn_shell(guest, "exit 3");
		(void)guest_kill(process, SIGWINCH, NULL);
		if (i % 2)
			(void)guest_cancel(process, NULL);
		guest_process_free(process);
	}
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

/* 0: a command in the background; 1: one that leaves something in the background. */
START_TEST(large_stdin_is_not_needed_once_the_call_has_returned)
{
	const size_t size = 4 << 20;
	struct guest *guest = guest_with(NULL);
	struct guest_command command = command_of(SHELL("sleep 0.1; wc -c"));
	struct guest_result result;
	char *data = calloc(1, size);

	command.stdin_data = data;
	command.stdin_size = size;
	if (_i == 0) {
		struct guest_process *process = spawn(guest, &command);

		free(data);
		wait_for(process, &result);
		ck_assert_str_eq(result.stdout_data, "4194304\n");
		guest_process_free(process);
	} else {
		command.argv = SHELL("exec 3<&0; (sleep 0.1; wc -c <&3 >/tmp/count) & :");
		command.flags = GUEST_KEEP_BACKGROUND;
		run(guest, &command, &result);
		free(data);
		expect_shell(guest, "until [ -s /tmp/count ]; do sleep 0.02; done; cat /tmp/count", "4194304\n");
	}
	guest_result_clear(&result);
}
END_TEST

START_TEST(quiet_command_is_heard_beside_others)
{
	struct guest *guest = guest_with(NULL);
	struct guest_process *late = spawn_shell(guest, "sleep 0.2; echo late; sleep 0.1; echo later >&2");
	struct guest_process *quiet = spawn_shell(guest, "sleep 0.3");
	struct guest_result result;

	expect_shell(guest, "echo meanwhile", "meanwhile\n");
	wait_for(late, &result);
	ck_assert_str_eq(result.stdout_data, "late\n");
	ck_assert_str_eq(result.stderr_data, "later\n");
	guest_result_clear(&result);
	wait_for(quiet, &result);
	ck_assert_uint_eq(result.stdout_size + result.stderr_size, 0);
	guest_result_clear(&result);
	guest_process_free(late);
	guest_process_free(quiet);
}
END_TEST

static void *cancel_soon(void *process)
{
	usleep(100000 * slowness());
	ck_assert_int_eq(guest_cancel(process, NULL), 0);
	return NULL;
}

START_TEST(cancel_from_another_thread_keeps_the_output)
{
	struct guest *guest = guest_with_tool();
	struct guest_process *process = spawn_shell(guest, "echo before; " TOOL " orphans 3");
	struct guest_result result;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, cancel_soon, process), 0);
	wait_for(process, &result);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(result.cause, GUEST_CANCELLED);
	ck_assert_str_eq(result.stdout_data, "before\n");
	guest_result_clear(&result);
	guest_process_free(process);
	expect_shell(guest, "set -- /proc/[0-9]*; echo $#", "2\n"); /* init and the shell */
}
END_TEST

START_TEST(free_ends_what_runs)
{
	struct guest *guest = guest_with(NULL);
	struct guest_process *process = spawn_shell(guest, "sleep 60");
	uint64_t started = now_ns();

	guest_process_free(process);
	ck_assert_uint_lt(now_ns() - started, 10 * SECOND);
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(time_out_and_output_limit_hold)
{
	struct guest *guest = guest_with(NULL);
	struct guest_command command = command_of(SHELL("yes"));
	struct guest_process *process;
	struct guest_result result;

	command.output_limit_bytes = 10000;
	process = spawn(guest, &command);
	wait_for(process, &result);
	ck_assert_uint_eq(result.cause, GUEST_OUTPUT_LIMIT);
	ck_assert_uint_eq(result.stdout_size, 10000);
	guest_result_clear(&result);
	guest_process_free(process);
	command = command_of(SHELL("sleep 60"));
	command.timeout_ns = 100 * MILLISECOND * slowness();
	process = spawn(guest, &command);
	wait_for(process, &result);
	ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT);
	guest_result_clear(&result);
	guest_process_free(process);
}
END_TEST

START_TEST(many_at_once)
{
	enum { COUNT = 50 };
	struct guest_process *processes[COUNT];
	struct guest *guest = guest_with(NULL);
	struct guest_result result;
	char text[64];

	for (int i = 0; i < COUNT; i++) {
		snprintf(text, sizeof(text), "read x; echo %d", i);
		processes[i] = spawn_shell(guest, text);
	}
	for (int i = COUNT - 1; i >= 0; i--) {
		snprintf(text, sizeof(text), "%d\n", i);
		wait_for(processes[i], &result);
		ck_assert_str_eq(result.stdout_data, text);
		guest_result_clear(&result);
		guest_process_free(processes[i]);
	}
}
END_TEST

/* Each end has the others beside it: that must not take the square of their number. */
START_TEST(many_are_cancelled_at_once)
{
	enum { COUNT = 100 }; /* which fit into the usual RLIMIT_NOFILE */
	struct guest_process *processes[COUNT];
	struct guest *guest = guest_with(NULL);
	struct guest_result result;
	uint64_t start;

	for (int i = 0; i < COUNT; i++)
		processes[i] = spawn_shell(guest, "exec sleep 60");
	start = now_ns();
	for (int i = 0; i < COUNT; i++)
		ck_assert_int_eq(guest_cancel(processes[i], NULL), 0);
	for (int i = 0; i < COUNT; i++) {
		wait_for(processes[i], &result);
		ck_assert_uint_eq(result.cause, GUEST_CANCELLED);
		guest_result_clear(&result);
		guest_process_free(processes[i]);
	}
	ck_assert_uint_lt(now_ns() - start, 5 * SECOND * slowness());
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(shutdown_ends_what_was_spawned)
{
	struct guest *guest = guest_with(NULL);
	struct guest_process *process = spawn_shell(guest, "echo partial; sleep 60");
	struct guest_result result = { .size = sizeof(result) };
	struct guest_error err = { .size = sizeof(err) };

	usleep(200000 * slowness());
	guest_end(guest);
	ck_assert_int_eq(guest_wait(process, 10 * SECOND, &result, &err), -EPIPE);
	ck_assert_uint_eq(result.cause, GUEST_LOST);
	ck_assert_str_eq(result.stdout_data, "partial\n");
	guest_result_clear(&result);
	guest_process_free(process);
}
END_TEST

START_TEST(forked_child_leaves_it_alone)
{
	struct guest *guest = guest_with(NULL);
	struct guest_process *process = spawn_shell(guest, "sleep 0.3; echo on");
	struct guest_result result = { .size = sizeof(result) };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		bool refused = guest_wait(process, 0, &result, NULL) == -ECHILD &&
			       guest_kill(process, SIGKILL, NULL) == -ECHILD && guest_cancel(process, NULL) == -ECHILD;

		guest_process_free(process);
		_exit(!refused);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	wait_for(process, &result);
	ck_assert_str_eq(result.stdout_data, "on\n");
	guest_result_clear(&result);
	guest_process_free(process);
}
END_TEST

static struct guest *guest_for_background(int with_limits)
{
	struct guest_config config = config_default();

	config.pids_max = with_limits ? 100 : 0;
	return guest_with_tool_and(config);
}

START_TEST(background_is_kept_on_demand)
{
	struct guest_command command =
		command_of(SHELL("(while :; do date +%N > /tmp/new; mv /tmp/new /tmp/now; sleep 0.02; done) &"));
	struct guest *guest = guest_for_background(_i);
	struct guest_result result;

	command.flags = GUEST_KEEP_BACKGROUND;
	for (int i = 0; i < 3; i++) {
		run(guest, &command, &result);
		ck_assert_uint_eq(result.cause, GUEST_EXITED);
		guest_result_clear(&result);
	}
	/* others come and go, with what they leave behind */
	expect(guest, ARGV(TOOL, "orphans", "3", "exit"), "");
	expect_shell(guest,
		     "for i in $(seq 100); do [ -e /tmp/now ] && break; sleep 0.1; done; a=$(cat /tmp/now); "
		     "for i in $(seq 100); do [ $a != $(cat /tmp/now) ] && break; sleep 0.1; done; "
		     "[ $i != 100 ] && echo alive",
		     "alive\n");
	/* those three, and the shell that counts them */
	expect_shell(guest, "cat /proc/[0-9]*/status | grep -c '^PPid:[[:space:]]*1$'", "4\n");
}
END_TEST

/* The first of two that run at once ends last, and takes along what is its own, in whatever session. */
START_TEST(background_outlives_a_command_that_was_there_before)
{
	struct guest_command command = command_of(SHELL("bash -c 'exec -a kept sleep 60' & echo"));
	struct guest *guest = guest_for_background(_i);
	struct guest_process *first =
		spawn_shell(guest,
			    "setsid bash -c '(exec -a left sleep 60) & (exec -a left sleep 60) &'; touch /tmp/ready; "
			    "while [ ! -e /tmp/end ]; do sleep 0.02; done");
	struct guest_result result = { .size = sizeof(result) };

	expect_shell(guest, "while [ ! -e /tmp/ready ]; do sleep 0.02; done", "");
	command.flags = GUEST_KEEP_BACKGROUND;
	run(guest, &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	guest_result_clear(&result);
	expect_shell(guest,
		     "until [ 3 = $(cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c '^left$\\|^kept$') ]; do "
		     "sleep 0.02; done; touch /tmp/end",
		     "");
	wait_for(first, &result);
	guest_result_clear(&result);
	guest_process_free(first);
	expect_shell(guest, "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep '^left$\\|^kept$'", "kept\n");
}
END_TEST

START_TEST(failed_start_is_told_though_others_stop_all)
{
	struct guest *guest = guest_with(NULL);
	/* not before its parent has ended, which it could stop, too */
	struct guest_command command = command_of(SHELL("(sleep 0.5; while :; do kill -STOP -1; done) & :")), none;
	struct guest_error err;
	struct guest_result result;
	uint64_t start = now_ns();

	command.flags = GUEST_KEEP_BACKGROUND;
	run(guest, &command, &result);
	guest_result_clear(&result);
	sleep(1);
	none = command_of(ARGV("/no/such/program"));
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(run_fails(guest, &none, &err), -ENOENT);
	ck_assert_uint_lt(now_ns() - start, 10 * SECOND * slowness());
}
END_TEST

START_TEST(background_of_a_killed_command_is_killed)
{
	struct guest_command command = command_of(SHELL("sleep 60 & echo; sleep 60"));
	struct guest *guest = guest_for_background(_i);
	struct guest_result result;

	command.flags = GUEST_KEEP_BACKGROUND;
	command.timeout_ns = 200 * MILLISECOND * slowness();
	run(guest, &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT);
	guest_result_clear(&result);
	expect_shell(guest, "set -- /proc/[0-9]*; echo $#", "2\n");
}
END_TEST

static Suite *spawn_suite(void)
{
	Suite *suite = suite_create("spawn");
	TCase *tcase = suite_case(suite, "spawn", 60);

	tcase_add_test(tcase, command_runs_while_the_caller_goes_on);
	tcase_add_test(tcase, fd_is_silent_while_output_comes);
	tcase_add_test(tcase, what_cannot_be_started_is_told_at_once);
	tcase_add_test(tcase, signal_goes_to_the_command_itself);
	tcase_add_test(tcase, however_a_command_ends_the_next_knows_nothing_of_it);
	tcase_add_test(tcase, quiet_command_is_heard_beside_others);
	tcase_add_loop_test(tcase, large_stdin_is_not_needed_once_the_call_has_returned, 0, 2);
	tcase_add_test(tcase, cancel_from_another_thread_keeps_the_output);
	tcase_add_test(tcase, free_ends_what_runs);
	tcase_add_test(tcase, time_out_and_output_limit_hold);
	tcase_add_test(tcase, many_at_once);
	tcase_add_test(tcase, many_are_cancelled_at_once);
	tcase_add_test(tcase, shutdown_ends_what_was_spawned);
	tcase_add_test(tcase, forked_child_leaves_it_alone);
	tcase = suite_case(suite, "background", 60);
	tcase_add_loop_test(tcase, background_is_kept_on_demand, 0, 2);
	tcase_add_loop_test(tcase, background_outlives_a_command_that_was_there_before, 0, 2);
	tcase_add_loop_test(tcase, background_of_a_killed_command_is_killed, 0, 2);
	tcase_add_test(tcase, failed_start_is_told_though_others_stop_all);
	return suite;
}

int main(void)
{
	return suite_main(spawn_suite);
}
