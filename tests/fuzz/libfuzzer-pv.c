/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest of Xen's PV interface, as far as its events, store, console, disk and network card go: steps of eight bytes, most with data
 * behind them: hypercalls' arguments, requests to the store, bytes for any shared page, requests for rings, frames from the network. All frames are
 * the guest's but the grant table's; every fourth is a page table, which may not be written.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "platform/xen/console.h"
#include "platform/xen/events.h"
#include "platform/xen/grants.h"
#include "platform/xen/mm.h"
#include "platform/xen/store.h"
#include "platform/xen/toolstack.h"
#include "platform/xen/vbd.h"
#include "platform/xen/vif.h"
#include "x86/cpuid.h"

#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/io/xs_wire.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_SIZE (4ull << 20)
#define FRAMES	 ((unsigned)(RAM_SIZE >> PAGE_SHIFT))
/* Frames. */
#define SHARED	 1u
#define STORE	 2u
#define CONSOLE	 3u
#define ARG	 4u
#define BLK	 5u
#define TX	 6u
#define RX	 7u
#define FIFO	 8u /* a control block a vCPU, and an array's page */
#define PAGES	 11u /* that a step may write to, before the grant table */
#define GRANTS	 16u
#define DATA	 64u
#define CPUS	 2
#define REQUESTS 256

enum step_kind {
	EVENT_OP,
	GRANT_OP,
	REQUEST,
	PAGE_WRITE,
	SEND,
	CONNECT,
	STATE,
	BLK_REQUEST,
	TX_REQUEST,
	RX_REQUEST,
	RECEIVE,
	COMPLETE,
	PASS,
	POLL,
	KINDS
};
struct step {
	u8 kind, which;
	u16 len; /* bytes behind it */
	u32 value;
} __attribute__((packed));

struct fuzz {
	struct machine *m;
	struct xen_domain *d;
	int uses[FRAMES];
	struct blockdev disk;
	struct disk_request *request[REQUESTS];
	unsigned requests;
	struct netdev net;
	unsigned sent;
	u32 port[3]; /* of BLK, TX, RX */
};
static struct fuzz *f;

/* ---- memory management's place ---- */

int guest_read(struct vcpu *v, u64 gla, void *buf, u64 len)
{
	return !len ? 0 : machine_read(f->m, gla, buf, len);
}
int guest_write(struct vcpu *v, u64 gla, const void *buf, u64 len)
{
	return machine_write(f->m, gla, buf, len);
}
u8 *mm_get(struct xen_domain *d, u64 mfn, enum frame_type as)
{
	if (mfn >= FRAMES || (mfn >= GRANTS && mfn < GRANTS + GRANT_FRAMES))
		return NULL;
	if (as == FRAME_WRITABLE && mfn >= DATA && mfn % 4 == 3)
		return NULL;
	f->uses[mfn]++;
	return ram_ptr(f->m, mfn << PAGE_SHIFT, PAGE_SIZE);
}
void mm_put(struct xen_domain *d, u64 mfn, enum frame_type as)
{
	assert(mfn < FRAMES && f->uses[mfn]-- > 0);
}
void mm_share(struct xen_domain *d, u64 mfn, bool writable)
{
}
u64 mm_total_pages(struct xen_domain *d)
{
	return FRAMES;
}

static u8 *frame(u64 mfn)
{
	return ram_ptr(f->m, mfn << PAGE_SHIFT, PAGE_SIZE);
}

/* ---- what is behind the devices ---- */

static void disk_submit(struct blockdev *b, struct disk_request *r)
{
	u64 len = 0;

	assert(r->offset + r->len <= b->info.size && r->offset + r->len >= r->offset);
	for (unsigned i = 0; r->op < DISK_FLUSH && i < r->iovs; i++)
		len += r->iov[i].iov_len;
	assert(r->op >= DISK_FLUSH || len == r->len);
	assert(f->requests < REQUESTS);
	f->request[f->requests++] = r;
}
static const struct blockdev_ops disk_ops = { .name = "nothing", .submit = disk_submit };

static void disk_complete(void)
{
	while (f->requests) {
		struct disk_request *r = f->request[--f->requests];

		for (unsigned i = 0; r->op == DISK_READ && i < r->iovs; i++)
			memset(r->iov[i].iov_base, 0x5a, r->iov[i].iov_len);
		r->done(r, f->requests % 7 == 6 ? -EIO : 0);
	}
}

static size_t console_some(struct chardev *c, const u8 *data, size_t len)
{
	return len / 2;
}
static void console_resume(struct chardev *c)
{
}
static const struct chardev_ops console_ops = { console_some, console_resume };
static struct chardev console = { .ops = &console_ops };

