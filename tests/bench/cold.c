// SPDX-License-Identifier: MIT
/* The first guest of a program: its rootfs unpacked, beside decoding the same bytes, or found in the user's cache,
 * beside a directory that is taken as it is. */
#include "bench.h"

static double measure_first(const char *kind, const char *directory)
{
	const char *const argv[] = { path_of(bench.programs, "first"), kind, directory, NULL };
	struct meter meter;
	uint64_t ns;

	meter_start(&meter, argv);
	meter_ask(&meter, 'f', &ns, 1);
	meter_end(&meter);
	return (double)ns / 1e6;
}

static void measure_unpacking(struct row *decode_row, struct row *row)
{
	const char *const decode[] = { "xz", "-T0", "-dc", bench.payload, NULL };
	uint64_t start = now_ns();
	struct guest *guest;

	if (!spawn_and_wait(decode))
		die(decode[0], NULL);
	row_add_since(decode_row, start);
	guest_trim(NULL);
	start = now_ns();
	guest = guest_make_of(NULL, GUEST_NETWORK_NONE);
	row_add_since(row, start);
	guest_end(guest);
}

void cold_section(unsigned int rounds)
{
	struct row *decode_row = row_new("ms", "xz -T0 -dc"), *row = row_new("ms", "guest_init, cold");
	struct row *directory_row = row_new("ms", "guest_init, first, of a directory");
	struct row *cached_row = row_new("ms", "guest_init, first, cached");

	row_compare(row, decode_row);
	row_compare(cached_row, row);
	row_compare(cached_row, directory_row);
	(void)measure_first("cache", bench.cache); /* which fills it */
	for (unsigned int i = 0; i < rounds; i++) {
		measure_unpacking(decode_row, row);
		row_add(directory_row, measure_first("rootfs", bench.rootfs));
		row_add(cached_row, measure_first("cache", bench.cache));
	}
	guest_trim(NULL);
}
