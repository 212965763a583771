// SPDX-License-Identifier: MIT
/*
 * Hosts that lack something or forbid it. Each test is a child that makes its world odd, in namespaces of its own,
 * and then makes a guest: that works, or fails with an error that names the cause.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

/* What became of the child's guest; shared with it. */
struct outcome {
	bool prepared;
	int r;
	struct guest_error err;
	char output[16];
};

/* From here on also root, if only of a user namespace, in mount and user namespaces of one's own. */
static int become_root(bool even_if_root)
{
	unsigned int uid = geteuid(), gid = getegid();
	char text[32];
	int fd;

	if (uid == 0 && !even_if_root)
		return unshare(CLONE_NEWNS) < 0 ? -1 : mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -1;
	fd = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
	(void)!write(fd, "deny", 4);
	close(fd);
	snprintf(text, sizeof(text), "0 %u 1", gid);
	fd = open("/proc/self/gid_map", O_WRONLY | O_CLOEXEC);
	if (write(fd, text, strlen(text)) < 0)
		return -1;
	close(fd);
	snprintf(text, sizeof(text), "0 %u 1", uid);
	fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
	if (write(fd, text, strlen(text)) < 0)
		return -1;
	close(fd);
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int make_temporary_folders_noexec(void)
{
	if (become_root(false) < 0)
		return -1;
	mount("tmp", "/dev/shm", "tmpfs", MS_NOEXEC, NULL);
	mount("tmp", "/var/tmp", "tmpfs", MS_NOEXEC, NULL);
	mount("tmp", "/run", "tmpfs", MS_NOEXEC, NULL);
	return mount("tmp", "/tmp", "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV, NULL);
}

static int fill_temporary_folders(void)
{
	static const char *const folders[] = { "/tmp", "/dev/shm", "/var/tmp", "/run" };

	if (become_root(false) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		char name[32];

		if (mount("tmp", folders[i], "tmpfs", 0, "size=4k,nr_inodes=2,mode=1777") < 0)
			return -1;
		snprintf(name, sizeof(name), "%s/file", folders[i]);
		close(open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	}
	return 0;
}

static int take_dev_shm_away(void)
{
	return become_root(false) < 0 ? -1 : mount("none", "/dev/shm", "tmpfs", MS_RDONLY, "mode=000");
}

static int make_all_but_proc_read_only(void)
{
	struct mount_attr set = { .attr_set = MOUNT_ATTR_RDONLY }, clear = { .attr_clr = MOUNT_ATTR_RDONLY };

	if (become_root(false) < 0 || mount("/proc", "/proc", NULL, MS_BIND | MS_REC, NULL) < 0 ||
	    syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &set, sizeof(set)) < 0)
		return -1;
	return (int)syscall(SYS_mount_setattr, AT_FDCWD, "/proc", 0, &clear, sizeof(clear));
}

static int take_cgroups_away(void)
{
	return become_root(false) < 0 ? -1 : mount("none", "/sys", "tmpfs", MS_RDONLY, NULL);
}

static int take_proc_away(void)
{
	return become_root(false) < 0 ? -1 : mount("none", "/proc", "tmpfs", MS_RDONLY, NULL);
}

static int mask_proc(void)
{
	return become_root(false) < 0 ? -1 : mount("/dev/null", "/proc/version", NULL, MS_BIND, NULL);
}

static int allow_one_cpu(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	return sched_setaffinity(0, sizeof(one), &one);
}

static int allow_no_user_namespaces(void)
{
	int fd, r;

	if (become_root(true) < 0)
		return -1;
	fd = open("/proc/sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC);
	r = write(fd, "0", 1) == 1 ? 0 : -1;
	close(fd);
	return r;
}

static int enter_chroot(void)
{
	if (become_root(false) < 0 || mount("/", "/mnt", NULL, MS_BIND | MS_REC, NULL) < 0)
		return -1;
	return chroot("/mnt");
}

/* A filter that answers these system calls, if all bits of `flags` are in their first argument, with an errno. */
struct refusal {
	long number;
	uint32_t flags;
	int errnum;
};

static int refuse(const struct refusal *refusals, size_t count)
{
	struct sock_filter filter[32] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)) };
	struct sock_fprog program = { .len = 1, .filter = filter };

	for (size_t i = 0; i < count; i++) {
		const struct sock_filter one[] = {
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)refusals[i].number, 0, 5),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
			BPF_STMT(BPF_ALU | BPF_AND | BPF_K, refusals[i].flags),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refusals[i].flags, 0, 1),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)refusals[i].errnum),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		};

		memcpy(filter + program.len, one, sizeof(one));
		program.len += sizeof(one) / sizeof(one[0]);
	}
	filter[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

#define REFUSE(...) refuse((const struct refusal[]){ __VA_ARGS__ }, \
			   sizeof((const struct refusal[]){ __VA_ARGS__ }) / sizeof(struct refusal))

