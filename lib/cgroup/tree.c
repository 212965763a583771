// SPDX-License-Identifier: MIT
/*
 * Where groups for guests are made, in order: below the level that the caller names; next to this
 * process's own group, or above that, as far up as is delegated to it; below its own, if it may be
 * moved out of the way; in a scope that systemd makes; for root at the top. Each is tried, and what
 * was wrong with it is told.
 *
 * Where systemd runs, a group belongs to whom systemd has delegated it, and is marked so
 * (CGROUP_DELEGATION.md of systemd): that it can be written is not enough.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "cgroup/systemd.h"

#define HOST_LEAF "libguest-host"

static const char *const controller_names[] = { "memory", "pids", "cpu", "io" };
#define CONTROLLERS ((int)(sizeof(controller_names) / sizeof(controller_names[0])))

/* Why no place would do, one behind the other. */
struct reasons {
	char text[180];
	size_t used;
	int errnum; /* the first that was more than "not there" */
};

__attribute__((format(printf, 3, 4))) static int reject(struct reasons *reasons, int errnum,
							const char *format, ...)
{
	size_t left = sizeof(reasons->text) - reasons->used;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(reasons->text + reasons->used, left, format, args);
	va_end(args);
	if (n > 0)
		reasons->used += (size_t)n < left ? (size_t)n : left - 1;
	if (!reasons->errnum)
		reasons->errnum = errnum;
	return -errnum;
}

static const char *separator(const struct reasons *reasons)
{
	return reasons->used ? "; " : "";
}

/* The controllers that groups below `dir` can be given. */
static uint32_t controllers_of(int dir)
{
	char text[256], *rest = text, *name;
	uint32_t controllers = 0;

	(void)fd_read_text_at(dir, "cgroup.controllers", text, sizeof(text));
	while ((name = strsep(&rest, " \n")))
		for (int i = 0; i < CONTROLLERS; i++)
			if (strcmp(name, controller_names[i]) == 0)
				controllers |= 1U << i;
	return controllers;
}

int cgroup_enable(int dir, uint32_t controllers)
{
	char text[64] = "";
	size_t used = 0;

	for (int i = 0; i < CONTROLLERS; i++)
		if (controllers >> i & 1)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "+%s ",
						 controller_names[i]);
	return used ? fd_write_file_at(dir, "cgroup.subtree_control", text) : 0;
}

static const char *first_missing(uint32_t missing)
{
	int i = 0;

	while (i < CONTROLLERS - 1 && !(missing >> i & 1))
		i++;
	return controller_names[i];
}

static int open_group(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), saved = errno;

	fd = fd_above_stdio(fd);
	return fd < 0 ? -(errno ? errno : saved) : fd;
}

/* Files of a group that is made by root, to be written by the keeper's root. */
static int give_away(const struct cgroup_tree *tree, int dir, const char *file)
{
	if (tree->uid == geteuid() || fchownat(dir, file, tree->uid, tree->gid, 0) == 0)
		return 0;
	return errno == ENOENT ? 0 : -errno;
}

int cgroup_make(const struct cgroup_tree *tree, int dir, const char *name, struct guest_error *err)
{
	int fd, r;

	if (mkdirat(dir, name, 0755) < 0)
		return error_make(err, errno, GUEST_STAGE_CGROUP, "making the group %s", name);
	fd = open_group(dir, name);
	r = fd < 0 ? fd : give_away(tree, fd, "cgroup.procs");
	if (r == 0)
		r = give_away(tree, fd, "cgroup.kill");
	if (r == 0)
		return fd;
	fd_close(&fd);
	unlinkat(dir, name, AT_REMOVEDIR);
	return error_make(err, -r, GUEST_STAGE_CGROUP, "making the group %s", name);
}

