/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block back end (xen/io/blkif.h) over a struct blockdev: read, write, flush, discard, and requests whose segments are in pages of their
 * own (indirect). Barriers are refused: front ends that can flush need none, and we say that we can.
 *
 * The disk's back end works on the guest's granted frames themselves and completes on threads of its own. A request holds its grants from
 * when it is taken to its answer; the ring stays until all have been answered, whatever the front end does meanwhile.
 */
#include "platform/xen/vbd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "platform/xen/events.h"
#include "platform/xen/grants.h"
#include "platform/xen/ring.h"
#include "platform/xen/xenbus.h"

#include <xen/io/blkif.h>
#include <xen/io/protocols.h>

#define SECTOR	      512u
#define PAGE_SECTORS  (PAGE_SIZE / SECTOR)
#define SEGMENTS_MAX  128u /* of an indirect request: 512 KiB */
#define PAGE_SEGMENTS (PAGE_SIZE / sizeof(struct blkif_request_segment))
#define DISCARD_MAX   (1ull << 31) /* bytes at a time: what all back ends take */
#define FIRST_DEVICE  (202u << 8) /* xvda; a disk has 16 minor numbers */
#define WAIT_NSEC     100000000l

struct vbd {
	struct xenbus bus;
	struct blockdev *back;
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t idle; /* under_way has become 0 */
	bool serving; /* connected, and neither leaving nor broken */
	struct blkif_back_ring ring;
	struct grant page;
	u32 port;
	unsigned under_way;
	bool leaving; /* disconnect() waits for them */
	struct request *spare;
	struct work work;
	u64 requests, bytes, refused; /* figures */
};

struct request {
	struct disk_request r;
	struct vbd *vbd;
	struct request *next; /* while spare */
	u64 id;
	u8 operation; /* to be answered */
	enum disk_op then; /* after a flush that comes first */
	u64 left; /* of a discard */
	unsigned segments;
	struct grant grant[SEGMENTS_MAX];
	struct iovec iov[SEGMENTS_MAX];
};

/* ---- the life of a request: lock held ---- */

static struct request *take(struct vbd *k)
{
	struct request *q = k->spare;

	if (q)
		k->spare = q->next;
	else
		q = malloc(sizeof(*q));
	return q;
}

static void give(struct vbd *k, struct request *q)
{
	q->next = k->spare;
	k->spare = q;
}

static void respond(struct vbd *k, u64 id, u8 operation, s16 status)
{
	struct blkif_response *r = RING_GET_RESPONSE(&k->ring, k->ring.rsp_prod_pvt);
	int notify;

	*r = (struct blkif_response){ .id = id, .operation = operation, .status = status };
	k->ring.rsp_prod_pvt++;
	RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&k->ring, notify);
	if (notify)
		events_raise(k->bus.d, k->port);
}

static s16 status_of(int error)
{
	return !error ? BLKIF_RSP_OKAY : error == -ENOTSUP ? BLKIF_RSP_EOPNOTSUPP : BLKIF_RSP_ERROR;
}

static void drop_grants(struct request *q)
{
	for (unsigned i = 0; i < q->segments; i++) {
		if (q->r.op == DISK_READ)
			machine_written(q->vbd->bus.d->machine, q->iov[i].iov_base, q->iov[i].iov_len);
		grant_put(q->vbd->bus.d, &q->grant[i]);
	}
	q->segments = 0;
}

static void answer(struct request *q, s16 status)
{
	q->vbd->requests++;
	q->vbd->refused += status != BLKIF_RSP_OKAY;
	q->vbd->bytes += q->segments ? q->r.len : 0;
	drop_grants(q);
	respond(q->vbd, q->id, q->operation, status);
	give(q->vbd, q);
}

/* What a request goes on with after its first part; false: that was all. */
static bool goes_on(struct request *q)
{
	if (q->r.op == DISK_FLUSH && q->then != DISK_FLUSH) {
		q->r.op = q->then;
		return true;
	}
	if (q->r.op != DISK_DISCARD || q->left == q->r.len)
		return false;
	q->left -= q->r.len;
	q->r.offset += q->r.len;
	q->r.len = MIN(q->left, DISCARD_MAX);
	return true;
}

