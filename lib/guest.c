// SPDX-License-Identifier: MIT
/* clang-format off: the figure is meant to stand as it is */
/*
 * libguest: the public entry points.
 *
 * Theory of operation
 *
 *   host program    any number of threads
 *     libguest.so   checks what it is given, execs the helper, makes control groups, pumps output.
 *         |         It never runs code of its own in a forked copy of the host; it has a thread
 *         |         for each guest_spawn() and for each pool, and no other
 *         |  SOCK_SEQPACKET, fds as SCM_RIGHTS (wire/wire.h)
 *         |
 *     launcher      the helper as exec'd: makes the keeper, writes its id maps, exits: the host
 *         |         has no child
 *     keeper        one for each host process, rootfs and kind of filter, PID 1 of its own user,
 *         |         mount and PID namespaces: with it ends every guest. Holds the unpacked rootfs
 *         |         (the template), confines itself by the filter, and clones holders
 *         |-- unpack      short-lived: unpacks the archive, confined to the template's tmpfs
 *         |-- undertaker  closes the mount namespaces of dead guests, which takes milliseconds;
 *         |               keeps those of the living but for the newest
 *         '-- holder      one for each guest, PID 1 of its own user, mount, PID, UTS, IPC and
 *               |         network namespaces: an overlay of a capped tmpfs over the template.
 *               |         Starts commands, reaps, and samples what no control group limits
 *               '-- command   one for each guest_run(): own session, cgroup namespace and (where
 *                             guests have limits) control group, capabilities dropped, execve
 *     janitor       outside the keeper's control groups, where there are any: removes them when
 *                   the host is gone
 *
 * The host ends: the keeper and the janitor see it by the host's pidfd. A handle is closed, or its
 * holder is killed: the holder's sockets end, which both sides see. The host kills nothing and
 * reaps nothing but the launcher.
 *
 * Locks: one over the registry of keepers (host/keeper.c), one for each keeper's control groups,
 * one for each guest's limits where they change, one for each spawned command, one for each pool,
 * under which nothing is made and nothing waited for. guest_run() takes none of them but where
 * there are control groups: it has a socket of its own to the holder.
 */
/* clang-format on */
#include "guest/guest.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "config/config.h"
#include "host/host.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)

const char *guest_version(void)
{
	return STRING(GUEST_VERSION_MAJOR) "." STRING(GUEST_VERSION_MINOR) "." STRING(
		GUEST_VERSION_PATCH);
}

const char *guest_cause_name(uint32_t cause)
{
	static const char *const names[] = {
		[GUEST_EXITED] = "exited",
		[GUEST_SIGNALED] = "signaled",
		[GUEST_TIMED_OUT] = "timed out",
		[GUEST_OOM_KILLED] = "out of memory",
		[GUEST_OUTPUT_LIMIT] = "output limit",
		[GUEST_CANCELLED] = "cancelled",
		[GUEST_CPU_TIME] = "CPU time",
		[GUEST_TOO_MANY_PROCESSES] = "too many processes",
		[GUEST_DISK_FULL] = "disk full",
		[GUEST_SECCOMP_KILLED] = "seccomp",
		[GUEST_LOST] = "guest lost",
	};

	if (cause >= sizeof(names) / sizeof(names[0]) || !names[cause])
		return "unknown";
	return names[cause];
}

const char *guest_enforcer_name(uint32_t enforcer)
{
	static const char *const names[] = {
		[GUEST_ENFORCED_NOT] = "none",
		[GUEST_ENFORCED_CGROUP2] = "cgroup2",
		[GUEST_ENFORCED_CGROUP2_SYSTEMD] = "cgroup2:systemd",
		[GUEST_ENFORCED_RLIMIT] = "rlimit",
		[GUEST_ENFORCED_SAMPLED] = "sampled",
	};

	return enforcer < sizeof(names) / sizeof(names[0]) ? names[enforcer] : "unknown";
}

/* The end of every public call that can fail. */
static int finish(int r, struct guest_error *to, const struct guest_error *from, int saved_errno)
{
	if (r < 0)
		error_copy_out(to, from);
	errno = saved_errno;
	return r;
}

