// SPDX-License-Identifier: MIT
/* Guests made ahead: that they are like others, are replaced, and leave nothing. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

static struct guest_pool *pool_with(const struct guest_config *config, uint32_t size)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest_pool *pool = NULL;
	int r = guest_pool_init(&pool, config, size, &err);

	ck_assert_msg(r == 0, "guest_pool_init: %d, %s", r, err.message);
	ck_assert_uint_ge(guest_pool_ready(pool), 1);
	return pool;
}

static int pool_fails(const struct guest_config *config, uint32_t size, struct guest_error *err)
{
	struct guest_pool *pool = NULL;
	int r;

	*err = (struct guest_error){ .size = sizeof(*err) };
	r = guest_pool_init(&pool, config, size, err);
	ck_assert_int_lt(r, 0);
	ck_assert_ptr_null(pool);
	ck_assert_int_eq(err->code, r);
	return r;
}

static void wait_ready(const struct guest_pool *pool, uint32_t count)
{
	uint64_t end = now_ns() + 20 * SECOND * slowness();

	while (guest_pool_ready(pool) < count && now_ns() < end)
		usleep(1000);
	ck_assert_uint_eq(guest_pool_ready(pool), count);
}

static struct guest *take(struct guest_pool *pool)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest *guest = NULL;
	int r = guest_pool_take(pool, &guest, &err);

	ck_assert_msg(r == 0, "guest_pool_take: %d, %s", r, err.message);
	return guest;
}

static void pool_end(struct guest_pool *pool)
{
	struct guest_error err = { .size = sizeof(err) };
	int r = guest_pool_shutdown(pool, &err);

	ck_assert_msg(r == 0, "guest_pool_shutdown: %d, %s", r, err.message);
}

static uint64_t wall_ns(struct guest *guest)
{
	struct guest_info info = { .size = sizeof(info) };

	ck_assert_int_eq(guest_info(guest, &info, NULL), 0);
	return info.wall_ns;
}

/* --- taking ------------------------------------------------------------------------------------------ */

START_TEST(as_many_as_one_likes_and_each_is_fresh)
{
	enum { COUNT = 7 };
	struct guest_pool *pool = pool_with(NULL, 2);
	struct guest *guests[COUNT];

	for (int i = 0; i < COUNT; i++) {
		guests[i] = take(pool);
		expect_shell(guests[i], "cat /tmp/mark 2>/dev/null; echo taken >/tmp/mark", "");
	}
	for (int i = 0; i < COUNT; i++) {
		expect_shell(guests[i], "cat /tmp/mark; set -- /proc/[0-9]*; echo $#", "taken\n2\n");
		guest_end(guests[i]);
	}
	pool_end(pool);
}
END_TEST

START_TEST(what_was_taken_is_made_again)
{
	struct guest_pool *pool = pool_with(NULL, 3);

	for (int i = 0; i < 3; i++) {
		wait_ready(pool, 3);
		guest_end(take(pool));
		guest_end(take(pool));
	}
	wait_ready(pool, 3);
	usleep(50000);
	ck_assert_uint_eq(guest_pool_ready(pool), 3);
	pool_end(pool);
}
END_TEST

/* When the guest's init was started, in hundredths of a second. */
static long start_of(struct guest *guest)
{
	struct guest_result result;
	long ticks;

	run_shell(guest, "cut -d ' ' -f 22 /proc/1/stat", &result);
	ticks = atol(result.stdout_data);
	guest_result_clear(&result);
	return ticks;
}

START_TEST(oldest_is_taken_first)
{
	struct guest_pool *pool = pool_with(NULL, 2);
	long starts[3];

	for (int i = 0; i < 3; i++) {
		struct guest *guest;

		wait_ready(pool, 2);
		usleep(100000);
		guest = take(pool);
		starts[i] = start_of(guest);
		guest_end(guest);
	}
	/* the first two were made at once, the third when the first was taken */
	ck_assert_int_lt(starts[0], starts[2]);
	ck_assert_int_lt(starts[1] + 5, starts[2]);
	pool_end(pool);
}
END_TEST

