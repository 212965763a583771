// SPDX-License-Identifier: MIT
/*
 * guest_doctor(): a real guest is made, on a rootfs of one empty directory, and where it fails is
 * what does not work. That cannot disagree with what guest_init() does later. What is merely
 * optional is looked up.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "config/config.h"
#include "host/host.h"
#include "payload/payload.h"

#define KERNEL_MAJOR 5 /* overlayfs in user namespaces is of 5.11, mount_setattr(2) of 5.12 */
#define KERNEL_MINOR 12
#define ROOTFS_GROWS 6 /* an unpacked rootfs is smaller than so many times its archive */

struct walk {
	int (*on_finding)(void *user_data, const struct guest_finding *finding);
	void *user_data;
	int failed;
	bool stopped;
};

static void tell(struct walk *walk, uint32_t status, const char *name, const char *detail,
		 const char *remedy)
{
	const struct guest_finding finding = {
		.size = sizeof(finding),
		.status = status,
		.name = name,
		.detail = detail,
		.remedy = remedy,
	};

	if (walk->stopped)
		return;
	walk->failed += status == GUEST_FINDING_FAILED;
	walk->stopped = walk->on_finding(walk->user_data, &finding) != 0;
}

static void look_at_kernel(struct walk *walk)
{
	unsigned int major = 0, minor = 0;
	struct utsname name;
	char detail[160];
	bool old;

	uname(&name);
	old = sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
	      (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR));
	snprintf(detail, sizeof(detail), "Linux %s, %s", name.release, name.machine);
	tell(walk, old ? GUEST_FINDING_NOTE : GUEST_FINDING_OK, "kernel", detail,
	     old ? "Linux 5.12 or later is needed, unless features were backported" : "");
}

