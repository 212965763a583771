// SPDX-License-Identifier: MIT
#include "samples.h"

#include <stdlib.h>
#include <time.h>

uint64_t samples_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void samples_add(struct samples *samples, uint64_t start)
{
	uint64_t passed = samples_now() - start;

	if (samples->count == samples->capacity) {
		samples->capacity = samples->capacity ? samples->capacity * 2 : 256;
		samples->ns = realloc(samples->ns, samples->capacity * sizeof(*samples->ns));
		if (!samples->ns)
			abort();
	}
	samples->ns[samples->count++] = passed;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t samples_percentile(struct samples *samples, unsigned int percent)
{
	if (samples->count == 0)
		return 0;
	qsort(samples->ns, samples->count, sizeof(*samples->ns), compare);
	return samples->ns[(samples->count - 1) * percent / 100];
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

void samples_print_row(struct samples *samples, struct samples *floor)
{
	uint64_t base = floor ? samples_percentile(floor, 50) : 0,
		 median = samples_percentile(samples, 50);

	if (samples->count == 0)
		return;
	printf("%-22s %9.3f %9.3f %9.3f", samples->name, ms(samples_percentile(samples, 0)),
	       ms(median), ms(samples_percentile(samples, 99)));
	if (base)
		printf(" %8.2f", (double)median / (double)base);
	else
		printf(" %8s", "");
	printf("   %s\n", samples->what);
}

void samples_print_json(struct samples *samples, FILE *file, int last)
{
	fprintf(file,
		"  {\"name\": \"%s\", \"count\": %zu, \"min_ms\": %.6f, \"median_ms\": %.6f, \"p99_ms\": %.6f}%s\n",
		samples->name, samples->count, ms(samples_percentile(samples, 0)),
		ms(samples_percentile(samples, 50)), ms(samples_percentile(samples, 99)),
		last ? "" : ",");
}
