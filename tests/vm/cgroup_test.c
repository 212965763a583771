// SPDX-License-Identifier: MIT
/*
 * Limits by real control groups, where all controllers are there (tests/vm/run): exact to the page, process and
 * microsecond; the places where groups are made; and that none is left, whoever is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define MIB (1ULL << 20)
#define TOP "/sys/fs/cgroup"

static struct guest_info info_of(struct guest *guest)
{
	struct guest_info info = { .size = sizeof(info) };
	struct guest_error err = { .size = sizeof(err) };
	int r = guest_info(guest, &info, &err);

	ck_assert_msg(r == 0, "guest_info: %d, %s", r, err.message);
	return info;
}

static const char *read_group(const char *group, const char *file)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", group, file);
	return read_text(path);
}

static uint64_t number_in(const char *group, const char *file)
{
	return strtoull(read_group(group, file), NULL, 10);
}

static struct guest *guest_in_group(struct guest_config config)
{
	struct guest *guest;

	config.flags |= GUEST_CGROUP;
	guest = guest_with_tool_and(config);
	ck_assert_ptr_nonnull(info_of(guest).cgroup);
	return guest;
}

static uint32_t cause_of(struct guest *guest, const char *const *argv)
{
	struct guest_result result;
	uint32_t cause;

	run_argv(guest, argv, &result);
	cause = result.cause;
	guest_result_clear(&result);
	return cause;
}

START_TEST(memory_limit_is_the_kernels)
{
	struct guest_config config = config_default();
	struct guest_result result;
	struct guest *guest;
	const char *group;

	config.memory_bytes = 64 * MIB;
	guest = guest_in_group(config);
	group = info_of(guest).cgroup;
	ck_assert_uint_eq(info_of(guest).memory_enforced, GUEST_ENFORCED_CGROUP2);
	ck_assert_uint_eq(number_in(group, "memory.max"), 64 * MIB);
	ck_assert_uint_eq(number_in(group, "memory.swap.max"), 0);
	run_argv(guest, ARGV(TOOL, "memory", "60"), &result);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	ck_assert_uint_ge(result.memory_peak_bytes, 60 * MIB);
	ck_assert_uint_le(result.memory_peak_bytes, 64 * MIB);
	guest_result_clear(&result);
	run_argv(guest, ARGV(TOOL, "memory", "65", "5"), &result);
	ck_assert_uint_eq(result.cause, GUEST_OOM_KILLED);
	ck_assert_uint_eq(result.memory_enforced, GUEST_ENFORCED_CGROUP2);
	ck_assert_uint_le(result.memory_peak_bytes, 64 * MIB);
	guest_result_clear(&result);
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(memory_of_one_command_kills_that_one_only)
{
	struct guest *guest = guest_in_group(config_default());
	struct guest_command other = command_of(ARGV("sleep", "1"));
	struct guest_command command = command_of(ARGV(TOOL, "memory", "64"));
	struct guest_result result = { .size = sizeof(result) };
	struct guest_process *process;

	ck_assert_int_eq(guest_spawn(guest, &other, &process, NULL), 0);
	command.memory_bytes = 32 * MIB;
	run(guest, &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_OOM_KILLED);
	guest_result_clear(&result);
	ck_assert_int_eq(guest_wait(process, UINT64_MAX, &result, NULL), 0);
	ck_assert_uint_eq(result.cause, GUEST_EXITED);
	guest_result_clear(&result);
	guest_process_free(process);
}
END_TEST

START_TEST(full_disk_is_no_oom_kill)
{
	struct guest_config config = config_default();

	config.memory_bytes = 64 * MIB;
	expect_shell(guest_in_group(config), "head -c 100000000 /dev/zero >/x; stat -c %s /x; rm /x; echo on",
		     "33554432\non\n");
}
END_TEST

START_TEST(process_limit_is_exact)
{
	struct guest_config config = config_default();
	struct guest_command command = command_of(ARGV(TOOL, "storm"));
	struct guest_result result;
	struct guest *guest;
	uint64_t started;

	config.pids_max = 16;
	guest = guest_in_group(config);
	for (int i = 0; i < 5; i++)
		expect(guest, ARGV(TOOL, "children", "15"), "15\n");
	run_argv(guest, ARGV(TOOL, "children", "16"), &result);
	ck_assert_str_eq(result.stdout_data, "15\n");
	ck_assert_uint_eq(result.cause, GUEST_TOO_MANY_PROCESSES);
	ck_assert_uint_eq(result.processes, 16);
	guest_result_clear(&result);
	command.timeout_ns = SECOND;
	started = now_ns();
	run(guest, &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT);
	ck_assert_uint_lt(now_ns() - started, SECOND + 100 * MILLISECOND * slowness());
	guest_result_clear(&result);
	ck_assert_uint_eq(number_in(info_of(guest).cgroup, "pids.current"), 0);
}
END_TEST

START_TEST(cpu_quota_is_within_ten_percent)
{
	struct guest_command command = command_of(ARGV(TOOL, "spin", "600000", "2"));
	struct guest_config config = config_default();
	struct guest_result result;
	uint64_t used;

	config.cpu_quota = 300;
	command.timeout_ns = 5 * SECOND;
	run(guest_in_group(config), &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT);
	ck_assert_uint_eq(result.cpu_enforced, GUEST_ENFORCED_CGROUP2);
	used = result.user_ns + result.system_ns;
	ck_assert_msg(used > 1350 * MILLISECOND && used < 1650 * MILLISECOND, "%g of 1.5 s", (double)used / 1e9);
	guest_result_clear(&result);
}
END_TEST

/* Killed by a time-out; by the holder, for its CPU time; and when its main process has ended. */
START_TEST(throttled_storm_dies_in_time)
{
	static const char *const words[][5] = { { TOOL, "storm" }, { TOOL, "storm" }, { TOOL, "storm", "exit-time" } };
	struct guest_command command = command_of(words[_i % 3]);
	struct guest_config config = config_default();
	struct guest_result result;
	struct guest *guest;
	uint64_t started;

	config.pids_max = 200;
	if (_i < 3)
		command.cpu_quota = 20;
	else
		config.cpu_quota = 20;
	guest = guest_in_group(config);
	if (_i % 3 == 0)
		command.timeout_ns = 2 * SECOND;
	if (_i % 3 == 1)
		command.cpu_time_ns = 40 * MILLISECOND;
	started = now_ns();
	run(guest, &command, &result);
	ck_assert_uint_eq(result.cause, _i % 3 == 0 ? GUEST_TIMED_OUT : _i % 3 == 1 ? GUEST_CPU_TIME : GUEST_EXITED);
	if (_i % 3 == 2) /* until then it is throttled as it shall be */
		started = strtoull(result.stdout_data, NULL, 10);
	ck_assert_uint_lt(now_ns() - started, 2 * SECOND + 200 * MILLISECOND * slowness() + 2 * SECOND * (_i % 3 == 1));
	guest_result_clear(&result);
	if (_i >= 3)
		ck_assert_str_eq(read_group(info_of(guest).cgroup, "cpu.max"), "2000 100000\n");
}
END_TEST

