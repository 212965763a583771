// SPDX-License-Identifier: MIT
/*
 * What guests cost, beside what others and the bare system calls cost in the same run. `sh tests/bench/run` builds
 * this and what it needs, and starts it; README.md tells what is measured.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench.h"

struct bench bench;

/* How often each thing is measured, unless -n says it. */
static const struct section {
	const char *name;
	void (*run)(unsigned int rounds);
	unsigned int rounds, quick_rounds;
	int only_if_asked;
} sections[] = {
	{ "start", start_section, 200, 15, 0 },
	{ "pool", pool_section, 300, 50, 0 },
	{ "cold", cold_section, 7, 3, 0 },
	{ "many", many_section, 7, 1, 0 },
	{ "stream", stream_section, 10, 3, 0 },
	{ "memory", memory_section, 9, 1, 0 },
	{ "host", host_section, 20, 3, 0 },
	{ "load", load_section, 50, 5, 0 },
	{ "growth", growth_section, 10, 3, 0 },
	{ "endurance", endurance_section, 100000, 1000, 1 },
};

#define SECTIONS (sizeof(sections) / sizeof(sections[0]))

static struct {
	unsigned int rounds;
	const char *json;
	int asked[SECTIONS], any_asked;
} options;

static void usage(void)
{
	fprintf(stderr, "usage: sh tests/bench/run [-q] [-n ROUNDS] [-c CPU] [-s SECTION]... [-j FILE]\nsections:");
	for (size_t i = 0; i < SECTIONS; i++)
		fprintf(stderr, " %s%s", sections[i].name, sections[i].only_if_asked ? " (only if asked for)" : "");
	fprintf(stderr, "\n");
	exit(2);
}

static void ask_for(const char *name)
{
	size_t i = 0;

	while (i < SECTIONS && strcmp(sections[i].name, name) != 0)
		i++;
	if (i == SECTIONS)
		usage();
	options.asked[i] = options.any_asked = 1;
}

static void pin(const char *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(atoi(cpu), &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("sched_setaffinity", NULL);
}

/* -P, -d, -p and -y are for the script. */
static void parse(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "n:c:s:qj:P:d:p:y:")) != -1) {
		switch (option) {
		case 'n':
			options.rounds = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			pin(optarg);
			break;
		case 's':
			ask_for(optarg);
			break;
		case 'q':
			bench.quick = 1;
			break;
		case 'j':
			options.json = optarg;
			break;
		case 'P':
			bench.programs = optarg;
			break;
		case 'd':
			bench.rootfs = path_of(optarg, "rootfs");
			bench.archive = path_of(optarg, "rootfs.tar");
			bench.bundle = path_of(optarg, "bundle");
			bench.cache = path_of(optarg, "cache");
			break;
		case 'p':
			bench.payload = optarg;
			break;
		case 'y':
			bench.python = optarg[0] ? optarg : NULL;
			break;
		default:
			usage();
		}
	}
	if (optind != argc || !bench.programs || !bench.rootfs || !bench.payload || !options.json)
		usage();
}

static int is_wanted(size_t i)
{
	return options.any_asked ? options.asked[i] : !sections[i].only_if_asked;
}

static void run(const struct section *section)
{
	rows_begin(section->name);
	section->run(options.rounds ? options.rounds : bench.quick ? section->quick_rounds : section->rounds);
	rows_print(section->name);
}

static void tell_machine(void)
{
	struct utsname name;

	if (uname(&name) == 0)
		printf("libguest %s, %s %s, %s, %ld CPUs, uid %u\n", guest_version(), name.sysname, name.release,
		       name.machine, sysconf(_SC_NPROCESSORS_ONLN), geteuid());
}

static void write_json(void)
{
	FILE *file = fopen(options.json, "we");

	if (!file)
		die(options.json, NULL);
	rows_json(file);
	if (fclose(file) != 0)
		die(options.json, NULL);
}

int main(int argc, char **argv)
{
	struct rlimit files;

	parse(argc, argv);
	tell_machine();
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) { /* many guests at once need many fds */
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	for (size_t i = 0; i < SECTIONS; i++)
		if (is_wanted(i))
			run(&sections[i]);
	write_json();
	return 0;
}
