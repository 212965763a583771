// SPDX-License-Identifier: MIT
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GUESTS_MAX 64

static struct guest *guests[GUESTS_MAX];
static char scratch_folder[64];
static Suite *(*make_suite)(void);

static bool must_work(void)
{
	const char *value = getenv("GUEST_TEST_MUST_WORK");

	return value && strcmp(value, "1") == 0;
}

unsigned int slowness(void)
{
	const char *value = getenv("GUEST_TEST_SLOW");
	int factor = value ? atoi(value) : 1;

	return factor > 1 ? (unsigned int)factor : 1;
}

void skip(const char *test, const char *format, ...)
{
	char reason[256];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	printf("SKIP %s: %s\n", test, reason);
	fflush(stdout);
	if (must_work())
		ck_abort_msg("skipped: %s", reason);
}

/* Do guests work here? In a child, so that nothing of it is left in this process. */
static int probe(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct guest_error err = { .size = sizeof(err) };
		struct guest *guest;

		if (guest_init(&guest, NULL, &err) < 0) {
			printf("SKIP: guests do not work here: %s\n", err.message);
			fflush(stdout);
			_exit(err.code == -EPERM || err.code == -ENOSPC || err.code == -ENOSYS ? 77 : 1);
		}
		_exit(guest_shutdown(guest, NULL) ? 1 : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 1;
	return WEXITSTATUS(status) == 77 && must_work() ? 1 : WEXITSTATUS(status);
}

static int run_suite(void)
{
	SRunner *runner;
	int failed = probe();

	if (failed)
		return failed;
	runner = srunner_create(make_suite());
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}

int suite_main(Suite *(*make)(void))
{
	make_suite = make;
	return invariants_run(run_suite);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static void setup(void)
{
	memset(guests, 0, sizeof(guests));
	scratch_folder[0] = '\0';
	invariants_note();
}

static void teardown(void)
{
	for (size_t i = 0; i < GUESTS_MAX; i++)
		if (guests[i])
			guest_end(guests[i]);
	if (scratch_folder[0])
		ck_assert_int_eq(nftw(scratch_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	invariants_check();
}

TCase *suite_case(Suite *suite, const char *name, double timeout)
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, timeout * slowness());
	suite_add_tcase(suite, tcase);
	return tcase;
}

struct guest *guest_with(const struct guest_config *config)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest *guest = NULL;
	int r = guest_init(&guest, config, &err);

	ck_assert_msg(r == 0, "guest_init: %d, %s", r, err.message);
	for (size_t i = 0; i < GUESTS_MAX; i++) {
		if (guests[i])
			continue;
		guests[i] = guest;
		return guest;
	}
	ck_abort_msg("too many guests");
	return NULL;
}

struct guest *guest_with_tool_and(struct guest_config config)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, test_program("tool"), TOOL, "ro");

	config.mounts = &mount;
	config.mounts_count = 1;
	return guest_with(&config);
}

struct guest *guest_with_tool(void)
{
	return guest_with_tool_and(config_default());
}

struct guest *guest_with_attack(const char *name, struct guest_config config)
{
	struct guest_mount mount;

	config.rootfs_path = tiny_rootfs_tar();
	mount = mount_of(GUEST_MOUNT_BIND, test_program(name), "/opt/attack", "ro");
	config.mounts = &mount;
	config.mounts_count = 1;
	return guest_with(&config);
}

void expect_alive(struct guest *guest)
{
	expect(guest, ARGV("/bin/tool", "echo", "on"), "on\n");
}

void guest_end(struct guest *guest)
{
	struct guest_error err = { .size = sizeof(err) };
	int r;

	for (size_t i = 0; i < GUESTS_MAX; i++)
		if (guests[i] == guest)
			guests[i] = NULL;
	r = guest_shutdown(guest, &err);
	ck_assert_msg(r == 0, "guest_shutdown: %d, %s", r, err.message);
}

struct guest_config config_default(void)
{
	struct guest_config config;

	ck_assert_int_eq(guest_config_init(&config, sizeof(config)), 0);
	return config;
}

struct guest_command command_of(const char *const *argv)
{
	struct guest_command command;

	ck_assert_int_eq(guest_command_init(&command, sizeof(command)), 0);
	command.argv = argv;
	return command;
}

struct guest_mount mount_of(uint32_t type, const char *source, const char *target, const char *options)
{
	return (struct guest_mount){
		.size = sizeof(struct guest_mount),
		.type = type,
		.source = source,
		.target = target,
		.options = options,
	};
}

void run(struct guest *guest, const struct guest_command *command, struct guest_result *result)
{
	struct guest_error err = { .size = sizeof(err) };
	int r;

	*result = (struct guest_result){ .size = sizeof(*result) };
	r = guest_run(guest, command, result, &err);
	ck_assert_msg(r == 0, "guest_run: %d, %s", r, err.message);
	ck_assert_ptr_nonnull(result->stdout_data);
	ck_assert_ptr_nonnull(result->stderr_data);
}

void run_argv(struct guest *guest, const char *const *argv, struct guest_result *result)
{
	struct guest_command command = command_of(argv);

	run(guest, &command, result);
}

void run_shell(struct guest *guest, const char *script, struct guest_result *result)
{
	run_argv(guest, SHELL(script), result);
}

int run_fails(struct guest *guest, const struct guest_command *command, struct guest_error *err)
{
	struct guest_result result = { .size = sizeof(result) }, same = result;
	int r;

	*err = (struct guest_error){ .size = sizeof(*err) };
	r = guest_run(guest, command, &result, err);
	ck_assert_int_lt(r, 0);
	if (r == -EPIPE) /* the one error with which there is a result */
		ck_assert_uint_eq(result.cause, GUEST_LOST);
	else
		ck_assert_mem_eq(&result, &same, sizeof(result));
	guest_result_clear(&result);
	ck_assert_int_eq(err->code, r);
	ck_assert_int_ne(err->message[0], '\0');
	return r;
}

