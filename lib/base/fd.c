// SPDX-License-Identifier: MIT
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"

#define SEAL_TRIES 5

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -EBADF;
	errno = saved;
}

int fd_move(int *fd)
{
	int taken = *fd;

	*fd = -EBADF;
	return taken;
}

int fd_above_stdio(int fd)
{
	int moved;

	if (fd < 0 || fd > 2)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	fd_close(&fd);
	return moved;
}

int fd_read_all(int fd, void *data, size_t size)
{
	while (size > 0) {
		ssize_t n = read(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		data = (char *)data + n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_write_all(int fd, const void *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data = (const char *)data + n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_write_file_at(int dir, const char *path, const char *text)
{
	size_t size = 0;
	ssize_t n;
	int fd, r;

	while (text[size])
		size++;
	fd = openat(dir, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	n = write(fd, text, size);
	r = n == (ssize_t)size ? 0 : n < 0 ? -errno : -EIO;
	fd_close(&fd);
	return r;
}

/* MFD_EXEC and MFD_NOEXEC_SEAL came with Linux 6.3; before, the flags are unknown and not needed.
 */
static int memfd_open(const char *name, bool executable)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = sys_memfd_create(name, flags | (executable ? SYS_MFD_EXEC : SYS_MFD_NOEXEC_SEAL));

	if (fd < 0 && errno == EINVAL)
		fd = sys_memfd_create(name, flags);
	return fd_above_stdio(fd);
}

/*
 * A memfd counts as a file for RLIMIT_FSIZE, and the host shall not die of SIGXFSZ for it. The
 * signal is for the thread that writes; if it was not there before, nobody sees it.
 */
static int write_without_signal(int fd, const void *data, size_t size)
{
	const struct timespec now = { 0 };
	sigset_t set, before, pending;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGXFSZ);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	r = fd_write_all(fd, data, size);
	if (r == -EFBIG && !sigismember(&pending, SIGXFSZ))
		sigtimedwait(&set, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

/*
 * EBUSY: somebody holds a page of it, for which the kernel has waited a while. That is the kernel
 * itself, which looks at pages or moves them.
 */
static int seal(int fd)
{
	const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int tries = 0;

	while (fcntl(fd, F_ADD_SEALS, seals) < 0)
		if (errno != EBUSY || ++tries == SEAL_TRIES)
			return -errno;
	return 0;
}

int fd_sealed_copy(const char *name, const void *data, size_t size, bool executable)
{
	int fd = memfd_open(name, executable);
	int r;

	if (fd < 0)
		return -errno;
	r = write_without_signal(fd, data, size);
	if (r == 0 && executable && fchmod(fd, 0555) < 0)
		r = -errno;
	if (r == 0)
		r = seal(fd);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r < 0)
		fd_close(&fd);
	return r < 0 ? r : fd;
}

int fd_read_text_at(int dir, const char *path, char *text, size_t size)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
	int r = n < 0 ? -errno : (int)n;

	fd_close(&fd);
	text[n < 0 ? 0 : n] = '\0';
	return r;
}

/* The line of a pidfd in the text of /proc/PID/fdinfo/FD. */
static pid_t parse_pid(const char *text)
{
	const char *at = strstr(text, "\nPid:");

	return at ? (pid_t)strtol(at + strlen("\nPid:"), NULL, 10) : -1;
}

pid_t fd_pidfd_number(int pidfd)
{
	char path[48], text[512];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	(void)fd_read_text_at(AT_FDCWD, path, text, sizeof(text));
	return parse_pid(text);
}
