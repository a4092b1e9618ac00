/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's state to and from the kernel: registers, hidden segment parts, control and debug registers, the event that is being
 * delivered. Vector registers are in fpu.c, MSRs in msrs.c. Events are loaded last: loading other parts drops them.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engines/kvm/kvm-internal.h"
#include "machine/flags.h"
#include "x86/msr.h"

#define APIC_BASE_ENABLED BIT(11)

_Static_assert(offsetof(struct kvm_sregs2, flags) == offsetof(struct kvm_sregs, interrupt_bitmap),
	       "one begins as the other");

static int failed(struct error *err, const char *what)
{
	return error_set(err, errno, "KVM and a vCPU's %s: %s", what, strerror(errno));
}

/* ---- general registers ---- */
static int regs_load(struct vcpu *v, struct error *err)
{
	struct kvm_regs r = {
		.rax = v->r[RAX],
		.rcx = v->r[RCX],
		.rdx = v->r[RDX],
		.rbx = v->r[RBX],
		.rsp = v->r[RSP],
		.rbp = v->r[RBP],
		.rsi = v->r[RSI],
		.rdi = v->r[RDI],
		.r8 = v->r[8],
		.r9 = v->r[9],
		.r10 = v->r[10],
		.r11 = v->r[11],
		.r12 = v->r[12],
		.r13 = v->r[13],
		.r14 = v->r[14],
		.r15 = v->r[15],
		.rip = v->rip,
		.rflags = flags_settle(v) | FL_1,
	};

	return ioctl(cpu_of(v)->fd, KVM_SET_REGS, &r) < 0 ? failed(err, "registers") : 0;
}

static int regs_save(struct vcpu *v, struct error *err)
{
	struct kvm_regs r;

	if (ioctl(cpu_of(v)->fd, KVM_GET_REGS, &r) < 0)
		return failed(err, "registers");
	const u64 in_order[16] = { r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi,
				   r.r8,  r.r9,	 r.r10, r.r11, r.r12, r.r13, r.r14, r.r15 };
	memcpy(v->r, in_order, sizeof(in_order));
	v->rip = r.rip;
	v->rflags = r.rflags;
	v->lazy.kind = FLAGS_KNOWN;
	return 0;
}

/* ---- segments, control registers ---- */
static struct kvm_segment to_kvm(const struct segment *s)
{
	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->ar & AR_TYPE,
		.s = s->ar & AR_S ? 1 : 0,
		.dpl = s->ar >> AR_DPL_SHIFT & 3,
		.present = s->ar & AR_P ? 1 : 0,
		.avl = s->ar & AR_AVL ? 1 : 0,
		.l = s->ar & AR_L ? 1 : 0,
		.db = s->ar & AR_DB ? 1 : 0,
		.g = s->ar & AR_G ? 1 : 0,
		.unusable = s->ar & AR_UNUSABLE ? 1 : 0,
	};
}

static struct segment from_kvm(const struct kvm_segment *s)
{
	return (struct segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.ar = s->type | (s->s ? AR_S : 0) | (u32)s->dpl << AR_DPL_SHIFT | (s->present ? AR_P : 0) |
		      (s->avl ? AR_AVL : 0) | (s->l ? AR_L : 0) | (s->db ? AR_DB : 0) | (s->g ? AR_G : 0) |
		      (s->unusable ? AR_UNUSABLE : 0),
	};
}

static struct kvm_dtable table_to_kvm(const struct table_reg *t)
{
	return (struct kvm_dtable){ .base = t->base, .limit = t->limit };
}

static struct table_reg table_from_kvm(const struct kvm_dtable *t)
{
	return (struct table_reg){ .base = t->base, .limit = t->limit };
}

static u64 apic_base(struct vcpu *v)
{
	if (cpu_of(v)->vm->irqchip)
		return cpu_of(v)->apic_base;
	const struct intc_ops *intc = v->machine->intc;
	u64 value;

	return intc && intc->read_msr && intc->read_msr(v, MSR_APIC_BASE, &value) ? value : 0;
}

static u64 get_tpr(struct vcpu *v)
{
	const struct intc_ops *intc = v->machine->intc;

	if (cpu_of(v)->vm->irqchip)
		return cpu_of(v)->cr8;
	return intc ? intc->get_tpr(v) : 0;
}

static bool pae_paging(const struct vcpu *v)
{
	return v->cr0 & CR0_PG && v->cr4 & CR4_PAE && !(v->efer & EFER_LMA);
}

/* Without KVM_GET_SREGS2 the kernel takes PDPTEs from memory when it gets CR3, and we likewise when it gives it. */
static int get_sregs(struct vcpu *v, struct kvm_sregs2 *s)
{
	struct kvm_sregs old;

	memset(s, 0, sizeof(*s));
	if (cpu_of(v)->vm->sregs2)
		return ioctl(cpu_of(v)->fd, KVM_GET_SREGS2, s);
	if (ioctl(cpu_of(v)->fd, KVM_GET_SREGS, &old) < 0)
		return -1;
	memcpy(s, &old, offsetof(struct kvm_sregs2, flags));
	machine_read(v->machine, old.cr3 & 0xffffffe0, s->pdptrs, sizeof(s->pdptrs));
	return 0;
}

