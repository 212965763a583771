// SPDX-License-Identifier: MIT
/*
 * Whole lives of the library in which something fails: the n-th allocation, the n-th system call of each of its
 * processes, for every n; and in hosts that are short of something or never leave it in peace. Each call must then
 * return in time, with an error that says something or a result that is true; the next guest must work; nothing may be
 * left.
 *
 *   GUEST_TORTURE=all           every case, which takes a quarter of an hour, and many with the embedded rootfs; else
 *                               as many of them as there is time for
 *   GUEST_TORTURE=SEED          nearly the same choice again (lives differ by a call or two)
 *   GUEST_TORTURE=SCENE/CASE    only the cases whose names begin so, as a failure names them
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocation.h"
#include "inject.h"
#include "life.h"
#include "support.h"

#define TIMEOUT 20000
#define SYSTEM_CALLS_S 8 /* for each scene, in the short form */
#define EMBEDDED_S 300	 /* with the embedded rootfs, in the long one: it has to be unpacked for each case */
#define CASES_LEAST 3
#define COMPLAINTS 20 /* then it is enough */

static const char *wanted(void)
{
	const char *value = getenv("GUEST_TORTURE");

	return value ? value : "";
}

static bool want_all(void)
{
	return strcmp(wanted(), "all") == 0;
}

static uint32_t seed(void)
{
	static uint32_t number;

	if (!number)
		number = (uint32_t)strtoul(wanted(), NULL, 10);
	if (!number)
		number = (uint32_t)(now_ns() >> 10) | 1;
	return number;
}