int guest_init(struct guest **ret_guest, const struct guest_config *config, struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	struct guest_config checked;
	int saved = errno, r;

	if (!ret_guest)
		r = error_text(&own, EINVAL, GUEST_STAGE_CONFIG, "ret_guest is NULL");
	else
		r = config_read(&checked, config, &own);
	if (r == 0)
		r = host_guest_create(ret_guest, &checked, &own);
	return finish(r, err, &own, saved);
}

static int check_handle(const struct guest *guest, struct guest_error *err)
{
	if (!guest)
		return error_text(err, EINVAL, GUEST_STAGE_HANDLE, "guest is NULL");
	return host_check_owner(guest->owner, "the guest", err);
}

/* guest_result as it was in the first version. */
#define RESULT_SIZE_FIRST ((uint32_t)offsetof(struct guest_result, minor_faults))

static int check_result(const struct guest_result *result, struct guest_error *err)
{
	if (result && (!result->size || result->size >= RESULT_SIZE_FIRST))
		return 0;
	return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
			  "ret_result is NULL, or its size is not set");
}

/* Give the caller as much of a struct as its own has room for; what it has more is zeroed. */
static void copy_out(void *to, uint32_t to_size, const void *from, uint32_t from_size)
{
	uint32_t known = to_size < from_size ? to_size : from_size;

	memcpy(to, from, known);
	memset((char *)to + known, 0, to_size - known);
	memcpy(to, &to_size, sizeof(to_size));
}

static void copy_result_out(struct guest_result *to, const struct guest_result *from)
{
	copy_out(to, to->size ? to->size : RESULT_SIZE_FIRST, from, sizeof(*from));
}

int guest_run(struct guest *guest, const struct guest_command *command,
	      struct guest_result *ret_result, struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	struct guest_result result = { .size = sizeof(result) };
	struct guest_command checked;
	int saved = errno, r;

	r = check_handle(guest, &own);
	if (r == 0)
		r = check_result(ret_result, &own);
	if (r == 0)
		r = config_read_command(&checked, command, &own);
	if (r == 0)
		r = host_run(guest, &checked, &result, &own);
	if (r == 0 || result.cause == GUEST_LOST)
		copy_result_out(ret_result, &result);
	return finish(r, err, &own, saved);
}

int guest_spawn(struct guest *guest, const struct guest_command *command,
		struct guest_process **ret_process, struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	struct guest_command checked;
	int saved = errno, r;

	r = check_handle(guest, &own);
	if (r == 0 && !ret_process)
		r = error_text(&own, EINVAL, GUEST_STAGE_CONFIG, "ret_process is NULL");
	if (r == 0)
		r = config_read_command(&checked, command, &own);
	if (r == 0)
		r = spawn_start(guest, &checked, ret_process, &own);
	return finish(r, err, &own, saved);
}

int guest_wait(struct guest_process *process, uint64_t timeout_ns, struct guest_result *ret_result,
	       struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	struct guest_result result = { .size = sizeof(result) };
	int saved = errno, r;

	r = process ? check_result(ret_result, &own) :
		      error_text(&own, EINVAL, GUEST_STAGE_HANDLE, "process is NULL");
	if (r == 0)
		r = spawn_wait(process, timeout_ns, &result, &own);
	if (r == 0 || result.cause == GUEST_LOST)
		copy_result_out(ret_result, &result);
	return finish(r, err, &own, saved);
}

int guest_process_fd(const struct guest_process *process)
{
	return process ? spawn_fd(process) : -EINVAL;
}

static int signal_process(struct guest_process *process, int signal, bool cancel,
			  struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	int saved = errno, r;

	if (!process)
		r = error_text(&own, EINVAL, GUEST_STAGE_HANDLE, "process is NULL");
	else if (!cancel && (signal < 0 || signal >= NSIG))
		r = error_text(&own, EINVAL, GUEST_STAGE_CONFIG, "signal %d", signal);
	else
		r = spawn_signal(process, signal, cancel, &own);
	return finish(r, err, &own, saved);
}

int guest_kill(struct guest_process *process, int signal, struct guest_error *err)
{
	return signal_process(process, signal, false, err);
}

