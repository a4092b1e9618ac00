/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interrupt controllers of a PC, wired together, and what they do for a vCPU (struct intc_ops).
 *
 * The PICs' INT goes to LINT0 of every local APIC and to pin 0 of the I/O APIC. ISA interrupt n drives input n of the
 * PICs and pin n of the I/O APIC, except that interrupt 0 is on pin 2, where every PC has it; input 2 of the PICs is
 * the cascade.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/intc.h"
#include "machine/offload.h"

struct intc {
	struct device dev;
	struct machine *machine;
	struct device *pic, *ioapic, *pit;
	struct lapic *lapic[MACHINE_MAX_CPUS];
	atomic_uint turn; /* where lowest-priority arbitration begins to look */
};

static struct lapic *lapic_of(struct vcpu *v)
{
	struct intc *c = v->machine->intc_dev;

	return c->lapic[v->id];
}

/* The host's kernel does the work; what is here is old. */
static bool offloaded(const struct intc *c)
{
	return c->machine->offload && c->machine->offload->set_line;
}

/* ---- messages ---- */

static bool addressed(struct lapic *l, const struct apic_message *msg, const struct lapic *from)
{
	switch (msg->to) {
	case TO_SELF: return l == from;
	case TO_ALL: return true;
	case TO_OTHERS: return l != from;
	default: return lapic_matches(l, msg->dest, msg->logical);
	}
}

/* The addressee with the lowest processor priority; among equals they take turns (SDM vol. 3, 11.6.2.4). */
static struct lapic *arbitrate(struct intc *c, const struct apic_message *msg, const struct lapic *from)
{
	unsigned cpus = c->machine->config.cpus, first = atomic_fetch_add(&c->turn, 1) % cpus;
	struct lapic *best = NULL;
	u8 lowest = 0xff;

	for (unsigned i = 0; i < cpus; i++) {
		struct lapic *l = c->lapic[(first + i) % cpus];
		u8 priority;

		if (!addressed(l, msg, from))
			continue;
		priority = lapic_priority(l);
		if (!best || priority < lowest) {
			best = l;
			lowest = priority;
		}
	}
	return best;
}

bool intc_send(struct intc *c, const struct apic_message *msg, const struct lapic *from)
{
	bool taken = false;

	if (msg->mode == DM_LOWEST) {
		struct lapic *l = arbitrate(c, msg, from);
		return l && lapic_deliver(l, msg);
	}
	for (unsigned i = 0; i < c->machine->config.cpus; i++)
		if (addressed(c->lapic[i], msg, from))
			taken |= lapic_deliver(c->lapic[i], msg);
	return taken;
}

void intc_eoi(struct intc *c, u8 vector)
{
	ioapic_eoi(c->ioapic, vector);
}

int intc_pic_acknowledge(struct intc *c)
{
	return pic_acknowledge(c->pic);
}

/* Intel SDM vol. 3, 11.11: message address and data. */
void intc_message(struct device *d, u64 address, u32 data)
{
	struct intc *c = container_of(d, struct intc, dev);
	struct apic_message msg = {
		.dest = apic_dest8(address >> 12 & 0xff),
		.logical = address & BIT(2),
		.level = data & BIT(15),
		.mode = data >> 8 & 7,
		.vector = (u8)data,
	};

	if (address >> 20 != LAPIC_BASE >> 20)
		return;
	if (offloaded(c))
		c->machine->offload->message(c->machine, address, data);
	else
		intc_send(c, &msg, NULL);
}

/* ---- lines ---- */

static void pic_output(void *arg, unsigned pin, bool level)
{
	struct intc *c = arg;

	if (c->ioapic)
		ioapic_set_pin(c->ioapic, 0, level);
	for (unsigned i = 0; i < c->machine->config.cpus; i++)
		lapic_set_lint(c->lapic[i], 0, level);
}

