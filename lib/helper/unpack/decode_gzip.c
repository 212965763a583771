// SPDX-License-Identifier: MIT
/*
 * gzip, by zlib: libarchive's gzip filter (3.6) neither checks the CRC nor tells a cut member from
 * a whole one. A file may be several members, one after the other (as pigz and `cat` make them).
 */
#include "unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

/* gzip(1) takes zeros behind the last member for the padding of a tape. */
#define GZIP_PADDING_MAX ((uint64_t)1 << 20)

struct gzip {
	z_stream stream;
	bool end;
};

static int gzip_open(struct decoder *decoder, const struct decoder_limits *limits)
{
	struct gzip *gzip;

	(void)limits; /* a window of 32 KiB, always */
	gzip = calloc(1, sizeof(*gzip));
	if (!gzip)
		return fail(decoder->err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK, "gzip decoder");
	if (inflateInit2(&gzip->stream, 16 + MAX_WBITS) != Z_OK) {
		free(gzip);
		return fail(decoder->err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK, "gzip decoder");
	}
	decoder->state = gzip;
	return 0;
}

/* At the end of a member: on to the next, or to the end. */
static int gzip_member_end(struct decoder *decoder)
{
	struct gzip *gzip = decoder->state;
	struct input *input = &decoder->input;
	int r;

	r = input_fill(input, 2);
	if (r < 0)
		return r;
	if (input->filled - input->start >= 2 && input->buffer[input->start] == 0x1f &&
	    input->buffer[input->start + 1] == 0x8b) {
		inflateReset(&gzip->stream);
		return 0;
	}
	gzip->end = true;
	return input_expect_end(input, GZIP_PADDING_MAX);
}

static ssize_t gzip_next(struct decoder *decoder, const void **ret_block)
{
	struct gzip *gzip = decoder->state;
	struct input *input = &decoder->input;
	int r, z;

	gzip->stream.next_out = decoder->buffer;
	gzip->stream.avail_out = DECODER_BUFFER;
	while (gzip->stream.avail_out > 0 && !gzip->end) {
		r = input_fill(input, 1);
		if (r < 0)
			return r;
		gzip->stream.next_in = input->buffer + input->start;
		gzip->stream.avail_in = (uInt)(input->filled - input->start);
		z = inflate(&gzip->stream, Z_NO_FLUSH);
		input->start = input->filled - gzip->stream.avail_in;
		if (z == Z_STREAM_END) {
			r = gzip_member_end(decoder);
			if (r < 0)
				return r;
		} else if (z == Z_MEM_ERROR) {
			return fail(decoder->err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK,
				    "gzip decoder");
		} else if (z != Z_OK) {
			return fail(decoder->err, -EBADMSG, 0, GUEST_STAGE_UNPACK,
				    "the rootfs archive is damaged: its gzip data is %s",
				    z == Z_BUF_ERROR && input->end ? "cut short" : "corrupt");
		}
	}
	*ret_block = decoder->buffer;
	return (ssize_t)(DECODER_BUFFER - gzip->stream.avail_out);
}

static void gzip_close(struct decoder *decoder)
{
	struct gzip *gzip = decoder->state;

	inflateEnd(&gzip->stream);
	free(gzip);
}

const struct decoder_kind decoder_gzip = {
	.name = "gzip",
	.magic = "\x1f\x8b",
	.magic_size = 2,
	.open = gzip_open,
	.next = gzip_next,
	.close = gzip_close,
};
