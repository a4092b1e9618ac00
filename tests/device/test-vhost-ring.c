/* SPDX-License-Identifier: Apache-2.0 */
/* The ring that a vhost-user back end sees: round trips, a full ring, and a back end that writes what it must not. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/vhost_ring.h"

static struct machine *m;
static u8 *memory;
static struct shadow_ring *r;

static int setup(void **state)
{
	struct error err = { 0 };

	m = fixture_machine(1);
	memory = mmap(NULL, SHADOW_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	r = shadow_ring_new(memory, &err);
	assert_non_null(r);
	return 0;
}

static int teardown(void **state)
{
	shadow_ring_free(r);
	munmap(memory, SHADOW_RING_BYTES);
	machine_free(m);
	return 0;
}

/* A buffer of `outs` + `ins` parts, part k at RAM page first + k, of 16 bytes each. */
static struct virtq_buffer buffer(unsigned first, unsigned outs, unsigned ins)
{
	struct virtq_buffer b = {
		.head = (u16)first, .outs = outs, .ins = ins, .out_len = 16 * outs, .in_len = 16 * ins
	};

	for (unsigned k = 0; k < outs + ins; k++)
		b.iov[k] = (struct iovec){ ram_ptr(m, (first + k) * PAGE_SIZE, 16), 16 };
	return b;
}

/* The back end: what was made available, n-th from the ring's beginning. */
static u16 available(unsigned n)
{
	return r->avail->ring[n % SHADOW_SIZE];
}

static void use(u32 id, u32 len)
{
	r->used->ring[r->used->idx % SHADOW_SIZE] = (struct vring_used_elem){ id, len };
	r->used->idx++;
}

static void round_trip(void **state)
{
	struct virtq_buffer a = buffer(1, 1, 2), b = buffer(10, 2, 0), *got;
	u32 written;
	u64 kicks;

	assert_true(shadow_ring_add(r, m, &a) && shadow_ring_add(r, m, &b));
	shadow_ring_kick(r);
	assert_int_equal(read(r->kick, &kicks, 8), 8);
	assert_int_equal(r->avail->idx, 2);
	const struct vring_desc *d = &r->desc[available(0)];
	assert_int_equal(d->addr, PAGE_SIZE);
	assert_int_equal(d->flags, VRING_DESC_F_NEXT);
	d = &r->desc[d->next];
	assert_int_equal(d->flags, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
	d = &r->desc[d->next];
	assert_int_equal(d->addr, 3 * PAGE_SIZE);
	assert_int_equal(d->flags, VRING_DESC_F_WRITE);

	assert_int_equal(shadow_ring_take(r, &got, &written), 0);
	assert_null(got);
	use(available(1), 0);
	use(available(0), 20);
	assert_int_equal(shadow_ring_take(r, &got, &written), 0);
	assert_int_equal(got->head, 10);
	free(got);
	assert_int_equal(shadow_ring_take(r, &got, &written), 0);
	assert_int_equal(got->head, 1);
	assert_int_equal(written, 20);
	free(got);
	assert_int_equal(r->frees, SHADOW_SIZE);
}

static void quiet_back_end_gets_no_kick(void **state)
{
	struct virtq_buffer a = buffer(1, 1, 1);
	u64 kicks;

	r->used->flags = VRING_USED_F_NO_NOTIFY;
	assert_true(shadow_ring_add(r, m, &a));
	shadow_ring_kick(r);
	assert_int_equal(r->avail->idx, 1);
	assert_int_equal(read(r->kick, &kicks, 8), -1);
}

static void full(void **state)
{
	struct virtq_buffer b = buffer(1, 100, 100), *got;
	u32 written;

	assert_true(shadow_ring_fits(r, &b) && shadow_ring_add(r, m, &b));
	assert_true(shadow_ring_fits(r, &b) && shadow_ring_add(r, m, &b));
	assert_false(shadow_ring_fits(r, &b));
	use(available(0), 1600);
	assert_int_equal(shadow_ring_take(r, &got, &written), 0);
	free(got);
	assert_true(shadow_ring_fits(r, &b));
}

static void back_end_lies(void **state)
{
	struct virtq_buffer a = buffer(1, 1, 1), *got;
	u32 written;

	assert_true(shadow_ring_add(r, m, &a));
	r->used->idx = SHADOW_SIZE + 1; /* more than there are */
	assert_int_equal(shadow_ring_take(r, &got, &written), -1);
	r->used->idx = 0;
	use(SHADOW_SIZE, 0); /* no descriptor */
	assert_int_equal(shadow_ring_take(r, &got, &written), -1);
	r->used->idx = 0;
	use(available(0) + 1u, 0); /* in the middle of a buffer */
	assert_int_equal(shadow_ring_take(r, &got, &written), -1);
	r->used->idx = 0;
	use(available(0), ~0u); /* longer than it is */
	assert_int_equal(shadow_ring_take(r, &got, &written), 0);
	assert_int_equal(written, 16);
	free(got);
	use(available(0), 0); /* twice */
	assert_int_equal(shadow_ring_take(r, &got, &written), -1);
}

static void gone_back_end_loses_nothing(void **state)
{
	struct virtq_buffer a = buffer(1, 3, 4), b = buffer(20, 1, 0), *x, *y;

	assert_true(shadow_ring_add(r, m, &a) && shadow_ring_add(r, m, &b));
	x = shadow_ring_take_any(r);
	y = shadow_ring_take_any(r);
	assert_true(x && y && x->head + y->head == 21);
	assert_null(shadow_ring_take_any(r));
	assert_int_equal(r->frees, SHADOW_SIZE);
	free(x);
	free(y);
}

/* A back end writes random things everywhere; what was put in comes back at most once, and descriptors stay conserved. */
static void garbage(void **state)
{
	unsigned seed = 7, under_way = 0, back = 0;

	for (unsigned round = 0; round < 200000; round++) {
		struct virtq_buffer b = buffer(1 + (unsigned)rand_r(&seed) % 100, (unsigned)rand_r(&seed) % 5 + 1,
					       (unsigned)rand_r(&seed) % 5),
				    *got;
		u32 written;
		switch (rand_r(&seed) % 4) {
		case 0:
			if (shadow_ring_fits(r, &b) && shadow_ring_add(r, m, &b))
				under_way++;
			break;
		case 1: use((u32)rand_r(&seed) % (SHADOW_SIZE + 8), (u32)rand_r(&seed)); break;
		case 2: memory[(unsigned)rand_r(&seed) % SHADOW_RING_BYTES] = (u8)rand_r(&seed); break;
		default:
			if (shadow_ring_take(r, &got, &written)) {
				r->used->idx = r->used_idx; /* a new back end would begin here */
			} else if (got) {
				assert_true(written <= got->in_len);
				free(got);
				back++;
			}
		}
	}
	assert_true(back > 100);
	for (struct virtq_buffer *b; (b = shadow_ring_take_any(r)); free(b))
		back++;
	assert_int_equal(under_way, back);
	assert_int_equal(r->frees, SHADOW_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(quiet_back_end_gets_no_kick, setup, teardown),
		cmocka_unit_test_setup_teardown(full, setup, teardown),
		cmocka_unit_test_setup_teardown(back_end_lies, setup, teardown),
		cmocka_unit_test_setup_teardown(gone_back_end_loses_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(garbage, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
