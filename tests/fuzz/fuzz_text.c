// SPDX-License-Identifier: MIT
/*
 * Every parser of text: what callers write, and what files of the kernel and of administrators
 * hold. The first byte of an input says which, the second is a size where one is needed, the rest
 * is the text. Sources whose parsers are their own are included.
 */
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "config/config.h"
#include "fuzz.h"

#define kill(pid, signal) abort() /* nothing is looked at that could have to be killed */
#include "base/fd.c"
#include "cgroup/find.c"
#include "helper/idmap.c"
#include "helper/usage.c"
#undef kill

/* What those are linked with and do not come to. */
struct run *sweep_owner(const struct holder *holder, pid_t pid)
{
	(void)holder;
	(void)pid;
	abort();
}

int helper_explain_apparmor(struct guest_error *err)
{
	(void)err;
	abort();
}

static void mount_options(uint32_t type, const char *text)
{
	const struct guest_mount from = {
		.size = sizeof(from),
		.type = type,
		.source = type == GUEST_MOUNT_BIND ? "/source" : NULL,
		.target = text[0] == '/' ? text : "/target",
		.options = text,
	};
	struct guest_error err = { .size = sizeof(err) };
	struct config_mount options;
	int r = config_read_mount(&options, &from, &err);

	check_error(r, &err);
	if (r < 0)
		return;
	ASSERT(strlen(options.tmpfs_data) < CONFIG_TMPFS_MAX);
	/* nothing that a tmpfs takes for another option */
	ASSERT(!options.tmpfs_data[strspn(options.tmpfs_data,
					  "0123456789kKmMgG%,=_abcdefghijklmnopqrstuvwxyz")]);
	ASSERT(type != GUEST_MOUNT_BIND || !options.tmpfs_data[0]);
}

static void capabilities(uint32_t uid, const char *text)
{
	struct guest_error err = { .size = sizeof(err) };
	uint64_t permitted, inheritable;
	int r = config_read_capabilities(text, uid, &permitted, &inheritable, &err);

	check_error(r, &err);
	ASSERT(r < 0 || (inheritable & ~permitted) == 0);
}

static void own_group(size_t size, const char *text)
{
	char *path = malloc(size);

	if (size > 0 && cgroup_parse_own(text, path, size))
		ASSERT(path[0] == '/' && strlen(path) < size && !strchr(path, '\n'));
	free(path);
}

static void keys(const char *text)
{
	static const char *const names[] = { "user_usec", "oom_kill", "max", "frozen", "" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)cgroup_parse_key(text, names[i]);
}

static void io_max(size_t size, const char *text)
{
	struct guest_error err = { .size = sizeof(err) };
	char *lines = malloc(size);
	int r = size > 0 ? cgroup_parse_io_max(text, lines, size, &err) : 0;

	check_error(r, &err);
	if (size > 0 && r == 0) /* whole lines, none of them empty */
		ASSERT(strlen(lines) < size && lines[0] != '\n' && !strstr(lines, "\n\n") &&
		       (!lines[0] || lines[strlen(lines) - 1] == '\n'));
	free(lines);
}

static void mount_table(size_t size, const char *text)
{
	static const char *const groups[] = { "/", "", "/a", "/user.slice/a", "/../x" };
	struct cgroup_place place = { .mount = "" };
	struct mnt mnt;
	int r;

	ASSERT(mnt_load(&mnt, GUEST_STAGE_CGROUP, NULL) == 0);
	strcpy(place.own, groups[size % (sizeof(groups) / sizeof(groups[0]))]);
	r = find_mount(&place, &mnt, file_of(text, strlen(text)));
	ASSERT(r == 0 || r == -ENOMEM);
	ASSERT(strlen(place.mount) < sizeof(place.mount) && strlen(place.own) < sizeof(place.own));
}

static void process_files(const char *text)
{
	struct usage usage = { 0 };

	read_stat(text, &usage);
	(void)kilobytes(text, "\nPss_Anon:");
	(void)kilobytes(text, "\nRssShmem:");
	(void)parse_pid(text);
}

static void segments_of(const char *text)
{
	size_t rest;

	(void)read_segments(text, &rest);
	ASSERT(rest <= strlen(text) && !strchr(text + rest, '\n'));
}

static void id_files(const char *text)
{
	const char *path = file_of(text, strlen(text));
	uint32_t start = 0;

	(void)ids_available(path);
	(void)subordinate_range(path, "user", 1000, &start);
	(void)subordinate_range(path, NULL, 0, &start);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	uint8_t which = take_byte(&input), number = take_byte(&input);
	char *text = take_string(&input);

	switch (which % 9) {
	case 0:
		mount_options(number % 2, text);
		break;
	case 1:
		capabilities(number, text);
		break;
	case 2:
		own_group(number, text);
		break;
	case 3:
		keys(text);
		break;
	case 4:
		io_max(number * 16U, text);
		break;
	case 5:
		mount_table(number, text);
		break;
	case 6:
		process_files(text);
		break;
	case 7:
		segments_of(text);
		break;
	case 8:
		id_files(text);
		break;
	}
	free(text);
	return 0;
}
