// SPDX-License-Identifier: MIT
/* Odd host programs: their fds, limits, environment, forks and signals. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

START_TEST(fds_of_the_host_are_invisible)
{
	int fds[50];

	for (int i = 0; i < 50; i++)
		fds[i] = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, for this is the test */
	expect(guest_with_tool(), ARGV(TOOL, "fds"), "0 1 2 \n");
	for (int i = 0; i < 50; i++)
		close(fds[i]);
}
END_TEST

START_TEST(fds_opened_between_guest_and_run_are_invisible)
{
	struct guest *guest = guest_with_tool();
	int fd = open("/", O_RDONLY);

	expect(guest, ARGV(TOOL, "fds"), "0 1 2 \n");
	close(fd);
}
END_TEST

static void run_without_stdio(int *ret_lowest)
{
	struct guest_result result = { .size = sizeof(result) };
	struct guest_command command = command_of(ARGV("echo", "fine"));
	struct guest *guest = NULL;
	int r;

	for (int fd = 0; fd < 3; fd++)
		close(fd);
	r = guest_init(&guest, NULL, NULL);
	if (r == 0)
		r = guest_run(guest, &command, &result, NULL);
	if (r == 0 && strcmp(result.stdout_data, "fine\n") != 0)
		r = 1;
	guest_result_clear(&result);
	*ret_lowest = r == 0 ? dup(3) : -1;
	if (*ret_lowest >= 0)
		close(*ret_lowest);
	guest_shutdown(guest, NULL);
	guest_trim(NULL);
}

START_TEST(host_without_stdio_keeps_0_to_2_free)
{
	int saved[3], lowest;

	for (int fd = 0; fd < 3; fd++)
		saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	/* something must be at 3, to be copied */
	int third = fcntl(saved[0], F_DUPFD_CLOEXEC, 3);

	run_without_stdio(&lowest);
	for (int fd = 0; fd < 3; fd++) {
		dup2(saved[fd], fd);
		close(saved[fd]);
	}
	close(third);
	ck_assert_int_eq(lowest, 0);
}
END_TEST

START_TEST(few_fds_are_enough_or_a_clear_error)
{
	struct rlimit before, low;
	int worked = 0;

	getrlimit(RLIMIT_NOFILE, &before);
	for (rlim_t files = 16; files <= 64; files += 4) {
		struct guest_command command = command_of(ARGV("echo", "fine"));
		struct guest_result result = { .size = sizeof(result) };
		struct guest_error err = { .size = sizeof(err) };
		struct guest *guest = NULL;
		int r;

		low = (struct rlimit){ files, before.rlim_max };
		setrlimit(RLIMIT_NOFILE, &low);
		r = guest_init(&guest, NULL, &err);
		if (r == 0)
			r = guest_run(guest, &command, &result, &err);
		guest_shutdown(guest, NULL);
		guest_trim(NULL);
		setrlimit(RLIMIT_NOFILE, &before);
		ck_assert_msg(r == 0 || r == -EMFILE, "%d fds: %d, %s", (int)files, r, err.message);
		if (r == 0) {
			ck_assert_str_eq(result.stdout_data, "fine\n");
			worked++;
		}
		guest_result_clear(&result);
	}
	ck_assert_int_gt(worked, 0);
}
END_TEST

