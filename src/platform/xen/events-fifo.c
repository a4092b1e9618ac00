/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FIFO ABI (xen/event_channel.h): a word a port in an array of the guest's pages, and queues of ports by priority, linked
 * through those words, whose heads are in a control block a vCPU.
 *
 * We append: the tail's word gets the link, if the guest has not taken that event off yet, else the queue was empty and its head
 * is set. The guest may write anything to all of this. What is ours (tails, and which queue a port is in) we keep here; a link that
 * the guest broke loses it events and nobody anything.
 */
#include "platform/xen/events-internal.h"

#include <errno.h>
#include <string.h>

#include "platform/xen/mm.h"

#define PENDING ((event_word_t)BIT(EVTCHN_FIFO_PENDING))
#define MASKED	((event_word_t)BIT(EVTCHN_FIFO_MASKED))
#define LINKED	((event_word_t)BIT(EVTCHN_FIFO_LINKED))
#define BUSY	((event_word_t)BIT(EVTCHN_FIFO_BUSY))
#define LINK	((event_word_t)EVTCHN_FIFO_LINK_MASK)

/* NULL: the guest has not given the array that far. */
static event_word_t *word_of(struct xen_events *e, u32 port)
{
	return port / FIFO_WORDS < atomic_load_explicit(&e->fifo.pages, memory_order_acquire)
		       ? &e->fifo.page[port / FIFO_WORDS][port % FIFO_WORDS]
		       : NULL;
}

static event_word_t get(const event_word_t *w)
{
	return __atomic_load_n(w, __ATOMIC_SEQ_CST);
}

/* Links the tail to port; false: it is in no queue any more. While the guest keeps changing the word it is marked busy, which keeps a
 * guest that follows the rules from it. */
