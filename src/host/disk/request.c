/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: see request.h. */
#include "host/disk/request.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static u64 iov_total(const struct disk_request *r)
{
	u64 sum = 0;

	for (unsigned i = 0; i < r->iovs; i++)
		if (__builtin_add_overflow(sum, r->iov[i].iov_len, &sum))
			return ~0ull;
	return sum;
}

int request_check(const struct disk_info *info, const struct disk_request *r)
{
	if (r->op == DISK_FLUSH)
		return 0;
	if (r->op > DISK_WRITE_ZEROES || r->offset % SECTOR || r->len % SECTOR)
		return -EINVAL;
	if (r->op != DISK_READ && info->readonly)
		return -EROFS;
	if (r->len > info->size || r->offset > info->size - r->len)
		return r->op == DISK_READ ? -EINVAL : -ENOSPC;
	if ((r->op == DISK_READ || r->op == DISK_WRITE) && iov_total(r) != r->len)
		return -EINVAL;
	return 0;
}

struct iov_cursor iov_cursor_at(const struct disk_request *r, u64 offset)
{
	struct iov_cursor c = { .iov = r->iov, .left = r->iovs };

	iov_cursor_advance(&c, offset);
	return c;
}

void iov_cursor_advance(struct iov_cursor *c, u64 n)
{
	while (c->left && n >= c->iov->iov_len - c->skip) {
		n -= c->iov->iov_len - c->skip;
		c->iov++;
		c->left--;
		c->skip = 0;
	}
	c->skip += n;
}

unsigned iov_cursor_window(const struct iov_cursor *c, struct iovec *to, unsigned max, u64 limit, u64 *bytes)
{
	unsigned n = 0;
	size_t skip = c->skip;

	*bytes = 0;
	for (unsigned i = 0; i < c->left && n < max && *bytes < limit; i++, skip = 0) {
		size_t len = MIN((u64)(c->iov[i].iov_len - skip), limit - *bytes);

		if (!len)
			continue;
		to[n++] = (struct iovec){ (char *)c->iov[i].iov_base + skip, len };
		*bytes += len;
	}
	return n;
}

static size_t cursor_step(const struct iov_cursor *c, u64 n)
{
	return MIN(n, (u64)(c->iov->iov_len - c->skip));
}

void iov_cursor_fill(struct iov_cursor *c, const void *data, u64 n)
{
	const u8 *from = data;

	while (n && c->left) {
		size_t len = cursor_step(c, n);
		u8 *to = (u8 *)c->iov->iov_base + c->skip;

		if (from)
			memcpy(to, from, len);
		else
			memset(to, 0, len);
		from = from ? from + len : NULL;
		n -= len;
		iov_cursor_advance(c, len);
	}
}

void iov_cursor_take(struct iov_cursor *c, void *data, u64 n)
{
	u8 *to = data;

	while (n && c->left) {
		size_t len = cursor_step(c, n);

		memcpy(to, (u8 *)c->iov->iov_base + c->skip, len);
		to += len;
		n -= len;
		iov_cursor_advance(c, len);
	}
}

void request_list_add(struct request_list *l, struct disk_request *r)
{
	r->next = NULL;
	if (l->first)
		l->last->next = r;
	else
		l->first = r;
	l->last = r;
}

struct disk_request *request_list_take(struct request_list *l)
{
	struct disk_request *r = l->first;

	if (r)
		l->first = r->next;
	return r;
}

void request_list_join(struct request_list *l, struct request_list *more)
{
	if (!more->first)
		return;
	if (l->first)
		l->last->next = more->first;
	else
		l->first = more->first;
	l->last = more->last;
	more->first = NULL;
}

int inbox_init(struct inbox *in)
{
	*in = (struct inbox){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	if (in->fd < 0)
		return -errno;
	pthread_mutex_init(&in->lock, NULL);
	return 0;
}

void inbox_release(struct inbox *in)
{
	close(in->fd);
	pthread_mutex_destroy(&in->lock);
}

static void ring(const struct inbox *in)
{
	u64 one = 1;

	(void)!write(in->fd, &one, sizeof(one)); /* fails only when its count is full: then it is readable */
}

void inbox_put(struct inbox *in, struct disk_request *r)
{
	bool first;

	pthread_mutex_lock(&in->lock);
	first = !in->list.first;
	request_list_add(&in->list, r);
	if (first)
		ring(in);
	pthread_mutex_unlock(&in->lock);
}

void inbox_signal(struct inbox *in, bool *flag)
{
	pthread_mutex_lock(&in->lock);
	*flag = true;
	ring(in);
	pthread_mutex_unlock(&in->lock);
}

struct inbox_flags inbox_take(struct inbox *in, struct request_list *to)
{
	struct inbox_flags f;
	u64 count;

	pthread_mutex_lock(&in->lock);
	(void)!read(in->fd, &count, sizeof(count));
	request_list_join(to, &in->list);
	f = (struct inbox_flags){ .stop = in->stop, .abandon = in->abandon };
	pthread_mutex_unlock(&in->lock);
	return f;
}

int thread_start(pthread_t *t, void *(*run)(void *), void *arg)
{
	sigset_t all, old;
	int e;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(t, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -e;
}
