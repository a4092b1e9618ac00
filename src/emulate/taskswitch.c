/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hardware task switch (SDM vol. 3, 7.3), 16- and 32-bit. Up to the commit point faults belong to the old task
 * and nothing has changed; after it they belong to the new one, whose state is then already loaded (selectors, with
 * segments not usable).
 */
#include <string.h>

#include "emulate/descriptor.h"

struct tss32 {
	u16 link, r0;
	u32 stacks[6];
	u32 cr3, eip, eflags, gpr[8];
	u16 seg[6][2]; /* ES CS SS DS FS GS, each with an unused upper half */
	u16 ldt, r1;
	u16 trap, iomap;
};
_Static_assert(sizeof(struct tss32) == 104, "SDM vol. 3 figure 7-2");

struct tss16 {
	u16 link, stacks[6], ip, flags, gpr[8], seg[4], ldt;
};
_Static_assert(sizeof(struct tss16) == 44, "SDM vol. 3 figure 7-10");

/* What both formats hold, as read from the new TSS. */
struct task {
	bool wide;
	u32 cr3, eip, eflags, gpr[8];
	u16 seg[NR_SEG], ldt;
	bool trap;
};

static bool is_wide(u32 ar)
{
	return ar_type(ar) & 8;
}

static struct task read_task(struct vcpu *v, u64 base, bool wide)
{
	struct task t = { .wide = wide };
	struct tss32 n;
	struct tss16 o;

	if (wide) {
		mmu_read(v, base, &n, sizeof(n), MMU_SUPERVISOR);
		t.cr3 = n.cr3;
		t.eip = n.eip;
		t.eflags = n.eflags;
		memcpy(t.gpr, n.gpr, sizeof(t.gpr));
		for (unsigned k = 0; k < NR_SEG; k++)
			t.seg[k] = n.seg[k][0];
		t.ldt = n.ldt;
		t.trap = n.trap & 1;
		return t;
	}
	mmu_read(v, base, &o, sizeof(o), MMU_SUPERVISOR);
	t.eip = o.ip;
	t.eflags = o.flags;
	for (unsigned k = 0; k < 8; k++)
		t.gpr[k] = o.gpr[k];
	memcpy(t.seg, o.seg, sizeof(o.seg));
	t.ldt = o.ldt;
	return t;
}

#define SAVED32	    offsetof(struct tss32, eip)
#define SAVED32_LEN (offsetof(struct tss32, ldt) - SAVED32)
#define SAVED16	    offsetof(struct tss16, ip)
#define SAVED16_LEN (offsetof(struct tss16, ldt) - SAVED16)

static void probe_old(struct vcpu *v)
{
	bool wide = is_wide(v->tr.ar);

	mmu_probe_write(v, v->tr.base + (wide ? SAVED32 : SAVED16), wide ? SAVED32_LEN : SAVED16_LEN, MMU_SUPERVISOR);
}

static void save_old(struct vcpu *v, u32 eip, u32 eflags)
{
	struct tss32 n = { .eip = eip, .eflags = eflags };
	struct tss16 o = { .ip = (u16)eip, .flags = (u16)eflags };

	for (unsigned k = 0; k < 8; k++) {
		n.gpr[k] = (u32)v->r[k];
		o.gpr[k] = (u16)v->r[k];
	}
	for (unsigned k = 0; k < NR_SEG; k++)
		n.seg[k][0] = v->seg[k].selector;
	for (unsigned k = 0; k < ARRAY_SIZE(o.seg); k++)
		o.seg[k] = v->seg[k].selector;
	if (is_wide(v->tr.ar))
		mmu_write(v, v->tr.base + SAVED32, &n.eip, SAVED32_LEN, MMU_SUPERVISOR);
	else
		mmu_write(v, v->tr.base + SAVED16, &o.ip, SAVED16_LEN, MMU_SUPERVISOR);
}

static u64 gdt_access_byte(const struct vcpu *v, u16 selector)
{
	return (u32)(v->gdtr.base + (selector & ~(SEL_RPL | SEL_TI)) + 5);
}

