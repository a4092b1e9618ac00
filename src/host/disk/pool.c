/* SPDX-License-Identifier: Apache-2.0 */
/* Threads for blocking work: see pool.h. The queue needs no bound of its own: requests are memory of the front end's. */
#include "host/disk/pool.h"

#include <errno.h>
#include <stdlib.h>

#include "host/disk/request.h"

#define POOL_THREADS 8

struct pool {
	void (*work)(void *arg, struct disk_request *r);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct request_list queue;
	unsigned queued, idle, threads;
	bool stop;
	pthread_t thread[POOL_THREADS];
};

static void *worker(void *arg)
{
	struct pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct disk_request *r = request_list_take(&p->queue);

		if (r) {
			p->queued--;
			pthread_mutex_unlock(&p->lock);
			p->work(p->arg, r);
			pthread_mutex_lock(&p->lock);
			continue;
		}
		if (p->stop)
			break;
		p->idle++;
		pthread_cond_wait(&p->wake, &p->lock);
		p->idle--;
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* The lock is held. One more thread may fail as long as there is one. */
static int add_thread(struct pool *p)
{
	int e = thread_start(&p->thread[p->threads], worker, p);

	if (!e)
		p->threads++;
	return e;
}

struct pool *pool_new(void (*work)(void *arg, struct disk_request *r), void *arg, struct error *err)
{
	struct pool *p = calloc(1, sizeof(*p));
	int e;

	if (!p) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	p->work = work;
	p->arg = arg;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	e = add_thread(p);
	if (e) {
		error_set(err, e, "cannot start a thread for a disk");
		pool_free(p);
		return NULL;
	}
	return p;
}

void pool_submit(struct pool *p, struct disk_request *r)
{
	pthread_mutex_lock(&p->lock);
	request_list_add(&p->queue, r);
	p->queued++;
	if (p->queued > p->idle && p->threads < POOL_THREADS)
		add_thread(p);
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->threads; i++)
		pthread_join(p->thread[i], NULL);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