START_TEST(taking_costs_next_to_nothing)
{
	struct guest_pool *pool = pool_with(NULL, 1);
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 20; i++) {
		uint64_t start;
		struct guest *guest;

		wait_ready(pool, 1);
		start = now_ns();
		guest = take(pool);
		start = now_ns() - start;
		least = start < least ? start : least;
		guest_end(guest);
	}
	ck_assert_msg(least < MILLISECOND / 10 * slowness(), "%llu ns", (unsigned long long)least);
	pool_end(pool);
}
END_TEST

static void *take_and_run(void *pool)
{
	struct guest_result result = { .size = sizeof(result) };
	struct guest_command command = command_of(ARGV("echo", "on"));
	intptr_t failures = 0;

	for (int i = 0; i < 5; i++) {
		struct guest *guest = NULL;

		failures += guest_pool_take(pool, &guest, NULL) != 0;
		failures += guest_run(guest, &command, &result, NULL) != 0 || strcmp(result.stdout_data, "on\n") != 0;
		guest_result_clear(&result);
		failures += guest_shutdown(guest, NULL) != 0;
	}
	return (void *)failures;
}

START_TEST(many_threads_take_at_once)
{
	enum { COUNT = 16 };
	struct guest_pool *pool = pool_with(NULL, 4);
	pthread_t threads[COUNT];
	void *failures;

	for (int i = 0; i < COUNT; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_run, pool), 0);
	for (int i = 0; i < COUNT; i++) {
		pthread_join(threads[i], &failures);
		ck_assert_ptr_null(failures);
	}
	wait_ready(pool, 4);
	pool_end(pool);
}
END_TEST

START_TEST(what_was_taken_outlives_the_pool)
{
	struct guest_pool *pool = pool_with(NULL, 2);
	struct guest *guest = take(pool);

	pool_end(pool);
	expect_shell(guest, "echo on", "on\n");
	guest_end(guest);
}
END_TEST

START_TEST(pool_can_be_ended_at_any_moment)
{
	for (useconds_t i = 0; i < 20; i++) {
		struct guest_pool *pool = pool_with(NULL, 8);

		usleep(i * 250);
		pool_end(pool);
	}
}
END_TEST

START_TEST(pools_live_side_by_side)
{
	struct guest_config config = config_default();
	struct guest_pool *one, *other;
	struct guest *guest;

	config.hostname = "one";
	one = pool_with(&config, 2);
	config.hostname = "other";
	other = pool_with(&config, 2);
	guest = take(one);
	pool_end(one);
	expect_shell(guest, "hostname", "one\n");
	guest_end(guest);
	guest = take(other);
	expect_shell(guest, "hostname", "other\n");
	guest_end(guest);
	pool_end(other);
}
END_TEST

/* --- the config -------------------------------------------------------------------------------------- */

static void scribble(char *string)
{
	memset(string, 'X', strlen(string));
	free(string);
}

START_TEST(config_may_be_freed_at_once)
{
	struct odd_mount {
		struct guest_mount mount;
		uint64_t tail;
	} *mounts = calloc(2, sizeof(*mounts));
	struct guest_config *config = calloc(1, sizeof(*config));
	char *strings[] = { strdup("copied"), strdup("cap_chown=ep"), strdup(scratch("in")), strdup("/data"),
			    strdup("ro"), strdup("/small"), strdup("size=1m"), strdup(scratch("root.tar")) };
	struct guest_pool *pool;

	write_text(scratch("in"), "from the host\n");
	tiny_rootfs_tar();
	ck_assert_int_eq(guest_config_init(config, sizeof(*config)), 0);
	config->hostname = strings[0];
	config->capabilities = strings[1];
	mounts[0].mount = mount_of(GUEST_MOUNT_BIND, strings[2], strings[3], strings[4]);
	mounts[1].mount = mount_of(GUEST_MOUNT_TMPFS, NULL, strings[5], strings[6]);
	mounts[0].mount.size = mounts[1].mount.size = sizeof(*mounts);
	config->mounts = &mounts[0].mount;
	config->mounts_count = 2;
	config->rootfs_path = strings[7];
	pool = pool_with(config, 2);
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		scribble(strings[i]);
	memset(mounts, 'X', 2 * sizeof(*mounts));
	free(mounts);
	memset(config, 'X', sizeof(*config));
	free(config);
	for (int i = 0; i < 4; i++) {
		struct guest_result result;
		struct guest *guest = take(pool);

		expect(guest, ARGV("/bin/tool", "cat", "/data"), "from the host\n");
		expect(guest, ARGV("/bin/tool", "cat", "/proc/sys/kernel/hostname"), "copied\n");
		expect(guest, ARGV("/bin/tool", "write", "/small/x", "written"), "");
		run_argv(guest, ARGV("/bin/tool", "cat", "/proc/self/status"), &result);
		ck_assert_ptr_nonnull(strstr(result.stdout_data, "CapEff:\t0000000000000001\n"));
		guest_result_clear(&result);
		guest_end(guest);
	}
	pool_end(pool);
}
END_TEST

