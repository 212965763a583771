// SPDX-License-Identifier: MIT
/* Limits, budgets and causes, with what enforces them here: control groups, else rlimits and sampling. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support.h"

#define MIB (1ULL << 20)

static struct guest_info info_of(struct guest *guest)
{
	struct guest_info info = { .size = sizeof(info) };
	struct guest_error err = { .size = sizeof(err) };
	int r = guest_info(guest, &info, &err);

	ck_assert_msg(r == 0, "guest_info: %d, %s", r, err.message);
	return info;
}

static bool by_group(uint32_t enforcer)
{
	return enforcer == GUEST_ENFORCED_CGROUP2 || enforcer == GUEST_ENFORCED_CGROUP2_SYSTEMD;
}

static void run_tool(struct guest *guest, const char *const *argv, struct guest_result *result)
{
	struct guest_command command = command_of(argv);

	command.timeout_ns = 120 * SECOND;
	run(guest, &command, result);
}

#define EXPECT_CAUSE(result, wanted)                                                                             \
	ck_assert_msg((result).cause == (wanted), "%s, exit code %d, signal %d, seen %#x\n%s%s",                 \
		      guest_cause_name((result).cause), (result).exit_code, (result).term_signal, (result).seen, \
		      (result).stdout_data, (result).stderr_data)

static void expect_cause(struct guest *guest, const char *const *argv, uint32_t cause)
{
	struct guest_result result;

	run_tool(guest, argv, &result);
	EXPECT_CAUSE(result, cause);
	guest_result_clear(&result);
}

static struct guest *guest_with_memory(uint64_t bytes)
{
	struct guest_config config = config_default();

	config.memory_bytes = bytes;
	return guest_with_tool_and(config);
}

static struct guest *guest_with_processes(uint64_t max)
{
	struct guest_config config = config_default();

	config.pids_max = max;
	return guest_with_tool_and(config);
}

/* By something; where it is known by what (tests/vm), by that. */
static void expect_enforced(uint32_t enforcer)
{
	const char *wanted = getenv("GUEST_TEST_ENFORCER");

	ck_assert_uint_ne(enforcer, GUEST_ENFORCED_NOT);
	if (wanted)
		ck_assert_str_eq(guest_enforcer_name(enforcer), wanted);
}