START_TEST(throttled_guest_is_shut_down_in_time)
{
	struct guest_command command = command_of(ARGV(TOOL, "storm"));
	struct guest_config config = config_default();
	struct guest_process *process;
	struct guest *guest;
	uint64_t started;

	config.pids_max = 200;
	config.cpu_quota = 10;
	command.cpu_quota = 10;
	guest = guest_in_group(config);
	ck_assert_int_eq(guest_spawn(guest, &command, &process, NULL), 0);
	sleep(1);
	started = now_ns();
	guest_process_free(process);
	guest_end(guest);
	ck_assert_uint_lt(now_ns() - started, 200 * MILLISECOND * slowness());
}
END_TEST

START_TEST(usage_is_of_all_processes)
{
	struct guest_result result;

	/* in processes that nobody waits for */
	run_argv(guest_in_group(config_default()), SHELL("(" TOOL " spin 400 &); sleep 2"), &result);
	ck_assert_uint_ge(result.user_ns + result.system_ns, 390 * MILLISECOND);
	ck_assert_uint_gt(result.memory_peak_bytes, 100000);
	guest_result_clear(&result);
}
END_TEST

START_TEST(other_limits_are_set)
{
	struct guest_config config = config_default();
	struct guest_limits limits;
	struct guest_error err = { .size = sizeof(err) };
	struct guest_info info;
	struct guest *guest;

	config.cpu_weight = 50;
	config.memory_high_bytes = 32 * MIB;
	config.io_max = "/dev/vda rbps=1048576 wiops=10\n";
	guest = guest_in_group(config);
	info = info_of(guest);
	ck_assert_uint_eq(info.cpu_weight_enforced, GUEST_ENFORCED_CGROUP2);
	ck_assert_uint_eq(info.io_enforced, GUEST_ENFORCED_CGROUP2);
	ck_assert_uint_eq(number_in(info.cgroup, "cpu.weight"), 50);
	ck_assert_uint_eq(number_in(info.cgroup, "memory.high"), 32 * MIB);
	ck_assert_ptr_nonnull(strstr(read_group(info.cgroup, "io.max"), "rbps=1048576 wbps=max riops=max wiops=10"));
	guest_limits_init(&limits, sizeof(limits));
	limits.cpu_weight = 0;
	limits.cpu_quota = 1500;
	ck_assert_int_eq(guest_set_limits(guest, &limits, &err), 0);
	ck_assert_uint_eq(number_in(info.cgroup, "cpu.weight"), 100);
	ck_assert_uint_eq(number_in(info.cgroup, "cpu.max"), 150000);
	ck_assert_uint_eq(number_in(info.cgroup, "memory.high"), 32 * MIB);
	guest_end(guest);
	config.io_max = "/dev/null rbps=1";
	ck_assert_int_eq(init_fails(&config, &err), -ENOTBLK);
	config.io_max = "/dev/vda nonsense=1";
	ck_assert_int_eq(init_fails(&config, &err), -EINVAL);
}
END_TEST

