// SPDX-License-Identifier: MIT
/* Many threads on one guest, many guests, and races of making and ending them. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define THREADS 64
#define ROUNDS 10

struct worker {
	pthread_t thread;
	struct guest *guest;
	int number;
	char problem[256]; /* what went wrong; check's assertions are for the main thread */
};

__attribute__((format(printf, 2, 3))) static void complain(struct worker *worker, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!worker->problem[0])
		vsnprintf(worker->problem, sizeof(worker->problem), format, args);
	va_end(args);
}

static void start_all(struct worker *workers, int count, struct guest *guest, void *(*work)(void *))
{
	for (int i = 0; i < count; i++) {
		workers[i] = (struct worker){ .guest = guest, .number = i };
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
}

static void join_all(struct worker *workers, int count)
{
	for (int i = 0; i < count; i++)
		ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
	for (int i = 0; i < count; i++)
		ck_assert_msg(!workers[i].problem[0], "thread %d: %s", i, workers[i].problem);
}

static void run_one(struct worker *worker, struct guest_command *command, struct guest_result *result,
		    uint32_t cause)
{
	struct guest_error err = { .size = sizeof(err) };
	int r;

	*result = (struct guest_result){ .size = sizeof(*result) };
	r = guest_run(worker->guest, command, result, &err);
	if (r != 0)
		complain(worker, "guest_run: %d, %s", r, err.message);
	else if (result->cause != cause)
		complain(worker, "cause: %s (code %d, signal %d, stderr %.100s)", guest_cause_name(result->cause),
			 result->exit_code, result->term_signal, result->stderr_data);
}

static void run_echo(struct worker *worker, int round)
{
	char script[128], wanted[64];
	struct guest_command command = command_of(SHELL(script));
	struct guest_result result;

	snprintf(script, sizeof(script), "echo %d-%d; echo e%d >&2; exit %d", worker->number, round, worker->number,
		 worker->number);
	snprintf(wanted, sizeof(wanted), "%d-%d\n", worker->number, round);
	run_one(worker, &command, &result, GUEST_EXITED);
	if (result.exit_code != worker->number || !result.stdout_data || strcmp(result.stdout_data, wanted) != 0)
		complain(worker, "exit code %d, stdout %.100s", result.exit_code,
			 result.stdout_data ? result.stdout_data : "NULL");
	guest_result_clear(&result);
}

static void run_cat(struct worker *worker, int round)
{
	size_t size = 200000 + (size_t)(worker->number * 1000 + round);
	struct guest_command command = command_of(ARGV("cat"));
	char *bytes = malloc(size);
	struct guest_result result;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 31 + i / 251 + (size_t)worker->number);
	command.stdin_data = bytes;
	command.stdin_size = size;
	run_one(worker, &command, &result, GUEST_EXITED);
	if (result.stdout_size != size || memcmp(result.stdout_data, bytes, size) != 0)
		complain(worker, "%zu bytes in, %zu others out", size, (size_t)result.stdout_size);
	guest_result_clear(&result);
	free(bytes);
}

static void run_too_long(struct worker *worker)
{
	struct guest_command command = command_of(SHELL("sleep 1000 & sleep 1000"));
	struct guest_result result;

	command.timeout_ns = 30 * MILLISECOND;
	run_one(worker, &command, &result, GUEST_TIMED_OUT);
	guest_result_clear(&result);
}

static void run_too_much(struct worker *worker)
{
	struct guest_command command = command_of(ARGV("yes"));
	struct guest_result result;

	command.output_limit_bytes = 100000;
	run_one(worker, &command, &result, GUEST_OUTPUT_LIMIT);
	if (result.stdout_size != 100000)
		complain(worker, "%zu bytes below a limit of 100000", (size_t)result.stdout_size);
	guest_result_clear(&result);
}

static void run_what_is_not_there(struct worker *worker)
{
	struct guest_command command = command_of(ARGV("no-such-command"));
	struct guest_result result = { .size = sizeof(result) };
	int r = guest_run(worker->guest, &command, &result, NULL);

	if (r != -ENOENT)
		complain(worker, "no-such-command: %d", r);
}