int guest_cancel(struct guest_process *process, struct guest_error *err)
{
	return signal_process(process, 0, true, err);
}

void guest_process_free(struct guest_process *process)
{
	int saved = errno;

	if (process)
		spawn_free(process);
	errno = saved;
}

void guest_result_clear(struct guest_result *result)
{
	int saved = errno;
	uint32_t size;

	if (check_result(result, NULL) < 0) /* then it has never been filled in */
		return;
	size = result->size;
	block_free(result->stdout_data);
	block_free(result->stderr_data);
	memset(result, 0, size ? size : RESULT_SIZE_FIRST);
	result->size = size;
	errno = saved;
}

int guest_shutdown(struct guest *guest, struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	int saved = errno, r;

	if (!guest)
		return 0;
	r = check_handle(guest, &own);
	if (r == 0) {
		r = host_guest_end(guest, &own);
	} else {
		host_guest_put(guest); /* our copies of the parent's fds, no more */
	}
	return finish(r, err, &own, saved);
}

static int pause_or_resume(struct guest *guest, bool pause, struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	int saved = errno, r = check_handle(guest, &own);

	if (r == 0)
		r = host_pause(guest, pause, &own);
	return finish(r, err, &own, saved);
}

int guest_pause(struct guest *guest, struct guest_error *err)
{
	return pause_or_resume(guest, true, err);
}

int guest_resume(struct guest *guest, struct guest_error *err)
{
	return pause_or_resume(guest, false, err);
}

int guest_set_limits(struct guest *guest, const struct guest_limits *limits,
		     struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	struct guest_limits checked;
	int saved = errno, r = check_handle(guest, &own);

	if (r == 0)
		r = config_read_limits(&checked, limits, &own);
	if (r == 0)
		r = limits_set(guest, &checked, &own);
	return finish(r, err, &own, saved);
}

int guest_info(struct guest *guest, struct guest_info *ret_info, struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	struct guest_info info = { .size = sizeof(info) };
	int saved = errno, r = check_handle(guest, &own);

	if (r == 0 && (!ret_info || ret_info->size < sizeof(uint32_t) * 2))
		r = error_text(&own, EINVAL, GUEST_STAGE_CONFIG,
			       "ret_info is NULL, or its size is not set");
	if (r == 0)
		r = host_info(guest, &info, &own);
	if (r == 0)
		copy_out(ret_info, ret_info->size, &info, sizeof(info));
	return finish(r, err, &own, saved);
}

int guest_pool_init(struct guest_pool **ret_pool, const struct guest_config *config, uint32_t size,
		    struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	struct guest_config checked;
	int saved = errno, r;

	if (!ret_pool)
		r = error_text(&own, EINVAL, GUEST_STAGE_CONFIG, "ret_pool is NULL");
	else if (size < 1 || size > GUEST_POOL_MAX)
		r = error_text(&own, EINVAL, GUEST_STAGE_CONFIG,
			       "the size of a pool is 1 to %d, not %u", GUEST_POOL_MAX, size);
	else
		r = config_read(&checked, config, &own);
	if (r == 0)
		r = pool_create(ret_pool, &checked, size, &own);
	return finish(r, err, &own, saved);
}

int guest_pool_take(struct guest_pool *pool, struct guest **ret_guest, struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	int saved = errno, r;

	if (!pool)
		r = error_text(&own, EINVAL, GUEST_STAGE_HANDLE, "pool is NULL");
	else if (!ret_guest)
		r = error_text(&own, EINVAL, GUEST_STAGE_CONFIG, "ret_guest is NULL");
	else
		r = pool_take(pool, ret_guest, &own);
	return finish(r, err, &own, saved);
}

uint32_t guest_pool_ready(const struct guest_pool *pool)
{
	return pool ? pool_ready(pool) : 0;
}

int guest_pool_shutdown(struct guest_pool *pool, struct guest_error *err)
{
	struct guest_error own = { .size = sizeof(own) };
	int saved = errno, r = pool ? pool_end(pool, &own) : 0;

	return finish(r, err, &own, saved);
}

int guest_trim(struct guest_error *err)
{
	int saved = errno;

	(void)err;
	keeper_trim();
	errno = saved;
	return 0;
}
