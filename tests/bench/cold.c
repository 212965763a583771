// SPDX-License-Identifier: MIT
/* The first guest of a program: its rootfs unpacked, beside decoding the same bytes, or found in the user's cache,
 * beside a directory that is taken as it is. */
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

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

#define FILES_MAX 20000

static char *files[FILES_MAX];
static size_t files_count;

static int add_file(const char *path, const struct stat *st, int type, struct FTW *place)
{
	(void)st, (void)place;
	if (type != FTW_F && type != FTW_D)
		return 0;
	if (files_count == FILES_MAX)
		die("too many files", NULL);
	files[files_count] = strdup(path);
	return files[files_count++] ? 0 : -1;
}

/* What it costs to look at the inode of each file, which is what tells that a cache is as it was. */
static void measure_stat(struct row *row)
{
	struct stat st;
	uint64_t start;

	if (files_count == 0 && nftw(bench.rootfs, add_file, 16, FTW_PHYS) != 0)
		die("nftw", NULL);
	start = now_ns();
	for (size_t i = 0; i < files_count; i++)
		if (lstat(files[i], &st) < 0)
			die(files[i], NULL);
	row_add_since(row, start);
}

void cold_section(unsigned int rounds)
{
	struct row *decode_row = row_new("ms", "xz -T0 -dc"), *row = row_new("ms", "guest_init, cold");
	struct row *stat_row = row_new("ms", "lstat of each of its files");
	struct row *directory_row = row_new("ms", "guest_init, first, of a directory");
	struct row *cached_row = row_new("ms", "guest_init, first, cached");

	row_compare(row, decode_row);
	row_compare(cached_row, row);
	row_compare(cached_row, directory_row);
	row_compare(cached_row, stat_row);
	(void)measure_first("cache", bench.cache); /* which fills it */
	for (unsigned int i = 0; i < rounds; i++) {
		measure_unpacking(decode_row, row);
		measure_stat(stat_row);
		row_add(directory_row, measure_first("rootfs", bench.rootfs));
		row_add(cached_row, measure_first("cache", bench.cache));
	}
	guest_trim(NULL);
}
