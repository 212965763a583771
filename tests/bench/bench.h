/* SPDX-License-Identifier: MIT */
/* What the sections of the benchmark share. Whatever fails ends the program with a message. */
#ifndef GUEST_BENCH_BENCH_H
#define GUEST_BENCH_BENCH_H

#include <guest/guest.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "rows.h"

struct bench {
	int quick;	      /* -q: fewer sizes, too */
	const char *programs; /* directory of what CMake has built beside this program */
	const char *rootfs;   /* the embedded rootfs, unpacked, with our static programs in /bench */
	const char *archive;  /* the same as a tar */
	const char *cache;    /* a directory that may be made, for unpacked rootfs */
	const char *bundle;   /* a directory that may be made, for those that run OCI bundles */
	const char *payload;  /* the embedded rootfs as it is embedded */
	const char *python;   /* the host's, with no shell script in front; NULL: none */
};

extern struct bench bench;

/* A file each. `rounds`: how often each thing is to be measured. */
void start_section(unsigned int rounds);
void pool_section(unsigned int rounds);
void cold_section(unsigned int rounds);
void many_section(unsigned int rounds);
void stream_section(unsigned int rounds);
void memory_section(unsigned int rounds);
void host_section(unsigned int rounds);
void load_section(unsigned int rounds);
void growth_section(unsigned int rounds);
void endurance_section(unsigned int rounds);

__attribute__((noreturn)) void die(const char *what, const struct guest_error *err);

/* CLOCK_MONOTONIC */
uint64_t now_ns(void);
double ms_since(uint64_t start);

/* "DIRECTORY/NAME", which stays allocated. */
const char *path_of(const char *directory, const char *name);

/* Guests from bench.archive; GUEST_NETWORK_NONE or GUEST_NETWORK_HOST. */
struct guest *guest_make(uint32_t network);
struct guest *guest_make_of(const char *archive, uint32_t network);
void guest_end(struct guest *guest);

/* A command that has to exit with 0. */
void guest_do(struct guest *guest, const char *const *argv);
void guest_do_command(struct guest *guest, const struct guest_command *command);

extern const char *const true_in_guest[];

/*
 * posix_spawn(3). stdin and output (stdout and stderr) are /dev/null, or pipes of which the caller gets the other end.
 * Returns -1 and sets errno if there is no such program.
 */
pid_t spawn(const char *const *argv, int *ret_stdin, int *ret_output);

/* Whether it exited with 0. */
int spawn_and_wait(const char *const *argv);
void spawn_true(void); /* the static one, on the host: the floor of everything */

/* A program that measures something by itself: it answers each byte with `count` numbers of 8 bytes. */
struct meter {
	pid_t pid;
	int in, out;
};

void meter_start(struct meter *meter, const char *const *argv);
void meter_ask(const struct meter *meter, unsigned char question, uint64_t *ret_answers, size_t count);
void meter_send(const struct meter *meter, unsigned char question);
void meter_take(const struct meter *meter, uint64_t *ret_answers, size_t count);
void meter_end(struct meter *meter);

/* The floor of guests and their commands, which gives two answers (floor.c). */
#define FLOOR_REPEAT 0x80
void floor_start(struct meter *meter);

/* A line of /proc/meminfo or of another file of this kind, in KB; -1: there is none. */
long proc_kb(const char *file, const char *key);

/*
 * Memory of the kernel, the whole machine's: Slab, KernelStack, PageTables, Percpu and Shmem (pages of tmpfs) of
 * /proc/meminfo. VmallocUsed would count the stacks again.
 */
long kernel_kb(void);

/*
 * What has ended is freed in the background, network namespaces by a single thread of the kernel: wait until that is
 * done, lest others pay for it. Returns kernel_kb().
 */
long settle(void);

/* Processes behind our guests, found by the pidfds that the library has of them, by their names. */
size_t guest_processes(const char *comm, pid_t *ret_pids, size_t max);

#endif
