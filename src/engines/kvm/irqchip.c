/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's PICs, I/O APIC and interval timer, which do the work of the project's devices while this engine runs a guest; lines,
 * messages, and the state both ways. Local APICs, which belong to vCPUs, are in lapic.c.
 *
 * GSI n below 16 is ISA interrupt n, as src/devices/intc.c wires it: input n of the PICs and pin n of the I/O APIC, but for the
 * timer's, which has pin 2; 16 to 23 are pins of the I/O APIC alone. The kernel's timer drives GSI 0 itself.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "engines/kvm/kvm-internal.h"
#include "machine/control.h"
#include "machine/offload.h"

#define ISA_IRQS    16u
#define CASCADE	    2
#define TIMER_PIN   2
#define LEVEL_ENTRY BIT(15)

#define PIT_NEVER_SET 0xff /* the kernel's mode of a counter that has had no control word */
#define ICW1_IC4      0x01
#define ICW4_AUTO_EOI 0x02
#define ICW4_NESTED   0x10
/* The kernel's kvm_kpit_channel_state: where a latched count, or a count of two bytes, has got to. */
enum { PIT_WORD0 = 3, PIT_WORD1 };

static int failed(struct error *err, const char *what)
{
	return error_set(err, errno, "KVM and its %s: %s", what, strerror(errno));
}

/* ---- wiring ---- */
static void add_pin(struct kvm_irq_routing *t, u32 gsi, u32 chip, u32 pin)
{
	t->entries[t->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static int set_routes(struct kvm_vm *vm, struct error *err)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[ISA_IRQS + IOAPIC_PINS];
	} t = { 0 };

	for (u32 n = 0; n < IOAPIC_PINS; n++) {
		if (n == CASCADE)
			continue;
		if (n < ISA_IRQS)
			add_pin(&t.head, n, n < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, n & 7);
		add_pin(&t.head, n, KVM_IRQCHIP_IOAPIC, n ? n : TIMER_PIN);
	}
	return ioctl(vm->fd, KVM_SET_GSI_ROUTING, &t) < 0 ? failed(err, "interrupt wires") : 0;
}

/* ---- lines and messages: any thread. A device may say again what it has said: that is no system call. ---- */
static void drive(struct kvm_vm *vm, unsigned irq, bool level)
{
	struct kvm_irq_level l = { .irq = irq, .level = level };

	ioctl(vm->fd, KVM_IRQ_LINE, &l);
}

static void set_line(struct machine *m, unsigned irq, bool level)
{
	struct kvm_vm *vm = m->engine;
	u32 bit = 1u << irq, before;

	if (irq >= IOAPIC_PINS)
		return;
	before = level ? atomic_fetch_or(&vm->lines, bit) : atomic_fetch_and(&vm->lines, ~bit);
	if (!(before & bit) == level)
		drive(vm, irq, level);
}

static void message(struct machine *m, u64 address, u32 data)
{
	struct kvm_vm *vm = m->engine;
	struct kvm_msi msi = { .address_lo = (u32)address, .address_hi = (u32)(address >> 32), .data = data };

	ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}

/* ---- PICs ---- */
static void pic_to_kvm(const struct pic_chip *c, struct kvm_pic_state *s)
{
	*s = (struct kvm_pic_state){
		.last_irr = c->lines,
		.irr = c->irr,
		.imr = c->imr,
		.isr = c->isr,
		.priority_add = c->highest,
		.irq_base = c->base,
		.read_reg_select = c->read_isr,
		.poll = c->poll,
		.special_mask = c->special_mask,
		.init_state = c->expects,
		.auto_eoi = c->icw4 & ICW4_AUTO_EOI ? 1 : 0,
		.rotate_on_auto_eoi = c->rotate_auto,
		.special_fully_nested_mode = c->icw4 & ICW4_NESTED ? 1 : 0,
		.init4 = c->icw1 & ICW1_IC4,
		.elcr = c->elcr,
		.elcr_mask = c->elcr_mask,
	};
}

static void pic_from_kvm(const struct kvm_pic_state *s, struct pic_chip *c)
{
	*c = (struct pic_chip){
		.irr = s->irr,
		.isr = s->isr,
		.imr = s->imr,
		.lines = s->last_irr,
		.elcr = s->elcr,
		.elcr_mask = s->elcr_mask,
		.base = s->irq_base,
		.icw1 = s->init4 ? ICW1_IC4 : 0,
		.icw4 = (u8)((s->auto_eoi ? ICW4_AUTO_EOI : 0) | (s->special_fully_nested_mode ? ICW4_NESTED : 0)),
		.highest = s->priority_add & 7,
		.expects = s->init_state & 3,
		.read_isr = s->read_reg_select,
		.poll = s->poll,
		.special_mask = s->special_mask,
		.rotate_auto = s->rotate_on_auto_eoi,
	};
}

