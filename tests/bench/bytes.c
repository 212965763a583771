// SPDX-License-Identifier: MIT
/*
 * bytes write N: write N bytes. bytes read: read stdin to its end. bytes idle: write a byte, to be seen to have
 * started, then as read. Linked statically: it runs on the host and in guests.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[65536];

static int write_bytes(unsigned long long left)
{
	while (left > 0) {
		ssize_t done = write(1, buffer, left < sizeof(buffer) ? (size_t)left : sizeof(buffer));

		if (done < 0)
			return 1;
		left -= (unsigned long long)done;
	}
	return 0;
}

static int read_all(void)
{
	ssize_t done;

	while ((done = read(0, buffer, sizeof(buffer))) > 0)
		;
	return done < 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "write") == 0)
		return write_bytes(strtoull(argv[2], NULL, 10));
	if (argc == 2 && strcmp(argv[1], "read") == 0)
		return read_all();
	if (argc == 2 && strcmp(argv[1], "idle") == 0)
		return write_bytes(1) || read_all();
	return 2;
}
