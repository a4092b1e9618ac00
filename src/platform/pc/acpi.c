/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables (ACPI 6.4, chapter 5): RSDP, XSDT, FADT with FACS and DSDT, MADT, MCFG. They lie one after the other in the BIOS area,
 * where the RSDP is searched for at 16-byte boundaries; the memory map calls that area reserved. Sizes are bounded by
 * MACHINE_MAX_CPUS, and the area is many times larger, which the writer asserts: none of this depends on the guest.
 */
#include "platform/pc/acpi.h"

#include <assert.h>
#include <string.h>

#include "devices/devices.h"
#include "platform/pc/dsdt.h"

#define OEM_ID	      "SXTANT"
#define OEM_TABLE_ID  "SEXTANT "
#define CREATOR_ID    "SXTN"
#define TABLES_OFFSET 0x40 /* from BIOS_BASE: the RSDP is before */

struct packed_header { /* 5.2.6 */
	char signature[4];
	u32 length;
	u8 revision, checksum;
	char oem_id[6], oem_table_id[8];
	u32 oem_revision;
	char creator_id[4];
	u32 creator_revision;
} __attribute__((packed));

struct address { /* 5.2.3.2, Generic Address Structure */
	u8 space, width, offset, access;
	u64 address;
} __attribute__((packed));

struct rsdp { /* 5.2.5.3 */
	char signature[8];
	u8 checksum;
	char oem_id[6];
	u8 revision;
	u32 rsdt, length;
	u64 xsdt;
	u8 extended_checksum, reserved[3];
} __attribute__((packed));

struct fadt { /* 5.2.9 */
	struct packed_header h;
	u32 facs, dsdt;
	u8 reserved0, profile;
	u16 sci_int;
	u32 smi_cmd;
	u8 acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	u32 pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	u8 pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base, cst_cnt;
	u16 p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
	u8 duty_offset, duty_width, day_alrm, mon_alrm, century;
	u16 boot_arch;
	u8 reserved1;
	u32 flags;
	struct address reset_reg;
	u8 reset_value;
	u16 arm_boot_arch;
	u8 minor;
	u64 x_facs, x_dsdt;
	struct address x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0, x_gpe1,
		sleep_control, sleep_status;
	u64 hypervisor;
} __attribute__((packed));

struct facs { /* 5.2.10 */
	char signature[4];
	u32 length, hardware_signature, waking_vector, global_lock, flags;
	u64 x_waking_vector;
	u8 version, reserved[31];
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 276 && sizeof(struct facs) == 64 && sizeof(struct rsdp) == 36,
	       "layout of ACPI 6.4");

#define FADT_WBINVD	    BIT(0)
#define FADT_PROC_C1	    BIT(2)
#define FADT_SLP_BUTTON	    BIT(5) /* no fixed sleep button; the power button is a fixed one */
#define FADT_FIX_RTC	    BIT(6) /* no RTC wake bit in fixed registers */
#define FADT_TMR_VAL_EXT    BIT(8)
#define FADT_RESET_REG_SUP  BIT(10)
#define BOOT_LEGACY_DEVICES BIT(0)
#define BOOT_NO_VGA	    BIT(2)
#define SPACE_IO	    1
#define NO_C2_LATENCY	    101
#define NO_C3_LATENCY	    1001
#define CENTURY_INDEX	    0x32

struct area { /* where the next table goes */
	u8 *base;
	u32 at, room;
};

static u8 checksum(const void *p, size_t len)
{
	u8 sum = 0;
	for (size_t i = 0; i < len; i++)
		sum = (u8)(sum + ((const u8 *)p)[i]);
	return (u8)-sum;
}

static void set_header(struct packed_header *h, const char *signature, u8 revision, u32 length)
{
	*h = (struct packed_header){ .length = length, .revision = revision, .oem_revision = 1, .creator_revision = 1 };
	memcpy(h->signature, signature, sizeof(h->signature));
	memcpy(h->oem_id, OEM_ID, sizeof(h->oem_id));
	memcpy(h->oem_table_id, OEM_TABLE_ID, sizeof(h->oem_table_id));
	memcpy(h->creator_id, CREATOR_ID, sizeof(h->creator_id));
}

/* Places a table at the next multiple of 64, which is what the FACS needs; returns its address. */
static u32 put(struct area *a, const void *table, u32 len)
{
	u32 at = (a->at + 63) & ~63u;
	assert(at + len <= a->room);
	memcpy(a->base + at, table, len);
	a->at = at + len;
	return BIOS_BASE + at;
}

static u32 put_table(struct area *a, void *table)
{
	struct packed_header *h = table;
	h->checksum = 0;
	h->checksum = checksum(table, h->length);
	return put(a, table, h->length);
}

static u32 put_dsdt(struct area *a, const struct pci_windows *pci)
{
	u8 table[8192];
	struct aml body = { .base = table + sizeof(struct packed_header),
			    .room = sizeof(table) - sizeof(struct packed_header) };
	dsdt_write(&body, pci);
	assert(!body.full);
	set_header((struct packed_header *)table, "DSDT", 2, (u32)sizeof(struct packed_header) + body.len);
	return put_table(a, table);
}

static u32 put_facs(struct area *a)
{
	struct facs f = { .length = sizeof(f), .version = 2 };
	memcpy(f.signature, "FACS", 4);
	return put(a, &f, sizeof(f));
}

static struct address io_address(u16 port, u8 bytes)
{
	return (struct address){
		.space = SPACE_IO, .width = (u8)(bytes * 8), .access = (u8)(__builtin_ctz(bytes) + 1), .address = port
	};
}

