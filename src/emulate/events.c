/* SPDX-License-Identifier: Apache-2.0 */
/* What other threads ask of a vCPU, taken between two instructions (SDM vol. 3, 6.9 and table 6-2). */
#include "emulate/emulate.h"

static void begin_event(struct vcpu *v, u8 type, u8 vector)
{
	v->event = (struct cpu_event){ .valid = true, .vector = vector, .type = type };
	v->halted = false;
}

static void take_interrupt(struct vcpu *v)
{
	const struct intc_ops *ops = v->machine->intc;

	atomic_fetch_and(&v->events, ~EV_INTR);
	int vector = ops ? ops->acknowledge(v) : -1;
	if (vector < 0)
		return;
	if (ops->pending(v))
		atomic_fetch_or(&v->events, EV_INTR);
	v->stats.intr++;
	v->stats.vec[vector & 255]++;
	begin_event(v, EVENT_EXTINT, (u8)vector);
}

/* One is taken; another that came as early is latched. */
static void take_nmi(struct vcpu *v)
{
	atomic_fetch_and(&v->events, ~EV_NMI);
	if (atomic_exchange(&v->nmis, 0) > 1)
		vcpu_nmi(v);
	v->stats.vec[EXC_NMI]++;
	begin_event(v, EVENT_NMI, EXC_NMI);
}

static void take_sipi(struct vcpu *v)
{
	atomic_fetch_and(&v->events, ~EV_SIPI);
	if (!v->wait_sipi)
		return;
	u32 vector = atomic_load(&v->sipi_vector) & 0xff;
	v->wait_sipi = false;
	if (v->machine->deprivileged) {
		v->machine->deprivileged->start(v);
		return;
	}
	v->seg[SEG_CS].selector = (u16)(vector << 8);
	v->seg[SEG_CS].base = (u64)vector << 12;
	v->rip = 0;
}

/* A debugger's step takes no interrupt, so that it ends at the next instruction; a halt ends by nothing else. */
static bool step_holds_off(const struct vcpu *v)
{
	return v->debug.step && !v->machine->debug.step_interrupts && !v->halted;
}

bool events_take(struct vcpu *v)
{
	u32 events = atomic_load(&v->events);

	if (events & EV_STOP) {
		atomic_fetch_and(&v->events, ~EV_STOP);
		return false;
	}
	if (events & EV_TLB) {
		atomic_fetch_and(&v->events, ~EV_TLB);
		mmu_flush_all(v);
	}
	if (events & EV_FLUSH) {
		atomic_fetch_and(&v->events, ~EV_FLUSH);
		mmu_take_flushes(v);
	}
	if (events & EV_CODE) {
		atomic_fetch_and(&v->events, ~EV_CODE);
		mmu_take_code_mail(v);
		v->stop_now = false;
	}
	if (events & EV_WRITES) {
		atomic_fetch_and(&v->events, ~EV_WRITES);
		mmu_drop_writes(v);
	}
	if (events & EV_TIMER) /* the quantum is over, which is what it asks for: the next ends at the new deadline */
		atomic_fetch_and(&v->events, ~EV_TIMER);
	if (events & EV_INIT) {
		atomic_fetch_and(&v->events, ~EV_INIT);
		vcpu_init_signal(v);
		mmu_flush_all(v);
	}
	if (events & EV_SIPI)
		take_sipi(v);
	if (v->wait_sipi || v->shadow || step_holds_off(v))
		return true;
	if (events & EV_NMI && v->nmi_blocked && atomic_load(&v->nmis) > 1)
		atomic_store(&v->nmis, 1);
	if ((events & EV_NMI) && !v->nmi_blocked) {
		take_nmi(v);
	} else if ((events & EV_INTR) && (v->rflags & FL_IF)) {
		take_interrupt(v);
	}
	return true;
}
