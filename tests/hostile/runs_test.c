// SPDX-License-Identifier: MIT
/* Runs that want to outlive their end, to hold up others, or to leave the guest unusable. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support.h"

/* The ways in which a guest can be given more or less. */
static const struct way {
	uint32_t flags, uid;
	const char *capabilities;
} ways[] = {
	{ 0, 0, NULL },
	{ 0, 1000, NULL },
	{ 0, 0, "all=ep" },
	{ GUEST_NO_SECCOMP, 0, NULL },
	{ GUEST_NO_SECCOMP, 0, "all=ep" },
	{ GUEST_CGROUP | GUEST_BEST_EFFORT, 0, NULL },
	{ GUEST_CGROUP | GUEST_BEST_EFFORT | GUEST_NO_SECCOMP, 0, "all=ep" },
};

#define WAYS ((int)(sizeof(ways) / sizeof(ways[0])))

static struct guest_config config_of(const struct way *way)
{
	struct guest_config config = config_default();

	config.flags = way->flags;
	config.uid = config.gid = way->uid;
	config.capabilities = way->capabilities;
	return config;
}

/* A command beside the attack's, which must not notice anything. */
static void bystander_begin(struct background *bystander, struct guest *guest)
{
	static const char *const argv[] = { "/bin/tool", "cat", NULL };

	background_begin(bystander, guest, argv);
	usleep(30000);
}

static void bystander_end(struct background *bystander)
{
	ck_assert_int_eq(write(bystander->start[1], "untouched\n", 10), 10);
	background_end(bystander, "untouched\n");
}

/* Alone and beside another command: the attack does its work and ends, nothing of it lives, the guest goes on. */
static void must_leave_nothing(const char *name, const struct way *way)
{
	struct guest *guest = guest_with_attack(name, config_of(way));
	struct background bystander;

	ck_assert_int_eq(run_and_see_all_dead(guest, ARGV("/opt/attack"), 30 * SECOND, GUEST_EXITED), 0);
	expect_alive(guest);
	guest_end(guest);
	guest = guest_with_attack(name, config_of(way));
	bystander_begin(&bystander, guest);
	ck_assert_int_eq(run_and_see_all_dead(guest, ARGV("/opt/attack"), 30 * SECOND, GUEST_EXITED), 0);
	bystander_end(&bystander);
	expect_alive(guest);
	guest_end(guest);
}