START_TEST(other_limits_of_a_command_are_set)
{
	struct guest_command command = command_of(ARGV("sleep", "60"));
	struct guest *guest = guest_in_group(config_default());
	struct guest_result result = { .size = sizeof(result) };
	struct guest_process *process;
	char group[PATH_MAX];

	command.memory_high_bytes = 32 * MIB;
	command.cpu_weight = 50;
	command.io_max = "/dev/vda rbps=1048576 wiops=10\n";
	ck_assert_int_eq(guest_spawn(guest, &command, &process, NULL), 0);
	snprintf(group, sizeof(group), "%s/run-1", info_of(guest).cgroup);
	ck_assert_uint_eq(number_in(group, "memory.high"), 32 * MIB);
	ck_assert_uint_eq(number_in(group, "cpu.weight"), 50);
	ck_assert_uint_eq(number_in(group, "pids.current"), 1);
	ck_assert_ptr_nonnull(strstr(read_group(group, "io.max"), "rbps=1048576 wbps=max riops=max wiops=10"));
	/* they are not the guest's */
	ck_assert_str_eq(read_group(info_of(guest).cgroup, "memory.high"), "max\n");
	ck_assert_int_eq(guest_cancel(process, NULL), 0);
	ck_assert_int_eq(guest_wait(process, UINT64_MAX, &result, NULL), 0);
	ck_assert_uint_eq(result.memory_high_enforced, GUEST_ENFORCED_CGROUP2);
	ck_assert_uint_eq(result.cpu_weight_enforced, GUEST_ENFORCED_CGROUP2);
	ck_assert_uint_eq(result.io_enforced, GUEST_ENFORCED_CGROUP2);
	ck_assert_uint_eq(result.cpu_enforced, GUEST_ENFORCED_NOT);
	guest_result_clear(&result);
	guest_process_free(process);
	ck_assert_int_ne(access(group, F_OK), 0);
}
END_TEST

START_TEST(memory_high_of_a_command_slows_it_down_and_does_not_kill)
{
	struct guest *guest = guest_in_group(config_default());
	struct guest_command command = command_of(ARGV(TOOL, "memory", "64"));
	struct guest_result result;

	command.memory_high_bytes = 32 * MIB;
	command.timeout_ns = 3 * SECOND;
	run(guest, &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_TIMED_OUT); /* without the limit, some 0.1 s */
	ck_assert_uint_ge(result.memory_peak_bytes, 32 * MIB);
	ck_assert_uint_eq(result.seen & GUEST_SEEN_OOM, 0);
	guest_result_clear(&result);
}
END_TEST

