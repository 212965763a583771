// SPDX-License-Identifier: MIT
/*
 * Scopes from a real manager of systemd (lib/cgroup/systemd.h), and every way not to get one. To be run below
 * tests/vm/with-systemd-user, in a virtual machine.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "cgroup/systemd.h"
#include "support.h"

struct scope {
	char name[64], path[4096], why[256];
	pid_t pid; /* of a process that sleeps */
};

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

static void reap(pid_t pid)
{
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static struct scope scope_new(pid_t pid)
{
	static int count;
	struct scope scope = { .path = "untouched", .why = "untouched", .pid = pid };

	snprintf(scope.name, sizeof(scope.name), "guest-test-%d-%d.scope", getpid(),
		 __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED));
	return scope;
}

/* The call, which must keep errno and leave what it does not set. */
static int ask(struct scope *scope)
{
	int r;

	errno = 55;
	r = cgroup_systemd_scope(scope->name, scope->pid, scope->path, sizeof(scope->path), scope->why,
				 sizeof(scope->why));
	ck_assert_int_eq(errno, 55);
	ck_assert_int_le(r, 0);
	if (r < 0)
		ck_assert_str_eq(scope->path, "untouched");
	else
		ck_assert_str_eq(scope->why, "untouched");
	return r;
}

static void must_get(struct scope *scope)
{
	int r = ask(scope);

	ck_assert_msg(r == 0, "%d, %s", r, scope->why);
}

/* It must fail in time, with this error and a reason that begins so. */
static void must_fail(struct scope *scope, int errnum, const char *why)
{
	uint64_t begin = now_ns();
	int r = ask(scope);

	printf("%d, %s\n", r, scope->why);
	ck_assert_msg(r == -errnum, "%d, %s", r, scope->why);
	ck_assert_msg(strncmp(scope->why, why, strlen(why)) == 0, "%s", scope->why);
	ck_assert_uint_lt(now_ns() - begin, 15 * SECOND);
}

/* A file in the scope's cgroup, or the cgroup itself. Static buffers. */
static const char *in(const struct scope *scope, const char *name)
{
	static char paths[4][5000];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "/sys/fs/cgroup%s/%s", scope->path, name);
	return path;
}

static void must_be_gone(const struct scope *scope)
{
	int tries = 1000;

	while (access(in(scope, ""), F_OK) == 0 && tries-- > 0)
		usleep(10000);
	ck_assert_msg(tries > 0, "%s is left", scope->path);
}

static void must_be_in(pid_t pid, const struct scope *scope, const char *group)
{
	char path[64], line[5000], text[5000];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	snprintf(line, sizeof(line), "0::%s%s\n", scope->path, group);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
	fclose(file);
	ck_assert_str_eq(text, line);
}

static void number_into(const char *path, pid_t pid)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", pid);
	write_text(path, number);
}

/* Where the calls look for the bus. */
static void use_bus(const char *address)
{
	setenv(geteuid() == 0 ? "DBUS_SYSTEM_BUS_ADDRESS" : "DBUS_SESSION_BUS_ADDRESS", address, 1);
}

START_TEST(scope_holds_the_process_and_is_delegated)
{
	struct scope scope = scope_new(sleeper());
	char *own = strdup(read_text("/proc/self/cgroup")), *controllers;
	struct stat st;

	must_get(&scope);
	ck_assert_str_eq(strrchr(scope.path, '/') + 1, scope.name);
	must_be_in(scope.pid, &scope, "");
	ck_assert_str_eq(own, read_text("/proc/self/cgroup"));
	ck_assert_int_eq(stat(in(&scope, ""), &st), 0);
	ck_assert_uint_eq(st.st_uid, geteuid());
	controllers = read_text(in(&scope, "cgroup.controllers"));
	for (const char **name = (const char *[]){ "memory", "pids", "cpu", NULL }; *name; name++)
		ck_assert_msg(strstr(controllers, *name) != NULL, "no %s: %s", *name, controllers);

	ck_assert_int_eq(mkdir(in(&scope, "inner"), 0755), 0);
	ck_assert_int_eq(mkdir(in(&scope, "limited"), 0755), 0);
	number_into(in(&scope, "inner/cgroup.procs"), scope.pid);
	write_text(in(&scope, "cgroup.subtree_control"), "+memory +pids +cpu");
	write_text(in(&scope, "limited/memory.max"), "10000000");
	write_text(in(&scope, "limited/pids.max"), "10");
	write_text(in(&scope, "limited/cpu.max"), "50000 100000");
	number_into(in(&scope, "limited/cgroup.procs"), scope.pid);
	must_be_in(scope.pid, &scope, "/limited");

	reap(scope.pid);
	must_be_gone(&scope);
	free(own);
}
END_TEST

