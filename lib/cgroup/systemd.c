// SPDX-License-Identifier: MIT
#include "cgroup/systemd.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"

#define PATIENCE_NS 10000000000U

#define MANAGER "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"

/* What is used of systemd/sd-bus.h, sd-bus(3). */
struct sd_bus;
struct sd_bus_slot;
struct sd_bus_message;
struct sd_bus_error {
	const char *name, *message;
	int need_free;
};
typedef int sd_bus_handler(struct sd_bus_message *, void *, struct sd_bus_error *);

/* clang-format off */
#define SD_BUS_FUNCTIONS(f) \
	f(int, sd_bus_open_user, (struct sd_bus **)) \
	f(int, sd_bus_open_system, (struct sd_bus **)) \
	f(int, sd_bus_new, (struct sd_bus **)) \
	f(int, sd_bus_set_address, (struct sd_bus *, const char *)) \
	f(int, sd_bus_set_bus_client, (struct sd_bus *, int)) \
	f(int, sd_bus_start, (struct sd_bus *)) \
	f(void, sd_bus_close, (struct sd_bus *)) \
	f(struct sd_bus *, sd_bus_unref, (struct sd_bus *)) \
	f(int, sd_bus_get_fd, (struct sd_bus *)) \
	f(int, sd_bus_process, (struct sd_bus *, struct sd_bus_message **)) \
	f(int, sd_bus_wait, (struct sd_bus *, uint64_t)) \
	f(int, sd_bus_match_signal_async, (struct sd_bus *, struct sd_bus_slot **, const char *, \
					   const char *, const char *, const char *, \
					   sd_bus_handler *, sd_bus_handler *, void *)) \
	f(int, sd_bus_call_async, (struct sd_bus *, struct sd_bus_slot **, \
				   struct sd_bus_message *, sd_bus_handler *, void *, \
				   uint64_t)) \
	f(int, sd_bus_path_encode, (const char *, const char *, char **)) \
	f(int, sd_bus_message_new_method_call, (struct sd_bus *, struct sd_bus_message **, \
						const char *, const char *, const char *, \
						const char *)) \
	f(int, sd_bus_message_appendv, (struct sd_bus_message *, const char *, va_list)) \
	f(int, sd_bus_message_read, (struct sd_bus_message *, const char *, ...)) \
	f(int, sd_bus_message_get_errno, (struct sd_bus_message *)) \
	f(const struct sd_bus_error *, sd_bus_message_get_error, (struct sd_bus_message *)) \
	f(struct sd_bus_message *, sd_bus_message_ref, (struct sd_bus_message *)) \
	f(struct sd_bus_message *, sd_bus_message_unref, (struct sd_bus_message *))