static void set_isa(void *arg, unsigned irq, bool level)
{
	struct intc *c = arg;

	if (offloaded(c)) {
		c->machine->offload->set_line(c->machine, irq, level);
		return;
	}
	if (irq != 2)
		pic_set_input(c->pic, irq, level);
	ioapic_set_pin(c->ioapic, irq ? irq : 2, level);
}

static void set_pin(void *arg, unsigned pin, bool level)
{
	struct intc *c = arg;

	if (offloaded(c))
		c->machine->offload->set_line(c->machine, pin, level);
	else
		ioapic_set_pin(c->ioapic, pin, level);
}

struct irq_line intc_isa_line(struct device *d, unsigned irq)
{
	return (struct irq_line){ set_isa, container_of(d, struct intc, dev), irq & 15 };
}

struct irq_line intc_pin_line(struct device *d, unsigned pin)
{
	return (struct irq_line){ set_pin, container_of(d, struct intc, dev), pin };
}

/* ---- for vCPUs ---- */

static int acknowledge(struct vcpu *v)
{
	return lapic_acknowledge(lapic_of(v));
}

static bool pending(struct vcpu *v)
{
	return lapic_pending(lapic_of(v));
}

static u8 get_tpr(struct vcpu *v)
{
	return lapic_get_tpr(lapic_of(v));
}

static void set_tpr(struct vcpu *v, u8 tpr)
{
	lapic_set_tpr(lapic_of(v), tpr);
}

static bool read_msr(struct vcpu *v, u32 msr, u64 *value)
{
	return lapic_read_msr(lapic_of(v), msr, value);
}

static bool write_msr(struct vcpu *v, u32 msr, u64 value)
{
	return lapic_write_msr(lapic_of(v), msr, value);
}

static void send_command(struct vcpu *v, u32 apic_id, u32 icr)
{
	struct intc *c = v->machine->intc_dev;
	struct apic_message msg = { .dest = apic_id, .mode = icr >> 8 & 7, .vector = (u8)icr };

	if (msg.mode == DM_NMI || (msg.mode == DM_FIXED && msg.vector >= 16))
		intc_send(c, &msg, NULL);
}

static void reset_vcpu(struct vcpu *v)
{
	lapic_reset(lapic_of(v), false);
}

/* ---- state ---- */
static void save(struct machine *m, struct irqchip_state *s)
{
	struct intc *c = m->intc_dev;

	*s = (struct irqchip_state){ 0 };
	pic_save(c->pic, s->pic);
	ioapic_save(c->ioapic, &s->ioapic);
	if (c->pit)
		pit_save(c->pit, s->pit);
}

/* The PICs last: their output goes to the others. */
static void load(struct machine *m, const struct irqchip_state *s)
{
	struct intc *c = m->intc_dev;
	bool idle = offloaded(c);

	ioapic_load(c->ioapic, &s->ioapic, idle);
	pic_load(c->pic, s->pic, idle);
	if (c->pit)
		pit_load(c->pit, s->pit, idle);
}

static void save_lapic(struct vcpu *v, struct lapic_state *s)
{
	lapic_save(lapic_of(v), s);
}

static void load_lapic(struct vcpu *v, const struct lapic_state *s)
{
	lapic_load(lapic_of(v), s, offloaded(v->machine->intc_dev));
}

void intc_set_pit(struct device *d, struct device *pit)
{
	container_of(d, struct intc, dev)->pit = pit;
}

static const struct irqchip_ops states = {
	.save = save,
	.load = load,
	.save_lapic = save_lapic,
	.load_lapic = load_lapic,
};

static const struct intc_ops vcpu_side = {
	.acknowledge = acknowledge,
	.pending = pending,
	.get_tpr = get_tpr,
	.set_tpr = set_tpr,
	.read_msr = read_msr,
	.write_msr = write_msr,
	.send = send_command,
	.reset = reset_vcpu,
	.irqchip = &states,
};

