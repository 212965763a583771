// SPDX-License-Identifier: MIT
/* The cache of unpacked rootfs: found as it was made or made anew, and never trusted to others. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define CROWD 4 /* processes at once */

/* A tar with what an entry can be changed in: files, a symlink, a directory that nobody may write to. */
static const char *rootfs_tar(void)
{
	char command[1024];

	tiny_rootfs();
	snprintf(command, sizeof(command),
		 "cd %s/root && mkdir -p etc closed/below && ln -sf tool bin/link && echo one >etc/file && "
		 "echo deep >closed/below/file && chmod 555 closed/below closed && tar --owner=0 --group=0 -cf ../root.tar . && "
		 "chmod -R u+w .",
		 scratch(NULL));
	on_host(command);
	return scratch("root.tar");
}

/* With paths that outlive more calls of scratch(). */
static struct guest_config config_cached(const char *rootfs)
{
	static char rootfs_path[256], cache_dir[256];
	struct guest_config config = config_default();

	snprintf(rootfs_path, sizeof(rootfs_path), "%s", rootfs ? rootfs : "");
	snprintf(cache_dir, sizeof(cache_dir), "%s", scratch("cache"));
	config.rootfs_path = rootfs ? rootfs_path : NULL;
	config.cache_dir = cache_dir;
	return config;
}

static struct guest_info info_of(struct guest *guest)
{
	struct guest_info info = { .size = sizeof(info) };
	struct guest_error err = { .size = sizeof(err) };

	ck_assert_msg(guest_info(guest, &info, &err) == 0, "%s", err.message);
	return info;
}

/* Make a guest as the first one of a process does. Where from? GUEST_TEMPLATE_*. */
static uint32_t source_of(const struct guest_config *config)
{
	struct guest *guest = guest_with(config);
	struct guest_info info = info_of(guest);

	expect(guest, config->rootfs_path ? ARGV("/bin/tool", "echo", "on") : ARGV("echo", "on"), "on\n");
	ck_assert_msg((info.template_source == GUEST_TEMPLATE_NO_CACHE) == (info.cache_error != NULL), "%u %s",
		      info.template_source, info.cache_error ? info.cache_error : "");
	guest_end(guest);
	guest_trim(NULL);
	return info.template_source;
}

/* $KEY: the entry. */
static void on_cache(const char *script)
{
	char command[1024];

	snprintf(command, sizeof(command), "cd %s && KEY=$(echo rootfs-*) && { %s; }", scratch("cache"), script);
	on_host(command);
}

/* A cache is filled, unless its file system cannot be mounted idmapped; any other reason is a failure. */
static bool can_be_mounted(const struct guest_config *config)
{
	struct guest *guest = guest_with(config);
	struct guest_info info = info_of(guest);
	bool filled = info.template_source == GUEST_TEMPLATE_FILLED;

	ck_assert_msg(filled || (info.cache_error && strstr(info.cache_error, "idmapped")), "%u %s",
		      info.template_source, info.cache_error ? info.cache_error : "");
	guest_end(guest);
	guest_trim(NULL);
	return filled;
}

#define FILLED_OR_SKIP(config) SKIP_IF(!can_be_mounted(config), "this file system cannot be mounted idmapped")

START_TEST(filled_by_the_first_and_found_by_the_next)
{
	struct guest_config config = config_cached(rootfs_tar());

	FILLED_OR_SKIP(&config);
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_CACHED);
	on_cache("chmod -R u+w . && rm -rf *");
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_FILLED);
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_CACHED);
	config.cache_dir = NULL;
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_UNPACKED);
}
END_TEST