START_TEST(memory_is_limited)
{
	struct guest *guest = guest_with_memory(64 * MIB);
	struct guest_result result;

	expect_enforced(info_of(guest).memory_enforced);
	expect_cause(guest, ARGV(TOOL, "memory", "56"), GUEST_EXITED);
	run_tool(guest, ARGV(TOOL, "memory", "72"), &result);
	EXPECT_CAUSE(result, GUEST_OOM_KILLED);
	ck_assert_int_eq(result.term_signal, SIGKILL);
	ck_assert(result.seen & GUEST_SEEN_OOM);
	ck_assert_uint_eq(result.memory_enforced, info_of(guest).memory_enforced);
	guest_result_clear(&result);
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(memory_of_many_processes_is_added_up)
{
	struct guest *guest = guest_with_memory(64 * MIB);

	expect_cause(guest, ARGV(TOOL, "memory", "48", "4"), GUEST_EXITED);
	expect_cause(guest, ARGV(TOOL, "memory", "80", "8"), GUEST_OOM_KILLED);
	expect_cause(guest, ARGV(TOOL, "as", "RssAnon:", "memory", "80"), GUEST_OOM_KILLED);
}
END_TEST

START_TEST(memory_is_found_wherever_it_is)
{
	static const char *const places[] = { "thread", "generations", "groups", "memfds", "segments" };
	struct guest_command command = command_of(ARGV(TOOL, "hoard", places[_i], "100"));
	struct guest *guest = guest_with_memory(64 * MIB);
	struct guest_result result;

	command.timeout_ns = 60 * SECOND;
	run(guest, &command, &result);
	EXPECT_CAUSE(result, GUEST_OOM_KILLED);
	guest_result_clear(&result);
}
END_TEST

START_TEST(input_is_not_the_memory_of_who_reads_it)
{
	struct guest_command command = command_of(ARGV("sleep", "1"));
	struct guest *guest = guest_with_memory(32 * MIB);
	struct guest_result result;
	char *data = calloc(64, MIB);

	memset(data, 'x', 64 * MIB);
	command.stdin_data = data;
	command.stdin_size = 64 * MIB;
	run(guest, &command, &result);
	free(data);
	EXPECT_CAUSE(result, GUEST_EXITED);
	guest_result_clear(&result);
}
END_TEST

START_TEST(memory_limit_of_a_command_is_its_own)
{
	struct guest *guest = guest_with_memory(256 * MIB);
	struct guest_command command = command_of(ARGV(TOOL, "memory", "48"));
	struct guest_result result;

	command.memory_bytes = 32 * MIB;
	run(guest, &command, &result);
	EXPECT_CAUSE(result, GUEST_OOM_KILLED);
	guest_result_clear(&result);
	expect_cause(guest, ARGV(TOOL, "memory", "48"), GUEST_EXITED);
}
END_TEST

START_TEST(full_disk_is_no_want_of_memory)
{
	struct guest *guest = guest_with_memory(64 * MIB);
	struct guest_info info = info_of(guest);
	struct guest_result result;

	ck_assert_uint_eq(info.writable_bytes, 32 * MIB);
	run_shell(guest, "dd if=/dev/zero of=/big bs=64k count=4096", &result);
	EXPECT_CAUSE(result, GUEST_DISK_FULL);
	ck_assert_int_eq(result.exit_code, 1);
	ck_assert(result.seen & GUEST_SEEN_DISK_FULL);
	ck_assert(result.seen & GUEST_SEEN_SUSPECTED);
	ck_assert_ptr_nonnull(strstr(result.stderr_data, "No space left on device"));
	guest_result_clear(&result);
	expect_shell(guest, "rm /big; echo on > /small; cat /small", "on\n");
}
END_TEST

START_TEST(processes_are_limited)
{
	struct guest *guest = guest_with_processes(20);
	struct guest_result result;

	expect_enforced(info_of(guest).pids_enforced);
	/* exactly the limit passes */
	expect(guest, ARGV(TOOL, "children", "19"), "19\n");
	run_tool(guest, ARGV(TOOL, "children", "20"), &result);
	ck_assert_str_eq(result.stdout_data, "19\n");
	EXPECT_CAUSE(result, GUEST_TOO_MANY_PROCESSES);
	ck_assert_int_eq(result.exit_code, 1);
	ck_assert(result.seen & GUEST_SEEN_PIDS_MAX);
	guest_result_clear(&result);
	expect(guest, ARGV(TOOL, "children", "19"), "19\n");
}
END_TEST

START_TEST(processes_of_one_command_are_limited)
{
	struct guest_command command = command_of(ARGV(TOOL, "children", "30"));
	struct guest *guest = guest_with_tool();
	struct guest_result result;

	command.pids_max = 20;
	run(guest, &command, &result);
	EXPECT_CAUSE(result, GUEST_TOO_MANY_PROCESSES);
	ck_assert_uint_ne(result.pids_enforced, GUEST_ENFORCED_NOT);
	guest_result_clear(&result);
	expect(guest, ARGV(TOOL, "children", "30"), "30\n");
}
END_TEST

START_TEST(processes_are_limited_however_short_they_live)
{
	struct guest *guest = guest_with_processes(20);
	struct guest_result result;

	run_tool(guest, ARGV(TOOL, "brief-children", "40"), &result);
	EXPECT_CAUSE(result, GUEST_TOO_MANY_PROCESSES);
	guest_result_clear(&result);
}
END_TEST

START_TEST(commands_are_processes_too)
{
	enum { LIMIT = 4, COUNT = 12 };
	struct guest_command command = command_of(ARGV("sleep", "1000"));
	struct guest_process *processes[COUNT];
	struct guest_config config = config_default();
	struct guest_error err = { .size = sizeof(err) };
	struct guest *guest;
	int alive = 0;

	config.pids_max = LIMIT;
	guest = guest_with(&config);
	for (int i = 0; i < COUNT; i++) {
		int r = guest_spawn(guest, &command, &processes[i], &err);

		ck_assert_msg(r == 0 || r == -EAGAIN, "%d, %s", r, err.message);
		if (r < 0)
			processes[i] = NULL;
	}
	usleep(200000); /* for who looks every few milliseconds */
	for (int i = 0; i < COUNT; i++) {
		struct guest_result result = { .size = sizeof(result) };

		if (processes[i] && guest_wait(processes[i], 0, &result, NULL) == -ETIMEDOUT)
			alive++;
		guest_result_clear(&result);
		guest_process_free(processes[i]);
	}
	ck_assert_int_le(alive, LIMIT);
	ck_assert_int_ge(alive, 1);
}
END_TEST

START_TEST(fork_bomb_ends_with_its_time_out)
{
	struct guest_command command = command_of(ARGV(TOOL, "storm"));
	struct guest *guest = guest_with_processes(50);
	struct guest_result result;
	uint64_t started;

	command.timeout_ns = 500 * MILLISECOND * slowness();
	started = now_ns();
	run(guest, &command, &result);
	ck_assert_uint_lt(now_ns() - started, 5 * SECOND * slowness());
	EXPECT_CAUSE(result, GUEST_TIMED_OUT);
	guest_result_clear(&result);
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(cpu_time_is_limited)
{
	struct guest_command command = command_of(ARGV(TOOL, "spin", "60000"));
	struct guest *guest = guest_with_tool();
	struct guest_result result;

	command.cpu_time_ns = 300 * MILLISECOND;
	run(guest, &command, &result);
	EXPECT_CAUSE(result, GUEST_CPU_TIME);
	ck_assert_uint_eq(result.cpu_time_enforced, GUEST_ENFORCED_SAMPLED);
	ck_assert_uint_ge(result.user_ns + result.system_ns, 250 * MILLISECOND);
	ck_assert_uint_lt(result.user_ns + result.system_ns, 1000 * MILLISECOND);
	guest_result_clear(&result);
	command.argv = ARGV(TOOL, "spin", "60000", "4"); /* together */
	run(guest, &command, &result);
	EXPECT_CAUSE(result, GUEST_CPU_TIME);
	ck_assert_uint_lt(result.wall_ns, 10 * SECOND);
	guest_result_clear(&result);
	command.argv = ARGV(TOOL, "spin", "50");
	run(guest, &command, &result);
	EXPECT_CAUSE(result, GUEST_EXITED);
	guest_result_clear(&result);
}
END_TEST

START_TEST(cpu_quota_holds_or_is_refused)
{
	struct guest_config config = config_default();
	struct guest_error err = { .size = sizeof(err) };
	struct guest_result result;
	struct guest *guest = NULL;
	uint64_t started;
	int r;

	config.cpu_quota = 250;
	r = guest_init(&guest, &config, &err);
	if (r < 0) {
		ck_assert_int_eq(r, -EOPNOTSUPP);
		ck_assert_int_eq(err.stage, GUEST_STAGE_LIMITS);
		ck_assert_ptr_nonnull(strstr(err.message, "cpu_quota"));
		config.flags = GUEST_BEST_EFFORT;
		guest = guest_with(&config);
		ck_assert_uint_eq(info_of(guest).cpu_enforced, GUEST_ENFORCED_NOT);
		return;
	}
	guest_end(guest);
	guest = guest_with_tool_and(config);
	ck_assert(by_group(info_of(guest).cpu_enforced));
	started = now_ns();
	run_tool(guest, ARGV(TOOL, "spin", "500"), &result);
	EXPECT_CAUSE(result, GUEST_EXITED);
	/* half a second of CPU time at a quarter of a CPU takes two */
	ck_assert_uint_ge(now_ns() - started, 1700 * MILLISECOND);
	guest_result_clear(&result);
}
END_TEST

static void give_cpu_quota(struct guest_command *command)
{
	command->cpu_quota = 500;
}

static void give_cpu_weight(struct guest_command *command)
{
	command->cpu_weight = 50;
}

static void give_memory_high(struct guest_command *command)
{
	command->memory_high_bytes = 64 * MIB;
}

static void give_io_max(struct guest_command *command)
{
	command->io_max = "1:0 rbps=1048576";
}

static const struct {
	const char *name;
	void (*give)(struct guest_command *command);
	size_t enforced; /* offset in struct guest_result */
} group_limits[] = {
	{ "cpu_quota", give_cpu_quota, offsetof(struct guest_result, cpu_enforced) },
	{ "cpu_weight", give_cpu_weight, offsetof(struct guest_result, cpu_weight_enforced) },
	{ "memory_high_bytes", give_memory_high, offsetof(struct guest_result, memory_high_enforced) },
	{ "io_max", give_io_max, offsetof(struct guest_result, io_enforced) },
};

static uint32_t enforcer_at(const struct guest_result *result, size_t offset)
{
	uint32_t enforcer;

	memcpy(&enforcer, (const char *)result + offset, sizeof(enforcer));
	return enforcer;
}

START_TEST(what_takes_a_group_holds_for_a_command_or_is_refused)
{
	const size_t enforced = group_limits[_i].enforced;
	struct guest_command command = command_of(ARGV("true"));
	struct guest_config config = config_default();
	struct guest_result result = { .size = sizeof(result) };
	struct guest_error err = { .size = sizeof(err) };
	struct guest *guest = guest_with(&config);
	int r;

	group_limits[_i].give(&command);
	r = guest_run(guest, &command, &result, &err);
	if (r == 0) {
		ck_assert(by_group(enforcer_at(&result, enforced)));
		guest_result_clear(&result);
	} else if (r == -ENODEV) {
		/* the group is there, and the device (a RAM disk) is not */
		ck_assert_str_eq(group_limits[_i].name, "io_max");
	} else {
		ck_assert_int_eq(r, -EOPNOTSUPP);
		ck_assert_int_eq(err.stage, GUEST_STAGE_LIMITS);
		ck_assert_ptr_nonnull(strstr(err.message, group_limits[_i].name));
		guest_end(guest);
		config.flags = GUEST_BEST_EFFORT;
		guest = guest_with(&config);
		command.pids_max = 20; /* one that is enforced nevertheless */
		run(guest, &command, &result);
		ck_assert_uint_eq(enforcer_at(&result, enforced), GUEST_ENFORCED_NOT);
		ck_assert_uint_ne(result.pids_enforced, GUEST_ENFORCED_NOT);
		guest_result_clear(&result);
	}
	run_argv(guest, ARGV("true"), &result); /* which was given none */
	ck_assert_uint_eq(enforcer_at(&result, enforced), GUEST_ENFORCED_NOT);
	guest_result_clear(&result);
}
END_TEST

START_TEST(limits_can_change)
{
	struct guest *guest = guest_with_memory(64 * MIB);
	struct guest_error err = { .size = sizeof(err) };
	struct guest_limits limits;
	int r;

	expect_cause(guest, ARGV(TOOL, "memory", "100"), GUEST_OOM_KILLED);
	ck_assert_int_eq(guest_limits_init(&limits, sizeof(limits)), 0);
	limits.memory_bytes = 160 * MIB;
	limits.pids_max = 12;
	r = guest_set_limits(guest, &limits, &err);
	ck_assert_msg(r == 0, "%d, %s", r, err.message);
	ck_assert_uint_eq(info_of(guest).memory_bytes, 160 * MIB);
	ck_assert_uint_eq(info_of(guest).pids_max, 12);
	expect_cause(guest, ARGV(TOOL, "memory", "100"), GUEST_EXITED);
	expect_cause(guest, ARGV(TOOL, "children", "40"), GUEST_TOO_MANY_PROCESSES);
	guest_limits_init(&limits, sizeof(limits));
	limits.memory_bytes = limits.pids_max = 0;
	ck_assert_int_eq(guest_set_limits(guest, &limits, &err), 0);
	ck_assert_uint_eq(info_of(guest).memory_enforced, GUEST_ENFORCED_NOT);
	expect_cause(guest, ARGV(TOOL, "memory", "200"), GUEST_EXITED);
	expect(guest, ARGV(TOOL, "children", "40"), "40\n");
}
END_TEST

START_TEST(guest_without_limits_can_be_given_some)
{
	struct guest *guest = guest_with_tool();
	struct guest_limits limits;
	struct guest_error err = { .size = sizeof(err) };
	int r;

	ck_assert_ptr_null(info_of(guest).cgroup);
	guest_limits_init(&limits, sizeof(limits));
	limits.memory_bytes = 64 * MIB;
	r = guest_set_limits(guest, &limits, &err);
	ck_assert_msg(r == 0, "%d, %s", r, err.message);
	expect_enforced(info_of(guest).memory_enforced);
	expect_cause(guest, ARGV(TOOL, "memory", "80"), GUEST_OOM_KILLED);
	limits.flags = 1;
	ck_assert_int_eq(guest_set_limits(guest, &limits, &err), -EINVAL);
}
END_TEST

/* The group that there is may have no controller for it. */
START_TEST(limit_that_is_given_later_holds_in_whatever_group)
{
	struct guest_config config = config_default();
	struct guest_error err = { .size = sizeof(err) };
	struct guest_limits limits;
	struct guest *guest;
	int r;

	config.flags = GUEST_CGROUP | GUEST_BEST_EFFORT;
	guest = guest_with_tool_and(config);
	guest_limits_init(&limits, sizeof(limits));
	limits.memory_bytes = 64 * MIB;
	limits.pids_max = 20;
	r = guest_set_limits(guest, &limits, &err);
	ck_assert_msg(r == 0, "%d, %s", r, err.message);
	expect_enforced(info_of(guest).memory_enforced);
	expect_cause(guest, ARGV(TOOL, "memory", "80"), GUEST_OOM_KILLED);
	expect_cause(guest, ARGV(TOOL, "children", "40"), GUEST_TOO_MANY_PROCESSES);
	limits.memory_bytes = 256 * MIB;
	limits.pids_max = 0;
	ck_assert_int_eq(guest_set_limits(guest, &limits, &err), 0);
	expect_cause(guest, ARGV(TOOL, "memory", "80"), GUEST_EXITED);
	expect(guest, ARGV(TOOL, "children", "40"), "40\n");
}
END_TEST

START_TEST(limits_that_need_a_group_are_refused_without_one)
{
	struct guest_config config = config_default();
	struct guest_error err;

	config.cgroup_parent = "/proc/self";
	ck_assert_int_eq(init_fails(&config, &err), -EOPNOTSUPP);
	config.cgroup_parent = "relative";
	ck_assert_int_eq(init_fails(&config, &err), -EINVAL);
	config.cgroup_parent = NULL;
	config.cpu_weight = 10001;
	ck_assert_int_eq(init_fails(&config, &err), -EINVAL);
	config.cpu_weight = 0;
	config.memory_bytes = 4096;
	ck_assert_int_eq(init_fails(&config, &err), -EINVAL);
}
END_TEST

START_TEST(rlimits_of_a_command_hold)
{
	struct guest_command command = command_of(SHELL("ulimit -v; ulimit -d; ulimit -f; ulimit -n; ulimit -Hn"));
	struct guest *guest = guest_with(NULL);
	struct guest_result result;

	command.address_space_bytes = 1024 * MIB;
	command.data_bytes = 512 * MIB;
	command.file_size_bytes = 1 * MIB;
	command.open_files = 32;
	run(guest, &command, &result);
	ck_assert_str_eq(result.stdout_data, "1048576\n524288\n2048\n32\n32\n");
	guest_result_clear(&result);
	command.argv = SHELL("head -c 2000000 /dev/zero > /tmp/x");
	run(guest, &command, &result);
	ck_assert_int_ne(result.exit_code, 0);
	guest_result_clear(&result);
	expect_shell(guest, "stat -c %s /tmp/x", "1048576\n");
}
END_TEST

static int run_for_budget(struct guest *guest, const char *const *argv, struct guest_result *result)
{
	struct guest_command command = command_of(argv);
	struct guest_error err = { .size = sizeof(err) };
	int r;

	*result = (struct guest_result){ .size = sizeof(*result) };
	r = guest_run(guest, &command, result, &err);
	if (r < 0)
		ck_assert_int_eq(err.stage, GUEST_STAGE_BUDGET);
	return r;
}

static void expect_spent(struct guest *guest)
{
	struct guest_result result;

	ck_assert_int_eq(run_for_budget(guest, ARGV(TOOL, "echo"), &result), -EDQUOT);
}

static void *run_one(void *argument)
{
	struct guest_result result;
	int r = run_for_budget(argument, ARGV(TOOL, "echo"), &result);

	guest_result_clear(&result);
	return (void *)(intptr_t)r;
}

START_TEST(budget_of_commands_is_exact_among_threads)
{
	struct guest_config config = config_default();
	pthread_t threads[16];
	struct guest *guest;
	int worked = 0;

	config.budget_commands = 5;
	guest = guest_with_tool_and(config);
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, run_one, guest), 0);
	for (int i = 0; i < 16; i++) {
		void *r;

		pthread_join(threads[i], &r);
		ck_assert(r == NULL || (intptr_t)r == -EDQUOT);
		worked += r == NULL;
	}
	ck_assert_int_eq(worked, 5);
	ck_assert_uint_eq(info_of(guest).commands, 5);
}
END_TEST

