// SPDX-License-Identifier: MIT
/* Very many guests, one after the other: nothing may grow, in the host program, in its keeper, in the kernel. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

/* How much may be more at the end than after the first tenth, when all caches have their size. */
#define SLACK_RSS_KB 256
#define SLACK_SLAB_KB (64 * 1024) /* the machine's, so that of others, too */

struct state {
	long fds, host_kb, keeper_kb, slab_kb;
};

static long count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	long count = 0;

	while (directory && readdir(directory))
		count++;
	if (directory)
		closedir(directory);
	return count - 3; /* ".", "..", and that of the directory itself */
}

static struct state look(void)
{
	struct state state = { .fds = count_fds(), .keeper_kb = -1 };
	char path[40];
	pid_t keeper;

	state.host_kb = proc_kb("/proc/self/status", "VmRSS");
	state.slab_kb = proc_kb("/proc/meminfo", "SUnreclaim");
	if (guest_processes("guest-keeper", &keeper, 1) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/status", keeper);
		state.keeper_kb = proc_kb(path, "VmRSS");
	}
	return state;
}

static void check_growth(const char *what, long before, long after, long slack)
{
	if (after <= before + slack)
		return;
	fprintf(stderr, "bench: %s grew from %ld to %ld\n", what, before, after);
	exit(1);
}

void endurance_section(unsigned int guests)
{
	struct row *row = row_new("ms", "init+run+shutdown");
	unsigned int tenth = guests / 10 ? guests / 10 : 1;
	struct state first = { 0 }, now = { 0 };

	row_reserve(row, guests);
	printf("\n%12s %6s %10s %10s %12s\n", "guests", "fds", "host, KB", "keeper, KB", "SUnreclaim");
	for (unsigned int i = 1; i <= guests; i++) {
		uint64_t start = now_ns();
		struct guest *guest = guest_make(GUEST_NETWORK_NONE);

		guest_do(guest, true_in_guest);
		guest_end(guest);
		row_add_since(row, start);
		if (i % tenth != 0)
			continue;
		now = look();
		if (i == tenth)
			first = now;
		printf("%12u %6ld %10ld %10ld %12ld\n", i, now.fds, now.host_kb, now.keeper_kb, now.slab_kb);
		fflush(stdout);
	}
	check_growth("the number of fds", first.fds, now.fds, 0);
	check_growth("the host's memory", first.host_kb, now.host_kb, SLACK_RSS_KB);
	check_growth("the keeper's memory", first.keeper_kb, now.keeper_kb, SLACK_RSS_KB);
	check_growth("the kernel's memory", first.slab_kb, now.slab_kb, SLACK_SLAB_KB);
}