static bool net_send(struct netdev *n, const struct virtio_net_hdr *h, const struct iovec *iov, unsigned iovs)
{
	static u8 copy[NET_FRAME_MAX];

	assert(iovs == 1 && iov->iov_len >= 14 && iov->iov_len <= sizeof(copy));
	memcpy(copy, iov->iov_base, iov->iov_len);
	return f->sent++ % 5 != 4;
}
static void net_resume(struct netdev *n)
{
}
static const struct netdev_ops net_ops = { .name = "fuzz", .send = net_send, .resume = net_resume };

/* ---- steps ---- */

static s64 call(unsigned cpu, hypercall_fn *fn, u64 op, const void *arg, size_t len)
{
	u64 a[6] = { op, ARG << PAGE_SHIFT, 1 };

	memcpy(frame(ARG), arg, MIN(len, PAGE_SIZE));
	return fn(f->m->vcpu[cpu], a);
}

/* What was rung for is done; works may ring for each other for ever. */
static void settle(void)
{
	for (unsigned i = 0; i < 20 && clock_next_deadline(f->m->clock) <= clock_now(f->m->clock); i++)
		clock_run_timers(f->m->clock);
}

static void send(u32 port)
{
	call(0, hypercall_event_channel_op, EVTCHNOP_send, &port, sizeof(port));
	settle();
}

static void ask(u32 type, u32 tx, const void *payload, u32 len)
{
	struct xenstore_domain_interface *p = (void *)frame(STORE);
	struct xsd_sockmsg h = { type, 1, tx, len };

	for (u32 i = 0; i < sizeof(h) + len; i++) {
		const u8 *from = i < sizeof(h) ? (const u8 *)&h + i : (const u8 *)payload + i - sizeof(h);

		p->req[MASK_XENSTORE_IDX(p->req_prod++)] = (char)*from;
		if (i % 512 == 511)
			send(1);
	}
	send(1);
	if (type != XS_INVALID)
		p->rsp_cons = p->rsp_prod;
}

static void write_key(const char *key, u32 number)
{
	char text[96];
	int len = snprintf(text, sizeof(text), "device/%s", key) + 1;

	ask(XS_WRITE, 0, text, (u32)(len + snprintf(text + len, sizeof(text) - (size_t)len, "%u", number)));
}

/* As a driver does, one time out of four with a number of the input's. */
static void connect(const struct step *s)
{
	static const char *const key[3][2] = { { "vbd/51712/ring-ref", "vbd/51712/event-channel" },
					       { "vif/0/tx-ring-ref", "vif/0/event-channel-tx" },
					       { "vif/0/rx-ring-ref", "vif/0/event-channel-rx" } };

	for (unsigned i = 0; i < 3; i++) {
		struct evtchn_alloc_unbound a = { .dom = DOMID_SELF };

		memset(frame(BLK + i), 0, 64);
		if (!call(0, hypercall_event_channel_op, EVTCHNOP_alloc_unbound, &a, sizeof(a)))
			f->port[i] = ((struct evtchn_alloc_unbound *)frame(ARG))->port;
		write_key(key[i][0], s->which & 1u << i ? s->value : BLK + i);
		write_key(key[i][1], s->which & 8u << i ? s->value : f->port[i]);
	}
	write_key("vif/0/request-rx-copy", 1);
	write_key("vif/0/feature-sg", s->value & 1);
	write_key("vif/0/feature-gso-tcpv4", s->value >> 1 & 1);
	write_key("vif/0/feature-ipv6-csum-offload", s->value >> 2 & 1);
	write_key("vbd/51712/state", 3);
	write_key("vif/0/state", 4);
}

/* Whole slots of a ring, then its producer's index and its event. */
static void push(unsigned ring, unsigned slot, const u8 *data, u32 len)
{
	u8 *page = frame(BLK + ring);
	u32 *prod = (u32 *)page, slots = ring ? 256 : 32;

	for (; len; data += MIN(len, slot), len -= MIN(len, slot), ++*prod)
		memcpy(page + 64 + *prod % slots * slot, data, MIN(len, slot));
	send(f->port[ring]);
}

static void receive(const struct step *s, const u8 *data)
{
	struct virtio_net_hdr h = { .flags = (u8)s->value,
				    .gso_type = (u8)(s->value >> 8),
				    .gso_size = (u16)(s->value >> 16) };
	static u8 body[NET_FRAME_MAX];
	struct iovec iov = { body, MIN(14 + s->which * 300u, NET_FRAME_MAX) };

	memset(body, 0, sizeof(body));
	memcpy(body, data, MIN(s->len, iov.iov_len));
	h.csum_start = 34;
	h.csum_offset = 16;
	f->net.front.receive(f->net.front.arg, &h, &iov, 1);
	settle();
}

