/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block device (virtio 1.2, 5.2) over a struct blockdev: read, write, flush, discard, write zeroes, get ID; several queues.
 *
 * A request is the driver's buffer: a header that it wrote, the data, and a status byte at the very end of what we write.
 * How it is cut into parts is the driver's affair. The back end works on guest memory itself and completes on threads of its
 * own; a reset waits until it has completed everything, as nothing else gets it out of guest memory. Only once the machine has
 * ended the back end is told to give up on servers that do not answer.
 *
 * Write-back is what the driver asked for (5.2.5.1: FLUSH, then the writeback byte). Without it each write is flushed before it
 * completes.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "devices/virtio/devices.h"

#define SECTOR	     512u
#define MAX_QUEUES   16u
#define MAX_SECTORS  0x400000u /* of one discard or write zeroes: 2 GiB */
/* A chain also has the header, the status and, in the ring, the indirect table. */
#define MAX_SEGMENTS (VIRTQ_SIZE_MAX - 3)

#define WAIT_NSEC 100000000l

struct blk {
	struct virtio_device d;
	struct blockdev *back;
	struct virtio_blk_config config;
	bool writeback;
	unsigned under_way;
	pthread_cond_t idle; /* under_way has become 0 */
	struct request *spare;
};

struct request {
	struct disk_request r;
	struct blk *blk;
	struct request *next; /* while spare */
	struct virtq *queue;
	struct virtq_buffer b;
	struct iovec data[VIRTQ_IOVS_MAX];
};

/* ---- the life of a request: lock held ---- */

static struct request *take(struct blk *k)
{
	struct request *q = k->spare;

	if (q)
		k->spare = q->next;
	else
		q = malloc(sizeof(*q));
	return q;
}

static void give(struct blk *k, struct request *q)
{
	q->next = k->spare;
	k->spare = q;
}

/* data: bytes of the driver's that we wrote before the status. */
static void answer(struct request *q, u8 status, u64 data)
{
	virtq_write(&q->b, q->b.in_len - 1, &status, 1);
	virtq_push(q->queue, &q->b, (u32)(data + 1));
	virtq_signal(q->queue);
	give(q->blk, q);
}

