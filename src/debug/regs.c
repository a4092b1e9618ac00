/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register table and access by it. The vCPU stands.
 *
 * What is written comes from outside and may be anything. Bits that would take the vCPU into another mode, or that its model
 * lacks, cannot be written: such a change is more than a register's, as instructions that make it do more than that.
 */
#include "debug/regs.h"

#include <stdio.h>
#include <string.h>

#include "machine/control.h"
#include "machine/flags.h"

/* ---- the table ---- */

static void add(struct reg_set *s, const char *name, unsigned bytes, enum reg_kind kind, unsigned index,
		enum reg_feature f)
{
	struct reg *r = &s->reg[s->count++];

	*r = (struct reg){ .bytes = (u8)bytes, .kind = (u8)kind, .index = (u8)index, .feature = (u8)f };
	snprintf(r->name, sizeof(r->name), "%s", name);
}

static void add_row(struct reg_set *s, const char *format, unsigned n, unsigned bytes, enum reg_kind kind,
		    enum reg_feature f)
{
	char name[12];

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), format, i);
		add(s, name, bytes, kind, i, f);
	}
}

static const char *const gpr64[] = { "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp" };
static const u8 gpr64_index[] = { RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP };
static const char *const gpr32[] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" };
static const char *const x87_names[] = { "fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop" };

static void add_core(struct reg_set *s)
{
	static const char *const seg[] = { "cs", "ss", "ds", "es", "fs", "gs" };
	static const u8 seg_index[] = { SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS };
	unsigned word = s->wide ? 8 : 4;

	for (unsigned i = 0; i < 8; i++)
		add(s, s->wide ? gpr64[i] : gpr32[i], word, REG_GPR, s->wide ? gpr64_index[i] : i, FEATURE_CORE);
	for (unsigned i = 8; s->wide && i < 16; i++) {
		char name[12];

		snprintf(name, sizeof(name), "r%u", i);
		add(s, name, 8, REG_GPR, i, FEATURE_CORE);
	}
	add(s, s->wide ? "rip" : "eip", word, REG_IP, 0, FEATURE_CORE);
	add(s, "eflags", 4, REG_FLAGS, 0, FEATURE_CORE);
	for (unsigned i = 0; i < ARRAY_SIZE(seg); i++)
		add(s, seg[i], 4, REG_SELECTOR, seg_index[i], FEATURE_CORE);
	add_row(s, "st%u", 8, 10, REG_ST, FEATURE_CORE);
	for (unsigned i = 0; i < ARRAY_SIZE(x87_names); i++)
		add(s, x87_names[i], 4, REG_X87, i, FEATURE_CORE);
}

static void add_system(struct reg_set *s)
{
	unsigned word = s->wide ? 8 : 4;

	if (s->wide) {
		add(s, "fs_base", 8, REG_BASE, SEG_FS, FEATURE_SEGMENTS);
		add(s, "gs_base", 8, REG_BASE, SEG_GS, FEATURE_SEGMENTS);
		add(s, "k_gs_base", 8, REG_KERNEL_GS, 0, FEATURE_SYSTEM);
	}
	add(s, "cr0", word, REG_CR, 0, FEATURE_SYSTEM);
	add(s, "cr2", word, REG_CR, 2, FEATURE_SYSTEM);
	add(s, "cr3", word, REG_CR, 3, FEATURE_SYSTEM);
	add(s, "cr4", word, REG_CR, 4, FEATURE_SYSTEM);
	if (s->wide)
		add(s, "cr8", 8, REG_CR, 8, FEATURE_SYSTEM);
	add(s, "efer", word, REG_EFER, 0, FEATURE_SYSTEM);
}

void reg_set_build(struct reg_set *s, bool wide, const struct cpu_model *model)
{
	unsigned vectors = wide ? 16 : 8;

	*s = (struct reg_set){ .wide = wide };
	add_core(s);
	add_system(s);
	add_row(s, "xmm%u", vectors, 16, REG_XMM, FEATURE_SSE);
	add(s, "mxcsr", 4, REG_MXCSR, 0, FEATURE_SSE);
	if (cpu_has(model, FEAT_AVX))
		add_row(s, "ymm%uh", vectors, 16, REG_YMM_HIGH, FEATURE_AVX);
}

