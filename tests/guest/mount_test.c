// SPDX-License-Identifier: MIT
/* The caller's mounts, and rootfs that are not the embedded one. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

static struct guest_config with_mounts(const struct guest_mount *mounts, uint64_t count)
{
	struct guest_config config = config_default();

	config.mounts = mounts;
	config.mounts_count = count;
	return config;
}

static struct guest *guest_with_mount(const struct guest_mount *mount)
{
	struct guest_config config = with_mounts(mount, 1);

	return guest_with(&config);
}

static int mount_fails(struct guest_mount mount, struct guest_error *err)
{
	struct guest_config config = with_mounts(&mount, 1);

	return init_fails(&config, err);
}

/* Can guests write to host folders here? As root that needs idmapped mounts of this file system. */
static bool binds_are_writable(void)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, scratch(NULL), "/probe", NULL);
	struct guest_config config = with_mounts(&mount, 1);
	struct guest *guest;
	int r = guest_init(&guest, &config, NULL);

	if (r == 0)
		ck_assert_int_eq(guest_shutdown(guest, NULL), 0);
	ck_assert(r == 0 || r == -EOPNOTSUPP);
	return r == 0;
}

START_TEST(bound_folder_can_be_read_and_written)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, scratch(NULL), "/data", NULL);
	struct stat st;

	SKIP_IF(!binds_are_writable(), "no idmapped mounts of %s", scratch(NULL));
	write_text(scratch("in"), "from the host\n");
	expect_shell(guest_with_mount(&mount), "cat /data/in; stat -c %u /data/in; echo back >/data/out",
		     "from the host\n0\n");
	ck_assert_str_eq(read_text(scratch("out")), "back\n");
	ck_assert_int_eq(stat(scratch("out"), &st), 0);
	ck_assert_uint_eq(st.st_uid, geteuid());
}
END_TEST

START_TEST(read_only_bind_can_only_be_read)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, scratch(NULL), "/data", "ro");

	write_text(scratch("in"), "text\n");
	expect_shell(guest_with_mount(&mount), "cat /data/in; (echo x >/data/in) 2>&1 | grep -c Read-only;"
					       "rm /data/in 2>/dev/null; mkdir /data/x 2>/dev/null; true", "text\n1\n");
	ck_assert_str_eq(read_text(scratch("in")), "text\n");
}
END_TEST

START_TEST(bound_file_is_a_file)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, scratch("file"), "/etc/deep/er/file", "ro");

	write_text(scratch("file"), "content\n");
	expect_shell(guest_with_mount(&mount), "cat /etc/deep/er/file; ls /etc/deep/er", "content\nfile\n");
}
END_TEST

START_TEST(bound_file_covers_a_file_of_the_rootfs)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, scratch("file"), "/etc/passwd", "ro");

	write_text(scratch("file"), "covered\n");
	expect_shell(guest_with_mount(&mount), "cat /etc/passwd", "covered\n");
}
END_TEST

START_TEST(noexec_bind_executes_nothing)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, test_program("tool"), TOOL, "ro,noexec");
	struct guest_command command = command_of(ARGV(TOOL, "fds"));
	struct guest_error err;

	ck_assert_int_eq(run_fails(guest_with_mount(&mount), &command, &err), -EACCES);
	ck_assert_int_eq(err.stage, GUEST_STAGE_EXECVE);
}
END_TEST

START_TEST(source_may_be_a_symlink)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, scratch("link"), "/data", "ro");

	ck_assert_int_eq(mkdir(scratch("real"), 0755), 0);
	write_text(scratch("real/file"), "found\n");
	ck_assert_int_eq(symlink("real", scratch("link")), 0);
	expect_shell(guest_with_mount(&mount), "cat /data/file", "found\n");
}
END_TEST

START_TEST(tmpfs_has_its_size_and_mode)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_TMPFS, NULL, "/data", "size=1m,mode=0700");

	expect_shell(guest_with_mount(&mount), "stat -f -c %T /data; stat -c %a /data;"
					       "head -c 2000000 /dev/zero >/data/x 2>/dev/null || echo full",
		     "tmpfs\n700\nfull\n");
}
END_TEST