START_TEST(budget_of_cpu_time)
{
	struct guest_config config = config_default();
	struct guest_result result;
	struct guest *guest;

	config.budget_cpu_ns = 400 * MILLISECOND;
	guest = guest_with_tool_and(config);
	expect_cause(guest, ARGV(TOOL, "spin", "200"), GUEST_EXITED);
	run_tool(guest, ARGV(TOOL, "spin", "60000"), &result);
	EXPECT_CAUSE(result, GUEST_CPU_TIME);
	ck_assert(result.seen & GUEST_SEEN_BUDGET);
	guest_result_clear(&result);
	ck_assert_uint_ge(info_of(guest).cpu_ns, 390 * MILLISECOND);
	expect_spent(guest);
}
END_TEST

START_TEST(budget_of_wall_time)
{
	struct guest_config config = config_default();
	struct guest_result result;
	struct guest *guest;

	config.budget_wall_ns = SECOND * slowness();
	guest = guest_with_tool_and(config);
	run_tool(guest, ARGV(TOOL, "stubborn"), &result);
	EXPECT_CAUSE(result, GUEST_TIMED_OUT);
	ck_assert(result.seen & GUEST_SEEN_BUDGET);
	guest_result_clear(&result);
	expect_spent(guest);
}
END_TEST

START_TEST(budget_of_output)
{
	struct guest_config config = config_default();
	struct guest_result result;
	struct guest *guest;

	config.budget_output_bytes = 1000;
	guest = guest_with_tool_and(config);
	expect_shell(guest, "head -c 400 /dev/zero | wc -c; exit 0", "400\n");
	run_tool(guest, SHELL("yes"), &result);
	EXPECT_CAUSE(result, GUEST_OUTPUT_LIMIT);
	ck_assert(result.seen & GUEST_SEEN_BUDGET);
	guest_result_clear(&result);
	expect_spent(guest);
}
END_TEST

