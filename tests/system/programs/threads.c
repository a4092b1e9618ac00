/* SPDX-License-Identifier: Apache-2.0 */
/* Threads at work on shared data: mutex, condition, barrier, atomics, thread-local data, cancellation. Prints sums that no
 * interleaving changes. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS	2000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static atomic_ulong counted, exchanged;
static unsigned long locked, turn;
static __thread unsigned long mine;
static unsigned long shares[THREADS];

static void *work(void *arg)
{
	uintptr_t id = (uintptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		unsigned long seen = atomic_load(&exchanged);

		atomic_fetch_add(&counted, id + 1);
		while (!atomic_compare_exchange_weak(&exchanged, &seen, seen + i))
			;
		pthread_mutex_lock(&lock);
		locked += id;
		pthread_mutex_unlock(&lock);
		mine += i ^ id;
	}
	shares[id] = mine;
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 20; i++) { /* pass a token round */
		pthread_mutex_lock(&lock);
		while (turn % THREADS != id)
			pthread_cond_wait(&turned, &lock);
		turn++;
		pthread_cond_broadcast(&turned);
		pthread_mutex_unlock(&lock);
	}
	return (void *)(id * id);
}

static void *wait_for_ever(void *arg)
{
	for (;;)
		pause();
	return NULL;
}

int main(void)
{
	pthread_t t[THREADS], sleeper;
	unsigned long returned = 0;
	void *r;

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, work, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], &r);
		returned += (uintptr_t)r;
	}
	printf("counted %lu exchanged %lu locked %lu turn %lu returned %lu\n", counted, exchanged, locked, turn,
	       returned);
	for (int i = 0; i < THREADS; i++)
		printf("share %d %lu\n", i, shares[i]);
	pthread_create(&sleeper, NULL, wait_for_ever, NULL);
	pthread_cancel(sleeper);
	pthread_join(sleeper, &r);
	printf("cancelled %d\n", r == PTHREAD_CANCELED);
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();
		int status = 0;

		if (!pid)
			_exit(i * 3);
		waitpid(pid, &status, 0);
		printf("child %d\n", WEXITSTATUS(status));
	}
	return 0;
}
