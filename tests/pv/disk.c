/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk's front end that grants what it has not, or may not, and asks for what there is not.
 *
 * options: --disk {guest},readonly=on,format=raw
 */
#include "kit-store.h"

#include <xen/io/blkif.h>

static u64 array[3][512] __attribute__((aligned(4096)));

static const struct front front = { "device/vbd/51712/", "/local/domain/0/backend/vbd/1/51712/" };

/* Tries to connect; the state it brings the back end to. */
static void connect(u32 ref, u32 port, enum xenbus_state state)
{
	write_key(&front, "state", XenbusStateInitialising);
	wait_state(&front, XenbusStateInitWait);
	write_key(&front, "ring-ref", ref);
	write_key(&front, "event-channel", port);
	write_key(&front, "state", XenbusStateInitialised);
	wait_state(&front, state);
}

static blkif_sring_t *sring;
static u32 disk_port;

static int request(u8 op, u64 sector, u8 segments, u32 ref, u8 first, u8 last)
{
	blkif_request_t *q = &sring->ring[sring->req_prod & 31].req;

	memset(q, 0, sizeof(*q));
	*q = (blkif_request_t){
		.operation = op, .nr_segments = segments, .sector_number = sector, .id = sring->req_prod
	};
	for (unsigned k = 0; k < segments && k < 11; k++)
		q->seg[k] = (struct blkif_request_segment){ ref, first, last };
	if (op == BLKIF_OP_INDIRECT) {
		blkif_request_indirect_t *i = (blkif_request_indirect_t *)q;
		i->indirect_op = BLKIF_OP_READ;
		i->nr_segments = (u16)(segments | (u16)first << 8);
		i->id = sring->req_prod;
		i->sector_number = sector;
		i->indirect_grefs[0] = ref;
	}
	__atomic_fetch_add(&sring->req_prod, 1, __ATOMIC_SEQ_CST);
	EQ(0, send_event(disk_port));
	while (__atomic_load_n(&sring->rsp_prod, __ATOMIC_SEQ_CST) != sring->req_prod)
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
	return sring->ring[(sring->rsp_prod - 1) & 31].rsp.status;
}

void guest_main(const char *which)
{
	struct gnttab_setup_table setup = { .dom = DOMID_SELF, .nr_frames = 33 };
	u64 mfns[33];
	u32 port;

	open_store();
	set_xen_guest_handle(setup.frame_list, mfns);
	EQ(0, hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1));
	CHECK(setup.status < 0);
	setup.nr_frames = ~0u;
	EQ(0, hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1));
	CHECK(setup.status < 0);
	open_grants();
	sring = (blkif_sring_t *)array[0];
	memset(array, 0, sizeof(array));
	sring->req_event = sring->rsp_event = 1;
	EQ(0, alloc_port(DOMID_SELF, 0, &port));
	disk_port = port;
	/* Rings in what was not granted, or may not be. */
	grant(8, 0, 0);
	connect(8, port, XenbusStateClosing);
	connect(~0u, port, XenbusStateClosing);
	connect(511, port, XenbusStateClosing);
	connect(513, port, XenbusStateClosing); /* beyond the table */
	grant(8, mfn_of(kernel_l4()), GTF_permit_access);
	connect(8, port, XenbusStateClosing);
	grant(8, 0, GTF_permit_access);
	connect(8, port, XenbusStateClosing);
	grant(8, ~0u, GTF_permit_access);
	connect(8, port, XenbusStateClosing);
	grant(8, mfn_of(array[0]), GTF_permit_access | GTF_readonly);
	connect(8, port, XenbusStateClosing);
	grant(8, mfn_of(array[0]), GTF_permit_access);
	connect(8, 0, XenbusStateClosing);
	connect(8, 4095, XenbusStateClosing);
	connect(8, 1u << 20, XenbusStateClosing);
	connect(8, start_info->store_evtchn, XenbusStateClosing);
	connect(8, start_info->console.domU.evtchn, XenbusStateClosing);
	connect(8, port, XenbusStateConnected);
	/* Requests. */
	grant(9, mfn_of(array[1]), GTF_permit_access);
	EQ(BLKIF_RSP_OKAY, request(BLKIF_OP_READ, 0, 1, 9, 0, 7));
	EQ(0x464c457f, (u32)array[1][0]);
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 0, 9, 0, 7));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 12, 9, 0, 7));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 255, 9, 0, 7));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 9, 0, 8));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 9, 255, 255));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 9, 3, 2));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, ~0ull, 1, 9, 0, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 1ull << 55, 1, 9, 0, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, ~0ull - 6, 1, 9, 0, 7));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_WRITE, 0, 1, 9, 0, 7)); /* it is read-only */
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 10, 0, 7)); /* no grant */
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, ~0u, 0, 7));
	EQ(BLKIF_RSP_EOPNOTSUPP, request(77, 0, 1, 9, 0, 7));
	CHECK(request(BLKIF_OP_DISCARD, 0, 1, 9, 0, 7) < 0);
	grant(10, mfn_of(array[1]), GTF_permit_access | GTF_readonly);
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 10, 0, 7));
	grant(10, mfn_of(kernel_l4()), GTF_permit_access);
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 10, 0, 7));
	/* What it could be read to is a table while it is not in use, and the other way round. */
	EQ(0, make_ro(array[1]));
	memset(array[1], 0, 0);
	EQ(-XEN_EINVAL, pin(2, array[1])); /* the ELF file's bytes */
	EQ(0, make_rw(array[1]));
	memset(array[1], 0, PAGE);
	EQ(0, make_ro(array[1]));
	EQ(0, pin(1, array[1]));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_READ, 0, 1, 9, 0, 7));
	EQ(0, array[1][0]);
	EQ(0, unpin(array[1]));
	EQ(0, make_rw(array[1]));
	/* Indirect ones. */
	for (unsigned k = 0; k < 512; k++)
		((struct blkif_request_segment *)array[2])[k] = (struct blkif_request_segment){ 9, 0, 7 };
	grant(11, mfn_of(array[2]), GTF_permit_access | GTF_readonly);
	EQ(BLKIF_RSP_OKAY, request(BLKIF_OP_INDIRECT, 0, 8, 11, 0, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_INDIRECT, 0, 0, 11, 0, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_INDIRECT, 0, 129, 11, 0, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_INDIRECT, 0, 0, 11, 2, 0)); /* 512 */
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_INDIRECT, 0, 255, 11, 255, 0));
	EQ(BLKIF_RSP_ERROR, request(BLKIF_OP_INDIRECT, 0, 8, 12, 0, 0));
	/* The ring's frame is in use: no table. */
	EQ(0, make_ro(array[0]));
	EQ(-XEN_EINVAL, pin(1, array[0]));
	EQ(0, make_rw(array[0]));
	/* An index that no ring holds ends it; closing and a new start bring it back. */
	sring->req_prod += 1000;
	for (unsigned k = 0; k < 20; k++)
		EQ(0, send_event(port));
	write_key(&front, "state", XenbusStateClosed);
	wait_state(&front, XenbusStateClosed);
	memset(array[0], 0, PAGE);
	sring->req_event = sring->rsp_event = 1;
	connect(8, port, XenbusStateConnected);
	EQ(BLKIF_RSP_OKAY, request(BLKIF_OP_READ, 0, 1, 9, 0, 7));
	EQ(0, close_port(port)); /* while it is in use */
	EQ(-XEN_EINVAL, send_event(port));
	write_key(&front, "state", XenbusStateClosed);
	wait_state(&front, XenbusStateClosed);
	EQ(0, make_ro(array[0]));
}
