/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon: memory goes back to the host and comes again as zeros, targets, statistics, drivers that lie. */
#include "virtio-driver.h"

#include <linux/virtio_balloon.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "devices/virtio/devices.h"

#define INFLATE	   0
#define DEFLATE	   1
#define STATS	   2
#define REPORT_4TH 3 /* as drivers number it that skip what does not exist */
#define REPORT	   4
#define AREA	   0x800000ull /* guest memory that the tests fill */
#define AREA_LEN   0x400000ull
#define ALL	   (dr.d->ops->features)

static struct machine *m;
static struct driver dr;

static int setup(void **state)
{
	m = fixture_machine(1);
	driver_start(&dr, virtio_balloon_new(m, NULL), 0);
	driver_negotiate(&dr, ALL);
	memset(ram_ptr(m, AREA, AREA_LEN), 0x5a, AREA_LEN);
	ram_populate(m, ram_ptr(m, AREA, AREA_LEN), AREA_LEN - 1);
	return 0;
}

static int teardown(void **state)
{
	driver_stop(&dr);
	machine_free(m);
	return 0;
}

/* Pages of the area that the host has given. */
static u64 pages(void)
{
	u8 resident[AREA_LEN / PAGE_SIZE];
	u64 n = 0;

	assert_int_equal(mincore(ram_ptr(m, AREA, AREA_LEN), AREA_LEN, resident), 0);
	for (unsigned k = 0; k < ARRAY_SIZE(resident); k++)
		n += resident[k] & 1;
	return n;
}

static u8 byte(u64 gpa)
{
	return *ram_ptr(m, gpa, 1);
}

static bool populated(u64 gpa)
{
	return m->populated[gpa >> RAM_CHUNK_SHIFT];
}

static void pages_to(unsigned q, const u32 *pfn, unsigned n)
{
	u64 gpa = driver_alloc(&dr, n * 4);

	memcpy(driver_ptr(&dr, gpa, n * 4), pfn, n * 4);
	driver_add(&dr, q, &(struct part){ gpa, n * 4 }, 1, NULL, 0);
	driver_kick(&dr, q);
	assert_true(driver_used(&dr, q, NULL) >= 0);
}

static void inflates(void **state)
{
	const u32 first = AREA >> PAGE_SHIFT;
	u64 before = pages();
	u32 pfn[20];

	for (unsigned k = 0; k < 16; k++) /* a chunk, last page first as drivers do */
		pfn[k] = first + 15 - k;
	pfn[16] = first + 40; /* alone in its chunk */
	pfn[17] = first + 16 + 5;
	pfn[18] = first + 16 + 6;
	pfn[19] = first + 40; /* twice */
	pages_to(INFLATE, pfn, 20);
	assert_int_equal(pages(), before - 19);
	assert_int_equal(byte(AREA), 0);
	assert_int_equal(byte(AREA + 16 * PAGE_SIZE), 0x5a);
	assert_int_equal(byte(AREA + 22 * PAGE_SIZE), 0);
	assert_int_equal(byte(AREA + 39 * PAGE_SIZE), 0x5a);
	assert_int_equal(byte(AREA + 40 * PAGE_SIZE), 0);
	assert_int_equal(byte(AREA + 41 * PAGE_SIZE), 0x5a);
	/* Only the chunk that went whole is taken whole again. */
	assert_false(populated(AREA));
	assert_true(populated(AREA + 16 * PAGE_SIZE));
	assert_true(populated(AREA + 32 * PAGE_SIZE));
	ram_use(m, ram_ptr(m, AREA, 1));
	assert_true(populated(AREA));
	memset(ram_ptr(m, AREA, PAGE_SIZE), 1, PAGE_SIZE);
	pages_to(DEFLATE, pfn, 20);
	assert_int_equal(byte(AREA), 1);
}

