// SPDX-License-Identifier: MIT
/* What a guest_config asks for, seen from inside; and the plain userland that one without wishes gets. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support.h"

static const char all_sets[] = "grep ^Cap /proc/self/status";

static void expect_capabilities(const struct guest_config *config, const char *inheritable, const char *permitted,
				const char *bounding, const char *ambient)
{
	struct guest *guest = guest_with(config);
	char wanted[256];

	snprintf(wanted, sizeof(wanted), "CapInh:\t%s\nCapPrm:\t%s\nCapEff:\t%s\nCapBnd:\t%s\nCapAmb:\t%s\n",
		 inheritable, permitted, permitted, bounding, ambient);
	expect_shell(guest, all_sets, wanted);
	guest_end(guest);
}

#define NO_CAPABILITY "0000000000000000"
/* chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service */
#define DEFAULT_CAPABILITIES "00000000000005fb"

START_TEST(root_has_the_documented_capabilities)
{
	expect_capabilities(NULL, NO_CAPABILITY, DEFAULT_CAPABILITIES, DEFAULT_CAPABILITIES, NO_CAPABILITY);
}
END_TEST

START_TEST(other_users_have_no_capability)
{
	struct guest_config config = config_default();

	config.uid = config.gid = 1000;
	expect_capabilities(&config, NO_CAPABILITY, NO_CAPABILITY, NO_CAPABILITY, NO_CAPABILITY);
}
END_TEST

START_TEST(capabilities_can_be_chosen)
{
	struct guest_config config = config_default();

	config.capabilities = "cap_chown,cap_kill=ep";
	expect_capabilities(&config, NO_CAPABILITY, "0000000000000021", "0000000000000021", NO_CAPABILITY);
	config.capabilities = "=";
	expect_capabilities(&config, NO_CAPABILITY, NO_CAPABILITY, NO_CAPABILITY, NO_CAPABILITY);
}
END_TEST

START_TEST(other_users_keep_chosen_capabilities_over_exec)
{
	struct guest_config config = config_default();

	config.uid = 1000;
	config.capabilities = "cap_chown=ep";
	expect_capabilities(&config, "0000000000000001", "0000000000000001", "0000000000000001",
			    "0000000000000001");
}
END_TEST

START_TEST(capabilities_that_make_no_sense_are_refused)
{
	struct guest_config config = config_default();
	struct guest_error err;

	config.capabilities = "cap_fly=ep";
	ck_assert_int_eq(init_fails(&config, &err), -EINVAL);
	ck_assert_int_eq(err.stage, GUEST_STAGE_CONFIG);
}
END_TEST

START_TEST(commands_run_as_root_by_default)
{
	expect_shell(guest_with(NULL), "id -u; id -g; id -un; echo ~; touch /etc/x && stat -c %u:%g /etc/x",
		     "0\n0\nroot\n/root\n0:0\n");
}
END_TEST

START_TEST(commands_run_as_whom_the_caller_says)
{
	struct guest_config config = config_default();

	config.uid = 1000;
	config.gid = 1001;
	expect_shell(guest_with(&config),
		     "id -u; id -g; id -G | tr ' ' '\\n' | grep -v 65534; touch /tmp/x && stat -c %u:%g /tmp/x;"
		     "(echo one >/dev/stdout)",
		     "1000\n1001\n1001\n1000:1001\none\n");
}
END_TEST

START_TEST(other_users_cannot_change_the_rootfs)
{
	struct guest_config config = config_default();

	config.uid = config.gid = 1000;
	/* with a single id there is one owner of everything */
	expect_shell(guest_with(&config), "[ -O /etc ] || touch /etc/x /bin/sh 2>/dev/null || echo refused >&2; "
					  "[ -O /etc ] || [ ! -e /etc/x ] && echo fine", "fine\n");
}
END_TEST

