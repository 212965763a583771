// SPDX-License-Identifier: MIT
/* What a program pays for being linked with the library, or a script for importing it, before it makes a guest. */
#include "bench.h"

static struct load {
	const char *name;
	const char *argv[4];
	int base; /* which of these it is compared with; -1: none */
	struct row *row;
} loads[] = {
	{ "program, libc alone", { NULL }, -1, NULL },
	{ "program, libguest", { NULL }, 0, NULL },
	{ "python3 -c pass", { NULL, "-c", "pass" }, -1, NULL },
	{ "python3 -c 'import ctypes'", { NULL, "-c", "import ctypes" }, 2, NULL },
	{ "python3 -c 'import libguest'", { NULL, "-c", "import libguest" }, 2, NULL },
};

#define LOADS (sizeof(loads) / sizeof(loads[0]))

static void measure(struct load *load)
{
	uint64_t start = now_ns();

	if (!spawn_and_wait(load->argv))
		die(load->name, NULL);
	row_add_since(load->row, start);
}

void load_section(unsigned int rounds)
{
	size_t count = bench.python ? LOADS : 2;

	loads[0].argv[0] = path_of(bench.programs, "load_libc");
	loads[1].argv[0] = path_of(bench.programs, "load_guest");
	for (size_t i = 2; i < count; i++)
		loads[i].argv[0] = bench.python;
	for (size_t i = 0; i < count; i++) {
		if (!spawn_and_wait(loads[i].argv)) /* and it is in the page cache from here on */
			die(loads[i].name, NULL);
		loads[i].row = row_new("ms", "%s", loads[i].name);
		if (loads[i].base >= 0)
			row_compare(loads[i].row, loads[loads[i].base].row);
	}
	if (bench.python)
		row_compare(loads[4].row, loads[3].row);
	while (rounds-- > 0)
		for (size_t i = 0; i < count; i++)
			measure(&loads[i]);
}
