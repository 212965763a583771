// SPDX-License-Identifier: MIT
/*
 * Memory of an idle guest, beyond the template that all share, and the time for very many of them.
 *
 * Of processes: the PSS of what stands for a sandbox, a guest's holder or bubblewrap's two processes (not of the
 * program that idles in bubblewrap's; a guest needs none).
 * Of the kernel: how much more kernel_kb() is with them than before and afterwards, on average, so that what others
 * let grow meanwhile does not count; divided by their number.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peers.h"
#include "sections.h"

#define IDLE 50

struct memory {
	const char *name;
	uint32_t network;
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

/* `kernel`: what it has grown by; `processes`: -1 if that may not be looked at. */
static void add(const struct memory *memory, long kernel, long processes)
{
	row_add(memory->kernel, (double)kernel / IDLE);
	if (processes < 0)
		return;
	row_add(memory->processes, (double)processes / IDLE);
	row_add(memory->together, (double)(kernel + processes) / IDLE);
}

static void measure_guests(const struct memory *memory)
{
	struct guest *guests[IDLE];
	pid_t pids[IDLE];
	long before = settle(), processes, with;

	for (size_t i = 0; i < IDLE; i++)
		guests[i] = guest_make(memory->network);
	with = settle();
	processes = memory_of_processes(pids, guest_processes("guest-holder", pids, IDLE));
	for (size_t i = 0; i < IDLE; i++)
		guest_end(guests[i]);
	add(memory, with - (before + settle()) / 2, processes);
}

/* The only child of a process that has one. 0: there is none. */
static pid_t child_of(pid_t pid)
{
	char path[60], text[24] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	file = fopen(path, "re");
	if (!file || !fgets(text, sizeof(text), file))
		text[0] = '\0';
	if (file)
		fclose(file);
	return (pid_t)strtol(text, NULL, 10);
}

static void measure_bubblewrap(const struct memory *memory, const struct peer *peer)
{
	const char *const program[] = { "/bench/bytes", "idle", NULL };
	pid_t pids[IDLE * 2], *outer = pids, *inner = pids + IDLE;
	int inputs[IDLE], output;
	long before = settle(), processes, with;
	char byte;

	for (size_t i = 0; i < IDLE; i++) {
		outer[i] = spawn(peer_argv(peer, program), &inputs[i], &output);
		if (outer[i] < 0 || read(output, &byte, 1) != 1)
			die(peer->name, NULL);
		close(output);
		inner[i] = child_of(outer[i]);
	}
	with = settle();
	processes = memory_of_processes(pids, IDLE * 2);
	for (size_t i = 0; i < IDLE; i++) {
		close(inputs[i]);
		waitpid(outer[i], NULL, 0);
	}
	add(memory, with - (before + settle()) / 2, processes);
}

static void make_rows(struct memory *memory)
{
	memory->processes = row_new("KB", "%s: processes", memory->name);
	memory->kernel = row_new("KB", "%s: kernel", memory->name);
	memory->together = row_new("KB", "%s: together", memory->name);
}

/* How many of `wanted` guests can be open at once: a limit on fds may forbid some. */
static size_t open_guests(struct guest **guests, size_t wanted)
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

#define CROWD (bench.quick ? 200U : 1000U)

/* For each, should there be fewer guests than were wanted. */
static void measure_crowd(const struct meter *floor_meter)
{
	static struct guest *guests[1000];
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
	count = open_guests(guests, CROWD);
	row_add(made, ms_since(start) / (double)count);
	start = now_ns();
	for (size_t i = 0; i < count; i++)
		guest_end(guests[i]);
	row_add(ended, ms_since(start) / (double)count);
	settle();
}

void memory_section(unsigned int rounds)
{
	struct memory guests[] = { { "guest", GUEST_NETWORK_NONE, 0, 0, 0 },
				   { "guest, host's network", GUEST_NETWORK_HOST, 0, 0, 0 } };
	struct memory warm_up = guests[0], bubblewrap = { "bubblewrap", 0, 0, 0, 0 };
	const struct peer *peer = peers_find("bubblewrap");
	struct meter floor_meter;

	floor_start(&floor_meter);
	measure_guests(&warm_up); /* the kernel's caches grow to what they need */
	make_rows(&guests[0]);
	make_rows(&guests[1]);
	if (peer) {
		make_rows(&bubblewrap);
		row_compare(guests[0].together, bubblewrap.together);
	}
	for (unsigned int i = 0; i < rounds; i++) {
		measure_guests(&guests[0]);
		measure_guests(&guests[1]);
		if (peer)
			measure_bubblewrap(&bubblewrap, peer);
		settle();
		measure_crowd(&floor_meter);
	}
	meter_end(&floor_meter);
}