/* Reading from the disk, at a mebibyte a second: as the guest's limit, and as the command's. */
START_TEST(io_is_limited)
{
	struct guest_command command =
		command_of(SHELL("dd if=/disk/x of=/dev/null bs=1M iflag=direct 2>/dev/null; echo on"));
	struct guest_config config = config_default();
	const char *limit = "/dev/vda rbps=1048576";
	struct guest_result result;
	struct guest_mount mounts[] = {
		mount_of(GUEST_MOUNT_BIND, "/run/disk", "/disk", "ro"),
		mount_of(GUEST_MOUNT_BIND, test_program("tool"), TOOL, "ro"),
	};
	uint64_t started;

	on_host("mkdir -p /run/disk && mke2fs -q /dev/vda && mount -t ext4 /dev/vda /run/disk && "
		"head -c 4194304 /dev/urandom >/run/disk/x && chmod a+r /run/disk/x && sync && "
		"echo 3 >/proc/sys/vm/drop_caches");
	config.flags = GUEST_CGROUP;
	config.mounts = mounts;
	config.mounts_count = 2;
	config.io_max = _i == 0 ? limit : NULL;
	command.io_max = _i == 1 ? limit : NULL;
	started = now_ns();
	run(guest_with(&config), &command, &result);
	ck_assert_str_eq(result.stdout_data, "on\n");
	ck_assert_uint_ge(now_ns() - started, 3 * SECOND);
	ck_assert_uint_eq(result.io_enforced, GUEST_ENFORCED_CGROUP2);
	guest_result_clear(&result);
	guest_trim(NULL);
	on_host("umount -l /run/disk");
}
END_TEST

static void end_all_and(const char *command)
{
	guest_trim(NULL);
	on_host(command);
}

START_TEST(nothing_is_left_when_the_host_is_killed)
{
	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			struct guest_command command = command_of(ARGV(TOOL, "storm"));
			struct guest_config config = config_default();
			struct guest_result result;

			config.pids_max = 20;
			run(guest_in_group(config), &command, &result);
			_exit(0);
		}
		usleep((useconds_t)(300000 * (i + 1)));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	on_host("for i in $(seq 100); do [ \"$(find " TOP " -name 'libguest-*' | wc -l)\" != 0 ] || exit 0; sleep 0.1; "
		"done; find " TOP " -name 'libguest-*'; exit 1");
}
END_TEST

START_TEST(nothing_is_left_when_the_holder_is_killed)
{
	struct guest_config config = config_default();
	struct guest_command command = command_of(ARGV(TOOL, "orphans", "3"));
	struct guest_error err = { .size = sizeof(err) };
	struct guest_process *process;
	struct guest_result result = { .size = sizeof(result) };
	struct guest *guest;
	pid_t pid;

	config.pids_max = 20;
	guest = guest_in_group(config);
	ck_assert_int_eq(guest_spawn(guest, &command, &process, NULL), 0);
	pid = invariants_find("guest-holder");
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(guest_wait(process, 20 * SECOND, &result, &err), -EPIPE);
	ck_assert_uint_eq(result.cause, GUEST_LOST);
	guest_result_clear(&result);
	guest_process_free(process);
	guest_end(guest);
	end_all_and("! find " TOP " -name 'libguest-*' | grep .");
}
END_TEST

START_TEST(parent_can_be_named)
{
	struct guest_config config = config_default();
	struct guest_error err;
	struct guest *guest;

	on_host("mkdir " TOP "/ci/named");
	config.cgroup_parent = TOP "/ci/named";
	config.pids_max = 9;
	guest = guest_with(&config);
	ck_assert_ptr_nonnull(strstr(info_of(guest).cgroup, "/ci/named/libguest-"));
	guest_end(guest);
	end_all_and("rmdir " TOP "/ci/named");
	config.cgroup_parent = TOP "/ci/run"; /* where this very process is */
	ck_assert_int_eq(init_fails(&config, &err), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(err.message, "has processes of its own"));
	guest_trim(NULL);
}
END_TEST

