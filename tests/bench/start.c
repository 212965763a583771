// SPDX-License-Identifier: MIT
/* The start of a guest and of a command in it, beside the least that either can cost, and beside others. */
#include "bench.h"
#include "peers.h"

enum { NETWORK, NO_NETWORK, KINDS };

static const struct {
	const char *name;
	uint32_t network;
	const char *questions; /* for the floor: until ready, whole life, the same confined, in three calls */
} kinds[KINDS] = {
	[NETWORK] = { "", GUEST_NETWORK_NONE, "RCDT" },
	[NO_NETWORK] = { ", host's network", GUEST_NETWORK_HOST, "rcdt" },
};

/* Of a guest with a network namespace of its own, and of one without. */
static struct {
	struct row *bare_ready, *bare_kill, *bare_life, *confined_life, *bare_calls;
	struct row *init, *first_run, *shutdown, *life;
} rows[KINDS];

static struct row *spawn_row, *request_row, *run_row, *defaults_row;
static struct meter floor_meter;
static struct guest *kept;

static void make_guest_rows(int kind)
{
	const char *name = kinds[kind].name;

	rows[kind].bare_ready = row_new("ms", "bare sequence%s", name);
	rows[kind].bare_kill = row_new("ms", "bare kill%s", name);
	rows[kind].bare_life = row_new("ms", "bare life%s", name);
	rows[kind].confined_life = row_new("ms", "bare life, confined%s", name);
	rows[kind].bare_calls = row_new("ms", "bare life, confined, in calls%s", name);
	rows[kind].init = row_new("ms", "guest_init%s", name);
	rows[kind].first_run = row_new("ms", "guest_run, first%s", name);
	rows[kind].shutdown = row_new("ms", "guest_shutdown%s", name);
	rows[kind].life = row_new("ms", "init+run+shutdown%s", name);
	row_compare(rows[kind].init, rows[kind].bare_ready);
	row_compare(rows[kind].first_run, spawn_row);
	row_compare(rows[kind].shutdown, rows[kind].bare_kill);
	row_compare(rows[kind].life, rows[kind].bare_life);
	row_compare(rows[kind].life, rows[kind].confined_life);
	row_compare(rows[kind].life, rows[kind].bare_calls);
}

static void measure_bare(struct row *row, char question)
{
	uint64_t ns[2];

	meter_ask(&floor_meter, question, ns, 2);
	row_add(row, (double)ns[0] / 1e6);
}

static void measure_floor(int kind)
{
	const char *questions = kinds[kind].questions;
	uint64_t ns[2];

	meter_ask(&floor_meter, questions[0], ns, 2);
	row_add(rows[kind].bare_ready, (double)ns[0] / 1e6);
	row_add(rows[kind].bare_kill, (double)ns[1] / 1e6);
	measure_bare(rows[kind].bare_life, questions[1]);
	measure_bare(rows[kind].confined_life, questions[2]);
	measure_bare(rows[kind].bare_calls, questions[3]);
}

static void measure_guest(int kind)
{
	uint64_t start = now_ns(), then;
	struct guest *guest = guest_make(kinds[kind].network);

	row_add_since(rows[kind].init, start);
	then = now_ns();
	guest_do(guest, true_in_guest);
	row_add_since(rows[kind].first_run, then);
	then = now_ns();
	guest_end(guest);
	row_add_since(rows[kind].shutdown, then);
	row_add_since(rows[kind].life, start);
}

static void measure_defaults(void)
{
	uint64_t start = now_ns();
	struct guest *guest = guest_make_of(NULL, GUEST_NETWORK_NONE);

	row_add_since(defaults_row, start);
	guest_end(guest);
}

static void measure_run(struct row *row, const char *const *argv)
{
	uint64_t start = now_ns();

	guest_do(kept, argv);
	row_add_since(row, start);
}

static void measure_spawn(struct row *row, const char *const *argv)
{
	uint64_t start = now_ns();

	if (!spawn_and_wait(argv))
		die(argv[0], NULL);
	row_add_since(row, start);
}

static void measure_true(void)
{
	uint64_t start = now_ns();

	spawn_true();
	row_add_since(spawn_row, start);
}

/* Interpreters, in the kept guest beside the host's own. */
static struct interpreter {
	const char *name;
	const char *argv[4], *floor_argv[4];
	struct row *row, *floor_row;
} interpreters[] = {
	{ "bash -c true", { "bash", "-c", "true" }, { "bash", "-c", "true" }, NULL, NULL },
	{ "python3 -c pass", { "python3", "-c", "pass" }, { NULL, "-c", "pass" }, NULL, NULL },
};

