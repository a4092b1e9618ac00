/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every device's constructor. A constructor makes the device in its power-up state and adds its regions to the
 * machine's buses; NULL and err when it cannot. The caller owns what it gets and destroys it after the machine has
 * stopped and before the machine is freed, in the opposite order of construction (a device holds irq_lines into those
 * made before it).
 *
 * Locks nest in this order, so that a device may drive its line with its own lock held: device, PIC, I/O APIC, local
 * APIC, clock. device_reset() is what a reset pin does.
 */
#pragma once
#include "machine/chardev.h"
#include "machine/irqchip.h"
#include "machine/machine.h"
#include "util/text.h"

struct device;
struct device_ops {
	const char *name;
	void (*reset)(struct device *d);
	void (*destroy)(struct device *d);
	/* Says what state it is in, for people, in a few lines; changes nothing. Optional. Any thread. */
	void (*info)(struct device *d, struct text *out);
	const char *about; /* with info: what it tells, in a few words */
};
struct device { /* first member of each device's state */
	const struct device_ops *ops;
};
static inline void device_reset(struct device *d) /* NULL is fine */
{
	if (d)
		d->ops->reset(d);
}
static inline void device_destroy(struct device *d) /* NULL is fine */
{
	if (d)
		d->ops->destroy(d);
}

/* ---- interrupt controllers: intc.c, over pic.c, ioapic.c, lapic.c ---- */
#define IOAPIC_BASE 0xfec00000ull
#define LAPIC_BASE  0xfee00000ull
/*
 * A PC's interrupt controllers, wired: two 8259As (ports 20h, a0h, 4d0h), an I/O APIC, a local APIC a vCPU with the
 * PICs on LINT0. Sets machine.intc. The I/O APIC's ID is the number of vCPUs. vCPU 0 starts in virtual-wire mode, as
 * firmware leaves it.
 */
struct device *intc_new(struct machine *m, struct error *err);
/* The timer whose state goes along with theirs when a kernel does their work (machine/offload.h). */
void intc_set_pit(struct device *intc, struct device *pit);
/* ISA interrupt 0..15: drives the PIC's input and the I/O APIC's pin of that number; 0 is pin 2 (MADT override).
 * true: asserted. */
struct irq_line intc_isa_line(struct device *intc, unsigned irq);
/* I/O APIC pin alone, for what ISA does not have. */
struct irq_line intc_pin_line(struct device *intc, unsigned pin);
/* A message-signalled interrupt, as a write of data to address feexxxxxh says. Any thread. */
void intc_message(struct device *intc, u64 address, u32 data);

/* ---- time ---- */
/* 8254 at 40h..43h and port 61h. irq: ISA 0. */
void pit_save(struct device *d, struct pit_counter s[3]);
/* idle: somebody else counts; the line stays as it is. */
void pit_load(struct device *d, const struct pit_counter s[3], bool idle);
struct device *pit_new(struct machine *m, struct irq_line irq, struct error *err);
/* MC146818 at 70h, 71h; irq: ISA 8. Fills in the CMOS bytes that tell RAM size. Century is byte 32h. */
struct device *rtc_new(struct machine *m, struct irq_line irq, struct error *err);
/* A byte of CMOS RAM (0eh..7fh), for a platform to prepare. */
void rtc_set_cmos(struct device *rtc, u8 index, u8 value);

#define HPET_BASE 0xfed00000ull
/* Event timers; they interrupt by I/O APIC pins 20 to 23 or by messages. */
struct device *hpet_new(struct machine *m, struct device *intc, struct error *err);

/* ---- serial: uart.c ---- */
/* 16550A at base..base+7. back is not owned and may be NULL (nothing connected); it must outlive the UART. */
struct device *uart_new(struct machine *m, u16 base, struct irq_line irq, struct chardev *back, struct error *err);

/* ---- power: acpi_pm.c ---- */
#define PM1_EVENT_PORT	 0x600 /* 4 bytes: status, enable */
#define PM1_CONTROL_PORT 0x604 /* 2 bytes; SCI_EN is always set: the machine is in ACPI mode, no SMI_CMD */
#define PM_TIMER_PORT	 0x608 /* 4 bytes, 32 bits wide */
#define PM_S5_TYPE	 5 /* SLP_TYP of \_S5 */
#define RESET_PORT	 0xcf9 /* the FADT's reset register; value RESET_VALUE */
#define RESET_VALUE	 0x6
#define SCI_IRQ		 9
/* ACPI fixed hardware above, APM ports b2h, b3h. sci: ISA 9, level, active high. */
struct device *acpi_pm_new(struct machine *m, struct irq_line sci, struct error *err);
/* For whoever owns the ports around it. */
struct region acpi_pm_reset_register(struct device *pm);
/* The power button is pressed: the guest is asked to shut down. Any thread. */
void acpi_pm_power_button(struct device *pm);

/* ---- keyboard controller: i8042.c ---- */
/* 8042 at 60h and 64h without keyboard or mouse, and port 92h. irq: ISA 1. */
struct device *i8042_new(struct machine *m, struct irq_line irq, struct error *err);

/* ---- x87 errors of the PC, with CR0.NE clear: fpu_error.c ---- */
/* Becomes machine.ferr; port F0h lowers the line. */
struct device *fpu_error_new(struct machine *m, struct irq_line line, struct error *err);

/* ---- for tests and debugging: debug_ports.c ---- */
#define DEBUG_EXIT_PORT 0xf4
/* POST codes at 80h; with `exit_port`, a write of V to f4h (any size) ends the machine: END_DEBUG_EXIT, status V. */
struct device *debug_ports_new(struct machine *m, bool exit_port, struct error *err);

/* ---- for firmware and test kernels: fw_cfg.c ---- */
#define FW_CFG_PORT	 0x510
/* Keys of items; those of files come from FW_CFG_FILE_DIR. Numbers in items are little-endian but for the directory's. */
#define FW_CFG_SIGNATURE 0x00
#define FW_CFG_ID	 0x01
#define FW_CFG_RAM_SIZE	 0x03
#define FW_CFG_NB_CPUS	 0x05
#define FW_CFG_MAX_CPUS	 0x0f
#define FW_CFG_FILE_DIR	 0x19
/* Has the items above. */
struct device *fw_cfg_new(struct machine *m, struct error *err);
/* Before the machine starts; data are copied. An absent item reads as zeros. */
int fw_cfg_add(struct device *d, u16 key, const void *data, size_t len, struct error *err);
int fw_cfg_add_file(struct device *d, const char *name, const void *data, size_t len, struct error *err);

/* ---- for kvm-unit-tests: test_ports.c ---- */
struct device *test_ports_new(struct machine *m, struct device *intc, struct error *err);

/* ---- for our own init inside a guest: guest_status.c ---- */
struct device *guest_status_new(struct machine *m, struct error *err);
/* 0..255, or -1 while none was reported. Any thread. */
int guest_status_get(const struct device *d);
/* Calls ready(), on a vCPU's thread, whenever the guest says that its console is set up. Before the machine starts. */
void guest_status_on_ready(struct device *d, void (*ready)(void *arg), void *arg);
