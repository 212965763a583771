// SPDX-License-Identifier: MIT
/*
 * guest-unpack: unpacks a rootfs archive into the current directory.
 *
 * THEORY OF OPERATION
 *
 * The keeper forks and execs this program for each rootfs that is an archive. It has namespaces of
 * its own; its root and current directory are an empty tmpfs, capped in bytes and inodes; there is
 * no /proc and no /dev; it is uid 0 of a user namespace with CAP_CHOWN, CAP_DAC_OVERRIDE,
 * CAP_FOWNER and CAP_FSETID and nothing else. So a hostile archive that takes it over has nowhere
 * to go. But nothing here relies on that: run in any directory, as anybody, it leaves everything
 * outside of that directory alone.
 *
 *     fd 0 --> input --> decoder (liblzma's threads, zlib, or libarchive's filters)
 *                           |  blocks of a tar
 *                           v
 *                        walk (libarchive) --> writer (openat2, below the current directory)
 *                           |
 *     fd 3 <-- struct guest_error
 *
 * usage: guest-unpack IDS [DECODER_MEMORY_MIB [DECODED_MIB [INODES]]]
 *
 *     fd 0    the archive, from its current offset: a regular file, a memfd or a pipe
 *     fd 3    gets exactly one struct guest_error: code 0, or a negative errno and why:
 *             -EINVAL   not a tar archive, or one without entries; or the arguments
 *             -EBADMSG  damaged, cut short, or against the policy below; sys_errno may say more
 *             -ENOSPC   does not fit the target, or makes more than INODES (no cap)
 *             -EFBIG    a tar, or a file in it, larger than DECODED_MIB (16384)
 *             -ENOMEM   the decoder wants more than DECODER_MEMORY_MIB (512); or out of memory
 *             else      a system call failed: sys_errno
 *     IDS     how many ids the user namespace maps: owners below are kept, others become 0.
 *             Without root nothing is chowned.
 *     exit    0 or 1, as the report says. (Should it be killed, there is no report.)
 *
 * After a failure the target is half-filled: throw it away.
 *
 * POLICY
 *
 *     /a, ./a, a//b, a/./b    "a", "a/b": everything is inside
 *     ".", "/", ""            the target itself: a directory entry gives its mode, owner and time
 *     ".." in a path          error; in a symlink's target it is fine
 *     path through a symlink  error, be it of a file, a directory or a hard link's target
 *     file, symlink           replaces what is there, unless that is a directory: error
 *     directory               replaces what is there, a symlink too; a directory that is there
 *                             stays, with its children, and gets the metadata of the later entry
 *     missing parents         made, root-owned 0755
 *     symlink                 any target that is not empty: only followed inside the guest
 *     hard link               to what the archive has before it, be it a symlink (not followed); to
 *                             anything else: error. A body of its own is not written; the target's
 *                             metadata stay.
 *     devices, FIFOs, sockets skipped and counted: a guest has its own /dev
 *     mode                    kept, setuid, setgid and sticky too (a guest mounts nosuid)
 *     owner                   numeric, as IDS says; names are not looked at
 *     mtime                   kept; atime, ctime: not
 *     xattrs, ACLs, file
 *     flags, capabilities     never restored
 *     .wh.* (OCI whiteouts)   files like any other
 *     sparse files            holes stay holes; zeros that the archive spells out are written
 *     names                   bytes; above PATH_MAX or NAME_MAX: error
 *     no end-of-archive
 *     marker; data behind it  error
 *
 * What is bounded by what: data by the tmpfs (ENOSPC) and by DECODED_MIB; entries by its inodes,
 * by INODES and, where they make none, by DECODED_MIB; pax and GNU long-name headers by libarchive
 * (1 MiB each, 32 for an entry); memory by DECODER_MEMORY_MIB and RLIMIT_DATA.
 */
#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lzma.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPORT_FD 3
#define MIB ((uint64_t)1 << 20)
/* For all but the decoder: directories to be finished, sparse maps, buffers, stacks. */
#define OTHER_MEMORY (256 * MIB)
/*
 * A rootfs of 20 MB has some fifteen blocks of 4 MiB, so more threads would have nothing to do, and
 * each takes 10 MB and more. One unpacker must not take a large machine by storm, either.
 */
#define THREADS_MAX 8

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static bool reported;