#define DECLARE(type, name, arguments) static type (*name) arguments;
#define LOAD(type, name, arguments) \
	name = (__typeof__(name))dlsym(library, #name); \
	if (!name) \
		missing = #name " in libsystemd.so.0";
/* clang-format on */

SD_BUS_FUNCTIONS(DECLARE)

static const char *missing = "libsystemd.so.0"; /* or the last function that it lacks; or NULL */

static void load(void)
{
	void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return;
	missing = NULL;
	SD_BUS_FUNCTIONS(LOAD)
}

/* One connection, for one scope. */
struct talk {
	struct sd_bus *bus;
	const char *name;	      /* of the scope */
	uint64_t deadline;	      /* of CLOCK_MONOTONIC, in ns */
	struct sd_bus_message *reply; /* to the last call; NULL until it is there */
	char job[32];		      /* how the job that starts the scope ended; "" until then */
	char *why;
	size_t why_size;
};

__attribute__((format(printf, 3, 4))) static int fail(const struct talk *talk, int errnum,
						      const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(talk->why, talk->why_size, format, args);
	va_end(args);
	return -errnum;
}

/* Always a connection of our own: the host may use the default one. */
static int connect_bus(struct sd_bus **bus)
{
	char address[64];
	int r;

	if (geteuid() == 0)
		return sd_bus_open_system(bus);
	if (secure_getenv("DBUS_SESSION_BUS_ADDRESS") || secure_getenv("XDG_RUNTIME_DIR"))
		return sd_bus_open_user(bus);
	/* as after su(1), or in a cron job */
	snprintf(address, sizeof(address), "unix:path=/run/user/%u/bus", geteuid());
	r = sd_bus_new(bus);
	if (r >= 0)
		r = sd_bus_set_address(*bus, address);
	if (r >= 0)
		r = sd_bus_set_bus_client(*bus, 1);
	return r < 0 ? r : sd_bus_start(*bus);
}

/*
 * Is the other side where our process ids mean something? It would take a process of its own of the
 * same number otherwise. The kernel gives 0 for one that cannot be seen from here, unix(7).
 */
static bool shares_pids(struct sd_bus *bus)
{
	struct ucred peer = { 0 };
	socklen_t size = sizeof(peer);

	return getsockopt(sd_bus_get_fd(bus), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       peer.pid > 0;
}

static int open_bus(struct talk *talk)
{
	const char *whose = geteuid() == 0 ? "system" : "user";
	int r = connect_bus(&talk->bus);

	if (r < 0)
		return fail(talk, -r, "no %s bus: %s", whose, error_words(-r));
	if (!shares_pids(talk->bus))
		return fail(talk, ENOTSUP, "the %s bus is outside of this PID namespace", whose);
	return 0;
}

/* Let the connection do what it can, or wait until it can do something. */
static int step(struct talk *talk)
{
	uint64_t now = sys_now_ns();
	int r;

	if (now >= talk->deadline)
		return -ETIMEDOUT;
	r = sd_bus_process(talk->bus, NULL);
	if (r == 0)
		r = sd_bus_wait(talk->bus, (talk->deadline - now) / 1000 + 1);
	return r == -EINTR || r > 0 ? 0 : r; /* a signal handler of the host has run */
}

static int take_reply(struct sd_bus_message *message, void *data, struct sd_bus_error *error)
{
	struct talk *talk = data;

	(void)error;
	talk->reply = sd_bus_message_ref(message);
	return 0;
}

/*
 * Call a method with arguments as sd_bus_message_append(3) takes them, and wait for the reply. Not
 * with sd_bus_call(3): its time-out begins after the login, and older ones end with any signal.
 */
static int call(struct talk *talk, const char *path, const char *interface, const char *method,
		const char *types, ...)
{
	struct sd_bus_message *message = NULL;
	const struct sd_bus_error *error;
	va_list args;
	int r;

	talk->reply = sd_bus_message_unref(talk->reply);
	r = sd_bus_message_new_method_call(talk->bus, &message, MANAGER, path, interface, method);
	va_start(args, types);
	if (r >= 0)
		r = sd_bus_message_appendv(message, types, args);
	va_end(args);
	if (r >= 0)
		r = sd_bus_call_async(talk->bus, NULL, message, take_reply, talk, UINT64_MAX);
	sd_bus_message_unref(message);
	while (r >= 0 && !talk->reply)
		r = step(talk);
	if (r < 0)
		return fail(talk, -r, "%s: %s", method, error_words(-r));
	error = sd_bus_message_get_error(talk->reply);
	if (error)
		return fail(talk, sd_bus_message_get_errno(talk->reply), "%s: %s", method,
			    error->message ? error->message : error->name);
	return 0;
}

static int take_job(struct sd_bus_message *message, void *data, struct sd_bus_error *error)
{
	const char *job, *unit, *result;
	struct talk *talk = data;
	uint32_t id;

	(void)error;
	if (sd_bus_message_read(message, "uoss", &id, &job, &unit, &result) > 0 &&
	    strcmp(unit, talk->name) == 0)
		snprintf(talk->job, sizeof(talk->job), "%s", result);
	return 0;
}

static int start_scope(struct talk *talk, pid_t pid)
{
	int r;

	/* before the call, or the signal could be missed */
	r = sd_bus_match_signal_async(talk->bus, NULL, MANAGER, MANAGER_PATH, MANAGER ".Manager",
				      "JobRemoved", take_job, NULL, talk);
	if (r < 0)
		return fail(talk, -r, "JobRemoved: %s", error_words(-r));
	r = call(talk, MANAGER_PATH, MANAGER ".Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))",
		 talk->name, "fail", 4, "PIDs", "au", 1, (uint32_t)pid, "Delegate", "b", 1,
		 "CollectMode", "s", "inactive-or-failed", "Description", "s",
		 "Guests of a program", 0);
	if (r < 0)
		return r;
	while (!talk->job[0]) {
		r = step(talk);
		if (r < 0)
			return fail(talk, -r, "start of %s: %s", talk->name, error_words(-r));
	}
	if (strcmp(talk->job, "done") != 0)
		return fail(talk, EIO, "start of %s: %s", talk->name, talk->job);
	return 0;
}

/* The manager's name of the scope's cgroup; it lives as long as the reply. */
static int ask_path(struct talk *talk, const char **ret_path)
{
	cleanup_free char *unit = NULL;
	int r = sd_bus_path_encode(MANAGER_PATH "/unit", talk->name, &unit);

	if (r < 0)
		return fail(talk, -r, "%s: %s", talk->name, error_words(-r));
	r = call(talk, unit, "org.freedesktop.DBus.Properties", "Get", "ss", MANAGER ".Scope",
		 "ControlGroup");
	if (r < 0)
		return r;
	r = sd_bus_message_read(talk->reply, "v", "s", ret_path);
	return r < 0 ? fail(talk, -r, "ControlGroup of %s: %s", talk->name, error_words(-r)) : 0;
}

/* Does the kernel say so too? Not so if the manager sees another cgroup namespace. */
static bool is_in(pid_t pid, const char *path)
{
	cleanup_free char *line = NULL;
	bool found = false;
	size_t size = 0;
	char name[32];
	FILE *file;

	snprintf(name, sizeof(name), "/proc/%d/cgroup", pid);
	file = fopen(name, "re");
	if (!file)
		return false;
	while (!found && getline(&line, &size, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		found = strncmp(line, "0::", 3) == 0 && strcmp(line + 3, path) == 0;
	}
	fclose(file);
	return found;
}

static int get_scope(struct talk *talk, pid_t pid, char *path, size_t path_size)
{
	const char *found;
	int r = open_bus(talk);

	if (r == 0)
		r = start_scope(talk, pid);
	if (r == 0)
		r = ask_path(talk, &found);
	if (r < 0)
		return r;
	if (!is_in(pid, found))
		return fail(talk, EXDEV, "process %d is not in %s", pid, found);
	if (strlen(found) >= path_size)
		return fail(talk, ENAMETOOLONG, "%s", found);
	strcpy(path, found);
	return 0;
}

int cgroup_systemd_scope(const char *name, pid_t pid, char *path, size_t path_size, char *why,
			 size_t why_size)
{
	struct talk talk = {
		.name = name,
		.deadline = sys_now_ns() + PATIENCE_NS,
		.why = why,
		.why_size = why_size,
	};
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int saved = errno, r;

	pthread_once(&once, load);
	if (missing) {
		r = fail(&talk, ENOSYS, "no %s", missing);
	} else {
		r = get_scope(&talk, pid, path, path_size);
		sd_bus_message_unref(talk.reply);
		sd_bus_close(talk.bus);
		sd_bus_unref(talk.bus);
	}
	errno = saved;
	return r;
}