START_TEST(tmpfs_without_a_size_is_as_large_as_what_the_guest_may_write)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_TMPFS, NULL, "/data", NULL);
	struct guest_config config = config_default();

	config.mounts = &mount;
	config.mounts_count = 1;
	config.writable_bytes = 1 << 20;
	expect_shell(guest_with(&config), "head -c 2000000 /dev/zero >/data/x 2>/dev/null || echo full", "full\n");
}
END_TEST

START_TEST(bind_can_be_noatime)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, "/usr", "/data", "ro,noatime");

	expect_shell(guest_with_mount(&mount), "grep -c ' /data .*noatime' /proc/mounts", "1\n");
}
END_TEST

START_TEST(mounts_can_be_nested)
{
	const struct guest_mount mounts[] = {
		mount_of(GUEST_MOUNT_TMPFS, NULL, "/data", NULL),
		mount_of(GUEST_MOUNT_BIND, scratch(NULL), "/data/in", "ro"),
		mount_of(GUEST_MOUNT_TMPFS, NULL, "/data/more/deep", "ro"),
	};
	struct guest_config config = with_mounts(mounts, 3);

	write_text(scratch("file"), "inner\n");
	expect_shell(guest_with(&config), "cat /data/in/file; echo x >/data/x; ls /data;"
					  "(echo x >/data/more/deep/x) 2>&1 | grep -c Read-only",
		     "inner\nin\nmore\nx\n1\n");
}
END_TEST

START_TEST(unix_socket_can_be_bound)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, scratch("pipe"), "/run/pipe", "ro");

	ck_assert_int_eq(mkfifo(scratch("pipe"), 0644), 0);
	expect_shell(guest_with_mount(&mount), "[ -p /run/pipe ] && echo pipe", "pipe\n");
}
END_TEST

START_TEST(mounts_that_make_no_sense_are_refused)
{
	const struct {
		struct guest_mount mount;
		int r;
	} cases[] = {
		{ mount_of(GUEST_MOUNT_BIND, "/no/such", "/data", NULL), -ENOENT },
		{ mount_of(GUEST_MOUNT_BIND, NULL, "/data", NULL), -EINVAL },
		{ mount_of(GUEST_MOUNT_BIND, "/tmp", NULL, NULL), -EINVAL },
		{ mount_of(GUEST_MOUNT_BIND, "/tmp", "relative", NULL), -EINVAL },
		{ mount_of(GUEST_MOUNT_BIND, "/tmp", "/", NULL), -EINVAL },
		{ mount_of(GUEST_MOUNT_BIND, "/tmp", "/data", "suid"), -EINVAL },
		{ mount_of(GUEST_MOUNT_BIND, "/tmp", "/data", "size=1m"), -EINVAL },
		{ mount_of(GUEST_MOUNT_TMPFS, "/tmp", "/data", NULL), -EINVAL },
		{ mount_of(GUEST_MOUNT_TMPFS, NULL, "/data", "size=1m\\,uid=0"), -EINVAL },
		{ mount_of(7, NULL, "/data", NULL), -EINVAL },
	};
	struct guest_error err;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = mount_fails(cases[i].mount, &err);

		ck_assert_msg(r == cases[i].r, "case %zu: %d, %s", i, r, err.message);
	}
}
END_TEST

START_TEST(target_that_cannot_be_made_is_an_error)
{
	struct guest_error err;

	/* below a file; and in /proc */
	ck_assert_int_eq(mount_fails(mount_of(GUEST_MOUNT_TMPFS, NULL, "/etc/passwd/x", NULL), &err), -ENOTDIR);
	ck_assert_int_eq(err.stage, GUEST_STAGE_MOUNT_USER);
	ck_assert_int_lt(mount_fails(mount_of(GUEST_MOUNT_TMPFS, NULL, "/proc/no-such", NULL), &err), 0);
	expect_shell(guest_with(NULL), "echo on", "on\n");
}
END_TEST

