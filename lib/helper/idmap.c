// SPDX-License-Identifier: MIT
/*
 * Which ids a keeper gets, in order of preference:
 *
 *   a host that is root      a range of ids that nobody uses, taken from where systemd-nspawn takes
 * its own (524288 to 1879048191, UIDS-GIDS.md of systemd); inside a container with fewer ids, the
 * upper half of what it has. Guest root is never host root. newuidmap(1) usable      the caller's
 * own id as 0, its subordinate ids (subuid(5)) as 1 and up else                     the caller's
 * own id as 0
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

#define RANGE_BASE 524288U
#define RANGE_COUNT 65536U
#define RANGE_SLOTS 28000U

static bool has_capability(int capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return false;
	return data[capability / 32].effective >> (capability % 32) & 1;
}

/* A file, line by line. Not by stdio(3): what that allocates, each guest would get a copy of. */
struct lines {
	int fd;
	size_t at, size;
	char text[4096];
};

static void lines_open(struct lines *lines, const char *file)
{
	lines->fd = open(file, O_RDONLY | O_CLOEXEC);
	lines->at = lines->size = 0;
}

/* The next, without its end; what is too long is taken for several. NULL: there are no more. */
static char *lines_next(struct lines *lines)
{
	for (;;) {
		char *line = lines->text + lines->at;
		char *end = memchr(line, '\n', lines->size - lines->at);
		ssize_t n = 0;

		if (end) {
			lines->at = (size_t)(end + 1 - lines->text);
			*end = '\0';
			return line;
		}
		lines->size -= lines->at;
		memmove(lines->text, line, lines->size);
		lines->at = 0;
		if (lines->size < sizeof(lines->text) - 1)
			n = read(lines->fd, lines->text + lines->size,
				 sizeof(lines->text) - 1 - lines->size);
		if (n > 0) {
			lines->size += (size_t)n;
			continue;
		}
		if (lines->size == 0)
			return NULL;
		lines->text[lines->size] = '\0';
		lines->at = lines->size;
		return lines->text;
	}
}

/* The length of this process's longest run of ids from 0 on; 1 if it has no more than its own. */
static uint32_t ids_available(const char *map_file)
{
	uint32_t longest = 1;
	struct lines lines;
	char *line, *at;

	lines_open(&lines, map_file);
	while ((line = lines_next(&lines))) {
		unsigned long inside = strtoul(line, &at, 10);
		uint32_t count;

		strtoul(at, &at, 10);
		count = (uint32_t)strtoul(at, &at, 10);
		if (inside == 0 && count > longest)
			longest = count;
	}
	fd_close(&lines.fd);
	return longest;
}

static bool plan_privileged_range(struct idmap *map)
{
	uint32_t uids = ids_available("/proc/self/uid_map"),
		 gids = ids_available("/proc/self/gid_map");
	uint32_t available = uids < gids ? uids : gids;
	uint32_t base, count = RANGE_COUNT;

	if (available >= RANGE_BASE + RANGE_SLOTS * RANGE_COUNT) {
		/* Hosts get different slots, so that per-id quotas of one host's guests do not meet
		 * another's. */
		base = RANGE_BASE + (uint32_t)getppid() % RANGE_SLOTS * RANGE_COUNT;
		map->privileged = has_capability(CAP_SYS_ADMIN);
	} else if (available >= 2) {
		base = available - available / 2;
		count = available / 2 < count ? available / 2 : count;
	} else {
		return false;
	}
	map->lines[0] = (struct idmap_line){ .inside = 0, .outside = base, .count = count };
	map->gid_outside[0] = base;
	map->lines_count = 1;
	map->ids_count = count;
	return true;
}

