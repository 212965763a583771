// SPDX-License-Identifier: MIT
/* How costs grow with what there is: live guests, threads, the host's memory, output, the rootfs. For plot.py. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sections.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void measure_at(unsigned int live, struct guest *one_of_them, unsigned int rounds)
{
	struct row *init = row_point("live", "ms", "guest_init", live);
	struct row *run = row_point("live", "ms", "guest_run", live);
	struct row *shutdown = row_point("live", "ms", "guest_shutdown", live);

	while (rounds-- > 0) {
		uint64_t start = now_ns();
		struct guest *guest = guest_make(GUEST_NETWORK_NONE);

		row_add_since(init, start);
		start = now_ns();
		guest_do(one_of_them, true_in_guest);
		row_add_since(run, start);
		start = now_ns();
		guest_end(guest);
		row_add_since(shutdown, start);
	}
}

/* The kernel's for those that are new since *last_live; for some, as it has room for a few that it need not get. */
static void measure_memory(unsigned int live, unsigned int *last_live, long *last_kernel)
{
	static pid_t pids[1000];
	long processes = memory_of_processes(pids, guest_processes("guest-holder", pids, COUNT(pids)));
	long kernel = kernel_kb();

	if (live - *last_live >= 30)
		row_add(row_point("memory", "KB", "kernel, per guest", live),
			(double)(kernel - *last_kernel) / (live - *last_live));
	*last_live = live;
	*last_kernel = kernel;
	if (processes > 0)
		row_add(row_point("memory", "KB", "process, per guest", live), (double)processes / live);
}

static unsigned int most_guests(unsigned int wanted)
{
	struct rlimit files;

	/* some fds for each, in this program and in its keeper, whose limit is the same */
	return getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 4 < wanted ? (unsigned int)files.rlim_cur / 4 :
										      wanted;
}

static void grow_guests(unsigned int rounds)
{
	static const unsigned int counts[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000 };
	static struct guest *guests[1000];
	unsigned int most = most_guests(bench.quick ? 200 : 1000), live = 0, last_live = 0;
	long last_kernel;

	guest_end(guest_make(GUEST_NETWORK_NONE)); /* the cold one */
	last_kernel = settle();
	for (size_t i = 0; i < COUNT(counts) && counts[i] <= most; i++) {
		while (live < counts[i])
			guests[live++] = guest_make(GUEST_NETWORK_NONE);
		measure_at(live, guests[live / 2], rounds);
		settle();
		measure_memory(live, &last_live, &last_kernel);
	}
	while (live > 0)
		guest_end(guests[--live]);
}

static void grow_callers(unsigned int rounds)
{
	struct many points[7];

	for (size_t i = 0; i < COUNT(points); i++) {
		unsigned int callers = 1U << i;

		points[i].callers = callers;
		points[i].spawn = row_point("callers", "1/s", "posix_spawn", callers);
		points[i].run = row_point("callers", "1/s", "guest_run", callers);
		points[i].guests = row_point("callers", "1/s", "whole guests", callers);
		points[i].guests_host_network = row_point("callers", "1/s", "on host's network", callers);
	}
	while (rounds-- > 0)
		for (size_t i = 0; i < COUNT(points); i++)
			many_measure(&points[i]);
}

static void grow_host(unsigned int rounds)
{
	struct host points[10];
	struct guest *kept = guest_make(GUEST_NETWORK_NONE);
	size_t count = 0;

	for (uint64_t mb = 8; mb <= (bench.quick ? 1024 : 4096) && host_fits(mb << 20); mb *= 2, count++) {
		points[count].bytes = mb << 20;
		points[count].fork = row_point("host", "ms", "fork", (double)mb);
		points[count].run = row_point("host", "ms", "guest_run", (double)mb);
		points[count].init = row_point("host", "ms", "guest_init", (double)mb);
	}
	while (rounds-- > 0 && count > 0)
		host_measure(kept, points, count);
	guest_end(kept);
}

static void grow_output(unsigned int rounds)
{
	struct stream points[11];
	struct guest *guest = guest_make(GUEST_NETWORK_NONE);
	size_t count = 0;

	for (uint64_t kb = 1; kb <= (bench.quick ? 65536 : 1048576) && stream_fits(kb << 10); kb *= 4, count++) {
		points[count] = (struct stream){ .bytes = kb << 10 };
		points[count].pipe_out = row_point("output", "GB/s", "pipe", (double)kb);
		points[count].streamed = row_point("output", "GB/s", "guest, to a callback", (double)kb);
		points[count].captured = row_point("output", "GB/s", "guest, captured", (double)kb);
		points[count].captured_again = row_point("output", "GB/s", "guest, captured again", (double)kb);
	}
	while (rounds-- > 0)
		for (size_t i = 0; i < count; i++)
			stream_measure(guest, &points[i]);
	guest_end(guest);
}

#define FILE_SIZE 65536 /* of each file of a rootfs */

/* An entry's header, as POSIX has it ("ustar"). */
static void fill_header(char header[512], unsigned int number)
{
	unsigned int sum = 0;

	memset(header, 0, 512);
	snprintf(header, 100, "file%u", number);
	memcpy(header + 100, "0000644\0000000000\0000000000", 24);
	snprintf(header + 124, 12, "%011o", FILE_SIZE);
	memcpy(header + 136, "00000000000", 12);
	memset(header + 148, ' ', 8); /* what the sum is counted with */
	header[156] = '0';
	memcpy(header + 257, "ustar\00000", 8);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)header[i];
	snprintf(header + 148, 8, "%06o", sum);
}

/* A tar of so many megabytes, as the fd of a file in memory. */
static int make_tar(unsigned int mb)
{
	static char header[512], content[FILE_SIZE];
	int fd = memfd_create("rootfs", MFD_CLOEXEC);

	memset(content, 'x', sizeof(content));
	for (unsigned int i = 0; i < mb * ((1U << 20) / FILE_SIZE); i++) {
		fill_header(header, i);
		if (write(fd, header, sizeof(header)) != sizeof(header) || write(fd, content, FILE_SIZE) != FILE_SIZE)
			die("making a tar", NULL);
	}
	if (ftruncate(fd, lseek(fd, 0, SEEK_CUR) + 1024) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		die("making a tar", NULL);
	return fd;
}

static void grow_payload(unsigned int rounds)
{
	static const unsigned int sizes[] = { 1, 2, 5, 10, 20, 50, 100, 200 };

	for (size_t i = 0; i < COUNT(sizes) && sizes[i] <= (bench.quick ? 50 : 200); i++) {
		struct row *row = row_point("rootfs", "ms", "guest_init, cold", sizes[i]);
		int fd = make_tar(sizes[i]);
		char path[32];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		for (unsigned int round = 0; round < rounds; round++) {
			uint64_t start = now_ns();
			struct guest *guest = guest_make_of(path, GUEST_NETWORK_NONE);

			row_add_since(row, start);
			guest_end(guest);
			guest_trim(NULL);
		}
		close(fd);
	}
}

void growth_section(unsigned int rounds)
{
	grow_guests(rounds);
	settle();
	grow_callers(rounds < 3 ? 1 : 3);
	grow_host(rounds);
	grow_output(rounds);
	grow_payload(rounds < 5 ? rounds : 5);
	printf("\ngrowth: in the JSON file, and drawn by plot.py\n");
}