static void mount_on_host(const char *folder)
{
	ck_assert_int_eq(mount("test", folder, "tmpfs", 0, "mode=755"), 0);
}

START_TEST(mounts_below_a_bind_come_along)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, scratch(NULL), "/data", "ro");
	struct guest *guest;

	ck_assert_int_eq(mkdir(scratch("below"), 0755), 0);
	if (geteuid() == 0)
		mount_on_host(scratch("below"));
	write_text(scratch("below/file"), "below\n");
	guest = guest_with_mount(&mount);
	expect_shell(guest, "cat /data/below/file; (echo x >/data/below/x) 2>&1 | grep -c Read-only", "below\n1\n");
	guest_end(guest);
	if (geteuid() == 0)
		ck_assert_int_eq(umount2(scratch("below"), 0), 0);
}
END_TEST

START_TEST(what_the_host_mounts_later_can_be_bound)
{
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, scratch("late"), "/data", "ro");
	struct guest *first = guest_with(NULL), *second;

	ck_assert_int_eq(mkdir(scratch("late"), 0755), 0);
	mount_on_host(scratch("late"));
	write_text(scratch("late/file"), "late\n");
	second = guest_with_mount(&mount);
	expect_shell(second, "cat /data/file", "late\n");
	guest_end(second);
	ck_assert_int_eq(umount2(scratch("late"), 0), 0);
	expect_shell(first, "echo on", "on\n");
}
END_TEST

/* --- rootfs ------------------------------------------------------------------------------------------ */

static struct guest *guest_of_rootfs(const char *path)
{
	struct guest_config config = config_default();

	config.rootfs_path = path;
	return guest_with(&config);
}

/* As root a folder must be mounted idmapped. */
static bool folders_work(const char *folder)
{
	struct guest_config config = config_default();
	struct guest_error err = { .size = sizeof(err) };
	struct guest *guest;
	int r;

	config.rootfs_path = folder;
	r = guest_init(&guest, &config, &err);
	if (r == 0)
		ck_assert_int_eq(guest_shutdown(guest, NULL), 0);
	ck_assert_msg(r == 0 || (geteuid() == 0 && r == -EINVAL), "%d, %s", r, err.message);
	return r == 0;
}

static void check_tiny(struct guest *guest)
{
	expect(guest, ARGV("/bin/tool", "echo", "tiny"), "tiny\n");
	expect(guest, ARGV("/bin/tool", "cat", "/etc/hostname"), "guest\n");
	expect(guest, ARGV("/bin/tool", "write", "/tmp/x", "written"), "");
	expect(guest, ARGV("/bin/tool", "cat", "/tmp/x"), "written");
	expect(guest, ARGV("/bin/tool", "cat", "/proc/1/comm"), "guest-holder\n");
	expect(guest, ARGV("/bin/tool", "stat", "/dev/null"), "20666 65534:65534\n");
}

START_TEST(rootfs_can_be_a_folder)
{
	const char *folder = tiny_rootfs();

	SKIP_IF(!folders_work(folder), "no idmapped mounts of %s", folder);
	check_tiny(guest_of_rootfs(folder));
}
END_TEST

START_TEST(rootfs_folder_stays_as_it_was)
{
	const char *folder = tiny_rootfs();
	struct guest *guest;

	SKIP_IF(!folders_work(folder), "no idmapped mounts of %s", folder);
	guest = guest_of_rootfs(folder);
	expect(guest, ARGV("/bin/tool", "write", "/bin/new", "x"), "");
	guest_end(guest);
	ck_assert_int_lt(access(scratch("root/bin/new"), F_OK), 0);
	ck_assert_int_lt(access(scratch("root/tmp"), F_OK), 0);
	ck_assert_int_lt(access(scratch("root/etc"), F_OK), 0);
}
END_TEST

