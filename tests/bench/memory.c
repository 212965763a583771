// SPDX-License-Identifier: MIT
/*
 * Memory of an idle guest, beyond the template that all share, and the time for very many of them.
 *
 * Of processes: the PSS of what stands for a sandbox, a guest's holder or bubblewrap's two processes (not of the
 * program that idles in bubblewrap's; a guest needs none).
 * Of the kernel: how much more kernel_kb() is with so many of them than with FEW, divided by their number. These few
 * come before, since the first would find room in what the kernel's allocator has of earlier ones.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peers.h"
#include "sections.h"

#define FEW 150
#define ALL 300
#define CROWD (bench.quick ? 200U : 1000U)

/* One of three kinds. */
struct memory {
	const char *name;
	const struct peer *bubblewrap;
	const struct meter *floor;
	unsigned char question; /* for the floor */
	uint32_t network;	/* of guests */
	struct row *processes, *kernel, *together;
};

long memory_of_processes(const pid_t *pids, size_t count)
{
	char path[40];
	long kb = 0;

	for (size_t i = 0; i < count; i++) {
		long pss;

		snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pids[i]);
		pss = proc_kb(path, "Pss");
		if (pss < 0)
			return -1;
		kb += pss;
	}
	return kb;
}

/* Of a process with one thread. */
static size_t children_of(pid_t pid, pid_t *ret_pids, size_t max)
{
	size_t count = 0;
	char path[60];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	file = fopen(path, "re");
	while (file && count < max && fscanf(file, "%d", &ret_pids[count]) == 1)
		count++;
	if (file)
		fclose(file);
	return count;
}

static struct guest *guests[1000];
static pid_t outer[ALL]; /* bubblewrap, which waits for another */
static int inputs[ALL];

static void make_bubblewrap(const struct peer *peer, unsigned int i)
{
	const char *const program[] = { "/bench/bytes", "idle", NULL };
	char byte;
	int output;

	outer[i] = spawn(peer_argv(peer, program), &inputs[i], &output);
	if (outer[i] < 0 || read(output, &byte, 1) != 1)
		die(peer->name, NULL);
	close(output);
}

static void make(const struct memory *memory, unsigned int from, unsigned int to)
{
	uint64_t answers[2];

	for (unsigned int i = from; i < to; i++) {
		if (memory->bubblewrap)
			make_bubblewrap(memory->bubblewrap, i);
		else if (memory->floor)
			meter_ask(memory->floor, memory->question, answers, 2);
		else
			guests[i] = guest_make(memory->network);
	}
}

static size_t find_processes(const struct memory *memory, pid_t *ret_pids)
{
	size_t count = 0;
	pid_t server;

	if (memory->floor)
		return children_of(memory->floor->pid, &server, 1) ? children_of(server, ret_pids, ALL) : 0;
	if (!memory->bubblewrap)
		return guest_processes("guest-holder", ret_pids, ALL);
	for (unsigned int i = 0; i < ALL; i++) {
		ret_pids[count++] = outer[i];
		count += children_of(outer[i], &ret_pids[count], 1);
	}
	return count;
}

static void end_all(const struct memory *memory)
{
	uint64_t answers[2];

	if (memory->floor)
		meter_ask(memory->floor, 'e', answers, 2);
	for (unsigned int i = 0; !memory->floor && i < ALL; i++) {
		if (memory->bubblewrap) {
			close(inputs[i]);
			waitpid(outer[i], NULL, 0);
		} else {
			guest_end(guests[i]);
		}
	}
}

static void measure_memory(const struct memory *memory)
{
	pid_t pids[2 * ALL];
	long few, all, processes;

	settle();
	make(memory, 0, FEW);
	few = settle();
	make(memory, FEW, ALL);
	all = settle();
	processes = memory_of_processes(pids, find_processes(memory, pids));
	end_all(memory);
	row_add(memory->kernel, (double)(all - few) / (ALL - FEW));
	if (processes <= 0) /* may not be looked at */
		return;
	row_add(memory->processes, (double)processes / ALL);
	row_add(memory->together, (double)(all - few) / (ALL - FEW) + (double)processes / ALL);
}

static void make_rows(struct memory *memory)
{
	memory->processes = row_new("KB", "%s: processes", memory->name);
	memory->kernel = row_new("KB", "%s: kernel", memory->name);
	memory->together = row_new("KB", "%s: together", memory->name);
}

/* How many of `wanted` guests can be open at once: a limit on fds may forbid some. */
static size_t open_guests(size_t wanted)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest_config config;
	size_t count;

	guest_config_init(&config, sizeof(config));
	config.rootfs_path = bench.archive;
	for (count = 0; count < wanted; count++) {
		int r = guest_init(&guests[count], &config, &err);

		if (r == -EMFILE)
			break;
		if (r < 0)
			die("guest_init", &err);
	}
	return count;
}

/* For each, should there be fewer guests than were wanted. */
static void measure_crowd(const struct meter *floor_meter)
{
	static struct row *made, *ended, *bare_made, *bare_ended;
	uint64_t bare[2], start;
	size_t count;

	if (!made) {
		bare_made = row_new("ms", "bare sequence, of %u that live at once", CROWD);
		bare_ended = row_new("ms", "bare kill, of %u", CROWD);
		made = row_new("ms", "guest_init, of %u that live at once", CROWD);
		ended = row_new("ms", "guest_shutdown, of %u", CROWD);
		row_compare(made, bare_made);
		row_compare(ended, bare_ended);
	}
	meter_ask(floor_meter, bench.quick ? 'm' : 'M', bare, 2);
	row_add(bare_made, (double)bare[0] / 1e6 / CROWD);
	row_add(bare_ended, (double)bare[1] / 1e6 / CROWD);
	settle();
	start = now_ns();
	count = open_guests(CROWD);
	row_add(made, ms_since(start) / (double)count);
	start = now_ns();
	for (size_t i = 0; i < count; i++)
		guest_end(guests[i]);
	row_add(ended, ms_since(start) / (double)count);
	settle();
}

/* In the order of their size, as what was larger leaves room in which the next one's first would be. */
void memory_section(unsigned int rounds)
{
	struct meter meter;
	struct memory all[] = {
		{ .name = "bare sequence, host's network", .floor = &meter, .question = 'k' },
		{ .name = "guest, host's network", .network = GUEST_NETWORK_HOST },
		{ .name = "bare sequence", .floor = &meter, .question = 'K' },
		{ .name = "guest", .network = GUEST_NETWORK_NONE },
		{ .name = "bubblewrap", .bubblewrap = peers_find("bubblewrap") },
	};
	size_t count = sizeof(all) / sizeof(all[0]);

	if (!all[4].bubblewrap)
		count--;
	floor_start(&meter);
	for (size_t i = 0; i < count; i++)
		make_rows(&all[i]);
	for (int i = 1; i <= 3; i += 2) {
		row_compare(all[i].kernel, all[i - 1].kernel);
		row_compare(all[i].together, all[i - 1].together);
	}
	row_compare(all[3].together, all[4].together);
	for (size_t i = 0; i < count; i++)
		for (unsigned int k = 0; k < rounds; k++)
			measure_memory(&all[i]);
	for (unsigned int i = 0; i < rounds; i++) {
		settle();
		measure_crowd(&meter);
	}
	meter_end(&meter);
}
