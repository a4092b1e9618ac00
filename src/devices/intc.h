/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the parts of a PC's interrupt controllers (intc.c, lapic*.c, ioapic.c, pic.c); nobody else includes it.
 *
 * What the APICs say to each other is a message (SDM vol. 3, 11.6, 11.11): the I/O APIC, a local APIC's ICR and MSIs
 * all make one, and intc_send() finds who takes it. No local APIC's lock may be held by whoever sends.
 */
#pragma once
#include "devices/devices.h"

enum delivery_mode { DM_FIXED, DM_LOWEST, DM_SMI, DM_RESERVED, DM_NMI, DM_INIT, DM_SIPI, DM_EXTINT };
enum shorthand { TO_DESTINATION, TO_SELF, TO_ALL, TO_OTHERS };
#define APIC_BROADCAST 0xffffffffu

struct apic_message {
	u32 dest; /* APIC ID, or logical destination; APIC_BROADCAST */
	bool logical, level;
	u8 mode; /* enum delivery_mode */
	u8 vector;
	u8 to; /* enum shorthand */
};
/* An 8-bit destination field, as xAPIC, I/O APIC and MSI have it. */
static inline u32 apic_dest8(u32 field)
{
	return field == 0xff ? APIC_BROADCAST : field;
}

struct intc;
struct lapic;

/* ---- intc.c ---- */
/* Whether anyone took it. from: the sender, for shorthands; NULL otherwise. */
bool intc_send(struct intc *c, const struct apic_message *msg, const struct lapic *from);
/* A local APIC is done with a level-triggered vector. No local APIC's lock held. */
void intc_eoi(struct intc *c, u8 vector);
/* INTA to the PICs: vector, or -1 when they ask for nothing. No local APIC's lock held. */
int intc_pic_acknowledge(struct intc *c);

/* ---- lapic.c ---- */
struct lapic *lapic_new(struct vcpu *v, struct intc *c);
void lapic_free(struct lapic *l);
/* INIT and power-up alike, but for IA32_APIC_BASE: that is back to its power-up value only if power_up. */
void lapic_reset(struct lapic *l, bool power_up);
/* As a PC's firmware leaves the boot CPU: enabled, ExtINT on LINT0, NMI on LINT1. */
void lapic_virtual_wire(struct lapic *l);
void lapic_set_lint(struct lapic *l, unsigned pin, bool level);
bool lapic_matches(struct lapic *l, u32 dest, bool logical);
/* lapic_state.c */
void lapic_save(struct lapic *l, struct lapic_state *s);
void lapic_load(struct lapic *l, const struct lapic_state *s, bool idle);
void lapic_info(struct lapic *l, struct text *out); /* lapic_info.c */
u8 lapic_priority(struct lapic *l); /* PPR, for lowest-priority arbitration */
bool lapic_deliver(struct lapic *l, const struct apic_message *msg);
int lapic_acknowledge(struct lapic *l);
bool lapic_pending(struct lapic *l);
u8 lapic_get_tpr(struct lapic *l);
void lapic_set_tpr(struct lapic *l, u8 tpr);
bool lapic_read_msr(struct lapic *l, u32 msr, u64 *value);
bool lapic_write_msr(struct lapic *l, u32 msr, u64 value);
/* MMIO at an absolute address; false if this APIC's page is not there. */
bool lapic_read_mmio(struct lapic *l, u64 addr, unsigned size, u64 *value);
bool lapic_write_mmio(struct lapic *l, u64 addr, unsigned size, u64 value);

/* ---- ioapic.c ---- */
struct device *ioapic_new(struct machine *m, struct intc *c, struct error *err);
void ioapic_set_pin(struct device *d, unsigned pin, bool level);
void ioapic_eoi(struct device *d, u8 vector);
void ioapic_save(struct device *d, struct ioapic_state *s);
/* idle, here and below: somebody else does the work, so nothing is sent and no timer runs. */
void ioapic_load(struct device *d, const struct ioapic_state *s, bool idle);

/* ---- pic.c ---- */
/* out: the master's INT. */
struct device *pic_new(struct machine *m, struct irq_line out, struct error *err);
void pic_set_input(struct device *d, unsigned irq, bool level);
int pic_acknowledge(struct device *d); /* vector, or -1 */
void pic_save(struct device *d, struct pic_chip s[PIC_CHIPS]);
void pic_load(struct device *d, const struct pic_chip s[PIC_CHIPS], bool idle);
