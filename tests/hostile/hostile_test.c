// SPDX-License-Identifier: MIT
/* Runs the attacks of attacks/, and those that need the host's part: a terminal, a listening socket, other runs. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

/* Attacks that must be refused whole, as whoever commands run and however the guest is configured. */
static const char *const refused[] = {
	"ptrace_init", "proc_init",	"proc_init_files", "signal_init", "sched_init", "namespaces", "markers",
	"mounts",      "mknod",		"devices",	   "setns",	  "syscalls",	"abi32",      "proc_leaks",
	"fds",	       "inherited_fds", "exe",		   "privileges",  "network",	"keys",	      "trace_exit",
	"own_world",   "leave_root",	"pipe_lock",	   "host_quotas", "core",
	"word",
};

#define REFUSED_COUNT ((int)(sizeof(refused) / sizeof(refused[0])))

static void must_be_refused(struct guest *guest, const char *name, const char *const *argv)
{
	struct guest_command command = command_of(argv);
	struct guest_result result;

	command.timeout_ns = 60 * SECOND;
	run(guest, &command, &result);
	ck_assert_msg(result.cause == GUEST_EXITED && result.exit_code == 0, "%s: %s, exit code %d, signal %d\n%s%s",
		      name, guest_cause_name(result.cause), result.exit_code, result.term_signal, result.stdout_data,
		      result.stderr_data);
	guest_result_clear(&result);
	expect_alive(guest);
}

/* Each in a guest of its own, which is ended before the next. */
static void must_all_be_refused(const char *const *names, const struct guest_config *config)
{
	for (size_t i = 0; names[i]; i++) {
		struct guest *guest = guest_with_attack(names[i], *config);

		must_be_refused(guest, names[i], ARGV("/opt/attack"));
		guest_end(guest);
	}
}

START_TEST(attack_is_refused_to_root)
{
	must_be_refused(guest_with_attack(refused[_i], config_default()), refused[_i], ARGV("/opt/attack"));
}
END_TEST

START_TEST(attack_is_refused_to_other_users)
{
	struct guest_config config = config_default();

	config.uid = config.gid = 1000;
	must_be_refused(guest_with_attack(refused[_i], config), refused[_i], ARGV("/opt/attack"));
}
END_TEST

START_TEST(attack_is_refused_to_all_capabilities)
{
	struct guest_config config = config_default();

	config.capabilities = "all=ep";
	must_all_be_refused(ARGV("ptrace_init", "proc_init_files", "signal_init", "namespaces", "markers", "mounts",
				 "devices", "setns", "syscalls", "abi32", "mknod", "keys", "trace_exit", "pipe_lock",
				 "host_quotas", "core", "word"),
			    &config);
}
END_TEST

START_TEST(root_cannot_be_left_by_who_may_chroot)
{
	struct guest_config config = config_default();

	for (int filter = 0; filter < 2; filter++) {
		config.flags = filter ? 0 : GUEST_NO_SECCOMP;
		config.capabilities = "cap_sys_chroot,cap_dac_override=ep";
		must_all_be_refused(ARGV("leave_root"), &config);
		config.capabilities = "all=ep";
		must_all_be_refused(ARGV("leave_root"), &config);
	}
}
END_TEST

START_TEST(attack_is_refused_without_the_filter)
{
	struct guest_config config = config_default();

	config.flags = GUEST_NO_SECCOMP;
	must_all_be_refused(ARGV("ptrace_init", "proc_init", "proc_init_files", "signal_init", "sched_init", "markers",
				 "mounts", "devices", "abi32", "mknod", "keys", "trace_exit", "own_world", "pipe_lock",
				 "core"),
			    &config);
}
END_TEST

START_TEST(attack_is_refused_without_the_filter_and_with_all_capabilities)
{
	struct guest_config config = config_default();

	config.flags = GUEST_NO_SECCOMP;
	config.capabilities = "all=ep";
	must_all_be_refused(ARGV("ptrace_init", "proc_init_files", "signal_init", "markers", "devices", "abi32", "mknod",
				 "keys", "trace_exit", "pipe_lock", "core"),
			    &config);
}
END_TEST

