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

static void remember_group(struct guest *guest, const struct cgroup_limits *values)
{
	struct limits *limits = &guest->limits;
	uint32_t group = by_group(guest);

	remember(limits, values);
	limits->memory = limits->values.memory ? group : GUEST_ENFORCED_NOT;
	limits->memory_high = limits->values.memory_high ? group : GUEST_ENFORCED_NOT;
	limits->pids = limits->values.pids ? group : GUEST_ENFORCED_NOT;
	limits->cpu = limits->values.cpu_quota ? group : GUEST_ENFORCED_NOT;
	limits->cpu_weight = limits->values.cpu_weight ? group : GUEST_ENFORCED_NOT;
	if (values->io_max && values->io_max[0])
		limits->io = group;
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
	limits->memory = limits->values.memory ? GUEST_ENFORCED_SAMPLED : GUEST_ENFORCED_NOT;
	limits->pids = !limits->values.pids ? GUEST_ENFORCED_NOT :
		       one_id		    ? GUEST_ENFORCED_RLIMIT :
					      GUEST_ENFORCED_SAMPLED;
}

/* The first of the limits for which there is nothing but a group. */
static const char *needs_group(const struct cgroup_limits *values)
{
	return is_given(values->cpu_quota)		   ? "cpu_quota" :
	       is_given(values->cpu_weight)		   ? "cpu_weight" :
	       is_given(values->memory_high)		   ? "memory_high_bytes" :
	       values->io_max && values->io_max[0] != '\0' ? "io_max" :
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

/* Some controllers may be there when others are not. */
static int try_group(struct guest *guest, struct group_wish *wish, struct cgroup_limits *values,
		     struct guest_error *err)
{
	uint32_t basic = wish->controllers & (CGROUP_MEMORY | CGROUP_PIDS);
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
	values->cpu_quota = values->cpu_weight = 0;
	values->io_max = NULL;
	return 0;
}

static int apply(struct guest *guest, struct group_wish *wish, struct cgroup_limits *values,
		 struct guest_error *err)
{
	struct limits *limits = &guest->limits;
	int r = limits->dir >= 0 || wish->wanted ? try_group(guest, wish, values, err) : -ENOENT;
	const char *name = needs_group(values);

	if (r == 0)
		return set_by_group(guest, values, err);
	if (r != -ENOENT && r != -EOPNOTSUPP)
		return r;
	if (!limits->best_effort && name)
		return refuse(name, err);
	if (!limits->best_effort && limits->only_cgroup)
		return refuse("GUEST_CGROUP", err);
	set_by_holder(guest, values);
	err->code = 0;
	return 0;
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

/* What holds for the guest holds for its commands. */
static void inherit(const struct guest *guest, struct command_limits *limits)
{
	limits->memory = guest->limits.memory;
	limits->pids = guest->limits.pids;
	limits->cpu = guest->limits.cpu;
}

static int begin_in_group(struct guest *guest, const struct cgroup_limits *values,
			  struct command_limits *limits, struct guest_error *err)
{
	uint64_t number = __atomic_add_fetch(&guest->limits.commands, 1, __ATOMIC_RELAXED);
	struct cgroup_usage usage = { 0 };
	uint32_t group = by_group(guest);
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
	limits->memory = values->memory ? group : limits->memory;
	limits->pids = values->pids ? group : limits->pids;
	limits->cpu = values->cpu_quota ? group : limits->cpu;
	return 0;
}

/* The guest's group, made for the first command that has a limit. */
static int first_group(struct guest *guest, const struct group_wish *wish, struct guest_error *err)
{
	const struct cgroup_limits none = { GUEST_LIMIT_KEEP, GUEST_LIMIT_KEEP, GUEST_LIMIT_KEEP,
					    GUEST_LIMIT_KEEP, GUEST_LIMIT_KEEP, NULL };
	int r;

	pthread_mutex_lock(&guest->lock);
	r = group_get(guest->keeper, wish, err);
	if (r == 0)
		r = set_by_group(guest, &none, err);
	pthread_mutex_unlock(&guest->lock);
	return r;
}

int limits_begin_command(struct guest *guest, const struct guest_command *command,
			 struct command_limits *limits, struct wire_run_limits *wire,
			 struct guest_error *err)
{
	struct cgroup_limits values = {
		.memory = command->memory_bytes,
		.pids = command->pids_max,
		.cpu_quota = command->cpu_quota,
	};
	struct group_wish wish = { .controllers = cgroup_limits_need(&values) };
	bool grouped = __atomic_load_n(&guest->limits.dir, __ATOMIC_ACQUIRE) >= 0;
	int r = 0;

	*limits = (struct command_limits){ .dir = -EBADF };
	if (command->cpu_time_ns || guest->budget.cpu_ns)
		limits->cpu_time = GUEST_ENFORCED_SAMPLED;
	if (!grouped && wish.controllers) {
		r = first_group(guest, &wish, err);
		grouped = r == 0;
	}
	if (grouped)
		r = enable(guest, wish.controllers | LIMITS_READY, err);
	if (r == -EOPNOTSUPP && command->cpu_quota && !guest->limits.best_effort)
		return refuse("cpu_quota", err);
	if (r < 0 && r != -EOPNOTSUPP)
		return r;
	if (r < 0) { /* then its holder sees to them, in a group or not */
		err->code = 0;
		wire->memory_bytes = command->memory_bytes;
		wire->pids_max = command->pids_max;
		values = (struct cgroup_limits){ 0 };
		r = grouped ? enable(guest, LIMITS_READY, err) : 0;
	}
	inherit(guest, limits);
	if (r == 0 && grouped)
		r = begin_in_group(guest, &values, limits, err);
	if (wire->memory_bytes)
		limits->memory = GUEST_ENFORCED_SAMPLED;
	if (wire->pids_max)
		limits->pids = GUEST_ENFORCED_SAMPLED;
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
