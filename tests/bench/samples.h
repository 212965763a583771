/* SPDX-License-Identifier: MIT */
/* Time samples of one thing that is measured, and how they are told. */
#ifndef GUEST_BENCH_SAMPLES_H
#define GUEST_BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct samples {
	const char *name;
	const char *what;
	uint64_t *ns;
	size_t count, capacity;
};

uint64_t samples_now(void);

/* Add what has passed since `start`. */
void samples_add(struct samples *samples, uint64_t start);

/* Sorted by this call; percent 0 is the minimum. 0 if there are none. */
uint64_t samples_percentile(struct samples *samples, unsigned int percent);

/* A row: minimum, median, 99th percentile, and the median as a ratio to that of `floor`. */
void samples_print_row(struct samples *samples, struct samples *floor);
void samples_print_json(struct samples *samples, FILE *file, int last);

#endif