START_TEST(budget_of_written_bytes)
{
	struct guest_config config = config_default();
	struct guest_result result;
	struct guest *guest;

	config.budget_written_bytes = 100000;
	guest = guest_with_tool_and(config);
	run_tool(guest, SHELL("head -c 60000 /dev/zero > /x; rm /x"), &result);
	EXPECT_CAUSE(result, GUEST_EXITED);
	ck_assert_uint_ge(result.written_bytes, 60000);
	ck_assert_uint_lt(result.written_bytes, 70000);
	guest_result_clear(&result);
	expect_cause(guest, SHELL("head -c 60000 /dev/zero > /x"), GUEST_EXITED);
	expect_spent(guest);
}
END_TEST

/* By what is dead when its run ends, and by what the end of the run kills; alone, and beside another command. */
START_TEST(what_nobody_has_waited_for_has_written_too)
{
	static const char writers[] =
		"(head -c 50000 /dev/zero > /x; (head -c 50000 /dev/zero > /y; echo; exec sleep 100) | (read l; echo > /done) & "
		"exec sleep 100) & until [ -e /done ]; do sleep 0.01; done; rm /done";
	static const char *const cat[] = { "cat", NULL };
	struct guest_config config = config_default();
	struct guest_result result;
	struct background other;
	struct guest *guest;

	config.budget_written_bytes = 100000000;
	guest = guest_with_tool_and(config);
	for (int i = 0; i < 2; i++) {
		if (i == 1)
			background_begin(&other, guest, cat);
		run_tool(guest, SHELL(writers), &result);
		EXPECT_CAUSE(result, GUEST_EXITED);
		ck_assert_uint_ge(result.written_bytes, 100000);
		ck_assert_uint_lt(result.written_bytes, 110000);
		guest_result_clear(&result);
	}
	background_end(&other, "");
	guest_end(guest);
}
END_TEST

