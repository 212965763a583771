// SPDX-License-Identifier: MIT
/*
 * The control groups of a keeper: made when the first of its guests has a limit, in the place that
 * cgroup_tree_make() finds, with a janitor that removes them should this process be killed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"
#include "host/host.h"

#define JANITOR_TIMEOUT_NS 30000000000ULL

int group_init(struct group_tree *group, const char *parent)
{
	*group = (struct group_tree){ .tree = { .level = -EBADF, .dir = -EBADF },
				      .janitor = -EBADF,
				      .janitor_pidfd = -EBADF };
	group->parent = parent ? strdup(parent) : NULL;
	pthread_mutex_init(&group->lock, NULL);
	return parent && !group->parent ? -ENOMEM : 0;
}

static void end_janitor(struct group_tree *group)
{
	if (group->janitor >= 0)
		shutdown(group->janitor, SHUT_RDWR); /* a forked copy of this process may have it */
	fd_close(&group->janitor);
	host_launch_wait(&group->janitor_pidfd); /* ours if we are PID 1 or a subreaper */
}

static int send_janitor(int control, int level, const char *name, const char *host_leaf,
			struct guest_error *err)
{
	struct wire_janitor *message;
	struct request request;
	int tree, leaf, r;

	r = request_init(&request, sizeof(*message), err);
	if (r < 0)
		return r;
	tree = request_add_string(&request, name, err);
	leaf = tree < 0 || !host_leaf[0] ? WIRE_STRING_NONE :
					   request_add_string(&request, host_leaf, err);
	request_add_fd(&request, fd_above_stdio(sys_pidfd_open(getpid(), 0)), NULL);
	request_add_fd(&request, fcntl(level, F_DUPFD_CLOEXEC, 3), NULL);
	if (tree < 0 || leaf < 0 || request.fds[0] < 0 || request.fds[1] < 0) {
		r = error_make(err, tree < 0 || leaf < 0 ? ENOMEM : errno, GUEST_STAGE_CGROUP,
			       "janitor");
	} else {
		message = (struct wire_janitor *)request.bytes;
		message->tree = (uint32_t)tree;
		message->host_leaf = (uint32_t)leaf;
		r = host_send(control, &request, WIRE_JANITOR, HOST_NEVER);
		if (r < 0)
			error_make(err, -r, GUEST_STAGE_CGROUP, "janitor");
	}
	request_clear(&request);
	return r;
}

/* Before the group `name` is made. */
static int start_janitor(void *user_data, int level, const char *name, const char *host_leaf)
{
	struct group_tree *group = user_data;
	struct wire_failed answer;
	cleanup_fd int control = -EBADF;
	int launcher = -EBADF, fds[WIRE_FDS_MAX], r;
	size_t count = 0;
	pid_t pid;

	control = host_launch(&launcher, &pid, NULL);
	if (control < 0)
		return control;
	r = send_janitor(control, level, name, host_leaf, NULL);
	if (r == 0)
		r = host_wait_readable(control, sys_now_ns() + JANITOR_TIMEOUT_NS);
	if (r == 0)
		r = wire_receive(control, &answer, sizeof(answer), fds, &count, 1);
	if (r != WIRE_READY || count != 1) {
		wire_close_fds(fds, count);
		shutdown(control, SHUT_RDWR);
	}
	host_launch_wait(&launcher);
	if (r != WIRE_READY || count != 1)
		return r < 0 ? r : -EPROTO;
	end_janitor(group);
	group->janitor = fd_move(&control);
	group->janitor_pidfd = fds[0];
	return 0;
}

/* With the lock held. */
static int make(struct group_tree *group, const struct group_wish *wish, pid_t first,
		struct guest_error *err)
{
	const struct cgroup_request request = {
		.parent = group->parent,
		.controllers = wish->controllers,
		.may_move_host = wish->may_move_host,
		.first = first,
		.before = start_janitor,
		.user_data = group,
	};
	int r;

	/* what has failed with less does not work with more */
	if (group->error.code < 0 && (wish->controllers & group->failed) == group->failed &&
	    (group->failed_moving || !wish->may_move_host)) {
		*err = group->error;
		return err->code;
	}
	r = cgroup_tree_make(&group->tree, &request, err);
	if (r < 0)
		end_janitor(group);
	if (r == -EOPNOTSUPP) {
		group->error = *err;
		group->failed = wish->controllers;
		group->failed_moving = wish->may_move_host;
	}
	return r;
}

void group_undo(struct group_tree *group)
{
	/* which removes the tree, too, and would be in the way of this process's return */
	end_janitor(group);
	cgroup_tree_remove(&group->tree);
}

/* With the lock held. */
static int give(struct keeper *keeper, struct guest_error *err)
{
	struct group_tree *group = &keeper->group;
	int r = cgroup_tree_give(&group->tree, keeper->uid, keeper->gid, err);

	if (r < 0)
		group_undo(group);
	return r;
}

void group_prepare(struct group_tree *group, const struct group_wish *wish, pid_t launcher)
{
	(void)make(group, wish, launcher, &(struct guest_error){ .code = 0 });
}

int group_give(struct keeper *keeper, struct guest_error *err)
{
	return keeper->group.tree.dir < 0 ? 0 : give(keeper, err);
}

int group_get(struct keeper *keeper, const struct group_wish *wish, struct guest_error *err)
{
	struct group_tree *group = &keeper->group;
	int r;

	pthread_mutex_lock(&group->lock);
	if (group->tree.dir >= 0) {
		r = cgroup_tree_enable(&group->tree, wish->controllers, err);
	} else {
		r = make(group, wish, keeper->pid, err);
		if (r == 0)
			r = give(keeper, err);
	}
	pthread_mutex_unlock(&group->lock);
	return r;
}

uint32_t group_controllers(struct keeper *keeper)
{
	struct group_tree *group = &keeper->group;
	uint32_t controllers;

	pthread_mutex_lock(&group->lock);
	controllers = group->tree.dir >= 0 ? group->tree.controllers : 0;
	pthread_mutex_unlock(&group->lock);
	return controllers;
}

int group_make_guest(struct keeper *keeper, char **ret_path, struct guest_error *err)
{
	uint32_t number = __atomic_add_fetch(&keeper->group.made, 1, __ATOMIC_RELAXED);
	struct cgroup_tree *tree = &keeper->group.tree;
	cleanup_free char *path = NULL;
	char name[32];
	int dir;

	snprintf(name, sizeof(name), "g%u", number);
	if (asprintf(&path, "%s/%s", tree->path, name) < 0) {
		path = NULL;
		return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "guest's group");
	}
	dir = cgroup_make(tree, tree->dir, name, err);
	if (dir >= 0)
		*ret_path = take_pointer(path);
	return dir;
}

void group_remove_guest(struct keeper *keeper, const char *path)
{
	(void)cgroup_remove(keeper->group.tree.dir, strrchr(path, '/') + 1);
}

void group_forget(struct group_tree *group)
{
	cgroup_tree_forget(&group->tree);
	fd_close(&group->janitor);
	fd_close(&group->janitor_pidfd);
}

void group_end(struct group_tree *group)
{
	group_undo(group);
	pthread_mutex_destroy(&group->lock);
	free(group->parent);
}
