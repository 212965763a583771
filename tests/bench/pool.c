// SPDX-License-Identifier: MIT
/* Guests made ahead, taken when the pool is full again. */
#include <unistd.h>

#include "bench.h"

#define SIZE 8
#define PAUSE_US 200

static struct guest *take(struct guest_pool *pool, struct row *row)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest *guest;
	uint64_t start = now_ns();

	if (guest_pool_take(pool, &guest, &err) < 0)
		die("guest_pool_take", &err);
	row_add_since(row, start);
	return guest;
}

void pool_section(unsigned int rounds)
{
	struct row *spawn_row = row_new("ms", "posix_spawn"), *take_row = row_new("ms", "guest_pool_take");
	struct row *life_row = row_new("ms", "take+run+shutdown");
	struct guest_error err = { .size = sizeof(err) };
	struct guest_config config;
	struct guest_pool *pool;

	row_compare(life_row, spawn_row);
	guest_config_init(&config, sizeof(config));
	config.rootfs_path = bench.archive;
	if (guest_pool_init(&pool, &config, SIZE, &err) < 0)
		die("guest_pool_init", &err);
	while (rounds-- > 0) {
		struct guest *guest;
		uint64_t start;

		while (guest_pool_ready(pool) < SIZE)
			usleep(PAUSE_US);
		start = now_ns();
		spawn_true();
		row_add_since(spawn_row, start);
		start = now_ns();
		guest = take(pool, take_row);
		guest_do(guest, true_in_guest);
		guest_end(guest);
		row_add_since(life_row, start);
	}
	if (guest_pool_shutdown(pool, &err) < 0)
		die("guest_pool_shutdown", &err);
}