static int be_in_docker(void)
{
	return REFUSE({ SYS_unshare, CLONE_NEWUSER, EPERM }, { SYS_clone, CLONE_NEWUSER, EPERM }, { SYS_clone3, 0, ENOSYS },
		      { SYS_mount, 0, EPERM }, { SYS_keyctl, 0, EPERM });
}

static int lack_clone3(void)
{
	return REFUSE({ SYS_clone3, 0, ENOSYS });
}

/* AppArmor lets user namespaces be made, and then denies what one wants them for. */
static int be_below_apparmor(void)
{
	return REFUSE({ SYS_mount, 0, EACCES });
}

/* Another real than effective user, as a program with the set-user-ID bit has. */
static int be_set_user_id(void)
{
	if (geteuid() != 0 || setresuid(65534, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_DUMPABLE, 0);
}

static int be_set_user_id_and_back(void)
{
	return geteuid() != 0 ? -1 : setresuid(0, 65534, 0);
}

static int lower(int resource, rlim_t to)
{
	const struct rlimit limit = { to, to };

	return setrlimit(resource, &limit);
}

static int have_a_small_stack(void)
{
	return lower(RLIMIT_STACK, 128 << 10);
}

static int have_no_locked_memory(void)
{
	return lower(RLIMIT_MEMLOCK, 0) | lower(RLIMIT_MSGQUEUE, 0) | lower(RLIMIT_SIGPENDING, 0);
}

static int have_no_more_processes(void)
{
	return geteuid() == 0 ? -1 : lower(RLIMIT_NPROC, 1);
}

#if !defined(__SANITIZE_ADDRESS__) /* it needs memory of its own */
static int have_little_data(void)
{
	return lower(RLIMIT_DATA, 1 << 20);
}
#endif

static const struct oddity {
	const char *name;
	int (*prepare)(void); /* -1: cannot be had here */
	int wanted;	      /* 0: works; or what guest_init returns */
	bool or_works;
	const char *said; /* a part of the message then */
} oddities[] = {
	{ "noexec /tmp", make_temporary_folders_noexec, 0, true, NULL },
	{ "full /tmp", fill_temporary_folders, 0, true, NULL },
	{ "no /dev/shm", take_dev_shm_away, 0, true, NULL },
	{ "all read-only", make_all_but_proc_read_only, 0, true, NULL },
	{ "no cgroups", take_cgroups_away, 0, true, NULL },
	{ "one CPU", allow_one_cpu, 0, true, NULL },
	{ "no clone3", lack_clone3, 0, true, NULL },
	{ "set-user-ID", be_set_user_id, 0, true, NULL },
	{ "set-user-ID and back", be_set_user_id_and_back, -EPERM, true, "" },
	{ "small stack", have_a_small_stack, 0, true, NULL },
	{ "no locked memory", have_no_locked_memory, 0, true, NULL },
	{ "no more processes", have_no_more_processes, -EAGAIN, false, "clone" },
#if !defined(__SANITIZE_ADDRESS__)
	{ "little data", have_little_data, -ENOMEM, true, "" },
#endif
	{ "no user namespaces", allow_no_user_namespaces, -ENOSPC, false, "max_user_namespaces" },
	{ "chroot", enter_chroot, -EPERM, false, "chroot" },
	{ "docker", be_in_docker, -EPERM, false, "seccomp" },
	{ "AppArmor", be_below_apparmor, -EACCES, false, "AppArmor" },
	{ "masked /proc", mask_proc, -EPERM, false, "systempaths=unconfined" },
	{ "no /proc", take_proc_away, -ENOENT, false, "mount -t proc" },
};

#define ODDITIES ((int)(sizeof(oddities) / sizeof(oddities[0])))

/* A guest's whole life. */
static void live(struct outcome *outcome, int rootfs)
{
	struct guest_command command;
	struct guest_result result = { .size = sizeof(result) };
	struct guest_config config;
	struct guest *guest = NULL;

	guest_config_init(&config, sizeof(config));
	guest_command_init(&command, sizeof(command));
	config.rootfs_fd = rootfs;
	command.argv = ARGV("/bin/tool", "echo", "on");
	outcome->err = (struct guest_error){ .size = sizeof(outcome->err) };
	outcome->r = guest_init(&guest, &config, &outcome->err);
	if (outcome->r == 0)
		outcome->r = guest_run(guest, &command, &result, &outcome->err);
	if (outcome->r == 0)
		snprintf(outcome->output, sizeof(outcome->output), "%s", result.stdout_data);
	guest_result_clear(&result);
	guest_shutdown(guest, NULL);
	guest_trim(NULL);
}

static struct outcome *in_an_odd_host(int (*prepare)(void))
{
	struct outcome *outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int rootfs = open(tiny_rootfs_tar(), O_RDONLY | O_CLOEXEC), status;
	pid_t pid = fork();

	if (pid == 0) {
		outcome->prepared = prepare() == 0;
		if (outcome->prepared)
			live(outcome, rootfs);
		_exit(0);
	}
	close(rootfs);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned int)status);
	return outcome;
}

