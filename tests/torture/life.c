// SPDX-License-Identifier: MIT
#include "life.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocation.h"
#include "support.h"

#define CALL_S 15 /* a call may take so long when something fails */
#define WITNESS "/opt/witness"
#define ODD_ERRNO 1234
#define INPUT "all of the input\n"

static const char *where(const struct life *life)
{
	return life->call ? life->call : "before the first call";
}

void life_end(struct life *life, const char *format, ...)
{
	va_list args;

	allocation_arm(false);
	allocation_end_copy();
	va_start(args, format);
	vsnprintf(life->complaint, sizeof(life->complaint), format, args);
	va_end(args);
	_exit(1);
}

/* A call under way. */
struct call {
	struct life *life;
	bool may_fail;
	int expected; /* an error that is none; or 0 */
	uint64_t began;
	struct guest_error err;
};

static struct call begin(struct life *life, bool may_fail, const char *name)
{
	struct call call = { .life = life, .may_fail = may_fail, .began = now_ns(), .err.size = sizeof(call.err) };

	life->call = name;
	errno = ODD_ERRNO;
	allocation_arm(may_fail);
	__atomic_store_n(&life->armed, may_fail, __ATOMIC_SEQ_CST);
	return call;
}

static void end(struct call *call, int r)
{
	struct life *life = call->life;
	const struct guest_error *err = &call->err;

	__atomic_store_n(&life->armed, 0, __ATOMIC_SEQ_CST);
	allocation_arm(false);
	if (errno != ODD_ERRNO)
		life_end(life, "%s has changed errno to %d", life->call, errno);
	if (now_ns() - call->began > CALL_S * SECOND)
		life_end(life, "%s took %d s: %d, %s", life->call, (int)((now_ns() - call->began) / SECOND), r,
			 err->message);
	if (r >= 0)
		return;
	if (!call->may_fail && r != call->expected)
		life_end(life, "%s fails: %d, %s", life->call, r, err->message);
	if (err->code != r || !err->message[0] || err->stage == GUEST_STAGE_NONE ||
	    strcmp(guest_stage_name(err->stage), "unknown") == 0)
		life_end(life, "%s returns %d; the error has code %d, stage %d, message \"%s\"", life->call, r,
			 err->code, err->stage, err->message);
	life->errors += r != call->expected;
}

static struct guest *make(struct life *life, bool may_fail)
{
	const struct guest_mount mounts[] = {
		mount_of(GUEST_MOUNT_BIND, test_program("witness"), WITNESS, "ro"),
		mount_of(GUEST_MOUNT_BIND, "/etc/hostname", "/etc/of-the-host", "ro,noexec"),
		mount_of(GUEST_MOUNT_TMPFS, NULL, "/mnt/tmp", "size=1m,mode=700,noexec"),
	};
	struct guest_config config = config_default();
	struct guest *const nothing = (struct guest *)&config, *guest = nothing;
	struct call call;
	int r;

	config.rootfs_path = life->scene.rootfs_path;
	config.mounts = mounts;
	config.mounts_count = sizeof(mounts) / sizeof(mounts[0]);
	config.capabilities = "cap_chown,cap_kill=ep";
	config.hostname = "tortured";
	if (life->scene.limits) {
		config.flags = GUEST_CGROUP | GUEST_BEST_EFFORT;
		config.memory_bytes = 256 << 20;
		config.pids_max = 100;
		config.cpu_weight = 50;
		config.budget_cpu_ns = 1000 * SECOND;
	}
	call = begin(life, may_fail, "guest_init");
	r = guest_init(&guest, &config, &call.err);
	end(&call, r);
	if ((r < 0) != (guest == nothing))
		life_end(life, "guest_init returns %d, and has touched the handle or not", r);
	return r < 0 ? NULL : guest;
}

static int count_output(void *user_data, uint32_t stream, const void *data, size_t size)
{
	(void)stream, (void)data;
	*(size_t *)user_data += size;
	return 0;
}