START_TEST(usage_is_told)
{
	struct guest_command command = command_of(SHELL("head -c 1000; echo err >&2"));
	struct guest *guest = guest_with(NULL);
	struct guest_result result;
	static char input[5000];

	command.stdin_data = input;
	command.stdin_size = sizeof(input);
	run(guest, &command, &result);
	EXPECT_CAUSE(result, GUEST_EXITED);
	ck_assert_uint_ge(result.stdin_bytes, 1000);
	ck_assert_uint_le(result.stdin_bytes, 5000);
	ck_assert_uint_eq(result.stdout_bytes, 1000);
	ck_assert_uint_eq(result.stderr_bytes, 4);
	ck_assert_uint_gt(result.minor_faults, 0);
	ck_assert_uint_gt(result.setup_ns, 0);
	ck_assert_uint_le(result.setup_ns, result.wall_ns);
	ck_assert_uint_eq(result.seen, 0);
	guest_result_clear(&result);
}
END_TEST

START_TEST(pause_stops_all_and_resume_goes_on)
{
	struct guest_config config = config_default();
	struct guest_error err = { .size = sizeof(err) };
	struct guest_process *process;
	struct guest_command command = command_of(SHELL("while :; do echo; sleep 0.01; done"));
	struct guest_result result = { .size = sizeof(result) };
	struct guest *guest;
	uint64_t before;

	config.pids_max = 50;
	if (_i == 1) /* without a group */
		config.pids_max = 0;
	guest = guest_with(&config);
	ck_assert_int_eq(guest_spawn(guest, &command, &process, &err), 0);
	usleep(200000 * slowness());
	ck_assert_int_eq(guest_pause(guest, &err), 0);
	usleep(50000);
	before = info_of(guest).output_bytes;
	ck_assert_uint_gt(before, 0);
	usleep(200000);
	ck_assert_uint_eq(info_of(guest).output_bytes, before);
	ck_assert_int_eq(guest_resume(guest, &err), 0);
	for (int i = 0; i < 100 && info_of(guest).output_bytes == before; i++)
		usleep(100000);
	ck_assert_uint_gt(info_of(guest).output_bytes, before);
	ck_assert_int_eq(guest_pause(guest, &err), 0); /* and what is stopped can be killed */
	ck_assert_int_eq(guest_cancel(process, &err), 0);
	ck_assert_int_eq(guest_wait(process, 10 * SECOND, &result, &err), 0);
	ck_assert_uint_eq(result.cause, GUEST_CANCELLED);
	guest_result_clear(&result);
	guest_process_free(process);
	ck_assert_int_eq(guest_resume(guest, &err), 0);
}
END_TEST

