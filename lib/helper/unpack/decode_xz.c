// SPDX-License-Identifier: MIT
/*
 * xz, by liblzma's multi-threaded decoder: libarchive's own xz filter decodes in one thread. The
 * threads work ahead while the files of the last piece are written, so decoding and writing
 * overlap. Only a file of several blocks whose headers carry their sizes (what `xz -T` and
 * `--block-size` make) can be decoded so; any other is decoded by the calling thread.
 */
#include "unpack.h"

#include <errno.h>
#include <lzma.h>
#include <stdlib.h>

struct xz {
	lzma_stream stream;
	bool end;
};

static int xz_open(struct decoder *decoder, const struct decoder_limits *limits)
{
	const lzma_mt options = {
		/* Without the first, a stream with an unknown check would go unverified. */
		.flags = LZMA_TELL_UNSUPPORTED_CHECK | LZMA_CONCATENATED,
		.threads = limits->threads,
		.memlimit_threading = limits->memory_bytes,
		.memlimit_stop = limits->memory_bytes,
	};
	struct xz *xz;

	xz = calloc(1, sizeof(*xz));
	if (!xz)
		return fail(decoder->err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK, "xz decoder");
	decoder->state = xz;
	if (lzma_stream_decoder_mt(&xz->stream, &options) != LZMA_OK)
		return fail(decoder->err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK, "xz decoder");
	return 0;
}

static int xz_fail(struct decoder *decoder, lzma_ret ret)
{
	switch (ret) {
	case LZMA_MEM_ERROR:
		return fail(decoder->err, -ENOMEM, 0, GUEST_STAGE_UNPACK,
			    "xz decoder: no memory, or no thread");
	case LZMA_MEMLIMIT_ERROR:
		return fail(decoder->err, -ENOMEM, 0, GUEST_STAGE_UNPACK,
			    "the rootfs archive asks for more memory than the limit on decoding: "
			    "compress it "
			    "with a smaller dictionary (xz -9 or below)");
	case LZMA_BUF_ERROR:
		return fail(decoder->err, -EBADMSG, 0, GUEST_STAGE_UNPACK,
			    "the rootfs archive is damaged: its xz data is cut short");
	case LZMA_OPTIONS_ERROR:
	case LZMA_UNSUPPORTED_CHECK:
		return fail(decoder->err, -EBADMSG, 0, GUEST_STAGE_UNPACK,
			    "the rootfs archive is damaged, or made with xz options that liblzma "
			    "does not know");
	default:
		return fail(decoder->err, -EBADMSG, 0, GUEST_STAGE_UNPACK,
			    "the rootfs archive is damaged: its xz data is corrupt");
	}
}

static ssize_t xz_next(struct decoder *decoder, const void **ret_block)
{
	struct xz *xz = decoder->state;
	struct input *input = &decoder->input;
	lzma_ret ret;
	int r;

	if (xz->end)
		return 0;
	xz->stream.next_out = decoder->buffer;
	xz->stream.avail_out = DECODER_BUFFER;
	while (xz->stream.avail_out > 0) {
		r = input_fill(input, 1);
		if (r < 0)
			return r;
		xz->stream.next_in = input->buffer + input->start;
		xz->stream.avail_in = input->filled - input->start;
		/* LZMA_FINISH at the end of the input is what makes a cut file an error. */
		ret = lzma_code(&xz->stream, input->end ? LZMA_FINISH : LZMA_RUN);
		input->start = input->filled - xz->stream.avail_in;
		if (ret == LZMA_STREAM_END) {
			xz->end = true;
			break;
		}
		if (ret != LZMA_OK)
			return xz_fail(decoder, ret);
	}
	*ret_block = decoder->buffer;
	return (ssize_t)(DECODER_BUFFER - xz->stream.avail_out);
}

static void xz_close(struct decoder *decoder)
{
	struct xz *xz = decoder->state;

	lzma_end(&xz->stream);
	free(xz);
}

const struct decoder_kind decoder_xz = {
	.name = "xz",
	.magic = "\xfd"
		 "7zXZ\0",
	.magic_size = 6,
	.open = xz_open,
	.next = xz_next,
	.close = xz_close,
};
