/* SPDX-License-Identifier: MIT */
/* What has been measured: rows of samples, one sample for each round, and how they are told. */
#ifndef GUEST_BENCH_ROWS_H
#define GUEST_BENCH_ROWS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ROW_BASES 10

struct row {
	struct row *next;
	const char *section, *unit;
	char *name;
	const char *panel; /* a point of the curve `name` in this panel of the picture; NULL: a row of the table */
	double x;
	const struct row *bases[ROW_BASES]; /* floors and peers, measured in the same rounds */
	double *values;
	size_t count, capacity;
};

/* Rows made from here on belong to this section, whose name is not copied. */
void rows_begin(const char *section);

/* A row of the table; it lives until the program ends, and so does `unit`. */
__attribute__((format(printf, 2, 3))) struct row *row_new(const char *unit, const char *name, ...);

/* A point at `x` of the curve `name` in a panel. No string is copied but the name. */
struct row *row_point(const char *panel, const char *unit, const char *name, double x);

/* Tell the row's ratio to `base`, too. NULL for either: nothing. */
void row_compare(struct row *row, const struct row *base);

/* Make room for so many samples, and touch it: adding them takes no more memory. */
void row_reserve(struct row *row, size_t count);

/* A sample of this round. NULL, for a row that is not wanted: nothing. */
void row_add(struct row *row, double value);

/* The same: what has passed since `start`, in ms. */
void row_add_since(struct row *row, uint64_t start);

/* The table of a section, and all rows as JSON. */
void rows_print(const char *section);
void rows_json(FILE *file);

#endif
