/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network card's front end whose rings hold anything: slots without end, pages that are not granted, or for reading alone, sizes and extras
 * that fit nothing. Whatever the back end makes of it, it can be closed and opened again.
 *
 * options: --net user
 */
#include "kit-store.h"

#include <xen/io/netif.h>

#define ROUNDS 3000
#define REFS   8 /* some of the pages granted */

static u64 tx_page[512] __attribute__((aligned(4096))), rx_page[512] __attribute__((aligned(4096))),
	pages[REFS][512] __attribute__((aligned(4096)));
static netif_tx_sring_t *tx = (netif_tx_sring_t *)tx_page;
static netif_rx_sring_t *rx = (netif_rx_sring_t *)rx_page;

static const struct front front = { "device/vif/0/", "/local/domain/0/backend/vif/1/0/" };

#define TX_REF	  8
#define RX_REF	  9
#define FIRST_REF 16

static void connect(u32 tx_ref, u32 rx_ref, u32 port, u32 copy, enum xenbus_state state)
{
	write_key(&front, "state", XenbusStateInitialising);
	wait_state(&front, XenbusStateInitWait);
	write_key(&front, "tx-ring-ref", tx_ref);
	write_key(&front, "rx-ring-ref", rx_ref);
	write_key(&front, "event-channel", port);
	write_key(&front, "request-rx-copy", copy);
	write_key(&front, "feature-sg", any() & 1);
	write_key(&front, "feature-gso-tcpv4", any() & 1);
	write_key(&front, "feature-ipv6-csum-offload", any() & 1);
	write_key(&front, "state", XenbusStateConnected);
	wait_state(&front, state);
}

static void reset(u32 port)
{
	write_key(&front, "state", XenbusStateClosed);
	wait_state(&front, XenbusStateClosed);
	memset(tx_page, 0, PAGE);
	memset(rx_page, 0, PAGE);
	tx->req_event = tx->rsp_event = rx->req_event = rx->rsp_event = 1;
	connect(TX_REF, RX_REF, port, 1, XenbusStateConnected);
}

static u32 some_ref(void)
{
	static const u32 bad[] = { 0, TX_REF, RX_REF, 511, 512, 1u << 20, ~0u };

	return any() % 8 ? FIRST_REF + (u32)(any() % REFS) : bad[any() % ARRAY(bad)];
}

/* One whose parts are now right, now anything. */
static void fill(void)
{
	netif_tx_request_t *t = &tx->ring[tx->req_prod % 256].req;

	*t = (netif_tx_request_t){ .gref = some_ref(), .size = (u16)(any() % 1600), .offset = (u16)(any() % 4096) };
	if (!(any() % 4))
		t->size = (u16)any();
	if (!(any() % 8))
		t->offset = (u16)any();
	t->flags = any() % 4 ? 0 : (u16)(any() & 15);
	if (!(any() % 16)) {
		netif_extra_info_t *x = (netif_extra_info_t *)t;
		*x = (netif_extra_info_t){ .type = (u8)(any() % 8), .flags = (u8)(any() & 1) };
		x->u.gso.size = (u16)(any() % 3000);
		x->u.gso.type = (u8)(any() % 4);
	}
	tx->req_prod++;
}

/* False: the back end does not listen any more. */
static bool settle(u32 port)
{
	for (unsigned k = 0; k < 300; k++) {
		EQ(0, send_event(port));
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
		if (__atomic_load_n(&tx->rsp_prod, __ATOMIC_SEQ_CST) == tx->req_prod)
			return true;
	}
	return false;
}

static void storm(u32 port)
{
	unsigned answered = 0, resets = 0;

	for (unsigned round = 0; round < ROUNDS && resets < 60; round++) {
		for (u64 n = any() % 6; n; n--)
			fill();
		for (u64 n = any() % 3; n; n--) {
			rx->ring[rx->req_prod % 256].req = (netif_rx_request_t){ .id = (u16)any(), .gref = some_ref() };
			rx->req_prod++;
		}
		if (!(any() % 200))
			tx->req_prod += (u32)(any() % 600);
		if (!(any() % 200))
			rx->req_prod = (u32)any();
		if (settle(port)) {
			answered++;
			continue;
		}
		reset(port);
		resets++;
	}
	CHECK(answered > 50);
}

void guest_main(const char *which)
{
	u32 port;

	open_store();
	open_grants();
	EQ(0, alloc_port(DOMID_SELF, 0, &port));
	for (unsigned k = 0; k < REFS; k++)
		grant(FIRST_REF + k, k % 4 == 3 ? mfn_of(kernel_l4()) : mfn_of(pages[k]),
		      GTF_permit_access | (k % 3 ? 0 : GTF_readonly));
	connect(TX_REF, RX_REF, port, 1, XenbusStateClosing);
	grant(TX_REF, mfn_of(tx_page), GTF_permit_access);
	connect(TX_REF, RX_REF, port, 1, XenbusStateClosing);
	grant(RX_REF, mfn_of(rx_page), GTF_permit_access | GTF_readonly);
	connect(TX_REF, RX_REF, port, 1, XenbusStateClosing);
	grant(RX_REF, mfn_of(rx_page), GTF_permit_access);
	connect(TX_REF, TX_REF, port, 1, XenbusStateClosing);
	connect(TX_REF, RX_REF, port, 0, XenbusStateClosing);
	connect(TX_REF, RX_REF, 0, 1, XenbusStateClosing);
	connect(TX_REF, RX_REF, start_info->store_evtchn, 1, XenbusStateClosing);
	reset(port);
	for (unsigned k = 0; k < REFS; k++)
		for (unsigned i = 0; i < 512; i++)
			pages[k][i] = any();
	storm(port);
	EQ(0, make_ro(tx_page));
	EQ(-XEN_EINVAL, pin(1, tx_page));
	EQ(0, make_rw(tx_page));
	write_key(&front, "state", XenbusStateClosed);
	wait_state(&front, XenbusStateClosed);
	memset(tx_page, 0, PAGE);
	EQ(0, make_ro(tx_page));
	EQ(0, pin(1, tx_page));
}