START_TEST(rootfs_fd_stays_the_callers)
{
	struct guest_config config = config_default();
	struct guest_pool *pool;

	config.rootfs_fd = open(tiny_rootfs_tar(), O_RDONLY | O_CLOEXEC);
	pool = pool_with(&config, 2);
	ck_assert_int_eq(lseek(config.rootfs_fd, 0, SEEK_CUR), 0);
	ck_assert_int_eq(close(config.rootfs_fd), 0);
	for (int i = 0; i < 4; i++) {
		struct guest *guest = take(pool);

		expect_alive(guest);
		guest_end(guest);
	}
	pool_end(pool);
}
END_TEST

START_TEST(relative_paths_are_those_of_the_beginning)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, "in", "/data", "ro");
	struct guest_config config = config_default();
	int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct guest_pool *pool;

	write_text(scratch("in"), "from the host\n");
	tiny_rootfs_tar();
	config.rootfs_path = "root.tar";
	config.mounts = &mount;
	config.mounts_count = 1;
	ck_assert_int_eq(chdir(scratch(NULL)), 0);
	pool = pool_with(&config, 1);
	ck_assert_int_eq(chdir("/"), 0);
	for (int i = 0; i < 3; i++) {
		struct guest *guest = take(pool);

		expect(guest, ARGV("/bin/tool", "cat", "/data"), "from the host\n");
		guest_end(guest);
	}
	pool_end(pool);
	ck_assert_int_eq(fchdir(before), 0);
	close(before);
}
END_TEST

START_TEST(what_cannot_be_is_told_at_once)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, scratch("missing"), "/data", "ro");
	struct guest_config config = config_default();
	struct guest *guest = NULL;
	struct guest_error err;
	int pipe_ends[2];

	ck_assert_int_eq(pool_fails(NULL, 0, &err), -EINVAL);
	ck_assert_int_eq(err.stage, GUEST_STAGE_CONFIG);
	ck_assert_int_eq(pool_fails(NULL, GUEST_POOL_MAX + 1, &err), -EINVAL);
	ck_assert_int_eq(pool_fails(NULL, UINT32_MAX, &err), -EINVAL);
	ck_assert_int_eq(guest_pool_init(NULL, NULL, 1, NULL), -EINVAL);
	ck_assert_int_eq(guest_pool_take(NULL, &guest, NULL), -EINVAL);
	ck_assert_uint_eq(guest_pool_ready(NULL), 0);
	ck_assert_int_eq(guest_pool_shutdown(NULL, NULL), 0);
	config.flags = 1U << 31;
	ck_assert_int_eq(pool_fails(&config, 1, &err), -EINVAL);
	config = config_default();
	config.rootfs_path = scratch("missing");
	ck_assert_int_eq(pool_fails(&config, 1, &err), -ENOENT);
	ck_assert_int_eq(err.stage, GUEST_STAGE_ROOTFS);
	config.rootfs_path = "";
	ck_assert_int_eq(pool_fails(&config, 1, &err), -ENOENT);
	config = config_default();
	config.mounts = &mount;
	config.mounts_count = 1;
	ck_assert_int_eq(pool_fails(&config, 1, &err), -ENOENT);
	ck_assert_int_eq(err.stage, GUEST_STAGE_MOUNT_USER);
	config.mounts_count = UINT64_MAX;
	ck_assert_int_eq(pool_fails(&config, 1, &err), -E2BIG);
	config = config_default();
	ck_assert_int_eq(pipe2(pipe_ends, O_CLOEXEC), 0);
	config.rootfs_fd = pipe_ends[0];
	ck_assert_int_eq(pool_fails(&config, 1, &err), -EINVAL);
	ck_assert_int_eq(err.stage, GUEST_STAGE_ROOTFS);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}
