/* SPDX-License-Identifier: Apache-2.0 */
/* The PC as a whole: it comes and goes without a trace, its memory map is sane for any amount of RAM, and the port by which our
 * init reports works as guest/init.c uses it. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "devices/guest_status.h"
#include "platform/pc/pc.h"

static struct machine *make(u64 ram, struct error *err)
{
	const struct machine_config c = { .ram_size = ram, .cpus = 1, .model = cpu_model_find(NULL, NULL) };
	struct machine *m = machine_new(&c, err);
	assert_non_null(m);
	return m;
}

static void test_memory_map(void **state)
{
	static const u64 sizes[] = {
		2ull << 20, 16ull << 20, (1ull << 30) + 4096, LOW_RAM_LIMIT, LOW_RAM_LIMIT + (64ull << 20), 6ull << 30
	};
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct error err = { 0 };
		struct machine *m = make(sizes[i], &err);
		assert_int_equal(pc_create(m, &(struct pc_config){ 0 }, &err), 0);
		const struct firmware_info *f = pc_firmware(m);
		u64 end = 0, ram = 0;
		for (unsigned k = 0; k < f->ranges; k++) {
			assert_true(f->map[k].base >= end && f->map[k].len);
			end = f->map[k].base + f->map[k].len;
			if (f->map[k].kind != MEM_RAM)
				continue;
			assert_non_null(ram_ptr(m, f->map[k].base, f->map[k].len));
			ram += f->map[k].len;
		}
		/* All but what lies between the extended BIOS data area and 1 MiB. */
		assert_int_equal(ram, sizes[i] - (1 << 20) + 0x9fc00);
		assert_memory_equal(ram_ptr(m, f->rsdp, 8), "RSD PTR ", 8);
		pc_destroy(m);
		machine_free(m);
	}
}

static void test_too_small(void **state)
{
	struct error err = { 0 };
	struct machine *m = make(1 << 20, &err);
	assert_int_equal(pc_create(m, &(struct pc_config){ 0 }, &err), -EINVAL);
	assert_non_null(strstr(err.text, "memory of 1024 KiB is too small"));
	pc_destroy(m);
	machine_free(m);
}

static void test_guest_status(void **state)
{
	struct error err = { 0 };
	struct machine *m = make(16 << 20, &err);
	assert_int_equal(pc_create(m, &(struct pc_config){ 0 }, &err), 0);
	assert_int_equal(bus_read(&m->pio, GUEST_STATUS_PORT, 4) & 0xffffffff, GUEST_STATUS_MAGIC_VALUE);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(bus_read(&m->pio, GUEST_STATUS_PORT + i, 1) & 0xff,
				 GUEST_STATUS_MAGIC_VALUE >> (8 * i) & 0xff);
	assert_int_equal(pc_guest_status(m), -1);
	bus_write(&m->pio, GUEST_STATUS_PORT, 4, ~0u); /* the magic is read only */
	assert_int_equal(pc_guest_status(m), -1);
	bus_write(&m->pio, GUEST_STATUS_PORT + GUEST_STATUS_VALUE, 1, 42);
	assert_int_equal(pc_guest_status(m), 42);
	bus_write(&m->pio, GUEST_STATUS_PORT + GUEST_STATUS_VALUE - 1, 2, 0x8000);
	assert_int_equal(pc_guest_status(m), 128);
	assert_int_equal(bus_read(&m->pio, GUEST_STATUS_PORT + GUEST_STATUS_VALUE, 1) & 0xff, 128);
	pc_destroy(m);
	machine_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_map),
		cmocka_unit_test(test_too_small),
		cmocka_unit_test(test_guest_status),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