START_TEST(command_on_a_paused_guest_waits)
{
	struct guest_config config = config_default();
	struct guest_command command = command_of(ARGV(TOOL, "echo", "on"));
	struct guest_error err = { .size = sizeof(err) };
	struct guest_result result;
	struct guest *guest;

	config.pids_max = _i == 1 ? 0 : 50;
	guest = guest_with_tool_and(config);
	ck_assert_int_eq(guest_pause(guest, &err), 0);
	command.timeout_ns = 300 * MILLISECOND * slowness();
	run(guest, &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT);
	guest_result_clear(&result);
	ck_assert_int_eq(guest_resume(guest, &err), 0);
	expect(guest, ARGV(TOOL, "echo", "on"), "on\n");
}
END_TEST

START_TEST(many_guests_with_limits)
{
	enum { COUNT = 200 };
	static struct guest *guests[COUNT];
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, test_program("tool"), TOOL, "ro");
	struct guest_config config = config_default();
	struct guest_error err = { .size = sizeof(err) };

	config.mounts = &mount;
	config.mounts_count = 1;
	config.memory_bytes = 32 * MIB;
	config.pids_max = 10;
	for (int i = 0; i < COUNT; i++) {
		int r = guest_init(&guests[i], &config, &err);

		ck_assert_msg(r == 0, "%d: %d, %s", i, r, err.message);
	}
	for (int i = 0; i < COUNT; i++) {
		expect(guests[i], ARGV(TOOL, "echo", "on"), "on\n");
		if (i % 20 == 0)
			expect_cause(guests[i], ARGV(TOOL, "memory", "48"), GUEST_OOM_KILLED);
	}
	for (int i = 0; i < COUNT; i++)
		ck_assert_int_eq(guest_shutdown(guests[i], &err), 0);
}
END_TEST