/* The library does it when it needs them, and keeps them. */
static void load_libraries(void)
{
	(void)dlopen("libmount.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	(void)dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

/* A rootfs of next to nothing; its path is too long for a message that has not grown. */
static struct life_scene scene_of(const char *name)
{
	static char long_path[2048], archive[512];
	struct life_scene scene = { .name = name };
	char component[201], command[8192];

	load_libraries();
	if (strcmp(name, "embedded") == 0)
		return scene;
	memset(component, 'x', 200);
	component[200] = '\0';
	snprintf(long_path, sizeof(long_path), "%s/%s/%s/%s/%s/%s/%s/root", scratch(NULL), component, component,
		 component, component, component, component);
	snprintf(archive, sizeof(archive), "%s", scratch("root.tar"));
	snprintf(command, sizeof(command), "mkdir -p %s && cp -a %s/. %s && tar -C %s -cf %s .", long_path,
		 tiny_rootfs(), long_path, long_path, archive);
	on_host(command);
	scene.is_directory = strcmp(name, "archive") != 0;
	scene.rootfs_path = scene.is_directory ? long_path : archive;
	return scene;
}

static struct life_scene limits_scene(void)
{
	struct life_scene scene = scene_of("directory");

	scene.name = "limits";
	scene.limits = true;
	return scene;
}

static struct life_scene doctor_scene(void)
{
	load_libraries();
	return (struct life_scene){ .name = "doctor", .doctor = true };
}

static void lead_with_failing_allocation(struct life *life)
{
	allocation_fail(life->number, (enum allocation_fate)life->fate);
	life_lead_both(life);
}

/* Each `step`-th. */
static void fail_allocations(const struct life_scene *scene, enum allocation_fate fate, unsigned int step)
{
	static const char *const fates[] = { "fails", "and all others fail", "fails, with a copy of the host" };
	struct life *life = life_new(scene);
	unsigned int errors = 0;
	const char *wrong;

	life->number = 1 + seed() % step;
	life->fate = fate;
	for (;; life->number += step) {
		life->hit = false;
		wrong = life_wait(life, life_start(life, lead_with_failing_allocation));
		errors += life->errors > 0;
		ck_assert_msg(!wrong, "%s: allocation %lu %s: %s", scene->name, life->number, fates[fate], wrong);
		if (!life->hit)
			break;
	}
	printf("%s: each of %lu allocations %s: %u errors\n", scene->name, life->number / step, fates[fate], errors);
	fflush(stdout);
	if (step == 1)
		ck_assert_uint_gt(errors, 0);
	life_free(life);
}

static void fail_allocations_of(struct life_scene scene, unsigned int step)
{
	fail_allocations(&scene, ALLOCATION_FAILS, step);
	fail_allocations(&scene, ALLOCATION_FAILS_FOR_EVER, step);
	fail_allocations(&scene, ALLOCATION_FORKS, step);
}

START_TEST(failing_allocations_with_a_directory)
{
	fail_allocations_of(scene_of("directory"), 1);
}
END_TEST

START_TEST(failing_allocations_with_an_archive)
{
	fail_allocations_of(scene_of("archive"), 1);
}
END_TEST

START_TEST(failing_allocations_with_limits)
{
	fail_allocations_of(limits_scene(), want_all() ? 1 : 4);
}
END_TEST

START_TEST(failing_allocations_of_the_doctor)
{
	fail_allocations_of(doctor_scene(), want_all() ? 1 : 8); /* most are libmount's */
}
END_TEST

static uint32_t greatest_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Does GUEST_TORTURE name cases, and not this one? */
static bool is_unwanted(const char *name)
{
	return strchr(wanted(), '/') && strncmp(name, wanted(), strlen(wanted())) != 0;
}

static void fail_system_calls_of(struct life_scene scene)
{
	bool all = want_all() || strchr(wanted(), '/');
	struct life *life = life_new(&scene);
	const char *wrong = inject_unavailable(life);
	uint64_t seconds = !all ? SYSTEM_CALLS_S : scene.rootfs_path || scene.doctor ? TIMEOUT : EMBEDDED_S;
	uint64_t deadline = now_ns() + seconds * SECOND;
	size_t count, at, step, done = 0, hits = 0, errors = 0;
	struct inject_case *cases;
	int complaints = 0;

	SKIP_IF(wrong, "%s", wrong);
	life->testimony[0] = '\0'; /* the filter shows in it */
	cases = inject_cases(life, &count);
	at = seed() % count;
	step = seed() / 7 % count;
	while (greatest_divisor((uint32_t)step, (uint32_t)count) != 1)
		step++;
	printf("%s: GUEST_TORTURE=%u, %zu cases\n", scene.name, seed(), count);
	for (; done < count && complaints < COMPLAINTS && (done < CASES_LEAST || now_ns() < deadline);
	     done++, at = (at + step) % count) {
		char name[160];
		bool hit;

		snprintf(name, sizeof(name), "%s/%s", scene.name, inject_case_name(&cases[at]));
		if (is_unwanted(name))
			continue;
		wrong = inject_lead(life, &cases[at], &hit);
		hits += hit;
		errors += life->errors > 0;
		complaints += wrong != NULL;
		if (wrong)
			printf("%s: %s\n", name, wrong);
		fflush(stdout);
	}
	printf("%s: %zu of %zu cases, %zu came about, %zu with errors\n", scene.name, done, count, hits, errors);
	fflush(stdout);
	ck_assert_int_eq(complaints, 0);
	free(cases);
	life_free(life);
}

START_TEST(failing_system_calls_with_a_directory)
{
	fail_system_calls_of(scene_of("directory"));
}
END_TEST

START_TEST(failing_system_calls_with_an_archive)
{
	fail_system_calls_of(scene_of("archive"));
}
END_TEST

START_TEST(failing_system_calls_without_stdio)
{
	struct life_scene scene = scene_of("directory");

	scene.name = "no-stdio";
	scene.without_stdio = true;
	fail_system_calls_of(scene);
}
END_TEST

START_TEST(failing_system_calls_with_the_embedded_rootfs)
{
	fail_system_calls_of(scene_of("embedded"));
}
END_TEST

START_TEST(failing_system_calls_with_limits)
{
	fail_system_calls_of(limits_scene());
}
END_TEST

START_TEST(failing_system_calls_of_the_doctor)
{
	fail_system_calls_of(doctor_scene());
}
END_TEST

static void (*odd)(struct life *life);

static void lead_after_odd(struct life *life)
{
	life_lead_after(life, odd);
}

/* `odd` must have counted so much. */
static void be_odd(void (*what)(struct life *life), int at_least)
{
	struct life_scene scene = scene_of("archive");
	struct life *life = life_new(&scene);

	odd = what;
	life_in_child(life, lead_after_odd);
	ck_assert_int_ge(life->worked, at_least);
	life_free(life);
}

static void have_few_fds(struct life *life)
{
	struct rlimit before, low;
	int errors;

	getrlimit(RLIMIT_NOFILE, &before);
	for (rlim_t files = 4; files <= 40; files++) {
		low = (struct rlimit){ files, before.rlim_max };
		life->starved = true;
		errors = life->errors;
		setrlimit(RLIMIT_NOFILE, &low);
		life_lead(life, true);
		setrlimit(RLIMIT_NOFILE, &before);
		life->worked += life->errors == errors;
	}
}

START_TEST(few_fds)
{
	be_odd(have_few_fds, 1);
}
END_TEST

static rlim_t address_space(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file && fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* What the host may not have, its helper may: it raises its limits. */
static void have_little_memory(struct life *life)
{
	rlim_t now = address_space();
	struct rlimit before, low;
	int errors;

	getrlimit(RLIMIT_AS, &before);
	for (rlim_t more = 0; more < 4U << 20; more = more ? more * 2 : 4096) {
		low = (struct rlimit){ now + more, before.rlim_max };
		errors = life->errors;
		life->starved = true;
		setrlimit(RLIMIT_AS, &low);
		life_lead(life, true);
		setrlimit(RLIMIT_AS, &before);
		life->worked += life->errors == errors;
	}
}

START_TEST(little_address_space)
{
	be_odd(have_little_memory, 1);
}
END_TEST

#define THREADS 3
#define ROUNDS 4

static void *lead_in_thread(void *life)
{
	for (int i = 0; i < ROUNDS; i++)
		life_lead(life, false);
	return NULL;
}

static void lead_in_threads(struct life *life)
{
	pthread_t threads[THREADS];

	life->threads = true;
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, lead_in_thread, life) != 0)
			life_end(life, "pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static volatile sig_atomic_t interruptions;

static void interrupted(int sig)
{
	(void)sig;
	interruptions++;
}

/* Handlers without SA_RESTART: whatever can return EINTR does. */
static void be_interrupted(struct life *life)
{
	const struct sigaction action = { .sa_handler = interrupted };
	const struct itimerval often = { { 0, 100 }, { 0, 100 } }, never = { { 0, 0 }, { 0, 0 } };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	lead_in_threads(life);
	setitimer(ITIMER_REAL, &never, NULL);
	life->worked = interruptions;
}

START_TEST(a_storm_of_signals)
{
	be_odd(be_interrupted, 100);
}
END_TEST

static bool stop_forking;

/* A child that lives on for a while as a copy of the host, or executes `tool fds` and must find its stdio only. */
static void fork_once(struct life *life, bool execute)
{
	char said[256] = "";
	int ends[2], status;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		life_end(life, "pipe2: %s", strerror(errno));
	pid = fork();
	if (pid == 0 && execute) {
		dup2(ends[1], 1);
		execl(test_program("tool"), "tool", "fds", NULL);
	}
	if (pid == 0) {
		usleep(20000);
		_exit(execute);
	}
	close(ends[1]);
	(void)!read(ends[0], said, sizeof(said) - 1);
	close(ends[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		life_end(life, "a child of the host: %s", pid < 0 ? strerror(errno) : "its status");
	if (execute && strcmp(said, "0 1 2 \n") != 0)
		life_end(life, "a program that was started meanwhile has the fds %s", said);
	life->worked++;
}

static void *fork_on_and_on(void *life)
{
	for (bool execute = false; !__atomic_load_n(&stop_forking, __ATOMIC_RELAXED); execute = !execute)
		fork_once(life, execute);
	return NULL;
}

static void fork_meanwhile(struct life *life)
{
	pthread_t thread;

	for (int fd = 3; fd < 1024; fd++) /* of the test itself */
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (pthread_create(&thread, NULL, fork_on_and_on, life) != 0)
		life_end(life, "pthread_create");
	lead_in_threads(life);
	__atomic_store_n(&stop_forking, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

START_TEST(forks_and_programs_meanwhile)
{
	be_odd(fork_meanwhile, 2);
}
END_TEST

static Suite *make(void)
{
	Suite *suite = suite_create("torture");
	TCase *tcase = suite_case(suite, "allocations", TIMEOUT);

	tcase_add_test(tcase, failing_allocations_with_a_directory);
	tcase_add_test(tcase, failing_allocations_with_an_archive);
	tcase_add_test(tcase, failing_allocations_with_limits);
	tcase_add_test(tcase, failing_allocations_of_the_doctor);
	tcase = suite_case(suite, "system calls", TIMEOUT);
	tcase_add_test(tcase, failing_system_calls_with_a_directory);
	tcase_add_test(tcase, failing_system_calls_with_an_archive);
	tcase_add_test(tcase, failing_system_calls_without_stdio);
	tcase_add_test(tcase, failing_system_calls_with_the_embedded_rootfs);
	tcase_add_test(tcase, failing_system_calls_with_limits);
	tcase_add_test(tcase, failing_system_calls_of_the_doctor);
	tcase = suite_case(suite, "odd hosts", TIMEOUT);
	tcase_add_test(tcase, few_fds);
#ifdef __SANITIZE_ADDRESS__ /* which needs more of it */
	(void)little_address_space;
#else
	tcase_add_test(tcase, little_address_space);
#endif
	tcase_add_test(tcase, a_storm_of_signals);
	tcase_add_test(tcase, forks_and_programs_meanwhile);
	return suite;
}

int main(void)
{
	return suite_main(make);
}
