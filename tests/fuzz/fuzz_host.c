// SPDX-License-Identifier: MIT
/*
 * A hostile helper, keeper and holder: each request of the library is answered with any messages, fds and outputs,
 * while it makes a guest, runs commands in it, asks about it and ends it. Every call ends, with a result or with an
 * error that makes sense, and nothing is left.
 *
 * An input is, for each request, a byte for the number of messages (0: an honest answer), then each message: what it
 * is, and its contents; and between them what is called.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "fuzz.h"
#include "peer.h"

#define MESSAGES_MAX 12
#define CALLS_MAX 6
#define OUTPUT_LIMIT 100000

static struct fuzz_input input;
static int writer = -EBADF; /* of a pipe that never ends */

/* None that a call waits for: all are readable, or at their end. */
static int some_fd(uint8_t kind)
{
	static char text[60000];
	int ends[2];

	switch (kind % 10) {
	case 0:
		return peer_pipe("text", 4);
	case 1:
		return peer_pipe(text, sizeof(text));
	case 2:
		return peer_pipe("", 0);
	case 3:
		return memfd_create("empty", MFD_CLOEXEC);
	case 4:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case 5:
		return open("/", O_PATH | O_CLOEXEC);
	case 6:
		return open("/dev/zero", O_RDONLY | O_CLOEXEC);
	case 7:
		return eventfd(1, EFD_CLOEXEC);
	case 8:
		return open("/dev/null", O_WRONLY | O_CLOEXEC);
	default:
		ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
		close(ends[1]);
		return ends[0];
	}
}

static size_t take_fds(int *fds)
{
	size_t count = take_byte(&input) % 5;

	for (size_t i = 0; i < count; i++)
		fds[i] = some_fd(take_byte(&input));
	return count;
}

/* An output whose writer somebody else holds. */
static void send_open_pipe(int socket)
{
	struct wire_plain started;
	int ends[2];

	ASSERT(pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], "open", 4) == 4);
	fd_close(&writer);
	writer = ends[1];
	peer_send(socket, &started, sizeof(started), WIRE_STARTED, ends, 1);
}

static void send_failed(int socket)
{
	struct wire_failed failed;

	memset(&failed, take_byte(&input), sizeof(failed)); /* perhaps without an end */
	failed.error.code = -(int32_t)take_byte(&input);
	failed.error.stage = (int32_t)take_byte(&input);
	peer_send(socket, &failed, sizeof(failed), WIRE_FAILED, NULL, 0);
}

static void send_ended(int socket)
{
	struct wire_ended ended = { .status = take_byte(&input) << 8 | take_byte(&input), .flags = take_byte(&input) };

	ended.cause = take_byte(&input);
	ended.seen = take_byte(&input);
	peer_send(socket, &ended, sizeof(ended), WIRE_ENDED, NULL, 0);
}