int cgroup_tree_adopt(const struct cgroup_tree *tree, pid_t pid, struct guest_error *err)
{
	char text[16];
	int r;

	snprintf(text, sizeof(text), "%d", pid);
	r = fd_write_file_at(tree->dir, "keeper/cgroup.procs", text);
	return r < 0 ? error_make(err, -r, GUEST_STAGE_CGROUP, "moving a process into its group") :
		       0;
}

/* What is in each tree. The first process comes last, unless it is in the way: then nothing has to
 * be undone but directories. */
static int furnish(struct cgroup_tree *tree, pid_t first, bool is_inside)
{
	int keeper = cgroup_make(tree, tree->dir, "keeper", NULL), r = keeper < 0 ? keeper : 0;

	fd_close(&keeper);
	if (r == 0 && is_inside)
		r = cgroup_tree_adopt(tree, first, NULL);
	if (r == 0)
		r = cgroup_enable(tree->dir, tree->controllers);
	if (r == 0 && !is_inside)
		r = cgroup_tree_adopt(tree, first, NULL);
	return r;
}

int cgroup_tree_give(struct cgroup_tree *tree, uid_t uid, gid_t gid, struct guest_error *err)
{
	int r;

	tree->uid = uid;
	tree->gid = gid;
	r = give_away(tree, tree->dir, "cgroup.procs");
	if (r == 0)
		r = give_away(tree, tree->dir, "keeper/cgroup.procs");
	return r < 0 ? error_make(err, -r, GUEST_STAGE_CGROUP, "giving %.150s away", tree->path) :
		       0;
}

static uint64_t random_number(void)
{
	uint64_t number = 0;

	(void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
	return number;
}

static int make_below(struct cgroup_tree *tree, const struct cgroup_request *request)
{
	int r;

	/* unlike any other: it is known to the janitor before it is there */
	snprintf(tree->name, sizeof(tree->name), "libguest-%d-%016" PRIx64, getpid(),
		 random_number());
	r = request->before ?
		    request->before(request->user_data, tree->level, tree->name, tree->host_leaf) :
		    0;
	if (r == 0 && mkdirat(tree->level, tree->name, 0755) < 0)
		r = -errno;
	if (r < 0)
		return r;
	tree->dir = open_group(tree->level, tree->name);
	r = tree->dir < 0 ? tree->dir : furnish(tree, request->first, false);
	if (r < 0) {
		fd_close(&tree->dir);
		(void)cgroup_remove(tree->level, tree->name);
	}
	return r;
}

/* Is the level ours to make groups in? */
static bool is_delegated(const char *path)
{
	static const char *const marks[] = { "user.delegate", "trusted.delegate" };
	char value[8];

	if (access("/run/systemd/system", F_OK) < 0)
		return true;
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (getxattr(path, marks[i], value, sizeof(value)) == 1 && value[0] == '1')
			return true;
	return false;
}

/* With the caller's consent: this process into a leaf of its own group, and out of the way who was
 * started by it to be the first of the tree. */
static int move_host(struct cgroup_tree *tree, pid_t first)
{
	char text[16];
	int r = mkdirat(tree->level, HOST_LEAF, 0755) < 0 && errno != EEXIST ? -errno : 0;

	if (r == 0)
		r = fd_write_file_at(tree->level, HOST_LEAF "/cgroup.procs", "0");
	if (r < 0)
		return r;
	snprintf(tree->host_leaf, sizeof(tree->host_leaf), HOST_LEAF);
	snprintf(text, sizeof(text), "%d", first);
	return fd_write_file_at(tree->level, HOST_LEAF "/cgroup.procs", text);
}

/* Back from the leaf, with the first process of the tree (0: that has none), unless other trees are
 * there still. */
static void move_host_back(struct cgroup_tree *tree, pid_t first)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", first);
	(void)fd_write_file_at(tree->level, "cgroup.subtree_control", "-memory -pids -cpu -io");
	(void)fd_write_file_at(tree->level, "cgroup.procs", "0");
	(void)fd_write_file_at(tree->level, "cgroup.procs", text);
	(void)unlinkat(tree->level, tree->host_leaf, AT_REMOVEDIR);
	tree->host_leaf[0] = '\0';
}

