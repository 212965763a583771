// SPDX-License-Identifier: MIT
/* The files of a group, as in Documentation/admin-guide/cgroup-v2.rst of the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"
#include "cgroup/cgroup.h"

#define FREEZE_PAUSE_US 500
#define FREEZE_TIMEOUT_NS 2000000000ULL

static bool is_set(uint64_t value)
{
	return value != 0 && value != GUEST_LIMIT_KEEP;
}

uint32_t cgroup_limits_need(const struct cgroup_limits *limits)
{
	uint32_t need = 0;

	if (is_set(limits->memory) || is_set(limits->memory_high))
		need |= CGROUP_MEMORY;
	if (is_set(limits->pids))
		need |= CGROUP_PIDS;
	if (is_set(limits->cpu_quota) || is_set(limits->cpu_weight))
		need |= CGROUP_CPU;
	if (limits->io_max && limits->io_max[0])
		need |= CGROUP_IO;
	return need;
}

/* A file that is not there has no limit to be taken off. */
static int write_file(int dir, const char *file, const char *text, bool needed,
		      struct guest_error *err)
{
	int r = fd_write_file_at(dir, file, text);

	if (r == -ENOENT && !needed)
		return 0;
	return r < 0 ? error_make(err, -r, GUEST_STAGE_LIMITS, "%s = %.60s", file, text) : 0;
}

static int write_number(int dir, const char *file, uint64_t value, const char *none,
			struct guest_error *err)
{
	char text[32];

	if (value == GUEST_LIMIT_KEEP)
		return 0;
	snprintf(text, sizeof(text), "%" PRIu64, value);
	return write_file(dir, file, value ? text : none, value != 0, err);
}

/* cpu.max takes "QUOTA PERIOD" in microseconds, with a quota of at least 1000. */
static int write_cpu_quota(int dir, uint64_t thousandths, struct guest_error *err)
{
	uint64_t period = thousandths < 10 ? 1000000 : 100000;
	char text[64];

	if (thousandths == GUEST_LIMIT_KEEP)
		return 0;
	if (thousandths == 0)
		return write_file(dir, "cpu.max", "max", false, err);
	if (thousandths > UINT32_MAX)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "cpu_quota is too large");
	snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64, thousandths * period / 1000, period);
	return write_file(dir, "cpu.max", text, true, err);
}

/* One line, "DEVICE KEY=VALUE...", the device as the kernel names it. */
static int io_max_line(const char *line, size_t length, char *to, size_t size,
		       struct guest_error *err)
{
	size_t device = strcspn(line, " \t\n");
	char path[256];
	struct stat st;
	int n;

	if (line[0] != '/') {
		n = snprintf(to, size, "%.*s", (int)length, line);
		return n >= 0 && (size_t)n < size ? 0 : -E2BIG;
	}
	if (device >= sizeof(path) || device >= length)
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG, "io_max: %.100s", line);
	snprintf(path, sizeof(path), "%.*s", (int)device, line);
	if (stat(path, &st) < 0)
		return error_make(err, errno, GUEST_STAGE_CONFIG, "io_max: %.100s", path);
	if (!S_ISBLK(st.st_mode))
		return error_text(err, ENOTBLK, GUEST_STAGE_CONFIG,
				  "io_max: %.100s is no block device", path);
	n = snprintf(to, size, "%u:%u%.*s", major(st.st_rdev), minor(st.st_rdev),
		     (int)(length - device), line + device);
	return n >= 0 && (size_t)n < size ? 0 : -E2BIG;
}

int cgroup_parse_io_max(const char *text, char *lines, size_t size, struct guest_error *err)
{
	while (*text) {
		size_t length = strcspn(text, "\n"), used;
		int r = length ? io_max_line(text, length, lines, size, err) : 0;

		if (r == -E2BIG)
			return error_text(err, E2BIG, GUEST_STAGE_CONFIG, "io_max is too long");
		if (r < 0)
			return r;
		used = length ? strlen(lines) : 0;
		text += length + (text[length] == '\n');
		if (used == 0)
			continue;
		if (size - used < 2)
			return error_text(err, E2BIG, GUEST_STAGE_CONFIG, "io_max is too long");
		lines[used] = '\n';
		lines += used + 1;
		size -= used + 1;
	}
	*lines = '\0';
	return 0;
}

