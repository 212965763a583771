// SPDX-License-Identifier: MIT
#include "wire/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"

union control {
	char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

int wire_send(int socket, void *message, size_t size, enum wire_type type, const int *fds,
	      size_t fds_count, int dont_wait)
{
	struct wire_header *header = message;
	struct iovec iov = { .iov_base = message, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control;

	if (size > WIRE_MAX || fds_count > WIRE_FDS_MAX)
		return -E2BIG;
	header->size = (uint32_t)size;
	header->type = (uint16_t)type;
	header->fds_count = (uint16_t)fds_count;
	if (fds_count > 0) {
		struct cmsghdr *cmsg = &control.align;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fds_count * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds_count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, fds_count * sizeof(int));
	}
	for (;;) {
		ssize_t n = sendmsg(socket, &msg, MSG_NOSIGNAL | (dont_wait ? MSG_DONTWAIT : 0));

		if (n == (ssize_t)size)
			return 0;
		if (n >= 0)
			return -EPROTO;
		if (errno != EINTR)
			return errno == ECONNRESET ? -EPIPE : -errno;
	}
}

int wire_send_plain(int socket, enum wire_type type)
{
	struct wire_plain plain;

	return wire_send(socket, &plain, sizeof(plain), type, NULL, 0, 0);
}

void wire_send_failed(int socket, const struct guest_error *error)
{
	struct wire_failed failed;

	memcpy(&failed.error, error, sizeof(failed.error));
	(void)wire_send(socket, &failed, sizeof(failed), WIRE_FAILED, NULL, 0, 1);
}

void wire_close_fds(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fd_close(&fds[i]);
}

/* Collect the fds of a received message. SCM_RIGHTS only: the sockets have nothing else switched
 * on. */
static size_t take_fds(struct msghdr *msg, int fds[WIRE_FDS_MAX])
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	size_t count;

	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
		return 0;
	count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(cmsg), count * sizeof(int));
	return count;
}

int wire_receive(int socket, void *message, size_t size, int fds[WIRE_FDS_MAX],
		 size_t *ret_fds_count, int dont_wait)
{
	const struct wire_header *header = message;
	struct iovec iov = { .iov_base = message, .iov_len = size };
	union control control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	size_t count;
	ssize_t n;
	int r = -EPROTO;

	/* ECONNRESET comes once, ahead of what is queued, if the other side went without reading
	 * all of ours */
	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC | (dont_wait ? MSG_DONTWAIT : 0));
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return -errno;
	count = take_fds(&msg, fds);
	if (n == 0) /* no message is empty */
		r = -EPIPE;
	else if (msg.msg_flags & MSG_CTRUNC)
		r = -EMFILE;
	else if (!(msg.msg_flags & MSG_TRUNC) && (size_t)n >= sizeof(*header) &&
		 header->size == (size_t)n && header->fds_count == count)
		r = header->type;
	for (size_t i = 0; r >= 0 && i < count; i++) {
		fds[i] = fd_above_stdio(fds[i]);
		if (fds[i] < 0)
			r = -errno;
	}
	if (r < 0) {
		wire_close_fds(fds, count);
		return r;
	}
	*ret_fds_count = count;
	return r;
}

const char *wire_string(const void *message, uint32_t offset)
{
	const struct wire_header *header = message;
	const char *bytes = message;

	if (offset < sizeof(*header) || offset >= header->size)
		return NULL;
	return memchr(bytes + offset, '\0', header->size - offset) ? bytes + offset : NULL;
}