/* The first range of a subuid(5) file for a user, by name or by number. */
static uint32_t subordinate_range(const char *file_name, const char *user, uid_t uid,
				  uint32_t *ret_start)
{
	struct lines lines;
	char number[16], *line;
	uint32_t count = 0;

	lines_open(&lines, file_name);
	snprintf(number, sizeof(number), "%u", uid);
	while (count == 0 && (line = lines_next(&lines))) {
		char *rest = line, *name = strsep(&rest, ":"), *start = strsep(&rest, ":");

		if (!start || !rest ||
		    ((!user || strcmp(name, user) != 0) && strcmp(name, number) != 0))
			continue;
		*ret_start = (uint32_t)strtoul(start, NULL, 10);
		count = (uint32_t)strtoul(rest, NULL, 10);
	}
	fd_close(&lines.fd);
	return count;
}

/* Ours, from passwd(5) or, if that does not have it, from wherever else users are kept. */
static bool user_name(char *name, size_t size)
{
	const struct passwd *passwd;
	struct lines lines;
	bool found = false;
	char *line;

	lines_open(&lines, "/etc/passwd");
	while (!found && (line = lines_next(&lines))) {
		char *rest = line, *user = strsep(&rest, ":"), *uid;

		strsep(&rest, ":"); /* the password */
		uid = strsep(&rest, ":");
		found = uid && rest && *uid && strtoul(uid, NULL, 10) == getuid();
		if (found)
			found = snprintf(name, size, "%s", user) < (int)size;
	}
	fd_close(&lines.fd);
	if (found)
		return true;
	passwd = getpwuid(getuid());
	return passwd && snprintf(name, size, "%s", passwd->pw_name) < (int)size;
}

static bool plan_subordinate_range(struct idmap *map)
{
	char name[256];
	const char *user = user_name(name, sizeof(name)) ? name : NULL;
	uint32_t uid_start, gid_start, uids, gids, count;

	if (access("/usr/bin/newuidmap", X_OK) < 0 || access("/usr/bin/newgidmap", X_OK) < 0)
		return false;
	uids = subordinate_range("/etc/subuid", user, getuid(), &uid_start);
	gids = subordinate_range("/etc/subgid", user, getuid(), &gid_start);
	count = uids < gids ? uids : gids;
	if (count == 0)
		return false;
	if (count > RANGE_COUNT - 1)
		count = RANGE_COUNT - 1;
	idmap_single(map);
	map->lines[1] = (struct idmap_line){ .inside = 1, .outside = uid_start, .count = count };
	map->gid_outside[1] = gid_start;
	map->lines_count = 2;
	map->ids_count = count + 1;
	map->by_newuidmap = true;
	map->deny_setgroups = false;
	return true;
}

void idmap_single(struct idmap *map)
{
	*map = (struct idmap){
		.lines = { { .inside = 0, .outside = geteuid(), .count = 1 } },
		.gid_outside = { getegid() },
		.lines_count = 1,
		.ids_count = 1,
		.deny_setgroups = true,
	};
}

/* Is our uid 0 the host's own? Seen from any other, what that owns belongs to 65534. */
static bool is_host_root(void)
{
	struct stat st;

	return stat("/proc/sys", &st) < 0 || st.st_uid == 0;
}

int idmap_plan(struct idmap *map, struct guest_error *err)
{
	*map = (struct idmap){ 0 };
	if (has_capability(CAP_SETUID) && has_capability(CAP_SETGID) && plan_privileged_range(map))
		return 0;
	if (geteuid() == 0 && is_host_root())
		return error_text(
			err, EPERM, GUEST_STAGE_UID_MAP,
			"the guest's root would be the host's; run as an ordinary user, or as root with "
			"CAP_SETUID, CAP_SETGID and more ids than one");
	if (!plan_subordinate_range(map))
		idmap_single(map);
	return 0;
}

void idmap_stored(const struct idmap *map, uint32_t ids[WIRE_IDS])
{
	for (uint32_t i = 0; i < map->lines_count; i++, ids += 3) {
		ids[0] = map->lines[i].count;
		ids[1] = map->privileged ? map->lines[i].inside : map->lines[i].outside;
		ids[2] = map->privileged ? map->lines[i].inside : map->gid_outside[i];
	}
}

