/* SPDX-License-Identifier: MIT */
/* What travels inside the library: the rootfs archive, the helper, the unpacker. */
#ifndef GUEST_PAYLOAD_PAYLOAD_H
#define GUEST_PAYLOAD_PAYLOAD_H

#include <stddef.h>

struct guest_error;

struct payload_blob {
	const char *name;
	const char *data, *end;
	const char *installed; /* where the same bytes are installed as a program; NULL: nowhere */
};

extern const struct payload_blob payload_rootfs, payload_helper, payload_unpacker;

extern const char payload_rootfs_digest[]; /* SHA-256, in hexadecimal */

/* An fd of a sealed copy of the rootfs archive; or -errno. */
int payload_open_rootfs(struct guest_error *err);

/*
 * An fd to exec a program from: a sealed memfd, or the installed file if its bytes are the same and
 * either the host forbids memfds to be executable (vm.memfd_noexec=2) or `by_path` wants it,
 * because a security profile is attached to the path.
 */
int payload_open_program(const struct payload_blob *blob, int by_path, struct guest_error *err);

#endif
