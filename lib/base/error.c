// SPDX-License-Identifier: MIT
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_ERRNO 4095 /* the kernel's */

static const char *const stage_names[] = {
	[GUEST_STAGE_NONE] = "none",
	[GUEST_STAGE_CONFIG] = "config",
	[GUEST_STAGE_MEMORY] = "memory",
	[GUEST_STAGE_HELPER] = "helper",
	[GUEST_STAGE_CLONE] = "clone",
	[GUEST_STAGE_UID_MAP] = "uid_map",
	[GUEST_STAGE_CREDENTIALS] = "credentials",
	[GUEST_STAGE_MOUNT] = "mount",
	[GUEST_STAGE_MOUNT_PROC] = "mount /proc",
	[GUEST_STAGE_MOUNT_OVERLAY] = "mount overlay",
	[GUEST_STAGE_MOUNT_USER] = "mounts",
	[GUEST_STAGE_PIVOT_ROOT] = "pivot_root",
	[GUEST_STAGE_HOSTNAME] = "sethostname",
	[GUEST_STAGE_NETWORK] = "network",
	[GUEST_STAGE_ROOTFS] = "rootfs",
	[GUEST_STAGE_UNPACK] = "unpack",
	[GUEST_STAGE_SECCOMP] = "seccomp",
	[GUEST_STAGE_CAPABILITIES] = "capabilities",
	[GUEST_STAGE_RLIMIT] = "rlimit",
	[GUEST_STAGE_PIPE] = "pipe",
	[GUEST_STAGE_FORK] = "fork",
	[GUEST_STAGE_CHDIR] = "chdir",
	[GUEST_STAGE_EXECVE] = "execve",
	[GUEST_STAGE_HANDLE] = "handle",
	[GUEST_STAGE_PROTOCOL] = "protocol",
	[GUEST_STAGE_CGROUP] = "cgroup",
	[GUEST_STAGE_LIMITS] = "limits",
	[GUEST_STAGE_BUDGET] = "budget",
	[GUEST_STAGE_CACHE] = "cache",
};

const char *guest_stage_name(int32_t stage)
{
	if (stage < 0 || (size_t)stage >= sizeof(stage_names) / sizeof(stage_names[0]))
		return "unknown";
	return stage_names[stage];
}

const char *error_words(int errnum)
{
#ifdef __GLIBC__
	const char *words = strerrordesc_np(errnum);

	return words ? words : "Unknown error";
#else
	return strerror(errnum); /* musl: static strings */
#endif
}

/* Names that callers, guests and archives choose may hold anything. */
static void make_one_line(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

/* snprintf() at the end of what is there; too long is cut. */
__attribute__((format(printf, 2, 0))) static void append(struct guest_error *err,
							 const char *format, va_list args)
{
	size_t used = strnlen(err->message, sizeof(err->message) - 1);

	vsnprintf(err->message + used, sizeof(err->message) - used, format, args);
	make_one_line(err->message + used);
}

__attribute__((format(printf, 2, 3))) static void add(struct guest_error *err, const char *format,
						      ...)
{
	va_list args;

	va_start(args, format);
	append(err, format, args);
	va_end(args);
}

static void begin(struct guest_error *err, int errnum, int sys_errno, int stage, const char *format,
		  va_list args)
{
	memset(err, 0, sizeof(*err));
	err->size = sizeof(*err);
	err->code = -errnum;
	err->sys_errno = sys_errno;
	err->stage = stage;
	add(err, "%s: ", guest_stage_name(stage));
	append(err, format, args);
}

int error_make(struct guest_error *err, int errnum, int stage, const char *format, ...)
{
	int saved = errno;
	va_list args;

	if (err) {
		va_start(args, format);
		begin(err, errnum, errnum, stage, format, args);
		va_end(args);
		add(err, ": %s", error_words(errnum));
	}
	errno = saved;
	return -errnum;
}

int error_text(struct guest_error *err, int errnum, int stage, const char *format, ...)
{
	int saved = errno;
	va_list args;

	if (err) {
		va_start(args, format);
		begin(err, errnum, 0, stage, format, args);
		va_end(args);
	}
	errno = saved;
	return -errnum;
}

int error_remedy(struct guest_error *err, const char *format, ...)
{
	int saved = errno;
	va_list args;

	if (!err)
		return 0;
	add(err, "; ");
	va_start(args, format);
	append(err, format, args);
	va_end(args);
	errno = saved;
	return err->code;
}

int error_take(struct guest_error *err, const struct guest_error *from)
{
	if (from->code >= 0 || from->code < -MAX_ERRNO || !from->message[0])
		return error_text(err, EPROTO, GUEST_STAGE_PROTOCOL, "an error without a reason");
	*err = *from;
	err->size = sizeof(*err);
	err->message[sizeof(err->message) - 1] = '\0';
	make_one_line(err->message);
	return err->code;
}

int error_copy_out(struct guest_error *to, const struct guest_error *from)
{
	if (to) {
		uint32_t size = to->size ? to->size : (uint32_t)sizeof(*to);
		size_t known = size < sizeof(*from) ? size : sizeof(*from);

		if (known > sizeof(size)) {
			memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size),
			       known - sizeof(size));
			if (known > offsetof(struct guest_error, message))
				((char *)to)[known - 1] = '\0';
		}
		to->size = size;
	}
	return from->code;
}
