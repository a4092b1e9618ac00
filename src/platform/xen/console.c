/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console's rings. Of the four indices two are the guest's, read once a pass, and two are ours: what stands in the page is for
 * the guest to read, we go by our own copies. An index that claims more than the ring holds is taken as a ring that was started anew there.
 * What the back end does not take stays in the ring, and what the ring does not take stays with the back end.
 */
#include "platform/xen/console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xen/io/console.h>

#include "platform/xen/events.h"
#include "platform/xen/mm.h"
#include "platform/xen/work.h"

struct xen_console {
	struct xen_domain *d;
	pthread_mutex_t lock;
	struct chardev *back;
	struct xencons_interface *page;
	u64 mfn;
	u32 port;
	u32 out_cons, in_prod; /* ours */
	bool starved; /* the back end holds input for us */
	struct work work; /* the guest has sent: it has written, or read */
};

static u32 get(const u32 *index)
{
	return __atomic_load_n(index, __ATOMIC_SEQ_CST);
}

static void set(u32 *index, u32 value)
{
	__atomic_store_n(index, value, __ATOMIC_SEQ_CST);
}

/* ---- from the guest ---- */

/* One run of bytes without a wrap. false: the back end has no room. */
static bool write_run(struct xen_console *c, u32 *left)
{
	u32 at = MASK_XENCONS_IDX(c->out_cons, c->page->out);
	size_t len = MIN(*left, sizeof(c->page->out) - at);
	size_t taken = c->back ? c->back->ops->write(c->back, (const u8 *)c->page->out + at, len) : len;

	c->out_cons += (u32)taken;
	*left -= (u32)taken;
	return taken == len;
}

/* Lock held. At most a ring's worth: more of it comes with a notification of its own. */
static void transmit(struct xen_console *c)
{
	u32 left = get(&c->page->out_prod) - c->out_cons, before = c->out_cons;

	if (left > sizeof(c->page->out)) {
		c->out_cons += left;
		left = 0;
	}
	while (left && write_run(c, &left))
		;
	if (c->out_cons == before)
		return;
	set(&c->page->out_cons, c->out_cons);
	events_raise(c->d, c->port);
}

static void writable(void *arg)
{
	struct xen_console *c = arg;

	pthread_mutex_lock(&c->lock);
	transmit(c);
	pthread_mutex_unlock(&c->lock);
}

void console_write(struct xen_domain *d, const void *bytes, size_t len)
{
	struct xen_console *c = d->console;

	pthread_mutex_lock(&c->lock);
	if (c->back)
		c->back->ops->write(c->back, bytes, len);
	pthread_mutex_unlock(&c->lock);
}

/* ---- to the guest ---- */

static u32 room(const struct xen_console *c)
{
	u32 used = c->in_prod - get(&c->page->in_cons);

	return used > sizeof(c->page->in) ? 0 : (u32)sizeof(c->page->in) - used;
}

static size_t receive(void *arg, const u8 *data, size_t len)
{
	struct xen_console *c = arg;
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = MIN(len, room(c));
	for (size_t i = 0; i < n; i++)
		c->page->in[MASK_XENCONS_IDX(c->in_prod++, c->page->in)] = (char)data[i];
	c->starved |= n < len;
	if (n) {
		set(&c->page->in_prod, c->in_prod);
		events_raise(c->d, c->port);
	}
	pthread_mutex_unlock(&c->lock);
	return n;
}

static void serve(void *arg)
{
	struct xen_console *c = arg;

	pthread_mutex_lock(&c->lock);
	transmit(c);
	if (c->starved && room(c)) {
		c->starved = false;
		c->back->ops->resume(c->back);
	}
	pthread_mutex_unlock(&c->lock);
}

/* ---- making and releasing ---- */

u32 console_port(const struct xen_domain *d)
{
	return d->console->port;
}

static int start(struct xen_console *c, u64 mfn, struct error *err)
{
	int port = events_offer(c->d, work_ring, &c->work);

	if (port < 0)
		return error_set(err, port, "no event channel for the console");
	c->port = (u32)port;
	c->page = (struct xencons_interface *)mm_get(c->d, mfn, FRAME_WRITABLE);
	if (!c->page)
		return error_set(err, EINVAL, "the console's page is no memory of the guest");
	c->mfn = mfn;
	return 0;
}

int console_create(struct xen_domain *d, u64 mfn, struct chardev *back, struct error *err)
{
	struct xen_console *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return error_set(err, ENOMEM, "no memory for a console");
	c->d = d;
	c->back = back;
	c->starved = back != NULL;
	pthread_mutex_init(&c->lock, NULL);
	work_init(&c->work, d->machine, serve, c);
	d->console = c;
	r = start(c, mfn, err);
	if (r)
		console_destroy(d);
	else if (back)
		back->front = (struct chardev_front){ receive, writable, c };
	return r;
}

void console_destroy(struct xen_domain *d)
{
	struct xen_console *c = d->console;

	if (!c)
		return;
	if (c->back)
		c->back->front = (struct chardev_front){ 0 };
	if (c->port)
		events_unbind(d, c->port);
	work_cancel(&c->work);
	if (c->page)
		mm_put(d, c->mfn, FRAME_WRITABLE);
	pthread_mutex_destroy(&c->lock);
	free(c);
	d->console = NULL;
}
