/* SPDX-License-Identifier: Apache-2.0 */
/* See xenbus.h. What the front end writes as its state may be any text, at any time: each look decides by what it finds then. */
#include "platform/xen/xenbus.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- keys ---- */

static bool path_of(char path[STORE_PATH_MAX], const char *directory, const char *key)
{
	return snprintf(path, STORE_PATH_MAX, "%s/%s", directory, key) < STORE_PATH_MAX;
}

void xenbus_put(struct xenbus *x, bool front, const char *key, const char *fmt, ...)
{
	char path[STORE_PATH_MAX], text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (path_of(path, front ? x->front : x->back, key))
		store_write(x->d, path, "%s", text);
}

bool xenbus_get(struct xenbus *x, const char *key, char *text, size_t size)
{
	char path[STORE_PATH_MAX];

	return path_of(path, x->front, key) && store_read(x->d, path, text, size);
}

bool xenbus_get_number(struct xenbus *x, const char *key, u64 max, u64 *value)
{
	char path[STORE_PATH_MAX];

	return path_of(path, x->front, key) && store_read_number(x->d, path, value) && *value <= max;
}

bool xenbus_has(struct xenbus *x, const char *key)
{
	u64 value;

	return xenbus_get_number(x, key, 1, &value) && value;
}

/* ---- states ---- */

static void set_state(struct xenbus *x, enum xenbus_state state)
{
	if (x->state == state)
		return;
	x->state = state;
	xenbus_put(x, false, "state", "%d", state);
}

static void connect(struct xenbus *x)
{
	struct error err = { 0 };

	if (x->ops->connect(x, &err)) {
		xenbus_put(x, false, "error", "%s", err.text);
		set_state(x, XenbusStateClosing);
		return;
	}
	x->connected = true;
	set_state(x, XenbusStateConnected);
}

static bool disconnect(struct xenbus *x)
{
	if (x->connected && !x->ops->disconnect(x))
		return false;
	x->connected = false;
	return true;
}

/* A driver that comes back, after its end or without having said so, finds us waiting. */
static void follow(void *arg)
{
	struct xenbus *x = arg;
	u64 front;

	if (!store_read_number(x->d, x->front_state, &front))
		front = XenbusStateUnknown;
	switch (front) {
	case XenbusStateInitialising:
		if (x->state != XenbusStateInitWait && disconnect(x))
			set_state(x, XenbusStateInitWait);
		break;
	case XenbusStateInitialised:
	case XenbusStateConnected:
		if (x->state == XenbusStateInitWait && front >= x->ops->ready)
			connect(x);
		break;
	case XenbusStateClosing:
		if (x->state < XenbusStateClosing && disconnect(x))
			set_state(x, XenbusStateClosing);
		break;
	case XenbusStateClosed:
	case XenbusStateUnknown:
		if (disconnect(x))
			set_state(x, XenbusStateClosed);
		break;
	default: break;
	}
}

void xenbus_ring(struct xenbus *x)
{
	work_ring(&x->work);
}

/* ---- making ---- */

int xenbus_init(struct xenbus *x, struct xen_domain *d, const struct xenbus_ops *ops, unsigned number,
		struct error *err)
{
	x->d = d;
	x->ops = ops;
	x->state = XenbusStateInitialising;
	work_init(&x->work, d->machine, follow, x);
	snprintf(x->front, sizeof(x->front), STORE_HOME "/device/%s/%u", ops->type, number);
	snprintf(x->back, sizeof(x->back), "/local/domain/0/backend/%s/%d/%u", ops->type, XEN_DOMID, number);
	if (!path_of(x->front_state, x->front, "state") || store_own(d, x->front, XEN_DOMID) ||
	    store_own(d, x->back, 0))
		return error_set(err, ENOMEM, "no memory for a device's part of the store");
	xenbus_put(x, true, "backend", "%s", x->back);
	xenbus_put(x, true, "backend-id", "0");
	xenbus_put(x, true, "state", "%d", XenbusStateInitialising);
	xenbus_put(x, false, "frontend", "%s", x->front);
	xenbus_put(x, false, "frontend-id", "%d", XEN_DOMID);
	xenbus_put(x, false, "online", "1");
	xenbus_put(x, false, "state", "%d", XenbusStateInitialising);
	return 0;
}

void xenbus_start(struct xenbus *x)
{
	x->watch = (struct store_watch){ .path = x->front_state, .fn = work_ring, .arg = &x->work };
	store_add_watch(x->d, &x->watch);
	set_state(x, XenbusStateInitWait);
}

void xenbus_stop(struct xenbus *x)
{
	if (x->watch.fn)
		store_remove_watch(x->d, &x->watch);
	work_cancel(&x->work);
}