END_TEST

START_TEST(null_for_the_guest_takes_none)
{
	struct guest_pool *pool = pool_with(NULL, 1);

	errno = 4711;
	ck_assert_int_eq(guest_pool_take(pool, NULL, NULL), -EINVAL);
	ck_assert_uint_eq(guest_pool_ready(pool), 1);
	guest_end(take(pool));
	ck_assert_int_eq(errno, 4711);
	pool_end(pool);
}
END_TEST

START_TEST(budgets_begin_when_it_is_taken)
{
	struct guest_config config = config_default();
	struct guest_error err;
	struct guest_pool *pool;
	struct guest *guest;

	config.budget_wall_ns = SECOND * slowness();
	config.budget_commands = 2;
	pool = pool_with(&config, 1);
	usleep(1200000 * slowness());
	ck_assert_uint_eq(guest_pool_ready(pool), 1);
	guest = take(pool);
	ck_assert_uint_lt(wall_ns(guest), SECOND * slowness());
	expect_shell(guest, "echo on", "on\n");
	usleep(1200000 * slowness());
	ck_assert_int_eq(run_fails(guest, (struct guest_command[]){ command_of(ARGV("true")) }, &err), -EDQUOT);
	ck_assert_ptr_nonnull(strstr(err.message, "wall time"));
	guest_end(guest);
	pool_end(pool);
}
END_TEST

START_TEST(limits_hold_for_each)
{
	struct guest_mount bind = mount_of(GUEST_MOUNT_BIND, test_program("tool"), TOOL, "ro");
	struct guest_config config = config_default();
	struct guest_info infos[2] = { { .size = sizeof(infos[0]) }, { .size = sizeof(infos[1]) } };
	struct guest *guests[2];
	struct guest_pool *pool;

	config.pids_max = 20;
	config.mounts = &bind;
	config.mounts_count = 1;
	pool = pool_with(&config, 2);
	wait_ready(pool, 2);
	for (int i = 0; i < 2; i++) {
		struct guest_result result;

		guests[i] = take(pool);
		ck_assert_int_eq(guest_info(guests[i], &infos[i], NULL), 0);
		ck_assert_uint_eq(infos[i].pids_max, 20);
		ck_assert_uint_ne(infos[i].pids_enforced, GUEST_ENFORCED_NOT);
		expect(guests[i], ARGV(TOOL, "children", "19"), "19\n");
		run_argv(guests[i], ARGV(TOOL, "children", "20"), &result);
		ck_assert_str_eq(result.stdout_data, "19\n");
		ck_assert_uint_eq(result.cause, GUEST_TOO_MANY_PROCESSES);
		guest_result_clear(&result);
	}
	if (infos[0].cgroup)
		ck_assert_str_ne(infos[0].cgroup, infos[1].cgroup);
	guest_end(guests[0]);
	guest_end(guests[1]);
	pool_end(pool);
}
END_TEST

/* --- what happens meanwhile -------------------------------------------------------------------------- */

static void kill_all(const char *name)
{
	pid_t pid;

	while ((pid = invariants_find(name)) > 0) {
		kill(pid, SIGKILL);
		usleep(1000);
	}
}

