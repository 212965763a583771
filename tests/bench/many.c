// SPDX-License-Identifier: MIT
/* Many callers at once: what all of them together get done in a second. */
#include <pthread.h>
#include <stddef.h>

#include "bench.h"
#include "peers.h"
#include "sections.h"

#define PEER_CALLERS 8 /* of floors and peers */

struct caller {
	void (*operation)(void *context);
	void *context;
	pthread_t thread;
	pthread_barrier_t *start;
	uint64_t done;
};

static uint64_t duration_ns(void)
{
	return bench.quick ? 150000000 : 500000000;
}

static void *call(void *argument)
{
	struct caller *caller = argument;
	uint64_t start;

	pthread_barrier_wait(caller->start);
	start = now_ns();
	while (now_ns() - start < duration_ns()) {
		caller->operation(caller->context);
		caller->done++;
	}
	return NULL;
}

/* Operations in a second, of callers with a context each; until the last one of them is through. */
static double rate(unsigned int count, void (*operation)(void *context), void *const *contexts)
{
	struct caller callers[MANY_CALLERS] = { 0 };
	pthread_barrier_t barrier;
	uint64_t start, done = 0;
	double per_second;

	pthread_barrier_init(&barrier, NULL, count + 1);
	for (unsigned int i = 0; i < count; i++) {
		callers[i] = (struct caller){ operation, contexts[i], 0, &barrier, 0 };
		if (pthread_create(&callers[i].thread, NULL, call, &callers[i]) != 0)
			die("pthread_create", NULL);
	}
	pthread_barrier_wait(&barrier);
	start = now_ns();
	for (unsigned int i = 0; i < count; i++) {
		pthread_join(callers[i].thread, NULL);
		done += callers[i].done;
	}
	per_second = (double)done * 1000 / ms_since(start);
	pthread_barrier_destroy(&barrier);
	settle();
	return per_second;
}

static void spawn_one(void *context)
{
	(void)context;
	spawn_true();
}

static void run_one(void *guest)
{
	guest_do(guest, true_in_guest);
}

static void make_one(void *network)
{
	struct guest *guest = guest_make(*(const uint32_t *)network);

	guest_do(guest, true_in_guest);
	guest_end(guest);
}

/* The floors of all this, as many processes with their own user namespaces. */
static struct bare {
	const char *name;
	unsigned char question;
	struct row *row;
} bares[] = {
	{ "bare request", 's', NULL },
	{ "bare life", 'C', NULL },
	{ "bare life, confined", 'D', NULL },
	{ "bare life, confined, in calls", 'T', NULL },
	{ "bare life, host's network", 'c', NULL },
	{ "bare life, confined, host's network", 'd', NULL },
	{ "bare life, confined, in calls, host's network", 't', NULL },
};

#define BARES (sizeof(bares) / sizeof(bares[0]))

static void add_bare_rates(void)
{
	struct meter meters[PEER_CALLERS];

	for (size_t i = 0; i < PEER_CALLERS; i++)
		floor_start(&meters[i]);
	for (size_t bare = 0; bare < BARES; bare++) {
		double per_second = 0;

		for (size_t i = 0; i < PEER_CALLERS; i++)
			meter_send(&meters[i], bares[bare].question | FLOOR_REPEAT);
		for (size_t i = 0; i < PEER_CALLERS; i++) {
			uint64_t answers[2];

			meter_take(&meters[i], answers, 2);
			per_second += (double)answers[0] * 1e9 / (double)answers[1];
		}
		row_add(bares[bare].row, per_second);
		settle();
	}
	for (size_t i = 0; i < PEER_CALLERS; i++)
		meter_end(&meters[i]);
}

static void run_peer(void *peer)
{
	peer_run_true(peer);
}

/* The same context for all. */
static void add_rate(struct row *row, unsigned int callers, void (*operation)(void *context), const void *context)
{
	void *contexts[MANY_CALLERS] = { NULL };

	if (!row)
		return;
	for (unsigned int i = 0; i < callers; i++)
		contexts[i] = (void *)context;
	row_add(row, rate(callers, operation, contexts));
}

static void add_rate_of_runs(struct row *row, unsigned int callers)
{
	void *guests[MANY_CALLERS] = { NULL };

	if (!row)
		return;
	for (unsigned int i = 0; i < callers; i++)
		guests[i] = guest_make(GUEST_NETWORK_NONE);
	row_add(row, rate(callers, run_one, guests));
	for (unsigned int i = 0; i < callers; i++)
		guest_end(guests[i]);
}

void many_measure(const struct many *many)
{
	static const uint32_t none = GUEST_NETWORK_NONE, host = GUEST_NETWORK_HOST;

	add_rate(many->spawn, many->callers, spawn_one, NULL);
	add_rate_of_runs(many->run, many->callers);
	add_rate(many->guests, many->callers, make_one, &none);
	add_rate(many->guests_host_network, many->callers, make_one, &host);
}

static void make_bare_rows(const struct many *many)
{
	struct row *rows[BARES] = {
		many->run,
		many->guests,
		many->guests,
		many->guests,
		many->guests_host_network,
		many->guests_host_network,
		many->guests_host_network,
	};

	for (size_t i = 0; i < BARES; i++) {
		bares[i].row = row_new("1/s", "%s, %d at once", bares[i].name, PEER_CALLERS);
		row_compare(rows[i], bares[i].row);
	}
}

static void make_rows(struct many *many)
{
	many->spawn = row_new("1/s", "posix_spawn, %u at once", many->callers);
	many->run = row_new("1/s", "guest_run, %u at once", many->callers);
	many->guests = row_new("1/s", "guests, %u at once", many->callers);
	many->guests_host_network = row_new("1/s", "guests, host's network, %u at once", many->callers);
	row_compare(many->run, many->spawn);
	row_compare(many->guests, many->spawn);
	row_compare(many->guests_host_network, many->spawn);
}

void many_section(unsigned int rounds)
{
	struct many all[] = { { .callers = 1 }, { .callers = PEER_CALLERS }, { .callers = MANY_CALLERS } };
	const size_t count = sizeof(all) / sizeof(all[0]);
	const struct peer *peers[] = { peers_find("bubblewrap"), peers_find("crun") };
	struct row *peer_rows[2] = { NULL, NULL };

	guest_end(guest_make(GUEST_NETWORK_NONE)); /* the cold one */
	for (size_t i = 0; i < count; i++)
		make_rows(&all[i]);
	make_bare_rows(&all[1]);
	for (size_t i = 0; i < 2; i++) {
		if (peers[i])
			peer_rows[i] = row_new("1/s", "%s, %d at once", peers[i]->name, PEER_CALLERS);
		row_compare(all[1].guests, peer_rows[i]);
	}
	while (rounds-- > 0) {
		for (size_t i = 0; i < count; i++)
			many_measure(&all[i]);
		add_bare_rates();
		for (size_t i = 0; i < 2; i++)
			add_rate(peer_rows[i], PEER_CALLERS, run_peer, peers[i]);
	}
}
