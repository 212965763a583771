// SPDX-License-Identifier: MIT
#include <getopt.h>
#include <stdint.h>
#include <string.h>

#include "tool.h"

/* No option has a short form: the letters are for read_option() alone. */
static const struct option known[] = {
	{ "rootfs", required_argument, NULL, 'r' },   { "bind", required_argument, NULL, 'b' },
	{ "ro-bind", required_argument, NULL, 'B' },  { "tmpfs", required_argument, NULL, 'T' },
	{ "hostname", required_argument, NULL, 'H' }, { "network", required_argument, NULL, 'n' },
	{ "uid", required_argument, NULL, 'u' },      { "gid", required_argument, NULL, 'g' },
	{ "caps", required_argument, NULL, 'C' },     { "env", required_argument, NULL, 'e' },
	{ "cwd", required_argument, NULL, 'd' },      { "timeout", required_argument, NULL, 't' },
	{ "writable", required_argument, NULL, 'w' }, { "memory", required_argument, NULL, 'm' },
	{ "pids", required_argument, NULL, 'p' },     { "cpus", required_argument, NULL, 'c' },
	{ "best-effort", no_argument, NULL, 'E' },    { "no-seccomp", no_argument, NULL, 'S' },
	{ "stats", no_argument, NULL, 's' },	      { 0 },
};

static struct guest_mount *new_mount(struct run_options *options)
{
	uint64_t count = ++options->config.mounts_count;

	options->mounts = grow(options->mounts, count, sizeof(*options->mounts));
	return &options->mounts[count - 1];
}

static uint32_t read_network(const char *text)
{
	if (strcmp(text, "none") != 0 && strcmp(text, "host") != 0)
		fail("--network: '%s' is neither none nor host", text);
	return text[0] == 'h' ? GUEST_NETWORK_HOST : GUEST_NETWORK_NONE;
}

/* 0 stands for the default in the config, which is not what somebody means who writes 0. */
static uint64_t positive(const char *option, uint64_t value)
{
	if (value == 0)
		fail("--%s: 0 is too little", option);
	return value;
}

static void read_limit(struct guest_config *config, int option, const char *name, const char *text)
{
	if (option == 'w')
		config->writable_bytes = positive(name, value_size(name, text));
	else if (option == 'm')
		config->memory_bytes = positive(name, value_size(name, text));
	else if (option == 'p')
		config->pids_max = positive(name, value_number(name, text, INT32_MAX));
	else
		config->cpu_quota = value_cpus(name, text);
}

static void read_option(struct run_options *options, int option, const char *name, char *text)
{
	struct guest_config *config = &options->config;

	switch (option) {
	case 'r':
		config->rootfs_path = text;
		break;
	case 'b':
	case 'B':
		value_bind(new_mount(options), text, option == 'B');
		break;
	case 'T':
		value_tmpfs(new_mount(options), text);
		break;
	case 'H':
		config->hostname = text;
		break;
	case 'n':
		config->network = read_network(text);
		break;
	case 'u':
		config->uid = (uint32_t)value_number(name, text, UINT32_MAX - 1);
		break;
	case 'g':
		config->gid = (uint32_t)value_number(name, text, UINT32_MAX - 1);
		break;
	case 'C':
		config->capabilities = text;
		break;
	case 'e':
		strings_add(&options->environment, text);
		break;
	case 'd':
		options->cwd = text;
		break;
	case 't':
		options->timeout_ns = value_time(name, text);
		break;
	case 'E':
		config->flags |= GUEST_BEST_EFFORT;
		break;
	case 'S':
		config->flags |= GUEST_NO_SECCOMP;
		break;
	case 's':
		options->stats = true;
		break;
	case '?':
		fail_usage();
	default:
		read_limit(config, option, name, text);
	}
}

void run_options_read(struct run_options *options, int argc, char **argv)
{
	int option, index = 0;

	*options = (struct run_options){ 0 };
	guest_config_init(&options->config, sizeof(options->config));
	/* "+": what follows the first word that is no option belongs to the command */
	while ((option = getopt_long(argc, argv, "+", known, &index)) != -1)
		read_option(options, option, known[index].name, optarg);
	options->config.mounts = options->mounts;
	options->argv = argv + optind;
}
