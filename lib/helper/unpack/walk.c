// SPDX-License-Identifier: MIT
/*
 * The tar, entry by entry. libarchive knows its dialects (v7, ustar, pax, GNU, old GNU sparse);
 * here is the policy: the table at the top of main.c.
 *
 * Two things libarchive lets pass are errors here. It takes the end of the data at an entry's
 * boundary for the end of the archive, though the end-of-archive marker (two blocks of zeros) is
 * missing: the archive was cut there. And it does not read on behind the marker: damage there, down
 * to the check at the very end of the compressed stream, would go unseen. So everything is read to
 * its end, and the last header's position and the number of zeros at the very end must say the
 * same.
 */
#include "unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define MARKER_BYTES 1024
/* tar pads to its blocking factor: 10 KiB by default; `tar -b` may ask for more. */
#define PADDING_MAX ((uint64_t)16 << 20)

struct walk {
	struct archive *archive;
	struct decoder *decoder;
	struct writer *writer;
	const struct walk_options *options;
	struct walk_counts counts;
	uint64_t decoded; /* bytes of the tar so far, and how many of them at its end are zeros */
	uint64_t zeros;
	char path[PATH_MAX], target[PATH_MAX];
	struct guest_error *err;
};

static size_t zeros_at_end(const unsigned char *data, size_t size)
{
	size_t left = size;
	uint64_t word;

	for (; left >= sizeof(word); left -= sizeof(word)) {
		memcpy(&word, data + left - sizeof(word), sizeof(word));
		if (word)
			break;
	}
	while (left > 0 && !data[left - 1])
		left--;
	return size - left;
}

static ssize_t walk_read(struct walk *walk, const void **ret_block)
{
	ssize_t n;
	size_t zeros;

	n = decoder_next(walk->decoder, ret_block);
	if (n <= 0)
		return n;
	walk->decoded += (size_t)n;
	zeros = zeros_at_end(*ret_block, (size_t)n);
	walk->zeros = zeros == (size_t)n ? walk->zeros + zeros : zeros;
	if (walk->decoded > walk->options->decoded_bytes)
		return fail(walk->err, -EFBIG, 0, GUEST_STAGE_UNPACK,
			    "the rootfs archive unpacks to more than %" PRIu64
			    " MiB: a decompression bomb?",
			    walk->options->decoded_bytes >> 20);
	return n;
}

static la_ssize_t walk_callback(struct archive *archive, void *data, const void **ret_block)
{
	ssize_t n;

	(void)archive;
	n = walk_read(data, ret_block);
	return n < 0 ? -1 : n;
}

/* What libarchive complains about, `path` being the entry (NULL: between entries). */
static int walk_fail(struct walk *walk, const char *path)
{
	const char *why = archive_error_string(walk->archive);
	char safe[120];

	if (walk->err->code < 0) /* our own failure, inside the callback */
		return walk->err->code;
	if (archive_errno(walk->archive) == ENOMEM)
		return fail(walk->err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK, "libarchive");
	if (archive_format(walk->archive) == 0) /* not one header that made sense */
		return fail(walk->err, -EINVAL, 0, GUEST_STAGE_ROOTFS,
			    "the rootfs is not a tar archive, plain or compressed with xz, gzip, "
			    "bzip2, zstd "
			    "or lz4");
	fail_escape(safe, sizeof(safe), why ? why : "no reason given");
	if (path)
		return fail_entry(walk->err, -EBADMSG, 0, path, "the archive is damaged: %s", safe);
	return fail(walk->err, -EBADMSG, 0, GUEST_STAGE_UNPACK,
		    "the rootfs archive is damaged after entry %" PRIu64 ": %s",
		    walk->counts.entries, safe);
}

/*
 * Bring a name from the archive into the writer's form: relative, without empty and "." components.
 * ".." has no use in a rootfs that would outweigh its uses for harm.
 */
static int clean_path(struct walk *walk, const char *name, char *out)
{
	const char *part, *end;
	size_t used = 0, length;

	for (part = name; *part; part = end) {
		while (*part == '/')
			part++;
		end = strchrnul(part, '/');
		length = (size_t)(end - part);
		if (length == 0 || (length == 1 && part[0] == '.'))
			continue;
		if (length == 2 && part[0] == '.' && part[1] == '.')
			return fail_entry(walk->err, -EBADMSG, 0, name,
					  "\"..\" in a path; refused");
		if (used + 1 + length >= PATH_MAX)
			return fail_entry(walk->err, -EBADMSG, ENAMETOOLONG, name, "path");
		if (used > 0)
			out[used++] = '/';
		memcpy(out + used, part, length);
		used += length;
	}
	out[used] = '\0';
	return 0;
}

static void metadata_of(struct walk *walk, struct archive_entry *entry, struct metadata *meta)
{
	int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
	int64_t ids = walk->options->ids;

	*meta = (struct metadata){
		.mode = archive_entry_perm(entry) & 07777,
		.uid = uid >= 0 && uid < ids ? (uid_t)uid : 0,
		.gid = gid >= 0 && gid < ids ? (gid_t)gid : 0,
		.has_mtime = archive_entry_mtime_is_set(entry),
		.mtime = { archive_entry_mtime(entry), archive_entry_mtime_nsec(entry) },
	};
	/* Outside of this range tv_nsec would have a meaning of its own, or be refused. */
	if (meta->mtime.tv_nsec < 0 || meta->mtime.tv_nsec > 999999999)
		meta->mtime.tv_nsec = 0;
}