/* From the disk, on any thread. */
static void done(struct disk_request *r, int error)
{
	struct request *q = container_of(r, struct request, r);
	struct vbd *k = q->vbd;
	bool more;

	pthread_mutex_lock(&k->lock);
	more = !error && goes_on(q);
	if (!more) {
		answer(q, status_of(error));
		if (!--k->under_way) {
			pthread_cond_broadcast(&k->idle);
			if (k->leaving)
				xenbus_ring(&k->bus);
		}
	}
	pthread_mutex_unlock(&k->lock);
	if (more)
		k->back->ops->submit(k->back, r);
}

static void submit(struct request *q)
{
	q->r.done = done;
	q->vbd->under_way++;
	q->vbd->back->ops->submit(q->vbd->back, &q->r);
}

/* ---- what the front end asks for ---- */

/* In sectors of 512 bytes whatever the block size; written so that nothing can overflow. */
static bool on_disk(const struct vbd *k, u64 sector, u64 sectors)
{
	u64 size = k->back->info.size / SECTOR, block = k->back->info.block_size / SECTOR;

	return sector <= size && sectors <= size - sector && !(sector % block) && !(sectors % block);
}

static bool add_segment(struct request *q, const struct blkif_request_segment *s)
{
	unsigned n = q->segments;
	u64 len;

	if (s->first_sect > s->last_sect || s->last_sect >= PAGE_SECTORS ||
	    grant_get(q->vbd->bus.d, s->gref, q->r.op == DISK_READ, &q->grant[n]))
		return false;
	len = (s->last_sect - s->first_sect + 1u) * SECTOR;
	q->iov[n] = (struct iovec){ q->grant[n].host + s->first_sect * SECTOR, len };
	q->r.len += len;
	q->segments++;
	return true;
}

/* Sends a request off whose segments are there. */
static void transfer(struct request *q, u64 sector)
{
	bool writes = q->r.op == DISK_WRITE;

	if (!on_disk(q->vbd, sector, q->r.len / SECTOR) || (writes && q->vbd->back->info.readonly)) {
		answer(q, BLKIF_RSP_ERROR);
		return;
	}
	q->r.offset = sector * SECTOR;
	q->r.iovs = q->segments;
	submit(q);
}

static void read_or_write(struct request *q, const struct blkif_request *b)
{
	bool ok = b->nr_segments && b->nr_segments <= BLKIF_MAX_SEGMENTS_PER_REQUEST;

	q->r.op = b->operation == BLKIF_OP_READ ? DISK_READ : DISK_WRITE;
	for (unsigned i = 0; ok && i < b->nr_segments; i++)
		ok = add_segment(q, &b->seg[i]);
	if (ok)
		transfer(q, b->sector_number);
	else
		answer(q, BLKIF_RSP_ERROR);
}

/* Segments, if there are any, are written after the flush. */
static void flush(struct request *q, const struct blkif_request *b)
{
	bool ok = b->nr_segments <= BLKIF_MAX_SEGMENTS_PER_REQUEST;

	q->r.op = DISK_WRITE;
	for (unsigned i = 0; ok && i < b->nr_segments; i++)
		ok = add_segment(q, &b->seg[i]);
	ok = ok &&
	     (!q->segments || (on_disk(q->vbd, b->sector_number, q->r.len / SECTOR) && !q->vbd->back->info.readonly));
	if (!ok) {
		answer(q, BLKIF_RSP_ERROR);
		return;
	}
	q->r.offset = q->segments ? b->sector_number * SECTOR : 0;
	q->r.iovs = q->segments;
	q->then = q->segments ? DISK_WRITE : DISK_FLUSH;
	q->r.op = DISK_FLUSH;
	submit(q);
}

static void discard(struct request *q, const struct blkif_request_discard *b)
{
	const struct disk_info *info = &q->vbd->back->info;

	q->id = b->id;
	if (!info->can_discard || b->flag) {
		answer(q, BLKIF_RSP_EOPNOTSUPP);
	} else if (info->readonly || !on_disk(q->vbd, b->sector_number, b->nr_sectors)) {
		answer(q, BLKIF_RSP_ERROR);
	} else if (!b->nr_sectors) {
		answer(q, BLKIF_RSP_OKAY);
	} else {
		q->r.op = DISK_DISCARD;
		q->r.offset = b->sector_number * SECTOR;
		q->left = b->nr_sectors * SECTOR;
		q->r.len = MIN(q->left, DISCARD_MAX);
		submit(q);
	}
}