static void format_lines(const struct idmap *map, bool gids, char *text, size_t size)
{
	size_t used = 0;

	for (uint32_t i = 0; i < map->lines_count; i++)
		used += (size_t)snprintf(text + used, size - used, "%u %u %u\n",
					 map->lines[i].inside,
					 gids ? map->gid_outside[i] : map->lines[i].outside,
					 map->lines[i].count);
}

static int write_file(int proc, pid_t pid, const char *file, const char *text,
		      struct guest_error *err)
{
	char path[48];
	int r;

	snprintf(path, sizeof(path), "%d/%s", pid, file);
	r = fd_write_file_at(proc, path, text);
	if (r == 0)
		return 0;
	r = error_make(err, -r, GUEST_STAGE_UID_MAP, "writing %s", file);
	if (r == -EPERM || r == -EACCES)
		helper_explain_apparmor(err);
	return r;
}

/* newuidmap PID INSIDE OUTSIDE COUNT ...: exits 0 when the map is written. */
static int run_newidmap(const char *program, const struct idmap *map, bool gids, pid_t pid)
{
	char numbers[7][12], *argv[9] = { (char *)program };
	size_t n = 0;
	int status;
	pid_t child;

	snprintf(numbers[n++], sizeof(numbers[0]), "%d", pid);
	for (uint32_t i = 0; i < map->lines_count; i++) {
		snprintf(numbers[n++], sizeof(numbers[0]), "%u", map->lines[i].inside);
		snprintf(numbers[n++], sizeof(numbers[0]), "%u",
			 gids ? map->gid_outside[i] : map->lines[i].outside);
		snprintf(numbers[n++], sizeof(numbers[0]), "%u", map->lines[i].count);
	}
	for (size_t i = 0; i < n; i++)
		argv[i + 1] = numbers[i];
	child = fork();
	if (child == 0) {
		execve(program, argv, (char *[]){ NULL });
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return -errno;
	return status == 0 ? 0 : -EPERM;
}

int idmap_write(const struct idmap *map, int proc, pid_t pid, struct guest_error *err)
{
	char text[128];
	int r;

	if (map->by_newuidmap) {
		if (run_newidmap("/usr/bin/newuidmap", map, false, pid) < 0 ||
		    run_newidmap("/usr/bin/newgidmap", map, true, pid) < 0)
			return error_text(err, EPERM, GUEST_STAGE_UID_MAP,
					  "newuidmap or newgidmap failed");
		return 0;
	}
	if (map->deny_setgroups) {
		r = write_file(proc, pid, "setgroups", "deny", err);
		if (r < 0)
			return r;
	}
	format_lines(map, true, text, sizeof(text));
	r = write_file(proc, pid, "gid_map", text, err);
	if (r < 0)
		return r;
	format_lines(map, false, text, sizeof(text));
	return write_file(proc, pid, "uid_map", text, err);
}

int idmap_write_nested(const struct idmap *map, int proc, pid_t pid, uint32_t uid, uint32_t gid,
		       struct guest_error *err)
{
	struct idmap nested = *map;

	nested.by_newuidmap = false;
	nested.deny_setgroups = false; /* inherited */
	for (uint32_t i = 0; i < map->lines_count; i++)
		nested.lines[i].outside = nested.gid_outside[i] = map->lines[i].inside;
	if (map->ids_count == 1) {
		char text[32];
		int r;

		snprintf(text, sizeof(text), "%u 0 1\n", gid);
		r = write_file(proc, pid, "gid_map", text, err);
		if (r < 0)
			return r;
		snprintf(text, sizeof(text), "%u 0 1\n", uid);
		return write_file(proc, pid, "uid_map", text, err);
	}
	return idmap_write(&nested, proc, pid, err);
}
