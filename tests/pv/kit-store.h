/* SPDX-License-Identifier: Apache-2.0 */
/* The store's other end, for guests that have devices: requests, a front end's keys, grants. */
#pragma once
#include "kit.h"

#include <xen/grant_table.h>
#include <xen/io/xenbus.h>
#include <xen/io/xs_wire.h>

extern struct xenstore_domain_interface *store;
void open_store(void); /* before all else */
void kick_store(void);

/* The type of the answer, whose first bytes go to `answer`; what watches have to say is skipped. */
u32 ask(u32 type, u32 tx, const char *payload, u32 len, char answer[32]);
#define ASK(type, payload) ask(type, 0, payload, sizeof(payload), answer)

/* A device by its two directories, with a slash at the end. */
struct front {
	const char *front, *back;
};
void write_key(const struct front *f, const char *key, u64 value);
/* Until the back end is in that state. */
void wait_state(const struct front *f, enum xenbus_state state);

void open_grants(void);
void grant(u32 ref, u64 mfn, u16 flags);
