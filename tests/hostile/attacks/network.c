// SPDX-License-Identifier: MIT
/* The host by the network: its loopback (argv[1] is a port), abstract sockets (argv[2]), raw and odd sockets. */
#include "attack.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in port = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in world = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x08080808) };
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int tcp = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);

	port.sin_port = htons((unsigned short)(argc > 1 ? atoi(argv[1]) : 1));
	strncpy(name.sun_path + 1, argc > 2 ? argv[2] : "none", sizeof(name.sun_path) - 2);
	MUST_FAIL("loopback of the host", connect(tcp, (struct sockaddr *)&port, sizeof(port)));
	MUST_FAIL("the world", connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&world, sizeof(world)));
	MUST_FAIL("abstract socket of the host",
		  connect(local, (struct sockaddr *)&name,
			  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name.sun_path + 1))));
	MUST_FAIL("raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	MUST_FAIL("packet", socket(AF_PACKET, SOCK_RAW, 0));
	MUST_FAIL("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	MUST_FAIL("alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
	MUST_FAIL("xdp", socket(44, SOCK_RAW, 0));
	MUST_FAIL("bluetooth", socket(31, SOCK_RAW, 1));
	return attack_succeeded;
}
