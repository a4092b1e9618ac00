/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device: requests cut into any parts, every kind of them and every way to get one wrong, write-through, failures of
 * the back end, and a reset while requests are under way on another thread.
 */
#include "virtio-driver.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <time.h>

#include "devices/virtio/devices.h"

#define SECTORS 64u

/* A disk in memory that completes when the test says so. */
struct disk {
	struct blockdev b;
	u8 data[SECTORS * 512];
	struct disk_request *queue[64];
	unsigned queued, flushes;
	bool manual;
	int error;
	char log[64]; /* a letter a request */
	bool unmapped;
};
static struct disk disk;
static struct machine *m;
static struct driver dr;

static void run(struct disk_request *r)
{
	u8 *at = disk.data + r->offset;

	disk.log[strlen(disk.log) % 63] = "rwfdz"[r->op];
	disk.unmapped = r->may_unmap;
	assert_true(r->offset + r->len <= sizeof(disk.data));
	if (r->op == DISK_WRITE_ZEROES || r->op == DISK_DISCARD)
		memset(at, 0, r->len);
	if (r->op != DISK_READ && r->op != DISK_WRITE)
		return;
	for (unsigned i = 0; i < r->iovs; at += r->iov[i++].iov_len) {
		if (r->op == DISK_READ)
			memcpy(r->iov[i].iov_base, at, r->iov[i].iov_len);
		else
			memcpy(at, r->iov[i].iov_base, r->iov[i].iov_len);
	}
	assert_ptr_equal(at, disk.data + r->offset + r->len);
}

static void submit(struct blockdev *b, struct disk_request *r)
{
	disk.queue[disk.queued++] = r;
}

/* Outside of the device's lock, as the contract has it. */
static void complete(void)
{
	while (disk.queued) {
		struct disk_request *r = disk.queue[--disk.queued];

		if (!disk.error)
			run(r);
		r->done(r, disk.error);
	}
}

/* As a server that never answers: it gives up when it is told to. */
static void abandon(struct blockdev *b)
{
	disk.error = -EIO;
	complete();
}

static const struct blockdev_ops disk_ops = { .name = "memory", .submit = submit, .abandon = abandon };

static void open_disk(u64 features, bool readonly)
{
	m = fixture_machine(2);
	disk = (struct disk){ .b = { .ops = &disk_ops,
				     .info = { .size = sizeof(disk.data),
					       .block_size = 512,
					       .optimal_io = 4096,
					       .readonly = readonly,
					       .can_discard = true,
					       .can_write_zeroes = true,
					       .id = "serial number" } } };
	for (unsigned i = 0; i < sizeof(disk.data); i++)
		disk.data[i] = (u8)(i / 512 + i);
	driver_start(&dr, virtio_blk_new(m, &disk.b, NULL), features);
}

#define ALL_FEATURES                                                                          \
	(BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_DISCARD) | \
	 BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(VIRTIO_BLK_F_MQ))

static int setup(void **state)
{
	open_disk(ALL_FEATURES, false);
	return 0;
}

static int teardown(void **state)
{
	complete();
	driver_stop(&dr);
	machine_free(m);
	return 0;
}

/* One request: its header, `out` bytes and `in` bytes in parts of `cut`, a status; returns the status, 255 when none came. */
static u64 out_at, in_at;
static u32 used_len;

static u8 request_in(unsigned q, u32 type, u64 sector, u32 out, u32 in, u32 cut)
{
	u64 all_out = driver_alloc(&dr, 16 + out), all_in = driver_alloc(&dr, in + 1);
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };
	struct part o[32], i[32];
	unsigned outs = 0, ins = 0;

	memcpy(driver_ptr(&dr, all_out, 16), &h, 16);
	if (out)
		memcpy(driver_ptr(&dr, all_out + 16, out), driver_ptr(&dr, out_at, out), out);
	for (u32 n = 0; n < 16 + out; n += cut)
		o[outs++] = (struct part){ all_out + n, MIN(cut, 16 + out - n) };
	for (u32 n = 0; n < in + 1; n += cut)
		i[ins++] = (struct part){ all_in + n, MIN(cut, in + 1 - n) };
	in_at = all_in;
	driver_add(&dr, q, o, outs, i, ins);
	driver_kick(&dr, q);
	complete();
	if (driver_used(&dr, q, &used_len) < 0)
		return 255;
	return *(u8 *)driver_ptr(&dr, all_in + in, 1);
}

static u8 request(u32 type, u64 sector, u32 out, u32 in)
{
	return request_in(0, type, sector, out, in, 4096);
}

static void fill(u32 len, u8 value)
{
	out_at = driver_alloc(&dr, len);
	memset(driver_ptr(&dr, out_at, len), value, len);
}

