/* SPDX-License-Identifier: MIT */
/* Other sandboxes, as commands. Those that are not installed, or do not work here, do not take part. */
#ifndef GUEST_BENCH_PEERS_H
#define GUEST_BENCH_PEERS_H

#include <stddef.h>

#define PEER_WORDS 40

struct peer {
	const char *name;
	int host_network;
	/*
	 * An argv. In its words stand for something: ROOTFS, a directory; BUNDLE, one with a config.json as OCI has it,
	 * for a program that cannot be told what to run; ID, a name used once; PROGRAM, what is to be run.
	 */
	const char *const words[PEER_WORDS];
	int works;
};

/* Ended by one without a name. Tries each at the first call, and tells which are left out, and why. */
struct peer *peers_all(void);

/* The one of this name if it works, else NULL. */
const struct peer *peers_find(const char *name);

/* The argv that runs `program` (at most two words) in it; valid until the thread's next call. */
const char *const *peer_argv(const struct peer *peer, const char *const *program);

/* Run /bench/true. */
void peer_run_true(const struct peer *peer);

#endif