static bool link_tail(event_word_t *tail, u32 port)
{
	event_word_t w = get(tail);

	for (unsigned tries = 0; tries < FIFO_TRIES && w & LINKED; tries++) {
		if (__atomic_compare_exchange_n(tail, &w, (w & ~(BUSY | LINK)) | port, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return true;
		w = __atomic_or_fetch(tail, BUSY, __ATOMIC_SEQ_CST);
	}
	__atomic_fetch_and(tail, ~BUSY, __ATOMIC_SEQ_CST);
	return w & LINKED; /* so often without success: it does not want to hear of it */
}

static void enqueue(struct xen_events *e, u32 port)
{
	struct channel *c = &e->channel[port];
	struct evtchn_fifo_control_block *block = e->fifo.cpu[c->cpu].block;
	u16 *old = &e->fifo.cpu[c->last_cpu].tail[c->last_priority];
	u16 *tail = &e->fifo.cpu[c->cpu].tail[c->priority];
	bool linked;

	if (*old == port) /* it is in no queue, so that one is empty */
		*old = 0;
	c->last_cpu = c->cpu;
	c->last_priority = c->priority;
	linked = *tail && link_tail(word_of(e, *tail), port);
	*tail = (u16)port;
	if (linked)
		return;
	__atomic_store_n(&block->head[c->priority], port, __ATOMIC_SEQ_CST);
	if (!(__atomic_fetch_or(&block->ready, 1u << c->priority, __ATOMIC_SEQ_CST) & 1u << c->priority))
		events_tell(e, c->cpu);
}

static void raise_fifo(struct xen_events *e, u32 port)
{
	event_word_t *w = word_of(e, port), was;

	if (!w) {
		e->channel[port].pending = true;
		return;
	}
	was = __atomic_fetch_or(w, PENDING, __ATOMIC_SEQ_CST);
	if (was & (MASKED | LINKED) || !e->fifo.cpu[e->channel[port].cpu].block)
		return;
	was = __atomic_fetch_or(w, LINKED, __ATOMIC_SEQ_CST);
	if (!(was & LINKED))
		enqueue(e, port);
}

static void clear_fifo(struct xen_events *e, u32 port)
{
	event_word_t *w = word_of(e, port);

	if (w)
		__atomic_fetch_and(w, ~PENDING, __ATOMIC_SEQ_CST);
}

static bool pending_fifo(struct xen_events *e, u32 port)
{
	const event_word_t *w = word_of(e, port);

	return w ? get(w) & PENDING : e->channel[port].pending;
}

static void unmask_fifo(struct xen_events *e, u32 port)
{
	event_word_t *w = word_of(e, port);

	if (w && __atomic_and_fetch(w, ~MASKED, __ATOMIC_SEQ_CST) & PENDING)
		raise_fifo(e, port);
}

const struct channel_abi abi_fifo = { raise_fifo, clear_fifo, unmask_fifo, pending_fifo };

/* ---- setting up ---- */

/* What was pending in the bitmaps is pending in words, once there are any. */
static void take_over(struct xen_events *e)
{
	if (e->abi == &abi_fifo)
		return;
	for (u32 p = 1; p < EVENTS_MAX; p++)
		e->channel[p].pending = abi_2level.pending(e, p);
	e->abi = &abi_fifo;
}

int fifo_init_control(struct xen_events *e, void *arg)
{
	struct evtchn_init_control *a = arg;
	u8 *frame;
	int r = 0;

	if (e->d->no_fifo)
		return -ENOSYS;
	if (a->offset > PAGE_SIZE - sizeof(struct evtchn_fifo_control_block) || a->offset & 7)
		return -EINVAL;
	if (a->vcpu >= e->d->cpus)
		return -ENOENT;
	frame = mm_get(e->d, a->control_gfn, FRAME_WRITABLE);
	if (!frame)
		return -EINVAL;
	pthread_mutex_lock(&e->lock);
	if (e->fifo.cpu[a->vcpu].block) {
		r = -EINVAL;
	} else {
		take_over(e);
		memset(e->fifo.cpu[a->vcpu].tail, 0, sizeof(e->fifo.cpu[a->vcpu].tail));
		e->fifo.cpu[a->vcpu].mfn = a->control_gfn;
		e->fifo.cpu[a->vcpu].block = (void *)(frame + a->offset);
	}
	pthread_mutex_unlock(&e->lock);
	if (r)
		mm_put(e->d, a->control_gfn, FRAME_WRITABLE);
	a->link_bits = EVTCHN_FIFO_LINK_BITS;
	return r;
}

static int add_page(struct xen_events *e, u64 mfn, u8 *frame)
{
	unsigned n = e->fifo.pages;
	u32 first = n * FIFO_WORDS;

	if (e->abi != &abi_fifo)
		return -EOPNOTSUPP;
	if (n == FIFO_PAGES)
		return -ENOSPC;
	e->fifo.page[n] = (event_word_t *)frame;
	e->fifo.page_mfn[n] = mfn;
	atomic_store(&e->fifo.pages, n + 1);
	for (u32 p = MAX(first, 1); p < first + FIFO_WORDS; p++) {
		if (e->channel[p].pending)
			raise_fifo(e, p);
		e->channel[p].pending = false;
	}
	return 0;
}

int fifo_expand_array(struct xen_events *e, void *arg)
{
	const struct evtchn_expand_array *a = arg;
	u8 *frame = e->d->no_fifo ? NULL : mm_get(e->d, a->array_gfn, FRAME_WRITABLE);
	int r;

	if (!frame)
		return e->d->no_fifo ? -ENOSYS : -EINVAL;
	pthread_mutex_lock(&e->lock);
	r = add_page(e, a->array_gfn, frame);
	pthread_mutex_unlock(&e->lock);
	if (r)
		mm_put(e->d, a->array_gfn, FRAME_WRITABLE);
	return r;
}

void fifo_reset(struct xen_events *e)
{
	u64 mfn[FIFO_PAGES + MACHINE_MAX_CPUS];
	unsigned n = 0;

	pthread_mutex_lock(&e->lock);
	for (unsigned i = 0; i < e->fifo.pages; i++)
		mfn[n++] = e->fifo.page_mfn[i];
	for (unsigned i = 0; i < e->d->cpus; i++) {
		if (e->fifo.cpu[i].block)
			mfn[n++] = e->fifo.cpu[i].mfn;
		e->fifo.cpu[i].block = NULL;
	}
	e->abi = &abi_2level;
	atomic_store(&e->fifo.pages, 0);
	pthread_mutex_unlock(&e->lock);
	while (n)
		mm_put(e->d, mfn[--n], FRAME_WRITABLE);
}
