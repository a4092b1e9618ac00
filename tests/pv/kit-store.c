/* SPDX-License-Identifier: Apache-2.0 */
/* See kit-store.h. */
#include "kit-store.h"

#define PATIENCE 200000

static u8 store_page[PAGE] __attribute__((aligned(4096))), grant_page[PAGE] __attribute__((aligned(4096)));
struct xenstore_domain_interface *store = (struct xenstore_domain_interface *)store_page;

void open_store(void)
{
	EQ(0, map_as(store_page, start_info->store_mfn * PAGE | RW));
}

void kick_store(void)
{
	EQ(0, send_event(start_info->store_evtchn));
	hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
}

static void put_bytes(const void *bytes, u32 n)
{
	for (u32 k = 0; k < n; k++) {
		while (store->req_prod - __atomic_load_n(&store->req_cons, __ATOMIC_SEQ_CST) == XENSTORE_RING_SIZE)
			kick_store();
		store->req[MASK_XENSTORE_IDX(store->req_prod)] = ((const char *)bytes)[k];
		__atomic_fetch_add(&store->req_prod, 1, __ATOMIC_SEQ_CST);
	}
}

static void get_bytes(void *bytes, u32 n)
{
	for (u32 k = 0; k < n; k++) {
		while (__atomic_load_n(&store->rsp_prod, __ATOMIC_SEQ_CST) == store->rsp_cons)
			kick_store();
		if (bytes)
			((char *)bytes)[k] = store->rsp[MASK_XENSTORE_IDX(store->rsp_cons)];
		__atomic_fetch_add(&store->rsp_cons, 1, __ATOMIC_SEQ_CST);
	}
}

u32 ask(u32 type, u32 tx, const char *payload, u32 len, char answer[32])
{
	struct xsd_sockmsg h = { .type = type, .tx_id = tx, .len = len, .req_id = (u32)any() };
	u32 id = h.req_id;

	put_bytes(&h, sizeof(h));
	put_bytes(payload, len);
	kick_store();
	for (;;) {
		get_bytes(&h, sizeof(h));
		u32 keep = h.len < 31 ? h.len : 31;
		memset(answer, 0, 32);
		get_bytes(answer, keep);
		get_bytes(NULL, h.len - keep);
		if (h.type == XS_WATCH_EVENT)
			continue;
		EQ(id, h.req_id);
		return h.type;
	}
}

/* ---- devices ---- */

static unsigned join(char text[96], const char *a, const char *b)
{
	unsigned n = 0;

	while (*a)
		text[n++] = *a++;
	while (*b)
		text[n++] = *b++;
	text[n++] = 0;
	return n;
}

void write_key(const struct front *f, const char *key, u64 value)
{
	char text[96], digits[24], answer[32];
	unsigned n = join(text, f->front, key), d = 0;

	do
		digits[d++] = (char)('0' + value % 10);
	while (value /= 10);
	while (d)
		text[n++] = digits[--d];
	EQ(XS_WRITE, ask(XS_WRITE, 0, text, n, answer));
}

void wait_state(const struct front *f, enum xenbus_state state)
{
	char text[96], answer[32];
	unsigned n = join(text, f->back, "state");

	for (unsigned k = 0; k < PATIENCE; k++) {
		EQ(XS_READ, ask(XS_READ, 0, text, n, answer));
		if (answer[0] == (char)('0' + state))
			return;
	}
	fail(__FILE_NAME__, __LINE__, "the back end's state", state, (u64)answer[0] - '0');
}

/* ---- grants ---- */

void open_grants(void)
{
	struct gnttab_setup_table setup = { .dom = DOMID_SELF, .nr_frames = 1 };
	u64 mfn = 0;

	set_xen_guest_handle(setup.frame_list, &mfn);
	EQ(0, hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1));
	EQ(0, setup.status);
	EQ(0, map_as(grant_page, mfn * PAGE | RW));
}

void grant(u32 ref, u64 mfn, u16 flags)
{
	grant_entry_v1_t *g = (grant_entry_v1_t *)grant_page + ref;

	g->domid = 0;
	g->frame = (u32)mfn;
	__atomic_store_n(&g->flags, flags, __ATOMIC_SEQ_CST);
}
