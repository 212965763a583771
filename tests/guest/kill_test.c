// SPDX-License-Identifier: MIT
/* Somebody kills the host, a holder or a keeper. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define POINTS_PER_PHASE 25
#define LEFT_AFTER_MS 5000 /* a second is promised; this machine may be busy */

/* What a host tells while it lives. */
enum phase {
	PHASE_COLD_INIT,
	PHASE_WARM_INIT,
	PHASE_RUN,
	PHASE_SHUTDOWN,
	PHASES,
};

static void tell(int pipe, enum phase phase)
{
	char byte = (char)phase;

	if (write(pipe, &byte, 1) != 1)
		_exit(1);
}

__attribute__((noreturn)) static void die(const struct guest_error *err)
{
	fprintf(stderr, "the host fails: %s\n", err->message);
	_exit(1);
}

/* A host program: makes a guest, runs something that leaves orphans, ends it, and again. */
__attribute__((noreturn)) static void be_host(int pipe)
{
	struct guest_command command = command_of(SHELL("sleep 1000 & sleep 0.05"));
	struct guest_result result = { .size = sizeof(result) };
	struct guest_error err = { .size = sizeof(err) };
	struct guest *guest, *other;

	for (int round = 0;; round++) {
		tell(pipe, round ? PHASE_WARM_INIT : PHASE_COLD_INIT);
		if (guest_init(&guest, NULL, &err) != 0 || guest_init(&other, NULL, &err) != 0)
			die(&err);
		tell(pipe, PHASE_RUN);
		if (guest_run(guest, &command, &result, &err) != 0)
			die(&err);
		guest_result_clear(&result);
		tell(pipe, PHASE_SHUTDOWN);
		if (guest_shutdown(guest, &err) != 0 || guest_shutdown(other, &err) != 0)
			die(&err);
	}
}

static void wait_for_phase(int pipe, enum phase phase)
{
	char byte;

	do
		ck_assert_int_eq(read(pipe, &byte, 1), 1);
	while (byte != (char)phase);
}

static void kill_host_in(enum phase phase, unsigned int delay_us)
{
	int ends[2], status, left;
	pid_t pid;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		be_host(ends[1]);
	close(ends[1]);
	wait_for_phase(ends[0], phase);
	usleep(delay_us);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	close(ends[0]);
	ck_assert_msg(WIFSIGNALED(status), "the host ended by itself: %#x", (unsigned int)status);
	left = invariants_wait_lost(LEFT_AFTER_MS);
	ck_assert_msg(left == 0, "phase %d, %u us: %d processes are left", phase, delay_us, left);
}

START_TEST(killed_host_leaves_nothing)
{
	static const unsigned int longest_us[PHASES] = { 400000, 2000, 60000, 1500 };

	srand(1);
	for (unsigned int i = 0; i <= POINTS_PER_PHASE / slowness(); i++)
		kill_host_in((enum phase)_i, (unsigned int)rand() % (longest_us[_i] * slowness()));
}
END_TEST

static pid_t find(const char *name)
{
	pid_t pid = invariants_find(name);

	ck_assert_msg(pid > 0, "there is no %s", name);
	return pid;
}

START_TEST(killed_holder_is_an_error_of_the_next_run)
{
	struct guest_command command = command_of(ARGV("true"));
	struct guest *guest = guest_with(NULL);
	struct guest_error err;

	ck_assert_int_eq(kill(find("guest-holder"), SIGKILL), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(run_fails(guest, &command, &err), -EPIPE);
		ck_assert_int_eq(err.stage, GUEST_STAGE_HANDLE);
	}
	guest_end(guest);
}
END_TEST

START_TEST(killed_holder_harms_no_other_guest)
{
	struct guest *guest = guest_with(NULL), *other;
	pid_t holder = find("guest-holder");

	other = guest_with(NULL);
	ck_assert_int_eq(kill(holder, SIGKILL), 0);
	guest_end(guest);
	expect_shell(other, "echo on", "on\n");
	expect_shell(guest_with(NULL), "echo on", "on\n");
}
END_TEST

static void *kill_soon(void *argument)
{
	const char *name = argument;
	pid_t pid;

	usleep(200000);
	pid = invariants_find(name);
	if (pid > 0)
		kill(pid, SIGKILL);
	return NULL;
}

static void killed_during_a_run(const char *name)
{
	struct guest_command command = command_of(SHELL("echo out; sleep 1000"));
	struct guest *guest = guest_with(NULL);
	struct guest_error err;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, kill_soon, (void *)name), 0);
	ck_assert_int_eq(run_fails(guest, &command, &err), -EPIPE);
	pthread_join(thread, NULL);
	guest_end(guest);
	expect_shell(guest_with(NULL), "echo on", "on\n");
}

START_TEST(killed_holder_ends_a_run_with_an_error)
{
	killed_during_a_run("guest-holder");
}
END_TEST