#define INTERPRETERS (sizeof(interpreters) / sizeof(interpreters[0]))

static void make_interpreter_rows(void)
{
	interpreters[INTERPRETERS - 1].floor_argv[0] = bench.python;
	for (struct interpreter *i = interpreters; i < interpreters + INTERPRETERS; i++) {
		if (i->floor_argv[0] && spawn_and_wait(i->floor_argv))
			i->floor_row = row_new("ms", "posix_spawn of %s", i->name);
		i->row = row_new("ms", "guest_run of %s", i->name);
		row_compare(i->row, i->floor_row);
	}
}

static void measure_interpreters(void)
{
	for (struct interpreter *i = interpreters; i < interpreters + INTERPRETERS; i++) {
		if (i->floor_row)
			measure_spawn(i->floor_row, i->floor_argv);
		measure_run(i->row, i->argv);
	}
}

/* fork(2) of a Python that has imported what it needs: what a guest with such a process could cost. */
static const char fork_program[] =
	"import os, sys, time\n"
	"while sys.stdin.buffer.raw.read(1):\n"
	"    start = time.monotonic_ns()\n"
	"    pid = os.fork()\n"
	"    if pid == 0:\n"
	"        os._exit(0)\n"
	"    os.waitpid(pid, 0)\n"
	"    os.write(1, (time.monotonic_ns() - start).to_bytes(8, sys.byteorder))\n";

static struct row *fork_row;
static struct meter fork_meter;

static void start_fork_meter(void)
{
	if (!bench.python)
		return;
	meter_start(&fork_meter, (const char *const[]){ bench.python, "-c", fork_program, NULL });
	fork_row = row_new("ms", "fork of a started python3");
}

static void measure_fork(void)
{
	uint64_t ns;

	if (!fork_row)
		return;
	meter_ask(&fork_meter, 'f', &ns, 1);
	row_add(fork_row, (double)ns / 1e6);
}

#define PEERS 16

static struct row *peer_rows[PEERS];

/* A guest's whole life is compared with what is as private as it. */
static void make_peer_rows(void)
{
	const struct peer *peer = peers_all();

	for (size_t i = 0; peer[i].name && i < PEERS; i++) {
		int kind = peer[i].host_network ? NO_NETWORK : NETWORK;

		if (!peer[i].works)
			continue;
		peer_rows[i] = row_new("ms", "%s", peer[i].name);
		row_compare(peer_rows[i], rows[kind].bare_life);
		row_compare(rows[kind].life, peer_rows[i]);
	}
}

static void measure_peers(void)
{
	const struct peer *peer = peers_all();

	for (size_t i = 0; i < PEERS; i++) {
		uint64_t start = now_ns();

		if (!peer_rows[i])
			continue;
		peer_run_true(&peer[i]);
		row_add_since(peer_rows[i], start);
	}
}

static void make_rows(void)
{
	spawn_row = row_new("ms", "posix_spawn");
	request_row = row_new("ms", "bare request");
	for (int kind = 0; kind < KINDS; kind++)
		make_guest_rows(kind);
	defaults_row = row_new("ms", "guest_init, all defaults");
	row_compare(defaults_row, rows[NETWORK].init);
	run_row = row_new("ms", "guest_run");
	row_compare(run_row, spawn_row);
	row_compare(run_row, request_row);
	make_interpreter_rows();
}

/* Which of two comes first takes turns: the kernel is still busy with the end of what came before. */
static void measure_round(unsigned int round)
{
	measure_true();
	measure_bare(request_row, 's');
	measure_run(run_row, true_in_guest);
	for (int kind = 0; kind < KINDS; kind++) {
		if (round % 2)
			measure_floor(kind);
		measure_guest(kind);
		if (round % 2 == 0)
			measure_floor(kind);
	}
	measure_defaults();
	measure_interpreters();
	measure_fork();
	measure_peers();
}

void start_section(unsigned int rounds)
{
	floor_start(&floor_meter);
	kept = guest_make(GUEST_NETWORK_NONE);
	guest_end(guest_make_of(NULL, GUEST_NETWORK_NONE)); /* the cold one */
	make_rows();
	start_fork_meter();
	make_peer_rows();
	for (unsigned int i = 0; i < rounds; i++)
		measure_round(i);
	guest_end(kept);
	meter_end(&floor_meter);
	if (fork_row)
		meter_end(&fork_meter);
}
