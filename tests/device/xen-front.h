/* SPDX-License-Identifier: Apache-2.0 */
/* What front ends of all kinds do in tests: grant frames, talk to the store until both ends are connected. */
#pragma once
#include "xen-store-client.h"

#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/io/xenbus.h>

#include "platform/xen/grants.h"

static inline struct grant_entry_v1 *front_table(void)
{
	return frame(GUEST_GRANTS);
}

static inline void front_grant(u32 ref, u32 mfn, bool readonly)
{
	front_table()[ref] = (struct grant_entry_v1){ (u16)(GTF_permit_access | (readonly ? GTF_readonly : 0)), 0,
						      mfn };
}

/* Nothing uses any grant. */
static inline void front_check_idle(void)
{
	for (u32 ref = 0; ref < 512; ref++)
		assert_int_equal(front_table()[ref].flags & (GTF_reading | GTF_writing), 0);
}

static inline void front_start(void)
{
	struct error err = { 0 };

	client_start();
	if (grants_create(d, GUEST_GRANTS, &err))
		fail_msg("%s", err.text);
}

static inline void front_stop(void)
{
	front_check_idle();
	grants_destroy(d);
	store_destroy(d);
	guest_stop();
}

static inline u32 front_port(void)
{
	struct evtchn_alloc_unbound a = { .dom = DOMID_SELF, .remote_dom = 0 };

	assert_int_equal(guest_event_op(0, EVTCHNOP_alloc_unbound, &a), 0);
	return a.port;
}

static inline void front_write(const char *device, const char *key, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "device/%s/%s", device, key);
	assert_string_equal(client_write(path, value), "OK");
}
static inline void front_write_number(const char *device, const char *key, u64 value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	front_write(device, key, text);
}
static inline const char *back_read(const char *device, const char *key)
{
	char path[128];

	snprintf(path, sizeof(path), "/local/domain/0/backend/%.3s/1/%s/%s", device, device + 4, key);
	return client_ask(XS_READ, path);
}
static inline void front_state(const char *device, unsigned state)
{
	front_write_number(device, "state", state);
	guest_settle();
}
static inline unsigned back_state(const char *device)
{
	guest_settle();
	return (unsigned)atoi(back_read(device, "state"));
}