/* Run a command, and see that a failure leaves the result alone. */
static int run_one(struct life *life, bool may_fail, struct guest *guest, const char *name,
		   const struct guest_command *command, struct guest_result *result, int expected)
{
	struct guest_result same;
	struct call call;
	int r;

	memset(result, 0x5a, sizeof(*result));
	result->size = sizeof(*result);
	same = *result;
	call = begin(life, may_fail, name);
	call.expected = expected;
	r = guest_run(guest, command, result, &call.err);
	end(&call, r);
	if (r == -EPIPE && result->cause == GUEST_LOST) { /* the one error with which there is a result */
		guest_result_clear(result);
		return r;
	}
	if (r < 0 && memcmp(result, &same, sizeof(same)) != 0)
		life_end(life, "%s returns %d and has touched the result", name, r);
	return r;
}

static bool was_killed(const struct life *life, const struct guest_result *result)
{
	return life->may_kill && result->cause == GUEST_SIGNALED && result->term_signal == SIGKILL;
}

static void compare(struct life *life, const struct guest_result *result, size_t handed_out)
{
	size_t at = 0;

	if (result->cause != GUEST_EXITED || result->exit_code != 3 || result->stderr_size > 0)
		life_end(life, "the witness: %s, exit code %d, signal %d, stderr \"%.500s\"",
			 guest_cause_name(result->cause), result->exit_code, result->term_signal, result->stderr_data);
	if (handed_out != result->stdout_size || strlen(result->stdout_data) != result->stdout_size)
		life_end(life, "of %d bytes of output %d were handed out", (int)result->stdout_size, (int)handed_out);
	if (life->starved)
		return;
	if (!life->testimony[0])
		snprintf(life->testimony, sizeof(life->testimony), "%s", result->stdout_data);
	while (life->testimony[at] && life->testimony[at] == result->stdout_data[at])
		at++;
	if (life->testimony[at] == result->stdout_data[at])
		return;
	while (at > 0 && life->testimony[at - 1] != '\n')
		at--;
	life_end(life, "the witness says \"%.*s\", and where nothing fails \"%.*s\"",
		 (int)strcspn(result->stdout_data + at, "\n"), result->stdout_data + at,
		 (int)strcspn(life->testimony + at, "\n"), life->testimony + at);
}

/* Input, much output, and strings too long for a message. */
static int hear_witness(struct life *life, bool may_fail, struct guest *guest)
{
	static char variable[20000];
	struct guest_command command = command_of(ARGV(WITNESS));
	struct guest_result result;
	size_t handed_out = 0;
	int r;

	memset(variable, 'x', sizeof(variable) - 1);
	command.envp = (const char *const[]){ variable, NULL };
	command.stdin_data = INPUT;
	command.stdin_size = strlen(INPUT);
	command.on_output = count_output;
	command.user_data = &handed_out;
	command.timeout_ns = 100 * SECOND;
	r = run_one(life, may_fail, guest, "guest_run of the witness", &command, &result, 0);
	if (r < 0)
		return r;
	if (!was_killed(life, &result))
		compare(life, &result, handed_out);
	guest_result_clear(&result);
	return 0;
}

/* A time-out, and fds of the host. */
static int wait_in_vain(struct life *life, bool may_fail, struct guest *guest)
{
	struct guest_command command = command_of(ARGV(WITNESS, "sleep"));
	struct guest_result result;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), r;

	command.stdin_fd = command.stderr_fd = null;
	command.timeout_ns = 5 * MILLISECOND;
	r = run_one(life, may_fail, guest, "guest_run with a time-out", &command, &result, 0);
	if (null >= 0)
		close(null);
	if (r < 0)
		return r;
	if (result.cause != GUEST_TIMED_OUT && !was_killed(life, &result))
		life_end(life, "waiting in vain: %s, exit code %d", guest_cause_name(result.cause), result.exit_code);
	guest_result_clear(&result);
	return 0;
}

/* So much input that it is sent while it is read: all of it arrives, or the call fails. */
static int count_input(struct life *life, bool may_fail, struct guest *guest)
{
	static const char data[1200000];
	struct guest_command command = command_of(ARGV(WITNESS, "count"));
	struct guest_result result;
	int r;

	command.stdin_data = data;
	command.stdin_size = sizeof(data);
	command.timeout_ns = 100 * SECOND;
	r = run_one(life, may_fail, guest, "guest_run with large input", &command, &result, 0);
	if (r < 0)
		return r;
	if (!was_killed(life, &result) &&
	    (strcmp(result.stdout_data, "1200000\n") != 0 || result.stdin_bytes != sizeof(data)))
		life_end(life, "of large input the command has read %s, %d are told", result.stdout_data,
			 (int)result.stdin_bytes);
	guest_result_clear(&result);
	return 0;
}

