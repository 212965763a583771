/* SPDX-License-Identifier: MIT */
/*
 * The unpacker: an archive on one side, an empty directory on the other. What it does and why is
 * told at the top of main.c. Each part below uses only the parts above it:
 *
 *     fail.c    words for what went wrong
 *     input.c   bytes of the archive file          decode*.c   the same, decompressed
 *     write.c   files, links and directories, made below one directory and nowhere else
 *     walk.c    the tar, entry by entry; the policy for each
 *     main.c    arguments, limits, report
 *
 * Functions return 0 or a negative errno, and on failure have filled in the struct guest_error they
 * were given. Single-threaded, except for liblzma's own threads.
 */
#ifndef GUEST_UNPACK_H
#define GUEST_UNPACK_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <guest/guest.h>

/* fail.c */

/* Fill in `err`; returns `code`. `sys_errno`: 0, or the system call's: its words are added. */
int fail(struct guest_error *err, int code, int sys_errno, int stage, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* The same with stage GUEST_STAGE_UNPACK and the entry's name, made harmless, in front. */
int fail_entry(struct guest_error *err, int code, int sys_errno, const char *name,
	       const char *format, ...) __attribute__((format(printf, 5, 6)));
/* One line of printable UTF-8 from any bytes; what does not fit in `size` is cut, "..." added. */
void fail_escape(char *out, size_t size, const char *text);

/* input.c */

struct input {
	int fd;
	bool end;
	uint64_t total;	      /* bytes read so far */
	size_t start, filled; /* buffer[start..filled) is not consumed yet */
	uint8_t *buffer;
	struct guest_error *err;
};

int input_open(struct input *input, int fd, struct guest_error *err);
void input_close(struct input *input);
/* Have at least `want` bytes in the buffer, or all there are (then `end` is set). */
int input_fill(struct input *input, size_t want);
/* After the end of a compressed stream: at most so many zeros may follow, and nothing else. */
int input_expect_end(struct input *input, uint64_t zeros_max);
/* The failure of having found something else. */
int input_trailing(struct input *input);

/* decode.c, decode_xz.c, decode_gzip.c, decode_filter.c */

struct decoder;

struct decoder_limits {
	uint64_t memory_bytes;
	uint32_t threads;
};

/* What turns an input into a tar. A new one is a new file and a line in decode.c. */
struct decoder_kind {
	const char *name;
	size_t magic_size;
	const char *magic;
	int (*open)(struct decoder *decoder, const struct decoder_limits *limits);
	ssize_t (*next)(struct decoder *decoder, const void **ret_block);
	void (*close)(struct decoder *decoder);
};

struct decoder {
	struct input input;
	const struct decoder_kind *kind;
	void *state;	 /* the kind's own */
	uint8_t *buffer; /* DECODER_BUFFER bytes, for kinds that need one */
	struct guest_error *err;
};

/* Between 128 KiB and 1 MiB no difference could be measured. */
#define DECODER_BUFFER ((size_t)256 << 10)

int decoder_open(struct decoder *decoder, int fd, const struct decoder_limits *limits,
		 struct guest_error *err);
void decoder_close(struct decoder *decoder);
/*
 * The next piece of the tar, valid until the next call. Returns its size; 0 at the end, and only
 * when the compressed stream was found whole; or a negative errno.
 */
ssize_t decoder_next(struct decoder *decoder, const void **ret_block);

extern const struct decoder_kind decoder_xz, decoder_gzip, decoder_bzip2, decoder_zstd, decoder_lz4;

/* write.c */

struct metadata {
	mode_t mode; /* 07777 */
	uid_t uid;
	gid_t gid;
	bool has_mtime;
	struct timespec mtime;
};

struct fixup;

/* A directory that stays open, since the next entry is most likely in it too. */
struct parent {
	int fd;
	size_t length;
	char path[PATH_MAX];
};

struct writer {
	int root;
	bool chown;		  /* we may, and there is more than one id */
	uint64_t inodes_left;	  /* that may be made */
	struct parent parents[2]; /* of the entry; of a hardlink's target */
	struct fixup *fixups;	  /* directories, finished last */
	size_t fixups_count, fixups_allocated, fixups_bytes;
	int file; /* the one being written */
	uint64_t file_offset;
	const char *file_path;
	struct guest_error *err;
};

/* Paths here are relative, without empty, "." and ".." components; "" is the root itself. */
int writer_open(struct writer *writer, int root, bool chown, uint64_t inodes,
		struct guest_error *err);
void writer_close(struct writer *writer);
int writer_directory(struct writer *writer, const char *path, const struct metadata *meta);
int writer_symlink(struct writer *writer, const char *path, const char *target,
		   const struct metadata *meta);
int writer_hardlink(struct writer *writer, const char *path, const char *target);
/* A file: begin, any number of data, end. `path` stays the caller's and must live until the end. */
int writer_file_begin(struct writer *writer, const char *path, const struct metadata *meta);
int writer_file_data(struct writer *writer, const void *data, size_t size, uint64_t offset);
int writer_file_end(struct writer *writer, uint64_t size, const struct metadata *meta);
/* Give the directories their modes, owners and times. */
int writer_finish(struct writer *writer);

/* walk.c */

struct walk_options {
	uint32_t ids;		/* owners below this are kept, others become 0 */
	uint64_t decoded_bytes; /* cap on the tar's size, and on the size of any one file */
	uint64_t inodes;	/* cap on files, symlinks and directories made */
};

struct walk_counts {
	uint64_t entries;
	uint64_t skipped; /* device nodes, FIFOs, sockets */
};

int walk(struct decoder *decoder, struct writer *writer, const struct walk_options *options,
	 struct walk_counts *ret_counts, struct guest_error *err);

#endif