/* Any type, size, fds and contents, and a header that need not be true. */
static void send_any(int socket)
{
	union {
		struct wire_header header;
		char bytes[600];
	} message;
	uint8_t type = take_byte(&input), lie = take_byte(&input);
	size_t size = take_byte(&input) * 2;
	int fds[8];
	size_t count = take_fds(fds);

	take_bytes(&input, &message, size < 400 ? size : 400);
	if (lie) {
		(void)!send(socket, &message, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		wire_close_fds(fds, count);
	} else {
		peer_send(socket, &message, size < sizeof(message.header) ? sizeof(message.header) : size, type, fds,
			  count);
	}
}

static void send_plain(int socket, uint16_t type)
{
	struct wire_plain plain;
	int fds[8];
	size_t count = take_fds(fds);

	peer_send(socket, &plain, sizeof(plain), type, fds, count);
}

static void send_message(int socket)
{
	struct wire_keeper keeper = { .ids_count = take_byte(&input) };
	struct wire_report report = { .reserved = keeper.ids_count };
	int fds[8];
	size_t count;

	switch (take_byte(&input) % 9) {
	case 0:
		send_any(socket);
		break;
	case 1:
		send_plain(socket, WIRE_STARTED);
		break;
	case 2:
		send_ended(socket);
		break;
	case 3:
		send_failed(socket);
		break;
	case 4:
		send_plain(socket, WIRE_READY);
		break;
	case 5:
		count = take_fds(fds);
		peer_send(socket, &keeper, sizeof(keeper), WIRE_KEEPER, fds, count);
		break;
	case 6:
		peer_send(socket, &report, sizeof(report), WIRE_REPORT, NULL, 0);
		break;
	case 7:
		send_open_pipe(socket);
		break;
	case 8:
		(void)!send(socket, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	}
}

void peer_answer(int socket, const struct request *request, enum wire_type type)
{
	uint8_t count = take_byte(&input) % MESSAGES_MAX;

	if (count == 0)
		peer_answer_honestly(socket, request, type);
	while (count-- > 0)
		send_message(socket);
}

static int on_output(void *user_data, uint32_t stream, const void *data, size_t size)
{
	ASSERT(stream == GUEST_STDOUT || stream == GUEST_STDERR);
	ASSERT(size > 0 && memchr(data, 0xff, size) == NULL);
	return --*(int *)user_data == 0;
}

static struct guest_command some_command(int *calls)
{
	static const char *const argv[] = { "command", NULL };
	static const char large[INPUT_COPY_MAX + 1];
	uint8_t bits = take_byte(&input);
	struct guest_command command;

	guest_command_init(&command, sizeof(command));
	command.argv = argv;
	command.output_limit_bytes = OUTPUT_LIMIT; /* what /dev/zero gives has no end */
	command.flags = bits & (GUEST_TRUNCATE_OUTPUT | GUEST_MERGE_STDERR | GUEST_NO_CAPTURE);
	if (bits & 0x10) {
		command.stdin_data = bits & 0x80 ? large : "in";
		command.stdin_size = bits & 0x80 ? sizeof(large) : 2;
	}
	if (bits & 0x20)
		command.timeout_ns = 1;
	if (bits & 0x40) {
		command.on_output = on_output;
		command.user_data = calls;
		*calls = bits >> 7;
	}
	return command;
}

static void check_result(int r, struct guest_result *result, const struct guest_error *err)
{
	check_error(r, err);
	if (r == -EPIPE && result->cause)
		ASSERT(result->cause == GUEST_LOST);
	if (r == 0 || result->cause) {
		ASSERT(result->cause && result->stdout_data && result->stderr_data);
		ASSERT(!result->stdout_data[result->stdout_size] && !result->stderr_data[result->stderr_size]);
		ASSERT(result->stdout_size <= OUTPUT_LIMIT && result->stderr_size <= OUTPUT_LIMIT);
		ASSERT(result->exit_code >= -1 && result->exit_code <= 255);
	}
	guest_result_clear(result);
}

static void spawn(struct guest *guest, struct guest_error *err)
{
	struct guest_result result = { .size = sizeof(result) };
	struct guest_process *process;
	uint8_t end = take_byte(&input);
	int calls, r;
	struct guest_command command = some_command(&calls);

	r = guest_spawn(guest, &command, &process, err);
	check_error(r, err);
	if (r < 0)
		return;
	if (end % 3 == 1)
		check_error(guest_kill(process, 15, err), err);
	if (end % 3 == 2)
		check_error(guest_cancel(process, err), err);
	r = guest_wait(process, UINT64_MAX, &result, err);
	check_result(r, &result, err);
	guest_process_free(process);
}

static void call(struct guest *guest, uint8_t what, struct guest_error *err)
{
	struct guest_result result = { .size = sizeof(result) };
	struct guest_info info = { .size = sizeof(info) };
	struct guest_command command;
	struct guest_limits limits;
	int calls, r;

	switch (what % 6) {
	case 0:
	case 1:
		command = some_command(&calls);
		r = guest_run(guest, &command, &result, err);
		check_result(r, &result, err);
		break;
	case 2:
		spawn(guest, err);
		break;
	case 3:
		check_error(guest_info(guest, &info, err), err);
		break;
	case 4:
		check_error(guest_pause(guest, err), err);
		check_error(guest_resume(guest, err), err);
		break;
	case 5:
		guest_limits_init(&limits, sizeof(limits));
		limits.pids_max = 5;
		check_error(guest_set_limits(guest, &limits, err), err);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_error err = { .size = sizeof(err) };
	uint64_t before = open_fds();
	struct guest_config config;
	struct guest *guest;
	int r;

	input = (struct fuzz_input){ data, size };
	guest_config_init(&config, sizeof(config));
	config.rootfs_path = "/";
	r = guest_init(&guest, &config, &err);
	check_error(r, &err);
	for (int i = 0; r == 0 && i < CALLS_MAX && input.size > 0; i++)
		call(guest, take_byte(&input), &err);
	if (r == 0)
		check_error(guest_shutdown(guest, &err), &err);
	guest_trim(NULL);
	peer_close();
	fd_close(&writer);
	ASSERT(open_fds() == before);
	return 0;
}
