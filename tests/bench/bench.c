// SPDX-License-Identifier: MIT
/*
 * What a guest costs, beside what others cost, in one run: each round measures everything once, in
 * turn, since machines are noisy.
 *
 *     bench [-n ROUNDS] [-j FILE.json] [-c CPU] -t STATIC_TRUE [-p PAYLOAD] [-r UNPACKED_ROOTFS]
 *
 * Peers that are not installed are left out.
 */
#include <fcntl.h>
#include <guest/guest.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "samples.h"

extern char **environ;

enum {
	SPAWN,
	INIT,
	RUN,
	SHUTDOWN,
	CYCLE,
	RUN_KEPT,
	BUBBLEWRAP,
	COLD,
	DECODE,
	KINDS,
};

static struct samples all[KINDS] = {
	[SPAWN] = { .name = "posix_spawn",
		    .what = "static true on the host, spawned and waited for: the floor" },
	[INIT] = { .name = "guest_init, warm", .what = "until the guest is ready" },
	[RUN] = { .name = "guest_run, first", .what = "static true, the first command of a guest" },
	[SHUTDOWN] = { .name = "guest_shutdown", .what = "until every process is dead" },
	[CYCLE] = { .name = "init+run+shutdown",
		    .what = "a fresh guest with a network namespace, true in it, gone" },
	[RUN_KEPT] = { .name = "guest_run", .what = "static true in a guest that lives on" },
	[BUBBLEWRAP] = { .name = "bubblewrap",
			 .what = "bwrap --unshare-all, static true in the same rootfs" },
	[COLD] = { .name = "guest_init, cold", .what = "the rootfs unpacked" },
	[DECODE] = { .name = "xz -T0 -dc", .what = "of the same payload, to /dev/null" },
};

static struct {
	unsigned int rounds;
	const char *json, *program, *payload, *rootfs;
} options = { .rounds = 200 };

static void die(const char *what, const struct guest_error *err)
{
	fprintf(stderr, "bench: %s: %s\n", what, err ? err->message : "failed");
	exit(1);
}

/* Spawn, wait, and say whether it exited with 0. Output goes to /dev/null. */
static int spawn_and_wait(char *const argv[])
{
	posix_spawn_file_actions_t actions;
	int status = -1;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) == 0)
		waitpid(pid, &status, 0);
	posix_spawn_file_actions_destroy(&actions);
	return status == 0;
}

static void run_true(struct guest *guest, struct samples *samples)
{
	struct guest_result result = { .size = sizeof(result) };
	struct guest_error err = { .size = sizeof(err) };
	const char *const argv[] = { "/mnt/true", NULL };
	struct guest_command command;
	uint64_t start;

	guest_command_init(&command, sizeof(command));
	command.argv = argv;
	start = samples_now();
	if (guest_run(guest, &command, &result, &err) < 0)
		die("guest_run", &err);
	samples_add(samples, start);
	if (result.cause != GUEST_EXITED || result.exit_code != 0)
		die("true", NULL);
	guest_result_clear(&result);
}

static struct guest *init(struct samples *samples)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest_mount mount = { .size = sizeof(mount),
				     .target = "/mnt/true",
				     .options = "ro" };
	struct guest_config config;
	struct guest *guest;
	uint64_t start;

	mount.source = options.program;
	guest_config_init(&config, sizeof(config));
	config.mounts = &mount;
	config.mounts_count = 1;
	start = samples_now();
	if (guest_init(&guest, &config, &err) < 0)
		die("guest_init", &err);
	samples_add(samples, start);
	return guest;
}

static void round_of_cycle(void)
{
	uint64_t start = samples_now(), end;
	struct guest *guest = init(&all[INIT]);

	run_true(guest, &all[RUN]);
	end = samples_now();
	if (guest_shutdown(guest, NULL) < 0)
		die("guest_shutdown", NULL);
	samples_add(&all[SHUTDOWN], end);
	samples_add(&all[CYCLE], start);
}

static void round_of_spawn(void)
{
	char *argv[] = { (char *)options.program, NULL };
	uint64_t start = samples_now();

	if (!spawn_and_wait(argv))
		die("posix_spawn", NULL);
	samples_add(&all[SPAWN], start);
}

static int round_of_bubblewrap(void)
{
	char *argv[] = { (char *)"bwrap",
			 (char *)"--unshare-all",
			 (char *)"--ro-bind",
			 (char *)options.rootfs,
			 (char *)"/",
			 (char *)"--proc",
			 (char *)"/proc",
			 (char *)"--dev",
			 (char *)"/dev",
			 (char *)"--tmpfs",
			 (char *)"/tmp",
			 (char *)"--ro-bind",
			 (char *)options.program,
			 (char *)"/tmp/true",
			 (char *)"/tmp/true",
			 NULL };
	uint64_t start = samples_now();
	int works = spawn_and_wait(argv);

	if (works)
		samples_add(&all[BUBBLEWRAP], start);
	return works;
}

static void rounds_of_cold(unsigned int rounds)
{
	char *argv[] = { (char *)"xz", (char *)"-T0", (char *)"-dc", (char *)options.payload,
			 NULL };

	for (unsigned int i = 0; i < rounds; i++) {
		uint64_t start = samples_now();

		if (options.payload && spawn_and_wait(argv))
			samples_add(&all[DECODE], start);
		guest_trim(NULL);
		guest_shutdown(init(&all[COLD]), NULL);
	}
}

static void measure(void)
{
	struct guest *kept;
	struct samples ignored = { 0 };
	int bubblewrap;

	rounds_of_cold(options.rounds < 50 ? 1 : 5);
	kept = init(&ignored);
	bubblewrap = options.rootfs && round_of_bubblewrap();
	for (unsigned int i = 0; i < options.rounds; i++) {
		round_of_spawn();
		run_true(kept, &all[RUN_KEPT]);
		round_of_cycle();
		if (bubblewrap)
			round_of_bubblewrap();
	}
	guest_shutdown(kept, NULL);
}

static void report(void)
{
	printf("%-22s %9s %9s %9s %8s   %s\n", "ms", "min", "median", "p99", "x spawn", "");
	for (int i = 0; i < KINDS; i++)
		samples_print_row(&all[i], i < COLD ? &all[SPAWN] : &all[DECODE]);
	printf("(the last two rows: ratio to xz)\n");
	if (options.json) {
		FILE *file = fopen(options.json, "w");

		if (!file)
			die(options.json, NULL);
		fprintf(file, "[\n");
		for (int i = 0; i < KINDS; i++)
			samples_print_json(&all[i], file, i == KINDS - 1);
		fprintf(file, "]\n");
		fclose(file);
	}
}

static void pin(const char *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(atoi(cpu), &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("sched_setaffinity", NULL);
}

int main(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "n:j:c:t:p:r:")) != -1) {
		switch (option) {
		case 'n':
			options.rounds = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'j':
			options.json = optarg;
			break;
		case 'c':
			pin(optarg);
			break;
		case 't':
			options.program = optarg;
			break;
		case 'p':
			options.payload = optarg;
			break;
		case 'r':
			options.rootfs = optarg;
			break;
		default:
			return 2;
		}
	}
	if (!options.program)
		die("-t is needed", NULL);
	measure();
	report();
	return 0;
}