static int set_sregs(struct vcpu *v, const struct kvm_sregs2 *s)
{
	struct kvm_sregs old = { 0 };

	if (cpu_of(v)->vm->sregs2)
		return ioctl(cpu_of(v)->fd, KVM_SET_SREGS2, s);
	memcpy(&old, s, offsetof(struct kvm_sregs2, flags));
	return ioctl(cpu_of(v)->fd, KVM_SET_SREGS, &old);
}

static int sregs_load(struct vcpu *v, struct error *err)
{
	struct kvm_sregs2 s = {
		.cs = to_kvm(&v->seg[SEG_CS]),
		.ds = to_kvm(&v->seg[SEG_DS]),
		.es = to_kvm(&v->seg[SEG_ES]),
		.fs = to_kvm(&v->seg[SEG_FS]),
		.gs = to_kvm(&v->seg[SEG_GS]),
		.ss = to_kvm(&v->seg[SEG_SS]),
		.tr = to_kvm(&v->tr),
		.ldt = to_kvm(&v->ldtr),
		.gdt = table_to_kvm(&v->gdtr),
		.idt = table_to_kvm(&v->idtr),
		.cr0 = v->cr0,
		.cr2 = v->cr2,
		.cr3 = v->cr3,
		.cr4 = v->cr4,
		.cr8 = get_tpr(v),
		.efer = v->efer,
		.apic_base = apic_base(v),
	};

	if (v->event.valid && v->event.vector == EXC_PF)
		s.cr2 = v->event.cr2;
	if (pae_paging(v)) {
		s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
		memcpy(s.pdptrs, v->pdpte, sizeof(s.pdptrs));
	}
	return set_sregs(v, &s) < 0 ? failed(err, "control registers") : 0;
}

static int sregs_save(struct vcpu *v, struct error *err)
{
	struct kvm_sregs2 s;

	if (get_sregs(v, &s) < 0)
		return failed(err, "control registers");
	v->seg[SEG_CS] = from_kvm(&s.cs);
	v->seg[SEG_DS] = from_kvm(&s.ds);
	v->seg[SEG_ES] = from_kvm(&s.es);
	v->seg[SEG_FS] = from_kvm(&s.fs);
	v->seg[SEG_GS] = from_kvm(&s.gs);
	v->seg[SEG_SS] = from_kvm(&s.ss);
	v->tr = from_kvm(&s.tr);
	v->ldtr = from_kvm(&s.ldt);
	v->gdtr = table_from_kvm(&s.gdt);
	v->idtr = table_from_kvm(&s.idt);
	v->cr0 = s.cr0;
	v->cr2 = s.cr2;
	v->cr3 = s.cr3;
	v->cr4 = s.cr4;
	v->efer = s.efer;
	cpu_of(v)->apic_base = s.apic_base;
	cpu_of(v)->cr8 = s.cr8;
	if (pae_paging(v))
		memcpy(v->pdpte, s.pdptrs, sizeof(v->pdpte));
	return 0;
}

/* Only where CPUID changes: reading segments and writing them back is not without effects (TR's busy bit under QEMU's SVM). */
int apic_base_load(struct vcpu *v, struct error *err)
{
	u64 now = apic_base(v);
	struct kvm_sregs2 s;

	if (!((now ^ cpu_of(v)->run->apic_base) & APIC_BASE_ENABLED))
		return 0;
	if (get_sregs(v, &s) < 0)
		return failed(err, "control registers");
	s.apic_base = now;
	return set_sregs(v, &s) < 0 ? failed(err, "local APIC's place") : 0;
}

/* ---- debug registers ---- */
static int debug_regs_load(struct vcpu *v, struct error *err)
{
	struct kvm_debugregs d = { .dr6 = v->dr[6] | v->pending_db, .dr7 = v->dr[7] };

	memcpy(d.db, v->dr, sizeof(d.db));
	return ioctl(cpu_of(v)->fd, KVM_SET_DEBUGREGS, &d) < 0 ? failed(err, "debug registers") : 0;
}

static int debug_regs_save(struct vcpu *v, struct error *err)
{
	struct kvm_debugregs d;

	if (ioctl(cpu_of(v)->fd, KVM_GET_DEBUGREGS, &d) < 0)
		return failed(err, "debug registers");
	memcpy(v->dr, d.db, sizeof(d.db));
	v->dr[6] = d.dr6;
	v->dr[7] = d.dr7;
	v->pending_db = 0;
	return 0;
}

/* ---- events ---- */
static void exception_to_kvm(struct kvm_vcpu_events *e, const struct cpu_event *ev)
{
	e->exception.injected = 1;
	e->exception.nr = ev->vector;
	e->exception.has_error_code = ev->has_error;
	e->exception.error_code = ev->error;
}