START_TEST(odd_host_works_or_gives_a_clear_error)
{
	const struct oddity *oddity = &oddities[_i];
	struct outcome *outcome = in_an_odd_host(oddity->prepare);

	if (!outcome->prepared) {
		printf("NOTE %s: not to be had here\n", oddity->name);
		return;
	}
	if (outcome->r == 0) {
		ck_assert_msg(oddity->or_works, "%s: works", oddity->name);
		ck_assert_str_eq(outcome->output, "on\n");
		return;
	}
	ck_assert_msg(outcome->r == oddity->wanted && oddity->said && strstr(outcome->err.message, oddity->said),
		      "%s: %d, %s", oddity->name, outcome->r, outcome->err.message);
	munmap(outcome, sizeof(*outcome));
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__)

/* Address space for so many bytes more than there is. */
static void limit_address_space(rlim_t more)
{
	const char *text = read_text("/proc/self/statm");
	rlim_t size = (rlim_t)strtoul(text, NULL, 10) * (rlim_t)sysconf(_SC_PAGESIZE);

	ck_assert_int_eq(setrlimit(RLIMIT_AS, &(struct rlimit){ size + more, RLIM_INFINITY }), 0);
}

START_TEST(little_address_space_is_enough_or_a_clear_error)
{
	int rootfs = open(tiny_rootfs_tar(), O_RDONLY | O_CLOEXEC), worked = 0;
	struct rlimit before;

	getrlimit(RLIMIT_AS, &before);
	for (rlim_t more = 0; more <= 8 << 20; more += 256 << 10) {
		struct outcome outcome = { 0 };

		limit_address_space(more);
		live(&outcome, rootfs);
		setrlimit(RLIMIT_AS, &before);
		ck_assert_msg(outcome.r == 0 || outcome.r == -ENOMEM, "%d KB more: %d, %s", (int)(more >> 10), outcome.r,
			      outcome.err.message);
		worked += outcome.r == 0;
	}
	close(rootfs);
	ck_assert_int_gt(worked, 0);
}
END_TEST

/* The program's malloc takes the place of libc's for the library, too. */
#define EXPORTED __attribute__((visibility("default")))
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *pointer, size_t size);

static int calls_left = -1; /* until one fails; -1: none does */

static bool fails(void)
{
	if (calls_left < 0 || calls_left-- > 0)
		return false;
	errno = ENOMEM;
	return true;
}