START_TEST(killed_while_it_waits_is_never_handed_out)
{
	const char *victim = _i ? "guest-keeper" : "guest-holder";
	struct guest_config config = config_default();
	struct guest_pool *pool;

	config.rootfs_path = tiny_rootfs_tar();
	pool = pool_with(&config, 3);
	for (int round = 0; round < 3; round++) {
		wait_ready(pool, 3);
		kill_all(victim);
		ck_assert_int_eq(invariants_find("guest-holder"), 0);
		for (int i = 0; i < 4; i++) {
			struct guest *guest = take(pool);

			expect_alive(guest);
			guest_end(guest);
		}
	}
	wait_ready(pool, 3);
	kill_all(victim); /* nor does the end mind */
	pool_end(pool);
}
END_TEST

START_TEST(one_of_several_is_killed_while_it_waits)
{
	struct guest_pool *pool = pool_with(NULL, 3);
	pid_t holder;

	wait_ready(pool, 3);
	holder = invariants_find("guest-holder");
	ck_assert_int_gt(holder, 0);
	ck_assert_int_eq(kill(holder, SIGKILL), 0);
	while (kill(holder, 0) == 0)
		usleep(1000);
	for (int i = 0; i < 3; i++) {
		struct guest *guest = take(pool);

		expect_shell(guest, "echo on", "on\n");
		guest_end(guest);
	}
	pool_end(pool);
}
END_TEST

START_TEST(trim_takes_nothing_away)
{
	struct guest_pool *pool = pool_with(NULL, 2);
	struct guest *guest;

	wait_ready(pool, 2);
	ck_assert_int_eq(guest_trim(NULL), 0);
	ck_assert_uint_eq(guest_pool_ready(pool), 2);
	guest = take(pool);
	ck_assert_int_eq(guest_trim(NULL), 0);
	expect_shell(guest, "echo on", "on\n");
	guest_end(guest);
	wait_ready(pool, 2);
	pool_end(pool);
}
END_TEST

START_TEST(what_the_host_mounts_later_is_in_the_next)
{
	struct guest_mount bind = mount_of(GUEST_MOUNT_BIND, scratch("late"), "/data", "ro");
	struct guest_config config = config_default();
	struct guest_pool *pool;

	config.mounts = &bind;
	config.mounts_count = 1;
	ck_assert_int_eq(mkdir(scratch("late"), 0755), 0);
	write_text(scratch("late/file"), "early\n");
	pool = pool_with(&config, 1);
	ck_assert_int_eq(mount("late", scratch("late"), "tmpfs", 0, "mode=755"), 0);
	write_text(scratch("late/file"), "late\n");
	for (int i = 0; i < 3; i++) {
		struct guest *guest = take(pool);

		expect_shell(guest, "cat /data/file", i ? "late\n" : "early\n");
		guest_end(guest);
		wait_ready(pool, 1);
	}
	pool_end(pool);
	ck_assert_int_eq(umount2(scratch("late"), 0), 0);
}
END_TEST

static uint64_t cpu_ns(void)
{
	struct timespec used;

	ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
	return (uint64_t)used.tv_sec * SECOND + (uint64_t)used.tv_nsec;
}

START_TEST(failures_are_the_takers_and_end)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, scratch("source"), "/data", "ro");
	struct guest_error err = { .size = sizeof(err) };
	struct guest_config config = config_default();
	struct guest *guest = NULL;
	struct guest_pool *pool;
	uint64_t used;

	config.mounts = &mount;
	config.mounts_count = 1;
	write_text(scratch("source"), "there\n");
	pool = pool_with(&config, 2);
	wait_ready(pool, 2);
	ck_assert_int_eq(rename(scratch("source"), scratch("away")), 0);
	for (int i = 0; i < 2; i++) {
		guest = take(pool);
		expect_shell(guest, "cat /data", "there\n");
		guest_end(guest);
	}
	guest = NULL;
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(guest_pool_take(pool, &guest, &err), -ENOENT);
		ck_assert_int_eq(err.stage, GUEST_STAGE_MOUNT_USER);
		ck_assert_ptr_null(guest);
	}
	used = cpu_ns();
	usleep(500000);
	ck_assert_uint_lt(cpu_ns() - used, 100 * MILLISECOND);
	ck_assert_int_eq(rename(scratch("away"), scratch("source")), 0);
	guest_end(take(pool));
	wait_ready(pool, 2);
	pool_end(pool);
}
END_TEST

