// SPDX-License-Identifier: MIT
/* Starting a command, its arguments and environment, and how it ends. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "support.h"

static const char plain_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

START_TEST(null_config_gives_a_working_guest)
{
	expect_shell(guest_with(NULL), "echo hello", "hello\n");
}
END_TEST

START_TEST(errno_is_left_alone)
{
	struct guest_result result = { .size = sizeof(result) };
	struct guest_command command = command_of(ARGV("true"));
	struct guest *guest = NULL;

	errno = 77;
	ck_assert_int_eq(guest_init(&guest, NULL, NULL), 0);
	ck_assert_int_eq(errno, 77);
	ck_assert_int_eq(guest_run(guest, &command, &result, NULL), 0);
	ck_assert_int_eq(errno, 77);
	guest_result_clear(&result);
	ck_assert_int_eq(errno, 77);
	command.argv = ARGV("no-such-command");
	ck_assert_int_eq(guest_run(guest, &command, &result, NULL), -ENOENT);
	ck_assert_int_eq(errno, 77);
	ck_assert_int_eq(guest_shutdown(guest, NULL), 0);
	ck_assert_int_eq(errno, 77);
}
END_TEST

START_TEST(exit_codes_are_results)
{
	static const int codes[] = { 0, 1, 2, 42, 126, 127, 128, 255 };
	struct guest *guest = guest_with(NULL);

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct guest_result result;
		char script[32];

		snprintf(script, sizeof(script), "exit %d", codes[i]);
		run_shell(guest, script, &result);
		ck_assert_uint_eq(result.cause, GUEST_EXITED);
		ck_assert_int_eq(result.exit_code, codes[i]);
		ck_assert_int_eq(result.term_signal, 0);
		guest_result_clear(&result);
	}
}
END_TEST

START_TEST(signals_are_results)
{
	static const int signals[] = { SIGTERM, SIGKILL, SIGSEGV, SIGPIPE, SIGABRT };
	struct guest *guest = guest_with(NULL);

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct guest_result result;
		char script[32];

		snprintf(script, sizeof(script), "kill -%d $$", signals[i]);
		run_shell(guest, script, &result);
		ck_assert_uint_eq(result.cause, GUEST_SIGNALED);
		ck_assert_int_eq(result.term_signal, signals[i]);
		ck_assert_int_eq(result.exit_code, -1);
		guest_result_clear(&result);
	}
}
END_TEST

START_TEST(usage_is_reported)
{
	struct guest_result result;

	run_shell(guest_with(NULL), "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done", &result);
	ck_assert_uint_gt(result.wall_ns, 0);
	ck_assert_uint_gt(result.user_ns + result.system_ns, 0);
	ck_assert_uint_ge(result.max_rss_bytes, 4096);
	guest_result_clear(&result);
}
END_TEST

START_TEST(arguments_arrive_as_they_are)
{
	struct guest *guest = guest_with(NULL);

	expect(guest, ARGV("printf", "[%s]", "", "a b", "$HOME \"'", "\x01\xff\n"), "[][a b][$HOME \"'][\x01\xff\n]");
}
END_TEST

START_TEST(a_megabyte_of_arguments_arrives)
{
	enum { COUNT = 16, SIZE = 65000 };
	const char *argv[COUNT + 4] = { "/bin/sh", "-c", "cat \"$0\" 2>/dev/null; echo $# ${#1} ${#15}" };
	char *text = malloc(SIZE + 1);

	memset(text, 'x', SIZE);
	text[SIZE] = '\0';
	for (int i = 0; i < COUNT; i++)
		argv[3 + i] = text;
	argv[3 + COUNT] = NULL;
	expect(guest_with(NULL), argv, "15 65000 65000\n");
	free(text);
}
END_TEST

START_TEST(too_many_arguments_are_an_error)
{
	enum { SIZE = 200000 }; /* a single string may have 128 KiB */
	char *text = calloc(1, SIZE + 1);
	struct guest_command command = command_of(ARGV("echo", text));
	struct guest *guest = guest_with(NULL);
	struct guest_error err;

	memset(text, 'x', SIZE);
	ck_assert_int_eq(run_fails(guest, &command, &err), -E2BIG);
	ck_assert_int_eq(err.stage, GUEST_STAGE_EXECVE);
	free(text);
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(environment_is_minimal_by_default)
{
	struct guest_result result;
	char wanted[256];

	snprintf(wanted, sizeof(wanted), "PATH=%s HOME=/root USER=root LOGNAME=root LANG=C.UTF-8 TERM=dumb\n",
		 plain_path);
	setenv("GUEST_TEST_SECRET", "secret", 1);
	run_argv(guest_with_tool(), ARGV(TOOL, "environ"), &result);
	ck_assert_str_eq(result.stdout_data, wanted);
	guest_result_clear(&result);
}
END_TEST

