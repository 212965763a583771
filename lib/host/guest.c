// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"
#include "config/config.h"
#include "host/host.h"

#define READY_TIMEOUT_NS 60000000000ULL
#define RESOLV_CONF_MAX 16384

/*
 * Fds in flight over sockets count per user, and the host may send none while the count is above
 * its own soft limit. So a guest's hard limit is half of it.
 */
static void file_limits(struct wire_create *create)
{
	struct rlimit host;
	uint64_t hard = 4096;

	if (getrlimit(RLIMIT_NOFILE, &host) == 0 && host.rlim_cur / 2 < hard)
		hard = host.rlim_cur / 2;
	create->nofile_hard = (uint32_t)hard;
	create->nofile_soft = hard < 1024 ? (uint32_t)hard : 1024;
}

/* The host's resolv.conf, for guests on the host's network. */
static int add_resolv_conf(struct request *request, struct guest_error *err)
{
	cleanup_fd int fd = open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char text[RESOLV_CONF_MAX + 1];
	ssize_t n = fd < 0 ? 0 : read(fd, text, RESOLV_CONF_MAX);

	text[n < 0 ? 0 : n] = '\0';
	return request_add_string(request, text, err);
}

/* What the guest may write counts against its memory, too: it shall run out of the former first. */
static uint64_t writable_bytes(const struct guest_config *config)
{
	if (config->memory_bytes > 0 && config->writable_bytes >= config->memory_bytes)
		return config->memory_bytes / 2;
	return config->writable_bytes;
}

static int fill_create(struct request *request, const struct guest_config *config,
		       struct guest *guest, struct guest_error *err)
{
	const struct keeper *keeper = guest->keeper;
	struct wire_create values = {
		.uid = config->uid,
		.gid = config->gid,
		.writable_bytes = guest->writable_bytes,
		.writable_inodes = config->writable_inodes,
	};
	bool host_network = config->network == GUEST_NETWORK_HOST;
	int r;

	if (keeper->ids_count > 1 &&
	    (config->uid >= keeper->ids_count || config->gid >= keeper->ids_count))
		return error_text(err, EINVAL, GUEST_STAGE_CONFIG,
				  "uid and gid must be below %u on this host", keeper->ids_count);
	file_limits(&values);
	r = config_read_capabilities(config->capabilities, config->uid, &values.capabilities,
				     &values.inheritable, err);
	if (r < 0)
		return r;
	guest->has_setuid = values.capabilities >> CAP_SETUID & 1;
	r = limits_init(guest, config, &values.limits, err);
	if (r < 0)
		return r;
	/* the mounts come first: their array lies right behind the struct */
	r = host_add_mounts(request, config, keeper, err);
	if (r < 0)
		return r;
	r = request_add_string(request, config->hostname, err);
	if (r < 0)
		return r;
	values.hostname = (uint32_t)r;
	if (host_network) {
		r = add_resolv_conf(request, err);
		if (r < 0)
			return r;
		values.resolv_conf = (uint32_t)r;
	}
	values.flags = (host_network ? 0 : WIRE_CREATE_NET) |
		       (guest->limits.dir >= 0 ? WIRE_CREATE_CGROUP : 0) |
		       (config->budget_written_bytes ? WIRE_CREATE_COUNT_WRITTEN : 0) |
		       ((struct wire_create *)request->bytes)->flags;
	values.mounts_count = ((struct wire_create *)request->bytes)->mounts_count;
	memcpy(request->bytes, &values, sizeof(values));
	return 0;
}

static int receive_ready(struct guest *guest, struct guest_error *err)
{
	struct wire_failed message;
	int fds[WIRE_FDS_MAX], r;
	size_t count = 0;

	r = host_wait_readable(guest->socket, sys_now_ns() + READY_TIMEOUT_NS);
	if (r == 0)
		r = wire_receive(guest->socket, &message, sizeof(message), fds, &count, 1);
	if (r == WIRE_READY && count == 1) {
		guest->pidfd = fds[0];
		return 0;
	}
	wire_close_fds(fds, count);
	if (r == WIRE_FAILED && message.header.size == sizeof(message))
		return error_take(err, &message.error);
	if (r >= 0)
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "message %d of the holder", r);
	return error_make(err, -r, GUEST_STAGE_HELPER, "waiting for the guest");
}

