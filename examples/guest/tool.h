/* SPDX-License-Identifier: MIT */
/*
 * The command-line tool `guest`: what its files share. It uses nothing but the public header.
 *
 *   main.c         sub-commands, --help, --version
 *   run.c          guest run: a command in a fresh guest
 *   run_options.c  its options
 *   values.c       sizes, times and mounts, from text
 *   environment.c  the command's environment
 *   doctor.c       guest doctor, as text and as JSON
 */
#ifndef GUEST_TOOL_H
#define GUEST_TOOL_H

#include <guest/guest.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses that are not the command's, as timeout(1) and env(1) have them. */
enum {
	STATUS_TIMED_OUT = 124,
	STATUS_FAILED = 125, /* the tool or the library, not the command */
	STATUS_NOT_EXECUTABLE = 126,
	STATUS_NOT_FOUND = 127,
	STATUS_SIGNAL = 128, /* and the signal's number */
};

/* A growing array of strings with a NULL behind the last. */
struct strings {
	char **items;
	size_t count;
};

/* What `guest run` was asked for. The strings are argv's, or live as long as the tool. */
struct run_options {
	struct guest_config config;
	struct guest_mount *mounts;
	struct guest_command command; /* but for its argv, environment and stdio */
	struct strings environment;   /* of --env: NAME=VALUE, or NAME */
	char **argv;		      /* the command; empty: a shell */
	bool stats;
};

/* Print "guest: ..." to stderr and exit with STATUS_FAILED. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
__attribute__((noreturn)) void fail_usage(void); /* after getopt(3) has said what is wrong */

/* Print what the tool can do, and exit with 0. */
__attribute__((noreturn)) void exit_with_help(void);

/* Exit with STATUS_FAILED if there is no memory. */
void *grow(void *array, size_t count, size_t size);
void strings_add(struct strings *strings, char *item);

/* What cannot be read ends the tool; `option` is for the message. */
uint64_t value_number(const char *option, const char *text, uint64_t max);
uint64_t value_size(const char *option, const char *text); /* 512M: in bytes */
uint64_t value_cpus(const char *option, const char *text); /* 1.5: in thousandths */
uint64_t value_time(const char *option, const char *text); /* 1.5, 200ms, 2m, 1h: in nanoseconds */
void value_bind(struct guest_mount *mount, char *text, bool read_only); /* SRC[:DST[:OPTIONS]] */
void value_tmpfs(struct guest_mount *mount, char *text);		/* DST[:OPTIONS] */

void run_options_read(struct run_options *options, int argc, char **argv);

/* The environment of a command of `uid`: plain values, and above them what --env asked for. */
char **environment_make(const struct strings *wanted, uint32_t uid);

int run_main(int argc, char **argv);
int doctor_main(int argc, char **argv);

#endif