static void pack(const char *packer, const char *name)
{
	char command[1024];

	snprintf(command, sizeof(command), "tar -C %s -c . | %s >%s", scratch("root"), packer, scratch(name));
	on_host(command);
}

static void tar_rootfs(const char *packer, const char *name)
{
	tiny_rootfs();
	pack(packer, name);
}

static bool installed(const char *program)
{
	char command[64];

	snprintf(command, sizeof(command), "command -v %s >/dev/null", program);
	return system(command) == 0;
}

static const char *const packers[] = { "cat", "gzip", "xz", "bzip2", "zstd", "lz4" };

START_TEST(rootfs_can_be_a_tar)
{
	SKIP_IF(!installed(packers[_i]), "no %s here", packers[_i]);
	tar_rootfs(packers[_i], "rootfs.tar");
	check_tiny(guest_of_rootfs(scratch("rootfs.tar")));
}
END_TEST

START_TEST(rootfs_can_be_an_fd_that_stays_the_callers)
{
	struct guest_config config = config_default();
	struct guest *guest;
	int fd;

	tar_rootfs("cat", "rootfs.tar");
	fd = open(scratch("rootfs.tar"), O_RDONLY | O_CLOEXEC);
	config.rootfs_fd = fd;
	guest = guest_with(&config);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 0);
	check_tiny(guest);
	guest_end(guest);
	check_tiny(guest_with(&config));
	close(fd);
}
END_TEST

START_TEST(rootfs_fd_can_be_a_pipe)
{
	struct guest_config config = config_default();
	char command[300];
	FILE *pipe;

	tar_rootfs("gzip", "rootfs.tar.gz");
	snprintf(command, sizeof(command), "cat %s", scratch("rootfs.tar.gz"));
	pipe = popen(command, "re");
	config.rootfs_fd = fileno(pipe);
	check_tiny(guest_with(&config));
	pclose(pipe);
}
END_TEST

START_TEST(rootfs_that_is_written_anew_is_unpacked_anew)
{
	struct guest *old, *new;

	tar_rootfs("cat", "rootfs.tar");
	old = guest_of_rootfs(scratch("rootfs.tar"));
	write_text(scratch("root/note"), "new\n");
	tar_rootfs("cat", "rootfs.tar");
	new = guest_of_rootfs(scratch("rootfs.tar"));
	expect(new, ARGV("/bin/tool", "cat", "/note"), "new\n");
	expect(old, ARGV("/bin/tool", "cat", "/note"), "/note: No such file or directory\n");
}
END_TEST

START_TEST(different_rootfs_live_side_by_side)
{
	struct guest *tiny;

	tar_rootfs("cat", "rootfs.tar");
	tiny = guest_of_rootfs(scratch("rootfs.tar"));
	expect_shell(guest_with(NULL), "echo embedded", "embedded\n");
	check_tiny(tiny);
}
END_TEST

START_TEST(rootfs_that_is_none_is_refused)
{
	static const struct {
		const char *path;
		int r;
	} cases[] = { { "/no/such/rootfs", -ENOENT }, { "/dev/null", -EINVAL }, { "", -ENOENT } };
	struct guest_config config = config_default();
	struct guest_error err;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		config.rootfs_path = cases[i].path;
		ck_assert_int_eq(init_fails(&config, &err), cases[i].r);
		ck_assert_int_eq(err.stage, GUEST_STAGE_ROOTFS);
	}
	config.rootfs_path = NULL;
	config.rootfs_fd = 999;
	ck_assert_int_eq(init_fails(&config, &err), -EBADF);
}
END_TEST

START_TEST(rootfs_that_is_no_archive_is_refused)
{
	struct guest_config config = config_default();
	struct guest_error err;

	write_text(scratch("rootfs.tar"), "this is no archive, and not even long enough for one\n");
	config.rootfs_path = scratch("rootfs.tar");
	ck_assert_int_eq(init_fails(&config, &err), -EINVAL);
	ck_assert_int_eq(err.stage, GUEST_STAGE_ROOTFS);
}
END_TEST

