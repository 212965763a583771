// SPDX-License-Identifier: MIT
/*
 * first cache DIRECTORY | first rootfs DIRECTORY
 *
 * How long the first guest_init() of a process takes, in ns, 8 bytes on stdout, for a byte on stdin.
 */
#include <guest/guest.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest_config config;
	struct guest *guest;
	uint64_t ns;
	char byte;

	guest_config_init(&config, sizeof(config));
	if (argc != 3)
		return 2;
	if (strcmp(argv[1], "cache") == 0)
		config.cache_dir = argv[2];
	else
		config.rootfs_path = argv[2];
	if (read(STDIN_FILENO, &byte, 1) != 1)
		return 1;
	ns = now_ns();
	if (guest_init(&guest, &config, &err) < 0) {
		fprintf(stderr, "first: %s\n", err.message);
		return 1;
	}
	ns = now_ns() - ns;
	if (write(STDOUT_FILENO, &ns, sizeof(ns)) != (ssize_t)sizeof(ns))
		return 1;
	return guest_shutdown(guest, &err) < 0;
}
