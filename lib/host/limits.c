// SPDX-License-Identifier: MIT
/*
 * What holds for a guest and for each of its commands, and who sees to it: a control group, else
 * (for memory, processes and CPU time) the guest's holder, by rlimits and by looking.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "host/host.h"

static struct cgroup_limits values_of(const struct guest_config *config)
{
	return (struct cgroup_limits){
		.memory = config->memory_bytes,
		.memory_high = config->memory_high_bytes,
		.pids = config->pids_max,
		.cpu_quota = config->cpu_quota,
		.cpu_weight = config->cpu_weight,
		.io_max = config->io_max,
	};
}

struct group_wish limits_wish(const struct guest_config *config)
{
	const struct cgroup_limits values = values_of(config);
	struct group_wish wish = {
		.parent = config->cgroup_parent,
		.controllers = cgroup_limits_need(&values),
		.may_move_host = config->flags & GUEST_MOVE_HOST,
	};

	wish.wanted = wish.controllers || wish.parent || config->flags & GUEST_CGROUP;
	return wish;
}

static uint32_t by_group(const struct guest *guest)
{
	return guest->keeper->group.tree.by_systemd ? GUEST_ENFORCED_CGROUP2_SYSTEMD :
						      GUEST_ENFORCED_CGROUP2;
}

static bool is_given(uint64_t value)
{
	return value != 0 && value != GUEST_LIMIT_KEEP;
}

static void keep(uint64_t *value, uint64_t next)
{
	if (next != GUEST_LIMIT_KEEP)
		__atomic_store_n(value, next, __ATOMIC_RELAXED);
}

/* The limits in force, after a change. */
static void remember(struct limits *limits, const struct cgroup_limits *values)
{
	keep(&limits->values.memory, values->memory);
	keep(&limits->values.memory_high, values->memory_high);
	keep(&limits->values.pids, values->pids);
	keep(&limits->values.cpu_quota, values->cpu_quota);
	keep(&limits->values.cpu_weight, values->cpu_weight);
}

static bool has_io(const struct cgroup_limits *values)
{
	return values->io_max && values->io_max[0] != '\0';
}

static void settle(uint32_t *by, uint64_t value, uint32_t enforcer)
{
	if (value != GUEST_LIMIT_KEEP)
		__atomic_store_n(by, value ? enforcer : GUEST_ENFORCED_NOT, __ATOMIC_RELAXED);
}

/* `enforcer` sees to those of the values that are not to be kept. */
static void enforce(struct enforcers *by, const struct cgroup_limits *values, uint32_t enforcer)
{
	settle(&by->memory, values->memory, enforcer);
	settle(&by->memory_high, values->memory_high, enforcer);
	settle(&by->pids, values->pids, enforcer);
	settle(&by->cpu, values->cpu_quota, enforcer);
	settle(&by->cpu_weight, values->cpu_weight, enforcer);
	settle(&by->io, values->io_max ? has_io(values) : GUEST_LIMIT_KEEP, enforcer);
}

/* What holds for the guest holds for its commands. */
static struct enforcers inherit(struct enforcers *from)
{
	return (struct enforcers){
		.memory = __atomic_load_n(&from->memory, __ATOMIC_RELAXED),
		.memory_high = __atomic_load_n(&from->memory_high, __ATOMIC_RELAXED),
		.pids = __atomic_load_n(&from->pids, __ATOMIC_RELAXED),
		.cpu = __atomic_load_n(&from->cpu, __ATOMIC_RELAXED),
		.cpu_weight = __atomic_load_n(&from->cpu_weight, __ATOMIC_RELAXED),
		.io = __atomic_load_n(&from->io, __ATOMIC_RELAXED),
	};
}