/* Every CPU sees its own local APIC at the one address; who has no vCPU (a debugger) sees that of vCPU 0. */
static struct lapic *asking(struct intc *c)
{
	struct vcpu *v = vcpu_current();

	return c->lapic[v ? v->id : 0];
}

static u64 read_moved(void *dev, u64 addr, unsigned size)
{
	u64 value;

	return lapic_read_mmio(asking(dev), addr, size, &value) ? value : ~0ull;
}

static void write_moved(void *dev, u64 addr, unsigned size, u64 value)
{
	lapic_write_mmio(asking(dev), addr, size, value);
}

static u64 read_home(void *dev, u64 offset, unsigned size)
{
	return read_moved(dev, LAPIC_BASE + offset, size);
}

static void write_home(void *dev, u64 offset, unsigned size, u64 value)
{
	write_moved(dev, LAPIC_BASE + offset, size, value);
}

static const struct region_ops home = { read_home, write_home };
/* A local APIC that was moved (IA32_APIC_BASE) answers where nothing else does; RAM and devices hide it. */
static const struct region_ops moved = { read_moved, write_moved };

static void reset(struct device *d)
{
	struct intc *c = container_of(d, struct intc, dev);

	device_reset(c->pic);
	device_reset(c->ioapic);
	for (unsigned i = 0; i < c->machine->config.cpus; i++)
		lapic_reset(c->lapic[i], true);
	lapic_virtual_wire(c->lapic[0]);
	device_reset(c->pit);
}

static void destroy(struct device *d)
{
	struct intc *c = container_of(d, struct intc, dev);

	if (c->machine->intc_dev == c) {
		c->machine->intc = NULL;
		c->machine->intc_dev = NULL;
		c->machine->mmio.fallback.ops = NULL;
	}
	device_destroy(c->ioapic);
	device_destroy(c->pic);
	for (unsigned i = 0; i < c->machine->config.cpus; i++)
		lapic_free(c->lapic[i]);
	free(c);
}

static void info(struct device *d, struct text *out)
{
	struct intc *c = container_of(d, struct intc, dev);

	if (offloaded(c))
		c->machine->offload->pull(c->machine);
	c->pic->ops->info(c->pic, out);
	c->ioapic->ops->info(c->ioapic, out);
	for (unsigned i = 0; i < c->machine->config.cpus; i++)
		lapic_info(c->lapic[i], out);
}

static const struct device_ops intc_dev_ops = {
	.name = "irq",
	.reset = reset,
	.destroy = destroy,
	.info = info,
	.about = "interrupt controllers: PICs, I/O APIC, local APICs",
};

static int build(struct intc *c, struct error *err)
{
	struct machine *m = c->machine;
	const struct region region = { LAPIC_BASE, PAGE_SIZE, &home, c, "lapic", 0 };

	for (unsigned i = 0; i < m->config.cpus; i++) {
		c->lapic[i] = lapic_new(m->vcpu[i], c);
		if (!c->lapic[i])
			return error_set(err, ENOMEM, "no memory for the local APICs");
	}
	c->pic = pic_new(m, (struct irq_line){ pic_output, c, 0 }, err);
	if (!c->pic)
		return -1;
	c->ioapic = ioapic_new(m, c, err);
	if (!c->ioapic)
		return -1;
	return bus_add(&m->mmio, &region, err);
}

struct device *intc_new(struct machine *m, struct error *err)
{
	struct intc *c = calloc(1, sizeof(*c));

	if (!c) {
		error_set(err, ENOMEM, "no memory for the interrupt controllers");
		return NULL;
	}
	c->dev.ops = &intc_dev_ops;
	c->machine = m;
	if (build(c, err)) {
		destroy(&c->dev);
		return NULL;
	}
	lapic_virtual_wire(c->lapic[0]);
	m->mmio.fallback = (struct region){ 0, ~0ull, &moved, c, "moved lapic", 0 };
	m->intc = &vcpu_side;
	m->intc_dev = c;
	return &c->dev;
}