START_TEST(killed_keeper_ends_a_run_with_an_error)
{
	killed_during_a_run("guest-keeper");
}
END_TEST

START_TEST(killed_keeper_is_replaced_by_the_next_init)
{
	struct guest_command command = command_of(ARGV("true"));
	struct guest *guest = guest_with(NULL), *next;
	struct guest_error err;

	ck_assert_int_eq(kill(find("guest-keeper"), SIGKILL), 0);
	next = guest_with(NULL);
	expect_shell(next, "echo on", "on\n");
	ck_assert_int_eq(run_fails(guest, &command, &err), -EPIPE);
	guest_end(guest);
	expect_shell(next, "echo on", "on\n");
}
END_TEST

START_TEST(killed_keeper_without_guests_is_replaced)
{
	guest_end(guest_with(NULL));
	ck_assert_int_eq(kill(find("guest-keeper"), SIGKILL), 0);
	expect_shell(guest_with(NULL), "echo on", "on\n");
}
END_TEST

START_TEST(killed_undertaker_does_no_harm)
{
	struct guest *guest = guest_with(NULL);

	ck_assert_int_eq(kill(find("guest-undertake"), SIGKILL), 0);
	guest_end(guest);
	for (int i = 0; i < 5; i++) {
		guest = guest_with(NULL);
		expect_shell(guest, "echo on", "on\n");
		guest_end(guest);
	}
}
END_TEST

static size_t count_fds(pid_t pid)
{
	struct dirent *entry;
	size_t count = 0;
	char path[32];
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	fds = opendir(path);
	ck_assert_msg(fds, "%s", path);
	while ((entry = readdir(fds)))
		count += entry->d_name[0] != '.';
	closedir(fds);
	return count;
}

/* Most of their mount namespaces are held by the undertaker, which may be late. */
START_TEST(many_guests_leave_nothing_in_keeper_and_undertaker)
{
	enum { MANY = 50 };
	struct guest *guest = guest_with(NULL), *guests[MANY];
	pid_t keeper = find("guest-keeper"), undertaker = find("guest-undertake");
	size_t before = count_fds(keeper), both = before + count_fds(undertaker);

	for (int i = 0; i < MANY; i++)
		guests[i] = guest_with(NULL);
	ck_assert_uint_lt(count_fds(keeper), before + 16);
	if (_i == 1)
		ck_assert_int_eq(kill(undertaker, SIGSTOP), 0);
	for (int i = 0; i < MANY; i++) /* the oldest, the newest, the oldest... */
		guest_end(guests[i % 2 ? MANY - 1 - i / 2 : i / 2]);
	ck_assert_int_eq(kill(undertaker, SIGCONT), 0);
	for (int i = 0; i < 500 && count_fds(keeper) + count_fds(undertaker) != both; i++)
		usleep(10000);
	ck_assert_uint_eq(count_fds(keeper) + count_fds(undertaker), both);
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(stopped_holder_is_killed_by_shutdown)
{
	struct guest *guest = guest_with(NULL);

	ck_assert_int_eq(kill(find("guest-holder"), SIGSTOP), 0);
	guest_end(guest);
}
END_TEST

START_TEST(stopped_and_continued_holder_goes_on)
{
	struct guest *guest = guest_with(NULL);
	pid_t holder = find("guest-holder");
	struct guest_result result;
	struct guest_command command = command_of(SHELL("sleep 0.3; echo on"));
	pid_t pid;

	ck_assert_int_eq(kill(holder, SIGSTOP), 0);
	pid = fork();
	if (pid == 0) {
		usleep(200000);
		kill(holder, SIGCONT);
		_exit(0);
	}
	run(guest, &command, &result);
	ck_assert_str_eq(result.stdout_data, "on\n");
	guest_result_clear(&result);
	waitpid(pid, NULL, 0);
}
END_TEST

static Suite *make(void)
{
	Suite *suite = suite_create("kill");
	TCase *tcase = suite_case(suite, "host", 300);

	tcase_add_loop_test(tcase, killed_host_leaves_nothing, 0, PHASES);
	tcase = suite_case(suite, "holder", 60);
	tcase_add_test(tcase, killed_holder_is_an_error_of_the_next_run);
	tcase_add_test(tcase, killed_holder_harms_no_other_guest);
	tcase_add_test(tcase, killed_holder_ends_a_run_with_an_error);
	tcase_add_test(tcase, stopped_holder_is_killed_by_shutdown);
	tcase_add_test(tcase, stopped_and_continued_holder_goes_on);
	tcase = suite_case(suite, "keeper", 60);
	tcase_add_test(tcase, killed_keeper_ends_a_run_with_an_error);
	tcase_add_test(tcase, killed_keeper_is_replaced_by_the_next_init);
	tcase_add_test(tcase, killed_keeper_without_guests_is_replaced);
	tcase_add_test(tcase, killed_undertaker_does_no_harm);
	tcase_add_loop_test(tcase, many_guests_leave_nothing_in_keeper_and_undertaker, 0, 2);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