/* All devices' limits, after a change of some. */
static int remember_io(struct limits *limits, struct guest_error *err)
{
	char text[CGROUP_IO_TEXT_MAX];
	int r = fd_read_text_at(limits->dir, "io.max", text, sizeof(text));
	char *copy = strdup(text);

	if (!copy || (r < 0 && r != -ENOENT)) {
		free(copy);
		return error_make(err, copy ? -r : ENOMEM, GUEST_STAGE_LIMITS, "io.max");
	}
	free((char *)limits->values.io_max);
	limits->values.io_max = copy;
	return 0;
}

/* They are the group's now, and no longer the holder's. */
static int remember_group(struct guest *guest, const struct cgroup_limits *values,
			  struct guest_error *err)
{
	struct limits *limits = &guest->limits;
	struct cgroup_limits now = *values;
	int r = 0;

	remember(limits, values);
	if (values->io_max) {
		r = remember_io(limits, err);
		now.io_max = limits->values.io_max;
	}
	if (values->memory != GUEST_LIMIT_KEEP)
		limits->wire.memory_bytes = 0;
	if (values->pids != GUEST_LIMIT_KEEP)
		limits->wire.pids_max = limits->wire.processes = 0;
	enforce(&limits->by, &now, by_group(guest));
	return r;
}

static bool is_grouped(const struct guest *guest)
{
	return __atomic_load_n(&guest->limits.dir, __ATOMIC_ACQUIRE) >= 0;
}

static int make_group(struct guest *guest, struct guest_error *err)
{
	struct limits *limits = &guest->limits;

	int dir;

	if (limits->dir >= 0)
		return 0;
	/* a holder that is older than its keeper's groups must be among them, to put commands there
	 */
	if (guest->pidfd >= 0 &&
	    cgroup_tree_adopt(&guest->keeper->group.tree, fd_pidfd_number(guest->pidfd), err) < 0)
		return err->code;
	dir = group_make_guest(guest->keeper, &limits->path, err);
	if (dir < 0)
		return dir;
	__atomic_store_n(&limits->dir, dir, __ATOMIC_RELEASE);
	return 0;
}

static int set_by_group(struct guest *guest, const struct cgroup_limits *values,
			struct guest_error *err)
{
	int r = make_group(guest, err);

	if (r == 0)
		r = cgroup_limits_write(guest->limits.dir, values, err);
	return r < 0 ? r : remember_group(guest, values, err);
}

/*
 * Memory and processes, by the holder. RLIMIT_NPROC counts the threads of one user ID of the
 * guest, the holder's among root's, and a guest that may change its IDs has many.
 */
static void set_by_holder(struct guest *guest, const struct cgroup_limits *values)
{
	struct limits *limits = &guest->limits;
	bool one_id = guest->keeper->ids_count == 1 || !guest->has_setuid;
	uint64_t holder = guest->keeper->ids_count == 1 || guest->uid == 0;

	keep(&limits->values.memory, values->memory);
	keep(&limits->values.pids, values->pids);
	if (values->memory != GUEST_LIMIT_KEEP)
		limits->wire.memory_bytes = values->memory;
	if (values->pids != GUEST_LIMIT_KEEP) {
		limits->wire.pids_max = one_id ? 0 : values->pids;
		limits->wire.processes = values->pids ? values->pids + holder : 0;
	}
	settle(&limits->by.memory, values->memory, GUEST_ENFORCED_SAMPLED);
	settle(&limits->by.pids, values->pids,
	       one_id ? GUEST_ENFORCED_RLIMIT : GUEST_ENFORCED_SAMPLED);
}

/* The first of the limits for which there is nothing but a group, and these controllers do not do.
 */
static const char *needs_group(const struct cgroup_limits *values, uint32_t controllers)
{
	uint32_t missing = cgroup_limits_need(values) & ~controllers;

	if (missing & CGROUP_CPU)
		return is_given(values->cpu_quota) ? "cpu_quota" : "cpu_weight";
	if (missing & CGROUP_MEMORY && is_given(values->memory_high))
		return "memory_high_bytes";
	return missing & CGROUP_IO ? "io_max" : NULL;
}

