/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory balloon (virtio 1.2, 5.5): memory that the guest does not use returns to the host, either because we ask for it (the
 * balloon's size) or because the driver reports free pages of its own accord. Either way ram_discard() drops the pages, and
 * the host finds new ones when the guest touches them again; so deflating needs nothing but an answer.
 *
 * Which pages are in the balloon is not remembered: a driver that names others than its own, or one twice, loses their
 * contents and harms nobody else. Free page hints (5.5.6.4) are not offered: the driver may write to hinted pages while we
 * look, so without a log of written pages nothing can be dropped; they are for migration.
 *
 * Queues behind the first two exist as features have them. The standard numbers them fixedly, but drivers, Linux's among
 * them, give them the next free number instead. Which one a driver does shows in the queues that it has enabled.
 */
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/devices.h"
#include "devices/virtio/later.h"

#define QUEUES	  5
#define PFNS	  256 /* that are dropped at a time */
#define PFNS_MAX  4096 /* of a buffer; drivers send 256 to 1024 */
#define STATS_MAX 64 /* tags that are looked at in an answer; there are 10 */

enum role { INFLATE, DEFLATE, STATS, HINT, REPORT };

struct balloon {
	struct virtio_device v; /* first */
	struct virtio_balloon_config config;
	enum role role[QUEUES]; /* of each queue */
	struct virtio_later later;
	bool has_stats; /* stats_buf is the driver's answer, kept until we ask again */
	bool want_stats;
	struct balloon_stats stats;
	struct virtq_buffer stats_buf, buf;
};

static struct balloon *balloon_of(struct virtio_device *v)
{
	return container_of(v, struct balloon, v);
}

/* ---- inflating ---- */
static int by_number(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return x < y ? -1 : x > y;
}

/* Drops pages, neighbours at once. Those that are no RAM are ignored. */
static void drop_pages(struct balloon *b, u32 *pfn, unsigned n)
{
	qsort(pfn, n, sizeof(*pfn), by_number);
	for (unsigned k = 0, run; k < n; k += run) {
		for (run = 1; k + run < n && pfn[k + run] == pfn[k] + run; run++)
			;
		if (ram_discard(b->v.machine, (u64)pfn[k] << VIRTIO_BALLOON_PFN_SHIFT,
				(u64)run << VIRTIO_BALLOON_PFN_SHIFT) != -EFAULT)
			continue;
		for (unsigned j = 0; run > 1 && j < run; j++) /* some of them are RAM, perhaps */
			ram_discard(b->v.machine, (u64)pfn[k + j] << VIRTIO_BALLOON_PFN_SHIFT, PAGE_SIZE);
	}
}

/* Returns how many pieces of work that was. */
static unsigned inflate(struct balloon *b)
{
	unsigned pieces = 0;
	u32 pfn[PFNS];
	u64 end = MIN(b->buf.out_len / sizeof(u32), PFNS_MAX) * sizeof(u32);

	for (u64 at = 0; at < end;) {
		size_t len = virtq_read(&b->buf, at, pfn, MIN(sizeof(pfn), end - at));

		drop_pages(b, pfn, (unsigned)(len / sizeof(u32)));
		at += len;
		pieces++;
	}
	return pieces;
}

/* ---- free page reporting, 5.5.6.7: the buffer's parts are the pages ---- */
static void drop_reported(struct balloon *b)
{
	const struct iovec *iov = b->buf.iov + b->buf.outs;
	struct machine *m = b->v.machine;

	/* Pages with a poison are to keep it, and what we would leave there are zeros. */
	if (virtio_has(&b->v, VIRTIO_BALLOON_F_PAGE_POISON) && b->config.poison_val)
		return;
	for (unsigned k = 0; k < b->buf.ins; k++) {
		u64 offset = (u64)((u8 *)iov[k].iov_base - m->ram);
		u64 gpa = offset < m->low_size ? offset : offset - m->low_size + HIGH_RAM_BASE;

		ram_discard(m, gpa, iov[k].iov_len);
	}
}

/* ---- statistics, 5.5.6.3 ---- */
static void read_stats(struct balloon *b)
{
	u64 *const value[VIRTIO_BALLOON_S_NR] = {
		[VIRTIO_BALLOON_S_SWAP_IN] = &b->stats.swap_in,	    [VIRTIO_BALLOON_S_SWAP_OUT] = &b->stats.swap_out,
		[VIRTIO_BALLOON_S_MAJFLT] = &b->stats.major_faults, [VIRTIO_BALLOON_S_MINFLT] = &b->stats.minor_faults,
		[VIRTIO_BALLOON_S_MEMFREE] = &b->stats.free,	    [VIRTIO_BALLOON_S_MEMTOT] = &b->stats.total,
		[VIRTIO_BALLOON_S_AVAIL] = &b->stats.available,	    [VIRTIO_BALLOON_S_CACHES] = &b->stats.caches,
	};
	struct virtio_balloon_stat s;

	for (unsigned k = 0; k < STATS_MAX; k++) {
		if (virtq_read(&b->stats_buf, k * sizeof(s), &s, sizeof(s)) != sizeof(s))
			break;
		if (s.tag < ARRAY_SIZE(value) && value[s.tag])
			*value[s.tag] = s.val;
	}
	b->stats.valid = true;
}

/* Giving the buffer back is the question; the driver's next one is the answer. */
static void ask_stats(struct balloon *b, struct virtq *q)
{
	if (!b->has_stats || !b->want_stats)
		return;
	b->has_stats = b->want_stats = false;
	virtq_push(q, &b->stats_buf, 0);
	virtq_signal(q);
}

static void take_stats(struct balloon *b, struct virtq *q)
{
	if (b->has_stats || virtq_pop(q, &b->stats_buf) <= 0)
		return;
	b->has_stats = true;
	read_stats(b);
	ask_stats(b, q);
}

/* ---- queues ---- */

/* true: there may be more, which can wait. */
static bool serve(struct balloon *b, enum role role, struct virtq *q)
{
	unsigned done = 0;

	while (done < VIRTIO_BUDGET && virtq_pop(q, &b->buf) > 0) {
		if (role == INFLATE)
			done += inflate(b);
		else if (role == REPORT)
			drop_reported(b);
		virtq_push(q, &b->buf, 0);
		done++;
	}
	virtq_signal(q);
	return done >= VIRTIO_BUDGET;
}

static void notify(struct virtio_device *v, unsigned index)
{
	struct balloon *b = balloon_of(v);
	struct virtq *q = virtio_queue(v, index);

	if (!q)
		return;
	if (b->role[index] == STATS)
		take_stats(b, q);
	else if (serve(b, b->role[index], q))
		virtio_later(&b->later);
}

static void work(struct virtio_device *v)
{
	for (unsigned k = 0; k < QUEUES; k++)
		notify(v, k);
}

static bool role_exists(const struct virtio_device *v, enum role role)
{
	return role < STATS || (role == STATS && virtio_has(v, VIRTIO_BALLOON_F_STATS_VQ)) ||
	       (role == REPORT && virtio_has(v, VIRTIO_BALLOON_F_REPORTING));
}

static void started(struct virtio_device *v)
{
	struct balloon *b = balloon_of(v);
	bool fixed = true;
	unsigned next = 0;

	for (unsigned k = 0; k < QUEUES; k++) {
		fixed &= !virtio_queue(v, k) || role_exists(v, (enum role)k);
		b->role[k] = (enum role)k;
	}
	if (fixed)
		return;
	for (unsigned k = 0; k < QUEUES; k++)
		b->role[k] = HINT; /* answered, no more */
	for (enum role role = INFLATE; role <= REPORT; role++)
		if (role_exists(v, role))
			b->role[next++] = role;
}

/* ---- configuration ---- */
static void config_read(struct virtio_device *v, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, (const u8 *)&balloon_of(v)->config + offset, len);
}

