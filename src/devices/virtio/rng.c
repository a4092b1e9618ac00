/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entropy device (virtio 1.2, 5.4): fills whatever the driver offers with random bytes. They come from the host; in a
 * deterministic machine from a generator that starts the same way each time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "devices/virtio/devices.h"

#define CHUNK	   256
#define BUFFER_MAX 4096 /* of one buffer: the driver asks again */

struct rng {
	struct virtio_device d;
	u64 seed; /* deterministic machines */
};

/* A generator for reproducible runs, not for secrets: splitmix64. */
static u64 next(struct rng *r)
{
	u64 z = r->seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static size_t fill(struct rng *r, u8 *bytes)
{
	ssize_t n;

	if (!clock_deterministic(r->d.machine->clock)) {
		n = getrandom(bytes, CHUNK, 0);
		return n < 0 ? 0 : (size_t)n;
	}
	for (unsigned i = 0; i < CHUNK; i += sizeof(u64)) {
		u64 value = next(r);
		memcpy(bytes + i, &value, sizeof(value));
	}
	return CHUNK;
}

static u32 serve(struct rng *r, const struct virtq_buffer *b)
{
	u64 want = MIN(b->in_len, BUFFER_MAX), done = 0;
	u8 bytes[CHUNK];
	size_t n;

	while (done < want && (n = fill(r, bytes)))
		done += virtq_write(b, done, bytes, MIN(n, want - done));
	return (u32)done;
}

static void notify(struct virtio_device *d, unsigned index)
{
	struct rng *r = container_of(d, struct rng, d);
	struct virtq *q = virtio_queue(d, index);
	struct virtq_buffer b;

	while (virtq_pop(q, &b) > 0)
		virtq_push(q, &b, serve(r, &b));
	virtq_signal(q);
}

static void destroy(struct virtio_device *d)
{
	free(container_of(d, struct rng, d));
}

static const struct virtio_ops rng_ops = {
	.name = "virtio-rng",
	.id = 4,
	.pci_class = 0xff0000, /* of no class */
	.notify = notify,
	.destroy = destroy,
};

struct virtio_device *virtio_rng_new(struct machine *m, struct error *err)
{
	struct rng *r = calloc(1, sizeof(*r));

	if (!r) {
		error_set(err, ENOMEM, "no memory for the entropy device");
		return NULL;
	}
	r->d = (struct virtio_device){ .ops = &rng_ops, .machine = m, .queues = 1, .queue_size = 8 };
	return &r->d;
}
