/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's side of the store for tests: requests through the ring, their answers, and the events that come between. */
#pragma once
#include "xen-guest.h"

#include <stdio.h>
#include <xen/io/xs_wire.h>

#include "platform/xen/store.h"
#include "platform/xen/toolstack.h"

#define CLIENT_EVENTS 64

struct client_message {
	struct xsd_sockmsg h;
	char payload[XENSTORE_PAYLOAD_MAX + 1];
};
static struct {
	u32 next_id, tx;
	struct client_message answer, event[CLIENT_EVENTS]; /* events that have come and nobody has looked at */
	unsigned events;
} client;

static inline struct xenstore_domain_interface *store_page(void)
{
	return frame(GUEST_STORE);
}

static inline void client_start(void)
{
	struct error err = { 0 };

	memset(&client, 0, sizeof(client));
	if (store_create(d, GUEST_STORE, &err) || toolstack_create(d, 0, &err))
		fail_msg("%s", err.text);
}

/* Puts bytes in the ring, as far as they go in; what is left is for when the store has taken some. */
static inline void client_put(const void *bytes, size_t len)
{
	struct xenstore_domain_interface *p = store_page();
	const u8 *from = bytes;

	while (len) {
		for (; len && p->req_prod - p->req_cons < XENSTORE_RING_SIZE; len--)
			p->req[MASK_XENSTORE_IDX(p->req_prod++)] = (char)*from++;
		guest_send(store_port(d));
	}
}

static inline bool client_get(void *bytes, size_t len)
{
	struct xenstore_domain_interface *p = store_page();
	u8 *to = bytes;

	while (len) {
		if (p->rsp_prod == p->rsp_cons)
			guest_send(store_port(d)); /* there is room */
		if (p->rsp_prod == p->rsp_cons)
			return false;
		for (; len && p->rsp_cons != p->rsp_prod; len--)
			*to++ = (u8)p->rsp[MASK_XENSTORE_IDX(p->rsp_cons++)];
	}
	return true;
}

/* The next message, whatever it is. */
static inline bool client_receive(struct client_message *msg)
{
	if (!client_get(&msg->h, sizeof(msg->h)))
		return false;
	assert_true(msg->h.len <= XENSTORE_PAYLOAD_MAX);
	assert_true(client_get(msg->payload, msg->h.len));
	msg->payload[msg->h.len] = 0;
	return true;
}

static inline void client_send(u32 type, const void *payload, u32 len)
{
	struct xsd_sockmsg h = { type, ++client.next_id, client.tx, len };

	client_put(&h, sizeof(h));
	client_put(payload, len);
}

static inline void client_keep_event(const struct client_message *msg)
{
	if (client.events < CLIENT_EVENTS)
		client.event[client.events++] = *msg;
}

/* Sends, and waits for its answer in client.answer. Its text: an error's name, or what was asked for. */
static inline const char *client_call(u32 type, const void *payload, u32 len)
{
	struct client_message *a = &client.answer;

	client_send(type, payload, len);
	while (client_receive(a)) {
		if (a->h.type == XS_WATCH_EVENT) {
			client_keep_event(a);
			continue;
		}
		assert_int_equal(a->h.req_id, client.next_id);
		assert_int_equal(a->h.tx_id, client.tx);
		assert_true(a->h.type == type || a->h.type == XS_ERROR);
		return a->payload;
	}
	return "no answer";
}

/* Requests of one or two texts. */
static inline const char *client_ask(u32 type, const char *text)
{
	return client_call(type, text, (u32)strlen(text) + 1);
}
static inline const char *client_write(const char *path, const char *value)
{
	char payload[XENSTORE_PAYLOAD_MAX];
	size_t len = strlen(path) + 1;

	memcpy(payload, path, len);
	memcpy(payload + len, value, strlen(value));
	return client_call(XS_WRITE, payload, (u32)(len + strlen(value)));
}
static inline const char *client_watch(u32 type, const char *path, const char *token)
{
	char payload[XENSTORE_PAYLOAD_MAX];
	int len = snprintf(payload, sizeof(payload), "%s%c%s", path, 0, token);

	return client_call(type, payload, (u32)len + 1);
}

/* The next event's path, if its token is this one; NULL: none has come. */
static inline const char *client_event(const char *token)
{
	static char path[XENSTORE_PAYLOAD_MAX];
	struct client_message msg;

	while (client_receive(&msg))
		client_keep_event(&msg);
	for (unsigned i = 0; i < client.events; i++) {
		const char *p = client.event[i].payload;

		if (strcmp(p + strlen(p) + 1, token))
			continue;
		strcpy(path, p);
		memmove(&client.event[i], &client.event[i + 1], (--client.events - i) * sizeof(client.event[0]));
		return path;
	}
	return NULL;
}

static inline void client_begin(void)
{
	const char *id;

	client.tx = 0;
	id = client_ask(XS_TRANSACTION_START, "");
	assert_int_equal(client.answer.h.type, XS_TRANSACTION_START);
	client.tx = (u32)atoi(id);
}
static inline const char *client_end(const char *how)
{
	const char *r = client_ask(XS_TRANSACTION_END, how);

	client.tx = 0;
	return r;
}