START_TEST(environment_can_be_given)
{
	struct guest_command command = command_of(ARGV(TOOL, "environ"));
	struct guest *guest = guest_with_tool();
	struct guest_result result;

	command.envp = ARGV("A=1", "B=", "odd");
	run(guest, &command, &result);
	ck_assert_str_eq(result.stdout_data, "A=1 B= odd\n");
	guest_result_clear(&result);
}
END_TEST

START_TEST(environment_can_be_empty)
{
	static const char *const none[] = { NULL };
	struct guest_command command = command_of(ARGV(TOOL, "environ"));
	struct guest_result result;

	command.envp = none;
	run(guest_with_tool(), &command, &result);
	ck_assert_str_eq(result.stdout_data, "");
	guest_result_clear(&result);
}
END_TEST

START_TEST(command_is_looked_up_in_the_path_of_its_environment)
{
	struct guest_command command = command_of(ARGV("tool", "echo", "found"));
	struct guest *guest = guest_with_tool();
	struct guest_result result;
	struct guest_error err;

	ck_assert_int_eq(run_fails(guest, &command, &err), -ENOENT);
	command.envp = ARGV("PATH=/nowhere:/opt");
	run(guest, &command, &result);
	ck_assert_str_eq(result.stdout_data, "found\n");
	guest_result_clear(&result);
}
END_TEST

START_TEST(path_of_the_host_does_not_matter)
{
	setenv("PATH", "/nowhere", 1);
	expect(guest_with(NULL), ARGV("echo", "found"), "found\n");
}
END_TEST

START_TEST(path_search_goes_on_after_what_cannot_be_executed)
{
	struct guest_command command = command_of(ARGV("thing"));
	struct guest *guest = guest_with(NULL);
	struct guest_result result;

	expect_shell(guest, "mkdir /a /b; echo x >/a/thing; cp /bin/true /b/thing", "");
	command.envp = ARGV("PATH=/bin/sh:/a:/b");
	run(guest, &command, &result);
	ck_assert_int_eq(result.exit_code, 0);
	guest_result_clear(&result);
}
END_TEST

START_TEST(what_cannot_be_executed_is_an_error_of_the_call)
{
	static const struct {
		const char *name;
		int r;
	} cases[] = {
		{ "no-such-command", -ENOENT }, { "/no/such/file", -ENOENT },	{ "", -ENOENT },
		{ "/etc/passwd", -EACCES },	{ "/etc", -EACCES },		{ "/etc/passwd/x", -ENOTDIR },
		{ "/junk", -ENOEXEC },		{ "/no-interpreter", -ENOENT }, { "/loop", -ELOOP },
	};
	struct guest *guest = guest_with(NULL);
	struct guest_error err;

	expect_shell(guest, "echo junk >/junk; chmod 755 /junk; ln -s loop /loop;"
			    "printf '#!/no/such\\n' >/no-interpreter; chmod 755 /no-interpreter", "");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct guest_command command = command_of(ARGV(cases[i].name));
		int r = run_fails(guest, &command, &err);

		ck_assert_msg(r == cases[i].r, "%s: %d (%s)", cases[i].name, r, err.message);
		ck_assert_int_eq(err.stage, GUEST_STAGE_EXECVE);
		ck_assert_int_eq(err.sys_errno, -cases[i].r);
		ck_assert_ptr_nonnull(strstr(err.message, cases[i].name));
	}
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(working_directory_is_the_root_by_default)
{
	expect_shell(guest_with(NULL), "pwd", "/\n");
}
END_TEST

START_TEST(working_directory_can_be_given)
{
	struct guest_command command = command_of(ARGV("/bin/pwd"));
	struct guest_result result;

	command.cwd = "/usr/bin/../lib";
	run(guest_with(NULL), &command, &result);
	ck_assert_str_eq(result.stdout_data, "/usr/lib\n");
	guest_result_clear(&result);
}
END_TEST

START_TEST(working_directory_that_does_not_work_is_an_error_of_the_call)
{
	static const struct {
		const char *cwd;
		int r, stage;
	} cases[] = {
		{ "/no/such", -ENOENT, GUEST_STAGE_CHDIR },
		{ "/etc/passwd", -ENOTDIR, GUEST_STAGE_CHDIR },
		{ "relative", -EINVAL, GUEST_STAGE_CONFIG },
		{ "", -EINVAL, GUEST_STAGE_CONFIG },
	};
	struct guest *guest = guest_with(NULL);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct guest_command command = command_of(ARGV("true"));
		struct guest_error err;

		command.cwd = cases[i].cwd;
		ck_assert_int_eq(run_fails(guest, &command, &err), cases[i].r);
		ck_assert_int_eq(err.stage, cases[i].stage);
	}
}
END_TEST

START_TEST(command_begins_with_plain_signals_and_umask)
{
	struct guest_result result;
	sigset_t all;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	run_shell(guest_with(NULL), "grep -E 'Sig(Blk|Ign)' /proc/self/status; umask", &result);
	ck_assert_str_eq(result.stdout_data, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
					     "0022\n");
	guest_result_clear(&result);
}
END_TEST

