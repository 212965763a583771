// SPDX-License-Identifier: MIT
/*
 * Where no fuzzing engine is at hand:
 *
 *     fuzz_TARGET CORPUS                  run each file of a directory
 *     fuzz_TARGET CORPUS ROUNDS [SEED]    then so many inputs made out of them
 *
 * An input that fails is kept in fuzz_TARGET.input, in the working directory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define SEEDS_MAX 256
#define INPUT_MAX 65536
#define MUTATIONS_MAX 6
#define PATIENCE 60 /* seconds for one input */

static struct {
	uint8_t *data;
	size_t size;
} seeds[SEEDS_MAX];
static size_t seeds_count;

static uint64_t state;

/* xorshift64*, Vigna 2016 */
static uint32_t dice(uint32_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545f4914f6cdd1dULL) >> 33) % below;
}

static void run(int kept, const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size); /* what reads beyond it is seen */

	if (!exact && size > 0)
		exit(2);
	if (size > 0)
		memcpy(exact, data, size);
	if (ftruncate(kept, 0) < 0 || pwrite(kept, data, size, 0) != (ssize_t)size)
		exit(2);
	alarm(PATIENCE);
	LLVMFuzzerTestOneInput(exact, size);
	alarm(0);
	free(exact);
}

/* Make room for, or take away, `n` bytes at `at`. */
static size_t insert(uint8_t *data, size_t size, size_t at, size_t n)
{
	if (n > INPUT_MAX - size)
		return size;
	memmove(data + at + n, data + at, size - at);
	return size + n;
}

static size_t mutate(uint8_t *data, size_t size)
{
	static const uint64_t numbers[] = { 0, 1, 2, 3, 8, 127, 255, 256, 4096, 4097, 65535, INT32_MAX, 0x80000000U,
					    UINT32_MAX, INT64_MAX, UINT64_MAX };
	size_t at = size > 0 ? dice((uint32_t)size) : 0, n = 1 + dice(size > 64 ? 64 : 8), other;

	if (size == 0)
		return insert(data, size, 0, n);
	switch (dice(7)) {
	case 0:
		data[at] ^= (uint8_t)(1U << dice(8));
		break;
	case 1:
		data[at] = (uint8_t)dice(256);
		break;
	case 2:
		n = (size_t)1 << dice(4);
		if (n <= size - at)
			memcpy(data + at, &numbers[dice(sizeof(numbers) / sizeof(numbers[0]))], n);
		break;
	case 3: /* take away */
		n = n < size - at ? n : size - at;
		memmove(data + at, data + at + n, size - at - n);
		return size - n;
	case 4: /* twice the same */
		n = n < size - at ? n : size - at;
		return insert(data, size, at, n);
	case 5: /* a piece of another */
		other = dice((uint32_t)seeds_count);
		if (seeds[other].size == 0)
			break;
		n = 1 + dice((uint32_t)seeds[other].size);
		if (n > INPUT_MAX - size)
			break;
		size = insert(data, size, at, n);
		memcpy(data + at, seeds[other].data + dice((uint32_t)(seeds[other].size - n + 1)), n);
		break;
	case 6: /* the end */
		return at;
	}
	return size;
}

/* In the order of their names: a seed shall always mean the same. */
static void read_seeds(const char *directory)
{
	struct dirent **entries;
	int count = scandir(directory, &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		static uint8_t data[INPUT_MAX];
		char path[4096];
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		free(entries[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, data, sizeof(data));
		close(fd);
		if (n < 0 || seeds_count == SEEDS_MAX) /* "." and ".." among them */
			continue;
		seeds[seeds_count].data = malloc((size_t)n + 1);
		if (!seeds[seeds_count].data)
			exit(2);
		memcpy(seeds[seeds_count].data, data, (size_t)n);
		seeds[seeds_count++].size = (size_t)n;
	}
	if (count >= 0)
		free(entries);
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)time(NULL);
	char name[256];
	int kept;

	snprintf(name, sizeof(name), "%s.input", program_invocation_short_name);
	kept = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (argc > 1)
		read_seeds(argv[1]);
	if (seeds_count == 0 || kept < 0) {
		fprintf(stderr, "usage: %s CORPUS [ROUNDS [SEED]]\n", argv[0]);
		return 2;
	}
	for (size_t i = 0; i < seeds_count; i++)
		run(kept, seeds[i].data, seeds[i].size);
	if (rounds > 0)
		fprintf(stderr, "%lu rounds, seed %llu\n", rounds, (unsigned long long)seed);
	state = seed * 0x9e3779b97f4a7c15ULL | 1;
	for (unsigned long i = 0; i < rounds; i++) {
		static uint8_t data[INPUT_MAX];
		uint32_t base = dice((uint32_t)seeds_count);
		size_t size = seeds[base].size;

		memcpy(data, seeds[base].data, size);
		for (uint32_t n = 1 + dice(MUTATIONS_MAX); n > 0; n--)
			size = mutate(data, size);
		run(kept, data, size);
	}
	for (size_t i = 0; i < seeds_count; i++)
		free(seeds[i].data);
	unlink(name);
	printf("%zu files, %lu rounds\n", seeds_count, rounds);
	return 0;
}