static void reads_and_writes(void **state)
{
	static const u32 cuts[] = { 4096, 512, 513, 100, 61 };

	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++) {
		driver_negotiate(&dr, ALL_FEATURES);
		assert_int_equal(request_in(0, VIRTIO_BLK_T_IN, 3, 0, 1024, cuts[i]), VIRTIO_BLK_S_OK);
		assert_int_equal(used_len, 1025);
		assert_memory_equal(driver_ptr(&dr, in_at, 1024), disk.data + 3 * 512, 1024);
		fill(1024, (u8)(0x40 + i));
		assert_int_equal(request_in(1, VIRTIO_BLK_T_OUT, SECTORS - 2, 1024, 0, cuts[i]), VIRTIO_BLK_S_OK);
		assert_int_equal(used_len, 1);
		assert_memory_equal(disk.data + (SECTORS - 2) * 512, driver_ptr(&dr, out_at, 1024), 1024);
		assert_int_equal(disk.data[(SECTORS - 2) * 512 - 1], (u8)((SECTORS - 3) + (SECTORS - 2) * 512 - 1));
	}
	assert_true(dr.q[0].interrupts && dr.q[1].interrupts);
	assert_int_equal(request(VIRTIO_BLK_T_IN, SECTORS, 0, 0), VIRTIO_BLK_S_OK); /* nothing, at the end */
}

static void outside(void **state)
{
	static const u64 bad[] = { SECTORS, SECTORS - 1, 1ull << 55, ~0ull, ~0ull / 512, (1ull << 55) + 1 };

	fill(1024, 0xee);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(request(VIRTIO_BLK_T_IN, bad[i], 0, 1024), VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(VIRTIO_BLK_T_OUT, bad[i], 1024, 0), VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, 0, 511), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, 513, 0), VIRTIO_BLK_S_IOERR);
	assert_string_equal(disk.log, "");
	assert_false(driver_broken(&dr));
}