/* In front of what went wrong with the group. */
static int refuse(const char *name, struct guest_error *err)
{
	struct guest_error why = *err;

	error_text(err, EOPNOTSUPP, GUEST_STAGE_LIMITS, "%s: %s", name,
		   strncmp(why.message, "cgroup: ", 8) == 0 ? why.message + 8 : why.message);
	err->sys_errno = why.sys_errno;
	return err->code;
}

/* Go on without a group, if the caller lets us. */
static int accept_no_group(const struct guest *guest, const struct cgroup_limits *values,
			   struct guest_error *err)
{
	const struct limits *limits = &guest->limits;
	const char *name = needs_group(values, group_controllers(guest->keeper));

	if (!name)
		name = needs_group(values, 0);
	if (!name && limits->only_cgroup)
		name = "GUEST_CGROUP";
	if (name && !limits->best_effort)
		return refuse(name, err);
	err->code = 0;
	return 0;
}

/* With best effort, limits are dropped whose controllers are not there when others are. */
static int try_group(struct guest *guest, struct group_wish *wish, struct cgroup_limits *values,
		     struct guest_error *err)
{
	static const uint32_t without[] = { CGROUP_IO, CGROUP_CPU, CGROUP_CPU | CGROUP_IO };
	const uint32_t wanted = wish->controllers;
	struct guest_error first;
	int r = group_get(guest->keeper, wish, err);

	if (r != -EOPNOTSUPP || !guest->limits.best_effort)
		return r;
	first = *err;
	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
		if ((wanted & without[i]) != without[i] || wanted == without[i])
			continue;
		wish->controllers = wanted & ~without[i];
		r = group_get(guest->keeper, wish, err);
		if (r < 0)
			continue;
		if (without[i] & CGROUP_CPU)
			values->cpu_quota = values->cpu_weight = GUEST_LIMIT_KEEP;
		if (without[i] & CGROUP_IO)
			values->io_max = NULL;
		err->code = 0;
		return 0;
	}
	*err = first;
	return err->code;
}

static int apply(struct guest *guest, struct group_wish *wish, struct cgroup_limits *values,
		 struct guest_error *err)
{
	struct limits *limits = &guest->limits;
	int r = limits->dir >= 0 || wish->wanted ? try_group(guest, wish, values, err) : -ENOENT;

	if (r == 0)
		return set_by_group(guest, values, err);
	if (r == -ENOENT || r == -EOPNOTSUPP)
		r = accept_no_group(guest, values, err);
	if (r == 0)
		set_by_holder(guest, values);
	return r;
}

int limits_init(struct guest *guest, const struct guest_config *config, struct wire_limits *wire,
		struct guest_error *err)
{
	struct cgroup_limits values = values_of(config);
	struct group_wish wish = limits_wish(config);
	int r;

	guest->limits = (struct limits){
		.dir = -EBADF,
		.best_effort = config->flags & GUEST_BEST_EFFORT,
		.only_cgroup = config->flags & GUEST_CGROUP || config->cgroup_parent,
		.wire = { .cpu_ns = config->budget_cpu_ns },
	};
	r = wish.wanted ? apply(guest, &wish, &values, err) : 0;
	if (r == 0)
		*wire = guest->limits.told = guest->limits.wire;
	return r;
}

void limits_end(struct guest *guest)
{
	if (guest->limits.dir >= 0)
		group_remove_guest(guest->keeper, guest->limits.path);
}

void limits_free(struct guest *guest)
{
	fd_close(&guest->limits.dir);
	free((char *)guest->limits.values.io_max);
	guest->limits.values.io_max = NULL;
	free(guest->limits.path);
	guest->limits.path = NULL;
}

static bool is_throttled(const struct guest *guest)
{
	return is_given(guest->limits.values.cpu_quota) || has_io(&guest->limits.values);
}