START_TEST(scope_may_hold_the_caller)
{
	struct scope scope = scope_new(getpid());

	must_get(&scope);
	must_be_in(getpid(), &scope, "");
}
END_TEST

START_TEST(name_that_is_taken_is_refused)
{
	struct scope first = scope_new(sleeper()), second = scope_new(sleeper());

	must_get(&first);
	strcpy(second.name, first.name);
	must_fail(&second, EEXIST, "StartTransientUnit: ");
	must_be_in(first.pid, &first, "");
	reap(first.pid);
	reap(second.pid);
	must_be_gone(&first);
}
END_TEST

START_TEST(process_that_is_gone_is_an_error)
{
	struct scope scope = scope_new(sleeper());

	reap(scope.pid);
	must_fail(&scope, ESRCH, "StartTransientUnit: ");
}
END_TEST

START_TEST(path_that_is_too_long_is_an_error)
{
	struct scope scope = scope_new(sleeper());
	char path[8] = "before";

	ck_assert_int_eq(cgroup_systemd_scope(scope.name, scope.pid, path, sizeof(path), scope.why, sizeof(scope.why)),
			 -ENAMETOOLONG);
	ck_assert_str_eq(path, "before");
	reap(scope.pid);
}
END_TEST

static void *ask_thrice(void *arg)
{
	for (int i = 0; i < 3; i++) {
		struct scope scope = scope_new(sleeper());

		must_get(&scope);
		must_be_in(scope.pid, &scope, "");
		reap(scope.pid);
		must_be_gone(&scope);
	}
	return arg;
}

static int count_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	int count = 0;

	while ((entry = readdir(tasks)))
		count += entry->d_name[0] != '.';
	closedir(tasks);
	return count;
}

/* A process that sleeps is the child of a thread here, whose end it would not survive: each reaps its own. */
START_TEST(threads_may_call_at_once)
{
	pthread_t threads[4];
	int tries = 1000;

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_thrice, NULL), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	while (count_threads() > 1 && tries-- > 0) /* the kernel's list is a bit late */
		usleep(1000);
	ck_assert_int_eq(count_threads(), 1);
}
END_TEST

static volatile sig_atomic_t signals;

static void count_signal(int sig)
{
	(void)sig;
	signals++;
}

START_TEST(signals_of_the_host_do_not_matter)
{
	struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = count_signal }, before, after;
	struct scope scope = scope_new(sleeper());

	sigaction(SIGPIPE, NULL, &before);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	must_get(&scope);
	setitimer(ITIMER_REAL, &never, NULL);
	ck_assert_int_gt(signals, 0);
	sigaction(SIGPIPE, NULL, &after);
	ck_assert(before.sa_handler == after.sa_handler);
	reap(scope.pid);
	must_be_gone(&scope);
}
END_TEST

START_TEST(host_without_stdio_still_has_none)
{
	struct scope scope = scope_new(sleeper());
	int saved[3], r;

	for (int fd = 0; fd < 3; fd++) {
		saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
		close(fd);
	}
	r = ask(&scope);
	for (int fd = 0; fd < 3; fd++) {
		int flags = fcntl(fd, F_GETFD);

		dup2(saved[fd], fd);
		close(saved[fd]);
		ck_assert_int_eq(flags, -1);
	}
	ck_assert_msg(r == 0, "%d, %s", r, scope.why);
	reap(scope.pid);
	must_be_gone(&scope);
}
END_TEST

START_TEST(connection_of_the_host_is_not_disturbed)
{
	void *library = dlopen("libsystemd.so.0", RTLD_NOW), *bus;
	int (*open_default)(void **) = (int (*)(void **))dlsym(
		library, geteuid() == 0 ? "sd_bus_default_system" : "sd_bus_default_user");
	int (*is_open)(void *) = (int (*)(void *))dlsym(library, "sd_bus_is_open");
	int (*flush)(void *) = (int (*)(void *))dlsym(library, "sd_bus_flush");
	void *(*flush_close_unref)(void *) = (void *(*)(void *))dlsym(library, "sd_bus_flush_close_unref");
	struct scope scope = scope_new(sleeper());

	ck_assert_int_ge(open_default(&bus), 0);
	must_get(&scope);
	ck_assert_int_gt(is_open(bus), 0);
	ck_assert_int_ge(flush(bus), 0);
	flush_close_unref(bus);
	reap(scope.pid);
	must_be_gone(&scope);
}
END_TEST