static int run_nothing(struct life *life, bool may_fail, struct guest *guest)
{
	struct guest_command command = command_of(ARGV("/nothing"));
	struct guest_result result;
	int r = run_one(life, may_fail, guest, "guest_run of nothing", &command, &result, -ENOENT);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!was_killed(life, &result))
		life_end(life, "nothing has been run");
	guest_result_clear(&result);
	return 0;
}

static int change_limits(struct life *life, bool may_fail, struct guest *guest)
{
	struct guest_info info = { .size = sizeof(info) };
	struct guest_limits limits;
	struct call call;
	int r;

	guest_limits_init(&limits, sizeof(limits));
	limits.memory_bytes = 200 << 20;
	limits.pids_max = 100;
	call = begin(life, may_fail, "guest_set_limits");
	r = guest_set_limits(guest, &limits, &call.err);
	end(&call, r);
	if (r < 0)
		return r;
	call = begin(life, may_fail, "guest_info");
	r = guest_info(guest, &info, &call.err);
	end(&call, r);
	if (r == 0 && (info.memory_bytes != 200 << 20 || info.memory_enforced == GUEST_ENFORCED_NOT ||
		       info.pids_enforced == GUEST_ENFORCED_NOT))
		life_end(life, "limits are %d bytes, by %s, and processes by %s", (int)info.memory_bytes,
			 guest_enforcer_name(info.memory_enforced), guest_enforcer_name(info.pids_enforced));
	return r;
}

/* These say that the guest is lost; after any other error it must be in order. */
static bool is_lost(int r)
{
	return r == -EPIPE || r == -EIO || r == -ETIMEDOUT || r == -ENOTRECOVERABLE;
}

/* With limits of its own, on a guest that is paused meanwhile. */
static int spawn_one(struct life *life, bool may_fail, struct guest *guest)
{
	struct guest_command command = command_of(ARGV(WITNESS, "sleep"));
	struct guest_result result = { .size = sizeof(result) };
	struct guest_process *process = NULL;
	struct call call;
	int r, paused;

	command.memory_bytes = 64 << 20;
	command.pids_max = 50;
	command.cpu_quota = 500;
	call = begin(life, may_fail, "guest_spawn");
	r = guest_spawn(guest, &command, &process, &call.err);
	end(&call, r);
	if (r < 0)
		return r;
	call = begin(life, may_fail, "guest_pause");
	paused = guest_pause(guest, &call.err);
	end(&call, paused);
	call = begin(life, false, "guest_resume");
	call.expected = -EPIPE;
	end(&call, guest_resume(guest, &call.err));
	call = begin(life, may_fail, "guest_cancel");
	call.expected = -ESRCH; /* it may have been killed */
	r = guest_cancel(process, &call.err);
	end(&call, r);
	call = begin(life, may_fail, "guest_wait");
	r = guest_wait(process, r == 0 || r == -ESRCH ? UINT64_MAX : 0, &result, &call.err);
	end(&call, r);
	if (r == 0 && result.cause != GUEST_CANCELLED && !was_killed(life, &result))
		life_end(life, "a cancelled command: %s", guest_cause_name(result.cause));
	guest_result_clear(&result);
	guest_process_free(process);
	return is_lost(paused) ? paused : r == -ETIMEDOUT ? 0 : r;
}

static void use(struct life *life, bool may_fail, struct guest *guest)
{
	int (*const uses[])(struct life *, bool, struct guest *) = { hear_witness,  wait_in_vain, run_nothing,
								     change_limits, count_input,  spawn_one };
	bool lost = false;

	for (size_t i = 0; i < (life->scene.limits ? 6 : 3); i++) {
		int r = uses[i](life, may_fail, guest);

		lost |= is_lost(r);
		if (r < 0 && !lost && !life->starved && hear_witness(life, false, guest) < 0)
			return;
	}
}

