/* SPDX-License-Identifier: MIT */
/*
 * Whole lives of the library: a guest made, commands run, the guest ended, each call held to its contract whatever
 * fails meanwhile. A life is led in a process of its own, which cannot fail the test by itself: it complains in
 * memory that it shares with the test, and exits.
 */
#ifndef LIFE_H
#define LIFE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LIFE_HANGS_S 60 /* a life that takes so long is killed */

/* A kind of life. */
struct life_scene {
	const char *name;
	const char *rootfs_path; /* NULL: the embedded one */
	bool is_directory;	 /* that is not unpacked */
	bool without_stdio;
	bool doctor; /* guest_doctor(), and no guest */
	bool limits; /* on the guest and its commands, which are spawned, too */
};

/* What a life shares with the test. */
struct life {
	struct life_scene scene;
	uint32_t armed;	      /* a call is under way, in which things may fail */
	const char *call;     /* which; static */
	bool may_kill;	      /* commands may be killed by others */
	bool starved;	      /* the host's own limits are low, and the guest's differ from others' */
	int errors;	      /* calls that have returned one */
	unsigned long number; /* the allocation that something becomes of */
	int fate;	      /* enum allocation_fate */
	bool hit;	      /* it has come to that */
	int worked;	      /* whatever the life counts */
	bool threads;	      /* their stacks are kept for others, and some memory with them */
	bool counted;
	long blocks;  /* of memory that lives leave, such as what is made once */
	int listener; /* of inject.c */
	bool taken;
	char complaint[2048];
	char testimony[32768]; /* what the witness says where nothing has failed */
};

/* Shared memory, for a scene. Leads two lives in which nothing fails, to see what others shall be like. */
struct life *life_new(const struct life_scene *scene);
void life_free(struct life *life);

/* From the first call to the last. With `may_fail` they may return errors. */
void life_lead(struct life *life, bool may_fail);

/* What `odd` does, then a life in which nothing may fail; fds, children and memory must then be as before. */
void life_lead_after(struct life *life, void (*odd)(struct life *life));

/* The same after a life in which something may fail. */
void life_lead_both(struct life *life);

/* Complain, and end the process. */
__attribute__((format(printf, 2, 3), noreturn)) void life_end(struct life *life, const char *format, ...);

/* Lead `lead` in a child. The test fails if something is wrong with it. */
void life_in_child(struct life *life, void (*lead)(struct life *life));

/* The first part of that: a child, which is the caller's to wait for. */
pid_t life_start(struct life *life, void (*lead)(struct life *life));

/* The second: wait for it, but not for ever. What is wrong with it, in words; NULL if nothing is. Static. */
const char *life_wait(struct life *life, pid_t pid);

/* The parts of the second: judge the status of one that has ended, or end one that does not. Static. */
const char *life_judge(const struct life *life, int status);
const char *life_hangs(const struct life *life, pid_t pid);

#endif
