// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static void set(struct strings *environment, char *entry)
{
	size_t name = strcspn(entry, "=") + 1;

	for (size_t i = 0; i < environment->count; i++) {
		if (strncmp(environment->items[i], entry, name) == 0) {
			environment->items[i] = entry;
			return;
		}
	}
	strings_add(environment, entry);
}

static void copy_from_caller(struct strings *environment, const char *name)
{
	const char *value = getenv(name);
	char *entry;

	if (!value)
		return;
	if (asprintf(&entry, "%s=%s", name, value) < 0)
		fail("%s", strerror(errno));
	set(environment, entry);
}

/* The first six are what the library gives to a command without an environment. */
char **environment_make(const struct strings *wanted, uint32_t uid)
{
	struct strings environment = { 0 };

	set(&environment, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	set(&environment, uid == 0 ? "HOME=/root" : "HOME=/home/guest");
	set(&environment, uid == 0 ? "USER=root" : "USER=guest");
	set(&environment, uid == 0 ? "LOGNAME=root" : "LOGNAME=guest");
	set(&environment, "LANG=C.UTF-8");
	set(&environment, "TERM=dumb");
	if (isatty(STDIN_FILENO))
		copy_from_caller(&environment, "TERM");
	for (size_t i = 0; i < wanted->count; i++) {
		if (wanted->items[i][0] == '=' || wanted->items[i][0] == '\0')
			fail("--env: '%s' has no name", wanted->items[i]);
		if (strchr(wanted->items[i], '='))
			set(&environment, wanted->items[i]);
		else
			copy_from_caller(&environment, wanted->items[i]);
	}
	return environment.items;
}
