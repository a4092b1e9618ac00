/* SPDX-License-Identifier: Apache-2.0 */
/* Machine, page tables and vCPU state for a case: see guest.h. */
#include <string.h>

#include "emulate/vector.h"
#include "guest.h"
#include "machine/flags.h"
#include "mmu/mmu.h"

static void put64(struct machine *m, u64 gpa, u64 value)
{
	memcpy(ram_ptr(m, gpa, 8), &value, 8);
}

/* Page tables from 1000h on: a PML4, and a table of each level for the user's and for the supervisor's 2 MiB. */
static void map_page(struct machine *m, u64 gla, u64 gpa, u64 bits)
{
	u64 table = 0x1000, next = gla >> 63 ? 0x5000 : 0x2000;

	for (unsigned shift = 39; shift > 12; shift -= 9, next += 0x1000) {
		put64(m, table + 8 * (gla >> shift & 511), next | PTE_P | PTE_W | PTE_U | PTE_A);
		table = next;
	}
	put64(m, table + 8 * (gla >> 12 & 511), gpa | bits | PTE_P | PTE_A | PTE_D);
}

static void map_all(struct machine *m)
{
	_Static_assert(CODE_GLA >> 21 == DATA_GLA >> 21 && CODE_GLA >> 21 == RO_GLA >> 21, "one table maps them");
	for (u64 k = 0; k < CODE_LEN; k += PAGE_SIZE)
		map_page(m, CODE_GLA + k, GPA_CODE + k, PTE_U);
	for (u64 k = 0; k < DATA_LEN; k += PAGE_SIZE)
		map_page(m, DATA_GLA + k, GPA_DATA + k, PTE_U | PTE_W | PTE_NX);
	map_page(m, RO_GLA, GPA_RO, PTE_U | PTE_NX);
	for (u64 k = 0; k < SUPERVISOR_LEN; k += PAGE_SIZE)
		map_page(m, SUPERVISOR_GLA + k, GPA_SUPERVISOR + k, PTE_W);
}

int guest_open(struct guest *g)
{
	struct machine_config config = { .ram_size = GUEST_RAM, .cpus = 1, .model = cpu_model_find(NULL, NULL) };
	struct error err;

	memset(g, 0, sizeof(*g));
	g->m = machine_new(&config, &err);
	if (!g->m)
		return -1;
	g->v = g->m->vcpu[0];
	map_all(g->m);
	g->code = ram_ptr(g->m, GPA_CODE, CODE_LEN);
	g->data = ram_ptr(g->m, GPA_DATA, DATA_LEN);
	memset(g->code, CODE_FILL, CODE_LEN);
	u8 *ro = ram_ptr(g->m, GPA_RO, RO_LEN);
	for (unsigned k = 0; k < RO_LEN; k++)
		ro[k] = (u8)(k * 37 + (k >> 8));
	return 0;
}

void guest_close(struct guest *g)
{
	machine_free(g->m);
}

/* The state of a user process under an operating system that enables all there is. */
static void enter_user(struct vcpu *v)
{
	static const struct segment code = { .limit = ~0u,
					     .ar = AR_G | AR_L | AR_P | 3 << AR_DPL_SHIFT | AR_S | 0xb,
					     .selector = 0x33 },
				    data = { .limit = ~0u,
					     .ar = AR_G | AR_DB | AR_P | 3 << AR_DPL_SHIFT | AR_S | 0x3,
					     .selector = 0x2b },
				    null = { .ar = AR_UNUSABLE };

	v->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	v->cr4 = CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE | CR4_OSXSAVE;
	v->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	v->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
	v->cr3 = 0x1000;
	v->seg[SEG_CS] = code;
	v->seg[SEG_SS] = data;
	v->seg[SEG_DS] = v->seg[SEG_ES] = v->seg[SEG_FS] = v->seg[SEG_GS] = null;
	v->seg[SEG_FS].base = FS_BASE;
	v->seg[SEG_GS].base = GS_BASE;
	v->cpl = 3;
	vcpu_update_mode(v);
}

static void enter_narrow(struct vcpu *v, enum narrow how)
{
	for (unsigned s = 0; s < NR_SEG; s++)
		v->seg[s] = (struct segment){ .limit = ~0u,
					      .ar = AR_G | AR_DB | AR_P | 3 << AR_DPL_SHIFT | AR_S | 0x3,
					      .selector = 0x2b };
	v->seg[SEG_CS].ar |= 0xb;
	v->seg[SEG_CS].selector = 0x23;
	v->seg[SEG_FS].base = FS_BASE;
	v->seg[SEG_GS].base = GS_BASE;
	if (how == NARROW_NO_FS)
		v->seg[SEG_FS] = (struct segment){ .ar = AR_UNUSABLE };
	if (how == NARROW_SHORT_GS)
		v->seg[SEG_GS].limit = 0x7f;
	if (how == NARROW_DS_BASE)
		v->seg[SEG_DS].base = 0x30;
	vcpu_update_mode(v);
}

static void load_x87(struct x87 *to, const struct x87_image *from)
{
	unsigned top = from->sw >> 11 & 7;

	to->cw = from->cw;
	to->sw = from->sw;
	to->tag = from->tag;
	to->fip = to->fdp = to->fop = to->fcs = to->fds = 0;
	for (unsigned k = 0; k < 8; k++) {
		to->fpr[(top + k) & 7].m = from->st[k].m;
		to->fpr[(top + k) & 7].e = from->st[k].e;
	}
}

void guest_load(struct guest *g, const struct testcase *t, guest_tell *tell)
{
	struct vcpu *v = g->v;

	enter_user(v);
	if (t->narrow)
		enter_narrow(v, t->narrow);
	memcpy(v->r, t->in.r, sizeof(t->in.r));
	v->rip = t->in.rip;
	v->rflags = t->in.rflags;
	v->lazy.kind = FLAGS_KNOWN;
	memcpy(v->v, t->in.v, sizeof(t->in.v));
	load_x87(&v->x87, &t->in.x87);
	simd_update(v);
	simd_set_mxcsr(v, t->in.mxcsr);
	mmu_update_view(v);
	v->pending_db = 0;
	v->stop_now = v->shadow = v->halted = false;
	v->event.valid = false;

	u8 plain[CODE_MAX];
	memset(plain, CODE_FILL, sizeof(plain));
	memcpy(g->code + g->dirty_off, plain, g->dirty_len);
	memcpy(g->code + t->code_off, t->code, t->code_len);
	if (tell) {
		tell(v, GPA_CODE + g->dirty_off, g->dirty_len);
		tell(v, GPA_CODE + t->code_off, t->code_len);
	}
	g->dirty_off = t->code_off;
	g->dirty_len = t->code_len;
	memcpy(g->data, t->data, DATA_LEN);
}

void guest_store(struct guest *g, struct outcome *o)
{
	struct vcpu *v = g->v;
	unsigned top = v->x87.sw >> 11 & 7;

	memcpy(o->out.r, v->r, sizeof(o->out.r));
	o->out.rip = v->rip;
	o->out.rflags = flags_settle(v);
	memcpy(o->out.v, v->v, sizeof(o->out.v));
	o->out.mxcsr = simd_get_mxcsr(v);
	o->out.x87.cw = v->x87.cw;
	o->out.x87.sw = v->x87.sw;
	o->out.x87.tag = v->x87.tag;
	for (unsigned k = 0; k < 8; k++) {
		o->out.x87.st[k].m = v->x87.fpr[(top + k) & 7].m;
		o->out.x87.st[k].e = v->x87.fpr[(top + k) & 7].e;
	}
	memcpy(o->data, g->data, DATA_LEN);
}
