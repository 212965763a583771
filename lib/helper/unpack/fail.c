// SPDX-License-Identifier: MIT
/*
 * Words for what went wrong. Names come from the archive, so from an enemy, and end up in a
 * terminal or a log: controls, broken UTF-8 and characters that turn the direction of text are
 * written as \xNN.
 */
#include "unpack.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 sequence at `text`; 0 if it is none or not fit to print. */
static size_t utf8_printable(const unsigned char *text)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t value;
	size_t length, i;

	if (*text < 0x80)
		return *text >= 0x20 && *text != 0x7f && *text != '"' && *text != '\\';
	if ((*text & 0xe0) == 0xc0)
		length = 2;
	else if ((*text & 0xf0) == 0xe0)
		length = 3;
	else if ((*text & 0xf8) == 0xf0)
		length = 4;
	else
		return 0;
	value = *text & (0x7f >> length);
	for (i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (text[i] & 0x3f);
	}
	if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
		return 0;
	/* C1 controls; spaces, separators and direction marks; private use and what lies beyond */
	if (value < 0xa1 || value == 0xad || (value >= 0x2000 && value < 0x2070) || value == 0xfeff)
		return 0;
	if ((value >= 0xe000 && value < 0xf900) || value >= 0xe0000)
		return 0;
	return length;
}

void fail_escape(char *out, size_t size, const char *text)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)text;
	size_t used = 0, whole = 0, length;

	if (size < 4) {
		if (size > 0)
			*out = '\0';
		return;
	}
	while (*p) {
		length = utf8_printable(p);
		if (used + (length ? length : 4) >= size) {
			memcpy(out + whole, "...", 4);
			return;
		}
		if (length) {
			memcpy(out + used, p, length);
			used += length;
			p += length;
		} else {
			out[used++] = '\\';
			out[used++] = 'x';
			out[used++] = digits[*p >> 4];
			out[used++] = digits[*p & 15];
			p++;
		}
		/* where "..." would still fit */
		if (used + 4 <= size)
			whole = used;
	}
	out[used] = '\0';
}

static int fail_set(struct guest_error *err, int code, int sys_errno, int stage, const char *text)
{
	const char *words = sys_errno ? strerrordesc_np(sys_errno) : NULL;

	memset(err, 0, sizeof(*err));
	err->size = sizeof(*err);
	err->code = code;
	err->sys_errno = sys_errno;
	err->stage = stage;
	if (words)
		snprintf(err->message, sizeof(err->message), "%s: %s", text, words);
	else
		snprintf(err->message, sizeof(err->message), "%s", text);
	return code;
}

int fail(struct guest_error *err, int code, int sys_errno, int stage, const char *format, ...)
{
	char text[sizeof(err->message)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return fail_set(err, code, sys_errno, stage, text);
}

int fail_entry(struct guest_error *err, int code, int sys_errno, const char *name,
	       const char *format, ...)
{
	char text[sizeof(err->message)], safe[100];
	int used;
	va_list args;

	fail_escape(safe, sizeof(safe), name);
	used = snprintf(text, sizeof(text), "\"%s\": ", safe);
	va_start(args, format);
	vsnprintf(text + used, sizeof(text) - (size_t)used, format, args);
	va_end(args);
	return fail_set(err, code, sys_errno, GUEST_STAGE_UNPACK, text);
}