static int walk_file(struct walk *walk, struct archive_entry *entry, const struct metadata *meta)
{
	int64_t size = archive_entry_size(entry), offset;
	const void *block;
	size_t length;
	int r;

	/* An honest size cannot exceed what may be decoded; of a sparse file's we demand it. */
	if (size < 0 || (uint64_t)size > walk->options->decoded_bytes)
		return fail_entry(walk->err, -EFBIG, 0, walk->path,
				  "a file of %" PRId64 " bytes; refused", size);
	r = writer_file_begin(walk->writer, walk->path, meta);
	if (r < 0)
		return r;
	while ((r = archive_read_data_block(walk->archive, &block, &length, &offset)) ==
	       ARCHIVE_OK) {
		if (offset < 0 || length > (uint64_t)size || offset > size - (int64_t)length)
			return fail_entry(
				walk->err, -EBADMSG, 0, walk->path,
				"the archive is damaged: data beyond the end of the file");
		r = writer_file_data(walk->writer, block, length, (uint64_t)offset);
		if (r < 0)
			return r;
	}
	if (r != ARCHIVE_EOF)
		return walk_fail(walk, walk->path);
	return writer_file_end(walk->writer, (uint64_t)size, meta);
}

static int walk_symlink(struct walk *walk, struct archive_entry *entry, const struct metadata *meta)
{
	const char *target = archive_entry_symlink(entry);

	if (!*walk->path)
		return fail_entry(walk->err, -EBADMSG, EISDIR, ".",
				  "a symbolic link in place of the root");
	return writer_symlink(walk->writer, walk->path, target ? target : "", meta);
}

static int walk_hardlink(struct walk *walk, const char *target)
{
	int r;

	r = clean_path(walk, target, walk->target);
	if (r < 0)
		return r;
	if (!*walk->path || !*walk->target)
		return fail_entry(walk->err, -EBADMSG, EISDIR, *walk->path ? walk->path : ".",
				  "a hard link to or in place of the root");
	return writer_hardlink(walk->writer, walk->path, walk->target);
}

static int walk_entry(struct walk *walk, struct archive_entry *entry)
{
	const char *name = archive_entry_pathname(entry), *target = archive_entry_hardlink(entry);
	struct metadata meta;
	int r;

	if (!name)
		return fail(walk->err, -EBADMSG, 0, GUEST_STAGE_UNPACK,
			    "the rootfs archive is damaged: entry %" PRIu64 " has no name",
			    walk->counts.entries);
	r = clean_path(walk, name, walk->path);
	if (r < 0)
		return r;
	metadata_of(walk, entry, &meta);
	if (target)
		return walk_hardlink(walk, target);
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG:
		return walk_file(walk, entry, &meta);
	case AE_IFDIR:
		return writer_directory(walk->writer, walk->path, &meta);
	case AE_IFLNK:
		return walk_symlink(walk, entry, &meta);
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
	case AE_IFSOCK:
		walk->counts.skipped++;
		return 0;
	default:
		return fail_entry(walk->err, -EBADMSG, 0, name, "an entry of unknown type");
	}
}

/* Behind the last entry: nothing but the marker and zeros, to the end of the compressed stream. */
static int walk_end(struct walk *walk)
{
	uint64_t last = (uint64_t)archive_read_header_position(walk->archive);
	const void *block;
	ssize_t n;

	if (walk->counts.entries == 0)
		return fail(walk->err, -EINVAL, 0, GUEST_STAGE_ROOTFS,
			    "the rootfs archive has no entries");
	do {
		n = walk_read(walk, &block);
		if (n < 0)
			return (int)n;
	} while (n > 0 && walk->zeros >= walk->decoded - last &&
		 walk->decoded - last <= PADDING_MAX);
	if (n > 0 || (walk->decoded - last >= MARKER_BYTES && walk->zeros < walk->decoded - last))
		return fail(walk->err, -EBADMSG, 0, GUEST_STAGE_UNPACK,
			    "the rootfs archive is damaged: something follows its end-of-archive "
			    "marker");
	if (walk->decoded - last < MARKER_BYTES)
		return fail(walk->err, -EBADMSG, 0, GUEST_STAGE_UNPACK,
			    "the rootfs archive is damaged: it is cut short after entry %" PRIu64
			    " (no end-of-archive marker)",
			    walk->counts.entries);
	return 0;
}

/*
 * Names are bytes. In the C locale, which we never leave, libarchive cannot convert a pax header's
 * UTF-8 and keeps the bytes as they are, with a warning. Any other warning is about something
 * malformed.
 */
static bool warning_is_harmless(struct archive *archive)
{
	const char *why = archive_error_string(archive);

	return why && strstr(why, "can't be converted from");
}

static int walk_archive(struct walk *walk)
{
	struct archive_entry *entry;
	int r;

	if (archive_read_support_format_tar(walk->archive) != ARCHIVE_OK ||
	    archive_read_open(walk->archive, walk, NULL, walk_callback, NULL) != ARCHIVE_OK)
		return walk_fail(walk, NULL);
	for (;;) {
		r = archive_read_next_header(walk->archive, &entry);
		if (r == ARCHIVE_EOF)
			return walk_end(walk);
		if (r != ARCHIVE_OK && (r != ARCHIVE_WARN || !warning_is_harmless(walk->archive)))
			return walk_fail(walk, NULL);
		walk->counts.entries++;
		r = walk_entry(walk, entry);
		if (r < 0)
			return r;
	}
}

int walk(struct decoder *decoder, struct writer *writer, const struct walk_options *options,
	 struct walk_counts *ret_counts, struct guest_error *err)
{
	struct walk walk = { .decoder = decoder, .writer = writer, .options = options, .err = err };
	int r;

	walk.archive = archive_read_new();
	if (!walk.archive)
		return fail(err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK, "libarchive");
	r = walk_archive(&walk);
	archive_read_free(walk.archive);
	if (r < 0)
		return r;
	r = writer_finish(writer);
	if (r < 0)
		return r;
	*ret_counts = walk.counts;
	return 0;
}
