// SPDX-License-Identifier: MIT
/*
 * A test suite whose every test has a machine of its own: guest_init() in setup, guest_shutdown()
 * in teardown. A guest belongs to the process that made it, so fixtures are checked ones, which run
 * where the test does. CK_NOFORK lets all tests share the unpacked rootfs: only the first
 * guest_init() pays for it. With CK_FORK each test would.
 */
#include <check.h>
#include <guest/guest.h>
#include <stdlib.h>
#include <string.h>

static struct guest *guest;

static void set_up(void)
{
	struct guest_error err = { .size = sizeof(err) };

	if (guest_init(&guest, NULL, &err) < 0)
		ck_abort_msg("%s", err.message);
}

static void tear_down(void)
{
	guest_shutdown(guest, NULL);
	guest = NULL;
}

/* Run a line of shell in the test's guest. The result is the caller's to clear. */
static struct guest_result shell(const char *line, const char *input)
{
	const char *argv[] = { "bash", "-c", line, NULL };
	struct guest_result result = { .size = sizeof(result) };
	struct guest_error err = { .size = sizeof(err) };
	struct guest_command command;

	guest_command_init(&command, sizeof(command));
	command.argv = argv;
	command.stdin_data = input;
	command.stdin_size = strlen(input);
	command.timeout_ns = 10000000000;
	if (guest_run(guest, &command, &result, &err) < 0)
		ck_abort_msg("%s", err.message);
	return result;
}

static void expect(const char *line, const char *input, int exit_code, const char *output)
{
	struct guest_result result = shell(line, input);

	ck_assert_msg(result.cause == GUEST_EXITED, "%s", guest_cause_name(result.cause));
	ck_assert_msg(result.exit_code == exit_code, "exit code %d: %s", result.exit_code,
		      result.stderr_data);
	ck_assert_str_eq(result.stdout_data, output);
	guest_result_clear(&result);
}

START_TEST(sorts_its_input)
{
	expect("sort -n", "10\n9\n100\n", 0, "9\n10\n100\n");
}
END_TEST

START_TEST(a_failure_is_a_result)
{
	expect("exit 3", "", 3, "");
}
END_TEST

START_TEST(commands_of_a_test_share_its_files)
{
	expect("echo left behind >/etc/motd; rm /bin/ls", "", 0, "");
	expect("cat /etc/motd; command -v ls || echo no ls", "", 0, "left behind\nno ls\n");
}
END_TEST

START_TEST(nothing_is_left_of_other_tests)
{
	expect("! grep -q 'left behind' /etc/motd && command -v ls", "", 0, "/usr/bin/ls\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("machine per test");
	TCase *tests = tcase_create("shell");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, sorts_its_input);
	tcase_add_test(tests, a_failure_is_a_result);
	tcase_add_test(tests, commands_of_a_test_share_its_files);
	tcase_add_test(tests, nothing_is_left_of_other_tests);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_VERBOSE);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
