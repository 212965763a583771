/* SPDX-License-Identifier: MIT */
/* What the tests of guests share. Everything here fails the test when what it does for it does not work. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <check.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "guest/guest.h"
#include "invariants.h"

#define MILLISECOND 1000000ULL
#define SECOND 1000000000ULL

#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define SHELL(script) ARGV("/bin/sh", "-c", script)

/* The program of tests/guest/tool.c, where guest_with_tool() has it. */
#define TOOL "/opt/tool"

/* Leave a test that cannot run here, with a reason; a failure if GUEST_TEST_MUST_WORK is set. */
#define SKIP_IF(condition, ...)                    \
	do {                                       \
		if (condition) {                   \
			skip(__func__, __VA_ARGS__); \
			return;                    \
		}                                  \
	} while (0)

__attribute__((format(printf, 2, 3))) void skip(const char *test, const char *format, ...);

/*
 * How many times slower than usual this machine is: GUEST_TEST_SLOW, else 1. Times that a test gives something are
 * multiplied by it, numbers of rounds divided.
 */
unsigned int slowness(void);

/* Run a suite: below the reaper, and only where guests work (else 77). The exit status. */
int suite_main(Suite *(*make)(void));

/* A test case with the invariants as its fixture, and seconds for each of its tests. */
TCase *suite_case(Suite *suite, const char *name, double timeout);

/* A guest; NULL: defaults. Guests that are left at the end of a test are shut down before the invariants. */
struct guest *guest_with(const struct guest_config *config);
struct guest *guest_with_tool(void);
struct guest *guest_with_tool_and(struct guest_config config);
void guest_end(struct guest *guest);

/* A guest that has the tool as /bin/tool, a program of hostile/attacks as /opt/attack, and nothing else. */
struct guest *guest_with_attack(const char *name, struct guest_config config);

/* It still runs commands. */
void expect_alive(struct guest *guest);

struct guest_config config_default(void);
struct guest_command command_of(const char *const *argv);
struct guest_mount mount_of(uint32_t type, const char *source, const char *target, const char *options);

/* The call must work; what the command does is for the caller to judge. */
void run(struct guest *guest, const struct guest_command *command, struct guest_result *result);
void run_argv(struct guest *guest, const char *const *argv, struct guest_result *result);
void run_shell(struct guest *guest, const char *script, struct guest_result *result);

/* The call must fail; returns what it returned, with the error filled in. */
int run_fails(struct guest *guest, const struct guest_command *command, struct guest_error *err);
int init_fails(const struct guest_config *config, struct guest_error *err);

/* A command that must exit with 0 and say just this. */
void expect(struct guest *guest, const char *const *argv, const char *output);
void expect_shell(struct guest *guest, const char *script, const char *output);

/* A folder for this test, gone afterwards. Its path, with `name` behind it if there is one; static buffers. */
const char *scratch(const char *name);
void write_text(const char *path, const char *text);
char *read_text(const char *path);

/* The path of a program of the tests. Static. */
const char *test_program(const char *name);

/* A rootfs folder in the scratch folder, with the tool as /bin/tool and nothing else. */
const char *tiny_rootfs(void);

/* The same as a tar. For guests that are made often: it is unpacked in no time. */
const char *tiny_rootfs_tar(void);

/* A command in a thread of its own, whose stdin is a pipe that background_join() closes. */
struct background {
	struct guest *guest;
	const char *const *argv;
	pthread_t thread;
	int start[2];
	struct guest_result result;
	int r;
};

/* `argv` must be there until the end: an ARGV() lives as long as the block that it is in. */
void background_begin(struct background *background, struct guest *guest, const char *const *argv);

/* Wait for its end; the result is then for the caller to judge, and to clear. */
void background_join(struct background *background);

/* The same; it must have exited, with `tail` somewhere in its output. */
void background_end(struct background *background, const char *tail);

/*
 * Run it with a pipe as its stdout, which afterwards nobody may have open any more. `timeout`: 0 for none. Returns its
 * exit code.
 */
int run_and_see_all_dead(struct guest *guest, const char *const *argv, uint64_t timeout, uint32_t cause);

/* Run a shell command on the host. */
void on_host(const char *command);

uint64_t now_ns(void);

/* Is the other end of this pipe closed by everybody? What lives for ever keeps it open. */
bool pipe_ended(int fd);

#endif