EXPORTED void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

EXPORTED void *calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

EXPORTED void *realloc(void *pointer, size_t size)
{
	return fails() ? NULL : __libc_realloc(pointer, size);
}

START_TEST(each_call_of_malloc_may_fail)
{
	int rootfs = open(tiny_rootfs_tar(), O_RDONLY | O_CLOEXEC), n = 0, failed = 0;
	struct outcome outcome;
	bool reached;

	do {
		outcome = (struct outcome){ 0 };
		calls_left = n++;
		live(&outcome, rootfs);
		reached = calls_left < 0;
		calls_left = -1;
		ck_assert_msg(outcome.r == 0 || outcome.r == -ENOMEM, "call %d: %d, %s", n, outcome.r, outcome.err.message);
		failed += outcome.r < 0;
		ck_assert_msg(invariants_wait_lost(5000) == 0, "call %d: something is left", n);
	} while (reached);
	printf("NOTE %d calls of malloc, of which %d failed a call of the library\n", n - 1, failed);
	ck_assert_int_gt(failed, 5);
	close(rootfs);
}
END_TEST

#endif

/* A folder of the host that is bound as /shared, in a guest with this attack. */
static struct guest *guest_with_shared(const char *attack, struct guest_config config)
{
	struct guest_mount mounts[2];

	config.rootfs_path = tiny_rootfs_tar();
	mkdir(scratch("shared"), 0755);
	mkdir(scratch("shared/below"), 0755);
	mounts[0] = mount_of(GUEST_MOUNT_BIND, scratch("shared"), "/shared", "noidmap"); /* tmpfs: Linux 6.3 */
	mounts[1] = mount_of(GUEST_MOUNT_BIND, test_program(attack), "/opt/attack", "ro");
	config.mounts = mounts;
	config.mounts_count = 2;
	return guest_with(&config);
}

START_TEST(mounts_of_the_host_do_not_spread_to_guests)
{
	struct guest *guest = guest_with_shared("spread", config_default());
	struct guest_result before, after;

	run_argv(guest, ARGV("/bin/tool", "cat", "/proc/self/mountinfo"), &before);
	ck_assert_int_eq(mount("later", scratch("shared/below"), "tmpfs", 0, NULL), 0);
	run_argv(guest, ARGV("/bin/tool", "cat", "/proc/self/mountinfo"), &after);
	umount2(scratch("shared/below"), MNT_DETACH);
	ck_assert_msg(strcmp(before.stdout_data, after.stdout_data) == 0, "it does");
	guest_result_clear(&before);
	guest_result_clear(&after);
}
END_TEST

START_TEST(mounts_of_guests_do_not_spread_to_the_host)
{
	struct guest_config config = config_default();
	struct guest_result result;
	char *before;

	config.flags = GUEST_NO_SECCOMP;
	config.capabilities = "all=ep";
	before = strdup(read_text("/proc/self/mountinfo"));
	run_argv(guest_with_shared("spread", config), ARGV("/opt/attack"), &result);
	ck_assert_msg(result.exit_code == 0, "%s", result.stdout_data);
	ck_assert_msg(strcmp(before, read_text("/proc/self/mountinfo")) == 0, "they do");
	guest_result_clear(&result);
	free(before);
}
END_TEST

static Suite *make(void)
{
	Suite *suite = suite_create("odd hosts");
	TCase *tcase = suite_case(suite, "world", 60);

	tcase_add_loop_test(tcase, odd_host_works_or_gives_a_clear_error, 0, ODDITIES);
	if (geteuid() == 0) /* others mount nothing on the host */
		tcase_add_test(tcase, mounts_of_the_host_do_not_spread_to_guests);
	tcase_add_test(tcase, mounts_of_guests_do_not_spread_to_the_host);
#if !defined(__SANITIZE_ADDRESS__)
	tcase = suite_case(suite, "memory", 120);
	tcase_add_test(tcase, little_address_space_is_enough_or_a_clear_error);
	tcase_add_test(tcase, each_call_of_malloc_may_fail);
#endif
	return suite;
}

int main(void)
{
	return suite_main(make);
}