START_TEST(rootfs_that_is_cut_off_is_refused)
{
	struct guest_config config = config_default();
	struct guest_error err;

	tar_rootfs("gzip | head -c 5000", "cut.tar.gz");
	config.rootfs_path = scratch("cut.tar.gz");
	ck_assert_int_eq(init_fails(&config, &err), -EBADMSG);
	ck_assert_int_eq(err.stage, GUEST_STAGE_UNPACK);
}
END_TEST

START_TEST(rootfs_above_its_caps_is_refused)
{
	struct guest_config config = config_default();
	struct guest_error err;

	tar_rootfs("cat", "rootfs.tar");
	config.rootfs_path = scratch("rootfs.tar");
	config.rootfs_bytes = 8192;
	ck_assert_int_eq(init_fails(&config, &err), -ENOSPC);
	ck_assert_int_eq(err.stage, GUEST_STAGE_UNPACK);
	config = config_default();
	config.rootfs_path = scratch("rootfs.tar");
	config.rootfs_inodes = 2;
	ck_assert_int_eq(init_fails(&config, &err), -ENOSPC);
}
END_TEST

static bool is_empty(const char *folder)
{
	DIR *directory = opendir(folder);
	int entries = 0;

	while (directory && readdir(directory))
		entries++;
	closedir(directory);
	return entries == 2;
}

START_TEST(symlinks_of_a_hostile_rootfs_lead_nowhere)
{
	static const char *const targets[] = { "/out/x", "/up/x", "/etc/x", "/loop/x", "/fd/x", "/dangling" };
	struct guest_mount mount = mount_of(GUEST_MOUNT_BIND, test_program("tool"), NULL, "ro");
	struct guest_config config = with_mounts(&mount, 1);
	char up[256];

	tiny_rootfs();
	ck_assert_int_eq(mkdir(scratch("outside"), 0777), 0);
	snprintf(up, sizeof(up), "../../../../../../..%s", scratch("outside"));
	ck_assert_int_eq(symlink(scratch("outside"), scratch("root/out")), 0);
	ck_assert_int_eq(symlink(up, scratch("root/up")), 0);
	ck_assert_int_eq(symlink(scratch("outside"), scratch("root/etc")), 0);
	ck_assert_int_eq(symlink("loop", scratch("root/loop")), 0);
	ck_assert_int_eq(symlink("/proc/self/fd/3", scratch("root/fd")), 0);
	ck_assert_int_eq(symlink(scratch("outside"), scratch("root/dangling")), 0);
	pack("cat", "hostile.tar");
	config.rootfs_path = scratch("hostile.tar");
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		struct guest *guest = NULL;

		mount.target = targets[i];
		if (guest_init(&guest, &config, NULL) == 0) {
			expect(guest, ARGV("/bin/tool", "echo", "on"), "on\n");
			guest_end(guest);
		}
		ck_assert_msg(is_empty(scratch("outside")), "%s came out", targets[i]);
	}
}
END_TEST

#define HOSTS "127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost ip6-loopback\n"

static void check_etc(struct guest *guest, const char *hostname)
{
	char text[160];

	snprintf(text, sizeof(text), "%s\n", hostname);
	expect(guest, ARGV("/bin/tool", "cat", "/etc/hostname"), text);
	snprintf(text, sizeof(text), HOSTS, hostname);
	expect(guest, ARGV("/bin/tool", "cat", "/etc/hosts"), text);
	expect(guest, ARGV("/bin/tool", "cat", "/etc/resolv.conf"),
	       "# No name servers: a guest has no network of its own.\n");
}

