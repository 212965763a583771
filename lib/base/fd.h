/* SPDX-License-Identifier: MIT */
/*
 * File descriptors: born close-on-exec and above 2, -EBADF when there is none, closed without
 * touching errno. Shared by the library and the helper.
 */
#ifndef GUEST_BASE_FD_H
#define GUEST_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Close *fd if it is one, and set it to -EBADF. Keeps errno. */
void fd_close(int *fd);

/* Take *fd: returns it and leaves -EBADF. */
int fd_move(int *fd);

/*
 * Move a fresh fd above 2, where a host without stdio would otherwise get it. Closes `fd` and
 * returns the new one, or -1 with errno. Passes -1 through.
 */
int fd_above_stdio(int fd);

/* Read or write all of it; 0 or -errno (-ENODATA: the end came first). Goes on after EINTR. */
int fd_read_all(int fd, void *data, size_t size);
int fd_write_all(int fd, const void *data, size_t size);

/*
 * Write a string to an existing file below `dir`, in one write(2), as procfs demands. 0 or -errno.
 */
int fd_write_file_at(int dir, const char *path, const char *text);

/*
 * Read a small file below `dir`, at most `size` - 1 bytes, with a NUL behind them. The number of
 * bytes, or -errno and an empty text.
 */
int fd_read_text_at(int dir, const char *path, char *text, size_t size);

/* The number of a pidfd's process in this PID namespace; -1: it is dead, or not seen here. */
pid_t fd_pidfd_number(int pidfd);

/* A memfd that holds a copy of data and can no longer be changed; or -errno. `executable`: it will
 * be exec'd. */
int fd_sealed_copy(const char *name, const void *data, size_t size, bool executable);

#endif