/* Where stdin is a pipe, which the guest's holder feeds. */
START_TEST(locks_of_pipes_cannot_be_kept_from_the_holder)
{
	static char data[3 << 20];
	struct guest *guest = guest_with_attack("pipe_lock", config_default());
	struct guest_command command = command_of(ARGV("/opt/attack"));
	struct guest_result result;

	command.stdin_data = data;
	command.stdin_size = sizeof(data);
	command.timeout_ns = 60 * SECOND;
	run(guest, &command, &result);
	ck_assert_msg(result.cause == GUEST_EXITED && result.exit_code == 0, "%s", result.stdout_data);
	guest_result_clear(&result);
	expect_alive(guest);
}
END_TEST

START_TEST(keys_of_the_host_cannot_be_read)
{
	struct guest_config config = config_default();
	char name[32];
	long keyring, key;

	snprintf(name, sizeof(name), "hostile-test-%d", getpid());
	keyring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	SKIP_IF(keyring < 0 && errno == ENOSYS, "this kernel has no keys");
	key = syscall(SYS_add_key, "user", name, "secret", 6, KEY_SPEC_SESSION_KEYRING);
	ck_assert_int_gt(key, 0);
	config.flags = GUEST_NO_SECCOMP;
	must_be_refused(guest_with_attack("keys", config), "keys", ARGV("/opt/attack", name));
	syscall(SYS_keyctl, KEYCTL_UNLINK, key, KEY_SPEC_SESSION_KEYRING);
}
END_TEST

START_TEST(set_user_id_files_of_the_rootfs_give_nothing)
{
	struct guest_config config = config_default();
	char command[1024];

	tiny_rootfs();
	snprintf(command, sizeof(command), "cp %s %s/bin/attack && chmod 4755 %s/bin/attack && tar -C %s -cf %s .",
		 test_program("set_user_id"), scratch("root"), scratch("root"), scratch("root"), scratch("root.tar"));
	on_host(command);
	config.rootfs_path = scratch("root.tar");
	config.uid = config.gid = 1000;
	must_be_refused(guest_with(&config), "set_user_id", ARGV("/bin/attack", "1000"));
	config.uid = config.gid = 0;
	must_be_refused(guest_with(&config), "set_user_id", ARGV("/bin/attack", "0"));
}
END_TEST

START_TEST(nested_namespaces_are_closed_without_the_filter)
{
	struct guest_config config = config_default();
	struct guest *guest;

	config.flags = GUEST_NO_SECCOMP;
	guest = guest_with(&config);
	expect_shell(guest, "cat /proc/sys/user/max_user_namespaces; (echo 9 >/proc/sys/user/max_user_namespaces)"
			    " 2>/dev/null || echo kept", "0\nkept\n");
}
END_TEST

START_TEST(kill_of_everybody_ends_the_run_only)
{
	struct guest *guest = guest_with_attack("kill_all", config_default());

	for (int i = 0; i < 20; i++) {
		struct guest_result result;

		run_argv(guest, ARGV("/opt/attack"), &result);
		ck_assert_uint_eq(result.cause, GUEST_SIGNALED);
		ck_assert_int_eq(result.term_signal, SIGKILL);
		guest_result_clear(&result);
		expect_alive(guest);
	}
}
END_TEST

static int listen_on_loopback(int *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static int listen_on_abstract(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path + 1, name);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	return fd;
}

START_TEST(sockets_of_the_host_cannot_be_reached)
{
	int port, tcp = listen_on_loopback(&port), local;
	char text[16], name[32];

	snprintf(name, sizeof(name), "hostile-test-%d", getpid());
	local = listen_on_abstract(name);
	snprintf(text, sizeof(text), "%d", port);
	must_be_refused(guest_with_attack("network", config_default()), "network", ARGV("/opt/attack", text, name));
	close(tcp);
	close(local);
}
END_TEST

static int open_terminal(int *ret_slave)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		return -1;
	*ret_slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	return master;
}

/* A host with a controlling terminal, in a session of its own. Returns what it exits with. */
static int be_on_terminal(const char *program)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, program, "/opt/attack", "ro");
	struct guest_command command = command_of(ARGV("/opt/attack"));
	struct guest_result result = { .size = sizeof(result) };
	struct guest_config config = config_default();
	int slave = -1, master, waiting = -1;
	struct guest *guest;

	setsid();
	master = open_terminal(&slave);
	if (master < 0 || slave < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
		return 77;
	command.stdin_fd = slave;
	config.mounts = &mount;
	config.mounts_count = 1;
	if (guest_init(&guest, &config, NULL) < 0 || guest_run(guest, &command, &result, NULL) < 0)
		return 2;
	printf("%s", result.stdout_data);
	fflush(stdout);
	guest_shutdown(guest, NULL);
	return result.exit_code == 0 && ioctl(slave, FIONREAD, &waiting) == 0 && waiting == 0 ? 0 : 1;
}