/* A level by its directory. */
static int try_level(struct cgroup_tree *tree, const struct cgroup_request *request,
		     const char *path, bool may_move, struct reasons *reasons)
{
	const char *comma = separator(reasons);
	uint32_t missing, have;
	int r;

	tree->level = open_group(AT_FDCWD, path);
	if (tree->level < 0)
		return reject(reasons, -tree->level, "%s%.60s: %s", comma, path,
			      error_words(-tree->level));
	have = controllers_of(tree->level);
	missing = request->controllers & ~have;
	tree->controllers = request->controllers | (have & (CGROUP_MEMORY | CGROUP_PIDS));
	if (missing) {
		fd_close(&tree->level);
		return reject(reasons, ENODEV, "%s%.60s has no %s controller", comma, path,
			      first_missing(missing));
	}
	r = cgroup_enable(tree->level, tree->controllers);
	if (r == -EBUSY && may_move) {
		r = move_host(tree, request->first);
		if (r == 0)
			r = cgroup_enable(tree->level, tree->controllers);
	}
	if (r == 0)
		r = make_below(tree, request);
	if (r == 0) {
		snprintf(tree->path, sizeof(tree->path), "%.2000s/%s", path, tree->name);
		return 0;
	}
	if (tree->host_leaf[0])
		move_host_back(tree, request->first);
	fd_close(&tree->level);
	if (r == -EBUSY && may_move)
		return reject(reasons, EBUSY, "%s%.60s has other processes than this one", comma,
			      path);
	if (r == -EBUSY)
		return reject(reasons, EBUSY, "%s%.60s has processes of its own", comma, path);
	return reject(reasons, -r, "%s%.60s: %s", comma, path, error_words(-r));
}

/* This process's own group, and those above it. */
static int try_own(struct cgroup_tree *tree, const struct cgroup_request *request,
		   const struct cgroup_place *place, struct reasons *reasons)
{
	char path[4096];
	size_t mount = strlen(place->mount);
	int r = -ENOENT;

	snprintf(path, sizeof(path), "%s%s", place->mount, place->own);
	while (r < 0) {
		char *slash;

		if (access(path, W_OK) == 0 && is_delegated(path))
			r = try_level(tree, request, path, false, reasons);
		else if (strlen(path) == mount + strlen(place->own))
			reject(reasons, EACCES, "%s%.60s is not delegated", separator(reasons),
			       path);
		slash = strrchr(path, '/');
		if (r == 0 || !slash || (size_t)(slash - path) < mount)
			break;
		*slash = '\0';
	}
	return r;
}

static int try_moving(struct cgroup_tree *tree, const struct cgroup_request *request,
		      const struct cgroup_place *place, struct reasons *reasons)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s%s", place->mount, place->own);
	return request->may_move_host ? try_level(tree, request, path, true, reasons) : -EBUSY;
}

static int try_systemd(struct cgroup_tree *tree, const struct cgroup_request *request,
		       const struct cgroup_place *place, struct reasons *reasons)
{
	char why[100] = "", path[2000];
	uint32_t missing, have;
	int r;

	snprintf(tree->name, sizeof(tree->name), "libguest-%d-%016" PRIx64 ".scope", getpid(),
		 random_number());
	r = cgroup_systemd_scope(tree->name, request->first, path, sizeof(path), why, sizeof(why));
	if (r < 0)
		return reject(reasons, -r, "%ssystemd: %s", separator(reasons), why);
	snprintf(tree->path, sizeof(tree->path), "%.2000s%s", place->mount, path);
	tree->dir = open_group(AT_FDCWD, tree->path);
	have = tree->dir < 0 ? 0 : controllers_of(tree->dir);
	missing = tree->dir < 0 ? 0 : request->controllers & ~have;
	tree->controllers = request->controllers | (have & (CGROUP_MEMORY | CGROUP_PIDS));
	r = tree->dir < 0 ? tree->dir : missing ? -ENODEV : furnish(tree, request->first, true);
	if (r == 0) {
		tree->by_systemd = true;
		return 0;
	}
	fd_close(&tree->dir);
	return missing ? reject(reasons, ENODEV, "%ssystemd delegates no %s controller",
				separator(reasons), first_missing(missing)) :
			 reject(reasons, -r, "%ssystemd: its scope: %s", separator(reasons),
				error_words(-r));
}

