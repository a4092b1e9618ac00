/* SPDX-License-Identifier: Apache-2.0 */
/* Firmware configuration: items by port and by DMA, the directory of files, requests that lie. */
#include "fixture.h"

#include <errno.h>
#include <string.h>

static struct machine *m;
static struct device *cfg;

static int setup(void **state)
{
	m = fixture_machine(3);
	cfg = fw_cfg_new(m, NULL);
	assert_non_null(cfg);
	assert_int_equal(fw_cfg_add_file(cfg, "etc/one", "hello", 5, NULL), 0);
	assert_int_equal(fw_cfg_add_file(cfg, "etc/two", "x", 1, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	device_destroy(cfg);
	machine_free(m);
	return 0;
}

static u64 number(u16 key, unsigned bytes)
{
	u64 x = 0;

	outw(m, 0x510, key);
	for (unsigned i = 0; i < bytes; i++)
		x |= (u64)inb(m, 0x511) << (8 * i);
	return x;
}

static void items(void **state)
{
	assert_int_equal(number(0, 4), 0x554d4551); /* QEMU */
	assert_int_equal(inb(m, 0x511), 0); /* behind the end */
	assert_int_equal(number(1, 4), 3);
	assert_int_equal(number(3, 8), BIT(24));
	assert_int_equal(number(5, 2), 3);
	assert_int_equal(number(0x0f, 2), 3);
	assert_int_equal(number(0x11, 4), 0); /* absent */
}

static void directory(void **state)
{
	u8 entry[64];

	assert_int_equal(__builtin_bswap32((u32)number(0x19, 4)), 2);
	for (unsigned i = 0; i < 64; i++)
		entry[i] = inb(m, 0x511);
	assert_int_equal(entry[3], 5);
	assert_string_equal((char *)entry + 8, "etc/one");
	assert_int_equal(number((u16)(entry[4] << 8 | entry[5]), 5), 0x6f6c6c6568);
	assert_int_equal(fw_cfg_add(cfg, 0x19, "", 0, NULL), -ENOSPC);
}

static u32 request(u32 control, u32 len, u64 address)
{
	struct {
		u32 control, len;
		u64 address;
	} q = { __builtin_bswap32(control), __builtin_bswap32(len), __builtin_bswap64(address) };

	memcpy(ram_ptr(m, 0x1000, sizeof(q)), &q, sizeof(q));
	bus_write(&m->pio, 0x514, 4, 0);
	bus_write(&m->pio, 0x518, 4, __builtin_bswap32(0x1000));
	return __builtin_bswap32(*(u32 *)ram_ptr(m, 0x1000, 4));
}

static void dma(void **state)
{
	u8 *to = ram_ptr(m, 0x2000, 16);

	assert_int_equal(bus_read(&m->pio, 0x514, 4), 0x554d4551);
	assert_int_equal(bus_read(&m->pio, 0x518, 4), 0x47464320);
	memset(to, 0xa5, 16);
	assert_int_equal(request(0x20 << 16 | 8 | 2, 7, 0x2000), 0);
	assert_memory_equal(to, "hello\0\0\xa5", 8);
	assert_int_equal(request(0x20 << 16 | 8, 0, 0), 0);
	assert_int_equal(request(4, 3, 0), 0);
	assert_int_equal(request(2, 2, 0x2000), 0);
	assert_memory_equal(to, "lo", 2);
}

static void lies(void **state)
{
	assert_int_equal(request(0x20 << 16 | 8 | 2, 5, BIT(24) - 4), 1);
	assert_int_equal(request(0x20 << 16 | 8 | 2, ~0u, 0), 1);
	assert_int_equal(request(0x20 << 16 | 8 | 2, 1, ~0ull), 1);
	assert_int_equal(request(0x20 << 16 | 8 | 0x10, 1, 0x2000), 1);
	assert_int_equal(request(4, ~0u, 0), 0);
	assert_int_equal(request(4, ~0u, 0), 0);
	assert_int_equal(request(2, 4, 0x2000), 0);
	bus_write(&m->pio, 0x514, 4, ~0u);
	bus_write(&m->pio, 0x518, 4, ~0u); /* the request itself is nowhere */
	outw(m, 0x510, 0xffff);
	assert_int_equal(inb(m, 0x511), 0);
	assert_int_equal(inb(m, 0x510), 0xff);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(items), TEST(directory), TEST(dma), TEST(lies) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
