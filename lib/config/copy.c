// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "config/config.h"

struct copy {
	struct guest_config config; /* the first: it is what a caller frees */
	struct guest_mount mounts[CONFIG_MOUNTS_MAX];
	char texts[];
};

/* The texts of a config, one behind the other. */
struct texts {
	const char *directory; /* that relative paths begin in; NULL: not known */
	char *at;	       /* NULL: they are only counted */
	size_t left, size;
};

static const char *put(struct texts *texts, const char *directory, const char *text)
{
	char *to = texts->at;
	size_t size;

	if (!text)
		return NULL;
	size = (size_t)snprintf(to, texts->left, "%s%s%s", directory ? directory : "",
				directory ? "/" : "", text) +
	       1;
	texts->size += size;
	if (to) {
		texts->at += size;
		texts->left -= size;
	}
	return to;
}

static const char *put_text(struct texts *texts, const char *text)
{
	return put(texts, NULL, text);
}

static const char *put_path(struct texts *texts, const char *path)
{
	return put(texts, path && path[0] && path[0] != '/' ? texts->directory : NULL, path);
}

static void put_all(struct texts *texts, struct copy *copy)
{
	struct guest_config *config = &copy->config;

	config->rootfs_path = put_path(texts, config->rootfs_path);
	config->hostname = put_text(texts, config->hostname);
	config->capabilities = put_text(texts, config->capabilities);
	config->io_max = put_text(texts, config->io_max);
	config->cgroup_parent = put_text(texts, config->cgroup_parent);
	config->cache_dir = put_text(texts, config->cache_dir);
	for (struct guest_mount *mount = copy->mounts; mount < copy->mounts + config->mounts_count;
	     mount++) {
		mount->source = put_path(texts, mount->source);
		mount->target = put_text(texts, mount->target);
		mount->options = put_text(texts, mount->options);
	}
	config->mounts = copy->mounts;
}

int config_copy(struct guest_config **ret_copy, const struct guest_config *config,
		struct guest_error *err)
{
	cleanup_free char *directory = getcwd(NULL, 0);
	struct texts texts = { .directory = directory };
	struct copy shallow = { .config = *config }, counted, *copy;
	int r = 0;

	for (size_t i = 0; r == 0 && i < config->mounts_count; i++)
		r = config_get_mount(&shallow.mounts[i], config, i, err);
	if (r < 0)
		return r;
	counted = shallow;
	put_all(&texts, &counted);
	copy = malloc(sizeof(*copy) + texts.size);
	if (!copy)
		return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "copy of the config");
	*copy = shallow;
	texts.at = copy->texts;
	texts.left = texts.size;
	put_all(&texts, copy);
	*ret_copy = &copy->config;
	return 0;
}
