/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPU's state as a whole: reset and INIT (SDM vol. 3 table 9-1), the derived mode, and the recording of
 * faults. Caches and TLB are not part of this layer: reset asks for a flush with EV_TLB.
 */
#include <string.h>

#include "machine/machine.h"

#define PAT_RESET	  0x0007040600070406ull
#define AR_RESET_CODE	  (AR_P | AR_S | AR_CODE | AR_READ | AR_ACCESSED)
#define AR_RESET_DATA	  (AR_P | AR_S | AR_WRITE | AR_ACCESSED)
#define AR_RESET_LDT	  (AR_P | 2)
#define AR_RESET_TSS	  (AR_P | 11) /* a busy 32-bit TSS: what VMX wants to see of a TR that was never loaded */
#define MISC_FAST_STRINGS BIT(0)
#define MISC_NO_BTS	  BIT(11)
#define MISC_NO_PEBS	  BIT(12)
#define MISC_MONITOR	  BIT(18)

static void reset_segments(struct vcpu *v)
{
	struct segment data = { .limit = 0xffff, .ar = AR_RESET_DATA };

	for (unsigned k = 0; k < NR_SEG; k++)
		v->seg[k] = data;
	v->seg[SEG_CS] =
		(struct segment){ .base = 0xffff0000, .limit = 0xffff, .ar = AR_RESET_CODE, .selector = 0xf000 };
	v->ldtr = (struct segment){ .limit = 0xffff, .ar = AR_RESET_LDT };
	v->tr = (struct segment){ .limit = 0xffff, .ar = AR_RESET_TSS };
	v->gdtr = v->idtr = (struct table_reg){ .limit = 0xffff };
}

/* EDX after reset is the processor's signature. */
static u32 signature(const struct vcpu *v)
{
	static const struct cpuid_context ctx = { .cpus = 1 };

	return v->model ? cpuid_query(v->model, &ctx, 1, 0).eax : 0;
}

/* What both reset and INIT set. */
static void reset_common(struct vcpu *v)
{
	memset(v->r, 0, sizeof(v->r));
	v->r[RDX] = signature(v);
	v->rip = 0xfff0;
	v->rflags = FL_1;
	v->lazy.kind = FLAGS_KNOWN;
	v->cpl = 0;
	v->guest_kernel = false;
	v->halted = v->shadow = v->shadow_ss = v->nmi_blocked = false;
	v->wait_sipi = false;
	v->pending_db = 0;
	reset_segments(v);
	v->cr0 = CR0_ET | (v->cr0 & (CR0_CD | CR0_NW));
	v->cr2 = v->cr3 = v->user_cr3 = v->cr4 = v->efer = 0;
	memset(v->pdpte, 0, sizeof(v->pdpte));
	memset(v->dr, 0, sizeof(v->dr));
	v->dr[6] = DR6_FIXED;
	v->dr[7] = DR7_FIXED;
	v->event = (struct cpu_event){ 0 };
	v->monitor_gpa = ~0ull;
	v->stop_now = true;
	atomic_fetch_or(&v->events, EV_TLB);
	vcpu_update_mode(v);
}

static void reset_msrs(struct vcpu *v)
{
	memset(&v->msr, 0, sizeof(v->msr));
	v->msr.pat = PAT_RESET;
	v->msr.misc_enable = MISC_FAST_STRINGS | MISC_NO_BTS | MISC_NO_PEBS;
	if (v->model && cpu_has(v->model, FEAT_MONITOR))
		v->msr.misc_enable |= MISC_MONITOR;
	v->msr.feature_control = 1; /* locked, VMX off: as firmware leaves it */
	v->msr.ucode_rev = BIT(32);
	v->tsc_offset = 0;
	v->nmis = 0;
}