static void set_busy(struct vcpu *v, u16 selector, bool busy)
{
	u64 gla = gdt_access_byte(v, selector);
	u64 byte = mmu_load(v, gla, 1, MMU_SUPERVISOR);

	mmu_store(v, gla, 1, busy ? byte | TSS_BUSY : byte & ~(u64)TSS_BUSY, MMU_SUPERVISOR);
}

/* ---- the new TSS's descriptor ---- */
static void check_tss(struct vcpu *v, u16 selector, enum task_reason reason, u32 ext, struct descriptor *d)
{
	u8 bad = reason == TASK_IRET ? EXC_TS : EXC_GP;

	if (selector & SEL_TI || selector_null(selector) || !descriptor_read(v, selector, d))
		raise_selector(v, bad, selector, ext);
	u32 ar = desc_ar(d);
	unsigned want = reason == TASK_IRET ? SYS_TSS16_BUSY : SYS_TSS16;
	if (ar & AR_S || (ar_type(ar) & ~8u) != want)
		raise_selector(v, bad, selector, ext);
	if (!(ar & AR_P))
		raise_selector(v, EXC_NP, selector, ext);
	if (desc_limit(d) < (is_wide(ar) ? sizeof(struct tss32) : sizeof(struct tss16)) - 1)
		raise_selector(v, EXC_TS, selector, ext);
}

/* ---- loading the new task; faults from here on are its own ---- */
static void load_ldt(struct vcpu *v, u16 selector, u32 ext)
{
	struct descriptor d;

	if (selector_null(selector))
		return;
	if (selector & SEL_TI || !descriptor_read(v, selector, &d))
		raise_selector(v, EXC_TS, selector, ext);
	u32 ar = desc_ar(&d);
	if (ar & AR_S || ar_type(ar) != SYS_LDT || !(ar & AR_P))
		raise_selector(v, EXC_TS, selector, ext);
	v->ldtr = descriptor_segment(&d, selector);
}

static void load_cs(struct vcpu *v, u16 selector, u32 ext)
{
	struct descriptor d;
	unsigned rpl = selector & SEL_RPL;

	if (selector_null(selector))
		vcpu_raise_error(v, EXC_TS, ext);
	descriptor_need(v, selector, &d, EXC_TS, ext);
	u32 ar = desc_ar(&d);
	if (!ar_is_code(ar) || (ar_is_conforming(ar) ? ar_dpl(ar) > rpl : ar_dpl(ar) != rpl))
		raise_selector(v, EXC_TS, selector, ext);
	if (!(ar & AR_P))
		raise_selector(v, EXC_NP, selector, ext);
	descriptor_set_accessed(v, &d);
	v->seg[SEG_CS] = descriptor_segment(&d, selector);
	vcpu_update_mode(v);
}

static void load_ss(struct vcpu *v, u16 selector, u32 ext)
{
	struct descriptor d;

	if (selector_null(selector))
		vcpu_raise_error(v, EXC_TS, ext);
	descriptor_need(v, selector, &d, EXC_TS, ext);
	u32 ar = desc_ar(&d);
	if (!ar_is_writable_data(ar) || ar_dpl(ar) != v->cpl || (selector & SEL_RPL) != v->cpl)
		raise_selector(v, EXC_TS, selector, ext);
	if (!(ar & AR_P))
		raise_selector(v, EXC_SS, selector, ext);
	descriptor_set_accessed(v, &d);
	v->seg[SEG_SS] = descriptor_segment(&d, selector);
}