static void take(const struct step *s, const u8 *data)
{
	static const u8 slot[] = { 112, 12, 8 };
	u8 page = s->which % (PAGES + 1);
	u32 at = s->value % PAGE_SIZE;

	switch (s->kind % KINDS) {
	case EVENT_OP: call(s->which & 1, hypercall_event_channel_op, s->which >> 1, data, s->len); break;
	case GRANT_OP: call(0, hypercall_grant_table_op, s->which, data, s->len); break;
	case REQUEST: ask(s->which, s->value % 16, data, MIN(s->len, 5000)); break;
	case PAGE_WRITE: memcpy(frame(page == PAGES ? GRANTS : page) + at, data, MIN(s->len, PAGE_SIZE - at)); break;
	case SEND: send(s->value % 32); break;
	case CONNECT: connect(s); break;
	case STATE: write_key(s->which & 1 ? "vif/0/state" : "vbd/51712/state", s->value % 9); break;
	case BLK_REQUEST:
	case TX_REQUEST:
	case RX_REQUEST: push(s->kind % KINDS - BLK_REQUEST, slot[s->kind % KINDS - BLK_REQUEST], data, s->len); break;
	case RECEIVE: receive(s, data); break;
	case COMPLETE:
		disk_complete();
		console.front.writable(console.front.arg);
		console.front.receive(console.front.arg, data, s->len);
		f->net.front.writable(f->net.front.arg);
		break;
	case PASS:
		memcpy(frame(ARG), data, MIN(s->len, PAGE_SIZE));
		timer_vcpu_op(f->m->vcpu[s->which & 1], s->which >> 2, s->which >> 1 & 1, ARG << PAGE_SHIFT);
		clock_set(f->m->clock, clock_now(f->m->clock) + s->value % 5000000);
		break;
	default:
		events_poll(f->m->vcpu[1], ARG << PAGE_SHIFT, s->which, s->value);
		events_pending(f->m->vcpu[1]);
		break;
	}
	settle();
}

/* ---- the domain ---- */

static void make(void)
{
	const struct machine_config config = {
		.ram_size = RAM_SIZE, .cpus = CPUS, .model = cpu_model_find(NULL, NULL), .deterministic = true
	};
	struct xen_domain *d = calloc(1, sizeof(*d));

	f->m = machine_new(&config, NULL);
	assert(f->m && d);
	f->d = f->m->platform = d;
	d->machine = f->m;
	d->cpus = CPUS;
	d->frames = FRAMES;
	d->shared = (struct shared_info *)frame(SHARED);
	for (unsigned i = 0; i < CPUS; i++) {
		d->cpu[i].v = f->m->vcpu[i];
		d->cpu[i].info = &d->shared->vcpu_info[i];
	}
	for (unsigned i = 0; i < 512; i++) {
		struct grant_entry_v1 *e = (struct grant_entry_v1 *)frame(GRANTS) + i;

		*e = (struct grant_entry_v1){ (u16)(GTF_permit_access | (i % 5 == 4 ? GTF_readonly : 0)), 0,
					      i < DATA ? i : DATA + i };
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz fuzz = { .disk = { .ops = &disk_ops,
				       .info = { .size = 1 << 20, .block_size = 512, .can_discard = true } },
			     .net = { .ops = &net_ops, .takes = size & 1 ? NET_CSUM | NET_TSO4 : 0, .mtu = 1500 } };
	struct vbd *vbd;
	struct vif *vif;

	f = &fuzz;
	make();
	assert(!events_create(f->d, NULL) && !store_create(f->d, STORE, NULL) &&
	       !console_create(f->d, CONSOLE, &console, NULL));
	assert(!grants_create(f->d, GRANTS, NULL) && !toolstack_create(f->d, 0, NULL));
	vbd = vbd_create(f->d, 0, &f->disk, NULL);
	vif = vif_create(f->d, 0, &f->net, NULL);
	assert(vbd && vif);
	for (struct step s; size >= sizeof(s);) {
		memcpy(&s, data, sizeof(s));
		data += sizeof(s);
		size -= sizeof(s);
		s.len = (u16)MIN(s.len % 6000, size);
		take(&s, data);
		data += s.len;
		size -= s.len;
	}
	disk_complete();
	disk_complete(); /* what came after a flush */
	vif_destroy(vif);
	vbd_destroy(vbd);
	grants_destroy(f->d);
	console_destroy(f->d);
	store_destroy(f->d);
	events_destroy(f->d);
	for (unsigned i = 0; i < FRAMES; i++)
		assert(!f->uses[i]);
	free(f->d);
	machine_free(f->m);
	return 0;
}
