// SPDX-License-Identifier: MIT
/*
 * The undertaker: closes the mount namespaces of dead guests, which takes the kernel milliseconds.
 * It also keeps those of guests that live on: each new holder gets a copy of the keeper's table of
 * fds, which so remains small however many guests there are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"
#include "wire/wire.h"

/* WIRE_CREATE: fds to be kept, one for each number. WIRE_SHUTDOWN: one to be closed, the fd that
 * comes along or the one that is kept for the number. */
struct undertaker_message {
	struct wire_header header;
	uint32_t numbers[UNDERTAKER_KEEPS];
};

struct kept {
	uint32_t number;
	int fd;
};

static struct kept *kept;
static size_t kept_count, kept_capacity;

/* What cannot be kept is closed: then the guest's end takes longer. */
static void keep(const uint32_t *numbers, int *fds, size_t count)
{
	if (kept_capacity - kept_count < count) {
		size_t capacity = (kept_count + count) * 2;
		struct kept *more = realloc(kept, capacity * sizeof(*kept));

		if (!more) {
			wire_close_fds(fds, count);
			return;
		}
		kept = more;
		kept_capacity = capacity;
	}
	for (size_t i = 0; i < count; i++)
		kept[kept_count++] = (struct kept){ numbers[i], fds[i] };
}

static void close_kept(uint32_t number)
{
	for (size_t i = 0; i < kept_count; i++)
		if (kept[i].number == number) {
			close(kept[i].fd);
			kept[i] = kept[--kept_count];
			return;
		}
}

__attribute__((noreturn)) static void undertake(int socket)
{
	struct undertaker_message message;
	int fds[WIRE_FDS_MAX], r;
	size_t count;

	prctl(PR_SET_NAME, "guest-undertake");
	if (dup2(socket, HELPER_CONTROL_FD) < 0)
		_exit(1);
	sys_close_range(HELPER_CONTROL_FD + 1, ~0U, 0);
	for (;;) {
		count = 0;
		r = wire_receive(HELPER_CONTROL_FD, &message, sizeof(message), fds, &count, 0);
		if (r < 0 && r != -EMFILE)
			_exit(0);
		if (r == WIRE_CREATE && count <= UNDERTAKER_KEEPS)
			keep(message.numbers, fds, count);
		else if (r == WIRE_SHUTDOWN && count == 0)
			close_kept(message.numbers[0]);
		else
			wire_close_fds(fds, count);
	}
}

int undertaker_start(struct keeper *keeper, struct guest_error *err)
{
	int sockets[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return error_make(err, errno, GUEST_STAGE_HELPER, "socketpair");
	pid = fork();
	if (pid < 0)
		return error_make(err, errno, GUEST_STAGE_HELPER, "fork");
	if (pid == 0)
		undertake(sockets[1]);
	close(sockets[1]);
	keeper->undertaker = sockets[0];
	return 0;
}

int undertaker_keep(const struct keeper *keeper, const uint32_t *numbers, const int *fds,
		    size_t count)
{
	struct undertaker_message message;

	memcpy(message.numbers, numbers, count * sizeof(*numbers));
	return wire_send(keeper->undertaker, &message, sizeof(message), WIRE_CREATE, fds, count, 1);
}

int undertaker_close(const struct keeper *keeper, uint32_t number, int fd)
{
	struct undertaker_message message = { .numbers = { number } };

	return wire_send(keeper->undertaker, &message, sizeof(message), WIRE_SHUTDOWN, &fd,
			 fd >= 0 ? 1 : 0, 1);
}