static int pics_load(struct kvm_vm *vm, const struct irqchip_state *s, struct error *err)
{
	for (u32 i = 0; i < PIC_CHIPS; i++) {
		struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_PIC_MASTER + i };

		pic_to_kvm(&s->pic[i], &chip.chip.pic);
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &chip) < 0)
			return failed(err, "PIC");
	}
	return 0;
}

static int pics_save(struct kvm_vm *vm, struct irqchip_state *s, struct error *err)
{
	for (u32 i = 0; i < PIC_CHIPS; i++) {
		struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_PIC_MASTER + i };

		if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) < 0)
			return failed(err, "PIC");
		pic_from_kvm(&chip.chip.pic, &s->pic[i]);
	}
	return 0;
}

/* ---- I/O APIC ---- */

/* The kernel takes a set bit of an edge-triggered pin for an edge: those that were are past. */
static int ioapic_load(struct kvm_vm *vm, const struct ioapic_state *s, struct error *err)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_ioapic_state *k = &chip.chip.ioapic;

	if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) < 0) /* its address is not for us to say */
		return failed(err, "I/O APIC");
	k->ioregsel = s->select;
	k->id = s->id;
	k->irr = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		k->redirtbl[pin].bits = s->redirection[pin];
		if (s->redirection[pin] & LEVEL_ENTRY)
			k->irr |= s->lines & 1u << pin;
	}
	return ioctl(vm->fd, KVM_SET_IRQCHIP, &chip) < 0 ? failed(err, "I/O APIC") : 0;
}

static int ioapic_save(struct kvm_vm *vm, struct ioapic_state *s, struct error *err)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	const struct kvm_ioapic_state *k = &chip.chip.ioapic;
	u32 lines = atomic_load(&vm->lines), timer;

	if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) < 0)
		return failed(err, "I/O APIC");
	timer = k->irr & 1u << TIMER_PIN;
	s->select = (u8)k->ioregsel;
	s->id = (u8)k->id;
	s->lines = (lines & ~(1u << 0 | 1u << TIMER_PIN)) | timer;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		s->redirection[pin] = k->redirtbl[pin].bits;
	return 0;
}

/* ---- interval timer. A counter that is loaded begins anew in the kernel: of a period that is under way the phase is lost. ---- */
static void counter_to_kvm(const struct pit_counter *c, struct kvm_pit_channel_state *k)
{
	u8 access = c->control >> 4 & 3, mode = c->control >> 1 & 7;

	*k = (struct kvm_pit_channel_state){
		.count = c->reload,
		.latched_count = c->latch,
		.count_latched = !c->latched	  ? 0
				 : access != 3	  ? access
				 : c->read_second ? PIT_WORD1
						  : PIT_WORD0,
		.status_latched = c->status_latched,
		.status = c->status,
		.read_state = access != 3      ? access
			      : c->read_second ? PIT_WORD1
					       : PIT_WORD0,
		.write_state = access != 3	 ? access
			       : c->write_second ? PIT_WORD1
						 : PIT_WORD0,
		.write_latch = c->write_low,
		.rw_mode = access,
		.mode = !c->running ? PIT_NEVER_SET
			: mode > 5  ? mode & 3
				    : mode,
		.bcd = c->control & 1,
		.gate = c->gate,
	};
}

/* How long ago it was; the kernel's timer goes by CLOCK_MONOTONIC. */
static u64 since(u64 then)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	u64 now = (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
	return then < now ? now - then : 0;
}

static void counter_from_kvm(struct machine *m, const struct kvm_pit_channel_state *k, struct pit_counter *c)
{
	bool never = k->mode == PIT_NEVER_SET, latched = k->count_latched;
	u64 now = clock_now(m->clock), ago = since((u64)k->count_load_time);

	*c = (struct pit_counter){
		.control = never ? 0x30 : (u8)((k->rw_mode & 3) << 4 | (k->mode & 7) << 1 | (k->bcd & 1)),
		.gate = k->gate,
		.armed = !never,
		.running = !never,
		.reload = k->count ? k->count : 65536,
		.loaded = ago < now ? now - ago : 0,
		.write_second = k->write_state == PIT_WORD1,
		.read_second = (latched ? k->count_latched : k->read_state) == PIT_WORD1,
		.latched = latched,
		.status_latched = k->status_latched,
		.write_low = k->write_latch,
		.status = k->status,
		.latch = k->latched_count,
	};
}

static int pit_load(struct kvm_vm *vm, const struct irqchip_state *s, struct error *err)
{
	struct kvm_pit_state2 k = { 0 };

	for (unsigned i = 0; i < 3; i++)
		counter_to_kvm(&s->pit[i], &k.channels[i]);
	return ioctl(vm->fd, KVM_SET_PIT2, &k) < 0 ? failed(err, "interval timer") : 0;
}

