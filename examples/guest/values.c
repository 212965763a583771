// SPDX-License-Identifier: MIT
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

uint64_t value_number(const char *option, const char *text, uint64_t max)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end || errno || value > max)
		fail("--%s: '%s' is not a number from 0 to %" PRIu64, option, text, max);
	return value;
}

/* A decimal fraction, and what comes behind it. strtod() would take 0x, nan and the locale's comma
 * too. */
static bool read_fraction(const char *text, double *ret_value, const char **ret_suffix)
{
	size_t length = strspn(text, "0123456789.");

	if (length == 0 || !strpbrk(text, "0123456789") ||
	    memchr(text, '.', length) != memrchr(text, '.', length))
		return false;
	*ret_value = strtod(text, NULL);
	*ret_suffix = text + length;
	return true;
}

uint64_t value_size(const char *option, const char *text)
{
	static const char suffixes[] = "kmgt";
	const char *suffix, *found;
	double value;
	int shift = 0;

	if (!read_fraction(text, &value, &suffix))
		fail("--%s: '%s' is not a size such as 64M or 1.5G", option, text);
	found = *suffix ? strchr(suffixes, tolower((unsigned char)*suffix)) : NULL;
	if (found) {
		shift = 10 * (int)(found - suffixes + 1);
		suffix++;
	}
	value *= (double)(1ULL << shift);
	if (*suffix || value >= (double)(1ULL << 62))
		fail("--%s: '%s' is not a size such as 64M or 1.5G", option, text);
	return (uint64_t)value;
}

uint64_t value_cpus(const char *option, const char *text)
{
	const char *suffix;
	double value;

	if (!read_fraction(text, &value, &suffix) || *suffix || value < 0.001 || value > 1e6)
		fail("--%s: '%s' is not a number of CPUs such as 1.5", option, text);
	return (uint64_t)(value * 1000 + 0.5);
}

uint64_t value_time(const char *option, const char *text)
{
	static const struct {
		const char *name;
		double seconds;
	} units[] = { { "", 1 }, { "s", 1 }, { "ms", 1e-3 }, { "m", 60 }, { "h", 3600 } };
	const char *suffix;
	double value;

	if (!read_fraction(text, &value, &suffix))
		fail("--%s: '%s' is not a time such as 1.5, 200ms, 2m or 1h", option, text);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		double seconds = value * units[i].seconds;

		if (strcmp(suffix, units[i].name) != 0 || seconds > 1e9)
			continue;
		/* 0 is none, as for timeout(1); less than a nanosecond is not none */
		return value > 0 && seconds < 1e-9 ? 1 : (uint64_t)(seconds * 1e9);
	}
	fail("--%s: '%s' is not a time such as 1.5, 200ms, 2m or 1h", option, text);
}

void value_bind(struct guest_mount *mount, char *text, bool read_only)
{
	const char *source = strsep(&text, ":"), *target = strsep(&text, ":");
	char *resolved = realpath(source, NULL), *options = text;

	if (!resolved)
		fail("--%s: %s: %s", read_only ? "ro-bind" : "bind", source, strerror(errno));
	if (read_only && asprintf(&options, "ro%s%s", text ? "," : "", text ? text : "") < 0)
		fail("%s", strerror(errno));
	*mount = (struct guest_mount){
		.size = sizeof(*mount),
		.type = GUEST_MOUNT_BIND,
		.source = resolved,
		.target = target && *target ? target : resolved,
		.options = options,
	};
}

void value_tmpfs(struct guest_mount *mount, char *text)
{
	const char *target = strsep(&text, ":");

	*mount = (struct guest_mount){
		.size = sizeof(*mount),
		.type = GUEST_MOUNT_TMPFS,
		.target = target,
		.options = text,
	};
}