/* Of the threads that are not this one, the signals that they block. */
static unsigned long long blocked_by_others(int *ret_threads)
{
	DIR *directory = opendir("/proc/self/task");
	unsigned long long blocked = ~0ULL;
	struct dirent *entry;
	char path[300];

	*ret_threads = 0;
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		blocked &= strtoull(strstr(read_text(path), "SigBlk:") + 7, NULL, 16);
		++*ret_threads;
	}
	closedir(directory);
	return blocked;
}

START_TEST(one_thread_that_signals_do_not_reach)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGALRM, SIGCHLD, SIGUSR1, SIGPROF };
	struct guest_pool *pool = pool_with(NULL, 2);
	unsigned long long blocked;
	int threads;

	wait_ready(pool, 2);
	blocked = blocked_by_others(&threads);
	ck_assert_int_eq(threads, 1);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		ck_assert_msg(blocked >> (signals[i] - 1) & 1, "signal %d", signals[i]);
	pool_end(pool);
	/* it has been joined, which is a little before procfs forgets it */
	for (int i = 0; i < 1000 && threads > 0; i++) {
		usleep(1000);
		threads = atoi(strstr(read_text("/proc/self/status"), "Threads:") + strlen("Threads:")) - 1;
	}
	ck_assert_int_eq(threads, 0);
}
END_TEST

/* Field 41 of proc_pid_stat(5), with a rootfs that has the tool only. */
static int policy_of(struct guest *guest)
{
	struct guest_result result;
	int policy = -1;

	run_argv(guest, ARGV("/bin/tool", "cat", "/proc/self/stat"), &result);
	sscanf(strrchr(result.stdout_data, ')') + 1,
	       " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
	       "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d",
	       &policy);
	guest_result_clear(&result);
	return policy;
}

START_TEST(keeper_of_the_threads_is_like_others)
{
	struct guest_config config = config_default();
	struct guest_pool *pool;
	struct guest *guest;

	config.rootfs_path = tiny_rootfs_tar();
	pool = pool_with(&config, 1);
	tiny_rootfs_tar(); /* a new file is unpacked anew: the thread will need a new keeper */
	guest_end(take(pool));
	wait_ready(pool, 1);
	guest = take(pool);
	ck_assert_int_eq(policy_of(guest), SCHED_OTHER);
	guest_end(guest);
	pool_end(pool);
}
END_TEST

/* --- forks ------------------------------------------------------------------------------------------- */

static int count_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* In a forked child. 0, or what is wrong. `fds_without`: before there was a pool; -1: not known. */
static int disown(struct guest_pool *pool, int fds_without)
{
	struct guest *guest = NULL;

	if (guest_pool_take(pool, &guest, NULL) != -ECHILD || guest)
		return 1;
	if (guest_pool_ready(pool) != 0)
		return 2;
	if (guest_pool_shutdown(pool, NULL) != -ECHILD)
		return 3;
	if (fds_without < 0)
		return 0;
	/* those of the keeper are closed with the first guest of its own */
	if (guest_init(&guest, NULL, NULL) != 0 || guest_shutdown(guest, NULL) != 0 || guest_trim(NULL) != 0)
		return 4;
	return count_fds() > fds_without ? 5 : 0;
}

static int disown_in_child(struct guest_pool *pool, int fds_without)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		alarm(30 * slowness());
		_exit(disown(pool, fds_without));
	}
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

START_TEST(forked_child_leaves_it_alone)
{
	int fds_without = count_fds();
	struct guest_pool *pool = pool_with(NULL, 3);
	struct guest *guest;

	wait_ready(pool, 3);
	ck_assert_int_eq(disown_in_child(pool, fds_without), 0);
	ck_assert_uint_eq(guest_pool_ready(pool), 3);
	for (int i = 0; i < 5; i++) {
		guest = take(pool);
		expect_shell(guest, "echo on", "on\n");
		guest_end(guest);
	}
	pool_end(pool);
}
END_TEST

struct taker {
	struct guest_pool *pool;
	int stop;
};