/* The segments of one page; they are copied before they are looked at. */
static bool add_page(struct request *q, u32 ref, unsigned count)
{
	struct blkif_request_segment s[SEGMENTS_MAX];
	struct grant page;

	if (grant_get(q->vbd->bus.d, ref, false, &page))
		return false;
	memcpy(s, page.host, count * sizeof(s[0]));
	grant_put(q->vbd->bus.d, &page);
	for (unsigned i = 0; i < count; i++)
		if (!add_segment(q, &s[i]))
			return false;
	return true;
}
_Static_assert(SEGMENTS_MAX <= PAGE_SEGMENTS, "one page has all of a request's segments");

static void indirect(struct request *q, const struct blkif_request_indirect *b)
{
	bool ok = b->nr_segments && b->nr_segments <= SEGMENTS_MAX &&
		  (b->indirect_op == BLKIF_OP_READ || b->indirect_op == BLKIF_OP_WRITE);

	q->id = b->id;
	q->operation = b->indirect_op; /* which Linux wants to see in the answer */
	q->r.op = b->indirect_op == BLKIF_OP_READ ? DISK_READ : DISK_WRITE;
	if (ok && add_page(q, b->indirect_grefs[0], b->nr_segments))
		transfer(q, b->sector_number);
	else
		answer(q, BLKIF_RSP_ERROR);
}

static void serve(struct request *q, const struct blkif_request *b)
{
	q->r = (struct disk_request){ .iov = q->iov };
	q->segments = 0;
	q->left = 0;
	q->id = b->id;
	q->operation = b->operation;
	switch (b->operation) {
	case BLKIF_OP_READ:
	case BLKIF_OP_WRITE: read_or_write(q, b); break;
	case BLKIF_OP_FLUSH_DISKCACHE: flush(q, b); break;
	case BLKIF_OP_DISCARD: discard(q, (const void *)b); break;
	case BLKIF_OP_INDIRECT: indirect(q, (const void *)b); break;
	default: answer(q, BLKIF_RSP_EOPNOTSUPP); break;
	}
}

/* ---- the ring ---- */

/* An index that is further than the ring is long is from no driver: it is not listened to any more. */
static void serve_ring(struct vbd *k)
{
	u32 prod = ring_index(&k->ring.sring->req_prod);
	struct request *q;

	xen_rmb();
	if (RING_REQUEST_PROD_OVERFLOW(&k->ring, prod)) {
		k->serving = false;
		return;
	}
	while (k->ring.req_cons != prod && !RING_REQUEST_CONS_OVERFLOW(&k->ring, k->ring.req_cons) && (q = take(k))) {
		struct blkif_request b;

		RING_COPY_REQUEST(&k->ring, k->ring.req_cons, &b);
		k->ring.req_cons++;
		q->vbd = k;
		serve(q, &b);
	}
}

static void settle(struct vbd *k)
{
	while (k->under_way) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += WAIT_NSEC;
		until.tv_sec += until.tv_nsec / (long)NSEC_PER_SEC;
		until.tv_nsec %= (long)NSEC_PER_SEC;
		pthread_cond_clockwait(&k->idle, &k->lock, CLOCK_MONOTONIC, &until);
		if (k->under_way && atomic_load(&k->bus.d->machine->end) != END_NONE) {
			pthread_mutex_unlock(&k->lock);
			blockdev_abandon(k->back);
			pthread_mutex_lock(&k->lock);
		}
	}
}

static void work(void *arg)
{
	struct vbd *k = arg;
	int more = 0;

	pthread_mutex_lock(&k->lock);
	if (k->serving) {
		serve_ring(k);
		RING_FINAL_CHECK_FOR_REQUESTS(&k->ring, more);
		if (more && k->serving)
			work_ring(&k->work);
		/* When a request completes must not depend on the host. */
		if (clock_deterministic(k->bus.d->machine->clock) && vcpu_current())
			settle(k);
	}
	pthread_mutex_unlock(&k->lock);
}

/* ---- connecting ---- */

static void tell(struct xenbus *x, const struct disk_info *i)
{
	xenbus_put(x, false, "sectors", "%llu", (unsigned long long)i->size / SECTOR);
	xenbus_put(x, false, "info", "%u", i->readonly ? VDISK_READONLY : 0);
	xenbus_put(x, false, "sector-size", "%u", i->block_size);
	xenbus_put(x, false, "physical-sector-size", "%u", i->block_size);
	xenbus_put(x, false, "feature-flush-cache", "1");
	xenbus_put(x, false, "feature-max-indirect-segments", "%u", SEGMENTS_MAX);
	xenbus_put(x, false, "feature-discard", "%d", i->can_discard);
	xenbus_put(x, false, "discard-granularity", "%u", i->block_size);
	xenbus_put(x, false, "discard-alignment", "0");
	xenbus_put(x, false, "discard-secure", "0");
}