/* Ask the keeper for a guest. -EPIPE if it is dead, -ESTALE if it does not see a mount's source. */
static int create_once(struct guest *guest, const struct guest_config *config,
		       struct guest_error *err)
{
	struct request request;
	int r;

	r = request_init(&request, sizeof(struct wire_create), err);
	if (r < 0)
		return r;
	r = request_add_socket(&request, &guest->socket, err);
	if (r == 0)
		r = fill_create(&request, config, guest, err);
	if (r == 0) {
		r = host_send(guest->keeper->control, &request, WIRE_CREATE,
			      sys_now_ns() + READY_TIMEOUT_NS);
		if (r < 0)
			error_make(err, -r, GUEST_STAGE_HELPER, "talking to the keeper");
	}
	request_clear(&request);
	if (r == 0)
		r = receive_ready(guest, err);
	if (r < 0) {
		fd_close(&guest->socket);
		limits_end(guest);
		limits_free(guest);
	}
	return r;
}

/* With a keeper that is there, or a new one. One that has failed us is not asked again. */
static int create(struct guest *guest, const struct guest_config *config, struct guest_error *err)
{
	const struct group_wish wish = limits_wish(config);
	struct host_rootfs rootfs;
	int r;

	r = host_rootfs_open(&rootfs, config, err);
	if (r == 0)
		r = keeper_get(&guest->keeper, &rootfs, &wish, !(config->flags & GUEST_NO_SECCOMP),
			       err);
	host_rootfs_close(&rootfs);
	if (r < 0)
		return r;
	r = create_once(guest, config, err);
	if (r == -EPIPE || r == -ESTALE)
		keeper_retire(guest->keeper);
	if (r < 0)
		keeper_put(guest->keeper);
	return r;
}

void host_guest_begin(struct guest *guest, const struct guest_config *config)
{
	guest->made_at = sys_now_ns();
	budget_init(&guest->budget, config);
}

int host_guest_create(struct guest **ret_guest, const struct guest_config *config,
		      struct guest_error *err)
{
	cleanup_free struct guest *guest = calloc(1, sizeof(*guest));
	int r;

	if (guest)
		guest->owner = host_process();
	if (!guest || !guest->owner)
		return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "guest");
	guest->references = 1;
	guest->uid = config->uid;
	guest->writable_bytes = writable_bytes(config);
	guest->writable_inodes = config->writable_inodes;
	guest->socket = guest->idle = guest->pidfd = guest->limits.dir = -EBADF;
	pthread_mutex_init(&guest->lock, NULL);
	pthread_mutex_init(&guest->rates, NULL);
	r = create(guest, config, err);
	/* a second time, if the keeper had been killed or was older than a mount */
	if (r == -EPIPE || r == -ESTALE)
		r = create(guest, config, err);
	if (r == 0) {
		host_guest_begin(guest, config);
		*ret_guest = take_pointer(guest);
	}
	return r;
}

void host_guest_put(struct guest *guest)
{
	if (__atomic_sub_fetch(&guest->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	fd_close(&guest->socket);
	fd_close(&guest->idle);
	fd_close(&guest->pidfd);
	limits_free(guest);
	pthread_mutex_destroy(&guest->rates);
	pthread_mutex_destroy(&guest->lock);
	free(guest);
}

int host_guest_end(struct guest *guest, struct guest_error *err)
{
	int r;

	limits_lift_all(guest);
	/* commands that others wait for may still use the socket: it is closed with the last one */
	(void)wire_send_plain(guest->socket, WIRE_SHUTDOWN);
	shutdown(guest->socket, SHUT_RDWR);
	/* PID 1 is dead when all others of its namespace are */
	r = host_wait_dead(guest->pidfd);
	if (r == -ETIMEDOUT)
		error_text(
			err, ETIMEDOUT, GUEST_STAGE_HANDLE,
			"a process of the guest is stuck in the kernel (a hung network file system?)");
	else if (r < 0)
		error_make(err, -r, GUEST_STAGE_HANDLE, "waiting for the guest's end");
	limits_end(guest);
	keeper_put(guest->keeper);
	guest->keeper = NULL;
	host_guest_put(guest);
	return r;
}