START_TEST(terminal_of_the_host_gets_no_input)
{
	const char *program = test_program("terminal");
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(be_on_terminal(program));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	SKIP_IF(WIFEXITED(status) && WEXITSTATUS(status) == 77, "no pseudo-terminals");
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned int)status);
}
END_TEST

struct quotas {
	struct guest *guests[2]; /* the hostile one, and another */
	int problem;
};

static int use_quotas(void *user_data, uint32_t stream, const void *data, size_t size)
{
	struct guest_command command = command_of(ARGV("/bin/tool", "echo"));
	struct quotas *quotas = user_data;
	int fd, ends[2], *problem = &quotas->problem;
	timer_t timer; /* it needs a queued signal of its own */

	(void)stream, (void)data, (void)size;
	fd = inotify_init1(IN_CLOEXEC);
	*problem |= fd < 0 ? 1 : 0;
	*problem |= inotify_add_watch(fd, "/", IN_DELETE_SELF) < 0 ? 16 : 0;
	close(fd);
	*problem |= pipe2(ends, O_CLOEXEC) < 0 ? 2 : 0;
	/* a pipe of one page is what a user gets who has too many */
	*problem |= fcntl(ends[0], F_GETPIPE_SZ) < 65536 ? 4 : 0;
	close(ends[0]);
	close(ends[1]);
	if (timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0)
		timer_delete(timer);
	else
		*problem |= 8;
	for (int i = 0; i < 2; i++) {
		struct guest_result result = { .size = sizeof(result) };

		if (guest_run(quotas->guests[i], &command, &result, NULL) != 0 || result.exit_code != 0)
			*problem |= 32 << i;
		guest_result_clear(&result);
	}
	return 1;
}

START_TEST(quotas_of_the_hosts_user_are_not_used_up)
{
	struct guest_command command = command_of(ARGV("/opt/attack", "ready"));
	struct quotas quotas = { .guests[0] = guest_with_attack("quotas", config_default()) };
	struct guest_result result;

	quotas.guests[1] = guest_with_attack("quotas", config_default());
	command.on_output = use_quotas;
	command.user_data = &quotas;
	command.timeout_ns = 60 * SECOND;
	run(quotas.guests[0], &command, &result);
	ck_assert_uint_eq(result.cause, GUEST_CANCELLED);
	ck_assert_msg((quotas.problem & 1) == 0, "the host gets no inotify instance");
	ck_assert_msg((quotas.problem & 2) == 0, "the host gets no pipe");
	ck_assert_msg((quotas.problem & 8) == 0, "the host can queue no signal");
	ck_assert_msg((quotas.problem & 16) == 0, "the host gets no inotify watch");
	ck_assert_msg((quotas.problem & 32) == 0, "the guest itself runs no other command");
	ck_assert_msg((quotas.problem & 64) == 0, "another guest runs no command");
	if (quotas.problem & 4)
		printf("NOTE %s: pipes of the host's user are small meanwhile\n", __func__);
	guest_result_clear(&result);
	expect_alive(quotas.guests[0]);
}
END_TEST

struct terminals {
	struct guest *other;
	int taken;
	bool one_left;
};

static int open_one_terminal(void *user_data, uint32_t stream, const void *data, size_t size)
{
	struct guest_command command = command_of(ARGV("/opt/attack", "one"));
	struct guest_result result = { .size = sizeof(result) };
	struct terminals *terminals = user_data;
	char text[16] = "";

	(void)stream;
	memcpy(text, data, size < sizeof(text) ? size : sizeof(text) - 1);
	terminals->taken = atoi(text);
	terminals->one_left = guest_run(terminals->other, &command, &result, NULL) == 0 && result.exit_code == 0;
	guest_result_clear(&result);
	return 1;
}

