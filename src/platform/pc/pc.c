/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PC's wiring: makes each device with the line it drives, and what firmware leaves in memory: ACPI tables, the BIOS data
 * area, the memory map. Devices are destroyed in the opposite order, since later ones hold lines into earlier ones.
 *
 * Memory: RAM to a0000h (the last KiB is the extended BIOS data area), nothing to e0000h, firmware tables to 1 MiB, RAM to
 * machine.low_size, PCI from there to local APICs and I/O APIC below 4 GiB, the rest of RAM from 4 GiB, PCI again above it.
 *
 * PCI: 00.0 host bridge, 1f.0 ISA bridge, and from 01.0 on what the configuration asks for, in the order of add_virtio().
 */
#include "platform/pc/pc.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/pci/pci.h"
#include "machine/offload.h"
#include "devices/virtio/devices.h"
#include "platform/pc/acpi.h"
#include "platform/pc/bios.h"
#include "platform/pc/inspect.h"

#define IRQ_TIMER    0
#define IRQ_KEYBOARD 1
#define IRQ_COM1     4
#define IRQ_RTC	     8
#define IRQ_FPU	     13

#define MIB	(1ull << 20)
#define RAM_MIN (2 * MIB)

enum pc_device {
	PC_INTC,
	PC_PIT,
	PC_RTC,
	PC_COM1,
	PC_PM,
	PC_I8042,
	PC_FPU,
	PC_DEBUG,
	PC_STATUS,
	PC_FW_CFG,
	PC_HPET,
	PC_TEST, /* with the debug-exit port alone */
	PC_LPC,
	PC_PCI,
	PC_DEVICES
};
#define MAX_VIRTIO (PC_MAX_DISKS + PC_MAX_SHARES + 8)

struct pc {
	struct device *dev[PC_DEVICES];
	struct device *virtio[MAX_VIRTIO]; /* in the order of their places on the PCI bus */
	unsigned nvirtio;
	struct virtio_device *balloon; /* one of them */
	struct firmware_info firmware;
};

static int wire(struct machine *m, struct pc *pc, const struct pc_config *cfg, struct error *err)
{
	struct device **d = pc->dev;
	bool made = (d[PC_INTC] = intc_new(m, err)) &&
		    (d[PC_PIT] = pit_new(m, intc_isa_line(d[PC_INTC], IRQ_TIMER), err)) &&
		    (d[PC_RTC] = rtc_new(m, intc_isa_line(d[PC_INTC], IRQ_RTC), err)) &&
		    (d[PC_COM1] = uart_new(m, BIOS_COM1, intc_isa_line(d[PC_INTC], IRQ_COM1), cfg->console, err)) &&
		    (d[PC_PM] = acpi_pm_new(m, intc_isa_line(d[PC_INTC], SCI_IRQ), err)) &&
		    (d[PC_I8042] = i8042_new(m, intc_isa_line(d[PC_INTC], IRQ_KEYBOARD), err)) &&
		    (d[PC_FPU] = fpu_error_new(m, intc_isa_line(d[PC_INTC], IRQ_FPU), err)) &&
		    (d[PC_DEBUG] = debug_ports_new(m, cfg->debug_exit, err)) &&
		    (d[PC_STATUS] = guest_status_new(m, err)) && (d[PC_FW_CFG] = fw_cfg_new(m, err)) &&
		    (d[PC_HPET] = hpet_new(m, d[PC_INTC], err)) &&
		    (!cfg->debug_exit || (d[PC_TEST] = test_ports_new(m, d[PC_INTC], err))) &&
		    (d[PC_LPC] = lpc_new(m, d[PC_INTC], err));
	if (!made)
		return err ? err->code : -ENOMEM;
	intc_set_pit(d[PC_INTC], d[PC_PIT]);
	return 0;
}