static void *take_for_ever(void *argument)
{
	struct taker *taker = argument;
	struct guest *guest;

	while (!__atomic_load_n(&taker->stop, __ATOMIC_RELAXED))
		if (guest_pool_take(taker->pool, &guest, NULL) == 0)
			guest_shutdown(guest, NULL);
	return NULL;
}

/* Whoever has the lock, and whatever is half done. */
START_TEST(forks_amid_takes_do_no_harm)
{
	struct taker taker = { .pool = pool_with(NULL, 4) };
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_for_ever, &taker), 0);
	for (unsigned int i = 0; i < 100 / slowness(); i++)
		ck_assert_int_eq(disown_in_child(taker.pool, -1), 0);
	__atomic_store_n(&taker.stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	wait_ready(taker.pool, 4);
	pool_end(taker.pool);
}
END_TEST

START_TEST(forked_child_has_a_pool_of_its_own)
{
	struct guest_pool *pool = pool_with(NULL, 2);
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct guest_pool *own = NULL;
		int r = guest_pool_init(&own, NULL, 2, NULL);
		bool works = r == 0 && !take_and_run(own) && guest_pool_shutdown(own, NULL) == 0;

		_exit(!works);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	guest_end(take(pool));
	pool_end(pool);
}
END_TEST

START_TEST(host_that_ends_without_a_word_leaves_nothing)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct guest_pool *pool;

		if (guest_pool_init(&pool, NULL, 8, NULL) != 0)
			_exit(1);
		if (_i)
			kill(getpid(), SIGKILL);
		exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, _i ? SIGKILL : 0);
	ck_assert_int_eq(invariants_wait_lost(5000 * (int)slowness()), 0);
}
END_TEST

static Suite *pool_suite(void)
{
	Suite *suite = suite_create("pool");
	TCase *tcase = suite_case(suite, "take", 60);

	tcase_add_test(tcase, as_many_as_one_likes_and_each_is_fresh);
	tcase_add_test(tcase, what_was_taken_is_made_again);
	tcase_add_test(tcase, oldest_is_taken_first);
	tcase_add_test(tcase, taking_costs_next_to_nothing);
	tcase_add_test(tcase, many_threads_take_at_once);
	tcase_add_test(tcase, what_was_taken_outlives_the_pool);
	tcase_add_test(tcase, pool_can_be_ended_at_any_moment);
	tcase_add_test(tcase, pools_live_side_by_side);
	tcase = suite_case(suite, "config", 60);
	tcase_add_test(tcase, config_may_be_freed_at_once);
	tcase_add_test(tcase, rootfs_fd_stays_the_callers);
	tcase_add_test(tcase, relative_paths_are_those_of_the_beginning);
	tcase_add_test(tcase, what_cannot_be_is_told_at_once);
	tcase_add_test(tcase, null_for_the_guest_takes_none);
	tcase_add_test(tcase, budgets_begin_when_it_is_taken);
	tcase_add_test(tcase, limits_hold_for_each);
	tcase = suite_case(suite, "meanwhile", 60);
	tcase_add_loop_test(tcase, killed_while_it_waits_is_never_handed_out, 0, 2);
	tcase_add_test(tcase, one_of_several_is_killed_while_it_waits);
	tcase_add_test(tcase, trim_takes_nothing_away);
	if (geteuid() == 0) /* who may mount */
		tcase_add_test(tcase, what_the_host_mounts_later_is_in_the_next);
	tcase_add_test(tcase, failures_are_the_takers_and_end);
	tcase_add_test(tcase, one_thread_that_signals_do_not_reach);
	tcase_add_test(tcase, keeper_of_the_threads_is_like_others);
	tcase = suite_case(suite, "forks", 60);
	tcase_add_test(tcase, forked_child_leaves_it_alone);
	tcase_add_test(tcase, forks_amid_takes_do_no_harm);
	tcase_add_test(tcase, forked_child_has_a_pool_of_its_own);
	tcase_add_loop_test(tcase, host_that_ends_without_a_word_leaves_nothing, 0, 2);
	return suite;
}

int main(void)
{
	return suite_main(pool_suite);
}