START_TEST(embedded_rootfs_is_the_same_from_a_cache)
{
	static const char script[] = "cat /etc/hosts /etc/hostname; stat -c '%n %a %u:%g %Y' /root /home/guest "
				     "/home/guest/.profile /usr/bin/env; python3 -c 'import json; print(json)'";
	struct guest_config config = config_cached(NULL);
	struct guest_result plain = { .size = sizeof(plain) };
	struct guest *guest = guest_with(NULL);

	run_shell(guest, script, &plain);
	guest_end(guest);
	ck_assert_int_eq(plain.exit_code, 0);
	FILLED_OR_SKIP(&config);
	for (int i = 0; i < 2; i++) {
		guest = guest_with(&config);
		ck_assert_uint_eq(info_of(guest).template_source, GUEST_TEMPLATE_CACHED);
		expect_shell(guest, script, plain.stdout_data);
		/* all of this is the guest's own */
		expect_shell(guest, "rm -rf /usr/lib /home /etc 2>/dev/null; echo >/bin/new; echo x >/usr/bin/env", "");
		guest_end(guest);
		guest_trim(NULL);
	}
	guest_result_clear(&plain);
	/* nobody but the library can remove what belongs to ids for guests */
	on_cache("rm $KEY/manifest");
	config.rootfs_path = rootfs_tar();
	on_cache("touch -d '40 days ago' $KEY");
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_FILLED);
	on_cache("test \"$(echo *)\" = $KEY");
}
END_TEST

START_TEST(changed_entry_is_made_anew)
{
	static const char *const changes[] = {
		"echo two >>$KEY/rootfs/etc/file",
		"echo two | dd of=$KEY/rootfs/etc/file conv=notrunc status=none",
		"rm $KEY/rootfs/etc/file",
		"rm -rf $KEY/rootfs/etc",
		"touch $KEY/rootfs/closed/new 2>/dev/null || touch $KEY/rootfs/new",
		"chmod 700 $KEY/rootfs/etc/file",
		"chmod 700 $KEY/rootfs/etc",
		"ln -sfn file $KEY/rootfs/bin/link",
		"mv $KEY/rootfs/bin/link $KEY/rootfs/bin/other",
		"touch -d 2001-01-01 $KEY/rootfs/etc/file",
		"cd $KEY/rootfs/etc && cp -p file same && mv same file",
		"rm -rf $KEY/rootfs/closed 2>/dev/null || { chmod -R u+w $KEY && rm -rf $KEY/rootfs/closed; }",
		"mv $KEY/rootfs $KEY/elsewhere",
		"mv $KEY/rootfs $KEY/elsewhere && ln -s elsewhere $KEY/rootfs",
		"rm $KEY/manifest",
		": >$KEY/manifest",
		"truncate -s -1 $KEY/manifest",
		"truncate -s 40 $KEY/manifest",
		"printf x | dd of=$KEY/manifest conv=notrunc status=none",
		"printf x | dd of=$KEY/manifest bs=1 seek=45 conv=notrunc status=none",
		"cp -a $KEY copy && chmod -R u+w $KEY && rm -rf $KEY && mv copy $KEY",
	};
	struct guest_config config = config_cached(rootfs_tar());

	FILLED_OR_SKIP(&config);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_CACHED);
		on_cache(changes[i]);
		ck_assert_msg(source_of(&config) == GUEST_TEMPLATE_FILLED, "%s", changes[i]);
		/* and nothing of the old one is left */
		on_cache("test \"$(echo *)\" = \"$(echo rootfs-*)\" && test -d rootfs-*/rootfs/closed/below");
	}
}
END_TEST

/* Its files, and the folders that they are in, may belong to ids that the user has for guests only. */
START_TEST(entry_of_other_ids_is_removed)
{
	struct guest_config config = config_cached(rootfs_tar());
	char command[1024];

	snprintf(command, sizeof(command), "cd %s/root && tar --owner=77 --group=78 -cf ../root.tar .", scratch(NULL));
	on_host(command);
	FILLED_OR_SKIP(&config);
	on_cache("rm $KEY/manifest");
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_FILLED);
	on_cache("test \"$(echo *)\" = $KEY && rm $KEY/manifest");
	/* nobody but the library can remove it: another, which this test can, takes its place */
	rootfs_tar();
	on_cache("touch -d '40 days ago' $KEY");
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_FILLED);
	on_cache("test \"$(echo *)\" = $KEY && test -O $KEY/rootfs/etc/file");
}
END_TEST