/* A group with nothing delegated above it: for root, all is; so an ordinary user only. */
START_TEST(host_moves_only_if_it_may)
{
	struct guest_config config = config_default();
	struct guest_error err;
	struct guest *guest;

	/* hide what is above by taking the right to write there from ourselves */
	on_host("chmod a-w " TOP "/ci");
	config.pids_max = 9;
	config.flags = GUEST_CGROUP;
	ck_assert_int_eq(init_fails(&config, &err), -EOPNOTSUPP);
	ck_assert_int_eq(err.stage, GUEST_STAGE_LIMITS);
	ck_assert_ptr_nonnull(strstr(err.message, "has processes of its own"));
	/* moving does not help while others are there */
	config.flags |= GUEST_MOVE_HOST;
	ck_assert_int_eq(init_fails(&config, &err), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(err.message, "has other processes"));
	ck_assert_ptr_nonnull(strstr(read_text("/proc/self/cgroup"), "/ci/run\n"));
	ck_assert_int_ne(access(TOP "/ci/run/libguest-host", F_OK), 0);
	guest_trim(NULL); /* a keeper remembers that there can be no groups */
	/* all of the group's other processes must be out of the way: there are none but ours and the shells' */
	on_host("mkdir -p " TOP "/ci/run/others && for p in $(cat " TOP "/ci/run/cgroup.procs); do "
		"echo $p >" TOP "/ci/run/others/cgroup.procs 2>/dev/null; done; true");
	on_host("echo $PPID >" TOP "/ci/run/cgroup.procs");
	guest = guest_with(&config);
	ck_assert_ptr_nonnull(strstr(info_of(guest).cgroup, "/ci/run/libguest-"));
	ck_assert_ptr_nonnull(strstr(read_text("/proc/self/cgroup"), "/ci/run/libguest-host"));
	guest_end(guest);
	guest_trim(NULL);
	ck_assert_ptr_nonnull(strstr(read_text("/proc/self/cgroup"), "/ci/run\n"));
	on_host("chmod u+w " TOP "/ci; for p in $(cat " TOP "/ci/run/others/cgroup.procs); do "
		"echo $p >" TOP "/ci/run/cgroup.procs; done 2>/dev/null; rmdir " TOP "/ci/run/others");
}
END_TEST

START_TEST(guest_cannot_raise_its_limits)
{
	struct guest_config config = config_default();
	struct guest *guest;

	config.memory_bytes = 64 * MIB;
	config.pids_max = 20;
	config.capabilities = "all=ep";
	config.flags = GUEST_NO_SECCOMP;
	guest = guest_in_group(config);
	/* it sees its own group as the top, and may not write its limits, nor leave it */
	expect_shell(guest,
		     "mkdir /c; mount -t cgroup2 none /c 2>/dev/null || { echo refused; exit; }; "
		     "for f in memory.max pids.max memory.high cpu.max; do [ ! -e /c/$f ] || echo max >/c/$f; done "
		     "2>/dev/null; mkdir /c/x 2>/dev/null && echo $$ >/c/x/cgroup.procs 2>/dev/null; echo refused",
		     "refused\n");
	ck_assert_uint_eq(number_in(info_of(guest).cgroup, "memory.max"), 64 * MIB);
	ck_assert_uint_eq(number_in(info_of(guest).cgroup, "pids.max"), 20);
	ck_assert_uint_eq(cause_of(guest, ARGV(TOOL, "memory", "80")), GUEST_OOM_KILLED);
	expect(guest, ARGV("/bin/cat", "/proc/self/cgroup"), "0::/\n");
}
END_TEST

static Suite *cgroup_suite(void)
{
	Suite *suite = suite_create("cgroup");
	TCase *tcase = suite_case(suite, "limits", 60);

	tcase_add_test(tcase, memory_limit_is_the_kernels);
	tcase_add_test(tcase, memory_of_one_command_kills_that_one_only);
	tcase_add_test(tcase, full_disk_is_no_oom_kill);
	tcase_add_test(tcase, process_limit_is_exact);
	tcase_add_test(tcase, cpu_quota_is_within_ten_percent);
	tcase_add_loop_test(tcase, throttled_storm_dies_in_time, 0, 6);
	tcase_add_test(tcase, throttled_guest_is_shut_down_in_time);
	tcase_add_test(tcase, usage_is_of_all_processes);
	tcase_add_test(tcase, other_limits_are_set);
	tcase_add_test(tcase, other_limits_of_a_command_are_set);
	tcase_add_test(tcase, memory_high_of_a_command_slows_it_down_and_does_not_kill);
	if (geteuid() == 0) /* who can mount the disk */
		tcase_add_loop_test(tcase, io_is_limited, 0, 2);
	tcase_add_test(tcase, guest_cannot_raise_its_limits);
	tcase = suite_case(suite, "groups", 60);
	tcase_add_test(tcase, nothing_is_left_when_the_host_is_killed);
	tcase_add_test(tcase, nothing_is_left_when_the_holder_is_killed);
	tcase_add_test(tcase, parent_can_be_named);
	if (geteuid() != 0) /* root may make groups anywhere */
		tcase_add_test(tcase, host_moves_only_if_it_may);
	return suite;
}

int main(void)
{
	return suite_main(cgroup_suite);
}