/* The guest's limits on the rates of CPU and I/O, on again. */
static void throttle(struct guest *guest)
{
	struct limits *limits = &guest->limits;
	const struct cgroup_limits values = {
		.memory = GUEST_LIMIT_KEEP,
		.memory_high = GUEST_LIMIT_KEEP,
		.pids = GUEST_LIMIT_KEEP,
		.cpu_quota = limits->values.cpu_quota,
		.cpu_weight = GUEST_LIMIT_KEEP,
		.io_max = limits->values.io_max,
	};
	struct guest_error err = { .size = sizeof(err) };

	if (!is_throttled(guest) || cgroup_limits_write(limits->dir, &values, &err) == 0)
		return;
	settle(&limits->by.cpu, 0, GUEST_ENFORCED_NOT); /* at least it is told */
	settle(&limits->by.io, 0, GUEST_ENFORCED_NOT);
}

static void unthrottle(struct guest *guest)
{
	if (is_throttled(guest))
		cgroup_unthrottle(guest->limits.dir);
}

void limits_lift(struct guest *guest, struct command_limits *limits)
{
	if (limits->dir < 0 || limits->lifted)
		return;
	limits->lifted = true;
	cgroup_unthrottle(limits->dir);
	pthread_mutex_lock(&guest->rates);
	if (guest->limits.lifted++ == 0)
		unthrottle(guest);
	pthread_mutex_unlock(&guest->rates);
}

static void end_lift(struct guest *guest)
{
	pthread_mutex_lock(&guest->rates);
	if (--guest->limits.lifted == 0)
		throttle(guest);
	pthread_mutex_unlock(&guest->rates);
}

void limits_lift_all(struct guest *guest)
{
	if (!is_grouped(guest))
		return;
	pthread_mutex_lock(&guest->rates);
	guest->limits.lifted++; /* for ever */
	cgroup_unthrottle_all(guest->limits.dir);
	pthread_mutex_unlock(&guest->rates);
}

/* While runs are being killed, the rates stay off. */
static int change(struct guest *guest, struct group_wish *wish, struct cgroup_limits *values,
		  struct guest_error *err)
{
	int r;

	pthread_mutex_lock(&guest->rates);
	if (guest->limits.lifted > 0)
		throttle(guest);
	r = apply(guest, wish, values, err);
	if (guest->limits.lifted > 0)
		unthrottle(guest);
	pthread_mutex_unlock(&guest->rates);
	return r;
}

int limits_set(struct guest *guest, const struct guest_limits *limits, struct guest_error *err)
{
	struct cgroup_limits values = {
		.memory = limits->memory_bytes,
		.memory_high = limits->memory_high_bytes,
		.pids = limits->pids_max,
		.cpu_quota = limits->cpu_quota,
		.cpu_weight = limits->cpu_weight,
		.io_max = limits->io_max,
	};
	struct group_wish wish = { .controllers = cgroup_limits_need(&values) };
	struct wire_limits *wire = &guest->limits.wire;
	struct wire_report report;
	int r;

	wish.wanted = wish.controllers;
	pthread_mutex_lock(&guest->lock);
	r = change(guest, &wish, &values, err);
	if (r == 0 && memcmp(&guest->limits.told, wire, sizeof(*wire)) != 0) {
		r = host_ask(guest, WIRE_ASK_LIMITS, wire, &report, err);
		if (r == 0)
			guest->limits.told = *wire;
	}
	pthread_mutex_unlock(&guest->lock);
	return r;
}

/* A group for commands of the guest, which then has one itself. */
static int enable_groups(struct guest *guest, struct cgroup_limits *values, struct guest_error *err)
{
	struct group_wish wish = { .wanted = true, .controllers = cgroup_limits_need(values) };
	uint32_t needed = wish.controllers | LIMITS_READY;
	int r;

	if ((__atomic_load_n(&guest->limits.enabled, __ATOMIC_ACQUIRE) & needed) == needed)
		return 0;
	pthread_mutex_lock(&guest->lock);
	r = try_group(guest, &wish, values, err);
	if (r == 0)
		r = make_group(guest, err);
	if (r == 0) {
		wish.controllers = group_controllers(guest->keeper);
		r = cgroup_enable(guest->limits.dir, wish.controllers);
		if (r < 0)
			error_make(err, -r, GUEST_STAGE_CGROUP, "cgroup.subtree_control");
	}
	if (r == 0)
		__atomic_store_n(&guest->limits.enabled, wish.controllers | LIMITS_READY,
				 __ATOMIC_RELEASE);
	pthread_mutex_unlock(&guest->lock);
	return r;
}