START_TEST(changed_archive_has_another_entry)
{
	struct guest_config config = config_cached(rootfs_tar());
	char command[512];

	FILLED_OR_SKIP(&config);
	snprintf(command, sizeof(command), "touch %s", config.rootfs_path);
	on_host(command);
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_FILLED);
	on_cache("test $(ls | wc -l) = 2");
}
END_TEST

START_TEST(what_nobody_has_used_for_a_month_is_removed)
{
	struct guest_config config = config_cached(rootfs_tar());

	FILLED_OR_SKIP(&config);
	on_cache("for i in rootfs-01d rootfs-4e3 tmp-1-1 tmp-2-2 mine rootfs-backup tmp-thesis; do "
		 "cp -a $KEY $i || exit 1; done; "
		 "touch -d '40 days ago' rootfs-01d tmp-1-1 mine rootfs-backup tmp-thesis && "
		 "touch rootfs-4e3 tmp-2-2 && chmod -R u+w $KEY && rm -r $KEY");
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_FILLED);
	on_cache("test ! -e rootfs-01d && test ! -e tmp-1-1 && test -d rootfs-4e3 && test -d tmp-2-2");
	on_cache("test -d mine && test -d rootfs-backup && test -d tmp-thesis"); /* the user's own */
}
END_TEST

/* Paths so long that they cannot be opened: such a tree has no entry, and nothing of it is left. */
START_TEST(tree_that_is_too_deep_is_removed)
{
	struct guest_config config = config_cached(rootfs_tar());
	struct guest *guest;

	FILLED_OR_SKIP(&config);
	on_cache("(cd ../root && name=$(printf '%0250d' 0) && for i in $(seq 16); do mkdir $name && cd $name && "
		 "echo x >file || exit 1; done && mkdir $(printf '%077d' 0)) && tar -C ../root -cf ../root.tar . && "
		 "rm -r ../root/0*");
	guest = guest_with(&config);
	ck_assert_uint_eq(info_of(guest).template_source, GUEST_TEMPLATE_NO_CACHE);
	expect_alive(guest);
	on_cache("test -z \"$(ls -A | grep -v ^rootfs-)\"");
}
END_TEST