int init_fails(const struct guest_config *config, struct guest_error *err)
{
	struct guest *guest = NULL;
	int r;

	*err = (struct guest_error){ .size = sizeof(*err) };
	r = guest_init(&guest, config, err);
	ck_assert_int_lt(r, 0);
	ck_assert_ptr_null(guest);
	ck_assert_int_eq(err->code, r);
	ck_assert_int_ne(err->message[0], '\0');
	return r;
}

void expect(struct guest *guest, const char *const *argv, const char *output)
{
	struct guest_result result;

	run_argv(guest, argv, &result);
	ck_assert_msg(result.cause == GUEST_EXITED && result.exit_code == 0 &&
			      strcmp(result.stdout_data, output) == 0,
		      "%s %s: %s, exit code %d, signal %d, stdout \"%.500s\" (not \"%.500s\"), stderr \"%.500s\"",
		      argv[0], argv[1] && argv[2] ? argv[2] : "", guest_cause_name(result.cause), result.exit_code,
		      result.term_signal, result.stdout_data, output, result.stderr_data);
	guest_result_clear(&result);
}

void expect_shell(struct guest *guest, const char *script, const char *output)
{
	expect(guest, SHELL(script), output);
}

const char *scratch(const char *name)
{
	static char paths[8][256];
	static unsigned int next;
	char *path = paths[next++ % 8];

	if (!scratch_folder[0]) {
		strcpy(scratch_folder, "/tmp/test-of-guests-XXXXXX");
		ck_assert_ptr_nonnull(mkdtemp(scratch_folder));
		ck_assert_int_eq(chmod(scratch_folder, 0755), 0);
	}
	snprintf(path, sizeof(paths[0]), "%s%s%s", scratch_folder, name ? "/" : "", name ? name : "");
	return path;
}

void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
	fputs(text, file);
	fclose(file);
}

char *read_text(const char *path)
{
	static char text[65536];
	FILE *file = fopen(path, "re");
	size_t n;

	ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	fclose(file);
	return text;
}

const char *test_program(const char *name)
{
	static char path[512];
	const char *moved = getenv("GUEST_TEST_PROGRAMS"); /* where another user can read them */

	snprintf(path, sizeof(path), "%s/%s", moved ? moved : TEST_PROGRAMS, name);
	return path;
}

const char *tiny_rootfs(void)
{
	char command[1024];

	snprintf(command, sizeof(command), "mkdir -p %s/root/bin && cp %s %s/root/bin/tool && chmod -R a+rX %s/root",
		 scratch(NULL), test_program("tool"), scratch(NULL), scratch(NULL));
	on_host(command);
	return scratch("root");
}

const char *tiny_rootfs_tar(void)
{
	char command[512];

	snprintf(command, sizeof(command), "tar -C %s -cf %s .", tiny_rootfs(), scratch("root.tar"));
	on_host(command);
	return scratch("root.tar");
}

static void *run_in_background(void *argument)
{
	struct background *background = argument;
	struct guest_command command = command_of(background->argv);

	command.stdin_fd = background->start[0];
	background->result = (struct guest_result){ .size = sizeof(background->result) };
	background->r = guest_run(background->guest, &command, &background->result, NULL);
	return NULL;
}

void background_begin(struct background *background, struct guest *guest, const char *const *argv)
{
	background->guest = guest;
	background->argv = argv;
	ck_assert_int_eq(pipe2(background->start, O_CLOEXEC), 0);
	ck_assert_int_eq(pthread_create(&background->thread, NULL, run_in_background, background), 0);
}

void background_join(struct background *background)
{
	close(background->start[1]);
	ck_assert_int_eq(pthread_join(background->thread, NULL), 0);
	close(background->start[0]);
	ck_assert_int_eq(background->r, 0);
}

void background_end(struct background *background, const char *tail)
{
	background_join(background);
	ck_assert_msg(background->result.cause == GUEST_EXITED && strstr(background->result.stdout_data, tail),
		      "%s: %s, signal %d, stdout \"%.500s\"", background->argv[0],
		      guest_cause_name(background->result.cause), background->result.term_signal,
		      background->result.stdout_data);
	guest_result_clear(&background->result);
}

int run_and_see_all_dead(struct guest *guest, const char *const *argv, uint64_t timeout, uint32_t cause)
{
	struct guest_command command = command_of(argv);
	struct guest_result result;
	int ends[2], code;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	command.stdout_fd = ends[1];
	command.timeout_ns = timeout;
	run(guest, &command, &result);
	close(ends[1]);
	ck_assert_msg(pipe_ended(ends[0]), "something of %s %s is alive", argv[0], argv[1]);
	close(ends[0]);
	ck_assert_msg(result.cause == cause, "%s: %s, exit code %d, signal %d, stderr \"%.500s\"", argv[0],
		      guest_cause_name(result.cause), result.exit_code, result.term_signal, result.stderr_data);
	code = result.exit_code;
	guest_result_clear(&result);
	return code;
}

void on_host(const char *command)
{
	int status = system(command);

	ck_assert_msg(status == 0, "%s: status %#x", command, (unsigned int)status);
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

bool pipe_ended(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	uint64_t deadline = now_ns() + 5 * SECOND * slowness();
	char bytes[4096];
	ssize_t n = 1;

	/* a process that is dead closes its files a moment after it has left its namespaces */
	while (n > 0 && now_ns() < deadline && poll(&poll_fd, 1, 5000 * (int)slowness()) == 1)
		n = read(fd, bytes, sizeof(bytes));
	return n == 0;
}