static void ignores_what_is_no_memory(void **state)
{
	const u32 first = AREA >> PAGE_SHIFT, end = (u32)(m->low_size >> PAGE_SHIFT);
	const u32 pfn[] = { end - 2, end - 1, end, end + 1, 0xffffffff, 0xfffffffe, 0x100000, first, 0x80000000 };
	u64 before = pages();

	memset(ram_ptr(m, m->low_size - 2 * PAGE_SIZE, 2 * PAGE_SIZE), 1, 2 * PAGE_SIZE);
	pages_to(INFLATE, pfn, ARRAY_SIZE(pfn));
	assert_int_equal(pages(), before - 1);
	assert_int_equal(byte(AREA), 0);
	assert_int_equal(byte(m->low_size - 1), 0);
	assert_false(driver_broken(&dr));
}

static void takes_long_and_odd_buffers(void **state)
{
	static u32 pfn[9000];
	u64 gpa = driver_alloc(&dr, 7);

	for (unsigned k = 0; k < ARRAY_SIZE(pfn); k++)
		pfn[k] = (u32)(AREA >> PAGE_SHIFT) + k % 512;
	pages_to(INFLATE, pfn, ARRAY_SIZE(pfn));
	assert_int_equal(byte(AREA + 511 * PAGE_SIZE), 0);
	assert_int_equal(byte(AREA + 512 * PAGE_SIZE), 0x5a);
	driver_add(&dr, INFLATE, &(struct part){ gpa, 7 }, 1, NULL, 0);
	driver_add(&dr, INFLATE, NULL, 0, &(struct part){ gpa, 7 }, 1);
	driver_kick(&dr, INFLATE);
	assert_true(driver_used(&dr, INFLATE, NULL) >= 0);
	assert_true(driver_used(&dr, INFLATE, NULL) >= 0);
	assert_false(driver_broken(&dr));
}

/* A full ring of full buffers is served in turns: other devices come in between. */
static void yields(void **state)
{
	static u32 pfn[4096];
	u64 gpa = driver_alloc(&dr, sizeof(pfn));
	unsigned n = 0;

	for (unsigned k = 0; k < ARRAY_SIZE(pfn); k++)
		pfn[k] = (u32)(AREA >> PAGE_SHIFT) + k % 2;
	memcpy(driver_ptr(&dr, gpa, sizeof(pfn)), pfn, sizeof(pfn));
	for (unsigned k = 0; k < 40; k++)
		driver_add(&dr, INFLATE, &(struct part){ gpa, sizeof(pfn) }, 1, NULL, 0);
	driver_kick(&dr, INFLATE);
	for (; driver_used(&dr, INFLATE, NULL) >= 0; n++)
		;
	assert_true(n > 0 && n < 40);
	fixture_pass(m, 1000);
	for (; driver_used(&dr, INFLATE, NULL) >= 0; n++)
		;
	assert_int_equal(n, 40);
}

static void report(unsigned q, u64 gpa, u32 len)
{
	driver_add(&dr, q, NULL, 0, &(struct part){ gpa, len }, 1);
	driver_kick(&dr, q);
	assert_true(driver_used(&dr, q, NULL) >= 0);
}

static void reported_pages_go(void **state)
{
	u64 before = pages();

	report(REPORT_4TH, AREA, 0x200000);
	assert_int_equal(pages(), before - 512);
	assert_int_equal(byte(AREA + 0x1fffff), 0);
	assert_int_equal(byte(AREA + 0x200000), 0x5a);
	assert_false(populated(AREA + 0x1f0000));
	/* Pages that are not reported whole stay. */
	report(REPORT_4TH, AREA + 0x200001, 0x2000);
	assert_int_equal(pages(), before - 512); /* looking at a byte has brought a page back */
	assert_int_equal(byte(AREA + 0x200fff), 0x5a);
	assert_int_equal(byte(AREA + 0x201000), 0);
	assert_int_equal(byte(AREA + 0x202000), 0x5a);
	report(REPORT_4TH, AREA + 0x300010, 100);
	assert_int_equal(byte(AREA + 0x300010), 0x5a);
}

static void poisoned_pages_stay(void **state)
{
	const u32 poison = 0xaaaaaaaa;

	transport_write_config(dr.d, offsetof(struct virtio_balloon_config, poison_val), &poison, 4);
	report(REPORT_4TH, AREA, 0x200000);
	assert_int_equal(byte(AREA), 0x5a);
}