static Suite *limits_suite(void)
{
	Suite *suite = suite_create("limits");
	TCase *tcase = suite_case(suite, "limits", 120);

	tcase_add_test(tcase, memory_is_limited);
	tcase_add_test(tcase, memory_of_many_processes_is_added_up);
	tcase_add_loop_test(tcase, memory_is_found_wherever_it_is, 0, 5);
	tcase_add_test(tcase, input_is_not_the_memory_of_who_reads_it);
	tcase_add_test(tcase, memory_limit_of_a_command_is_its_own);
	tcase_add_test(tcase, full_disk_is_no_want_of_memory);
	tcase_add_test(tcase, processes_are_limited);
	tcase_add_test(tcase, processes_of_one_command_are_limited);
	tcase_add_test(tcase, processes_are_limited_however_short_they_live);
	tcase_add_test(tcase, commands_are_processes_too);
	tcase_add_test(tcase, fork_bomb_ends_with_its_time_out);
	tcase_add_test(tcase, cpu_time_is_limited);
	tcase_add_test(tcase, cpu_quota_holds_or_is_refused);
	tcase_add_loop_test(tcase, what_takes_a_group_holds_for_a_command_or_is_refused, 0,
			    sizeof(group_limits) / sizeof(group_limits[0]));
	tcase_add_test(tcase, limits_can_change);
	tcase_add_test(tcase, guest_without_limits_can_be_given_some);
	tcase_add_test(tcase, limit_that_is_given_later_holds_in_whatever_group);
	tcase_add_test(tcase, limits_that_need_a_group_are_refused_without_one);
	tcase_add_test(tcase, rlimits_of_a_command_hold);
	tcase_add_test(tcase, many_guests_with_limits);
	tcase = suite_case(suite, "budgets", 60);
	tcase_add_test(tcase, budget_of_commands_is_exact_among_threads);
	tcase_add_test(tcase, budget_of_cpu_time);
	tcase_add_test(tcase, budget_of_wall_time);
	tcase_add_test(tcase, budget_of_output);
	tcase_add_test(tcase, budget_of_written_bytes);
	tcase_add_test(tcase, what_nobody_has_waited_for_has_written_too);
	tcase = suite_case(suite, "usage", 60);
	tcase_add_test(tcase, usage_is_told);
	tcase_add_loop_test(tcase, pause_stops_all_and_resume_goes_on, 0, 2);
	tcase_add_loop_test(tcase, command_on_a_paused_guest_waits, 0, 2);
	return suite;
}

int main(void)
{
	return suite_main(limits_suite);
}
