/* SPDX-License-Identifier: MIT */
/*
 * What the targets share: taking an input apart, and what must hold after each. A target aborts where something does
 * not hold. An input that is used up goes on with zeros, so that every input means something.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "guest/guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
	const uint8_t *data;
	size_t size;
};

uint8_t take_byte(struct fuzz_input *input);
uint32_t take_u32(struct fuzz_input *input);
uint64_t take_u64(struct fuzz_input *input);

/* Take `size` bytes into `to`. */
void take_bytes(struct fuzz_input *input, void *to, size_t size);

/* A heap block of exactly that many of the next bytes, or of all that are left: what reads beyond is seen. */
void *take_block(struct fuzz_input *input, size_t size);

/* The next bytes up to a NUL or the end as a string, in a heap block that ends with its NUL. */
char *take_string(struct fuzz_input *input);

void fuzz_assert(int holds, const char *what, int line);
#define ASSERT(condition) fuzz_assert(!!(condition), #condition, __LINE__)

/* A failure has a negative errno, the same in the error, and one terminated line of text. */
void check_error(int r, const struct guest_error *err);

/* Low fds that are open, in a sum that tells which. */
uint64_t open_fds(void);

/* The path of an fd of a file that holds just this. The same fd each time: the next call overwrites it. */
const char *file_of(const void *data, size_t size);

#endif
