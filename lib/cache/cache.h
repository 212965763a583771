/* SPDX-License-Identifier: MIT */
/*
 * A user's cache of unpacked rootfs, on disk. It knows what an entry is, whether one is as it was
 * made, and how processes keep out of each other's way; what is in it, and who mounts it, is the
 * caller's business.
 *
 *   CACHE/                 this user's, nobody else may write there
 *     rootfs-KEY/          an entry, complete: it was made under another name. Mode 0700; locked
 *       rootfs/            (flock(2), shared) by whom it serves
 *       manifest           what the tree's inodes were when it was made
 *     tmp-PID-NUMBER/      one that is being made or removed, locked by who does it
 *
 * The manifest is there for accidents (a cleaner of old files, a restored backup, a crash), not
 * against the user himself, who may change the tree and the manifest as well.
 */
#ifndef GUEST_CACHE_CACHE_H
#define GUEST_CACHE_CACHE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/guest.h"

/* --- tree.c: a whole directory tree; 0 or -errno --- */

#define CACHE_LIST_MAX (256U << 20) /* bytes; a tree with longer paths has no place in a cache */

/* Paths below the tree, one behind the other with their NULs; those of directories end in "/". */
struct cache_list {
	char *paths; /* to be freed, whatever was returned */
	size_t used, capacity;
};

/* The directories and files of a tree; other things are the concern of their directory, whose times
 * tell of names that come and go. */
int cache_list_tree(int tree, struct cache_list *ret_list);

/* Remove all that is in a tree, whatever its mode. */
int cache_empty_tree(int tree);

/* --- sum.c: over the inodes of a list: numbers, modes, owners, sizes, times of change --- */

#define CACHE_SUM_THREADS 3

struct cache_sum {
	int tree;
	const struct cache_list *list;
	pthread_t threads[CACHE_SUM_THREADS];
	size_t threads_count, piece; /* the next that nobody has taken; atomic, as are: */
	uint64_t sum;
	int r, ending;
	bool begun;
};

/* Begin it, in some threads. Nothing of it may be moved until its end. */
void cache_sum_begin(struct cache_sum *sum, int tree, const struct cache_list *list);

/* Help with what is left of it, and wait for it. 0 or -errno. */
int cache_sum_end(struct cache_sum *sum, uint64_t *ret_sum);

/* --- cache.c --- */

#define CACHE_IDS 6 /* numbers that say how a guest's ids are stored in files */

struct cache_manifest {
	char format[16];
	uint32_t stored_ids[CACHE_IDS];
	uint64_t sum;
	uint64_t list_size; /* the list follows */
};

/* Do what cache_empty_tree() does, with more rights. 0 or -errno. */
typedef int cache_empty(int tree);

struct cache_entry {
	cache_empty *empty;
	int cache;		  /* CACHE */
	int fd;			  /* the entry's directory, locked */
	int tree;		  /* its rootfs/ */
	bool fresh;		  /* to be filled and then published; else to be checked */
	char key[160], name[160]; /* it shall be found under, and can be found under now */
	struct cache_manifest manifest;
	struct cache_list list;
	struct cache_sum sum;
};

/*
 * The directory that guest_config.cache_dir stands for; to be freed. "": the user's own; -ENOENT if
 * there is none.
 */
int cache_place(const char *cache_dir, char **ret_path, struct guest_error *err);

/*
 * Get the entry of a key, or begin a new one; to be given to cache_put() in the end. -EPERM if it
 * cannot be trusted, and should not be passed over. Anything else: there can be no cache now.
 * `empty` removes what this user may not.
 */
int cache_get(struct cache_entry *entry, const char *path, const char *key, cache_empty *empty,
	      struct guest_error *err);

/*
 * Is one that was found as it was made? Between the two there is time to do something else. 0, too
 * if it was not begun; -EAGAIN: no, get another; or -errno.
 */
void cache_check_begin(struct cache_entry *entry);
int cache_check_end(struct cache_entry *entry, struct guest_error *err);

/*
 * It serves a guest, with ids stored like this: publish it if it is fresh. 0; -EAGAIN: another
 * process has been faster, or ids were stored otherwise: get another; or -errno.
 */
int cache_settle(struct cache_entry *entry, const uint32_t stored_ids[CACHE_IDS],
		 struct guest_error *err);

/*
 * Give up an entry, for the reason `why`, and return that. One that was not published is removed,
 * and after -EAGAIN one that was found; if it cannot be, returns why not.
 */
int cache_drop(struct cache_entry *entry, int why, struct guest_error *err);

/* Close its fds, and free its list. The entry stays. */
void cache_close(struct cache_entry *entry);

#endif