START_TEST(no_free_fd_is_a_clear_error_and_leaves_nothing)
{
	struct rlimit before, low;
	struct guest_error err;
	int fds[32], count = 0;

	getrlimit(RLIMIT_NOFILE, &before);
	low = (struct rlimit){ 32, before.rlim_max };
	setrlimit(RLIMIT_NOFILE, &low);
	while (count < 32 && (fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		count++;
	for (int spare = 0; spare < 12 && count > 0; spare++) {
		struct guest *guest = NULL;
		int r;

		err = (struct guest_error){ .size = sizeof(err) };
		r = guest_init(&guest, NULL, &err);
		if (r == 0) {
			guest_shutdown(guest, NULL);
			break;
		}
		ck_assert_msg(r == -EMFILE, "%d fds free: %d, %s", spare, r, err.message);
		close(fds[--count]);
	}
	while (count > 0)
		close(fds[--count]);
	setrlimit(RLIMIT_NOFILE, &before);
	expect_shell(guest_with(NULL), "echo on", "on\n");
}
END_TEST

/* 1: on one CPU, where it may well come with the last message. */
START_TEST(output_that_no_fd_is_free_for_is_an_error_at_once)
{
	cpu_set_t all, one;
	struct guest *guest;
	struct guest_command command = command_of(ARGV("echo", "fine"));
	struct rlimit before, low;
	struct guest_error err;
	uint64_t start;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
		if (CPU_ISSET(cpu, &all))
			CPU_SET(cpu, &one);
	if (_i == 1)
		ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	guest = guest_with(NULL);
	getrlimit(RLIMIT_NOFILE, &before);
	for (int i = 0; i < 20; i++) {
		int free_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		close(free_fd);
		low = (struct rlimit){ (rlim_t)free_fd, before.rlim_max };
		expect_shell(guest, ":", "");
		start = now_ns();
		setrlimit(RLIMIT_NOFILE, &low);
		ck_assert_int_eq(run_fails(guest, &command, &err), -EMFILE);
		setrlimit(RLIMIT_NOFILE, &before);
		ck_assert_uint_lt(now_ns() - start, 5 * SECOND);
	}
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

struct sleeper {
	struct guest *guest;
	int null;
};

/* Host and holder have one fd for it. */
static void *sleep_without_pipes(void *argument)
{
	const struct sleeper *sleeper = argument;
	struct guest_command command = command_of(ARGV("sleep", "3"));
	struct guest_result result;

	command.stdin_fd = command.stdout_fd = command.stderr_fd = sleeper->null;
	run(sleeper->guest, &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	guest_result_clear(&result);
	return NULL;
}

START_TEST(more_commands_than_half_of_the_fds_run_at_once)
{
	enum { FILES = 300, COUNT = 200 };
	const struct rlimit low = { FILES, FILES };
	struct sleeper sleeper;
	pthread_t threads[COUNT];

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0); /* of this test's process */
	sleeper.guest = guest_with(NULL);
	sleeper.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < COUNT; i++) {
		ck_assert_int_eq(pthread_create(&threads[i], NULL, sleep_without_pipes, &sleeper), 0);
		usleep(3000); /* each needs more for a moment */
	}
	for (int i = 0; i < COUNT; i++)
		pthread_join(threads[i], NULL);
	close(sleeper.null);
	expect_shell(sleeper.guest, "echo on", "on\n");
}
END_TEST

START_TEST(fds_above_fd_setsize_work)
{
	enum { COUNT = 2000 };
	struct rlimit before, high;
	int *fds = calloc(COUNT, sizeof(*fds));

	getrlimit(RLIMIT_NOFILE, &before);
	SKIP_IF(before.rlim_max < COUNT + 200, "the hard RLIMIT_NOFILE is %d", (int)before.rlim_max);
	high = (struct rlimit){ COUNT + 200, before.rlim_max };
	setrlimit(RLIMIT_NOFILE, &high);
	for (int i = 0; i < COUNT; i++)
		ck_assert_int_ge(fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	expect_shell(guest_with(NULL), "echo out; echo err >&2", "out\n");
	for (int i = 0; i < COUNT; i++)
		close(fds[i]);
	setrlimit(RLIMIT_NOFILE, &before);
	free(fds);
}
END_TEST

START_TEST(limit_on_files_is_an_error_and_no_signal)
{
	struct rlimit before, low;
	struct guest_error err;

	getrlimit(RLIMIT_FSIZE, &before);
	low = (struct rlimit){ 1 << 20, before.rlim_max };
	setrlimit(RLIMIT_FSIZE, &low);
	ck_assert_int_eq(init_fails(NULL, &err), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &before);
	expect_shell(guest_with(NULL), "echo on", "on\n");
}
END_TEST

/* Each test has a process, and a keeper, of its own. */
START_TEST(host_that_is_never_killed_for_memory_has_guests_that_are)
{
	FILE *file = fopen("/proc/self/oom_score_adj", "w");

	if (!file || fputs("-700", file) < 0 || fclose(file) != 0) {
		printf("NOTE oom_score_adj: only root may lower it\n");
		return;
	}
	expect_shell(guest_with(NULL), "cat /proc/self/oom_score_adj", "0\n");
}
END_TEST

START_TEST(umask_of_the_host_does_not_matter)
{
	mode_t before = umask(0777);
	struct guest *guest = guest_with(NULL);

	expect_shell(guest, "umask; echo x >/tmp/x; cat /tmp/x; stat -c %a / /tmp /etc /dev/shm",
		     "0022\nx\n755\n1777\n755\n1777\n");
	ck_assert_uint_eq(umask(before), 0777);
}
END_TEST

START_TEST(host_with_much_memory_works)
{
	size_t size = 512U << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct guest *guest;

	ck_assert_ptr_ne(memory, MAP_FAILED);
	memset(memory, 1, size);
	guest = guest_with(NULL);
	for (int i = 0; i < 20; i++)
		expect_shell(guest, "echo on", "on\n");
	munmap(memory, size);
}
END_TEST

START_TEST(working_directory_of_the_host_does_not_matter)
{
	int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_eq(mkdir(scratch("gone"), 0755), 0);
	ck_assert_int_eq(chdir(scratch("gone")), 0);
	ck_assert_int_eq(rmdir(scratch("gone")), 0);
	expect_shell(guest_with(NULL), "pwd", "/\n");
	ck_assert_int_eq(fchdir(before), 0);
	close(before);
}
END_TEST

/* The exit status of a forked child that does something. */
static int in_child(int (*what)(struct guest *), struct guest *guest)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(what(guest));
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

static int use_parents_handle(struct guest *guest)
{
	struct guest_result result = { .size = sizeof(result) };
	struct guest_command command = command_of(ARGV("true"));

	if (guest_run(guest, &command, &result, NULL) != -ECHILD)
		return 1;
	return guest_shutdown(guest, NULL) == -ECHILD ? 0 : 2;
}

static int make_own_guest(struct guest *guest)
{
	struct guest_result result = { .size = sizeof(result) };
	struct guest_command command = command_of(ARGV("echo", "mine"));

	if (guest_init(&guest, NULL, NULL) != 0)
		return 1;
	if (guest_run(guest, &command, &result, NULL) != 0 || strcmp(result.stdout_data, "mine\n") != 0)
		return 2;
	guest_result_clear(&result);
	return guest_shutdown(guest, NULL) == 0 && guest_trim(NULL) == 0 ? 0 : 3;
}

static int just_exit(struct guest *guest)
{
	(void)guest;
	return 0;
}

START_TEST(handle_in_a_forked_child_gives_echild)
{
	struct guest *guest = guest_with(NULL);

	ck_assert_int_eq(in_child(use_parents_handle, guest), 0);
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(forked_child_makes_its_own_guest)
{
	struct guest *guest = guest_with(NULL);

	ck_assert_int_eq(in_child(make_own_guest, NULL), 0);
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(forked_child_that_exits_does_no_harm)
{
	struct guest *guest = guest_with(NULL);

	ck_assert_int_eq(in_child(just_exit, guest), 0);
	expect_shell(guest, "echo on", "on\n");
	guest_end(guest);
	expect_shell(guest_with(NULL), "echo on", "on\n");
}
END_TEST

START_TEST(living_forked_copy_of_the_host_keeps_nothing_alive)
{
	struct guest *guest = guest_with(NULL);
	int status, left;
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	guest_end(guest);
	ck_assert_int_eq(guest_trim(NULL), 0);
	left = invariants_wait_lost(1000);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ck_assert_int_eq(left, 0);
}
END_TEST

START_TEST(wait_for_all_children_finds_none)
{
	struct guest *guest = guest_with(NULL);

	ck_assert_int_eq(wait(NULL), -1);
	ck_assert_int_eq(errno, ECHILD);
	expect_shell(guest, "echo on", "on\n");
	ck_assert_int_eq(wait(NULL), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(ignored_sigchld_does_not_matter)
{
	struct guest_result result;
	struct guest *guest;

	signal(SIGCHLD, SIG_IGN);
	guest = guest_with(NULL);
	run_shell(guest, "exit 3", &result);
	ck_assert_int_eq(result.exit_code, 3);
	guest_result_clear(&result);
	guest_end(guest);
	signal(SIGCHLD, SIG_DFL);
}
END_TEST

static volatile sig_atomic_t reaped;

static void reap_all(int sig)
{
	int saved = errno;

	(void)sig;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		reaped++;
	errno = saved;
}

START_TEST(sigchld_handler_that_reaps_does_not_matter)
{
	struct guest_result result;
	struct guest *guest;

	signal(SIGCHLD, reap_all);
	for (int i = 0; i < 3; i++) {
		guest = guest_with(NULL);
		run_shell(guest, "exit 3", &result);
		ck_assert_int_eq(result.exit_code, 3);
		guest_result_clear(&result);
		guest_end(guest);
		guest_trim(NULL);
	}
	signal(SIGCHLD, SIG_DFL);
}
END_TEST

static void *reap_for_ever(void *argument)
{
	int *stop = argument;

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED))
		if (waitpid(-1, NULL, __WALL) < 0)
			usleep(50);
	return NULL;
}

START_TEST(thread_that_reaps_everything_does_not_matter)
{
	struct guest_result result;
	pthread_t thread;
	int stop = 0;

	ck_assert_int_eq(pthread_create(&thread, NULL, reap_for_ever, &stop), 0);
	for (int i = 0; i < 5; i++) {
		struct guest *guest = guest_with(NULL);

		run_shell(guest, "exit 3", &result);
		ck_assert_int_eq(result.exit_code, 3);
		guest_result_clear(&result);
		guest_end(guest);
		guest_trim(NULL);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}
END_TEST

static void *init_in_thread(void *guest)
{
	return (void *)(intptr_t)guest_init(guest, NULL, NULL);
}

START_TEST(guest_outlives_the_thread_that_made_it)
{
	struct guest *guest = NULL;
	pthread_t thread;
	void *r;

	ck_assert_int_eq(pthread_create(&thread, NULL, init_in_thread, &guest), 0);
	ck_assert_int_eq(pthread_join(thread, &r), 0);
	ck_assert_ptr_null(r);
	usleep(100000);
	expect_shell(guest, "echo on", "on\n");
	guest_end(guest);
}
END_TEST

static void interrupted(int sig)
{
	(void)sig;
}

START_TEST(signals_to_the_host_do_not_disturb)
{
	struct sigaction action = { .sa_handler = interrupted }; /* no SA_RESTART */
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct guest *guest;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	guest = guest_with(NULL);
	for (int i = 0; i < 20; i++)
		expect_shell(guest, "sleep 0.02; echo on", "on\n");
	guest_end(guest);
	setitimer(ITIMER_REAL, &never, NULL);
}
END_TEST

static Suite *make(void)
{
	Suite *suite = suite_create("host");
	TCase *tcase = suite_case(suite, "fds", 60);

	tcase_add_test(tcase, fds_of_the_host_are_invisible);
	tcase_add_test(tcase, fds_opened_between_guest_and_run_are_invisible);
	tcase_add_test(tcase, host_without_stdio_keeps_0_to_2_free);
	tcase_add_test(tcase, few_fds_are_enough_or_a_clear_error);
	tcase_add_test(tcase, no_free_fd_is_a_clear_error_and_leaves_nothing);
	tcase_add_loop_test(tcase, output_that_no_fd_is_free_for_is_an_error_at_once, 0, 2);
	tcase_add_test(tcase, more_commands_than_half_of_the_fds_run_at_once);
	tcase_add_test(tcase, fds_above_fd_setsize_work);
	tcase = suite_case(suite, "state", 60);
	tcase_add_test(tcase, limit_on_files_is_an_error_and_no_signal);
	tcase_add_test(tcase, host_that_is_never_killed_for_memory_has_guests_that_are);
	tcase_add_test(tcase, umask_of_the_host_does_not_matter);
	tcase_add_test(tcase, host_with_much_memory_works);
	tcase_add_test(tcase, working_directory_of_the_host_does_not_matter);
	tcase_add_test(tcase, guest_outlives_the_thread_that_made_it);
	tcase_add_test(tcase, signals_to_the_host_do_not_disturb);
	tcase = suite_case(suite, "forks", 60);
	tcase_add_test(tcase, handle_in_a_forked_child_gives_echild);
	tcase_add_test(tcase, forked_child_makes_its_own_guest);
	tcase_add_test(tcase, forked_child_that_exits_does_no_harm);
	tcase_add_test(tcase, living_forked_copy_of_the_host_keeps_nothing_alive);
	tcase = suite_case(suite, "children", 60);
	tcase_add_test(tcase, wait_for_all_children_finds_none);
	tcase_add_test(tcase, ignored_sigchld_does_not_matter);
	tcase_add_test(tcase, sigchld_handler_that_reaps_does_not_matter);
	tcase_add_test(tcase, thread_that_reaps_everything_does_not_matter);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