START_TEST(files_live_as_long_as_the_guest)
{
	struct guest *first = guest_with(NULL), *second = guest_with(NULL);

	expect_shell(first, "echo mine >/tmp/file; echo other >/etc/hostname", "");
	expect_shell(first, "cat /tmp/file /etc/hostname", "mine\nother\n");
	expect_shell(second, "cat /tmp/file 2>/dev/null || cat /etc/hostname", "guest\n");
	guest_end(first);
	expect_shell(guest_with(NULL), "cat /tmp/file 2>/dev/null || cat /etc/hostname", "guest\n");
}
END_TEST

START_TEST(guest_can_be_made_and_ended_many_times)
{
	for (int i = 0; i < 50; i++) {
		struct guest *guest = guest_with(NULL);

		expect_shell(guest, "echo $$ >/dev/null", "");
		guest_end(guest);
	}
}
END_TEST

START_TEST(trim_between_guests_does_no_harm)
{
	struct guest *guest = guest_with(NULL);

	ck_assert_int_eq(guest_trim(NULL), 0);
	expect_shell(guest, "echo on", "on\n");
	guest_end(guest);
	ck_assert_int_eq(guest_trim(NULL), 0);
	ck_assert_int_eq(guest_trim(NULL), 0);
	expect_shell(guest_with(NULL), "echo again", "again\n");
}
END_TEST

START_TEST(wrong_handles_and_structs_are_refused)
{
	struct guest_command command = command_of(ARGV("true"));
	struct guest_result result = { .size = sizeof(result) };
	struct guest *guest = guest_with(NULL);
	struct guest_error err = { .size = sizeof(err) };

	ck_assert_int_eq(guest_init(NULL, NULL, &err), -EINVAL);
	ck_assert_int_eq(guest_run(NULL, &command, &result, &err), -EINVAL);
	ck_assert_int_eq(guest_run(guest, NULL, &result, &err), -EINVAL);
	ck_assert_int_eq(guest_run(guest, &command, NULL, &err), -EINVAL);
	ck_assert_int_eq(guest_shutdown(NULL, &err), 0);
	guest_result_clear(NULL);
	guest_result_clear(&result);
	guest_result_clear(&result);
}
END_TEST

START_TEST(result_can_be_used_again_once_cleared)
{
	struct guest_command command = command_of(ARGV("echo", "x"));
	struct guest_result result = { .size = sizeof(result) };
	struct guest *guest = guest_with(NULL);

	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(guest_run(guest, &command, &result, NULL), 0);
		ck_assert_str_eq(result.stdout_data, "x\n");
		ck_assert_uint_eq(result.size, sizeof(result));
		guest_result_clear(&result);
		guest_result_clear(&result);
		ck_assert_ptr_null(result.stdout_data);
		ck_assert_uint_eq(result.size, sizeof(result));
	}
}
END_TEST

static Suite *make(void)
{
	Suite *suite = suite_create("run");
	TCase *tcase = suite_case(suite, "ends", 60);

	tcase_add_test(tcase, null_config_gives_a_working_guest);
	tcase_add_test(tcase, errno_is_left_alone);
	tcase_add_test(tcase, exit_codes_are_results);
	tcase_add_test(tcase, signals_are_results);
	tcase_add_test(tcase, usage_is_reported);
	tcase_add_test(tcase, files_live_as_long_as_the_guest);
	tcase_add_test(tcase, guest_can_be_made_and_ended_many_times);
	tcase_add_test(tcase, trim_between_guests_does_no_harm);
	tcase_add_test(tcase, wrong_handles_and_structs_are_refused);
	tcase_add_test(tcase, result_can_be_used_again_once_cleared);
	tcase = suite_case(suite, "starts", 60);
	tcase_add_test(tcase, arguments_arrive_as_they_are);
	tcase_add_test(tcase, a_megabyte_of_arguments_arrives);
	tcase_add_test(tcase, too_many_arguments_are_an_error);
	tcase_add_test(tcase, environment_is_minimal_by_default);
	tcase_add_test(tcase, environment_can_be_given);
	tcase_add_test(tcase, environment_can_be_empty);
	tcase_add_test(tcase, command_is_looked_up_in_the_path_of_its_environment);
	tcase_add_test(tcase, path_of_the_host_does_not_matter);
	tcase_add_test(tcase, path_search_goes_on_after_what_cannot_be_executed);
	tcase_add_test(tcase, what_cannot_be_executed_is_an_error_of_the_call);
	tcase_add_test(tcase, working_directory_is_the_root_by_default);
	tcase_add_test(tcase, working_directory_can_be_given);
	tcase_add_test(tcase, working_directory_that_does_not_work_is_an_error_of_the_call);
	tcase_add_test(tcase, command_begins_with_plain_signals_and_umask);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