static void config_write(struct virtio_device *v, unsigned offset, const void *buf, unsigned len)
{
	struct balloon *b = balloon_of(v);
	struct virtio_balloon_config c = b->config;

	memcpy((u8 *)&c + offset, buf, len);
	b->config.actual = c.actual;
	if (virtio_has(v, VIRTIO_BALLOON_F_PAGE_POISON))
		b->config.poison_val = c.poison_val;
}

static void reset(struct virtio_device *v)
{
	struct balloon *b = balloon_of(v);

	virtio_later_cancel(&b->later);
	b->config.actual = b->config.poison_val = 0;
	b->has_stats = b->want_stats = false;
	b->stats = (struct balloon_stats){ 0 };
}

static void destroy(struct virtio_device *v)
{
	virtio_later_cancel(&balloon_of(v)->later);
	free(balloon_of(v));
}

static const struct virtio_ops balloon_ops = {
	.name = "virtio-balloon",
	.id = 5,
	.pci_class = 0xff0000,
	.features = BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) |
		    BIT(VIRTIO_BALLOON_F_PAGE_POISON) | BIT(VIRTIO_BALLOON_F_REPORTING),
	.config_len = sizeof(struct virtio_balloon_config),
	.config_read = config_read,
	.config_write = config_write,
	.started = started,
	.notify = notify,
	.reset = reset,
	.destroy = destroy,
};

/* ---- for the machine's owner ---- */
void balloon_set_target(struct virtio_device *v, u64 bytes)
{
	struct balloon *b = balloon_of(v);

	virtio_lock(v);
	b->config.num_pages = (u32)(MIN(bytes, v->machine->config.ram_size) >> VIRTIO_BALLOON_PFN_SHIFT);
	virtio_config_changed(v);
	virtio_unlock(v);
}

u64 balloon_size(struct virtio_device *v)
{
	u64 size;

	virtio_lock(v);
	size = (u64)balloon_of(v)->config.actual << VIRTIO_BALLOON_PFN_SHIFT;
	virtio_unlock(v);
	return size;
}

void balloon_stats(struct virtio_device *v, struct balloon_stats *s)
{
	struct balloon *b = balloon_of(v);

	virtio_lock(v);
	*s = b->stats;
	b->want_stats = true;
	for (unsigned k = 0; k < QUEUES; k++) {
		struct virtq *q = virtio_queue(v, k);

		if (q && b->role[k] == STATS)
			ask_stats(b, q);
	}
	virtio_unlock(v);
}

struct virtio_device *virtio_balloon_new(struct machine *m, struct error *err)
{
	struct balloon *b = calloc(1, sizeof(*b));

	if (!b) {
		error_set(err, ENOMEM, "no memory for a balloon");
		return NULL;
	}
	b->v = (struct virtio_device){ .ops = &balloon_ops, .machine = m, .queues = QUEUES };
	virtio_later_init(&b->later, &b->v, work);
	return &b->v;
}