START_TEST(ids_that_are_not_mapped_are_refused_or_work)
{
	struct guest_config config = config_default();
	struct guest_error err = { .size = sizeof(err) };
	struct guest *guest = NULL;
	int r;

	config.uid = 3000000000U;
	r = guest_init(&guest, &config, &err);
	ck_assert_msg(r == 0 || (r == -EINVAL && err.stage == GUEST_STAGE_CONFIG), "%d, %s", r, err.message);
	if (r == 0) {
		expect_shell(guest, "id -u", "3000000000\n");
		guest_end(guest);
	}
}
END_TEST

START_TEST(hostname_is_guest_by_default)
{
	expect_shell(guest_with(NULL), "uname -n; cat /etc/hostname; grep -qw guest /etc/hosts && echo known",
		     "guest\nguest\nknown\n");
}
END_TEST

START_TEST(hostname_can_be_given)
{
	struct guest_config config = config_default();

	config.hostname = "box-7.example";
	expect_shell(guest_with(&config), "uname -n; cat /etc/hostname; grep -qw box-7.example /etc/hosts && echo known",
		     "box-7.example\nbox-7.example\nknown\n");
}
END_TEST

START_TEST(network_is_a_loopback_only_by_default)
{
	struct guest_result result;

	run_shell(guest_with(NULL), "tail -n +3 /proc/net/dev | cut -d: -f1; wc -l </proc/net/route;"
				    "cat /sys/class/net/lo/flags 2>/dev/null", &result);
	ck_assert_int_eq(strncmp(result.stdout_data, "    lo\n1\n", 9), 0);
	guest_result_clear(&result);
}
END_TEST

START_TEST(loopback_is_up)
{
	struct guest *guest = guest_with(NULL);

	/* connection refused, not: network is unreachable */
	struct guest_result result;

	run_argv(guest, ARGV("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9"), &result);
	ck_assert_ptr_nonnull(strstr(result.stderr_data, "refused"));
	guest_result_clear(&result);
}
END_TEST

START_TEST(network_of_the_host_is_shared_on_demand)
{
	struct guest_config config = config_default();
	char host[64] = "", wanted[80];

	config.network = GUEST_NETWORK_HOST;
	ck_assert_int_gt(readlink("/proc/self/ns/net", host, sizeof(host) - 1), 0);
	snprintf(wanted, sizeof(wanted), "%s\n", host);
	expect_shell(guest_with(&config), "readlink /proc/self/ns/net", wanted);
}
END_TEST

START_TEST(resolv_conf_is_the_hosts_with_its_network_only)
{
	struct guest_config config = config_default();
	char host[16384] = "";
	FILE *file = fopen("/etc/resolv.conf", "re");

	if (file) {
		host[fread(host, 1, sizeof(host) - 1, file)] = '\0';
		fclose(file);
	}
	expect_shell(guest_with(NULL), "grep -c nameserver /etc/resolv.conf || true", "0\n");
	config.network = GUEST_NETWORK_HOST;
	expect_shell(guest_with(&config), "cat /etc/resolv.conf", host);
}
END_TEST

START_TEST(writable_bytes_are_the_limit_for_all_that_is_written)
{
	struct guest_config config = config_default();
	struct guest *guest;

	config.writable_bytes = 8 << 20;
	guest = guest_with(&config);
	for (int i = 0; i < 3; i++) {
		static const char *const places[] = { "/root/x", "/tmp/x", "/dev/shm/x" };
		char script[256];

		snprintf(script, sizeof(script),
			 "head -c 16777216 /dev/zero >%s 2>/tmp/err && echo written;"
			 "[ $(stat -c %%s %s) -le 8388608 ] && echo capped; rm %s", places[i], places[i], places[i]);
		expect_shell(guest, script, "capped\n");
	}
	expect_shell(guest, "head -c 5000000 /dev/zero >/tmp/a; head -c 5000000 /dev/zero >/dev/shm/b 2>/dev/null ||"
			    "echo full", "full\n");
}
END_TEST

