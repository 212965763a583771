// SPDX-License-Identifier: MIT
#include "rows.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static struct row *first, **last = &first;
static const char *current = "";

void rows_begin(const char *section)
{
	current = section;
}

struct row *row_new(const char *unit, const char *name, ...)
{
	struct row *row = calloc(1, sizeof(*row));
	va_list arguments;

	va_start(arguments, name);
	if (!row || vasprintf(&row->name, name, arguments) < 0)
		die("memory", NULL);
	va_end(arguments);
	row->section = current;
	row->unit = unit;
	*last = row;
	last = &row->next;
	return row;
}

struct row *row_point(const char *panel, const char *unit, const char *name, double x)
{
	struct row *row = row_new(unit, "%s", name);

	row->panel = panel;
	row->x = x;
	return row;
}

void row_compare(struct row *row, const struct row *base)
{
	for (size_t i = 0; row && base && i < ROW_BASES; i++)
		if (!row->bases[i]) {
			row->bases[i] = base;
			return;
		}
}

static void grow(struct row *row, size_t capacity)
{
	row->capacity = capacity;
	row->values = realloc(row->values, capacity * sizeof(*row->values));
	if (!row->values)
		die("memory", NULL);
}

void row_reserve(struct row *row, size_t count)
{
	if (!row)
		return;
	grow(row, row->count + count);
	for (size_t i = row->count; i < row->capacity; i++)
		row->values[i] = 0;
}

void row_add(struct row *row, double value)
{
	if (!row)
		return;
	if (row->count == row->capacity)
		grow(row, row->capacity ? row->capacity * 2 : 64);
	row->values[row->count++] = value;
}

void row_add_since(struct row *row, uint64_t start)
{
	row_add(row, ms_since(start));
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of a sorted copy: the order of the values is that of the rounds, by which rows are compared. */
static double percentile(const double *values, size_t count, unsigned int percent)
{
	double *sorted = calloc(count + 1, sizeof(*sorted)), result;
	size_t rank;

	if (!sorted)
		die("memory", NULL);
	memcpy(sorted, values, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare);
	rank = (count * percent + 99) / 100; /* the nearest */
	result = sorted[rank ? rank - 1 : 0];
	free(sorted);
	return result;
}

/* The median of the rounds' ratios: what slows a whole round down is in both of its values. */
static double ratio(const struct row *row, const struct row *base)
{
	size_t count = row->count < base->count ? row->count : base->count;
	double *ratios = calloc(count + 1, sizeof(*ratios)), median;

	if (!ratios)
		die("memory", NULL);
	for (size_t i = 0; i < count; i++)
		ratios[i] = row->values[i] / base->values[i];
	median = percentile(ratios, count, 50);
	free(ratios);
	return median;
}

static void print_row(const struct row *row)
{
	printf("  %-38s %10.4g %10.4g %10.4g %-8s %6zu ", row->name, percentile(row->values, row->count, 0),
	       percentile(row->values, row->count, 50), percentile(row->values, row->count, 99), row->unit, row->count);
	for (size_t i = 0; i < ROW_BASES && row->bases[i]; i++)
		printf("%s %.3g x %s", i ? "," : "", ratio(row, row->bases[i]), row->bases[i]->name);
	printf("\n");
}

void rows_print(const char *section)
{
	int any = 0;

	for (const struct row *row = first; row; row = row->next) {
		if (strcmp(row->section, section) != 0 || row->panel || row->count == 0)
			continue;
		if (!any++)
			printf("\n%-40s %10s %10s %10s %-8s %6s  ratio\n", section, "min", "median", "p99", "", "n");
		print_row(row);
	}
	fflush(stdout);
}

static void print_json(const struct row *row, FILE *file)
{
	fprintf(file, "  {\"section\": \"%s\", \"name\": \"%s\", \"unit\": \"%s\", ", row->section, row->name,
		row->unit);
	if (row->panel)
		fprintf(file, "\"panel\": \"%s\", \"x\": %.10g, ", row->panel, row->x);
	fprintf(file, "\"count\": %zu, \"min\": %.6g, \"median\": %.6g, \"p99\": %.6g, \"ratios\": {", row->count,
		percentile(row->values, row->count, 0), percentile(row->values, row->count, 50),
		percentile(row->values, row->count, 99));
	for (size_t i = 0; i < ROW_BASES && row->bases[i]; i++)
		fprintf(file, "%s\"%s\": %.6g", i ? ", " : "", row->bases[i]->name, ratio(row, row->bases[i]));
	fprintf(file, "}}");
}

void rows_json(FILE *file)
{
	const char *separator = "[\n";

	for (const struct row *row = first; row; row = row->next) {
		if (row->count == 0)
			continue;
		fputs(separator, file);
		print_json(row, file);
		separator = ",\n";
	}
	fputs(separator[0] == ',' ? "\n]\n" : "[]\n", file);
}