static int wire_pci(struct machine *m, struct pc *pc, struct error *err)
{
	struct device *lpc = pc->dev[PC_LPC], *bus;
	struct irq_line intx[4];
	struct region reset = acpi_pm_reset_register(pc->dev[PC_PM]);

	for (unsigned i = 0; i < ARRAY_SIZE(intx); i++)
		intx[i] = lpc_line(lpc, i);
	bus = pc->dev[PC_PCI] = pci_bus_new(m, pc->dev[PC_INTC], intx, err);
	if (!bus)
		return err ? err->code : -ENOMEM;
	pci_set_reset_register(bus, &reset);
	pci_set_irqs(bus, lpc_irqs());
	return lpc_add(lpc, bus, err);
}

/* Puts a virtio device that was just made on the bus; NULL: making it has failed. */
static int add(struct pc *pc, struct virtio_device *d, struct error *err)
{
	int r;

	if (!d)
		return err ? err->code : -ENOMEM;
	if (pc->nvirtio == MAX_VIRTIO)
		r = error_set(err, ENOSPC, "a PC has at most %d devices", MAX_VIRTIO);
	else
		r = virtio_pci_add(pc->dev[PC_PCI], d, err);
	if (r)
		d->ops->destroy(d);
	else
		pc->virtio[pc->nvirtio++] = &d->dev;
	return r;
}

static int add_balloon(struct machine *m, struct pc *pc, const struct pc_config *cfg, struct error *err)
{
	struct virtio_device *balloon = virtio_balloon_new(m, err);
	int r = add(pc, balloon, err);

	if (r)
		return r;
	pc->balloon = balloon;
	balloon_set_target(balloon, cfg->balloon);
	return 0;
}

static int add_virtio(struct machine *m, struct pc *pc, const struct pc_config *cfg, struct error *err)
{
	int r = 0;

	for (unsigned i = 0; i < cfg->ndisks && !r; i++)
		r = add(pc, virtio_blk_new(m, cfg->disks[i], err), err);
	if (cfg->net && !r)
		r = add(pc, virtio_net_new(m, cfg->net, err), err);
	if (cfg->virtio_console && !r)
		r = add(pc, virtio_console_new(m, cfg->virtio_console, err), err);
	if (!r)
		r = add(pc, virtio_rng_new(m, err), err);
	if (!r)
		r = add_balloon(m, pc, cfg, err);
	for (unsigned i = 0; i < cfg->nshares && !r; i++) {
		const struct fs_config fs = { cfg->shares[i].tag, cfg->shares[i].socket, cfg->share_lost,
					      cfg->share_arg };
		r = add(pc, virtio_fs_new(m, &fs, err), err);
	}
	if (cfg->vsock && !r)
		r = add(pc, virtio_vsock_new(m, cfg->vsock, err), err);
	return r;
}

static void add_range(struct firmware_info *f, u64 base, u64 len, enum mem_kind kind)
{
	f->map[f->ranges++] = (struct mem_range){ .base = base, .len = len, .kind = kind };
}

static void describe_memory(const struct machine *m, struct firmware_info *f)
{
	add_range(f, 0, BIOS_EBDA, MEM_RAM);
	add_range(f, BIOS_EBDA, BIOS_EBDA_LEN, MEM_RESERVED);
	add_range(f, BIOS_BASE, BIOS_LEN, MEM_RESERVED);
	add_range(f, MIB, m->low_size - MIB, MEM_RAM);
	add_range(f, PCI_ECAM_BASE, PCI_ECAM_BUS, MEM_RESERVED);
	add_range(f, IOAPIC_BASE, PAGE_SIZE, MEM_RESERVED);
	add_range(f, LAPIC_BASE, PAGE_SIZE, MEM_RESERVED);
	if (m->high_size)
		add_range(f, HIGH_RAM_BASE, m->high_size, MEM_RAM);
}

#define MTRR_UC	       0x00ull
#define MTRR_ALL_WB    0x0606060606060606ull
#define MTRR_ENABLE    0xc00ull /* both variable and fixed ranges */
#define MTRR_VALID     0x800ull
#define MTRR_FIXED_VGA 2 /* 16K_A0000 */

