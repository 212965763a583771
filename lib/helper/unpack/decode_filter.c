// SPDX-License-Identifier: MIT
/*
 * bzip2, zstd and lz4, by libarchive's filters: the archive is opened in its "raw" format, a file
 * whose one entry is the decompressed data. Only the filter that the first bytes call for is
 * registered, so there is nothing to chain with but itself, and that is refused.
 */
#include "unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>

static la_ssize_t filter_read(struct archive *archive, void *data, const void **ret_block)
{
	struct decoder *decoder = data;
	struct input *input = &decoder->input;
	size_t size;

	(void)archive;
	if (input_fill(input, 1) < 0)
		return -1;
	*ret_block = input->buffer + input->start;
	size = input->filled - input->start;
	input->start = input->filled;
	return (la_ssize_t)size;
}

static int filter_fail(struct decoder *decoder)
{
	struct archive *archive = decoder->state;
	const char *why = archive_error_string(archive);
	char safe[120];

	if (decoder->err->code < 0) /* the input's own failure, which libarchive only passes on */
		return decoder->err->code;
	if (archive_errno(archive) == ENOMEM)
		return fail(decoder->err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK, "%s decoder",
			    decoder->kind->name);
	fail_escape(safe, sizeof(safe), why ? why : "no reason given");
	return fail(decoder->err, -EBADMSG, 0, GUEST_STAGE_UNPACK,
		    "the rootfs archive is damaged: its %s data: %s", decoder->kind->name, safe);
}

static int filter_open(struct decoder *decoder, int (*support)(struct archive *))
{
	struct archive *archive;
	struct archive_entry *entry;
	int r;

	archive = archive_read_new();
	if (!archive)
		return fail(decoder->err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK, "%s decoder",
			    decoder->kind->name);
	decoder->state = archive;
	if (support(archive) != ARCHIVE_OK ||
	    archive_read_support_format_raw(archive) != ARCHIVE_OK ||
	    archive_read_support_format_empty(archive) != ARCHIVE_OK ||
	    archive_read_open(archive, decoder, NULL, filter_read, NULL) != ARCHIVE_OK)
		return filter_fail(decoder);
	/* the filter, and the input itself */
	if (archive_filter_count(archive) != 2)
		return fail(decoder->err, -EINVAL, 0, GUEST_STAGE_ROOTFS,
			    "the rootfs archive is compressed more than once");
	r = archive_read_next_header(archive, &entry);
	if (r == ARCHIVE_EOF)
		return fail(decoder->err, -EINVAL, 0, GUEST_STAGE_ROOTFS,
			    "the rootfs archive is empty");
	return r == ARCHIVE_OK ? 0 : filter_fail(decoder);
}

static int bzip2_open(struct decoder *decoder, const struct decoder_limits *limits)
{
	(void)limits; /* 4 MB, always */
	return filter_open(decoder, archive_read_support_filter_bzip2);
}

static int zstd_open(struct decoder *decoder, const struct decoder_limits *limits)
{
	(void)limits; /* libzstd refuses windows above 128 MiB unless asked */
	return filter_open(decoder, archive_read_support_filter_zstd);
}

static int lz4_open(struct decoder *decoder, const struct decoder_limits *limits)
{
	(void)limits; /* blocks of at most 8 MiB */
	return filter_open(decoder, archive_read_support_filter_lz4);
}

static ssize_t filter_next(struct decoder *decoder, const void **ret_block)
{
	struct archive *archive = decoder->state;
	struct input *input = &decoder->input;
	la_int64_t offset;
	size_t size;
	int r;

	do {
		r = archive_read_data_block(archive, ret_block, &size, &offset);
	} while (r == ARCHIVE_OK && size == 0);
	if (r == ARCHIVE_OK)
		return (ssize_t)size;
	if (r != ARCHIVE_EOF)
		return filter_fail(decoder);
	/* (Unseen: four bytes that the lz4 filter swallows when it looks for another frame.) */
	if ((uint64_t)archive_filter_bytes(archive, -1) != input->total)
		return input_trailing(input);
	return input_expect_end(input, 0);
}

static void filter_close(struct decoder *decoder)
{
	archive_read_free(decoder->state);
}

const struct decoder_kind decoder_bzip2 = {
	.name = "bzip2",
	.magic = "BZh",
	.magic_size = 3,
	.open = bzip2_open,
	.next = filter_next,
	.close = filter_close,
};

const struct decoder_kind decoder_zstd = {
	.name = "zstd",
	.magic = "\x28\xb5\x2f\xfd",
	.magic_size = 4,
	.open = zstd_open,
	.next = filter_next,
	.close = filter_close,
};

const struct decoder_kind decoder_lz4 = {
	.name = "lz4",
	.magic = "\x04\x22\x4d\x18",
	.magic_size = 4,
	.open = lz4_open,
	.next = filter_next,
	.close = filter_close,
};
