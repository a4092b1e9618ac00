/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's two ends as they meet in the store (xen/io/xenbus.h): the front end is the guest's directory, the back end ours. Each writes
 * its state and watches the other's. All of that is done on the thread that runs timers; a back end connects and disconnects there too,
 * without a lock of its own.
 */
#pragma once
#include <xen/io/xenbus.h>

#include "platform/xen/store.h"
#include "platform/xen/work.h"

struct xenbus;
struct xenbus_ops {
	const char *type; /* "vbd" */
	enum xenbus_state ready; /* of the front end: it has told all that connect() reads */
	/* Reads what the front end has written, gets its rings, writes what it wants to know. Not 0: the device is closed, and
	 * the message goes to its "error". */
	int (*connect)(struct xenbus *x, struct error *err);
	/* The front end has gone. Nothing touches guest memory any more; false: something still does, and xenbus_ring() follows. */
	bool (*disconnect)(struct xenbus *x);
};
struct xenbus {
	const struct xenbus_ops *ops;
	struct xen_domain *d;
	char front[STORE_PATH_MAX], back[STORE_PATH_MAX];
	char front_state[STORE_PATH_MAX];
	enum xenbus_state state; /* ours */
	bool connected;
	struct store_watch watch;
	struct work work;
};

/* Both directories, as the toolstack makes them; then what a type has beside, by xenbus_put(); then xenbus_start(). */
int xenbus_init(struct xenbus *x, struct xen_domain *d, const struct xenbus_ops *ops, unsigned number,
		struct error *err);
void xenbus_start(struct xenbus *x);
void xenbus_stop(struct xenbus *x); /* no thread runs timers any more. Leaves the device connected if it was */
void xenbus_ring(struct xenbus *x); /* looks again; any thread, any lock */

void xenbus_put(struct xenbus *x, bool front, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* What the front end has written. */
bool xenbus_get(struct xenbus *x, const char *key, char *text, size_t size);
bool xenbus_get_number(struct xenbus *x, const char *key, u64 max, u64 *value); /* of at most max */
bool xenbus_has(struct xenbus *x, const char *key); /* a feature: "1" */