START_TEST(writable_inodes_are_the_limit_for_files)
{
	struct guest_config config = config_default();
	struct guest *guest;

	config.writable_inodes = 200;
	guest = guest_with(&config);
	expect_shell(guest, "i=0; while [ $i -lt 400 ] && true 2>/dev/null >/tmp/$i; do i=$((i + 1)); done 2>/dev/null;"
			    "[ $i -lt 200 ] && [ $i -gt 100 ] && echo capped", "capped\n");
	expect_shell(guest, "echo on", "on\n");
}
END_TEST

START_TEST(writable_layer_of_a_few_pages_works_or_is_refused)
{
	struct guest_config config = config_default();
	struct guest_error err = { .size = sizeof(err) };
	struct guest *guest = NULL;
	int r;

	for (uint64_t bytes = 1; bytes <= 1 << 20; bytes *= 16) {
		config.writable_bytes = bytes;
		r = guest_init(&guest, &config, &err);
		ck_assert_msg(r == 0 || r == -ENOSPC, "%d, %s", r, err.message);
		if (r == 0) {
			expect_shell(guest, "echo on", "on\n");
			guest_end(guest);
		}
	}
}
END_TEST

START_TEST(limits_that_nothing_enforces_are_refused)
{
	struct guest_config config = config_default();
	struct guest_error err = { .size = sizeof(err) };
	struct guest *guest = NULL;

	config.memory_bytes = 64 << 20;
	int r = guest_init(&guest, &config, &err);

	ck_assert_msg(r == 0 || (r == -EOPNOTSUPP && err.stage == GUEST_STAGE_LIMITS), "%d, %s", r, err.message);
	if (r == 0)
		guest_end(guest);
	config.flags = GUEST_BEST_EFFORT;
	expect_shell(guest_with(&config), "echo on", "on\n");
}
END_TEST

START_TEST(dev_has_the_usual_and_nothing_else)
{
	expect_shell(guest_with(NULL), "ls /dev | tr '\\n' ' '",
		     "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ");
}
END_TEST

START_TEST(devices_work)
{
	expect_shell(guest_with(NULL),
		     "echo x >/dev/null && head -c 3 /dev/zero | wc -c && head -c 3 /dev/urandom | wc -c;"
		     "(echo x >/dev/full) 2>/dev/null || echo full; echo x >/dev/shm/x && cat /dev/shm/x;"
		     "stat -c %t:%T /dev/null; stat -c %a /dev/shm /tmp",
		     "3\n3\nfull\nx\n1:3\n1777\n1777\n");
}
END_TEST

START_TEST(proc_shows_the_guests_processes_only)
{
	expect_shell(guest_with(NULL), "cat /proc/1/comm; echo /proc/[0-9]*", "guest-holder\n/proc/1 /proc/2\n");
}
END_TEST

START_TEST(proc_sys_is_read_only)
{
	expect_shell(guest_with(NULL), "(echo x >/proc/sys/kernel/hostname) 2>&1 | grep -c 'Read-only'; uname -n",
		     "1\nguest\n");
}
END_TEST

START_TEST(sensitive_files_of_proc_tell_nothing)
{
	expect_shell(guest_with(NULL),
		     "for f in kcore keys kallsyms timer_list kmsg; do [ ! -e /proc/$f ] || head -c 1 /proc/$f 2>/dev/null;"
		     "done; (echo b >/proc/sysrq-trigger) 2>/dev/null; echo done", "done\n");
}
END_TEST

START_TEST(commands_cannot_gain_privileges)
{
	expect_shell(guest_with(NULL), "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status",
		     "NoNewPrivs:\t1\nSeccomp:\t2\n");
}
END_TEST

START_TEST(mounts_are_nosuid_and_nodev)
{
	/* but for the device nodes themselves, of which one masks files of /proc */
	expect_shell(guest_with(NULL), "while read -r _ target type options _; do"
				       " [ -c $target ] || echo $type $options; done </proc/self/mounts |"
				       " grep -vE ' [^ ]*,nosuid,nodev|^devpts [^ ]*,nosuid'; true", "");
}
END_TEST