static int pit_save(struct machine *m, struct kvm_vm *vm, struct irqchip_state *s, struct error *err)
{
	struct kvm_pit_state2 k;

	if (ioctl(vm->fd, KVM_GET_PIT2, &k) < 0)
		return failed(err, "interval timer");
	for (unsigned i = 0; i < 3; i++)
		counter_from_kvm(m, &k.channels[i], &s->pit[i]);
	return 0;
}

/* ---- all of it ---- */

/* After the local APICs: what these send to nobody would be waited for, an edge of the timer's for its end, a level likewise. */
static int chips_load(struct machine *m, struct kvm_vm *vm, struct error *err)
{
	struct irqchip_state s;
	int r;

	m->intc->irqchip->save(m, &s);
	s.ioapic.lines = atomic_load(&vm->lines);
	r = pics_load(vm, &s, err);
	r = r ? r : ioapic_load(vm, &s.ioapic, err);
	r = r ? r : pit_load(vm, &s, err);
	if (!r)
		m->intc->irqchip->load(m, &s); /* which puts the devices to rest: their timers would drive lines */
	return r;
}

static int chips_save(struct machine *m, struct kvm_vm *vm, struct error *err)
{
	struct irqchip_state s;
	int r = pics_save(vm, &s, err);

	r = r ? r : ioapic_save(vm, &s.ioapic, err);
	r = r ? r : pit_save(m, vm, &s, err);
	if (!r)
		m->intc->irqchip->load(m, &s);
	return r;
}

static void report(struct machine *m, const struct error *err)
{
	if (err->code)
		machine_fail(m, err);
}

static void pull(struct machine *m)
{
	struct error err = { 0 };
	int r;

	machine_hold(m, HOLD_LOOK);
	r = chips_save(m, m->engine, &err);
	for (unsigned i = 0; i < m->config.cpus && !r; i++)
		r = kvm_lapic_save(m->vcpu[i], &err);
	machine_release(m, HOLD_LOOK);
	report(m, &err);
}

static void push(struct machine *m)
{
	struct error err = { 0 };
	int r = 0;

	for (unsigned i = 0; i < m->config.cpus && !r; i++)
		r = kvm_lapic_load(m->vcpu[i], &err);
	if (!r)
		chips_load(m, m->engine, &err);
	report(m, &err);
}

static const struct offload_ops with_irqchip = {
	.set_line = set_line,
	.message = message,
	.pull = pull,
	.push = push,
	.doorbell = doorbell,
};

/* Lines that are high already are so for the kernel before it gets the state that they have led to. */
static void drive_all(struct machine *m, struct kvm_vm *vm)
{
	struct irqchip_state s;

	m->intc->irqchip->save(m, &s);
	vm->lines = (s.ioapic.lines & ~(1u << 0 | 1u << TIMER_PIN)) | (s.pic[0].lines & ~(1u << 0 | 1u << CASCADE)) |
		    (u32)s.pic[1].lines << 8;
	for (unsigned irq = 0; irq < IOAPIC_PINS; irq++)
		if (vm->lines >> irq & 1)
			drive(vm, irq, true);
}

int irqchip_create(struct machine *m, struct kvm_vm *vm, struct error *err)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct kvm_enable_cap wide = {
		.cap = KVM_CAP_X2APIC_API,
		.args[0] = KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
	};
	int r;

	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP) < 0)
		return failed(err, "interrupt controllers");
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
		return failed(err, "interval timer");
	if (ioctl(vm->fd, KVM_ENABLE_CAP, &wide) < 0)
		return failed(err, "APIC IDs");
	r = set_routes(vm, err);
	if (r)
		return r;
	drive_all(m, vm);
	m->offload = &with_irqchip;
	return 0;
}

int irqchip_lapic_loaded(struct machine *m, struct kvm_vm *vm, struct error *err)
{
	return atomic_fetch_add(&vm->lapics, 1) + 1 == m->config.cpus ? chips_load(m, vm, err) : 0;
}

void irqchip_leave(struct machine *m, struct kvm_vm *vm)
{
	struct irqchip_state s;
	struct lapic_state l;

	if (m->offload != &with_irqchip)
		return;
	/* The machine ends anyway: what the kernel does not give stays as it was. */
	chips_save(m, vm, NULL);
	/* Loaded once more, now as what runs: timers are armed, and what waits is told. */
	m->intc->irqchip->save(m, &s);
	m->offload = NULL;
	for (unsigned i = 0; i < m->config.cpus; i++) {
		m->intc->irqchip->save_lapic(m->vcpu[i], &l);
		m->intc->irqchip->load_lapic(m->vcpu[i], &l);
	}
	m->intc->irqchip->load(m, &s);
}