/* It goes on under another name. */
START_TEST(changed_entry_in_use_is_not_removed)
{
	struct guest_config config = config_cached(rootfs_tar());
	struct guest_config other = config;
	struct guest *guest;
	int status;
	pid_t pid;

	FILLED_OR_SKIP(&config);
	other.rootfs_inodes--; /* which takes a keeper of its own */
	guest = guest_with(&config);
	on_cache("touch $KEY/rootfs/new");
	pid = fork();
	if (pid == 0) {
		struct guest_info info = { .size = sizeof(info) };
		struct guest *fresh;
		bool good = guest_init(&fresh, &config, NULL) == 0 && guest_info(fresh, &info, NULL) == 0 &&
			    info.template_source == GUEST_TEMPLATE_FILLED;

		_exit(good && guest_shutdown(fresh, NULL) == 0 ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	expect_alive(guest);
	on_cache("test -e tmp-*/rootfs/new && touch -d '2 minutes ago' tmp-* && echo x >$KEY/rootfs/new");
	ck_assert_uint_eq(info_of(guest_with(&other)).template_source, GUEST_TEMPLATE_FILLED);
	on_cache("test -e tmp-*/rootfs/new");
}
END_TEST

START_TEST(guests_of_different_caches_share_no_keeper)
{
	struct guest_config config = config_cached(rootfs_tar());
	struct guest *guest;

	FILLED_OR_SKIP(&config);
	guest = guest_with(&config);
	ck_assert_uint_eq(info_of(guest).template_source, GUEST_TEMPLATE_CACHED);
	ck_assert_uint_eq(info_of(guest_with(&config)).template_source, GUEST_TEMPLATE_CACHED);
	config.cache_dir = scratch("other");
	ck_assert_uint_eq(info_of(guest_with(&config)).template_source, GUEST_TEMPLATE_FILLED);
	config.cache_dir = NULL;
	ck_assert_uint_eq(info_of(guest_with(&config)).template_source, GUEST_TEMPLATE_UNPACKED);
}
END_TEST

/* --- who is trusted --- */

static void expect_refused(const struct guest_config *config, const char *word)
{
	struct guest_error err;

	ck_assert_int_eq(init_fails(config, &err), -EPERM);
	ck_assert_int_eq(err.stage, GUEST_STAGE_CACHE);
	ck_assert_msg(strstr(err.message, word) != NULL, "%s", err.message);
}

START_TEST(what_others_may_write_to_is_refused)
{
	struct guest_config config = config_cached(rootfs_tar());

	FILLED_OR_SKIP(&config);
	on_cache("chmod 770 .");
	expect_refused(&config, "chmod 700");
	on_cache("chmod 707 .");
	expect_refused(&config, "chmod 700");
	on_cache("chmod 755 .");
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_CACHED);
	on_cache("chmod 750 rootfs-*");
	expect_refused(&config, "chmod 700");
	on_cache("chmod 700 rootfs-*");
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_CACHED);
}
END_TEST

START_TEST(what_belongs_to_others_is_refused)
{
	struct guest_config config = config_cached(rootfs_tar());

	FILLED_OR_SKIP(&config);
	on_cache("chown 12345 .");
	expect_refused(&config, "12345");
	on_cache("chown 0 . && chown 12345 rootfs-*");
	expect_refused(&config, "12345");
	on_cache("chown 0 rootfs-*");
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_CACHED);
}
END_TEST

START_TEST(symbolic_link_to_a_cache_is_refused)
{
	struct guest_config config = config_cached(rootfs_tar());

	ck_assert_int_eq(symlink(scratch(NULL), scratch("cache")), 0);
	expect_refused(&config, "symbolic link");
	ck_assert_int_eq(unlink(scratch("cache")), 0);
	write_text(scratch("cache"), "");
	expect_refused(&config, "no directory");
	ck_assert_int_eq(unlink(scratch("cache")), 0);
}
END_TEST

/* Others reach nothing of it, set-user-ID files above all, whatever the user's umask and folders say. */
START_TEST(entries_are_closed_to_others)
{
	struct guest_config config = config_cached(rootfs_tar());

	ck_assert_int_eq(mkdir(config.cache_dir, 0700), 0);
	ck_assert_int_eq(chmod(config.cache_dir, 02755), 0);
	umask(0);
	FILLED_OR_SKIP(&config);
	on_cache("test $(stat -c %a rootfs-*) = 700 && test $(stat -c %a rootfs-*/rootfs) = 755");
	umask(077);
	on_cache("chmod -R u+w . && rm -rf rootfs-*");
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_FILLED);
	on_cache("test $(stat -c %a rootfs-*) = 700 && test $(stat -c %a rootfs-*/rootfs) = 755");
}
END_TEST

START_TEST(place_is_the_users_by_default)
{
	struct guest_config config = config_cached(rootfs_tar());
	struct guest_error err;

	config.cache_dir = "";
	unsetenv("XDG_CACHE_HOME");
	unsetenv("HOME");
	ck_assert_int_eq(init_fails(&config, &err), -ENOENT);
	ck_assert_int_eq(err.stage, GUEST_STAGE_CACHE);
	setenv("HOME", scratch("home"), 1);
	setenv("XDG_CACHE_HOME", "relative", 1);
	ck_assert_int_eq(mkdir(scratch("home"), 0700), 0);
	FILLED_OR_SKIP(&config);
	on_host("test -d $HOME/.cache/libguest/rootfs-*/rootfs && test $(stat -c %a $HOME/.cache/libguest) = 700");
	setenv("XDG_CACHE_HOME", scratch("cache"), 1);
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_FILLED);
	on_cache("test -d libguest/rootfs-*");
	config.cache_dir = "relative";
	ck_assert_int_eq(init_fails(&config, &err), -EINVAL);
}
END_TEST

