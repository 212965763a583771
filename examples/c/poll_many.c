// SPDX-License-Identifier: MIT
/* Programs that run at once, each with limits of its own, and one poll(2) for the ends of all. */
#include <guest/guest.h>
#include <poll.h>
#include <stdio.h>

#define COUNT 4

static const char *const programs[COUNT] = {
	"print(sum(range(1000000)))",
	"while True: pass",
	"import time; hoard = bytearray(1 << 28); time.sleep(60)",
	"import time; time.sleep(60)",
};

int main(void)
{
	struct guest_result result = { .size = sizeof(result) };
	struct guest_error err = { .size = sizeof(err) };
	struct guest_process *processes[COUNT];
	struct pollfd fds[COUNT];
	struct guest_command command;
	struct guest *guest;

	guest_command_init(&command, sizeof(command));
	command.memory_bytes = 64 << 20;
	command.cpu_time_ns = 500000000; /* half a second */
	command.timeout_ns = 2000000000; /* two seconds */
	if (guest_init(&guest, NULL, &err) < 0)
		return fprintf(stderr, "%s\n", err.message), 1;
	for (int i = 0; i < COUNT; i++) {
		const char *argv[] = { "python3", "-c", programs[i], NULL };

		command.argv = argv; /* read during the call only */
		if (guest_spawn(guest, &command, &processes[i], &err) < 0)
			return fprintf(stderr, "%s\n", err.message), 1;
		fds[i] = (struct pollfd){ guest_process_fd(processes[i]), POLLIN, 0 };
	}
	for (int left = COUNT; left > 0 && poll(fds, COUNT, -1) > 0;) {
		for (int i = 0; i < COUNT; i++) {
			if (!fds[i].revents)
				continue;
			if (guest_wait(processes[i], 0, &result, &err) == 0)
				printf("%-14s %s\n", guest_cause_name(result.cause), programs[i]);
			guest_result_clear(&result);
			guest_process_free(processes[i]);
			fds[i].fd = -1; /* poll(2) passes over it */
			left--;
		}
	}
	return guest_shutdown(guest, &err) < 0;
}
