// SPDX-License-Identifier: MIT
#include "payload/payload.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "rootfs_description.h"

extern const char payload_rootfs_begin[], payload_rootfs_end[];
extern const char payload_helper_begin[], payload_helper_end[];
extern const char payload_unpacker_begin[], payload_unpacker_end[];

const struct payload_blob payload_rootfs = { "guest-rootfs", payload_rootfs_begin,
					     payload_rootfs_end, NULL };
const struct payload_blob payload_helper = { "guest-helper", payload_helper_begin,
					     payload_helper_end,
					     GUEST_LIBEXEC_DIR "/guest-helper" };
const struct payload_blob payload_unpacker = { "guest-unpack", payload_unpacker_begin,
					       payload_unpacker_end,
					       GUEST_LIBEXEC_DIR "/guest-unpack" };

const char payload_rootfs_digest[] = GUEST_ROOTFS_DIGEST;

const char *guest_rootfs_description(void)
{
	return GUEST_ROOTFS_DESCRIPTION;
}

int payload_open_rootfs(struct guest_error *err)
{
	const struct payload_blob *blob = &payload_rootfs;
	int fd = fd_sealed_copy(blob->name, blob->data, (size_t)(blob->end - blob->data), false);

	if (fd >= 0)
		return fd;
	error_make(err, -fd, GUEST_STAGE_ROOTFS, "memfd of %s", blob->name);
	return fd == -EFBIG ? error_remedy(err, "raise RLIMIT_FSIZE") : fd;
}

/* The installed file, if it is what was built with this library. */
static int open_installed(const struct payload_blob *blob)
{
	cleanup_fd int fd = fd_above_stdio(open(blob->installed, O_RDONLY | O_CLOEXEC));
	size_t size = (size_t)(blob->end - blob->data);
	struct stat st;
	void *bytes;
	int same;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return -ESTALE;
	bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	same = memcmp(bytes, blob->data, size) == 0;
	munmap(bytes, size);
	return same ? fd_move(&fd) : -ESTALE;
}

int payload_open_program(const struct payload_blob *blob, int by_path, struct guest_error *err)
{
	int fd = by_path ? open_installed(blob) : -ENOENT;
	int r;

	if (fd >= 0)
		return fd;
	fd = fd_sealed_copy(blob->name, blob->data, (size_t)(blob->end - blob->data), true);
	if (fd >= 0)
		return fd;
	r = fd;
	if (r == -EACCES || r == -EPERM)
		fd = open_installed(blob);
	if (fd >= 0)
		return fd;
	r = error_make(err, -r, GUEST_STAGE_HELPER, "memfd of %s", blob->name);
	if (r == -EACCES)
		error_remedy(
			err,
			"this host forbids executable memfds (sysctl vm.memfd_noexec=2): install libguest, "
			"with its %s",
			blob->installed);
	return r;
}