static void *run_everything(void *argument)
{
	struct worker *worker = argument;

	for (int round = 0; round < ROUNDS; round++) {
		switch ((worker->number + round) % 5) {
		case 0:
			run_echo(worker, round);
			break;
		case 1:
			run_cat(worker, round);
			break;
		case 2:
			run_too_long(worker);
			break;
		case 3:
			run_too_much(worker);
			break;
		default:
			run_what_is_not_there(worker);
		}
	}
	return NULL;
}

START_TEST(sixty_four_threads_on_one_guest_get_their_own_output)
{
	static struct worker workers[THREADS];
	struct guest *guest = guest_with(NULL);

	start_all(workers, THREADS, guest, run_everything);
	join_all(workers, THREADS);
	expect_shell(guest, "set -- /proc/[0-9]*; echo $#", "2\n"); /* PID 1 and the shell */
}
END_TEST

static void *live(void *argument)
{
	struct worker *worker = argument;
	struct guest_error err = { .size = sizeof(err) };

	for (int round = 0; round < ROUNDS; round++) {
		int r = guest_init(&worker->guest, NULL, &err);

		if (r < 0) {
			complain(worker, "guest_init: %d, %s", r, err.message);
			return NULL;
		}
		run_echo(worker, round);
		if (round % 3 == 0)
			run_cat(worker, round);
		if (guest_shutdown(worker->guest, NULL) < 0)
			complain(worker, "guest_shutdown");
		if (worker->number == 0 && guest_trim(NULL) < 0)
			complain(worker, "guest_trim");
	}
	return NULL;
}

START_TEST(eight_threads_make_use_and_end_guests)
{
	struct worker workers[8];

	start_all(workers, 8, NULL, live);
	join_all(workers, 8);
}
END_TEST

START_TEST(forks_between_do_no_harm)
{
	struct worker workers[8];

	start_all(workers, 8, NULL, live);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		ck_assert_int_gt(pid, 0);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		usleep(2000);
	}
	join_all(workers, 8);
}
END_TEST

START_TEST(eight_guests_at_once_are_apart)
{
	struct guest *guests[8];
	char script[64], wanted[16];

	for (int i = 0; i < 8; i++) {
		guests[i] = guest_with(NULL);
		snprintf(script, sizeof(script), "echo %d >/tmp/number", i);
		expect_shell(guests[i], script, "");
	}
	for (int i = 0; i < 8; i++) {
		snprintf(wanted, sizeof(wanted), "%d\n", i);
		expect_shell(guests[i], "cat /tmp/number", wanted);
	}
}
END_TEST

static void *run_for_ever(void *argument)
{
	struct worker *worker = argument;
	struct guest_command command = command_of(ARGV("sleep", "1000"));
	struct guest_result result = { .size = sizeof(result) };
	int r = guest_run(worker->guest, &command, &result, NULL);

	if (r == 0)
		complain(worker, "cause %s", guest_cause_name(result.cause));
	else if (r != -EPIPE)
		complain(worker, "guest_run: %d", r);
	guest_result_clear(&result); /* there is one, too: GUEST_LOST */
	return NULL;
}

START_TEST(runs_end_when_their_holder_is_killed)
{
	struct worker workers[8];
	struct guest *guest = guest_with(NULL);
	pid_t holder;

	start_all(workers, 8, guest, run_for_ever);
	usleep(200000);
	holder = invariants_find("guest-holder");
	ck_assert_int_gt(holder, 0);
	ck_assert_int_eq(kill(holder, SIGKILL), 0);
	join_all(workers, 8);
}
END_TEST

static Suite *make(void)
{
	Suite *suite = suite_create("threads");
	TCase *tcase = suite_case(suite, "one guest", 180);

	tcase_add_test(tcase, sixty_four_threads_on_one_guest_get_their_own_output);
	tcase_add_test(tcase, runs_end_when_their_holder_is_killed);
	tcase = suite_case(suite, "many guests", 180);
	tcase_add_test(tcase, eight_guests_at_once_are_apart);
	tcase_add_test(tcase, eight_threads_make_use_and_end_guests);
	tcase_add_test(tcase, forks_between_do_no_harm);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