static int connect(struct xenbus *x, struct error *err)
{
	struct vbd *k = container_of(x, struct vbd, bus);
	char protocol[32];
	u64 ref, port;

	if (xenbus_get(x, "protocol", protocol, sizeof(protocol)) && strcmp(protocol, XEN_IO_PROTO_ABI_X86_64))
		return error_set(err, EINVAL, "protocol is not %s", XEN_IO_PROTO_ABI_X86_64);
	if (!xenbus_get_number(x, "ring-ref", ~0u, &ref) || !xenbus_get_number(x, "event-channel", ~0u, &port))
		return error_set(err, EINVAL, "no ring-ref or no event-channel");
	if (grant_get(x->d, (u32)ref, true, &k->page))
		return error_set(err, EINVAL, "ring-ref %llu grants no page", (unsigned long long)ref);
	pthread_mutex_lock(&k->lock);
	k->port = (u32)port;
	k->leaving = false;
	BACK_RING_INIT(&k->ring, (struct blkif_sring *)k->page.host, PAGE_SIZE);
	k->serving = !events_bind(x->d, k->port, work_ring, &k->work);
	pthread_mutex_unlock(&k->lock);
	if (!k->serving) {
		grant_put(x->d, &k->page);
		return error_set(err, EINVAL, "event-channel %llu is not for us", (unsigned long long)port);
	}
	tell(x, &k->back->info);
	work_ring(&k->work);
	return 0;
}

static bool disconnect(struct xenbus *x)
{
	struct vbd *k = container_of(x, struct vbd, bus);

	pthread_mutex_lock(&k->lock);
	k->serving = false;
	k->leaving = k->under_way;
	pthread_mutex_unlock(&k->lock);
	if (k->leaving)
		return false;
	events_unbind(x->d, k->port);
	grant_put(x->d, &k->page);
	return true;
}

static const struct xenbus_ops vbd_ops = {
	.type = "vbd",
	.ready = XenbusStateInitialised,
	.connect = connect,
	.disconnect = disconnect,
};

/* ---- making and releasing ---- */

struct vbd *vbd_create(struct xen_domain *d, unsigned index, struct blockdev *back, struct error *err)
{
	struct vbd *k = calloc(1, sizeof(*k));
	unsigned device = FIRST_DEVICE + 16 * index;

	if (!k) {
		error_set(err, ENOMEM, "no memory for a disk");
		return NULL;
	}
	k->back = back;
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->idle, NULL);
	work_init(&k->work, d->machine, work, k);
	if (xenbus_init(&k->bus, d, &vbd_ops, device, err)) {
		vbd_destroy(k);
		return NULL;
	}
	xenbus_put(&k->bus, true, "virtual-device", "%u", device);
	xenbus_put(&k->bus, true, "device-type", "disk");
	xenbus_put(&k->bus, false, "dev", "xvd%c", 'a' + index);
	xenbus_put(&k->bus, false, "mode", "%s", back->info.readonly ? "r" : "w");
	xenbus_put(&k->bus, false, "device-type", "disk");
	xenbus_start(&k->bus);
	return k;
}

void vbd_stats(const struct vbd *k, void (*line)(const char *fmt, ...))
{
	line("%s: %llu requests for %llu KiB, %llu of them failed or refused",
	     k->bus.front + sizeof(STORE_HOME "/device/") - 1, (unsigned long long)k->requests,
	     (unsigned long long)k->bytes >> 10, (unsigned long long)k->refused);
}

void vbd_destroy(struct vbd *k)
{
	struct request *q;

	if (!k)
		return;
	xenbus_stop(&k->bus);
	work_cancel(&k->work);
	pthread_mutex_lock(&k->lock);
	settle(k);
	pthread_mutex_unlock(&k->lock);
	if (k->bus.connected)
		disconnect(&k->bus);
	while ((q = k->spare)) {
		k->spare = q->next;
		free(q);
	}
	pthread_cond_destroy(&k->idle);
	pthread_mutex_destroy(&k->lock);
	free(k);
}
