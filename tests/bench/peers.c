// SPDX-License-Identifier: MIT
#include "peers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* Each as it is commonly used for this: namespaces of its own of every kind, the rootfs read-only or nearly so. */
static struct peer peers[] = {
	{ "bubblewrap", 0,
	  { "bwrap", "--unshare-all", "--ro-bind", "ROOTFS", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
	    "PROGRAM" },
	  0 },
	{ "bubblewrap, host's network", 1,
	  { "bwrap", "--unshare-all", "--share-net", "--ro-bind", "ROOTFS", "/", "--proc", "/proc", "--dev", "/dev",
	    "--tmpfs", "/tmp", "PROGRAM" },
	  0 },
	{ "crun", 0, { "crun", "--cgroup-manager=disabled", "--root=BUNDLE/crun", "run", "--bundle=BUNDLE", "ID" }, 0 },
	{ "runc", 0, { "runc", "--root=BUNDLE/runc", "run", "--bundle=BUNDLE", "ID" }, 0 },
	{ "unshare", 0,
	  { "unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--uts", "--ipc", "--net",
	    "--root=ROOTFS", "PROGRAM" },
	  0 },
	{ "systemd-nspawn", 0,
	  { "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--as-pid2", "--pipe",
	    "--directory=ROOTFS", "PROGRAM" },
	  0 },
	{ "firejail", 0, { "firejail", "--quiet", "--noprofile", "--net=none", "--chroot=ROOTFS", "PROGRAM" }, 0 },
	{ "minijail0", 0,
	  { "minijail0", "-U", "-m", "-M", "-p", "-v", "-l", "-e", "--uts", "-P", "ROOTFS", "PROGRAM" },
	  0 },
	{ "nsjail", 0, { "nsjail", "--mode", "o", "--really_quiet", "--chroot", "ROOTFS", "--", "PROGRAM" }, 0 },
	{ 0 },
};

/* What crun and runc are told: the namespaces and mounts that the others have. */
static void write_bundle(void)
{
	FILE *file;

	mkdir(bench.bundle, 0755);
	file = fopen(path_of(bench.bundle, "config.json"), "we");
	if (!file)
		die(bench.bundle, NULL);
	fprintf(file,
		"{ \"ociVersion\": \"1.0.0\",\n"
		"  \"process\": { \"user\": { \"uid\": 0, \"gid\": 0 }, \"args\": [\"/bench/true\"], \"cwd\": \"/\",\n"
		"    \"env\": [\"PATH=/usr/bin:/bin\"], \"noNewPrivileges\": true },\n"
		"  \"root\": { \"path\": \"%s\", \"readonly\": true },\n"
		"  \"hostname\": \"guest\",\n"
		"  \"mounts\": [\n"
		"    { \"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\" },\n"
		"    { \"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\",\n"
		"      \"options\": [\"nosuid\", \"mode=755\", \"size=64k\"] },\n"
		"    { \"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\",\n"
		"      \"options\": [\"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", \"mode=0620\"] },\n"
		"    { \"destination\": \"/tmp\", \"type\": \"tmpfs\", \"source\": \"tmpfs\" } ],\n"
		"  \"linux\": {\n"
		"    \"uidMappings\": [{ \"containerID\": 0, \"hostID\": %u, \"size\": 1 }],\n"
		"    \"gidMappings\": [{ \"containerID\": 0, \"hostID\": %u, \"size\": 1 }],\n"
		"    \"namespaces\": [ { \"type\": \"user\" }, { \"type\": \"mount\" }, { \"type\": \"pid\" },\n"
		"      { \"type\": \"uts\" }, { \"type\": \"ipc\" }, { \"type\": \"network\" } ] } }\n",
		bench.rootfs, geteuid(), getegid());
	fclose(file);
}

/* A word of a peer's argv with what is to stand in it. */
static const char *put_in(const char *word, char *text, size_t size)
{
	const char *const places[][2] = { { "ROOTFS", bench.rootfs }, { "BUNDLE", bench.bundle } };
	static unsigned int containers;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const char *place = strstr(word, places[i][0]);

		if (!place)
			continue;
		snprintf(text, size, "%.*s%s%s", (int)(place - word), word, places[i][1], place + strlen(places[i][0]));
		return text;
	}
	if (strcmp(word, "ID") != 0)
		return word;
	snprintf(text, size, "bench-%d-%u", getpid(), __atomic_add_fetch(&containers, 1, __ATOMIC_RELAXED));
	return text;
}

const char *const *peer_argv(const struct peer *peer, const char *const *program)
{
	static _Thread_local const char *argv[PEER_WORDS + 2];
	static _Thread_local char texts[PEER_WORDS][512];
	size_t count = 0;

	for (size_t i = 0; peer->words[i]; i++) {
		if (strcmp(peer->words[i], "PROGRAM") != 0)
			argv[count++] = put_in(peer->words[i], texts[i], sizeof(texts[i]));
		else
			for (size_t j = 0; program[j]; j++)
				argv[count++] = program[j];
	}
	argv[count] = NULL;
	return argv;
}

void peer_run_true(const struct peer *peer)
{
	if (!spawn_and_wait(peer_argv(peer, true_in_guest)))
		die(peer->name, NULL);
}

/* NULL if it works, else why not: the first line that it says. */
static const char *try_it(const struct peer *peer)
{
	static char said[120];
	int output, status = -1;
	pid_t pid = spawn(peer_argv(peer, true_in_guest), NULL, &output);
	ssize_t got;

	if (pid < 0)
		return errno == ENOENT ? "not installed" : strerror(errno);
	got = read(output, said, sizeof(said) - 1);
	close(output);
	waitpid(pid, &status, 0);
	said[got > 0 ? got : 0] = '\0';
	said[strcspn(said, "\n")] = '\0';
	if (status == 0)
		return NULL;
	return said[0] ? said : "it fails and does not say why";
}

struct peer *peers_all(void)
{
	static int tried;

	if (tried)
		return peers;
	tried = 1;
	write_bundle();
	for (struct peer *peer = peers; peer->name; peer++) {
		const char *reason = try_it(peer);

		peer->works = !reason;
		if (reason)
			printf("without %s: %s\n", peer->name, reason);
	}
	return peers;
}

const struct peer *peers_find(const char *name)
{
	const struct peer *peer = peers_all();

	while (peer->name && strcmp(peer->name, name) != 0)
		peer++;
	return peer->works ? peer : NULL;
}
