/* SPDX-License-Identifier: MIT */
/* What a section measures at one point, for its table and for the curves of growth. NULL rows are not measured. */
#ifndef GUEST_BENCH_SECTIONS_H
#define GUEST_BENCH_SECTIONS_H

#include <stdint.h>

#include "bench.h"

/* many.c: how much `callers` threads get done at once, in 1/s. */
struct many {
	unsigned int callers;
	struct row *spawn, *run, *guests, *guests_host_network;
};

#define MANY_CALLERS 64 /* at most */

void many_measure(const struct many *many);

/* stream.c: GB/s of a command that writes or reads so many bytes, its start included. */
struct stream {
	uint64_t bytes;
	struct row *pipe_out, *streamed, *pipe_kept, *captured, *captured_again, *pipe_in, *fed;
};

void stream_measure(struct guest *guest, const struct stream *stream);

/* Whether this machine has the memory for it; so host_fits(). */
int stream_fits(uint64_t bytes);

/* host.c: from a host that has touched so much memory. */
struct host {
	uint64_t bytes;
	struct row *fork, *run, *init;
};

/* Once each; the hosts in order of their size. */
void host_measure(struct guest *kept, const struct host *hosts, size_t count);
int host_fits(uint64_t bytes);

/* memory.c: PSS of so many processes, in KB; -1: we may not look at them. */
long memory_of_processes(const pid_t *pids, size_t count);

#endif