/* --- where there can be none --- */

/* The guest works nevertheless. */
static void expect_none(const struct guest_config *config, const char *word)
{
	struct guest *guest = guest_with(config);
	struct guest_info info = info_of(guest);

	ck_assert_uint_eq(info.template_source, GUEST_TEMPLATE_NO_CACHE);
	ck_assert_msg(strstr(info.cache_error, word) != NULL, "%s", info.cache_error);
	expect_alive(guest);
	guest_end(guest);
	guest_trim(NULL);
}

START_TEST(directories_and_pipes_have_no_entry)
{
	struct guest_config config = config_cached(tiny_rootfs());
	char command[512];
	FILE *pipe;

	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_DIRECTORY);
	snprintf(command, sizeof(command), "cat %s", rootfs_tar());
	pipe = popen(command, "re");
	ck_assert_ptr_nonnull(pipe);
	config.rootfs_path = NULL;
	config.rootfs_fd = fileno(pipe);
	expect_none(&config, "not a whole file");
	pclose(pipe);
	ck_assert_int_eq(access(config.cache_dir, F_OK), -1);
}
END_TEST

START_TEST(open_archive_is_cached_from_its_beginning_only)
{
	struct guest_config config = config_cached(rootfs_tar());
	int fd = open(config.rootfs_path, O_RDONLY | O_CLOEXEC);

	FILLED_OR_SKIP(&config);
	config.rootfs_path = NULL;
	config.rootfs_fd = fd;
	ck_assert_uint_eq(info_of(guest_with(&config)).template_source, GUEST_TEMPLATE_CACHED);
	close(fd);
}
END_TEST

START_TEST(folder_that_cannot_be_written_to_serves_what_it_has)
{
	struct guest_config config = config_cached(rootfs_tar());

	FILLED_OR_SKIP(&config);
	on_cache("chmod 500 .");
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_CACHED);
	on_cache("touch $KEY/rootfs/new");
	expect_none(&config, "Permission denied");
	on_cache("chmod -R u+w . && rm -rf rootfs-* && chmod 500 .");
	expect_none(&config, "Permission denied");
	on_cache("chmod 700 .");
}
END_TEST

START_TEST(rootfs_beyond_its_caps_is_refused_as_without_a_cache)
{
	struct guest_config config = config_cached(rootfs_tar());
	struct guest_error err;

	config.rootfs_inodes = 4;
	ck_assert_int_eq(init_fails(&config, &err), -ENOSPC);
	ck_assert_int_eq(err.stage, GUEST_STAGE_UNPACK);
	on_cache("test -z \"$(ls -A)\"");
	config.cache_dir = NULL;
	ck_assert_int_eq(init_fails(&config, &err), -ENOSPC);
}
END_TEST

static int own_namespace = -1;

/* A file system on the cache, in a mount namespace of this test, to be left with umount_cache(). */
static bool mount_cache(const char *type, const char *data)
{
	own_namespace = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       (mkdir(scratch("cache"), 0700) == 0 || errno == EEXIST) &&
	       mount(type, scratch("cache"), type, 0, data) == 0;
}

static void umount_cache(void)
{
	ck_assert_int_eq(setns(own_namespace, CLONE_NEWNS), 0);
	close(own_namespace);
}