START_TEST(mountinfo_does_not_show_the_host)
{
	expect_shell(guest_with(NULL), "cut -d' ' -f5 /proc/self/mountinfo | grep -vE '^/($|proc|dev|tmp|run)'; true", "");
}
END_TEST

START_TEST(unknown_flags_and_networks_are_refused)
{
	struct guest_config config = config_default();
	struct guest_error err;

	config.flags = 1U << 31;
	ck_assert_int_eq(init_fails(&config, &err), -EINVAL);
	config = config_default();
	config.network = 7;
	ck_assert_int_eq(init_fails(&config, &err), -EINVAL);
	ck_assert_int_eq(err.stage, GUEST_STAGE_CONFIG);
}
END_TEST

START_TEST(config_may_be_freed_after_init)
{
	struct guest_mount *mount = malloc(sizeof(*mount));
	struct guest_config config = config_default();
	char *name = strdup("freed"), *target = strdup("/data");
	struct guest *guest;

	*mount = mount_of(GUEST_MOUNT_TMPFS, NULL, target, "size=1m");
	config.hostname = name;
	config.mounts = mount;
	config.mounts_count = 1;
	guest = guest_with(&config);
	memset(name, 'x', 5);
	memset(target, 'x', 5);
	memset(mount, 0xff, sizeof(*mount));
	free(name);
	free(target);
	free(mount);
	expect_shell(guest, "uname -n; stat -f -c %T /data", "freed\ntmpfs\n");
}
END_TEST

static void add_inside(Suite *suite)
{
	TCase *tcase = suite_case(suite, "inside", 60);

	tcase_add_test(tcase, dev_has_the_usual_and_nothing_else);
	tcase_add_test(tcase, devices_work);
	tcase_add_test(tcase, proc_shows_the_guests_processes_only);
	tcase_add_test(tcase, proc_sys_is_read_only);
	tcase_add_test(tcase, sensitive_files_of_proc_tell_nothing);
	tcase_add_test(tcase, commands_cannot_gain_privileges);
	tcase_add_test(tcase, mounts_are_nosuid_and_nodev);
	tcase_add_test(tcase, mountinfo_does_not_show_the_host);
}

static Suite *make(void)
{
	Suite *suite = suite_create("config");
	TCase *tcase = suite_case(suite, "privileges", 60);

	tcase_add_test(tcase, root_has_the_documented_capabilities);
	tcase_add_test(tcase, other_users_have_no_capability);
	tcase_add_test(tcase, capabilities_can_be_chosen);
	tcase_add_test(tcase, other_users_keep_chosen_capabilities_over_exec);
	tcase_add_test(tcase, capabilities_that_make_no_sense_are_refused);
	tcase_add_test(tcase, commands_run_as_root_by_default);
	tcase_add_test(tcase, commands_run_as_whom_the_caller_says);
	tcase_add_test(tcase, other_users_cannot_change_the_rootfs);
	tcase_add_test(tcase, ids_that_are_not_mapped_are_refused_or_work);
	tcase = suite_case(suite, "names", 60);
	tcase_add_test(tcase, hostname_is_guest_by_default);
	tcase_add_test(tcase, hostname_can_be_given);
	tcase_add_test(tcase, network_is_a_loopback_only_by_default);
	tcase_add_test(tcase, loopback_is_up);
	tcase_add_test(tcase, network_of_the_host_is_shared_on_demand);
	tcase_add_test(tcase, resolv_conf_is_the_hosts_with_its_network_only);
	tcase = suite_case(suite, "limits", 60);
	tcase_add_test(tcase, writable_bytes_are_the_limit_for_all_that_is_written);
	tcase_add_test(tcase, writable_inodes_are_the_limit_for_files);
	tcase_add_test(tcase, writable_layer_of_a_few_pages_works_or_is_refused);
	tcase_add_test(tcase, limits_that_nothing_enforces_are_refused);
	tcase_add_test(tcase, unknown_flags_and_networks_are_refused);
	tcase_add_test(tcase, config_may_be_freed_after_init);
	add_inside(suite);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
