/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O thread's event loop, over epoll. Watches are found again by descriptor and serial number when epoll reports
 * them: one that was removed since, even by an earlier callback of the same batch, is not called. Callbacks run without
 * the lock.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "machine/loop.h"

#define BATCH 16

struct watch {
	int fd;
	u32 serial;
	void (*fn)(void *arg, u32 events);
	void *arg;
};

struct loop {
	int epoll, wake;
	atomic_bool quit;
	pthread_mutex_t lock; /* what follows */
	struct watch *watches;
	unsigned count;
	u32 serial;
};

static u64 watch_key(const struct watch *w)
{
	return (u64)w->serial << 32 | (u32)w->fd;
}

struct loop *loop_new(struct error *err)
{
	struct loop *l = calloc(1, sizeof(*l));
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = ~0ull };

	if (!l) {
		error_set(err, ENOMEM, "no memory for the event loop");
		return NULL;
	}
	pthread_mutex_init(&l->lock, NULL);
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll < 0 || l->wake < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &ev) < 0) {
		error_set(err, errno, "cannot make an event loop: %s", strerror(errno));
		loop_free(l);
		return NULL;
	}
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->epoll >= 0)
		close(l->epoll);
	if (l->wake >= 0)
		close(l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l->watches);
	free(l);
}

static struct watch *find(struct loop *l, int fd)
{
	for (unsigned i = 0; i < l->count; i++)
		if (l->watches[i].fd == fd)
			return &l->watches[i];
	return NULL;
}

static int add(struct loop *l, struct watch *w, u32 events, struct error *err)
{
	struct epoll_event ev = { .events = events };
	struct watch *grown;

	if (find(l, w->fd))
		return error_set(err, EEXIST, "file descriptor %d is watched already", w->fd);
	grown = realloc(l->watches, (l->count + 1) * sizeof(*grown));
	if (!grown)
		return error_set(err, ENOMEM, "no memory to watch a file descriptor");
	l->watches = grown;
	w->serial = l->serial++ & 0x7fffffff; /* a key never equals that of the wake-up */
	ev.data.u64 = watch_key(w);
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, w->fd, &ev) < 0)
		return error_set(err, errno, "cannot watch file descriptor %d: %s", w->fd, strerror(errno));
	grown[l->count++] = *w;
	return 0;
}

int loop_watch(struct loop *l, int fd, u32 events, void (*fn)(void *arg, u32 events), void *arg, struct error *err)
{
	struct watch w = { .fd = fd, .fn = fn, .arg = arg };
	int r;

	pthread_mutex_lock(&l->lock);
	r = add(l, &w, events, err);
	pthread_mutex_unlock(&l->lock);
	return r;
}

void loop_rewatch(struct loop *l, int fd, u32 events)
{
	struct epoll_event ev = { .events = events };
	struct watch *w;

	pthread_mutex_lock(&l->lock);
	w = find(l, fd);
	if (w) {
		ev.data.u64 = watch_key(w);
		epoll_ctl(l->epoll, EPOLL_CTL_MOD, fd, &ev);
	}
	pthread_mutex_unlock(&l->lock);
}

void loop_unwatch(struct loop *l, int fd)
{
	struct watch *w;

	pthread_mutex_lock(&l->lock);
	w = find(l, fd);
	if (w) {
		epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL);
		*w = l->watches[--l->count];
	}
	pthread_mutex_unlock(&l->lock);
}

static void dispatch(struct loop *l, const struct epoll_event *ev)
{
	struct watch w = { 0 }, *found;

	pthread_mutex_lock(&l->lock);
	found = find(l, (int)(u32)ev->data.u64);
	if (found && watch_key(found) == ev->data.u64)
		w = *found;
	pthread_mutex_unlock(&l->lock);
	if (w.fn)
		w.fn(w.arg, ev->events);
}

void loop_run(struct loop *l)
{
	struct epoll_event ev[BATCH];

	while (!atomic_load(&l->quit)) {
		int n = epoll_wait(l->epoll, ev, BATCH, -1);
		for (int i = 0; i < n && !atomic_load(&l->quit); i++)
			dispatch(l, &ev[i]);
	}
	atomic_store(&l->quit, false); /* it may run again */
}

void loop_quit(struct loop *l)
{
	u64 one = 1;

	atomic_store(&l->quit, true);
	/* A full counter is readable as well: nothing to do about a failure. */
	if (write(l->wake, &one, sizeof(one)) < 0)
		return;
}
