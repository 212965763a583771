// SPDX-License-Identifier: MIT
/*
 * Public structs of any size and content, through the public calls, on a helper that answers honestly. Each lies in a
 * heap block of exactly the size that it says (where the library has to refuse it by its size alone, in one of four
 * bytes), so that what reads or writes beyond is seen. Only what a caller has to do right is right: pointers are
 * NULL or valid, and fds are fds.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "config/config.h"
#include "fuzz.h"
#include "peer.h"

#define BLOCKS_MAX 64
#define MOUNTS_MAX 8
#define RESULT_MAX 1024

static struct fuzz_input input;

/* To be freed after the input. */
static void *blocks[BLOCKS_MAX];
static size_t blocks_count;

void peer_answer(int socket, const struct request *request, enum wire_type type)
{
	peer_answer_honestly(socket, request, type);
}

static void *keep_block(void *block)
{
	ASSERT(blocks_count < BLOCKS_MAX);
	return blocks[blocks_count++] = block;
}

static char *some_string(void)
{
	return keep_block(take_string(&input));
}

/* A struct, NULL at times. `size_max`: beyond it is refused, or beyond it is not looked at. */
static void *some_struct(size_t known, size_t size_max)
{
	uint8_t kind = take_byte(&input);
	uint32_t size = (uint32_t)known;
	char *bytes;
	size_t room;

	switch (kind % 6) {
	case 1: /* of an earlier version, or of none */
		size = take_byte(&input) * 2;
		break;
	case 2: /* of a later version */
		size = (uint32_t)known + take_byte(&input);
		break;
	case 3:
		size = take_u32(&input);
		break;
	case 4:
		return NULL;
	}
	room = size > size_max ? sizeof(size) : size < sizeof(size) ? sizeof(size) : size;
	bytes = calloc(1, room);
	ASSERT(bytes);
	take_bytes(&input, bytes, size > size_max ? 0 : take_byte(&input) % (room + 1));
	memcpy(bytes, &size, sizeof(size));
	return keep_block(bytes);
}

/* What a caller would have put at `offset`, as far as its struct goes. */
static void put(void *to, size_t offset, const void *value, size_t value_size)
{
	uint32_t size;

	memcpy(&size, to, sizeof(size));
	if (size > CONFIG_STRUCT_MAX || offset >= size)
		return;
	if (offset + value_size <= size)
		memcpy((char *)to + offset, value, value_size);
	else /* half a pointer is nothing that a caller has */
		memset((char *)to + offset, 0, size - offset);
}

#define PUT(to, type, member, value)                                                                     \
	put(to, offsetof(type, member), (__typeof__(((type *)NULL)->member)[]){ value }, \
	    sizeof(((type *)NULL)->member))

static int32_t some_fd(void)
{
	static const int32_t fds[] = { -1, -1, -1, -2, 9999, INT32_MIN };
	uint8_t which = take_byte(&input);

	if (which % 8 > 5)
		return which & 8 ? STDIN_FILENO : STDERR_FILENO;
	return fds[which % 8];
}

static const char *some_path(void)
{
	static const char *const paths[] = { NULL, NULL, "/", "/tmp", "/dev/null", "/nothing", "" };
	uint8_t which = take_byte(&input);

	return which % 8 == 7 ? some_string() : paths[which % 8];
}

static const char *some_text(void)
{
	return take_byte(&input) & 1 ? some_string() : NULL;
}

static const char *const *some_strings(void)
{
	uint8_t count = take_byte(&input);
	const char **strings;

	if (count % 8 == 0)
		return NULL;
	strings = keep_block(calloc(count % 8U, sizeof(*strings)));
	for (int i = 0; i < count % 8 - 1; i++)
		strings[i] = some_string();
	return strings;
}

static const struct guest_mount *some_mounts(uint64_t *ret_count)
{
	struct guest_mount *first = some_struct(sizeof(*first), CONFIG_STRUCT_MAX);
	uint64_t count = take_byte(&input) % MOUNTS_MAX;
	size_t stride = first && first->size <= CONFIG_STRUCT_MAX ? first->size : sizeof(first->size);
	char *mounts;

	*ret_count = count ? count : take_u64(&input) | (WIRE_MOUNTS_MAX + 1);
	if (!first)
		return NULL;
	if (stride < sizeof(first->size) || count == 0 || first->size > CONFIG_STRUCT_MAX) {
		*ret_count = count ? 1 : *ret_count;
		return first;
	}
	mounts = keep_block(malloc(stride * count));
	for (uint64_t i = 0; i < count; i++) {
		char *mount = memcpy(mounts + i * stride, first, stride);
		uint8_t own = take_byte(&input);
		uint32_t size = first->size;

		if (i > 0 && own == 1) /* another than the first; larger ones are told by their size alone */
			size = take_u32(&input);
		if (own & 2)
			take_bytes(&input, mount + sizeof(size), stride - sizeof(size) < 8 ? stride - sizeof(size) : 8);
		PUT(mount, struct guest_mount, source, some_path());
		PUT(mount, struct guest_mount, target, some_text());
		PUT(mount, struct guest_mount, options, some_text());
		memcpy(mount, &size, sizeof(size));
	}
	return (struct guest_mount *)mounts;
}