START_TEST(user_bus_is_found_without_the_environment)
{
	struct scope scope = scope_new(sleeper());

	unsetenv("XDG_RUNTIME_DIR");
	unsetenv("DBUS_SESSION_BUS_ADDRESS");
	must_get(&scope);
	reap(scope.pid);
	must_be_gone(&scope);
}
END_TEST

/* This program again, with a file of that name for its libsystemd: see main(). */
static void with_library(const char *target, const char *why)
{
	const char *path = getenv("LD_LIBRARY_PATH");
	char first[8192];
	int status;
	pid_t pid;

	snprintf(first, sizeof(first), "%s%s%s", scratch(NULL), path ? ":" : "", path ? path : "");
	ck_assert_int_eq(symlink(target, scratch("libsystemd.so.0")), 0);
	pid = fork();
	if (pid == 0) {
		setenv("LD_LIBRARY_PATH", first, 1);
		execl("/proc/self/exe", "systemd_test", why, NULL);
		_exit(99);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

static int without_libsystemd(const char *why)
{
	char path[8] = "", seen[256] = "";

	for (int i = 0; i < 2; i++)
		if (cgroup_systemd_scope("guest-test.scope", getpid(), path, sizeof(path), seen, sizeof(seen)) !=
			    -ENOSYS ||
		    strncmp(seen, why, strlen(why)) != 0 || path[0])
			return printf("%s\n", seen), 1;
	return 0;
}

START_TEST(without_libsystemd_that_is_said)
{
	with_library("/dev/null", "no libsystemd.so.0");
}
END_TEST

START_TEST(libsystemd_that_lacks_functions_is_not_used)
{
	Dl_info libc;

	ck_assert_int_ne(dladdr(dlsym(RTLD_DEFAULT, "printf"), &libc), 0);
	with_library(libc.dli_fname, "no sd_bus_");
}
END_TEST

START_TEST(without_a_bus_that_is_said)
{
	struct scope scope = scope_new(sleeper());

	if (geteuid() == 0)
		setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere", 1);
	else
		setenv("XDG_RUNTIME_DIR", scratch(NULL), 1);
	must_fail(&scope, ENOENT, geteuid() == 0 ? "no system bus: " : "no user bus: ");
	reap(scope.pid);
}
END_TEST

START_TEST(address_that_is_none_is_an_error)
{
	struct scope scope = scope_new(sleeper());

	use_bus("nonsense");
	must_fail(&scope, ECONNREFUSED, "no ");
	reap(scope.pid);
}
END_TEST

START_TEST(bus_without_a_manager_is_an_error)
{
	struct scope scope = scope_new(sleeper());
	char address[300];
	pid_t daemon;

	snprintf(address, sizeof(address), "unix:path=%s", scratch("bus"));
	daemon = fork();
	if (daemon == 0) {
		char option[320];

		snprintf(option, sizeof(option), "--address=%s", address);
		execlp("dbus-daemon", "dbus-daemon", "--session", "--nofork", "--nopidfile", option, NULL);
		_exit(99);
	}
	while (access(scratch("bus"), F_OK) < 0)
		usleep(10000);
	use_bus(address);
	ask(&scope);
	printf("%s\n", scope.why);
	ck_assert_msg(strncmp(scope.why, "StartTransientUnit: ", 20) == 0, "%s", scope.why);
	reap(scope.pid);
	reap(daemon);
}
END_TEST

START_TEST(bus_that_hangs_up_is_an_error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct scope scope = scope_new(sleeper());
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t begin = now_ns();
	char text[300];
	pid_t server;

	strcpy(address.sun_path, scratch("bus"));
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 5), 0);
	server = fork();
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			close(accept(listener, NULL, NULL));
	}
	close(listener);
	snprintf(text, sizeof(text), "unix:path=%s", address.sun_path);
	use_bus(text);
	for (int i = 0; i < 50; i++) /* where it is noticed is a race */
		ck_assert_int_lt(ask(&scope), 0);
	ck_assert_uint_lt(now_ns() - begin, 9 * SECOND);
	printf("%s\n", scope.why);
	reap(scope.pid);
	reap(server);
}
END_TEST

