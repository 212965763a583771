// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "host/host.h"

#define FIRST_CAPACITY 4096
#define PIPE_CAPACITY 65536 /* pipe(7) */

#define PAGE 4096UL /* or less than one */
#define POPULATE_FROM (1U << 20)
#define POPULATE_AT_ONCE (1U << 18)

/*
 * Room for a read, and one byte more for the NUL: little until more has come than that. It doubles,
 * so that the copying is linear.
 */
static int make_room(struct output *output)
{
	size_t room = output->total < FIRST_CAPACITY / 2 ? FIRST_CAPACITY / 2 : PIPE_CAPACITY;
	size_t capacity = output->capacity ? output->capacity * 2 : FIRST_CAPACITY;
	int r;

	if (output->capacity > output->size + room)
		return 0;
	if (capacity <= output->size + room)
		capacity = output->size + room + 1;
	r = block_grow(&output->data, output->size, &capacity);
	if (r == 0)
		output->capacity = capacity;
	return r;
}

/*
 * Have the pages made that the next reads will fill, many at once: on a virtual machine, a fault
 * for each takes twice as long (madvise(2), Linux 5.14).
 */
static void populate(struct output *output)
{
	uintptr_t data = (uintptr_t)output->data, at = data + output->size, end;

	if (output->capacity < POPULATE_FROM || output->populated >= output->size + PIPE_CAPACITY)
		return;
	if (at < data + output->populated)
		at = data + output->populated;
	at = (at + PAGE - 1) & ~(PAGE - 1);
	end = data + output->capacity < at + POPULATE_AT_ONCE ? data + output->capacity :
								at + POPULATE_AT_ONCE;
	end &= ~(PAGE - 1);
	if (end > at && madvise((void *)at, end - at, MADV_POPULATE_WRITE) < 0)
		output->populated = SIZE_MAX - PIPE_CAPACITY; /* they will come one by one */
	else
		output->populated = end - data;
}

/* Bytes have arrived behind output->size: hand them out, keep what shall be kept. */
static int take(struct output *output, const struct guest_command *command, size_t n)
{
	uint64_t limit = command->output_limit_bytes ? command->output_limit_bytes : UINT64_MAX;
	size_t wanted = n;
	const char *at;

	if (output->total >= limit)
		wanted = 0;
	else if (n > limit - output->total)
		wanted = (size_t)(limit - output->total);
	output->total += n;
	output->over_budget |=
		!budget_count(&output->budget->output_used, output->budget->output_bytes, n);
	output->truncated |= wanted < n || output->over_budget;
	at = output->data + output->size;
	if (!(command->flags & GUEST_NO_CAPTURE))
		output->size += wanted;
	if (wanted > 0 && command->on_output &&
	    command->on_output(command->user_data, output->stream, at, wanted))
		return OUTPUT_CANCEL;
	if (wanted == n && !output->over_budget)
		return OUTPUT_MORE;
	if (output->over_budget)
		return OUTPUT_OVER;
	return command->flags & GUEST_TRUNCATE_OUTPUT ? OUTPUT_MORE : OUTPUT_OVER;
}

int output_read(struct output *output, const struct guest_command *command)
{
	ssize_t n;
	int r;

	if (output->fd < 0)
		return OUTPUT_END;
	r = make_room(output);
	if (r < 0)
		return r;
	populate(output);
	do
		n = read(output->fd, output->data + output->size,
			 output->capacity - output->size - 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? OUTPUT_MORE : -errno;
	if (n == 0) {
		fd_close(&output->fd);
		return OUTPUT_END;
	}
	return take(output, command, (size_t)n);
}

int output_drain(struct output *output, const struct guest_command *command)
{
	uint64_t end, before;
	int left = 0, r;

	/* no more than is there now: another command of the guest may have opened the pipe, too */
	if (output->fd < 0 || ioctl(output->fd, FIONREAD, &left) < 0)
		return OUTPUT_END;
	end = output->total + (uint64_t)left;
	do { /* or less, if that one reads, too */
		before = output->total;
		r = output_read(output, command);
	} while (r == OUTPUT_MORE && output->total > before && output->total <= end);
	return r;
}

void output_close(struct output *output)
{
	int left = 0;

	if (output->fd >= 0 && ioctl(output->fd, FIONREAD, &left) == 0 && left > 0)
		output->truncated = true;
	fd_close(&output->fd);
}

int output_finish(struct output *output)
{
	int r = output->data ? 0 : make_room(output);

	if (r < 0)
		return r;
	output->data[output->size] = '\0';
	block_trim(output->data);
	return 0;
}
