// SPDX-License-Identifier: MIT
/*
 * Which compression, told by the first bytes of the input. Exactly one is taken off: what comes out
 * of it must be a tar, so a bomb cannot be wrapped a second time.
 */
#include "unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static ssize_t plain_next(struct decoder *decoder, const void **ret_block)
{
	struct input *input = &decoder->input;
	size_t size;
	int r;

	r = input_fill(input, 1);
	if (r < 0)
		return r;
	*ret_block = input->buffer + input->start;
	size = input->filled - input->start;
	input->start = input->filled;
	return (ssize_t)size;
}

static const struct decoder_kind decoder_plain = { .name = "tar", .next = plain_next };

static const struct decoder_kind *const kinds[] = {
	&decoder_xz, &decoder_gzip, &decoder_bzip2, &decoder_zstd, &decoder_lz4,
};

int decoder_open(struct decoder *decoder, int fd, const struct decoder_limits *limits,
		 struct guest_error *err)
{
	struct input *input = &decoder->input;
	size_t i;
	int r;

	*decoder = (struct decoder){ .kind = &decoder_plain, .err = err };
	r = input_open(input, fd, err);
	if (r < 0)
		return r;
	r = input_fill(input, 16);
	if (r < 0)
		return r;
	if (input->filled == 0)
		return fail(err, -EINVAL, 0, GUEST_STAGE_ROOTFS, "the rootfs archive is empty");
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (input->filled >= kinds[i]->magic_size &&
		    !memcmp(input->buffer, kinds[i]->magic, kinds[i]->magic_size))
			decoder->kind = kinds[i];
	if (!decoder->kind->open)
		return 0;
	decoder->buffer = malloc(DECODER_BUFFER);
	if (!decoder->buffer)
		return fail(err, -ENOMEM, ENOMEM, GUEST_STAGE_UNPACK, "decoder buffer");
	return decoder->kind->open(decoder, limits);
}

void decoder_close(struct decoder *decoder)
{
	if (decoder->kind && decoder->kind->close && decoder->state)
		decoder->kind->close(decoder);
	decoder->state = NULL;
	free(decoder->buffer);
	decoder->buffer = NULL;
	input_close(&decoder->input);
}

ssize_t decoder_next(struct decoder *decoder, const void **ret_block)
{
	return decoder->kind->next(decoder, ret_block);
}