/* The file takes one line at a time. */
static int write_io_max(int dir, const char *text, struct guest_error *err)
{
	cleanup_free char *lines = malloc(CGROUP_IO_TEXT_MAX);
	char *line, *rest = lines;
	int r;

	if (!lines)
		return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "io_max");
	r = cgroup_parse_io_max(text, lines, CGROUP_IO_TEXT_MAX, err);
	while (r == 0 && (line = strsep(&rest, "\n")))
		if (*line)
			r = write_file(dir, "io.max", line, true, err);
	return r;
}

int cgroup_limits_write(int dir, const struct cgroup_limits *limits, struct guest_error *err)
{
	int r = write_number(dir, "memory.max", limits->memory, "max", err);

	/* else what exceeds it goes to swap; without swap there is no such file */
	if (r == 0 && is_set(limits->memory))
		r = write_file(dir, "memory.swap.max", "0", false, err);
	if (r == 0)
		r = write_number(dir, "memory.high", limits->memory_high, "max", err);
	if (r == 0)
		r = write_number(dir, "pids.max", limits->pids, "max", err);
	if (r == 0)
		r = write_cpu_quota(dir, limits->cpu_quota, err);
	if (r == 0)
		r = write_number(dir, "cpu.weight", limits->cpu_weight, "100", err);
	if (r == 0 && limits->io_max)
		r = write_io_max(dir, limits->io_max, err);
	return r;
}

static uint64_t read_number(int dir, const char *file)
{
	char text[32];

	(void)fd_read_text_at(dir, file, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

uint64_t cgroup_parse_key(const char *text, const char *key)
{
	size_t length = strlen(key);

	while (text && *text) {
		if (strncmp(text, key, length) == 0 && text[length] == ' ')
			return strtoull(text + length, NULL, 10);
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return 0;
}

void cgroup_usage_read(int dir, uint32_t what, struct cgroup_usage *usage)
{
	char text[1024];

	if (what & CGROUP_READ_CPU) {
		(void)fd_read_text_at(dir, "cpu.stat", text, sizeof(text));
		usage->user_ns = cgroup_parse_key(text, "user_usec") * 1000;
		usage->system_ns = cgroup_parse_key(text, "system_usec") * 1000;
	}
	if (what & CGROUP_READ_PEAKS) {
		usage->memory_peak = read_number(dir, "memory.peak");
		usage->processes_peak = read_number(dir, "pids.peak");
	}
	if (what & CGROUP_READ_NOW) {
		usage->memory_now = read_number(dir, "memory.current");
		usage->processes_now = read_number(dir, "pids.current");
	}
	if (what & CGROUP_READ_OOM_KILLS) {
		(void)fd_read_text_at(dir, "memory.events", text, sizeof(text));
		usage->oom_kills = cgroup_parse_key(text, "oom_kill");
	}
	if (what & CGROUP_READ_PIDS_REFUSED) {
		(void)fd_read_text_at(dir, "pids.events", text, sizeof(text));
		usage->pids_refused = cgroup_parse_key(text, "max");
	}
}

int cgroup_freeze(int dir, bool frozen, struct guest_error *err)
{
	uint64_t deadline = sys_now_ns() + FREEZE_TIMEOUT_NS;
	char text[256];
	int r = fd_write_file_at(dir, "cgroup.freeze", frozen ? "1" : "0");

	if (r < 0)
		return error_make(err, -r, GUEST_STAGE_CGROUP, "cgroup.freeze");
	for (;;) {
		(void)fd_read_text_at(dir, "cgroup.events", text, sizeof(text));
		if (cgroup_parse_key(text, "frozen") == frozen)
			return 0;
		if (sys_now_ns() >= deadline)
			return error_text(
				err, ETIMEDOUT, GUEST_STAGE_CGROUP,
				"a process of the guest does not stop: stuck in the kernel?");
		usleep(FREEZE_PAUSE_US);
	}
}
