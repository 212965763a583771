/* SPDX-License-Identifier: MIT */
/*
 * What a test must leave as it found it: open fds, children, mounts, processes, temporary files.
 *
 * Processes of guests are children of nobody in the host program, so the tests run below a reaper: an outer
 * process that is a subreaper, to which every process that they lose falls. What falls to it and stays is a leak.
 */
#ifndef INVARIANTS_H
#define INVARIANTS_H

#include <sys/types.h>

/* Run the tests in a child below the reaper; its exit status. */
int invariants_run(int (*run)(void));

/* The checked fixture. */
void invariants_note(void);
void invariants_check(void);

/* How many processes have fallen to the reaper and live: keepers, and what else is lost. */
int invariants_lost(void);

/* Wait, for at most so many milliseconds, until there is none. Returns how many are left. */
int invariants_wait_lost(int milliseconds);

/* The living process of this name (of 15 characters at most) that descends from the reaper's children; or 0. */
pid_t invariants_find(const char *name);

#endif
