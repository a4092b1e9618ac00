/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine's kernel does in the devices' place while a guest runs: interrupt controllers and interval timer, and doorbells.
 * machine.offload is the engine's; NULL means that the devices do it all.
 *
 * While it is set, registers of those devices are not asked (the guest's accesses do not come out), lines and messages go to
 * the kernel, and what the devices hold is old. pull() makes it true: it is for who looks (the monitor, a snapshot), with every
 * vCPU standing. push() is for who has changed it, by a reset. When the engine goes it leaves the devices true.
 */
#pragma once
#include "machine/irqchip.h"
#include "machine/machine.h"

struct offload_ops {
	/* Interrupt controllers; NULL, with all of the next three: the devices' own. irq: of ISA below 16, else the I/O APIC's pin. */
	void (*set_line)(struct machine *m, unsigned irq, bool level);
	void (*message)(struct machine *m, u64 address, u32 data); /* an MSI */
	void (*pull)(struct machine *m);
	void (*push)(struct machine *m);
	/* From now on a guest's write to gpa, of whatever size, adds to the eventfd and does not come out; and no longer. Optional. */
	int (*doorbell)(struct machine *m, u64 gpa, int fd, bool on);
};

/* What the platform gives for it: its devices' state, whole. */
struct irqchip_ops {
	void (*save)(struct machine *m, struct irqchip_state *s);
	void (*load)(struct machine *m, const struct irqchip_state *s);
	void (*save_lapic)(struct vcpu *v, struct lapic_state *s);
	void (*load_lapic)(struct vcpu *v, const struct lapic_state *s);
};