START_TEST(full_disk_is_no_obstacle)
{
	struct guest_config config = config_cached(rootfs_tar());

	bool mounted = mount_cache("tmpfs", "mode=700,size=16k");

	if (mounted) {
		expect_none(&config, "");
		on_cache("test -z \"$(ls -A)\"");
	}
	umount_cache();
	SKIP_IF(!mounted, "no tmpfs can be mounted");
}
END_TEST

START_TEST(read_only_disk_serves_what_it_has)
{
	struct guest_config config = config_cached(rootfs_tar());

	bool mounted = mount_cache("tmpfs", "mode=700") && can_be_mounted(&config);

	if (mounted) {
		ck_assert_int_eq(mount(NULL, config.cache_dir, NULL, MS_REMOUNT | MS_RDONLY, "mode=700"), 0);
		ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_CACHED);
		ck_assert_int_eq(mount(NULL, config.cache_dir, NULL, MS_REMOUNT, "mode=700"), 0);
		on_cache("chmod -R u+w . && rm -rf *");
		ck_assert_int_eq(mount(NULL, config.cache_dir, NULL, MS_REMOUNT | MS_RDONLY, "mode=700"), 0);
		expect_none(&config, "Read-only");
	}
	umount_cache();
	SKIP_IF(!mounted, "no tmpfs can be mounted, or not idmapped");
}
END_TEST

/* Overlayfs can be mounted idmapped by no kernel so far. */
START_TEST(file_system_that_cannot_be_mounted_idmapped_is_named)
{
	struct guest_config config = config_cached(rootfs_tar());
	char data[1024];
	bool mounted;

	ck_assert_int_eq(mkdir(scratch("lower"), 0700) | mkdir(scratch("upper"), 0700) | mkdir(scratch("work"), 0700),
			 0);
	snprintf(data, sizeof(data), "lowerdir=%s,upperdir=%s,workdir=%s", scratch("lower"), scratch("upper"),
		 scratch("work"));
	mounted = mount_cache("overlay", data);
	if (mounted) {
		expect_none(&config, "idmapped");
		on_cache("test -z \"$(ls -A)\"");
	}
	umount_cache();
	SKIP_IF(!mounted, "no overlayfs can be mounted");
}
END_TEST

/* --- many, and killed ones --- */

static pid_t fill_in_child(const struct guest_config *config)
{
	struct guest_command command = command_of(ARGV("/bin/tool", "echo", "on"));
	struct guest_result result = { .size = sizeof(result) };
	struct guest_error err = { .size = sizeof(err) };
	struct guest_info info = { .size = sizeof(info) };
	struct guest *guest;
	bool works;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	works = guest_init(&guest, config, &err) == 0 && guest_info(guest, &info, &err) == 0 &&
		guest_run(guest, &command, &result, &err) == 0 && result.exit_code == 0 && result.stdout_size == 3 &&
		info.template_source != GUEST_TEMPLATE_NO_CACHE && guest_shutdown(guest, &err) == 0;
	if (!works)
		dprintf(STDERR_FILENO, "%s, template %u, %s\n", err.message, info.template_source, info.cache_error);
	_exit(!works);
}

/* What was left behind goes when the next one fills. */
static void expect_clean_when_old(const struct guest_config *config)
{
	on_cache("touch $KEY/rootfs/new; for i in tmp-*; do [ ! -e $i ] || touch -d '2 minutes ago' $i; done");
	ck_assert_uint_eq(source_of(config), GUEST_TEMPLATE_FILLED);
	on_cache("test \"$(echo *)\" = \"$(echo rootfs-*)\"");
}

START_TEST(many_processes_fill_at_once)
{
	struct guest_config config = config_cached(rootfs_tar());
	pid_t pids[CROWD];
	int status;

	FILLED_OR_SKIP(&config);
	for (int round = 0; round < 5; round++) {
		on_cache(round % 2 ? "chmod -R u+w . && rm -rf *" : "touch $KEY/rootfs/new");
		for (int i = 0; i < CROWD; i++)
			pids[i] = fill_in_child(&config);
		for (int i = 0; i < CROWD; i++) {
			ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
			ck_assert_int_eq(status, 0);
		}
		ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_CACHED);
	}
	expect_clean_when_old(&config);
}
END_TEST

