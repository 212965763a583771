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

#define BASIC_CONTROLLERS (CGROUP_MEMORY | CGROUP_PIDS)

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
		*value = next;
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

/* `enforcer` sees to those of the values that are given. */
static void enforce(struct enforcers *by, const struct cgroup_limits *values, uint32_t enforcer)
{
	by->memory = is_given(values->memory) ? enforcer : by->memory;
	by->memory_high = is_given(values->memory_high) ? enforcer : by->memory_high;
	by->pids = is_given(values->pids) ? enforcer : by->pids;
	by->cpu = is_given(values->cpu_quota) ? enforcer : by->cpu;
	by->cpu_weight = is_given(values->cpu_weight) ? enforcer : by->cpu_weight;
	by->io = has_io(values) ? enforcer : by->io;
}

static void remember_group(struct guest *guest, const struct cgroup_limits *values)
{
	struct limits *limits = &guest->limits;

	remember(limits, values);
	limits->by = (struct enforcers){ .io = limits->by.io };
	enforce(&limits->by, &limits->values, by_group(guest));
	if (has_io(values))
		limits->by.io = by_group(guest);
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
	if (r == 0)
		remember_group(guest, values);
	return r;
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
	limits->wire.memory_bytes = limits->values.memory;
	limits->wire.pids_max = one_id ? 0 : limits->values.pids;
	limits->wire.processes = limits->values.pids ? limits->values.pids + holder : 0;
	limits->by.memory = limits->values.memory ? GUEST_ENFORCED_SAMPLED : GUEST_ENFORCED_NOT;
	limits->by.pids = !limits->values.pids ? GUEST_ENFORCED_NOT :
			  one_id	       ? GUEST_ENFORCED_RLIMIT :
						 GUEST_ENFORCED_SAMPLED;
}

/* The first of the limits for which there is nothing but a group. */
static const char *needs_group(const struct cgroup_limits *values)
{
	return is_given(values->cpu_quota)   ? "cpu_quota" :
	       is_given(values->cpu_weight)  ? "cpu_weight" :
	       is_given(values->memory_high) ? "memory_high_bytes" :
	       has_io(values)		     ? "io_max" :
					       NULL;
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

/* Go on without a group, or without some controllers of it, if the caller lets us. */
static int accept_no_group(const struct guest *guest, const struct cgroup_limits *values,
			   struct guest_error *err)
{
	const struct limits *limits = &guest->limits;

	if (!limits->best_effort && needs_group(values))
		return refuse(needs_group(values), err);
	if (!limits->best_effort && limits->only_cgroup)
		return refuse("GUEST_CGROUP", err);
	err->code = 0;
	return 0;
}

static void keep_basic(struct cgroup_limits *values)
{
	values->cpu_quota = values->cpu_weight = GUEST_LIMIT_KEEP;
	values->io_max = NULL;
}

/* Some controllers may be there when others are not. */
static int try_group(struct guest *guest, struct group_wish *wish, struct cgroup_limits *values,
		     struct guest_error *err)
{
	uint32_t basic = wish->controllers & BASIC_CONTROLLERS;
	struct guest_error first;
	int r = group_get(guest->keeper, wish, err);

	if (r == 0 || !guest->limits.best_effort || basic == wish->controllers)
		return r;
	first = *err;
	wish->controllers = basic;
	r = group_get(guest->keeper, wish, err);
	if (r < 0) {
		*err = first;
		return r;
	}
	keep_basic(values);
	return 0;
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
		*wire = guest->limits.wire;
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
	free(guest->limits.path);
	guest->limits.path = NULL;
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
	struct wire_report report;
	int r;

	wish.wanted = wish.controllers;
	pthread_mutex_lock(&guest->lock);
	r = apply(guest, &wish, &values, err);
	if (r == 0 && guest->limits.dir < 0)
		r = host_ask(guest, WIRE_ASK_LIMITS, &guest->limits.wire, &report, err);
	pthread_mutex_unlock(&guest->lock);
	return r;
}

/* The guest's group must let those of its commands have the controllers. */
static int enable(struct guest *guest, uint32_t controllers, struct guest_error *err)
{
	struct cgroup_tree *tree = &guest->keeper->group.tree;
	struct group_wish wish = { .wanted = true, .controllers = controllers & ~LIMITS_READY };
	int r;

	if ((__atomic_load_n(&guest->limits.enabled, __ATOMIC_ACQUIRE) & controllers) ==
	    controllers)
		return 0;
	pthread_mutex_lock(&guest->lock);
	r = group_get(guest->keeper, &wish, err);
	if (r == 0) {
		r = cgroup_enable(guest->limits.dir, tree->controllers);
		if (r < 0)
			error_make(err, -r, GUEST_STAGE_CGROUP, "cgroup.subtree_control");
	}
	if (r == 0)
		__atomic_store_n(&guest->limits.enabled, tree->controllers | LIMITS_READY,
				 __ATOMIC_RELEASE);
	pthread_mutex_unlock(&guest->lock);
	return r;
}

/* A group for commands of the guest, which then has one itself. */
static int enable_groups(struct guest *guest, uint32_t controllers, struct guest_error *err)
{
	struct group_wish wish = { .wanted = true, .controllers = controllers };
	int r = 0;

	if (!is_grouped(guest)) {
		pthread_mutex_lock(&guest->lock);
		r = group_get(guest->keeper, &wish, err);
		if (r == 0)
			r = make_group(guest, err);
		pthread_mutex_unlock(&guest->lock);
	}
	return r < 0 ? r : enable(guest, controllers | LIMITS_READY, err);
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

/* What is left for a group when not all controllers can be had; the holder sees to the rest. */
static int do_without(struct guest *guest, const struct guest_command *command,
		      struct cgroup_limits *values, struct wire_run_limits *wire,
		      struct guest_error *err)
{
	const struct cgroup_limits keep_all = {
		GUEST_LIMIT_KEEP, GUEST_LIMIT_KEEP, GUEST_LIMIT_KEEP,
		GUEST_LIMIT_KEEP, GUEST_LIMIT_KEEP, NULL,
	};
	const uint32_t needed = cgroup_limits_need(values), basic = needed & BASIC_CONTROLLERS;
	int r = accept_no_group(guest, values, err);

	if (r < 0)
		return r;
	keep_basic(values);
	r = basic && basic != needed ? enable_groups(guest, basic, err) : -EOPNOTSUPP;
	if (r != -EOPNOTSUPP)
		return r;
	err->code = 0;
	*values = keep_all;
	wire->memory_bytes = command->memory_bytes;
	wire->pids_max = command->pids_max;
	return is_grouped(guest) ? enable_groups(guest, 0, err) : 0;
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
		.io_max = command->io_max,
	};
	uint32_t controllers = cgroup_limits_need(&values);
	int r = 0;

	*limits = (struct command_limits){ .dir = -EBADF, .by = guest->limits.by };
	if (command->cpu_time_ns || guest->budget.cpu_ns)
		limits->cpu_time_by = GUEST_ENFORCED_SAMPLED;
	if (controllers || is_grouped(guest)) {
		r = enable_groups(guest, controllers, err);
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
	/* busy only if something was left running in it: then it goes with the guest */
	(void)unlinkat(guest->limits.dir, limits->name, AT_REMOVEDIR);
	fd_close(&limits->dir);
}
