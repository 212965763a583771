// SPDX-License-Identifier: MIT
/* What a guest's holder is asked, and what a guest is known to be doing. */
#include <errno.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"
#include "host/host.h"

static int lost(struct guest_error *err)
{
	return error_text(err, EPIPE, GUEST_STAGE_HANDLE,
			  "the guest is lost: its init process was killed");
}

int host_ask(struct guest *guest, enum wire_question question, const struct wire_limits *limits,
	     struct wire_report *ret_report, struct guest_error *err)
{
	struct wire_ask ask = { .question = question };
	uint64_t deadline = sys_now_ns() + HOST_PATIENCE_NS;
	cleanup_fd int ours = -EBADF;
	int sockets[2], theirs, fds[WIRE_FDS_MAX], r;
	struct request request;
	size_t count = 0;

	if (limits)
		ask.limits = *limits;
	r = request_init(&request, sizeof(ask), err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
		request_clear(&request);
		return error_make(err, errno, GUEST_STAGE_HELPER, "socketpair");
	}
	ours = fd_above_stdio(sockets[0]);
	theirs = fd_above_stdio(sockets[1]);
	request_add_fd(&request, theirs, NULL);
	*(struct wire_ask *)request.bytes = ask;
	r = ours < 0 || theirs < 0 ? -errno :
				     host_send(guest->socket, &request, WIRE_ASK, deadline);
	request_clear(&request);
	if (r == 0)
		r = host_wait_readable(ours, deadline);
	if (r == 0)
		r = wire_receive(ours, ret_report, sizeof(*ret_report), fds, &count, 1);
	wire_close_fds(fds, count);
	if (r == WIRE_REPORT && ret_report->header.size == sizeof(*ret_report))
		return 0;
	if (r == -EPIPE)
		return lost(err);
	return error_make(err, r < 0 ? -r : EPROTO, GUEST_STAGE_PROTOCOL, "asking the guest");
}

int host_pause(struct guest *guest, bool pause, struct guest_error *err)
{
	struct wire_report report;
	int r;

	pthread_mutex_lock(&guest->lock);
	/* it may have been given its group in between */
	if (guest->limits.dir >= 0 && !guest->stopped) {
		r = cgroup_freeze(guest->limits.dir, pause, err);
	} else {
		r = host_ask(guest, pause ? WIRE_ASK_PAUSE : WIRE_ASK_RESUME, NULL, &report, err);
		guest->stopped = r == 0 ? pause : guest->stopped;
	}
	pthread_mutex_unlock(&guest->lock);
	return r;
}

int host_info(struct guest *guest, struct guest_info *info, struct guest_error *err)
{
	const struct limits *limits = &guest->limits;
	const struct budget *budget = &guest->budget;
	struct cgroup_usage usage = { 0 };
	struct wire_report report;
	int r = host_ask(guest, WIRE_ASK_USAGE, NULL, &report, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&guest->lock);
	if (limits->dir >= 0)
		cgroup_usage_read(limits->dir,
				  CGROUP_READ_CPU | CGROUP_READ_PEAKS | CGROUP_READ_NOW, &usage);
	*info = (struct guest_info){
		.size = info->size,
		.running = __atomic_load_n(&guest->running, __ATOMIC_RELAXED),
		.memory_enforced = limits->by.memory,
		.memory_high_enforced = limits->by.memory_high,
		.pids_enforced = limits->by.pids,
		.cpu_enforced = limits->by.cpu,
		.cpu_weight_enforced = limits->by.cpu_weight,
		.io_enforced = limits->by.io,
		.cgroup = limits->path,
		.memory_bytes = limits->values.memory,
		.memory_high_bytes = limits->values.memory_high,
		.pids_max = limits->values.pids,
		.cpu_quota = limits->values.cpu_quota,
		.cpu_weight = limits->values.cpu_weight,
		.writable_bytes = guest->writable_bytes,
		.writable_inodes = guest->writable_inodes,
		.commands = __atomic_load_n(&budget->commands_used, __ATOMIC_RELAXED),
		.cpu_ns = __atomic_load_n(&budget->cpu_used_ns, __ATOMIC_RELAXED),
		.wall_ns = sys_now_ns() - guest->made_at,
		.output_bytes = __atomic_load_n(&budget->output_used, __ATOMIC_RELAXED),
		.written_bytes = __atomic_load_n(&budget->written_used, __ATOMIC_RELAXED),
		.memory_now_bytes = usage.memory_now,
		.memory_peak_bytes = usage.memory_peak,
		.processes_now = usage.processes_now,
		.writable_used_bytes = report.writable_used_bytes,
		.writable_used_inodes = report.writable_used_inodes,
		.template_source = guest->keeper->template_source,
	};
	if (info->template_source == GUEST_TEMPLATE_NO_CACHE)
		info->cache_error = guest->keeper->cache_error.message;
	if (usage.user_ns + usage.system_ns > info->cpu_ns)
		info->cpu_ns = usage.user_ns + usage.system_ns;
	pthread_mutex_unlock(&guest->lock);
	return 0;
}