START_TEST(killed_while_filling_leaves_nothing_that_counts)
{
	struct guest_config config = config_cached(rootfs_tar());
	uint64_t start, took;
	uint32_t source;
	pid_t pid;

	FILLED_OR_SKIP(&config);
	on_cache("chmod -R u+w . && rm -rf *");
	start = now_ns();
	ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_FILLED);
	took = now_ns() - start;
	for (unsigned int i = 0; i < 20; i++) {
		on_cache("chmod -R u+w . && rm -rf rootfs-*");
		pid = fill_in_child(&config);
		usleep((useconds_t)(took * i / 20 / 1000));
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		invariants_wait_lost(1000);
		source = source_of(&config);
		ck_assert_msg(source == GUEST_TEMPLATE_FILLED || source == GUEST_TEMPLATE_CACHED, "%u", source);
		ck_assert_uint_eq(source_of(&config), GUEST_TEMPLATE_CACHED);
	}
	expect_clean_when_old(&config);
}
END_TEST

/* So that they can be removed. */
static void open_directories(void)
{
	char command[512];

	snprintf(command, sizeof(command), "chmod -R u+rwX %s", scratch(NULL));
	on_host(command);
}

static TCase *cache_case(Suite *suite, const char *name)
{
	TCase *tcase = suite_case(suite, name, 120);

	tcase_add_checked_fixture(tcase, NULL, open_directories);
	return tcase;
}

static Suite *make(void)
{
	Suite *suite = suite_create("cache");
	TCase *tcase = cache_case(suite, "entries");

	tcase_add_test(tcase, filled_by_the_first_and_found_by_the_next);
	tcase_add_test(tcase, embedded_rootfs_is_the_same_from_a_cache);
	tcase_add_test(tcase, changed_entry_is_made_anew);
	tcase_add_test(tcase, entry_of_other_ids_is_removed);
	tcase_add_test(tcase, changed_archive_has_another_entry);
	tcase_add_test(tcase, what_nobody_has_used_for_a_month_is_removed);
	tcase_add_test(tcase, tree_that_is_too_deep_is_removed);
	tcase_add_test(tcase, changed_entry_in_use_is_not_removed);
	tcase_add_test(tcase, guests_of_different_caches_share_no_keeper);
	tcase = cache_case(suite, "trust");
	tcase_add_test(tcase, what_others_may_write_to_is_refused);
	tcase_add_test(tcase, symbolic_link_to_a_cache_is_refused);
	tcase_add_test(tcase, entries_are_closed_to_others);
	tcase_add_test(tcase, place_is_the_users_by_default);
	tcase = cache_case(suite, "none");
	tcase_add_test(tcase, directories_and_pipes_have_no_entry);
	tcase_add_test(tcase, open_archive_is_cached_from_its_beginning_only);
	tcase_add_test(tcase, rootfs_beyond_its_caps_is_refused_as_without_a_cache);
	if (geteuid() != 0) { /* who may write anywhere */
		tcase_add_test(tcase, folder_that_cannot_be_written_to_serves_what_it_has);
	} else { /* who may mount, and give files away */
		tcase_add_test(tcase, what_belongs_to_others_is_refused);
		tcase_add_test(tcase, full_disk_is_no_obstacle);
		tcase_add_test(tcase, read_only_disk_serves_what_it_has);
		tcase_add_test(tcase, file_system_that_cannot_be_mounted_idmapped_is_named);
	}
	tcase = cache_case(suite, "crowd");
	tcase_add_test(tcase, many_processes_fill_at_once);
	tcase_add_test(tcase, killed_while_filling_leaves_nothing_that_counts);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