/* Whatever the rootfs has there: other text, no plain file, nothing, or just this. */
START_TEST(names_of_a_guest_are_its_own)
{
	struct guest_config config = config_default();
	char hosts[160];

	tiny_rootfs();
	ck_assert_int_eq(mkdir(scratch("root/etc"), 0755), 0);
	if (_i == 0) {
		write_text(scratch("root/etc/hostname"), "other\n");
		ck_assert_int_eq(mkfifo(scratch("root/etc/hosts"), 0644), 0);
		ck_assert_int_eq(symlink("/bin/tool", scratch("root/etc/resolv.conf")), 0);
	} else {
		write_text(scratch("root/etc/hostname"), "guest\n");
		snprintf(hosts, sizeof(hosts), HOSTS, _i == 1 ? "guest" : "guest-2");
		write_text(scratch("root/etc/hosts"), hosts);
	}
	pack("cat", "etc.tar");
	config.rootfs_path = scratch("etc.tar");
	check_etc(guest_with(&config), "guest");
	config.hostname = "guest-2";
	check_etc(guest_with(&config), "guest-2");
}
END_TEST

START_TEST(names_can_be_changed_in_one_guest)
{
	struct guest *first = guest_with(NULL);

	expect_shell(first, "echo 127.0.0.1 other >>/etc/hosts; echo other >/etc/hostname; tail -n 1 /etc/hosts",
		     "127.0.0.1 other\n");
	expect_shell(guest_with(NULL), "cat /etc/hostname; grep -c other /etc/hosts || true", "guest\n0\n");
}
END_TEST

static void add_rootfs(Suite *suite)
{
	TCase *tcase = suite_case(suite, "rootfs", 60);

	tcase_add_test(tcase, rootfs_can_be_a_folder);
	tcase_add_loop_test(tcase, names_of_a_guest_are_its_own, 0, 3);
	tcase_add_test(tcase, names_can_be_changed_in_one_guest);
	tcase_add_test(tcase, rootfs_folder_stays_as_it_was);
	tcase_add_loop_test(tcase, rootfs_can_be_a_tar, 0, sizeof(packers) / sizeof(packers[0]));
	tcase_add_test(tcase, rootfs_can_be_an_fd_that_stays_the_callers);
	tcase_add_test(tcase, rootfs_fd_can_be_a_pipe);
	tcase_add_test(tcase, rootfs_that_is_written_anew_is_unpacked_anew);
	tcase_add_test(tcase, different_rootfs_live_side_by_side);
	tcase_add_test(tcase, rootfs_that_is_none_is_refused);
	tcase_add_test(tcase, rootfs_that_is_no_archive_is_refused);
	tcase_add_test(tcase, rootfs_that_is_cut_off_is_refused);
	tcase_add_test(tcase, rootfs_above_its_caps_is_refused);
	tcase_add_test(tcase, symlinks_of_a_hostile_rootfs_lead_nowhere);
}

static Suite *make(void)
{
	Suite *suite = suite_create("mount");
	TCase *tcase = suite_case(suite, "mounts", 60);

	tcase_add_test(tcase, bound_folder_can_be_read_and_written);
	tcase_add_test(tcase, read_only_bind_can_only_be_read);
	tcase_add_test(tcase, bound_file_is_a_file);
	tcase_add_test(tcase, bound_file_covers_a_file_of_the_rootfs);
	tcase_add_test(tcase, noexec_bind_executes_nothing);
	tcase_add_test(tcase, source_may_be_a_symlink);
	tcase_add_test(tcase, tmpfs_has_its_size_and_mode);
	tcase_add_test(tcase, tmpfs_without_a_size_is_as_large_as_what_the_guest_may_write);
	if (geteuid() == 0) /* others may not change the times of a mount that is not theirs */
		tcase_add_test(tcase, bind_can_be_noatime);
	tcase_add_test(tcase, mounts_can_be_nested);
	tcase_add_test(tcase, unix_socket_can_be_bound);
	tcase_add_test(tcase, mounts_that_make_no_sense_are_refused);
	tcase_add_test(tcase, target_that_cannot_be_made_is_an_error);
	tcase_add_test(tcase, mounts_below_a_bind_come_along);
	if (geteuid() == 0)
		tcase_add_test(tcase, what_the_host_mounts_later_can_be_bound);
	add_rootfs(suite);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
