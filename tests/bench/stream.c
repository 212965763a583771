// SPDX-License-Identifier: MIT
/* Output and input of a command, from 1 KB to 1 GB, beside a pipe to a process of the host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sections.h"

static const char *program(void)
{
	static const char *path;

	if (!path)
		path = path_of(bench.programs, "bytes");
	return path;
}

static void add_speed(struct row *row, uint64_t bytes, uint64_t start)
{
	row_add(row, (double)bytes / 1e6 / ms_since(start));
}

static void wait_for(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status != 0)
		die(program(), NULL);
}

/* Room for so much more, in what doubles when it is full; what is not kept has the same room again. */
static char *room_for(char **data, size_t *capacity, size_t used, size_t more, int keep)
{
	if (!keep)
		used = 0;
	if (*capacity < used + more) {
		*capacity = (used + more) * 2;
		*data = realloc(*data, *capacity);
		if (!*data)
			die("memory", NULL);
	}
	return *data + used;
}

/* What comes is thrown away, or kept in memory. */
static void measure_pipe_out(struct row *row, uint64_t bytes, const char *size, int keep)
{
	const size_t block = 65536;
	uint64_t start = now_ns(), got = 0;
	size_t capacity = 0;
	char *data = NULL;
	int output;
	pid_t pid = spawn((const char *const[]){ program(), "write", size, NULL }, NULL, &output);
	ssize_t n;

	if (pid < 0)
		die(program(), NULL);
	while ((n = read(output, room_for(&data, &capacity, got, block, keep), block)) > 0)
		got += (uint64_t)n;
	close(output);
	wait_for(pid);
	add_speed(row, bytes, start);
	if (got != bytes)
		die("output through a pipe", NULL);
	free(data);
}

static int count_output(void *user_data, uint32_t which, const void *data, size_t size)
{
	(void)which, (void)data;
	*(uint64_t *)user_data += size;
	return 0;
}

static void measure_streamed(struct guest *guest, const struct stream *stream, const char *size)
{
	uint64_t start = now_ns(), got = 0;
	struct guest_command command;

	guest_command_init(&command, sizeof(command));
	command.argv = (const char *const[]){ "/bench/bytes", "write", size, NULL };
	command.flags = GUEST_NO_CAPTURE;
	command.output_limit_bytes = 0;
	command.on_output = count_output;
	command.user_data = &got;
	guest_do_command(guest, &command);
	if (got != stream->bytes)
		die("streamed output", NULL);
	add_speed(stream->streamed, stream->bytes, start);
}

static void measure_captured(struct guest *guest, struct row *row, uint64_t bytes, const char *size)
{
	uint64_t start = now_ns();
	struct guest_result result = { .size = sizeof(result) };
	struct guest_error err = { .size = sizeof(err) };
	struct guest_command command;

	guest_command_init(&command, sizeof(command));
	command.argv = (const char *const[]){ "/bench/bytes", "write", size, NULL };
	command.output_limit_bytes = 0;
	if (guest_run(guest, &command, &result, &err) < 0)
		die("guest_run", &err);
	add_speed(row, bytes, start);
	if (result.stdout_size != bytes)
		die("captured output", NULL);
	guest_result_clear(&result);
}

static void measure_pipe_in(const struct stream *stream, const char *data)
{
	uint64_t start = now_ns(), done = 0;
	int input;
	pid_t pid = spawn((const char *const[]){ program(), "read", NULL }, &input, NULL);

	if (pid < 0)
		die(program(), NULL);
	while (done < stream->bytes) {
		ssize_t n = write(input, data + done, stream->bytes - done);

		if (n < 0)
			die("writing to a pipe", NULL);
		done += (uint64_t)n;
	}
	close(input);
	wait_for(pid);
	add_speed(stream->pipe_in, stream->bytes, start);
}

static void measure_fed(struct guest *guest, const struct stream *stream, const char *data)
{
	uint64_t start = now_ns();
	struct guest_command command;

	guest_command_init(&command, sizeof(command));
	command.argv = (const char *const[]){ "/bench/bytes", "read", NULL };
	command.stdin_data = data;
	command.stdin_size = stream->bytes;
	guest_do_command(guest, &command);
	add_speed(stream->fed, stream->bytes, start);
}

static void measure_in(struct guest *guest, const struct stream *stream)
{
	char *data = malloc(stream->bytes);

	if (!data)
		die("memory", NULL);
	memset(data, 'x', stream->bytes);
	measure_pipe_in(stream, data);
	measure_fed(guest, stream, data);
	free(data);
}

void stream_measure(struct guest *guest, const struct stream *stream)
{
	char size[24];

	snprintf(size, sizeof(size), "%llu", (unsigned long long)stream->bytes);
	measure_pipe_out(stream->pipe_out, stream->bytes, size, 0);
	if (stream->pipe_kept)
		measure_pipe_out(stream->pipe_kept, stream->bytes, size, 1);
	measure_streamed(guest, stream, size);
	measure_captured(guest, stream->captured, stream->bytes, size);
	measure_captured(guest, stream->captured_again, stream->bytes, size);
	if (stream->fed)
		measure_in(guest, stream);
}

/* As input there is the caller's copy, and what the guest reads; as output what is captured, which grows by moving. */
int stream_fits(uint64_t bytes)
{
	return bytes / 1024 * 3 < (uint64_t)proc_kb("/proc/meminfo", "MemAvailable");
}

static void make_rows(struct stream *stream, const char *size)
{
	stream->pipe_out = row_new("GB/s", "pipe, %s out", size);
	stream->streamed = row_new("GB/s", "guest, %s out, to a callback", size);
	stream->pipe_kept = row_new("GB/s", "pipe, %s out, kept", size);
	stream->captured = row_new("GB/s", "guest, %s out, captured", size);
	stream->captured_again = row_new("GB/s", "guest, %s out, captured again", size);
	stream->pipe_in = row_new("GB/s", "pipe, %s in", size);
	stream->fed = row_new("GB/s", "guest, %s in", size);
	row_compare(stream->streamed, stream->pipe_out);
	row_compare(stream->captured, stream->pipe_kept);
	row_compare(stream->captured_again, stream->pipe_kept);
	row_compare(stream->fed, stream->pipe_in);
}

void stream_section(unsigned int rounds)
{
	static const char *const names[] = { "1 KB", "64 KB", "1 MB", "64 MB", "1 GB" };
	struct stream all[] = {
		{ .bytes = 1 << 10 }, { .bytes = 64 << 10 }, { .bytes = 1 << 20 }, { .bytes = 64 << 20 }, { .bytes = 1 << 30 },
	};
	size_t count = 0;
	struct guest *guest = guest_make(GUEST_NETWORK_NONE);

	while (count < sizeof(all) / sizeof(all[0]) - (bench.quick ? 1 : 0) && stream_fits(all[count].bytes)) {
		make_rows(&all[count], names[count]);
		count++;
	}
	while (rounds-- > 0)
		for (size_t i = 0; i < count; i++)
			stream_measure(guest, &all[i]);
	guest_end(guest);
}
