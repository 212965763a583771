// SPDX-License-Identifier: MIT
/* The first guest of a program, for which the rootfs is unpacked, beside decoding the same bytes. */
#include "bench.h"

void cold_section(unsigned int rounds)
{
	const char *const decode[] = { "xz", "-T0", "-dc", bench.payload, NULL };
	struct row *decode_row = row_new("ms", "xz -T0 -dc"), *row = row_new("ms", "guest_init, cold");

	row_compare(row, decode_row);
	for (unsigned int i = 0; i < rounds; i++) {
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
	guest_trim(NULL);
}