static void report(const struct guest_error *err)
{
	ssize_t n;

	if (reported)
		return;
	reported = true;
	do {
		n = write(REPORT_FD, err, sizeof(*err));
	} while (n < 0 && errno == EINTR);
}

/* libarchive calls exit() where it cannot allocate a string. */
static void report_at_exit(void)
{
	struct guest_error err;

	if (reported)
		return;
	fail(&err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK, "libarchive");
	report(&err);
	_exit(1);
}

static int parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < least || value > most)
		return -EINVAL;
	*ret = value;
	return 0;
}

static int prepare(int argc, char **argv, struct walk_options *options,
		   struct decoder_limits *limits, struct guest_error *err)
{
	uint64_t ids = 0, memory_mib = 512, decoded_mib = 16384, inodes = UINT64_MAX;
	struct rlimit rlimit;

	if (argc < 2 || argc > 5 || parse_number(argv[1], 1, UINT32_MAX, &ids) < 0 ||
	    (argc > 2 && parse_number(argv[2], 1, UINT32_MAX, &memory_mib) < 0) ||
	    (argc > 3 && parse_number(argv[3], 1, UINT32_MAX, &decoded_mib) < 0) ||
	    (argc > 4 && parse_number(argv[4], 1, UINT64_MAX, &inodes) < 0))
		return fail(err, -EINVAL, 0, GUEST_STAGE_HELPER,
			    "usage: guest-unpack IDS [DECODER_MEMORY_MIB [DECODED_MIB [INODES]]]");
	*options = (struct walk_options){ .ids = (uint32_t)ids,
					  .decoded_bytes = decoded_mib * MIB,
					  .inodes = inodes };
	/* Not sysconf(3), which would want /sys: this asks for the affinity mask. */
	limits->threads = lzma_cputhreads();
	if (limits->threads < 1)
		limits->threads = 1;
	if (limits->threads > THREADS_MAX)
		limits->threads = THREADS_MAX;
	limits->memory_bytes = memory_mib * MIB;
	/* RLIMIT_AS would count what malloc(3) merely reserves for each thread. */
	if (getrlimit(RLIMIT_DATA, &rlimit) < 0)
		return fail(err, -errno, errno, GUEST_STAGE_RLIMIT, "getrlimit RLIMIT_DATA");
	if (rlimit.rlim_max > limits->memory_bytes + OTHER_MEMORY)
		rlimit.rlim_max = limits->memory_bytes + OTHER_MEMORY;
	rlimit.rlim_cur = rlimit.rlim_max;
	if (!SANITIZED && setrlimit(RLIMIT_DATA, &rlimit) < 0)
		return fail(err, -errno, errno, GUEST_STAGE_RLIMIT, "setrlimit RLIMIT_DATA");
	return 0;
}

static int unpack(const struct walk_options *options, const struct decoder_limits *limits,
		  struct walk_counts *ret_counts, struct guest_error *err)
{
	static struct decoder decoder;
	static struct writer writer;
	int root, r;

	root = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return fail(err, -errno, errno, GUEST_STAGE_UNPACK, "open the target directory");
	r = writer_open(&writer, root, geteuid() == 0 && options->ids > 1, options->inodes, err);
	if (r == 0)
		r = decoder_open(&decoder, 0, limits, err);
	if (r == 0)
		r = walk(&decoder, &writer, options, ret_counts, err);
	if (r == 0)
		fail(err, 0, 0, GUEST_STAGE_NONE,
		     "%" PRIu64 " entries, %" PRIu64 " of them skipped (devices, FIFOs, sockets)",
		     ret_counts->entries, ret_counts->skipped);
	/* Nobody has to wait for our cleaning up. */
	report(err);
	decoder_close(&decoder);
	writer_close(&writer);
	close(root);
	return r;
}

int main(int argc, char **argv)
{
	struct guest_error err = { .size = sizeof(err) };
	struct walk_options options;
	struct decoder_limits limits;
	struct walk_counts counts;
	int r;

	if (fcntl(REPORT_FD, F_GETFD) < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	umask(0);
	atexit(report_at_exit);
	r = prepare(argc, argv, &options, &limits, &err);
	if (r == 0)
		r = unpack(&options, &limits, &counts, &err);
	report(&err);
	return r == 0 ? 0 : 1;
}