static struct guest_config *some_config(void)
{
	struct guest_config *config = some_struct(sizeof(*config), CONFIG_STRUCT_MAX);
	const struct guest_mount *mounts = NULL;
	uint64_t mounts_count = 0;

	if (!config)
		return NULL;
	if (take_byte(&input) & 1)
		mounts = some_mounts(&mounts_count);
	PUT(config, struct guest_config, rootfs_path, some_path());
	PUT(config, struct guest_config, rootfs_fd, some_fd());
	PUT(config, struct guest_config, hostname, some_text());
	PUT(config, struct guest_config, mounts, mounts);
	PUT(config, struct guest_config, mounts_count, mounts_count);
	PUT(config, struct guest_config, capabilities, some_text());
	PUT(config, struct guest_config, io_max, some_text());
	PUT(config, struct guest_config, cgroup_parent, some_path());
	return config;
}

static int on_output(void *user_data, uint32_t stream, const void *data, size_t size)
{
	(void)user_data;
	return stream == GUEST_STDERR && size > 0 && *(const char *)data == '\0';
}

static struct guest_command *some_command(void)
{
	struct guest_command *command = some_struct(sizeof(*command), CONFIG_STRUCT_MAX);
	const char *const *argv, *const *envp;
	const char *in;

	if (!command)
		return NULL;
	argv = some_strings();
	envp = some_strings();
	in = some_text();
	PUT(command, struct guest_command, argv, argv);
	PUT(command, struct guest_command, envp, envp);
	PUT(command, struct guest_command, cwd, some_text());
	PUT(command, struct guest_command, stdin_data, in);
	PUT(command, struct guest_command, stdin_size, in ? strlen(in) : take_byte(&input));
	PUT(command, struct guest_command, stdin_fd, some_fd());
	PUT(command, struct guest_command, stdout_fd, some_fd());
	PUT(command, struct guest_command, stderr_fd, some_fd());
	PUT(command, struct guest_command, on_output, take_byte(&input) & 1 ? on_output : NULL);
	PUT(command, struct guest_command, io_max, some_text());
	return command;
}

static struct guest_limits *some_limits(void)
{
	struct guest_limits *limits = some_struct(sizeof(*limits), CONFIG_STRUCT_MAX);

	if (limits)
		PUT(limits, struct guest_limits, io_max, some_text());
	return limits;
}

/* As a caller has it before its first use: nothing but its size. */
static void *some_output(size_t known, size_t first)
{
	uint32_t *bytes = some_struct(known, RESULT_MAX), size = bytes ? *bytes : 0;

	if (!bytes)
		return NULL;
	if (size == 0 || size > RESULT_MAX) { /* 0 stands for the first version's */
		size = size ? (uint32_t)known : 0;
		bytes = keep_block(calloc(1, size ? size : first));
		*bytes = size;
	} else if (size > sizeof(size)) {
		memset(bytes + 1, 0, size - sizeof(size));
	}
	return bytes;
}

/* Whatever of the error there is room for agrees with what was returned. */
static int check(int r, const struct guest_error *err)
{
	if (!err || r >= 0)
		return r;
	if (err->size >= sizeof(*err)) {
		check_error(r, err);
	} else if (err->size > offsetof(struct guest_error, message)) {
		ASSERT(err->code == r);
		ASSERT(memchr(err->message, '\0', err->size - offsetof(struct guest_error, message)));
	}
	return r;
}

static void run(struct guest *guest)
{
	struct guest_error *err = some_output(sizeof(*err), sizeof(*err));
	struct guest_result *result = some_output(sizeof(*result), offsetof(struct guest_result, minor_faults));
	uint32_t size = result ? result->size : 0;
	struct guest_command *command = some_command();

	if (check(guest_run(guest, command, result, err), err) == 0) {
		ASSERT(result->exit_code == 3 || result->cause != GUEST_EXITED);
		ASSERT(!size || result->size == size);
	}
	guest_result_clear(result);
	guest_result_clear(result);
}

static void ask(struct guest *guest)
{
	struct guest_error *err = some_output(sizeof(*err), sizeof(*err));
	struct guest_info *info = some_output(sizeof(*info), sizeof(info->size));

	check(guest_info(guest, info, err), err);
	check(guest_set_limits(guest, some_limits(), err), err);
}

/* The defaults, for a struct of any size. */
static void init_structs(void)
{
	size_t size = take_byte(&input) * 4;
	void *block = malloc(size);

	guest_config_init(block, size);
	guest_command_init(block, size);
	guest_limits_init(block, size);
	free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t before = open_fds();
	struct guest_config *config;
	struct guest *guest = NULL;
	struct guest_error *err;

	input = (struct fuzz_input){ data, size };
	init_structs();
	err = some_output(sizeof(*err), sizeof(*err));
	config = some_config();
	if (check(guest_init(&guest, config, err), err) < 0) {
		ASSERT(!guest);
		ASSERT(guest_init(&guest, NULL, NULL) == 0);
	}
	ask(guest);
	run(guest);
	ASSERT(guest_shutdown(guest, NULL) == 0);
	guest_trim(NULL);
	peer_close();
	while (blocks_count > 0)
		free(blocks[--blocks_count]);
	ASSERT(open_fds() == before);
	return 0;
}