START_TEST(run_leaves_nothing_behind)
{
	static const char *const names[] = { "orphans", "leaderless", "vforks",	 "trace_me", "stdio_tricks",
					     "fd_cycles", "threads",  "exec_self", "ipc",	   "files" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		must_leave_nothing(names[i], &ways[_i]);
}
END_TEST

START_TEST(run_that_covers_proc_leaves_nothing_behind)
{
	char before[65] = "", after[65] = "";

	gethostname(before, sizeof(before) - 1);
	must_leave_nothing("cover_proc", &ways[WAYS - 1]);
	gethostname(after, sizeof(after) - 1);
	ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(guest_that_has_destroyed_itself_gives_clear_errors)
{
	struct guest *guest = guest_with_attack("wreck", config_of(&ways[_i])), *next;
	struct guest_command command = command_of(ARGV("/opt/attack"));
	struct guest_result result;
	struct guest_error err;
	int r;

	next = guest_with_attack("wreck", config_default());
	run(guest, &command, &result);
	guest_result_clear(&result);
	command.argv = ARGV("/bin/tool", "echo");
	if (ways[_i].uid == 0) { /* else there was not much to destroy */
		r = run_fails(guest, &command, &err);
		ck_assert_msg(r == -ENOENT || r == -EACCES, "%d, %s", r, err.message);
		ck_assert_int_eq(err.stage, GUEST_STAGE_EXECVE);
	}
	guest_end(guest);
	expect_alive(next);
}
END_TEST

/* How long after its time-out a run has ended, in milliseconds. */
static double overshoot(struct guest *guest, const char *const *argv, uint64_t timeout)
{
	uint64_t start = now_ns();

	run_and_see_all_dead(guest, argv, timeout, GUEST_TIMED_OUT);
	return (double)(now_ns() - start - timeout) / 1e6;
}

/* Alone, waiting for more, and beside another command. */
START_TEST(fork_bomb_ends_at_its_time_out)
{
	static const char *const kinds[] = { "", " that wait", " beside another command" };
	struct guest *guest = guest_with_attack("fork_bomb", config_default());
	struct background bystander;
	double best = 1e9, worst = 0;

	if (_i == 2)
		bystander_begin(&bystander, guest);
	for (int i = 0; i < 5; i++) {
		const char *const *argv = _i == 1 ? ARGV("/opt/attack", "500", "wait") : ARGV("/opt/attack", "500");
		double late = overshoot(guest, argv, 400 * MILLISECOND);

		best = late < best ? late : best;
		worst = late > worst ? late : worst;
		expect_alive(guest);
	}
	if (_i == 2)
		bystander_end(&bystander);
	printf("NOTE a fork bomb of 500%s: ended %.0f to %.0f ms after its time-out\n", kinds[_i], best, worst);
	/*
	 * It is 10 to 50 ms on two idle CPUs, and more where they are busy or emulated. The worst is the scheduler's:
	 * the host program has to compete with them, too.
	 */
	ck_assert_msg(best < 500 * slowness(), "%.0f ms", best);
}
END_TEST

START_TEST(command_that_another_traces_ends_at_its_time_out)
{
	struct guest *guest = guest_with_attack("trace_all", config_default());
	struct guest_command command = command_of(ARGV("/bin/tool", "stubborn"));
	struct background tracer;
	struct guest_result result;

	background_begin(&tracer, guest, ARGV("/opt/attack"));
	for (int i = 0; i < 3; i++) {
		command.timeout_ns = 200 * MILLISECOND;
		run(guest, &command, &result);
		ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT);
		ck_assert_uint_lt(result.wall_ns, 5 * SECOND);
		guest_result_clear(&result);
	}
	background_join(&tracer);
	ck_assert_msg(strstr(tracer.result.stdout_data, "traced\n"), "nothing was traced");
	guest_result_clear(&tracer.result);
	expect_alive(guest);
}
END_TEST

START_TEST(command_that_its_own_child_traces_ends_at_its_time_out)
{
	struct guest *guest = guest_with_attack("trace_all", config_default());
	struct background bystander;

	bystander_begin(&bystander, guest);
	ck_assert_double_lt(overshoot(guest, ARGV("/opt/attack", "parent"), 300 * MILLISECOND), 5000);
	bystander_end(&bystander);
	expect_alive(guest);
}
END_TEST

START_TEST(storm_that_undoes_stops_ends)
{
	struct guest *guest = guest_with_attack("continue_all", config_default());
	struct background bystander;

	bystander_begin(&bystander, guest);
	for (int i = 0; i < 5; i++)
		run_and_see_all_dead(guest, ARGV("/opt/attack", "storm"), 30 * SECOND, GUEST_EXITED);
	bystander_end(&bystander);
	expect_alive(guest);
}
END_TEST

START_TEST(storm_ends_while_another_command_undoes_stops)
{
	struct guest *guest = guest_with_attack("continue_all", config_default());
	struct guest_result result;
	struct background other;

	background_begin(&other, guest, ARGV("/opt/attack"));
	usleep(30000);
	for (int i = 0; i < 5; i++)
		run_and_see_all_dead(guest, ARGV("/bin/tool", "storm", "exit"), 30 * SECOND, GUEST_EXITED);
	run_argv(guest, ARGV("/bin/tool", "kill"), &result);
	guest_result_clear(&result);
	background_join(&other);
	ck_assert_uint_eq(other.result.cause, GUEST_SIGNALED);
	guest_result_clear(&other.result);
	expect_alive(guest);
}
END_TEST

/* What is in fork(2) all the time that everything stands still has a child that is born stopped. */
START_TEST(command_that_forks_is_not_held_up_by_the_end_of_others)
{
	static const char *const forker[] = { "/bin/tool", "fork-often", "100", NULL };
	struct guest *guest = guest_with_attack("fork_bomb", config_default());
	struct background bystander;

	for (int i = 0; i < 10; i++) { /* each could only be held up until the next ends */
		background_begin(&bystander, guest, forker);
		usleep(100000);
		run_and_see_all_dead(guest, ARGV("/bin/tool", "orphans", "2", "exit"), 30 * SECOND, GUEST_EXITED);
		bystander_end(&bystander);
	}
	expect_alive(guest);
}
END_TEST

/* Whoever reads its output, or adds up its memory, has to wait for a lock that it keeps. */
START_TEST(command_whose_memory_is_slow_ends_at_its_time_out)
{
	static const char *const kinds[][4] = { { "/opt/attack", "write" }, { "/opt/attack", "hold", "200" } };
	struct guest_command command = command_of(kinds[_i]);
	struct guest_config config = config_default();
	struct guest_result result;
	struct guest *guest;

	config.memory_bytes = _i ? 128 << 20 : 0;
	config.flags |= GUEST_BEST_EFFORT;
	guest = guest_with_attack("slow_memory", config);
	command.timeout_ns = 3 * SECOND * slowness();
	run(guest, &command, &result);
	ck_assert_msg(result.cause == GUEST_TIMED_OUT || (_i && result.cause == GUEST_OOM_KILLED), "%s",
		      guest_cause_name(result.cause));
	printf("NOTE a command whose memory is slow to %s: ended %.0f ms after its time-out\n", kinds[_i][1],
	       ((double)result.wall_ns - (double)command.timeout_ns) / 1e6);
	ck_assert_uint_lt(result.wall_ns, command.timeout_ns + 5 * SECOND * slowness());
	guest_result_clear(&result);
	expect_alive(guest);
}
END_TEST

/* The thread that reads its output may be waiting, too. */
START_TEST(command_whose_memory_is_slow_ends_when_it_is_cancelled)
{
	struct guest_command command = command_of(ARGV("/opt/attack", "write"));
	struct guest *guest = guest_with_attack("slow_memory", config_default());
	struct guest_result result = { .size = sizeof(result) };
	struct guest_process *process;
	uint64_t cancelled;

	ck_assert_int_eq(guest_spawn(guest, &command, &process, NULL), 0);
	usleep(3000000 * slowness());
	cancelled = now_ns();
	ck_assert_int_eq(guest_cancel(process, NULL), 0);
	ck_assert_int_eq(guest_wait(process, UINT64_MAX, &result, NULL), 0);
	ck_assert_str_eq(guest_cause_name(result.cause), guest_cause_name(GUEST_CANCELLED));
	printf("NOTE a command whose memory is slow: ended %.0f ms after it was cancelled\n",
	       (double)(now_ns() - cancelled) / 1e6);
	ck_assert_uint_lt(now_ns() - cancelled, 5 * SECOND * slowness());
	guest_result_clear(&result);
	guest_process_free(process);
	expect_alive(guest);
}
END_TEST

START_TEST(output_of_a_run_ends_with_it)
{
	struct guest *guest = guest_with_attack("late_writer", config_default());
	struct guest_result result;
	struct background taker;
	size_t lines;

	background_begin(&taker, guest, ARGV("/opt/attack", "take"));
	usleep(500000);
	run_argv(guest, ARGV("/opt/attack", "give"), &result);
	ck_assert_int_eq(result.exit_code, 0);
	lines = (size_t)result.stdout_size / 5;
	for (size_t i = 0; i < lines; i++)
		ck_assert_int_eq(memcmp(result.stdout_data + i * 5, "late\n", 5), 0);
	guest_result_clear(&result);
	expect_alive(guest);
	background_end(&taker, "ready\nrefused\n");
}
END_TEST

static Suite *make(void)
{
	Suite *suite = suite_create("hostile runs");
	TCase *tcase = suite_case(suite, "leftovers", 120);

	tcase_add_loop_test(tcase, run_leaves_nothing_behind, 0, WAYS);
	tcase_add_test(tcase, run_that_covers_proc_leaves_nothing_behind);
	tcase_add_loop_test(tcase, guest_that_has_destroyed_itself_gives_clear_errors, 0, WAYS);
	tcase = suite_case(suite, "ends", 60);
	tcase_add_loop_test(tcase, fork_bomb_ends_at_its_time_out, 0, 3);
	tcase_add_test(tcase, command_that_another_traces_ends_at_its_time_out);
	tcase_add_test(tcase, command_that_its_own_child_traces_ends_at_its_time_out);
	tcase_add_test(tcase, storm_that_undoes_stops_ends);
	tcase_add_test(tcase, storm_ends_while_another_command_undoes_stops);
	tcase_add_test(tcase, command_that_forks_is_not_held_up_by_the_end_of_others);
	tcase_add_loop_test(tcase, command_whose_memory_is_slow_ends_at_its_time_out, 0, 2);
	tcase_add_test(tcase, command_whose_memory_is_slow_ends_when_it_is_cancelled);
	tcase_add_test(tcase, output_of_a_run_ends_with_it);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