/* The steps of making a guest, in their order, and the stages by which their failure is known. */
static const struct {
	const char *name;
	const char *detail;
	int stages[4];
} steps[] = {
	{ "helper",
	  "the embedded helper starts",
	  { GUEST_STAGE_HELPER, GUEST_STAGE_PROTOCOL, GUEST_STAGE_MEMORY } },
	{ "user-namespace", "user namespaces can be made", { GUEST_STAGE_CLONE } },
	{ "id-map", NULL, { GUEST_STAGE_UID_MAP, GUEST_STAGE_CREDENTIALS } },
	{ "mounts",
	  "a private tree can be mounted and entered",
	  { GUEST_STAGE_MOUNT, GUEST_STAGE_PIVOT_ROOT } },
	{ "proc", "/proc can be mounted", { GUEST_STAGE_MOUNT_PROC } },
	{ "unpack", "an archive can be unpacked", { GUEST_STAGE_ROOTFS, GUEST_STAGE_UNPACK } },
	{ "overlay", "overlayfs works in a user namespace", { GUEST_STAGE_MOUNT_OVERLAY } },
	{ "network",
	  "a network namespace can be made, and lo brought up",
	  { GUEST_STAGE_NETWORK } },
	{ "seccomp",
	  "seccomp filters can be installed",
	  { GUEST_STAGE_SECCOMP, GUEST_STAGE_CAPABILITIES } },
	{ "command",
	  "a command can be started",
	  { GUEST_STAGE_FORK, GUEST_STAGE_PIPE, GUEST_STAGE_RLIMIT, GUEST_STAGE_HANDLE } },
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* Which step a failure belongs to; STEPS if there was none. */
static size_t failed_step(const struct guest_error *err)
{
	if (err->code == 0)
		return STEPS;
	for (size_t i = 0; i < STEPS; i++)
		for (size_t j = 0; j < 4; j++)
			if (steps[i].stages[j] == err->stage)
				return i;
	return 0;
}

static void tell_id_map(struct walk *walk, uint32_t ids_count)
{
	char detail[96];

	snprintf(detail, sizeof(detail),
		 ids_count == 1 ? "one id is mapped: %u" : "%u ids are mapped", ids_count);
	if (ids_count > 1)
		tell(walk, GUEST_FINDING_OK, "id-map", detail, "");
	else
		tell(walk, GUEST_FINDING_NOTE, "id-map",
		     "one id is mapped: root in a guest is the only user there",
		     "for more (apt, dpkg and servers want them) install newuidmap (package uidmap) and give this "
		     "user lines in /etc/subuid and /etc/subgid: usermod --add-subuids 100000-165535 "
		     "--add-subgids 100000-165535 USER");
}

/* A failure's message is "what: why; remedy". */
static void tell_failure(struct walk *walk, const char *name, const struct guest_error *err)
{
	char message[sizeof(err->message)];
	char *remedy;

	memcpy(message, err->message, sizeof(message));
	remedy = strstr(message, "; ");
	if (remedy) {
		*remedy = '\0';
		remedy += 2;
	}
	tell(walk, GUEST_FINDING_FAILED, name, message, remedy ? remedy : "");
}

/* A tar of one directory and nothing else. */
static int open_tiny_rootfs(struct guest_error *err)
{
	char tar[512 * 3] = "./";
	unsigned int sum = 0;
	int fd;

	strcpy(tar + 100, "0000755"); /* mode */
	strcpy(tar + 108, "0000000"); /* uid, gid, size, mtime */
	strcpy(tar + 116, "0000000");
	strcpy(tar + 124, "00000000000");
	strcpy(tar + 136, "00000000000");
	tar[156] = '5'; /* directory */
	memcpy(tar + 257, "ustar\00000", 8);
	memset(tar + 148, ' ', 8); /* the checksum counts itself as blanks */
	for (size_t i = 0; i < 512; i++)
		sum += (unsigned char)tar[i];
	snprintf(tar + 148, 8, "%06o", sum);
	fd = fd_sealed_copy("guest-doctor", tar, sizeof(tar), false);
	return fd < 0 ? error_make(err, -fd, GUEST_STAGE_HELPER, "memfd") : fd;
}

/* What the trial guest was given. */
struct trial {
	uint32_t ids_count;
	struct limits limits;
	struct guest_error no_group; /* why it has no control group */
};

/* Make a guest with every limit, and start in it a command that is not there: that it is looked for
 * is what we want to see. */
static int try_guest(struct trial *trial, struct guest_error *err)
{
	const char *const argv[] = { "/nothing", NULL };
	struct guest_command command;
	struct guest_config config, checked;
	struct guest_result result = { .size = sizeof(result) };
	struct guest *guest;
	int fd = open_tiny_rootfs(err), r;

	if (fd < 0)
		return fd;
	guest_config_init(&config, sizeof(config));
	config.rootfs_fd = fd;
	config.flags = GUEST_BEST_EFFORT;
	config.memory_bytes = 256 << 20;
	config.pids_max = 64;
	config.cpu_quota = 1000;
	r = config_read(&checked, &config, err);
	if (r == 0)
		r = host_guest_create(&guest, &checked, err);
	fd_close(&fd);
	if (r < 0)
		return r;
	trial->ids_count = guest->keeper->ids_count;
	trial->limits = guest->limits;
	trial->no_group = guest->keeper->group.error;
	keeper_retire(guest->keeper); /* its rootfs is of no use to anybody else */
	guest_command_init(&command, sizeof(command));
	command.argv = argv;
	command.cwd = "/";
	r = host_run(guest, &command, &result, err);
	if (r == -ENOENT && err->stage == GUEST_STAGE_EXECVE) {
		*err = (struct guest_error){ .size = sizeof(*err) };
		r = 0;
	}
	guest_result_clear(&result);
	host_guest_end(guest, NULL);
	return r;
}

/* What the guest was given, which had asked for all of it. */
static void tell_limits(struct walk *walk, const struct trial *trial)
{
	const struct guest_error *no_group = &trial->no_group;
	const struct limits *limits = &trial->limits;
	char detail[256];

	if (no_group->code < 0)
		tell(walk, GUEST_FINDING_NOTE, "cgroup2", no_group->message,
		     "systemd-run --user --scope -p Delegate=yes PROGRAM, which sets GUEST_MOVE_HOST, or "
		     "a cgroup_parent; else limits are sampled, with none on the rate of CPU and I/O");
	else
		tell(walk, GUEST_FINDING_OK, "cgroup2", "groups for guests can be made", "");
	snprintf(detail, sizeof(detail), "memory: %s, processes: %s, CPU: %s",
		 guest_enforcer_name(limits->by.memory), guest_enforcer_name(limits->by.pids),
		 guest_enforcer_name(limits->by.cpu));
	tell(walk, limits->by.cpu ? GUEST_FINDING_OK : GUEST_FINDING_NOTE, "limits", detail, "");
}

static void walk_steps(struct walk *walk)
{
	struct guest_error err = { .size = sizeof(err) };
	struct trial trial = { .ids_count = 0 };
	size_t failed;

	try_guest(&trial, &err);
	failed = failed_step(&err);
	for (size_t i = 0; i < failed; i++)
		if (steps[i].detail)
			tell(walk, GUEST_FINDING_OK, steps[i].name, steps[i].detail, "");
		else if (trial.ids_count > 0)
			tell_id_map(walk, trial.ids_count);
		else
			tell(walk, GUEST_FINDING_OK, steps[i].name, "ids can be mapped", "");
	if (failed < STEPS)
		tell_failure(walk, steps[failed].name, &err);
	else
		tell_limits(walk, &trial);
}

/* What can be had without swapping, page cache included; 0 if the kernel does not tell. */
static uint64_t memory_available(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kilobytes = 0;
	char line[128];

	while (file && !kilobytes && fgets(line, sizeof(line), file))
		sscanf(line, "MemAvailable: %llu", &kilobytes);
	if (file)
		fclose(file);
	return kilobytes << 10;
}

static void look_at_memory(struct walk *walk)
{
	uint64_t needed = (uint64_t)(payload_rootfs.end - payload_rootfs.data) * ROOTFS_GROWS;
	uint64_t available = memory_available();
	bool tight = available > 0 && available < needed;
	char detail[128];

	snprintf(detail, sizeof(detail),
		 "%llu MB of memory are available; the unpacked rootfs takes up to %llu",
		 (unsigned long long)(available >> 20), (unsigned long long)(needed >> 20));
	tell(walk, tight ? GUEST_FINDING_NOTE : GUEST_FINDING_OK, "memory", detail,
	     tight ? "the rootfs is unpacked into memory (tmpfs): free some, or use a smaller rootfs" :
		     "");
}

int guest_doctor(int (*on_finding)(void *user_data, const struct guest_finding *finding),
		 void *user_data, struct guest_error *err)
{
	struct walk walk = { .on_finding = on_finding, .user_data = user_data };
	struct guest_error own;
	int saved = errno;

	if (!on_finding) {
		error_text(&own, EINVAL, GUEST_STAGE_CONFIG, "on_finding is NULL");
		return error_copy_out(err, &own);
	}
	look_at_kernel(&walk);
	walk_steps(&walk);
	look_at_memory(&walk);
	errno = saved;
	return walk.failed;
}