static u8 status_of(int error)
{
	return !error ? VIRTIO_BLK_S_OK : error == -ENOTSUP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

static bool writes(const struct disk_request *r)
{
	return r->op == DISK_WRITE || r->op == DISK_DISCARD || r->op == DISK_WRITE_ZEROES;
}

/* From the back end, on any thread. */
static void done(struct disk_request *r, int error)
{
	struct request *q = container_of(r, struct request, r);
	struct blk *k = q->blk;
	u64 data = r->op == DISK_READ ? q->b.in_len - 1 : 0;
	bool through;

	virtio_lock(&k->d);
	through = !error && writes(r) && !k->writeback;
	if (!through) {
		answer(q, status_of(error), data);
		if (!--k->under_way)
			pthread_cond_broadcast(&k->idle);
	}
	virtio_unlock(&k->d);
	if (through) {
		r->op = DISK_FLUSH;
		k->back->ops->submit(k->back, r);
	}
}

static void submit(struct request *q, enum disk_op op, u64 sector, u64 len)
{
	struct blk *k = q->blk;

	q->r.op = op;
	q->r.offset = sector * SECTOR;
	q->r.len = len;
	q->r.done = done;
	k->under_way++;
	k->back->ops->submit(k->back, &q->r);
}

/* ---- what the driver asks for ---- */

/* Of iov[0..n), bytes [offset, offset + len) as parts of their own; returns how many parts. */
static unsigned cut(struct iovec *to, const struct iovec *iov, unsigned n, u64 offset, u64 len)
{
	unsigned parts = 0;

	for (unsigned i = 0; i < n && len; i++) {
		u64 here;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		here = MIN(iov[i].iov_len - offset, len);
		to[parts++] = (struct iovec){ (u8 *)iov[i].iov_base + offset, here };
		len -= here;
		offset = 0;
	}
	return parts;
}

/* In 512-byte sectors whatever the block size; written so that nothing can overflow. */
static bool on_disk(const struct blk *k, u64 sector, u64 len)
{
	u64 sectors = k->back->info.size / SECTOR;

	return sector <= sectors && len / SECTOR <= sectors - sector && !(len % k->back->info.block_size) &&
	       !(sector * SECTOR % k->back->info.block_size);
}

static void transfer(struct request *q, enum disk_op op, u64 sector)
{
	const struct virtq_buffer *b = &q->b;
	u64 header = sizeof(struct virtio_blk_outhdr);
	u64 len = op == DISK_READ ? b->in_len - 1 : b->out_len - header;

	if (!on_disk(q->blk, sector, len) || (op == DISK_WRITE && q->blk->back->info.readonly)) {
		answer(q, VIRTIO_BLK_S_IOERR, 0);
	} else if (!len) {
		answer(q, VIRTIO_BLK_S_OK, 0);
	} else {
		q->r.iovs = op == DISK_READ ? cut(q->data, b->iov + b->outs, b->ins, 0, len)
					    : cut(q->data, b->iov, b->outs, header, len);
		submit(q, op, sector, len);
	}
}

/* 5.2.6.2: one segment, as we say in the configuration; flags that we do not know are refused. */
static void unmap(struct request *q, enum disk_op op)
{
	struct virtio_blk_discard_write_zeroes s;
	const struct disk_info *info = &q->blk->back->info;
	u32 known = op == DISK_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	bool can = op == DISK_DISCARD ? info->can_discard : info->can_write_zeroes;
	u64 header = sizeof(struct virtio_blk_outhdr);

	if (!can || q->b.out_len != header + sizeof(s)) {
		answer(q, VIRTIO_BLK_S_UNSUPP, 0);
		return;
	}
	virtq_read(&q->b, header, &s, sizeof(s));
	if (s.flags & ~known) {
		answer(q, VIRTIO_BLK_S_UNSUPP, 0);
	} else if (info->readonly || s.num_sectors > MAX_SECTORS ||
		   !on_disk(q->blk, s.sector, (u64)s.num_sectors * SECTOR)) {
		answer(q, VIRTIO_BLK_S_IOERR, 0);
	} else if (!s.num_sectors) {
		answer(q, VIRTIO_BLK_S_OK, 0);
	} else {
		q->r.may_unmap = s.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
		submit(q, op, s.sector, (u64)s.num_sectors * SECTOR);
	}
}

static void get_id(struct request *q)
{
	char id[VIRTIO_BLK_ID_BYTES] = "";
	size_t len = MIN(q->b.in_len - 1, sizeof(id));

	memcpy(id, q->blk->back->info.id, sizeof(id));
	virtq_write(&q->b, 0, id, len);
	answer(q, VIRTIO_BLK_S_OK, len);
}

static void serve(struct request *q)
{
	struct virtio_blk_outhdr h;

	if (!q->b.in_len || virtq_read(&q->b, 0, &h, sizeof(h)) < sizeof(h)) {
		virtio_broken(&q->blk->d);
		give(q->blk, q);
		return;
	}
	q->r = (struct disk_request){ .iov = q->data };
	switch (h.type) {
	case VIRTIO_BLK_T_IN: transfer(q, DISK_READ, h.sector); break;
	case VIRTIO_BLK_T_OUT: transfer(q, DISK_WRITE, h.sector); break;
	case VIRTIO_BLK_T_FLUSH: submit(q, DISK_FLUSH, 0, 0); break;
	case VIRTIO_BLK_T_GET_ID: get_id(q); break;
	case VIRTIO_BLK_T_DISCARD: unmap(q, DISK_DISCARD); break;
	case VIRTIO_BLK_T_WRITE_ZEROES: unmap(q, DISK_WRITE_ZEROES); break;
	default: answer(q, VIRTIO_BLK_S_UNSUPP, 0); break;
	}
}

/* ---- the device ---- */

static void serve_queue(struct blk *k, struct virtq *queue)
{
	struct request *q;

	while ((q = take(k))) {
		q->blk = k;
		q->queue = queue;
		if (virtq_pop(queue, &q->b) <= 0) {
			give(k, q);
			return;
		}
		serve(q);
	}
}

static void config_read(struct virtio_device *d, unsigned offset, void *buf, unsigned len)
{
	struct blk *k = container_of(d, struct blk, d);

	k->config.wce = k->writeback;
	memcpy(buf, (const u8 *)&k->config + offset, len);
}

static void config_write(struct virtio_device *d, unsigned offset, const void *buf, unsigned len)
{
	struct blk *k = container_of(d, struct blk, d);
	unsigned wce = offsetof(struct virtio_blk_config, wce);

	if (virtio_has(d, VIRTIO_BLK_F_CONFIG_WCE) && offset <= wce && wce < offset + len)
		k->writeback = ((const u8 *)buf)[wce - offset] & 1;
}

/* A driver that cannot flush wants its data safe without. */
static void features_chosen(struct virtio_device *d)
{
	container_of(d, struct blk, d)->writeback = virtio_has(d, VIRTIO_BLK_F_FLUSH);
}

/* The machine's end is not announced to who waits here: it is looked at. */
static void wait_a_little(struct blk *k)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += WAIT_NSEC;
	until.tv_sec += until.tv_nsec / (long)NSEC_PER_SEC;
	until.tv_nsec %= (long)NSEC_PER_SEC;
	pthread_cond_clockwait(&k->idle, &k->d.lock, CLOCK_MONOTONIC, &until);
	if (k->under_way && atomic_load(&k->d.machine->end) != END_NONE) {
		virtio_unlock(&k->d);
		blockdev_abandon(k->back);
		virtio_lock(&k->d);
	}
}

