/* SPDX-License-Identifier: MIT */
/*
 * The other side of the library: in place of the helper, the keeper and the holder a function that answers each
 * request before it returns. No process is started and no control group made; the linker puts peer.c's functions in
 * the places of host_launch(), host_send(), group_prepare() and group_get() (--wrap), and those of the payload are
 * here.
 */
#ifndef FUZZ_PEER_H
#define FUZZ_PEER_H

#include "host/host.h"

/*
 * The target's: answer on `socket` a request that was sent there. The socket is closed afterwards, so that nobody waits
 * for more. The request's fds are not to be closed.
 */
void peer_answer(int socket, const struct request *request, enum wire_type type);

/* What an honest one would say. */
void peer_answer_honestly(int socket, const struct request *request, enum wire_type type);

/* Send one message as it is; the header is filled in. What the socket cannot take is dropped. The fds are closed. */
void peer_send(int socket, void *message, size_t size, uint16_t type, int *fds, size_t fds_count);

/* At the end of an input. */
void peer_close(void);

/* The reading end of a pipe that holds a text, and that nobody writes to any more. */
int peer_pipe(const void *text, size_t size);

#endif
