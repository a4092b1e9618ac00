/* SPDX-License-Identifier: Apache-2.0 */
/* Firmware tables as a guest finds them: from the RSDP down, each checksum, and what an operating system must learn. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "devices/devices.h"
#include "platform/pc/acpi.h"
#include "platform/pc/aml.h"

static u8 ram[1 << 20];

static u32 get32(u64 at)
{
	return *(const u32_una *)(ram + at);
}
static u64 get64(u64 at)
{
	return *(const u64_una *)(ram + at);
}

static u8 sum(u64 at, u32 len)
{
	u8 s = 0;
	for (u32 i = 0; i < len; i++)
		s = (u8)(s + ram[at + i]);
	return s;
}

static u64 check_table(u64 at, const char *signature)
{
	assert_true(at >= BIOS_BASE && at + 36 <= BIOS_BASE + BIOS_LEN);
	assert_memory_equal(ram + at, signature, 4);
	u32 len = get32(at + 4);
	assert_true(len >= 36 && at + len <= BIOS_BASE + BIOS_LEN);
	assert_int_equal(sum(at, len), 0);
	return at;
}

static u64 find_table(unsigned cpus, const char *signature)
{
	memset(ram, 0, sizeof(ram));
	const struct pci_windows windows = { .high_base = 0x140000000, .high_len = 0x800000000 };
	u64 rsdp = acpi_write(ram, cpus, &windows);
	assert_true(rsdp >= 0xe0000 && rsdp % 16 == 0);
	assert_memory_equal(ram + rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, get32(rsdp + 20)), 0);
	u64 xsdt = check_table(get64(rsdp + 24), "XSDT");
	for (u32 at = 36; at < get32(xsdt + 4); at += 8)
		if (!memcmp(ram + get64(xsdt + at), signature, 4))
			return check_table(get64(xsdt + at), signature);
	fail_msg("no %s", signature);
	return 0;
}

static void test_fadt(void **state)
{
	u64 t = find_table(1, "FACP");
	assert_int_equal(get32(t + 4), 276);
	assert_int_equal(*(u16_una *)(ram + t + 46), SCI_IRQ);
	assert_int_equal(get32(t + 48), 0); /* no SMI command: ACPI mode is on */
	assert_int_equal(get32(t + 56), PM1_EVENT_PORT);
	assert_int_equal(get32(t + 64), PM1_CONTROL_PORT);
	assert_int_equal(get32(t + 76), PM_TIMER_PORT);
	u32 flags = get32(t + 112);
	assert_true(flags & 1 << 10); /* there is a reset register */
	assert_true(flags & 1 << 8); /* the PM timer has 32 bits */
	assert_false(flags & 1 << 20); /* not hardware-reduced */
	assert_int_equal(ram[t + 116], 1);
	assert_int_equal(get64(t + 120), RESET_PORT);
	assert_int_equal(ram[t + 128], RESET_VALUE);
	assert_int_equal(get64(t + 148 + 4), PM1_EVENT_PORT);
	u64 facs = get32(t + 36);
	assert_memory_equal(ram + facs, "FACS", 4);
	assert_int_equal(facs % 64, 0);
	check_table(get64(t + 140), "DSDT");
	assert_int_equal(get32(t + 40), get64(t + 140));
}

static void test_madt(void **state)
{
	for (unsigned cpus = 1; cpus <= MACHINE_MAX_CPUS; cpus *= 4) {
		u64 t = find_table(cpus, "APIC");
		assert_int_equal(get32(t + 36), LAPIC_BASE);
		unsigned seen[5] = { 0 };
		for (u64 e = t + 44; e < t + get32(t + 4); e += ram[e + 1]) {
			assert_true(ram[e] < 5 && ram[e + 1] >= 6);
			if (ram[e] == 0)
				assert_int_equal(ram[e + 3], seen[0]);
			if (ram[e] == 1) {
				assert_int_equal(ram[e + 2], cpus);
				assert_int_equal(get32(e + 4), IOAPIC_BASE);
			}
			if (ram[e] == 2)
				assert_int_equal(get32(e + 4), ram[e + 3] ? ram[e + 3] : 2);
			seen[ram[e]]++;
		}
		assert_int_equal(seen[0], cpus);
		assert_int_equal(seen[1], 1);
		assert_int_equal(seen[2], 2);
		assert_int_equal(seen[4], 1);
	}
}

static void test_mcfg(void **state)
{
	u64 t = find_table(1, "MCFG");
	assert_int_equal(get32(t + 4), 60);
	assert_int_equal(get64(t + 44), PCI_ECAM_BASE);
	assert_int_equal(get32(t + 52), 0); /* segment 0, bus 0 only */
}

/* What Linux looks for at power-off: Name (_S5_, Package {5, 5, ...}). */
static void test_sleep_state(void **state)
{
	u64 dsdt = get64(find_table(1, "FACP") + 140);
	const u8 *p = memmem(ram + dsdt, get32(dsdt + 4), "\x08_S5_\x12", 6);
	assert_non_null(p);
	assert_int_equal(p[9], 4);
	assert_int_equal(p[10], 0x0a);
	assert_int_equal(p[11], PM_S5_TYPE);
}

static void test_aml(void **state)
{
	u8 buf[64];
	struct aml a = { .base = buf, .room = sizeof(buf) };
	u32 device = aml_device_open(&a, "ABCD");
	aml_integer(&a, 0);
	aml_integer(&a, 0xfe);
	aml_integer(&a, 0x1234);
	aml_integer(&a, 0xdeadbeef);
	aml_string(&a, "hi");
	aml_eisa_id(&a, "PNP0501");
	aml_close(&a, device);
	static const u8 want[] = { 0x5b, 0x82, 0x8c, 0x01, 0x00, 'A',  'B',  'C',  'D',	 0x00,
				   0x0a, 0xfe, 0x0b, 0x34, 0x12, 0x0c, 0xef, 0xbe, 0xad, 0xde,
				   0x0d, 'h',  'i',  0x00, 0x0c, 0x41, 0xd0, 0x05, 0x01 };
	assert_int_equal(a.len, sizeof(want));
	assert_memory_equal(buf, want, 2);
	assert_memory_equal(buf + 5, want + 5, sizeof(want) - 5);
	assert_int_equal((buf[2] & 0xf) | buf[3] << 4 | buf[4] << 12, sizeof(want) - 2);
}

static void test_aml_full(void **state)
{
	u8 buf[17] = { 0 };
	struct aml a = { .base = buf, .room = 16 };
	u32 scope = aml_scope_open(&a, "_SB_");
	for (int i = 0; i < 8; i++)
		aml_integer(&a, 0x12345678);
	aml_close(&a, scope);
	assert_true(a.full);
	assert_true(a.len <= 16);
	assert_int_equal(buf[16], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fadt), cmocka_unit_test(test_madt), cmocka_unit_test(test_sleep_state),
		cmocka_unit_test(test_mcfg), cmocka_unit_test(test_aml),  cmocka_unit_test(test_aml_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