const struct reg *reg_find(const struct reg_set *s, const char *name)
{
	for (unsigned i = 0; i < s->count; i++)
		if (!strcmp(s->reg[i].name, name))
			return &s->reg[i];
	return NULL;
}

/* ---- reading ---- */

static unsigned st_physical(const struct vcpu *v, unsigned i)
{
	return ((v->x87.sw >> 11 & 7) + i) & 7;
}

static u64 x87_value(const struct vcpu *v, unsigned field)
{
	const struct x87 *x = &v->x87;

	switch (field) {
	case X87_CW: return x->cw;
	case X87_SW: return x->sw;
	case X87_TAG: return x87_tag_full(v);
	case X87_FCS: return x->fcs;
	case X87_FIP: return x->fip;
	case X87_FDS: return x->fds;
	case X87_FDP: return x->fdp;
	default: return x->fop;
	}
}

static u64 control_value(struct vcpu *v, unsigned n)
{
	const struct intc_ops *intc = v->machine->intc;

	switch (n) {
	case 0: return v->cr0;
	case 2: return v->cr2;
	case 3: return v->cr3;
	case 4: return v->cr4;
	default: return intc ? intc->get_tpr(v) : 0;
	}
}

u64 debug_reg_value(struct vcpu *v, const struct reg *r)
{
	switch ((enum reg_kind)r->kind) {
	case REG_GPR: return v->r[r->index];
	case REG_IP: return v->rip;
	case REG_FLAGS: return (v->rflags & ~(u64)FL_ARITH) | flags_get(v);
	case REG_SELECTOR: return v->seg[r->index].selector;
	case REG_X87: return x87_value(v, r->index);
	case REG_BASE: return v->seg[r->index].base;
	case REG_KERNEL_GS: return v->msr.kernel_gs_base;
	case REG_CR: return control_value(v, r->index);
	case REG_EFER: return v->efer;
	case REG_MXCSR: return v->mxcsr;
	case REG_ST: return v->x87.fpr[st_physical(v, r->index)].m;
	case REG_XMM: return v->v[r->index].q[0];
	default: return v->v[r->index].q[2];
	}
}

void debug_reg_read(struct vcpu *v, const struct reg *r, u8 *out)
{
	u64 value = debug_reg_value(v, r);

	switch ((enum reg_kind)r->kind) {
	case REG_ST: memcpy(out + 8, &v->x87.fpr[st_physical(v, r->index)].e, 2); break;
	case REG_XMM: memcpy(out + 8, &v->v[r->index].q[1], 8); break;
	case REG_YMM_HIGH: memcpy(out + 8, &v->v[r->index].q[3], 8); break;
	default: break;
	}
	memcpy(out, &value, MIN(r->bytes, 8));
}

/* ---- writing ---- */

static bool canonical(u64 a)
{
	return (u64)((s64)(a << 16) >> 16) == a;
}

/* Whether old may become new by bits of `free` in either direction, and of `off` by being cleared. */
static bool only_bits(u64 old, u64 new, u64 free, u64 off)
{
	u64 changed = old ^ new;

	return !(changed & ~(free | off)) && !(changed & new &off);
}

static bool write_ip(struct vcpu *v, u64 value)
{
	if (v->code_size == CODE_64 ? !canonical(value) : value >> 32)
		return false;
	if (v->rip == value)
		return true;
	v->rip = value;
	/* What was due at the old place is not at the new one. */
	v->halted = v->shadow = v->shadow_ss = false;
	v->pending_db = 0;
	if (v->event.valid && v->event.type == EVENT_EXCEPTION)
		v->event.valid = false;
	return true;
}

static bool write_flags(struct vcpu *v, u64 value)
{
	u64 old = flags_settle(v);

	if (!only_bits(old, value, FL_ALL & ~FL_VM, 0))
		return false;
	v->rflags = value;
	machine_vcpu_changed(v); /* AC chooses a view of memory */
	return true;
}

/* Only real and virtual-8086 mode have segments that are nothing but their selector (SDM vol. 3, 20.1.1). */
static bool write_selector(struct vcpu *v, unsigned n, u64 value)
{
	if (v->seg[n].selector == value)
		return true;
	if ((v->mode != MODE_REAL && v->mode != MODE_V86) || value >> 16)
		return false;
	v->seg[n].selector = (u16)value;
	v->seg[n].base = value << 4;
	return true;
}