static void other_requests(void **state)
{
	assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_string_equal(disk.log, "f");
	assert_int_equal(request(VIRTIO_BLK_T_GET_ID, 0, 0, 20), VIRTIO_BLK_S_OK);
	assert_string_equal(driver_ptr(&dr, in_at, 20), "serial number");
	assert_int_equal(request(VIRTIO_BLK_T_GET_ID, 0, 0, 6), VIRTIO_BLK_S_OK);
	assert_memory_equal(driver_ptr(&dr, in_at, 6), "serial", 6);
	assert_int_equal(request(2 /* SCSI */, 0, 0, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(~0u, 0, 0, 0), VIRTIO_BLK_S_UNSUPP);
}

static u8 segment(u32 type, u64 sector, u32 sectors, u32 flags, u32 len)
{
	struct virtio_blk_discard_write_zeroes s[2] = { { sector, sectors, flags }, { 0, 1, 0 } };

	out_at = driver_alloc(&dr, 32);
	memcpy(driver_ptr(&dr, out_at, 32), s, 32);
	return request(type, 0, len, 0);
}

static void discarding(void **state)
{
	assert_int_equal(segment(VIRTIO_BLK_T_DISCARD, 4, 2, 0, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(segment(VIRTIO_BLK_T_WRITE_ZEROES, 8, 1, 0, 16), VIRTIO_BLK_S_OK);
	assert_false(disk.unmapped);
	assert_int_equal(segment(VIRTIO_BLK_T_WRITE_ZEROES, 9, 1, 1, 16), VIRTIO_BLK_S_OK);
	assert_true(disk.unmapped);
	assert_string_equal(disk.log, "dzz");
	assert_int_equal(disk.data[6 * 512 - 1] | disk.data[4 * 512], 0);
	assert_int_equal(segment(VIRTIO_BLK_T_DISCARD, SECTORS - 1, 2, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(segment(VIRTIO_BLK_T_WRITE_ZEROES, 1ull << 63, 1, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(segment(VIRTIO_BLK_T_DISCARD, 0, ~0u, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(segment(VIRTIO_BLK_T_DISCARD, 0, 1, 1, 16), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(segment(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 2, 16), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(segment(VIRTIO_BLK_T_DISCARD, 0, 1, 0, 32), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(segment(VIRTIO_BLK_T_DISCARD, 0, 1, 0, 15), VIRTIO_BLK_S_UNSUPP);
	assert_string_equal(disk.log, "dzz");
}

static void write_through(void **state)
{
	u8 wce;

	fill(512, 7);
	transport_read_config(dr.d, 32, &wce, 1);
	assert_int_equal(wce, 1);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, 512, 0), VIRTIO_BLK_S_OK);
	wce = 0;
	transport_write_config(dr.d, 32, &wce, 1);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, 512, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, 0, 512), VIRTIO_BLK_S_OK);
	assert_string_equal(disk.log, "wwfr");
	driver_negotiate(&dr, 0); /* a driver that cannot flush */
	fill(512, 7);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, 512, 0), VIRTIO_BLK_S_OK);
	assert_string_equal(disk.log, "wwfrwf");
	transport_read_config(dr.d, 32, &wce, 1);
	assert_int_equal(wce, 0);
}

static void errors(void **state)
{
	disk.error = -EIO;
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, 0, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	disk.error = -ENOTSUP;
	assert_int_equal(segment(VIRTIO_BLK_T_DISCARD, 0, 1, 0, 16), VIRTIO_BLK_S_UNSUPP);
}

static void malformed(void **state)
{
	u64 a = driver_alloc(&dr, 512);
	const struct part header = { a, 16 }, shorter = { a, 15 }, in = { a + 64, 1 };

	driver_add(&dr, 0, &header, 1, NULL, 0); /* no place for a status */
	driver_kick(&dr, 0);
	assert_true(driver_broken(&dr));
	driver_negotiate(&dr, ALL_FEATURES);
	driver_add(&dr, 0, &shorter, 1, &in, 1);
	driver_kick(&dr, 0);
	assert_true(driver_broken(&dr));
	driver_negotiate(&dr, ALL_FEATURES);
	driver_add(&dr, 0, NULL, 0, &in, 1);
	driver_kick(&dr, 0);
	assert_true(driver_broken(&dr));
	driver_negotiate(&dr, ALL_FEATURES);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, 0, 512), VIRTIO_BLK_S_OK);
}

static void configuration(void **state)
{
	struct virtio_blk_config c;
	u32 features = transport_read_features(dr.d, 0);

	for (unsigned i = 0; i < 60; i += 4)
		transport_read_config(dr.d, i, (u8 *)&c + i, 4);
	assert_int_equal(c.capacity, SECTORS);
	assert_int_equal(c.blk_size, 512);
	assert_int_equal(c.opt_io_size, 8);
	assert_int_equal(c.num_queues, 2);
	assert_int_equal(c.max_discard_seg, 1);
	assert_false(features & BIT(VIRTIO_BLK_F_RO));
	assert_true(features & BIT(VIRTIO_BLK_F_DISCARD));
}

static void readonly(void **state)
{
	open_disk(BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES), true);
	fill(512, 7);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, 512, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(segment(VIRTIO_BLK_T_DISCARD, 0, 1, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(segment(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, 0, 512), VIRTIO_BLK_S_OK);
	assert_string_equal(disk.log, "r");
	teardown(NULL);
}

/* The reset waits for what is under way, and nothing of it is seen afterwards. */
static void *complete_later(void *arg)
{
	nanosleep(&(struct timespec){ .tv_nsec = 50 * MS }, NULL);
	complete();
	return NULL;
}

static void reset_under_way(void **state)
{
	u64 a = driver_alloc(&dr, 1024);
	struct virtio_blk_outhdr h = { .type = VIRTIO_BLK_T_IN };
	const struct part out = { a, 16 }, in = { a + 64, 513 };
	pthread_t other;

	memcpy(driver_ptr(&dr, a, 16), &h, 16);
	for (unsigned i = 0; i < 10; i++)
		driver_add(&dr, 0, &out, 1, &in, 1);
	driver_kick(&dr, 0);
	assert_int_equal(disk.queued, 10);
	assert_int_equal(pthread_create(&other, NULL, complete_later, NULL), 0);
	transport_write_status(dr.d, 0);
	assert_int_equal(disk.queued, 0);
	pthread_join(other, NULL);
	assert_int_equal(driver_used(&dr, 0, NULL), -1);
	driver_negotiate(&dr, ALL_FEATURES);
	assert_int_equal(driver_used(&dr, 0, NULL), -1);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 1, 0, 512), VIRTIO_BLK_S_OK);
}

static void reset_after_the_end(void **state)
{
	u64 a = driver_alloc(&dr, 1024);
	struct virtio_blk_outhdr h = { .type = VIRTIO_BLK_T_IN };
	const struct part out = { a, 16 }, in = { a + 64, 513 };

	memcpy(driver_ptr(&dr, a, 16), &h, 16);
	driver_add(&dr, 0, &out, 1, &in, 1);
	driver_kick(&dr, 0);
	machine_end(m, END_USER, 0);
	transport_write_status(dr.d, 0);
	assert_int_equal(disk.queued, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_and_writes),	    TEST(outside),	   TEST(other_requests),      TEST(discarding),
		TEST(write_through),	    TEST(errors),	   TEST(malformed),	      TEST(configuration),
		cmocka_unit_test(readonly), TEST(reset_under_way), TEST(reset_after_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