static int events_load(struct vcpu *v, struct error *err)
{
	struct kvm_vcpu_events e = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW };

	e.nmi.masked = v->nmi_blocked;
	if (v->shadow)
		e.interrupt.shadow = v->shadow_ss ? KVM_X86_SHADOW_INT_MOV_SS : KVM_X86_SHADOW_INT_STI;
	if (v->pending_db)
		exception_to_kvm(&e, &(struct cpu_event){ .vector = EXC_DB });
	if (v->event.valid) {
		switch (v->event.type) {
		case EVENT_EXTINT:
		case EVENT_SOFTINT:
			e.interrupt.injected = 1;
			e.interrupt.nr = v->event.vector;
			break;
		case EVENT_NMI: e.nmi.injected = 1; break;
		default: exception_to_kvm(&e, &v->event);
		}
	}
	return ioctl(cpu_of(v)->fd, KVM_SET_VCPU_EVENTS, &e) < 0 ? failed(err, "events") : 0;
}

static int events_save(struct vcpu *v, struct error *err)
{
	struct kvm_vcpu_events e;
	struct cpu_event ev = { .valid = true };

	if (ioctl(cpu_of(v)->fd, KVM_GET_VCPU_EVENTS, &e) < 0)
		return failed(err, "events");
	v->nmi_blocked = e.nmi.masked;
	v->shadow = e.interrupt.shadow;
	v->shadow_ss = e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
	if (e.nmi.pending)
		vcpu_nmi(v);
	if (e.exception.injected) {
		ev.vector = e.exception.nr;
		ev.type = ev.vector == EXC_BP || ev.vector == EXC_OF ? EVENT_SOFTEXC : EVENT_EXCEPTION;
		ev.has_error = e.exception.has_error_code;
		ev.error = e.exception.error_code;
		ev.cr2 = v->cr2;
	} else if (e.nmi.injected) {
		ev.vector = EXC_NMI;
		ev.type = EVENT_NMI;
	} else if (e.interrupt.injected) {
		ev.vector = e.interrupt.nr;
		ev.type = e.interrupt.soft ? EVENT_SOFTINT : EVENT_EXTINT;
	} else {
		ev.valid = false;
	}
	v->event = ev;
	return 0;
}

/* ---- what it is doing, where halts and start-up are the kernel's ---- */
int mp_state_load(struct vcpu *v, struct error *err)
{
	struct kvm_mp_state s = { KVM_MP_STATE_RUNNABLE };

	if (!cpu_of(v)->vm->irqchip)
		return 0;
	if (v->wait_sipi)
		s.mp_state = KVM_MP_STATE_INIT_RECEIVED;
	else if (v->halted)
		s.mp_state = KVM_MP_STATE_HALTED;
	return ioctl(cpu_of(v)->fd, KVM_SET_MP_STATE, &s) < 0 ? failed(err, "activity") : 0;
}

/* First of all: an INIT or SIPI that has come changes the rest when it is asked for. */
int mp_state_save(struct vcpu *v, struct error *err)
{
	struct kvm_mp_state s;

	if (!cpu_of(v)->vm->irqchip)
		return 0;
	if (ioctl(cpu_of(v)->fd, KVM_GET_MP_STATE, &s) < 0)
		return failed(err, "activity");
	v->wait_sipi = s.mp_state == KVM_MP_STATE_UNINITIALIZED || s.mp_state == KVM_MP_STATE_INIT_RECEIVED;
	v->halted = s.mp_state == KVM_MP_STATE_HALTED;
	return 0;
}

/* ---- all of it ---- */

/* SDM vol. 3, 5.5: what the current privilege level is kept in. */
static u8 privilege(const struct vcpu *v)
{
	if (!(v->cr0 & CR0_PE))
		return 0;
	return v->rflags & FL_VM ? 3 : v->seg[SEG_SS].ar >> AR_DPL_SHIFT & 3;
}

int state_load(struct vcpu *v, struct error *err)
{
	int r = sregs_load(v, err);

	r = r ? r : regs_load(v, err);
	r = r ? r : fpu_load(v, err);
	r = r ? r : msrs_load(v, err);
	r = r ? r : debug_regs_load(v, err);
	r = r ? r : events_load(v, err);
	r = r ? r : mp_state_load(v, err);
	if (!r)
		cpu_of(v)->stale = false;
	return r;
}

int state_save(struct vcpu *v, struct error *err)
{
	int r = mp_state_save(v, err);

	r = r ? r : sregs_save(v, err);
	r = r ? r : regs_save(v, err);
	r = r ? r : fpu_save(v, err);
	r = r ? r : msrs_save(v, err);
	r = r ? r : debug_regs_save(v, err);
	r = r ? r : events_save(v, err);
	if (r)
		return r;
	v->cpl = privilege(v);
	vcpu_update_mode(v);
	cpu_of(v)->stale = true;
	return 0;
}