static int begin_in_group(struct guest *guest, const struct cgroup_limits *values,
			  struct command_limits *limits, struct guest_error *err)
{
	uint64_t number = __atomic_add_fetch(&guest->limits.commands, 1, __ATOMIC_RELAXED);
	struct cgroup_usage usage = { 0 };
	int r;

	snprintf(limits->name, sizeof(limits->name), "run-%" PRIu64, number);
	limits->dir = cgroup_make(&guest->keeper->group.tree, guest->limits.dir, limits->name, err);
	if (limits->dir < 0)
		return limits->dir;
	r = cgroup_limits_write(limits->dir, values, err);
	if (r < 0)
		return r;
	(void)fd_write_file_at(limits->dir, "memory.oom.group", "1");
	cgroup_usage_read(guest->limits.dir, CGROUP_READ_PIDS_REFUSED, &usage);
	limits->pids_refused = usage.pids_refused;
	enforce(&limits->by, values, by_group(guest));
	return 0;
}

/* A new group has no limits to be taken off. */
static uint64_t if_given(uint64_t value)
{
	return value ? value : GUEST_LIMIT_KEEP;
}

/* Its holder sees to it, in a group or not. */
static int do_without(struct guest *guest, const struct guest_command *command,
		      struct cgroup_limits *values, struct wire_run_limits *wire,
		      struct guest_error *err)
{
	int r = accept_no_group(guest, values, err);

	if (r < 0)
		return r;
	*values = (struct cgroup_limits){ GUEST_LIMIT_KEEP, GUEST_LIMIT_KEEP, GUEST_LIMIT_KEEP,
					  GUEST_LIMIT_KEEP, GUEST_LIMIT_KEEP, NULL };
	wire->memory_bytes = command->memory_bytes;
	wire->pids_max = command->pids_max;
	return is_grouped(guest) ? enable_groups(guest, values, err) : 0;
}

int limits_begin_command(struct guest *guest, const struct guest_command *command,
			 struct command_limits *limits, struct wire_run_limits *wire,
			 struct guest_error *err)
{
	struct cgroup_limits values = {
		.memory = if_given(command->memory_bytes),
		.memory_high = if_given(command->memory_high_bytes),
		.pids = if_given(command->pids_max),
		.cpu_quota = if_given(command->cpu_quota),
		.cpu_weight = if_given(command->cpu_weight),
		.io_max = command->io_max && command->io_max[0] ? command->io_max : NULL,
	};
	int r = 0;

	*limits = (struct command_limits){ .dir = -EBADF, .by = inherit(&guest->limits.by) };
	if (command->cpu_time_ns || guest->budget.cpu_ns)
		limits->cpu_time_by = GUEST_ENFORCED_SAMPLED;
	if (cgroup_limits_need(&values) || is_grouped(guest)) {
		r = enable_groups(guest, &values, err);
		if (r == -EOPNOTSUPP)
			r = do_without(guest, command, &values, wire, err);
		if (r == 0 && is_grouped(guest))
			r = begin_in_group(guest, &values, limits, err);
	}
	if (wire->memory_bytes)
		limits->by.memory = GUEST_ENFORCED_SAMPLED;
	if (wire->pids_max)
		limits->by.pids = GUEST_ENFORCED_SAMPLED;
	return r;
}

void limits_end_command(struct guest *guest, struct command_limits *limits)
{
	if (limits->dir < 0)
		return;
	if (limits->lifted)
		end_lift(guest);
	/* busy only if something was left running in it: then it goes with the guest */
	(void)unlinkat(guest->limits.dir, limits->name, AT_REMOVEDIR);
	fd_close(&limits->dir);
}