static bool write_x87(struct vcpu *v, unsigned field, u64 value)
{
	struct x87 *x = &v->x87;

	switch (field) {
	case X87_CW: x->cw = (u16)((value & 0x1f7f) | 0x40); break;
	case X87_SW: x->sw = (u16)value; break;
	case X87_TAG: x->tag = x87_tag_abridged((u16)value); break;
	case X87_FCS: x->fcs = (u16)value; break;
	case X87_FIP: x->fip = value; break;
	case X87_FDS: x->fds = (u16)value; break;
	case X87_FDP: x->fdp = value; break;
	default: x->fop = value & 0x7ff;
	}
	return true;
}

#define CR0_FREE  (CR0_MP | CR0_TS | CR0_NE | CR0_WP | CR0_AM)
#define CR4_FREE  (CR4_TSD | CR4_DE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT)
#define CR4_OFF	  (CR4_VME | CR4_PVI | CR4_MCE | CR4_PGE | CR4_UMIP | CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP)
#define EFER_FREE (EFER_SCE)
#define EFER_OFF  (EFER_NXE)

static bool write_cr3(struct vcpu *v, u64 value)
{
	if (v->cr3 == value)
		return true;
	/* PAE paging takes its upper level into registers when CR3 is loaded; TLBs are kept by PCID. */
	if (value >> GPA_BITS || (v->cr4 & CR4_PCIDE && (v->cr3 ^ value) & 0xfff) ||
	    (v->cr0 & CR0_PG && v->cr4 & CR4_PAE && !(v->efer & EFER_LMA)))
		return false;
	v->cr3 = value;
	return true;
}

static bool write_tpr(struct vcpu *v, u64 value)
{
	if (value > 15 || !v->machine->intc)
		return value == control_value(v, 8);
	v->machine->intc->set_tpr(v, (u8)value);
	return true;
}

static bool write_control(struct vcpu *v, unsigned n, u64 value)
{
	u64 *cr = n == 0 ? &v->cr0 : n == 4 ? &v->cr4 : &v->cr2;

	if (n == 8)
		return write_tpr(v, value);
	if (n == 3 && !write_cr3(v, value))
		return false;
	if (n == 0 && !only_bits(v->cr0, value, CR0_FREE, CR0_EM))
		return false;
	if (n == 4 && !only_bits(v->cr4, value, CR4_FREE, CR4_OFF))
		return false;
	if (n != 3)
		*cr = value;
	machine_vcpu_changed(v);
	return true;
}

static bool write_efer(struct vcpu *v, u64 value)
{
	if (!only_bits(v->efer, value, EFER_FREE, EFER_OFF))
		return false;
	v->efer = value;
	machine_vcpu_changed(v);
	return true;
}

static bool write_base(u64 *base, u64 value)
{
	if (!canonical(value))
		return false;
	*base = value;
	return true;
}

static bool write_value(struct vcpu *v, const struct reg *r, u64 value)
{
	switch ((enum reg_kind)r->kind) {
	case REG_GPR: v->r[r->index] = value; return true;
	case REG_IP: return write_ip(v, value);
	case REG_FLAGS: return write_flags(v, value);
	case REG_SELECTOR: return write_selector(v, r->index, value);
	case REG_X87: return write_x87(v, r->index, value);
	case REG_BASE: return write_base(&v->seg[r->index].base, value);
	case REG_KERNEL_GS: return write_base(&v->msr.kernel_gs_base, value);
	case REG_CR: return write_control(v, r->index, value);
	case REG_EFER: return write_efer(v, value);
	case REG_MXCSR:
		if (value >> 16)
			return false;
		v->mxcsr = (u32)value;
		return true;
	default: return false;
	}
}

bool debug_reg_write(struct vcpu *v, const struct reg *r, const u8 *in)
{
	struct f80 *st = &v->x87.fpr[st_physical(v, r->index)];
	u64 value = 0;

	switch ((enum reg_kind)r->kind) {
	case REG_ST:
		memcpy(&st->m, in, 8);
		memcpy(&st->e, in + 8, 2);
		return true;
	case REG_XMM: memcpy(&v->v[r->index].q[0], in, 16); return true;
	case REG_YMM_HIGH: memcpy(&v->v[r->index].q[2], in, 16); return true;
	default: memcpy(&value, in, r->bytes); return write_value(v, r, value);
	}
}
