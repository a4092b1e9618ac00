/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot=on: what the guest writes goes to a scratch file and is gone at the end; a disk of any kind stays as it is below.
 *
 * Sectors lie in the scratch file where they lie on the disk (it is sparse), and a bit a sector tells which are there. As
 * requests are whole sectors, nothing is ever copied up, and no two requests need to wait for each other: a write sets its
 * bits after its data is in place and before it completes, and whoever reads at the same time may see either.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "host/disk/backend.h"
#include "host/disk/request.h"

#define BITS 64

struct overlay {
	struct blockdev b;
	struct blockdev *base, *top;
	_Atomic u64 *there; /* a bit a sector; untouched parts take no memory */
	size_t there_size;
};

/* A request of ours to one of the two, on behalf of r. */
struct part {
	struct disk_request sub;
	struct overlay *o;
	struct disk_request *r;
	u64 done; /* bytes of a read that earlier parts did */
	struct iovec iov[];
};

static void set_there(struct overlay *o, u64 sector, u64 end)
{
	while (sector < end) {
		u64 n = MIN(BITS - sector % BITS, end - sector);
		u64 mask = (n == BITS ? ~0ull : BIT(n) - 1) << sector % BITS;

		atomic_fetch_or(&o->there[sector / BITS], mask);
		sector += n;
	}
}

/* The end of the run of sectors that are all there (*there), or all not, from sector on. */
static u64 run_end(struct overlay *o, u64 sector, u64 end, bool *there)
{
	u64 word = o->there[sector / BITS];

	*there = word >> sector % BITS & 1;
	while (sector < end) {
		word = o->there[sector / BITS];
		u64 other = (*there ? ~word : word) >> sector % BITS;

		if (other)
			return MIN(end, sector + (u64)__builtin_ctzll(other));
		sector = sector / BITS * BITS + BITS;
	}
	return end;
}

static void finish(struct part *p, int error)
{
	struct disk_request *r = p->r;

	free(p);
	r->done(r, error);
}

static void read_next(struct part *p);

static void part_read(struct disk_request *sub, int error)
{
	struct part *p = container_of(sub, struct part, sub);

	p->done += sub->len;
	if (error || p->done == p->r->len)
		finish(p, error);
	else
		read_next(p);
}

static void part_written(struct disk_request *sub, int error)
{
	struct part *p = container_of(sub, struct part, sub);

	if (!error)
		set_there(p->o, sub->offset / SECTOR, (sub->offset + sub->len) / SECTOR);
	finish(p, error);
}

static void read_next(struct part *p)
{
	struct iov_cursor c = iov_cursor_at(p->r, p->done);
	u64 sector = (p->r->offset + p->done) / SECTOR, end = (p->r->offset + p->r->len) / SECTOR, bytes;
	bool there;
	u64 len = (run_end(p->o, sector, end, &there) - sector) * SECTOR;
	struct blockdev *from;

	p->sub = (struct disk_request){ .op = DISK_READ,
					.offset = sector * SECTOR,
					.len = len,
					.iov = p->iov,
					.iovs = iov_cursor_window(&c, p->iov, p->r->iovs, len, &bytes),
					.done = part_read };
	from = there ? p->o->top : p->o->base;
	from->ops->submit(from, &p->sub);
}

static void write_through(struct part *p)
{
	const struct disk_request *r = p->r;
	bool data = r->op == DISK_WRITE;

	p->sub = (struct disk_request){ .op = data ? DISK_WRITE : DISK_WRITE_ZEROES,
					.offset = r->offset,
					.len = r->len,
					.iov = r->iov,
					.iovs = data ? r->iovs : 0,
					.may_unmap = true,
					.done = part_written };
	p->o->top->ops->submit(p->o->top, &p->sub);
}

static void overlay_submit(struct blockdev *b, struct disk_request *r)
{
	struct overlay *o = container_of(b, struct overlay, b);
	int e = request_check(&b->info, r);
	struct part *p = NULL;

	/* Nothing of it outlives us, so there is nothing that a flush could save. */
	if (!e && r->op != DISK_FLUSH && r->len) {
		p = calloc(1, sizeof(*p) + r->iovs * sizeof(p->iov[0]));
		e = p ? 0 : -ENOMEM;
	}
	if (!p) {
		raw_answer(o->top, r, e);
		return;
	}
	p->o = o;
	p->r = r;
	if (r->op == DISK_READ)
		read_next(p);
	else
		write_through(p);
}

static void overlay_abandon(struct blockdev *b)
{
	blockdev_abandon(container_of(b, struct overlay, b)->base);
}

static void overlay_destroy(struct blockdev *b)
{
	struct overlay *o = container_of(b, struct overlay, b);

	blockdev_destroy(o->top);
	blockdev_destroy(o->base);
	if (o->there)
		munmap((void *)o->there, o->there_size);
	free(o);
}

static const struct blockdev_ops overlay_ops = {
	.name = "overlay", .submit = overlay_submit, .abandon = overlay_abandon, .destroy = overlay_destroy
};

static int map_bits(struct overlay *o, struct error *err)
{
	void *p;

	o->there_size = (o->b.info.size / SECTOR + BITS - 1) / BITS * sizeof(u64);
	p = mmap(NULL, o->there_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return error_set(err, ENOMEM, "snapshot=on: no memory for %zu bytes", o->there_size);
	o->there = p;
	return 0;
}

struct blockdev *overlay_open(struct blockdev *base, const struct disk_spec *s, struct error *err)
{
	struct overlay *o = calloc(1, sizeof(*o));

	if (!o) {
		blockdev_destroy(base);
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	o->b.ops = &overlay_ops;
	o->b.info = base->info;
	o->b.info.readonly = false;
	o->b.info.can_discard = o->b.info.can_write_zeroes = true;
	o->base = base;
	if (!map_bits(o, err)) {
		o->top = raw_open_scratch(base->info.size, s, err);
		if (o->top)
			return &o->b;
		error_wrap(err, "snapshot=on");
	}
	overlay_destroy(&o->b);
	return NULL;
}