void vcpu_reset(struct vcpu *v)
{
	v->cr0 = CR0_CD | CR0_NW;
	reset_common(v);
	reset_msrs(v);
	memset(v->v, 0, sizeof(v->v));
	memset(&v->x87, 0, sizeof(v->x87));
	v->x87.cw = 0x40;
	v->x87.tag = 0xff; /* tag word 5555h: zeros, so nothing is empty */
	v->mxcsr = 0x1f80;
	v->xcr0 = XCR0_X87;
	v->pkru = v->pkrs = 0;
}

void vcpu_init_signal(struct vcpu *v)
{
	const struct intc_ops *intc = v->machine->intc;

	reset_common(v);
	v->wait_sipi = v->id != 0;
	if (intc && intc->reset)
		intc->reset(v);
}

void vcpu_update_mode(struct vcpu *v)
{
	u32 ar = v->seg[SEG_CS].ar;
	enum code_size legacy = ar & AR_DB ? CODE_32 : CODE_16;

	if (!(v->cr0 & CR0_PE)) {
		v->mode = MODE_REAL;
		v->code_size = legacy;
	} else if (v->rflags & FL_VM) {
		v->mode = MODE_V86;
		v->code_size = CODE_16;
	} else if (!(v->efer & EFER_LMA)) {
		v->mode = MODE_PROTECTED;
		v->code_size = legacy;
	} else if (ar & AR_L) {
		v->mode = MODE_LONG;
		v->code_size = CODE_64;
	} else {
		v->mode = MODE_COMPAT;
		v->code_size = legacy;
	}
	simd_update(v);
}

/* SDM vol. 1, 13.3 and 14.8; vol. 2 tables 2-18 and following. */
void simd_update(struct vcpu *v)
{
	bool avx = (v->xcr0 & (XCR0_SSE | XCR0_AVX)) == (XCR0_SSE | XCR0_AVX) && v->cr4 & CR4_OSXSAVE &&
		   v->mode != MODE_REAL && v->mode != MODE_V86;
	u8 ok = 0;

	if (!(v->cr0 & CR0_EM) && v->cr4 & CR4_OSFXSR)
		ok |= SIMD_SSE;
	if (avx)
		ok |= SIMD_AVX | (v->model && cpu_has(v->model, FEAT_AVX2) ? SIMD_AVX2 : 0);
	v->simd_ok = v->cr0 & CR0_TS ? 0 : ok;
}

static _Noreturn void unwind(struct vcpu *v, struct cpu_event ev)
{
	ev.valid = true;
	ev.type = EVENT_EXCEPTION;
	v->event = ev;
	longjmp(*v->unwind, 1);
}

void vcpu_raise(struct vcpu *v, u8 vector)
{
	unwind(v, (struct cpu_event){ .vector = vector });
}

void vcpu_raise_error(struct vcpu *v, u8 vector, u32 error)
{
	unwind(v, (struct cpu_event){ .vector = vector, .has_error = true, .error = error & 0xffff });
}

void vcpu_page_fault(struct vcpu *v, u64 gla, u32 error)
{
	unwind(v, (struct cpu_event){ .vector = EXC_PF, .has_error = true, .error = error, .cr2 = gla });
}

/* ---- x87 tags ---- */

u8 x87_tag_abridged(u16 full)
{
	u8 tag = 0;

	for (unsigned p = 0; p < 8; p++)
		tag |= (u8)(((full >> (2 * p) & 3) != 3) << p);
	return tag;
}

static unsigned tag_of(const struct f80 *x)
{
	unsigned e = x->e & 0x7fff;

	if (e == 0 && x->m == 0)
		return 1;
	return e == 0 || e == 0x7fff || !(x->m >> 63) ? 2 : 0;
}

u16 x87_tag_full(const struct vcpu *v)
{
	u16 full = 0;

	for (unsigned p = 0; p < 8; p++)
		full |= (u16)((v->x87.tag >> p & 1 ? tag_of(&v->x87.fpr[p]) : 3) << (2 * p));
	return full;
}
