// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/fd.h"
#include "host/host.h"

int request_init(struct request *request, size_t struct_size, struct guest_error *err)
{
	*request = (struct request){ 0 };
	request->capacity = struct_size + 1024;
	request->bytes = calloc(1, request->capacity);
	request->size = struct_size;
	return request->bytes ? 0 : error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "request");
}

void request_clear(struct request *request)
{
	free(request->bytes);
	wire_close_fds(request->fds, request->fds_count);
	*request = (struct request){ 0 };
}

int request_add(struct request *request, const void *data, size_t size, struct guest_error *err)
{
	size_t offset = request->size;

	if (size > WIRE_MAX - offset)
		return error_text(err, E2BIG, GUEST_STAGE_CONFIG,
				  "all strings together exceed %d bytes", WIRE_MAX);
	if (size > request->capacity - offset) {
		size_t capacity = (offset + size) * 2;
		char *bytes = realloc(request->bytes, capacity);

		if (!bytes)
			return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "request");
		request->bytes = bytes;
		request->capacity = capacity;
	}
	memcpy(request->bytes + offset, data, size);
	request->size += size;
	return (int)offset;
}

int request_add_string(struct request *request, const char *string, struct guest_error *err)
{
	return request_add(request, string, strlen(string) + 1, err);
}

int request_add_fd(struct request *request, int fd, struct guest_error *err)
{
	if (request->fds_count == WIRE_FDS_MAX) {
		fd_close(&fd);
		return error_text(err, E2BIG, GUEST_STAGE_CONFIG, "more than %d fds", WIRE_FDS_MAX);
	}
	request->fds[request->fds_count] = fd;
	return (int)request->fds_count++;
}

int request_add_socket(struct request *request, int *ret_ours, struct guest_error *err)
{
	int sockets[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return error_make(err, errno, GUEST_STAGE_HELPER, "socketpair");
	*ret_ours = fd_above_stdio(sockets[0]);
	sockets[1] = fd_above_stdio(sockets[1]);
	if (*ret_ours < 0 || sockets[1] < 0) {
		r = error_make(err, errno, GUEST_STAGE_HELPER, "socketpair");
		fd_close(&sockets[1]);
		return r;
	}
	r = request_add_fd(request, sockets[1], err);
	return r < 0 ? r : 0;
}