/* Stop what is named in the environment, and ask. */
static void ask_in_vain(const char *variable)
{
	struct scope scope = scope_new(sleeper());
	pid_t stopped = atoi(getenv(variable));
	uint64_t begin = now_ns();

	ck_assert_int_eq(kill(stopped, SIGSTOP), 0);
	ask(&scope);
	reap(scope.pid);
	ck_assert_int_eq(kill(stopped, SIGCONT), 0);
	printf("%s\n", scope.why);
	ck_assert_msg(strncmp(scope.why, "StartTransientUnit: ", 20) == 0, "%s", scope.why);
	ck_assert_uint_ge(now_ns() - begin, 9 * SECOND);
	ck_assert_uint_lt(now_ns() - begin, 15 * SECOND);
}

START_TEST(manager_that_does_not_answer_is_not_waited_for)
{
	ask_in_vain("GUEST_TEST_MANAGER");
}
END_TEST

START_TEST(bus_that_does_not_answer_is_not_waited_for)
{
	ask_in_vain("GUEST_TEST_BUS");
}
END_TEST

/*
 * A process in new namespaces, with the same user id, asks for itself. It drops its capabilities: with cpuset on, who
 * moves a process must have those that it has, or rights in its user namespace, which a manager beside it has not.
 */
static void fail_in_namespaces(int flags, int errnum, const char *why)
{
	uid_t uid = geteuid();
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char map[32];

		snprintf(map, sizeof(map), "%u %u 1", uid, uid);
		ck_assert_int_eq(unshare(CLONE_NEWUSER | flags), 0);
		write_text("/proc/self/uid_map", map);
		pid = fork();
		if (pid == 0) {
			const struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
			const struct __user_cap_data_struct none[2] = { 0 };
			struct scope scope = scope_new(getpid());

			ck_assert_int_eq(sys_capset(&header, none), 0);
			must_fail(&scope, errnum, why);
			fflush(stdout);
			_exit(0);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		_exit(status != 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

START_TEST(manager_outside_of_the_pid_namespace_is_not_asked)
{
	fail_in_namespaces(CLONE_NEWPID, ENOTSUP, "the ");
}
END_TEST

START_TEST(manager_outside_of_the_cgroup_namespace_is_an_error)
{
	fail_in_namespaces(CLONE_NEWCGROUP, EXDEV, "process ");
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("systemd");
	TCase *tcase = suite_case(suite, "scope", 60);

	tcase_add_test(tcase, scope_holds_the_process_and_is_delegated);
	tcase_add_test(tcase, scope_may_hold_the_caller);
	tcase_add_test(tcase, name_that_is_taken_is_refused);
	tcase_add_test(tcase, process_that_is_gone_is_an_error);
	tcase_add_test(tcase, path_that_is_too_long_is_an_error);
	tcase_add_test(tcase, threads_may_call_at_once);
	tcase_add_test(tcase, signals_of_the_host_do_not_matter);
	tcase_add_test(tcase, host_without_stdio_still_has_none);
	tcase_add_test(tcase, connection_of_the_host_is_not_disturbed);
	if (geteuid() != 0)
		tcase_add_test(tcase, user_bus_is_found_without_the_environment);
	tcase = suite_case(suite, "none", 60);
	tcase_add_test(tcase, without_libsystemd_that_is_said);
	tcase_add_test(tcase, libsystemd_that_lacks_functions_is_not_used);
	tcase_add_test(tcase, without_a_bus_that_is_said);
	tcase_add_test(tcase, address_that_is_none_is_an_error);
	tcase_add_test(tcase, bus_without_a_manager_is_an_error);
	tcase_add_test(tcase, bus_that_hangs_up_is_an_error);
	tcase_add_test(tcase, manager_that_does_not_answer_is_not_waited_for);
	tcase_add_test(tcase, bus_that_does_not_answer_is_not_waited_for);
	tcase_add_test(tcase, manager_outside_of_the_pid_namespace_is_not_asked);
	tcase_add_test(tcase, manager_outside_of_the_cgroup_namespace_is_an_error);
	return suite;
}

static int run_suite(void)
{
	SRunner *runner = srunner_create(make_suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}

int main(int argc, char **argv)
{
	if (argc == 2)
		return without_libsystemd(argv[1]);
	if (!getenv("GUEST_TEST_MANAGER")) {
		printf("SKIP: not below tests/vm/with-systemd-user\n");
		return getenv("GUEST_TEST_MUST_WORK") ? 1 : 77;
	}
	return invariants_run(run_suite);
}