static u32 put_fadt(struct area *a, const struct pci_windows *pci)
{
	u32 facs = put_facs(a), dsdt = put_dsdt(a, pci);
	struct fadt f = {
		.facs = facs,
		.dsdt = dsdt,
		.x_dsdt = dsdt, /* of facs and x_facs only one may be set (5.2.9) */
		.profile = 1, /* desktop */
		.sci_int = SCI_IRQ,
		.pm1a_evt = PM1_EVENT_PORT,
		.pm1a_cnt = PM1_CONTROL_PORT,
		.pm_tmr = PM_TIMER_PORT,
		.pm1_evt_len = 4,
		.pm1_cnt_len = 2,
		.pm_tmr_len = 4,
		.p_lvl2_lat = NO_C2_LATENCY,
		.p_lvl3_lat = NO_C3_LATENCY,
		.century = CENTURY_INDEX,
		.boot_arch = BOOT_LEGACY_DEVICES | BOOT_NO_VGA,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_TMR_VAL_EXT |
			 FADT_RESET_REG_SUP,
		.reset_reg = io_address(RESET_PORT, 1),
		.reset_value = RESET_VALUE,
		.minor = 4,
		.x_pm1a_evt = io_address(PM1_EVENT_PORT, 4),
		.x_pm1a_cnt = io_address(PM1_CONTROL_PORT, 2),
		.x_pm_tmr = io_address(PM_TIMER_PORT, 4),
	};
	set_header(&f.h, "FACP", 6, sizeof(f));
	return put_table(a, &f);
}

struct madt_lapic { /* 5.2.12.2 */
	u8 type, length, uid, apic_id;
	u32 flags;
} __attribute__((packed));

struct madt { /* 5.2.12, with our entries; those of absent vCPUs are cut off */
	struct packed_header h;
	u32 lapic_address, flags;
	struct { /* 5.2.12.3 */
		u8 type, length, id, reserved;
		u32 address, gsi_base;
	} __attribute__((packed)) ioapic;
	struct { /* 5.2.12.5 */
		u8 type, length, bus, irq;
		u32 gsi;
		u16 flags;
	} __attribute__((packed)) override[2];
	struct { /* 5.2.12.7 */
		u8 type, length, uid;
		u16 flags;
		u8 lint;
	} __attribute__((packed)) nmi;
	struct madt_lapic lapic[MACHINE_MAX_CPUS];
} __attribute__((packed));

#define MADT_PCAT_COMPAT 1 /* there are two 8259s as well */
#define INTI_LEVEL_HIGH	 0x000d /* active high, level-triggered */
#define LAPIC_ENABLED	 1
#define ALL_PROCESSORS	 0xff

static u32 put_madt(struct area *a, unsigned cpus)
{
	struct madt t = {
		.lapic_address = (u32)LAPIC_BASE,
		.flags = MADT_PCAT_COMPAT,
		.ioapic = { .type = 1, .length = 12, .id = (u8)cpus, .address = (u32)IOAPIC_BASE },
		/* The timer is at pin 2, as on every PC; the SCI differs from an ISA interrupt in being level-triggered. */
		.override = { { .type = 2, .length = 10, .irq = 0, .gsi = 2 },
			      { .type = 2, .length = 10, .irq = SCI_IRQ, .gsi = SCI_IRQ, .flags = INTI_LEVEL_HIGH } },
		.nmi = { .type = 4, .length = 6, .uid = ALL_PROCESSORS, .lint = 1 },
	};
	assert(cpus >= 1 && cpus <= MACHINE_MAX_CPUS);
	for (unsigned i = 0; i < cpus; i++)
		t.lapic[i] = (struct madt_lapic){
			.length = sizeof(t.lapic[i]), .uid = (u8)i, .apic_id = (u8)i, .flags = LAPIC_ENABLED
		};
	set_header(&t.h, "APIC", 5, (u32)(offsetof(struct madt, lapic) + cpus * sizeof(t.lapic[0])));
	return put_table(a, &t);
}

/* PCI Firmware Specification 3.2, 4.1.2: where the ECAM is. */
static u32 put_mcfg(struct area *a)
{
	struct {
		struct packed_header h;
		u64 reserved0, base;
		u16 segment;
		u8 first_bus, last_bus;
		u32 reserved1;
	} __attribute__((packed)) t = { .base = PCI_ECAM_BASE };

	set_header(&t.h, "MCFG", 1, sizeof(t));
	return put_table(a, &t);
}

static u32 put_xsdt(struct area *a, u32 fadt, u32 madt, u32 mcfg)
{
	struct {
		struct packed_header h;
		u64 table[3];
	} __attribute__((packed)) x = { .table = { fadt, madt, mcfg } };
	set_header(&x.h, "XSDT", 1, sizeof(x));
	return put_table(a, &x);
}

static void put_rsdp(u8 *at, u32 xsdt)
{
	struct rsdp r = { .revision = 2, .length = sizeof(r), .xsdt = xsdt };
	memcpy(r.signature, "RSD PTR ", sizeof(r.signature));
	memcpy(r.oem_id, OEM_ID, sizeof(r.oem_id));
	r.checksum = checksum(&r, 20); /* of the part that ACPI 1.0 has */
	r.extended_checksum = checksum(&r, sizeof(r));
	memcpy(at, &r, sizeof(r));
}

u64 acpi_write(u8 *low_ram, unsigned cpus, const struct pci_windows *pci)
{
	struct area a = { .base = low_ram + BIOS_BASE, .at = TABLES_OFFSET, .room = BIOS_LEN };
	u32 fadt = put_fadt(&a, pci), madt = put_madt(&a, cpus), mcfg = put_mcfg(&a);
	put_rsdp(a.base, put_xsdt(&a, fadt, madt, mcfg));
	return BIOS_BASE;
}