static void settle(struct blk *k)
{
	while (k->under_way)
		wait_a_little(k);
}

static void notify(struct virtio_device *d, unsigned index)
{
	struct blk *k = container_of(d, struct blk, d);

	serve_queue(k, virtio_queue(d, index));
	/* On the vCPU: when a request completes must not depend on the host. */
	if (clock_deterministic(d->machine->clock) && vcpu_current())
		settle(k);
}

static void reset(struct virtio_device *d)
{
	struct blk *k = container_of(d, struct blk, d);

	settle(k);
	k->writeback = true;
}

static void destroy(struct virtio_device *d)
{
	struct blk *k = container_of(d, struct blk, d);
	struct request *q;

	while ((q = k->spare)) {
		k->spare = q->next;
		free(q);
	}
	pthread_cond_destroy(&k->idle);
	free(k);
}

static const struct virtio_ops blk_ops = {
	.name = "virtio-blk",
	.id = 2,
	.pci_class = 0x010000, /* SCSI controller, as drivers of other systems expect */
	.features = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) |
		    BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_MQ),
	.config_len = offsetof(struct virtio_blk_config, max_secure_erase_sectors),
	.config_read = config_read,
	.config_write = config_write,
	.features_chosen = features_chosen,
	.notify = notify,
	.reset = reset,
	.destroy = destroy,
};

static void describe(struct blk *k)
{
	const struct disk_info *i = &k->back->info;

	k->config = (struct virtio_blk_config){
		.capacity = i->size / SECTOR,
		.seg_max = MAX_SEGMENTS,
		.blk_size = i->block_size,
		.opt_io_size = i->optimal_io / i->block_size,
		.num_queues = (u16)k->d.queues,
		.max_discard_sectors = MAX_SECTORS,
		.max_discard_seg = 1,
		.discard_sector_alignment = i->block_size / SECTOR,
		.max_write_zeroes_sectors = MAX_SECTORS,
		.max_write_zeroes_seg = 1,
		.write_zeroes_may_unmap = 1,
	};
	k->d.offered = (i->readonly ? BIT(VIRTIO_BLK_F_RO) : 0) | (i->can_discard ? BIT(VIRTIO_BLK_F_DISCARD) : 0) |
		       (i->can_write_zeroes ? BIT(VIRTIO_BLK_F_WRITE_ZEROES) : 0);
}

struct virtio_device *virtio_blk_new(struct machine *m, struct blockdev *back, struct error *err)
{
	struct blk *k = calloc(1, sizeof(*k));

	if (!k) {
		error_set(err, ENOMEM, "no memory for a disk");
		return NULL;
	}
	k->d = (struct virtio_device){ .ops = &blk_ops, .machine = m, .queues = MIN(m->config.cpus, MAX_QUEUES) };
	k->back = back;
	k->writeback = true;
	pthread_cond_init(&k->idle, NULL);
	describe(k);
	return &k->d;
}
