/* SPDX-License-Identifier: MIT */
/*
 * A delegated cgroup from systemd: what a user who has no writable cgroup can ask for.
 * libsystemd is loaded when it is first needed; where it is missing, that is the answer.
 */
#ifndef GUEST_CGROUP_SYSTEMD_H
#define GUEST_CGROUP_SYSTEMD_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Ask the systemd manager (the user's, or the system's for root) for a transient scope `name`
 * ("libguest-123-1.scope") with Delegate=yes that holds process `pid`, a number in this process's
 * PID namespace, and wait until the process is in it. The scope ends with its last process.
 *
 * Returns 0, and in `path` the scope's cgroup as the manager and the kernel name it
 * ("/user.slice/.../libguest-123-1.scope", below the mount of cgroup2); or -errno with a short
 * reason in `why`. It takes 10 s at most. After a failure the process may be in the scope all the
 * same: the scope cannot be ended without it.
 */
int cgroup_systemd_scope(const char *name, pid_t pid, char *path, size_t path_size, char *why,
			 size_t why_size);

#endif