/* Not for want of a place, but of something that may be there the next time. */
static bool is_passing(int errnum)
{
	return errnum == ENOMEM || errnum == EMFILE || errnum == ENFILE || errnum == EAGAIN;
}

static int explain(const struct reasons *reasons, bool may_move_host, struct guest_error *err)
{
	int errnum = reasons->errnum;

	error_text(err, is_passing(errnum) ? errnum : EOPNOTSUPP, GUEST_STAGE_CGROUP,
		   "no cgroup v2 group for guests: %s", reasons->text);
	err->sys_errno = errnum;
	if (errnum == EBUSY)
		error_remedy(err, may_move_host ?
					  "start it alone in its group, or set cgroup_parent" :
					  "set GUEST_MOVE_HOST or cgroup_parent");
	return err->code;
}

int cgroup_tree_make(struct cgroup_tree *tree, const struct cgroup_request *request,
		     struct guest_error *err)
{
	struct guest_error why = { .size = sizeof(why) };
	struct reasons reasons = { .text = "" };
	struct cgroup_place place;
	int r;

	*tree = (struct cgroup_tree){
		.level = -EBADF, .dir = -EBADF, .uid = geteuid(), .gid = getegid()
	};
	if (request->parent) {
		r = try_level(tree, request, request->parent, false, &reasons);
		return r < 0 ? explain(&reasons, request->may_move_host, err) : 0;
	}
	r = cgroup_find(&place, &why);
	if (r == -ENOENT || r == -ELIBACC) {
		reject(&reasons, -r, "%s", why.message);
		return explain(&reasons, request->may_move_host, err);
	}
	if (r < 0) {
		error_copy_out(err, &why);
		return r;
	}
	if (!place.mount[0]) {
		reject(&reasons, ENOENT, "cgroup2 is not mounted");
		return explain(&reasons, request->may_move_host, err);
	}
	r = try_own(tree, request, &place, &reasons);
	if (r < 0)
		r = try_moving(tree, request, &place, &reasons);
	if (r < 0)
		r = try_systemd(tree, request, &place, &reasons);
	if (r < 0 && geteuid() == 0)
		r = try_level(tree, request, place.mount, false, &reasons);
	return r < 0 ? explain(&reasons, request->may_move_host, err) : 0;
}

int cgroup_tree_enable(struct cgroup_tree *tree, uint32_t controllers, struct guest_error *err)
{
	uint32_t more = controllers & ~tree->controllers;
	int r = 0;

	if (more == 0)
		return 0;
	if (tree->level >= 0)
		r = cgroup_enable(tree->level, more);
	if (r == 0)
		r = cgroup_enable(tree->dir, more);
	if (r < 0)
		return error_text(err, EOPNOTSUPP, GUEST_STAGE_CGROUP,
				  "no %s controller for %.150s: %s", first_missing(more),
				  tree->path, error_words(-r));
	tree->controllers |= more;
	return 0;
}

void cgroup_tree_forget(struct cgroup_tree *tree)
{
	fd_close(&tree->dir);
	fd_close(&tree->level);
}

void cgroup_tree_remove(struct cgroup_tree *tree)
{
	/* systemd removes its scope when the last process is gone */
	if (tree->dir >= 0 && !tree->by_systemd)
		(void)cgroup_remove(tree->level, tree->name);
	if (tree->dir >= 0 && tree->host_leaf[0])
		move_host_back(tree, 0);
	cgroup_tree_forget(tree);
}