/* Steps of 3.1.1 with only these queues. */
static void negotiate_queues(u64 features, unsigned queues)
{
	features |= BIT(VIRTIO_F_VERSION_1);
	transport_write_status(dr.d, 0);
	transport_write_status(dr.d, 3);
	transport_write_features(dr.d, 0, (u32)features);
	transport_write_features(dr.d, 1, (u32)(features >> 32));
	transport_write_status(dr.d, 0x0b);
	for (unsigned k = 0; k < dr.d->queues; k++)
		if (queues >> k & 1)
			driver_set_queue(&dr, k);
	transport_write_status(dr.d, 0x0f);
	assert_int_equal(transport_read_status(dr.d), 0x0f);
}

static void numbers_queues_either_way(void **state)
{
	const u64 reporting = BIT(VIRTIO_BALLOON_F_REPORTING), stats = BIT(VIRTIO_BALLOON_F_STATS_VQ);

	negotiate_queues(reporting | stats, 0x17);
	report(REPORT, AREA, 0x100000);
	assert_int_equal(byte(AREA), 0);
	negotiate_queues(reporting | stats, 0x0f);
	report(REPORT_4TH, AREA + 0x100000, 0x100000);
	assert_int_equal(byte(AREA + 0x100000), 0);
	negotiate_queues(reporting, 0x13);
	report(REPORT, AREA + 0x200000, 0x100000);
	assert_int_equal(byte(AREA + 0x200000), 0);
	negotiate_queues(reporting, 0x07);
	report(2, AREA + 0x300000, 0x100000);
	assert_int_equal(byte(AREA + 0x300000), 0);
	negotiate_queues(stats, 0x07); /* nothing is reported in a queue that is for something else */
	memset(ram_ptr(m, AREA, 1), 1, 1);
	driver_add(&dr, 2, NULL, 0, &(struct part){ AREA, 0x100000 }, 1);
	driver_kick(&dr, 2);
	assert_int_equal(byte(AREA), 1);
}

static void target(void **state)
{
	struct virtio_balloon_config c;
	const u32 actual = 0x100;

	balloon_set_target(dr.d, 3 << 20);
	assert_int_equal(dr.config_interrupts, 1);
	transport_read_config(dr.d, 0, &c, sizeof(c));
	assert_int_equal(c.num_pages, 3 << 8);
	assert_int_equal(balloon_size(dr.d), 0);
	transport_write_config(dr.d, 4, &actual, 4);
	assert_int_equal(balloon_size(dr.d), 1 << 20);
	transport_write_config(dr.d, 0, &actual, 4); /* is ours */
	transport_read_config(dr.d, 0, &c, sizeof(c));
	assert_int_equal(c.num_pages, 3 << 8);
	balloon_set_target(dr.d, ~0ull);
	transport_read_config(dr.d, 0, &c, sizeof(c));
	assert_int_equal(c.num_pages, m->config.ram_size >> 12);
	driver_negotiate(&dr, 0); /* outlives a driver */
	transport_read_config(dr.d, 0, &c, sizeof(c));
	assert_int_equal(c.num_pages, m->config.ram_size >> 12);
	assert_int_equal(c.actual, 0);
}

static void offer_stats(u64 gpa, const struct virtio_balloon_stat *s, unsigned n)
{
	memcpy(driver_ptr(&dr, gpa, n * sizeof(*s) + 1), s, n * sizeof(*s));
	driver_add(&dr, STATS, &(struct part){ gpa, (u32)(n * sizeof(*s)) }, 1, NULL, 0);
	driver_kick(&dr, STATS);
}