static void load_data(struct vcpu *v, unsigned seg, u16 selector, u32 ext)
{
	struct descriptor d;

	if (selector_null(selector))
		return;
	descriptor_need(v, selector, &d, EXC_TS, ext);
	u32 ar = desc_ar(&d);
	bool readable = ar & AR_S && (!(ar & AR_CODE) || ar & AR_READ);
	bool any_level = ar_is_code(ar) && ar_is_conforming(ar);
	if (!readable || (!any_level && MAX(selector & SEL_RPL, v->cpl) > ar_dpl(ar)))
		raise_selector(v, EXC_TS, selector, ext);
	if (!(ar & AR_P))
		raise_selector(v, EXC_NP, selector, ext);
	descriptor_set_accessed(v, &d);
	v->seg[seg] = descriptor_segment(&d, selector);
}

static void load_segments(struct vcpu *v, const struct task *t, u32 ext)
{
	static const u8 data[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS };

	if (v->mode == MODE_V86)
		return;
	load_cs(v, t->seg[SEG_CS], ext);
	load_ss(v, t->seg[SEG_SS], ext);
	for (unsigned k = 0; k < ARRAY_SIZE(data); k++)
		load_data(v, data[k], t->seg[data[k]], ext);
}

/* Registers and bare selectors: after this the new task is the current one. */
static void commit(struct vcpu *v, const struct task *t, u32 eflags)
{
	v->cr0 |= CR0_TS;
	v->dr[7] &= ~0x155ull; /* L0 to L3 and LE end with their task */
	mmu_update_watchpoints(v);
	v->rip = t->eip;
	for (unsigned k = 0; k < 8; k++)
		reg_write(v, SLOT(k), t->wide ? 4 : 2, t->gpr[k]);
	v->ldtr = segment_null(t->ldt);
	set_rflags(v, eflags, FL_ALL);
	for (unsigned k = 0; k < NR_SEG; k++) {
		if (eflags & FL_VM)
			segment_set_v86(v, k, t->seg[k]);
		else
			v->seg[k] = segment_null(t->seg[k]);
	}
	set_cpl(v, eflags & FL_VM ? 3 : t->seg[SEG_CS] & SEL_RPL);
	vcpu_update_mode(v);
}

static void push_error(struct vcpu *v, const struct task *t, const struct task_event *ev)
{
	struct stack s = stack_current(v);

	s.error = ev->ext;
	stack_push(v, &s, ev->error, t->wide ? 4 : 2);
	stack_commit(v, &s);
}

void task_switch(struct vcpu *v, u16 selector, enum task_reason reason, u64 next_ip, const struct task_event *ev)
{
	bool nests = reason == TASK_CALL || reason == TASK_INT;
	u16 old_selector = v->tr.selector;
	struct descriptor d;

	check_tss(v, selector, reason, ev->ext, &d);
	struct segment tr = descriptor_segment(&d, selector);
	struct task t = read_task(v, tr.base, is_wide(tr.ar));
	probe_old(v);
	if (nests)
		mmu_probe_write(v, tr.base, 2, MMU_SUPERVISOR);
	else
		mmu_probe_write(v, gdt_access_byte(v, old_selector), 1, MMU_SUPERVISOR);
	mmu_probe_write(v, gdt_access_byte(v, selector), 1, MMU_SUPERVISOR);

	u64 flags = flags_settle(v);
	save_old(v, (u32)next_ip, (u32)(reason == TASK_IRET ? flags & ~(u64)FL_NT : flags));
	if (nests)
		mmu_store(v, tr.base, 2, old_selector, MMU_SUPERVISOR);
	else
		set_busy(v, old_selector, false);
	if (reason != TASK_IRET)
		set_busy(v, selector, true);
	tr.ar |= TSS_BUSY;
	v->tr = tr;
	if (t.wide && v->cr0 & CR0_PG)
		mmu_set_cr3(v, t.cr3);
	commit(v, &t, t.eflags | (nests ? FL_NT : 0));

	load_ldt(v, t.ldt, ev->ext);
	load_segments(v, &t, ev->ext);
	if (ev->has_error)
		push_error(v, &t, ev);
	if (v->rip > v->seg[SEG_CS].limit)
		vcpu_raise_error(v, EXC_GP, ev->ext);
	if (t.trap) {
		v->pending_db |= DR6_BT;
		v->stop_now = true;
	}
}