/* Firmware makes all memory write-back but for where devices live, on every CPU; kernels without MTRRs do without PAT too. */
static void set_mtrrs(struct vcpu *v)
{
	for (unsigned k = 0; k < ARRAY_SIZE(v->msr.mtrr_fixed); k++)
		v->msr.mtrr_fixed[k] = MTRR_ALL_WB;
	v->msr.mtrr_fixed[MTRR_FIXED_VGA] = 0;
	v->msr.mtrr_var[0] = LOW_RAM_LIMIT | MTRR_UC;
	v->msr.mtrr_var[1] = ((BIT(GPA_BITS) - 1) & ~(HIGH_RAM_BASE - LOW_RAM_LIMIT - 1)) | MTRR_VALID;
	v->msr.mtrr_def_type = MTRR_ENABLE | 0x06;
}

/* What firmware does before it starts a kernel. */
static void run_firmware(struct machine *m, struct pc *pc)
{
	u8 *low_ram = ram_ptr(m, 0, RAM_MIN);
	struct pci_windows windows;

	pci_windows(pc->dev[PC_PCI], &windows);
	bios_leave(m, low_ram);
	for (unsigned k = 0; k < m->config.cpus; k++)
		set_mtrrs(m->vcpu[k]);
	pc->firmware.rsdp = acpi_write(low_ram, m->config.cpus, &windows);
}

static int list_parts(struct machine *m, struct pc *pc, struct error *err)
{
	int r = 0;

	for (unsigned i = 0; i < PC_DEVICES && !r; i++)
		r = !pc->dev[i] ? 0 : inspect_add_device(m, pc->dev[i], err);
	return r ? r : inspect_add_balloon(m, pc->balloon, err);
}

int pc_create(struct machine *m, const struct pc_config *cfg, struct error *err)
{
	if (!ram_ptr(m, 0, RAM_MIN))
		return error_set(err, EINVAL,
				 "memory of %llu KiB is too small, a PC has at least 2 MiB; try a larger --mem",
				 (unsigned long long)m->low_size >> 10);
	struct pc *pc = calloc(1, sizeof(*pc));
	if (!pc)
		return error_set(err, ENOMEM, "no memory");
	m->platform = pc;
	int r = wire(m, pc, cfg, err);
	if (!r)
		r = wire_pci(m, pc, err);
	if (!r)
		r = add_virtio(m, pc, cfg, err);
	if (!r)
		r = list_parts(m, pc, err);
	if (r) {
		pc_destroy(m);
		return r;
	}
	guest_status_on_ready(pc->dev[PC_STATUS], cfg->console_ready, cfg->console_arg);
	describe_memory(m, &pc->firmware);
	run_firmware(m, pc);
	return 0;
}

/* Interrupt controllers first: what other devices then do to their lines is seen by fresh ones. */
void pc_reset(struct machine *m)
{
	struct pc *pc = m->platform;

	for (unsigned i = 0; i < PC_DEVICES; i++)
		if (pc->dev[i] && i != PC_PIT) /* which goes along with the interrupt controllers */
			device_reset(pc->dev[i]);
	run_firmware(m, pc);
	if (m->offload && m->offload->push)
		m->offload->push(m);
}

void pc_destroy(struct machine *m)
{
	struct pc *pc = m->platform;
	if (!pc)
		return;
	for (unsigned i = pc->nvirtio; i-- > 0;)
		device_destroy(pc->virtio[i]);
	for (int i = PC_DEVICES - 1; i >= 0; i--)
		device_destroy(pc->dev[i]);
	free(pc);
	m->platform = NULL;
}

const struct firmware_info *pc_firmware(const struct machine *m)
{
	return &((const struct pc *)m->platform)->firmware;
}

int pc_guest_status(const struct machine *m)
{
	const struct pc *pc = m->platform;
	return guest_status_get(pc->dev[PC_STATUS]);
}

struct virtio_device *pc_balloon(const struct machine *m)
{
	return ((const struct pc *)m->platform)->balloon;
}