static void statistics(void **state)
{
	struct virtio_balloon_stat s[100] = { { VIRTIO_BALLOON_S_MEMTOT, 1000 },
					      { VIRTIO_BALLOON_S_MEMFREE, 10 },
					      { 0xffff, 1 } };
	u64 gpa = driver_alloc(&dr, sizeof(s) + 1);
	struct balloon_stats got;

	balloon_stats(dr.d, &got);
	assert_false(got.valid);
	offer_stats(gpa, s, 3); /* we had asked, so it comes back */
	assert_int_equal(driver_used(&dr, STATS, NULL), 0);
	s[1].val = 20;
	offer_stats(gpa, s, 3);
	assert_int_equal(driver_used(&dr, STATS, NULL), -1);
	balloon_stats(dr.d, &got);
	assert_true(got.valid);
	assert_int_equal(got.total, 1000);
	assert_int_equal(got.free, 20);
	assert_int_equal(driver_used(&dr, STATS, NULL), 1);
	for (unsigned k = 0; k < 100; k++)
		s[k] = (struct virtio_balloon_stat){ (u16)k, k };
	offer_stats(gpa, s, 100);
	offer_stats(gpa, s, 0); /* a second one waits for its turn */
	balloon_stats(dr.d, &got);
	assert_int_equal(driver_used(&dr, STATS, NULL), 2);
	assert_int_equal(driver_used(&dr, STATS, NULL), -1);
	assert_int_equal(got.caches, VIRTIO_BALLOON_S_CACHES);
}

static void discards_only_ram(void **state)
{
	assert_int_equal(ram_discard(m, m->low_size - PAGE_SIZE, 2 * PAGE_SIZE), -14);
	assert_int_equal(ram_discard(m, ~0ull - PAGE_SIZE, 2 * PAGE_SIZE), -14);
	assert_int_equal(ram_discard(m, BIT(32), PAGE_SIZE), -14);
	assert_int_equal(ram_discard(m, AREA + 1, 2 * PAGE_SIZE - 2), 0);
	assert_int_equal(byte(AREA), 0x5a);
	assert_int_equal(byte(AREA + 2 * PAGE_SIZE - 1), 0x5a);
	assert_int_equal(ram_discard(m, AREA, 0), 0);
}

static _Atomic bool done;

/* A vCPU that uses a chunk: what it finds is what it wrote, or zeros. */
static void *use_memory(void *arg)
{
	u8 *p = ram_ptr(m, AREA, BIT(RAM_CHUNK_SHIFT));

	while (!done)
		for (u64 at = 0; at < BIT(RAM_CHUNK_SHIFT); at += 1024) {
			u64 *word = (u64 *)(p + at), seen;

			ram_use(m, p + at);
			__atomic_store_n(word, at + 1, __ATOMIC_SEQ_CST);
			seen = __atomic_load_n(word, __ATOMIC_SEQ_CST);
			if (seen != at + 1 && seen)
				return (void *)1;
		}
	return NULL;
}

static void discards_under_a_running_guest(void **state)
{
	pthread_t thread;
	void *wrong;

	done = false;
	assert_int_equal(pthread_create(&thread, NULL, use_memory, NULL), 0);
	for (unsigned k = 0; k < 3000; k++)
		assert_int_equal(ram_discard(m, AREA + k % 3 * PAGE_SIZE, BIT(RAM_CHUNK_SHIFT) >> k % 4), 0);
	done = true;
	pthread_join(thread, &wrong);
	assert_null(wrong);
}

static void garbage(void **state)
{
	srandom(3);
	for (unsigned round = 0; round < 200; round++) {
		driver_negotiate(&dr, (u64)random() & ALL);
		for (unsigned n = 0; n < 20; n++) {
			struct part p = { (u64)random() % (m->low_size + 0x100000), (u32)random() >> (random() % 32) };
			unsigned q = (unsigned)random() % 5;
			bool out = random() % 2;
			u32 value = (u32)random();

			if (p.gpa < DRIVER_RINGS + 0x20000)
				p.gpa = AREA;
			driver_add(&dr, q, out ? &p : NULL, out, out ? NULL : &p, !out);
			driver_kick(&dr, q);
			transport_write_config(dr.d, (u64)random() % 20, &value, 1u << (random() % 3));
			fixture_pass(m, 1);
		}
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(inflates),
		TEST(ignores_what_is_no_memory),
		TEST(takes_long_and_odd_buffers),
		TEST(yields),
		TEST(reported_pages_go),
		TEST(poisoned_pages_stay),
		TEST(numbers_queues_either_way),
		TEST(target),
		TEST(statistics),
		TEST(discards_only_ram),
		TEST(discards_under_a_running_guest),
		TEST(garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