static int count_finding(void *user_data, const struct guest_finding *finding)
{
	*(int *)user_data += finding->status == GUEST_FINDING_FAILED;
	return 0;
}

static void consult(struct life *life, bool may_fail)
{
	struct call call = begin(life, may_fail, "guest_doctor");
	int failed = 0, r = guest_doctor(count_finding, &failed, &call.err);

	end(&call, r);
	if (r >= 0 && r != failed)
		life_end(life, "guest_doctor returns %d, of %d findings", r, failed);
	if (r > 0 && !may_fail)
		life_end(life, "guest_doctor finds that guests do not work");
	life->errors += r > 0;
}

void life_lead(struct life *life, bool may_fail)
{
	struct guest *guest = NULL;
	struct call call;
	int r;

	if (life->scene.doctor)
		consult(life, may_fail);
	else
		guest = make(life, may_fail);
	if (guest)
		use(life, may_fail, guest);
	call = begin(life, may_fail, "guest_shutdown");
	r = guest_shutdown(guest, &call.err);
	end(&call, r);
	call = begin(life, may_fail, "guest_trim");
	r = guest_trim(&call.err);
	end(&call, r);
	life->call = "after the last call";
	allocation_end_copy();
}

static int count_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void lead_failing(struct life *life)
{
	life_lead(life, true);
	life->hit = allocation_failures() > 0;
}

void life_lead_both(struct life *life)
{
	life_lead_after(life, lead_failing);
}

void life_lead_after(struct life *life, void (*odd)(struct life *life))
{
	long blocks = allocation_live();
	int fds = count_fds();

	odd(life);
	life->starved = false;
	life_lead(life, false);
	blocks = allocation_live() - blocks;
	if (count_fds() != fds)
		life_end(life, "%d fds are left", count_fds() - fds);
	errno = 0;
	if (waitpid(-1, NULL, WNOHANG | __WALL) != -1 || errno != ECHILD)
		life_end(life, "a child is left");
	if (!life->counted)
		life->blocks = blocks;
	life->counted = true;
	if (life->blocks != blocks && !life->threads)
		life_end(life, "%ld blocks of memory are left, and where nothing fails %ld", blocks, life->blocks);
}

pid_t life_start(struct life *life, void (*lead)(struct life *life))
{
	pid_t pid;

	life->call = NULL;
	life->armed = 0;
	life->errors = life->worked = 0;
	life->complaint[0] = '\0';
	fflush(NULL);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	for (int fd = 0; life->scene.without_stdio && fd < 3; fd++)
		close(fd);
	lead(life);
	_exit(0);
}

const char *life_judge(const struct life *life, int status)
{
	static char words[sizeof(life->complaint) + 64];

	if (status == 0)
		return NULL;
	if (WIFEXITED(status) && life->complaint[0])
		snprintf(words, sizeof(words), "%s", life->complaint);
	else
		snprintf(words, sizeof(words), "ends with status %#x in %s", (unsigned int)status, where(life));
	return words;
}

const char *life_hangs(const struct life *life, pid_t pid)
{
	static char words[128];

	snprintf(words, sizeof(words), "hangs in %s", where(life));
	kill(pid, SIGKILL);
	return words;
}

const char *life_wait(struct life *life, pid_t pid)
{
	uint64_t deadline = now_ns() + LIFE_HANGS_S * SECOND;
	const char *hangs = NULL;
	int status = 0;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (!hangs && now_ns() > deadline)
			hangs = life_hangs(life, pid);
		usleep(500);
	}
	return hangs ? hangs : life_judge(life, status);
}

void life_in_child(struct life *life, void (*lead)(struct life *life))
{
	const char *wrong = life_wait(life, life_start(life, lead));

	ck_assert_msg(!wrong, "%s: %s", life->scene.name, wrong);
}

struct life *life_new(const struct life_scene *scene)
{
	struct life *life = mmap(NULL, sizeof(*life), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(life, MAP_FAILED);
	life->scene = *scene;
	life_in_child(life, life_lead_both);
	ck_assert_msg(life->errors == 0, "%s: fails although nothing else does", scene->name);
	return life;
}

void life_free(struct life *life)
{
	munmap(life, sizeof(*life));
}
