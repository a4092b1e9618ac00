/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a PC's interrupt controllers and interval timer, in the terms of their manuals: what moves between the project's
 * devices and an engine whose kernel does their work while the guest runs (machine/offload.h).
 */
#pragma once
#include "util/types.h"

#define PIC_CHIPS   2 /* master, slave */
#define IOAPIC_PINS 24

/* One 8259A; the words are the data sheet's (Intel 231468). */
struct pic_chip {
	u8 irr, isr, imr, lines;
	u8 elcr, elcr_mask;
	u8 base; /* vector of input 0 */
	u8 icw1, icw4;
	u8 highest; /* input with the highest priority */
	u8 expects; /* enum pic_expects */
	bool read_isr, poll, special_mask, rotate_auto;
};
enum pic_expects { EXPECT_OCW, EXPECT_ICW2, EXPECT_ICW3, EXPECT_ICW4 };

/* 82093AA. A redirection entry's remote IRR is state. */
struct ioapic_state {
	u8 select, id;
	u32 lines;
	u64 redirection[IOAPIC_PINS];
};

/* One counter of an 8254 and what software is in the middle of. */
struct pit_counter {
	u8 control; /* access, mode and BCD bits, as the read-back command shows them */
	bool gate;
	bool armed; /* a count has been written since the control word */
	bool running;
	u32 reload; /* 1..65536 */
	u64 loaded; /* the clock when it was loaded */
	bool write_second, read_second, latched, status_latched;
	u8 write_low, status;
	u16 latch;
};

/* A local APIC: SDM vol. 3, 11.4.1. */
struct lapic_state {
	u64 base; /* IA32_APIC_BASE */
	u64 tsc_deadline; /* the MSR: a guest TSC, 0 for none */
	/* reg[n] is the register at offset 16 n of the page; in x2APIC mode too the ICR's upper half is in reg[31h]. */
	u32 reg[64];
};

struct irqchip_state {
	struct pic_chip pic[PIC_CHIPS];
	struct ioapic_state ioapic;
	struct pit_counter pit[3];
};
