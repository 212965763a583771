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

/* What comes is thrown away. */
static void measure_pipe_out(const struct stream *stream, const char *size)
{
	static char buffer[65536];
	uint64_t start = now_ns(), got = 0;
	int output;
	pid_t pid = spawn((const char *const[]){ program(), "write", size, NULL }, NULL, &output);
	ssize_t n;

	if (pid < 0)
		die(program(), NULL);
	while ((n = read(output, buffer, sizeof(buffer))) > 0)
		got += (uint64_t)n;
	close(output);
	wait_for(pid);
	if (got != stream->bytes)
		die("output through a pipe", NULL);
	add_speed(stream->pipe_out, stream->bytes, start);
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

static void measure_captured(struct guest *guest, const struct stream *stream, const char *size)
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
	add_speed(stream->captured, stream->bytes, start);
	if (result.stdout_size != stream->bytes)
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
	measure_pipe_out(stream, size);
	measure_streamed(guest, stream, size);
	measure_captured(guest, stream, size);
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
	stream->captured = row_new("GB/s", "guest, %s out, captured", size);
	stream->pipe_in = row_new("GB/s", "pipe, %s in", size);
	stream->fed = row_new("GB/s", "guest, %s in", size);
	row_compare(stream->streamed, stream->pipe_out);
	row_compare(stream->captured, stream->pipe_out);
	row_compare(stream->fed, stream->pipe_in);
}

void stream_section(unsigned int rounds)
{
	static const char *const names[] = { "1 KB", "64 KB", "1 MB", "64 MB", "1 GB" };
	struct stream all[] = { { 1 << 10, 0, 0, 0, 0, 0 },
				{ 64 << 10, 0, 0, 0, 0, 0 },
				{ 1 << 20, 0, 0, 0, 0, 0 },
				{ 64 << 20, 0, 0, 0, 0, 0 },
				{ 1 << 30, 0, 0, 0, 0, 0 } };
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
