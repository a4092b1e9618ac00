/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's ring: requests come in and answers and events go out, both in pieces as there is room. While anything waits to go out no
 * request is taken, so that a guest that does not fetch its answers gives itself no more to keep. Indices that make no sense, and requests
 * that are too long, end the conversation: the page's error field says so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "platform/xen/events.h"
#include "platform/xen/mm.h"
#include "platform/xen/store-internal.h"

#define HEADER	 ((u32)sizeof(struct xsd_sockmsg))
#define REQUESTS 32 /* that are served before others have their turn */
#define AGAIN_NS 1000000

static u32 get(const u32 *index)
{
	return __atomic_load_n(index, __ATOMIC_SEQ_CST);
}

static void set(u32 *index, u32 value)
{
	__atomic_store_n(index, value, __ATOMIC_SEQ_CST);
}

static void give_up(struct xen_store *s, u32 error)
{
	s->broken = true;
	set(&s->page->error, error);
}

/* ---- out ---- */

bool store_send(struct xen_store *s, const struct xsd_sockmsg *h, const void *payload)
{
	struct message *m = malloc(sizeof(*m) + HEADER + h->len);

	if (!m)
		return false;
	m->next = NULL;
	m->len = HEADER + h->len;
	m->sent = 0;
	memcpy(m->bytes, h, HEADER);
	memcpy(m->bytes + HEADER, payload, h->len);
	*s->out_end = m;
	s->out_end = &m->next;
	s->out_bytes += m->len;
	work_ring(&s->work);
	return true;
}

static void drop_message(struct xen_store *s)
{
	struct message *m = s->out;

	s->out = m->next;
	if (!s->out)
		s->out_end = &s->out;
	s->out_bytes -= m->len;
	free(m);
}

/* What there is room for. The guest says that it has read only if the ring was full then: so it is looked at again after each piece. */
static void flush(struct xen_store *s)
{
	while (s->out) {
		u32 used = s->rsp_prod - get(&s->page->rsp_cons), at = MASK_XENSTORE_IDX(s->rsp_prod), len;
		struct message *m = s->out;

		if (used > XENSTORE_RING_SIZE) {
			give_up(s, XENSTORE_ERROR_RINGIDX);
			return;
		}
		len = MIN(MIN(XENSTORE_RING_SIZE - used, XENSTORE_RING_SIZE - at), m->len - m->sent);
		if (!len)
			return;
		memcpy(s->page->rsp + at, m->bytes + m->sent, len);
		m->sent += len;
		s->rsp_prod += len;
		if (m->sent == m->len)
			drop_message(s);
		set(&s->page->rsp_prod, s->rsp_prod);
	}
}

/* ---- in ---- */

/* Takes bytes until the request has `want`; false: the guest has not written them yet. It says that it has only if all before was taken: so
 * it is looked at again after each piece. */
static bool fill(struct xen_store *s, u32 want)
{
	while (s->in_len < want) {
		u32 there = get(&s->page->req_prod) - s->req_cons, at = MASK_XENSTORE_IDX(s->req_cons), len;

		if (there > XENSTORE_RING_SIZE) {
			give_up(s, XENSTORE_ERROR_RINGIDX);
			return false;
		}
		len = MIN(MIN(there, XENSTORE_RING_SIZE - at), want - s->in_len);
		if (!len)
			return false;
		memcpy(s->in + s->in_len, s->page->req + at, len);
		s->in_len += len;
		s->req_cons += len;
		set(&s->page->req_cons, s->req_cons);
	}
	return true;
}

/* One request; false: none is whole yet. */
static bool take_request(struct xen_store *s)
{
	struct xsd_sockmsg h;

	if (s->in_len < HEADER && !fill(s, HEADER))
		return false;
	memcpy(&h, s->in, HEADER);
	if (h.len > XENSTORE_PAYLOAD_MAX) {
		give_up(s, XENSTORE_ERROR_PROTO);
		return false;
	}
	if (!fill(s, HEADER + h.len))
		return false;
	s->in[HEADER + h.len] = 0;
	s->in_len = 0;
	s->requests++;
	store_serve(s, &h, (char *)s->in + HEADER);
	return true;
}

static void serve(void *arg)
{
	struct xen_store *s = arg;
	u32 req, rsp;
	bool more = true;

	pthread_mutex_lock(&s->lock);
	req = s->req_cons;
	rsp = s->rsp_prod;
	flush(s);
	for (unsigned n = 0; n < REQUESTS && more && !s->broken && !s->out; n++) {
		more = take_request(s);
		flush(s);
	}
	if (more && !s->broken && !s->out)
		work_ring(&s->work);
	if (s->broken)
		while (s->out)
			drop_message(s);
	if (req != s->req_cons || rsp != s->rsp_prod) {
		events_raise(s->d, s->port);
		timer_arm(s->d->machine->clock, &s->again, clock_now(s->d->machine->clock) + AGAIN_NS);
	}
	pthread_mutex_unlock(&s->lock);
}

/*
 * Linux' driver stores its index and then looks at ours, with no fence between: its CPU may look before the store is to be seen. It then
 * says nothing, and we have looked too early as well. So who has taken or written something looks once more when that store is long done.
 */
static void look_again(void *arg, u64 now)
{
	serve(arg);
}

/* ---- starting and stopping ---- */

int store_ring_start(struct xen_store *s, u64 mfn, struct error *err)
{
	int port;

	s->out_end = &s->out;
	work_init(&s->work, s->d->machine, serve, s);
	s->again = (struct timer){ .deadline = ~0ull, .fire = look_again, .arg = s };
	port = events_offer(s->d, work_ring, &s->work);
	if (port < 0)
		return error_set(err, port, "no event channel for the store");
	s->port = (u32)port;
	s->page = (struct xenstore_domain_interface *)mm_get(s->d, mfn, FRAME_WRITABLE);
	if (!s->page)
		return error_set(err, EINVAL, "the store's page is no memory of the guest");
	s->mfn = mfn;
	s->page->server_features = XENSTORE_SERVER_FEATURE_ERROR;
	return 0;
}

void store_ring_stop(struct xen_store *s)
{
	if (s->port)
		events_unbind(s->d, s->port);
	work_cancel(&s->work);
	timer_cancel(s->d->machine->clock, &s->again);
	if (s->page)
		mm_put(s->d, s->mfn, FRAME_WRITABLE);
	while (s->out)
		drop_message(s);
}