START_TEST(pseudo_terminals_are_left_to_other_guests)
{
	struct guest_command command = command_of(ARGV("/opt/attack", "all"));
	struct guest *guest = guest_with_attack("terminals", config_default());
	struct terminals terminals = { .other = guest_with_attack("terminals", config_default()) };
	struct guest_result result;

	command.on_output = open_one_terminal;
	command.user_data = &terminals;
	command.timeout_ns = 60 * SECOND;
	run(guest, &command, &result);
	ck_assert_int_gt(terminals.taken, 0);
	ck_assert_msg(terminals.one_left, "none after %d", terminals.taken);
	guest_result_clear(&result);
}
END_TEST

struct stopper {
	struct guest *guest;
	pthread_t thread;
};

static void *stop_all(void *argument)
{
	struct stopper *stopper = argument;
	struct guest_command command = command_of(ARGV("/opt/attack", "3000"));
	struct guest_result result = { .size = sizeof(result) };

	if (guest_run(stopper->guest, &command, &result, NULL) == 0)
		guest_result_clear(&result);
	return NULL;
}

START_TEST(commands_start_while_everybody_is_being_stopped)
{
	struct stopper stopper = { .guest = guest_with_attack("stop_all", config_default()) };
	struct guest_command command = command_of(ARGV("/bin/tool", "echo"));
	uint64_t start = now_ns();
	int ended = 0;

	ck_assert_int_eq(pthread_create(&stopper.thread, NULL, stop_all, &stopper), 0);
	command.timeout_ns = 500 * MILLISECOND; /* once it has begun it may be stopped for good */
	while (now_ns() - start < 3 * SECOND) {
		struct guest_result result;

		run(stopper.guest, &command, &result);
		ended += result.cause == GUEST_EXITED || result.cause == GUEST_TIMED_OUT;
		guest_result_clear(&result);
	}
	pthread_join(stopper.thread, NULL);
	ck_assert_int_gt(ended, 0);
	expect_alive(stopper.guest);
}
END_TEST

START_TEST(working_directory_cannot_lead_out)
{
	static const char *const places[] = { "/proc/self/fd/0", "/proc/self/fd/0/..", "/proc/1/cwd", "/proc/1/root",
					      "/proc/self/cwd/../../..", "/../../..", "/link" };
	struct guest *guest = guest_with(NULL);
	int fd = open("/", O_RDONLY | O_DIRECTORY);

	expect_shell(guest, "ln -s /proc/self/fd/3 /link; touch /here", "");
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct guest_command command = command_of(SHELL("cat /proc/1/comm; ls -d /here"));
		struct guest_result result = { .size = sizeof(result) };

		command.cwd = places[i];
		if (guest_run(guest, &command, &result, NULL) == 0)
			ck_assert_str_eq(result.stdout_data, "guest-holder\n/here\n");
		guest_result_clear(&result);
	}
	close(fd);
}
END_TEST

static Suite *make(void)
{
	Suite *suite = suite_create("hostile");
	TCase *tcase = suite_case(suite, "refused", 90);

	tcase_add_loop_test(tcase, attack_is_refused_to_root, 0, REFUSED_COUNT);
	tcase_add_loop_test(tcase, attack_is_refused_to_other_users, 0, REFUSED_COUNT);
	tcase_add_test(tcase, attack_is_refused_to_all_capabilities);
	tcase_add_test(tcase, root_cannot_be_left_by_who_may_chroot);
	tcase_add_test(tcase, attack_is_refused_without_the_filter);
	tcase_add_test(tcase, attack_is_refused_without_the_filter_and_with_all_capabilities);
	tcase_add_test(tcase, locks_of_pipes_cannot_be_kept_from_the_holder);
	tcase_add_test(tcase, keys_of_the_host_cannot_be_read);
	tcase_add_test(tcase, set_user_id_files_of_the_rootfs_give_nothing);
	tcase_add_test(tcase, nested_namespaces_are_closed_without_the_filter);
	tcase = suite_case(suite, "harmless", 90);
	tcase_add_test(tcase, kill_of_everybody_ends_the_run_only);
	tcase_add_test(tcase, sockets_of_the_host_cannot_be_reached);
	tcase_add_test(tcase, terminal_of_the_host_gets_no_input);
	tcase_add_test(tcase, quotas_of_the_hosts_user_are_not_used_up);
	tcase_add_test(tcase, pseudo_terminals_are_left_to_other_guests);
	tcase_add_test(tcase, commands_start_while_everybody_is_being_stopped);
	tcase_add_test(tcase, working_directory_cannot_lead_out);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
