/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A case from a seed: instructions of random form, and a state in which they do something. Memory operands are solved for: an
 * address is picked first (mostly in the data pages, sometimes across an edge or where a fault is due), then base, index
 * and displacement are made to give it. Everything depends on (seed, index, op) alone, so that a case can be repeated.
 */
#include <string.h>

#include "encode.h"
#include "x86/ops.h"

struct making {
	struct rng r;
	struct testcase *t;
	u32 fixed; /* general registers that an operand relies on */
};

/* ---- initial state ---- */
static void random_x87(struct rng *r, struct x87_image *x)
{
	x->cw = (u16)(0x7f | (rng_chance(r, 70) ? 0x300 : rng_below(r, 4) << 8));
	if (rng_chance(r, 30))
		x->cw |= (u16)(rng_below(r, 4) << 10);
	x->sw = (u16)(rng_next(r) & 0x7f00);
	if (rng_chance(r, 20))
		x->sw |= (u16)(rng_next(r) & 0x7f);
	if (rng_chance(r, 6))
		x->cw &= (u16) ~(rng_next(r) & 0x3f);
	if (rng_chance(r, 90))
		x->sw &= (u16)(~0x3f | x->cw); /* no exception pending */
	if (x->sw & ~x->cw & 0x3f)
		x->sw |= 0x8080;
	x->tag = rng_chance(r, 75) ? 0xff : (u8)rng_next(r);
	for (unsigned k = 0; k < 8; k++)
		value_float80(r, &x->st[k].m, &x->st[k].e);
}

static void random_vectors(struct rng *r, struct image *in)
{
	static const u8 bits[] = { 8, 16, 32, 64 };

	for (unsigned k = 0; k < 16; k++) {
		unsigned b = bits[rng_below(r, 4)];
		for (unsigned p = 0; p < 32; p += b / 8) {
			u64 x = value_int(r, b);
			memcpy(in->v[k] + p, &x, b / 8);
		}
	}
}

static void random_state(struct making *g)
{
	struct rng *r = &g->r;
	struct image *in = &g->t->in;

	for (unsigned k = 0; k < 16; k++)
		in->r[k] = value_int(r, 64);
	in->r[RSP] = DATA_GLA + 0x400 + (rng_below(r, DATA_LEN - 0x800) & (rng_chance(r, 90) ? ~7ull : ~0ull));
	for (unsigned k = RBP; k <= RDI; k++)
		if (rng_chance(r, 60))
			in->r[k] = DATA_GLA + 0x200 + rng_below(r, DATA_LEN - 0x400);
	if (rng_chance(r, 60))
		in->r[RCX] = rng_below(r, 48); /* shift counts, repeats */
	in->rflags = (rng_next(r) & FL_ARITH) | FL_IF | FL_1;
	if (rng_chance(r, 25))
		in->rflags |= FL_DF;
	if (rng_chance(r, 3))
		in->rflags |= FL_AC;
	in->mxcsr = 0x1f80;
	if (rng_chance(r, 30))
		in->mxcsr |= (u32)(rng_below(r, 4) << 13 | (rng_next(r) & 0x3f));
	if (rng_chance(r, 15))
		in->mxcsr |= rng_chance(r, 50) ? 0x8040 : 0x40; /* FTZ with DAZ, DAZ */
	if (rng_chance(r, 10))
		in->mxcsr &= ~(u32)(rng_next(r) & 0x1f80);
	random_x87(r, &in->x87);
	random_vectors(r, in);
}

static void random_data(struct making *g)
{
	u8 *p = g->t->data;
	u64 words[8];

	for (unsigned k = 0; k < 8; k++)
		words[k] = rng_next(&g->r);
	if (rng_chance(&g->r, 15)) { /* long equal runs, for repeated compares */
		memset(p, (int)words[0], DATA_LEN);
		p[rng_below(&g->r, DATA_LEN)] = (u8)words[1];
		return;
	}
	for (unsigned k = 0; k < DATA_LEN; k += 8) {
		u64 x = words[k / 8 % 8] = words[k / 8 % 8] * 6364136223846793005ull + 1442695040888963407ull;
		x ^= x >> 33;
		memcpy(p + k, &x, 8);
	}
}

/* ---- addresses ---- */
static u64 pick_address(struct rng *r, unsigned size, bool wide)
{
	u64 a;
	u64 span = size < DATA_LEN / 2 ? size : 0;

	switch (rng_below(r, 32)) {
	case 0:
	case 1:
	case 2: return DATA_GLA + 0x1000 - rng_below(r, span + 1);
	case 3: return DATA_GLA + DATA_LEN - rng_below(r, 2 * span + 1);
	case 4: return DATA_GLA - rng_below(r, span + 1);
	case 5: return RO_GLA + (rng_below(r, RO_LEN) & ~15ull);
	case 6: return RO_GLA + RO_LEN - rng_below(r, 2 * span + 1);
	case 7:
		if (wide && rng_chance(r, 50))
			return rng_chance(r, 50) ? 0x800000000000ull - rng_below(r, span + 4)
						 : rng_next(r) & ~(1ull << 63);
		return rng_chance(r, 50) ? CODE_GLA + rng_below(r, CODE_LEN)
					 : DATA_GLA + DATA_LEN + rng_below(r, 0x1000);
	default:
		a = DATA_GLA + 64 + rng_below(r, DATA_LEN - 128 - span);
		if (size <= 64 && rng_chance(r, 85))
			a &= ~(u64)(size & (size - 1) ? 15 : size - 1);
		return a;
	}
}

static unsigned gpr_of(ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64: return (unsigned)ZydisRegisterGetId(reg);
	default: return 16;
	}
}

static void patch_disp(struct draft *t, u64 value)
{
	memcpy(t->bytes + t->d.raw.disp.offset, &value, t->d.raw.disp.size / 8);
}

static void solve_vsib(struct making *g, struct draft *t, const ZydisDecodedOperand *o)
{
	u8 *lanes = g->t->in.v[ZydisRegisterGetId(o->mem.index)];
	unsigned width = strstr(op_facts[t->i.op].name, "QP") || strstr(op_facts[t->i.op].name, "GATHERQ") ? 8 : 4;

	for (unsigned k = 0; k < 32; k += width) {
		s64 x = (s64)rng_below(&g->r, 512) - 256;
		if (rng_chance(&g->r, 2))
			x *= 0x10000;
		memcpy(lanes + k, &x, width);
	}
}

/* Makes the operand's address `target`, as far as registers that are fixed already allow. */
static void solve(struct making *g, struct draft *t, const ZydisDecodedOperand *o, u64 target, u64 at)
{
	u64 *regs = g->t->in.r;
	unsigned base = gpr_of(o->mem.base), index = gpr_of(o->mem.index), scale = o->mem.scale;
	u64 disp = (u64)o->mem.disp.value;
	bool near_disp = t->d.raw.disp.size == 32;

	if (o->mem.segment == ZYDIS_REGISTER_FS)
		target -= FS_BASE;
	if (o->mem.segment == ZYDIS_REGISTER_GS)
		target -= GS_BASE;
	if (o->mem.base == ZYDIS_REGISTER_RIP || o->mem.base == ZYDIS_REGISTER_EIP) {
		patch_disp(t, target - (at + t->len));
		return;
	}
	if (ZydisRegisterGetClass(o->mem.index) == ZYDIS_REGCLASS_XMM ||
	    ZydisRegisterGetClass(o->mem.index) == ZYDIS_REGCLASS_YMM) {
		solve_vsib(g, t, o);
		index = 16;
	}
	if (base == 16 && index == 16) {
		if (near_disp)
			patch_disp(t, target);
		return;
	}
	if (index < 16 && index != base && !(g->fixed & 1u << index)) {
		if (base == 16)
			regs[index] = scale ? (target - disp) / scale : 0;
		else if (base == RSP || rng_chance(&g->r, 50))
			regs[index] = rng_below(&g->r, 4096);
	}
	if (base < 16 && !(g->fixed & 1u << base)) {
		u64 rest = target - disp;
		regs[base] = index == base ? rest / (1 + scale) : rest - (index < 16 ? regs[index] * scale : 0);
		if (t->d.address_width == 32 && rng_chance(&g->r, 50))
			regs[base] |= rng_next(&g->r) << 32;
	}
	u64 sum = (base < 16 ? regs[base] : 0) + (index < 16 ? regs[index] * scale : 0);
	if (near_disp && (u64)(s64)(s32)(target - sum) == target - sum)
		patch_disp(t, target - sum);
	g->fixed |= (1u << base | 1u << index) & 0xffff;
}

/* ---- values ---- */
static void fill(struct rng *r, u8 *p, unsigned size, const ZydisDecodedOperand *o)
{
	unsigned element = o->element_size / 8, done;
	u16 e;
	u64 m;

	if (o->element_type == ZYDIS_ELEMENT_TYPE_FLOAT80 && size >= 10) {
		value_float80(r, &m, &e);
		memcpy(p, &m, 8);
		memcpy(p + 8, &e, 2);
		return;
	}
	if (element != 1 && element != 2 && element != 4)
		element = 8;
	u8 alphabet = rng_chance(r, 30) ? 3 : 0; /* few different bytes: text compares, saturation */
	for (done = 0; done + element <= size; done += element) {
		bool real = o->element_type == ZYDIS_ELEMENT_TYPE_FLOAT16 ||
			    o->element_type == ZYDIS_ELEMENT_TYPE_FLOAT32 ||
			    o->element_type == ZYDIS_ELEMENT_TYPE_FLOAT64;
		m = real && element > 1 ? value_float(r, 8 * element) : value_int(r, 8 * element);
		if (alphabet && element <= 2)
			m = (m & alphabet) + rng_below(r, 2) * 0x7e;
		memcpy(p + done, &m, element);
	}
}

static u8 *data_at(struct testcase *t, u64 gla, unsigned size)
{
	return gla >= DATA_GLA && size <= DATA_LEN && gla - DATA_GLA <= DATA_LEN - size ? t->data + (gla - DATA_GLA)
											: NULL;
}

static u64 code_pointer(struct making *g)
{
	if (rng_chance(&g->r, 90))
		return CODE_GLA + rng_below(&g->r, CODE_LEN);
	return rng_chance(&g->r, 50) ? CODE_GLA + CODE_LEN + rng_below(&g->r, 64) : value_int(&g->r, 64);
}

static void set_register(struct making *g, const struct draft *t, const ZydisDecodedOperand *o)
{
	struct image *in = &g->t->in;
	unsigned id = (unsigned)ZydisRegisterGetId(o->reg.value), gpr = gpr_of(o->reg.value);

	switch (ZydisRegisterGetClass(o->reg.value)) {
	case ZYDIS_REGCLASS_XMM:
	case ZYDIS_REGCLASS_YMM: fill(&g->r, in->v[id], o->size / 8, o); break;
	case ZYDIS_REGCLASS_MMX: {
		unsigned top = 0; /* physical register; FXSAVE's order is relative to TOP */
		top = in->x87.sw >> 11 & 7;
		fill(&g->r, (u8 *)&in->x87.st[(id - top) & 7].m, 8, o);
		break;
	}
	default:
		if (gpr < 16 && !(g->fixed & 1u << gpr) && t->d.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR)
			in->r[gpr] = code_pointer(g);
	}
}

static void set_memory(struct making *g, const struct draft *t, const ZydisDecodedOperand *o, u64 gla)
{
	unsigned size = o->size / 8;
	u8 *p = data_at(g->t, gla, size);

	if (!p)
		return;
	if (t->d.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR && size == 8) {
		u64 target = code_pointer(g);
		memcpy(p, &target, 8);
	} else if (size <= 32) {
		fill(&g->r, p, size, o);
	}
}

/* Now and then two operands are equal, for compares. */
static void make_equal(struct making *g, const struct draft *t)
{
	const ZydisDecodedOperand *o = t->o;
	unsigned n = t->d.operand_count_visible;

	if (n < 2 || o[n > 2 ? 1 : 0].type != ZYDIS_OPERAND_TYPE_REGISTER ||
	    o[n > 2 ? 2 : 1].type != ZYDIS_OPERAND_TYPE_REGISTER)
		return;
	ZydisRegister a = o[n > 2 ? 1 : 0].reg.value, b = o[n > 2 ? 2 : 1].reg.value;
	if (ZydisRegisterGetClass(a) == ZYDIS_REGCLASS_XMM && ZydisRegisterGetClass(b) == ZYDIS_REGCLASS_XMM)
		memcpy(g->t->in.v[ZydisRegisterGetId(a)], g->t->in.v[ZydisRegisterGetId(b)], 4 << rng_below(&g->r, 3));
	if (gpr_of(a) < 16 && gpr_of(b) < 16 && !(g->fixed & 1u << gpr_of(a)))
		g->t->in.r[gpr_of(a)] = g->t->in.r[gpr_of(b)];
}

/* A header that XRSTOR takes, mostly: XSTATE_BV within XCR0, standard or compact, the rest zero (SDM vol. 1, 13.8). */
static void restorable(struct making *g, u64 gla)
{
	u8 *header = data_at(g->t, gla + 512, 64), *area = data_at(g->t, gla, 512);
	struct rng *r = &g->r;

	if (!header || !area || rng_chance(r, 10))
		return;
	memset(header, 0, 64);
	header[0] = (u8)rng_below(r, 8);
	if (rng_chance(r, 40)) {
		header[8] = (u8)rng_below(r, 8) | header[0];
		header[15] = 0x80;
	}
	if (rng_chance(r, 90)) /* MXCSR */
		memset(area + 26, 0, 2);
}

/* Operands with which an instruction does more than fault or do nothing. */
static void special_values(struct making *g, const struct draft *t, u64 gla)
{
	struct image *in = &g->t->in;
	struct rng *r = &g->r;
	u8 *p = gla ? data_at(g->t, gla, 16) : NULL;

	switch (t->d.mnemonic) {
	case ZYDIS_MNEMONIC_DIV:
	case ZYDIS_MNEMONIC_IDIV:
		if (rng_chance(r, 40))
			in->r[RDX] = t->d.mnemonic == ZYDIS_MNEMONIC_DIV ? 0 : (u64)((s64)in->r[RAX] >> 63);
		else if (rng_chance(r, 60))
			in->r[RDX] = rng_below(r, 256);
		break;
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTC:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTS:
		if (t->o[1].type == ZYDIS_OPERAND_TYPE_REGISTER && t->o[0].type == ZYDIS_OPERAND_TYPE_MEMORY) {
			unsigned reg = gpr_of(t->o[1].reg.value);
			if (reg < 16 && !(g->fixed & 1u << reg) && rng_chance(r, 90))
				in->r[reg] = rng_below(r, 4096) - 2048;
		}
		break;
	case ZYDIS_MNEMONIC_CMPXCHG:
		if (rng_chance(r, 50) && p)
			memcpy(p, &in->r[RAX], 8);
		else if (rng_chance(r, 50) && t->o[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
			 gpr_of(t->o[0].reg.value) < 16)
			in->r[gpr_of(t->o[0].reg.value)] = in->r[RAX];
		break;
	case ZYDIS_MNEMONIC_CMPXCHG8B:
		if (rng_chance(r, 50) && p) {
			memcpy(p, &in->r[RAX], 4);
			memcpy(p + 4, &in->r[RDX], 4);
		}
		break;
	case ZYDIS_MNEMONIC_CMPXCHG16B:
		if (rng_chance(r, 50) && p) {
			memcpy(p, &in->r[RAX], 8);
			memcpy(p + 8, &in->r[RDX], 8);
		}
		break;
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XSAVEC:
	case ZYDIS_MNEMONIC_XSAVEC64:
	case ZYDIS_MNEMONIC_XSAVEOPT:
	case ZYDIS_MNEMONIC_XSAVEOPT64:
	case ZYDIS_MNEMONIC_XRSTOR:
	case ZYDIS_MNEMONIC_XRSTOR64:
		in->r[RAX] &= ~0xfffffff8ull;
		in->r[RDX] &= ~0xffffffffull;
		if (p && t->d.mnemonic != ZYDIS_MNEMONIC_XSAVE)
			restorable(g, gla);
		break;
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFQ:
		if (p)
			p[1] &= 0xfe; /* TF: single-stepping is for the assembly guests */
		break;
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_VLDMXCSR:
		if (p) {
			u32 x = (u32)rng_next(r) & (rng_chance(r, 90) ? 0xffff : 0xfffdffff); /* bit 17 is AMD's own */
			memcpy(p, &x, 4);
		}
		break;
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
		if (p && rng_chance(r, 90) && data_at(g->t, gla, 512))
			memset(p + 26, 0, 2);
		break;
	case ZYDIS_MNEMONIC_FLDCW:
		if (p && rng_chance(r, 90))
			p[0] |= 0x3f;
		break;
	default: break;
	}
}

/* Relative branches: mostly into the code pages. */
static void aim_branch(struct making *g, struct draft *t, u64 at)
{
	if (!t->d.raw.imm[0].is_relative)
		return;
	u64 rel = code_pointer(g) - (at + t->len);
	if (t->d.raw.imm[0].size == 8)
		rel = rng_below(&g->r, 2) ? rng_below(&g->r, 127) : rng_next(&g->r);
	else if (rng_chance(&g->r, 5))
		rel = rng_next(&g->r);
	memcpy(t->bytes + t->d.raw.imm[0].offset, &rel, t->d.raw.imm[0].size / 8);
}

static void prepare(struct making *g, struct draft *t, u64 at)
{
	u64 gla = 0;

	for (unsigned k = 0; k < t->d.operand_count; k++)
		if (t->o[k].type == ZYDIS_OPERAND_TYPE_REGISTER && t->o[k].actions & ZYDIS_OPERAND_ACTION_MASK_READ)
			set_register(g, t, &t->o[k]);
	if (rng_chance(&g->r, 10))
		make_equal(g, t);
	for (unsigned k = 0; k < t->d.operand_count; k++) {
		const ZydisDecodedOperand *o = &t->o[k];
		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
			continue;
		gla = pick_address(&g->r, o->size / 8, t->d.address_width == 64);
		if (gpr_of(o->mem.base) == RSP && rng_chance(&g->r, 70))
			gla = DATA_GLA + 0x100 + (rng_below(&g->r, DATA_LEN - 0x200) & ~7ull);
		solve(g, t, o, gla, at);
		set_memory(g, t, o, gla);
	}
	special_values(g, t, gla);
	aim_branch(g, t, at);
}

/* ---- cases ---- */
static const struct form *pick_form(struct making *g, const struct forms *f, unsigned op, bool plain)
{
	unsigned first = f->first[op], n = f->first[op + 1] - first;
	const struct form *form = &f->all[first + rng_below(&g->r, n)];

	for (unsigned tries = 0; plain && form->has_modrm && form->modrm < 0xc0 && tries < 8; tries++)
		form = &f->all[first + rng_below(&g->r, n)];
	return form;
}

/* plain: rather without memory operand. */
static bool append(struct making *g, const struct forms *f, unsigned op, bool plain)
{
	struct testcase *t = g->t;
	struct draft d;

	for (unsigned tries = 0; f->first[op] != f->first[op + 1] && tries < 64; tries++) {
		if (!encode_random(&g->r, pick_form(g, f, op, plain), &d) || t->code_len + d.len > CODE_MAX)
			continue;
		prepare(g, &d, t->in.rip + t->code_len);
		memcpy(t->code + t->code_len, d.bytes, d.len);
		t->code_len = (u8)(t->code_len + d.len);
		return true;
	}
	return false;
}

static bool is_integer(unsigned op)
{
	switch (op_facts[op].feature) {
	case FEAT_BASE:
	case FEAT_CMOV:
	case FEAT_BMI1:
	case FEAT_BMI2:
	case FEAT_ADX:
	case FEAT_LZCNT:
	case FEAT_POPCNT:
	case FEAT_MOVBE: return !(op_facts[op].attr & (OP_SYS | OP_BRANCH));
	default: return false;
	}
}

/*
 * Several instructions in a row. Most such cases are integer and between registers, so that they go far and flags pass from
 * one to another in every combination.
 */
static void sequence(struct making *g, const struct forms *f)
{
	bool integer = rng_chance(&g->r, 70);

	for (unsigned k = 2 + (unsigned)rng_below(&g->r, INSNS_MAX - 1); k-- > 0;) {
		unsigned op = f->all[rng_below(&g->r, f->count)].op;
		for (unsigned tries = 0; integer && !is_integer(op) && tries < 64; tries++)
			op = f->all[rng_below(&g->r, f->count)].op;
		append(g, f, op, integer && rng_chance(&g->r, 85));
	}
}

/* A valid instruction with a few bytes or prefixes spoilt, or no instruction at all. */
static void raw_bytes(struct making *g, const struct forms *f)
{
	static const u8 prefixes[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x64, 0x40, 0x48, 0x4f, 0xc4, 0xc5, 0x0f };
	struct testcase *t = g->t;
	struct rng *r = &g->r;

	if (rng_chance(r, 80) && f->count)
		append(g, f, f->all[rng_below(r, f->count)].op, false);
	for (unsigned k = rng_below(r, 4); k-- > 0 && t->code_len;)
		t->code[rng_below(r, t->code_len)] = (u8)rng_next(r);
	for (unsigned k = rng_chance(r, 10) ? 14 : rng_below(r, 3); k-- > 0 && t->code_len < CODE_MAX;) {
		memmove(t->code + 1, t->code, t->code_len++);
		t->code[0] = prefixes[rng_below(r, sizeof(prefixes))];
	}
	if (!t->code_len)
		for (; t->code_len < 15; t->code_len++)
			t->code[t->code_len] = (u8)rng_next(r);
}

static void place(struct making *g)
{
	struct testcase *t = g->t;

	t->code_off = (u16)(0x200 + rng_below(&g->r, 0x400));
	if (rng_chance(&g->r, 8))
		t->code_off = (u16)(0x1000 - rng_below(&g->r, 16)); /* across the pages */
	if (rng_chance(&g->r, 2))
		t->code_off = (u16)(CODE_LEN - rng_below(&g->r, 16)); /* off the end: a fault in fetching */
	t->in.rip = CODE_GLA + t->code_off;
}

void generate(const struct forms *f, struct testcase *t, u64 seed, u64 index, u16 op)
{
	struct making g = { .t = t };

	memset(t, 0, offsetof(struct testcase, data));
	t->seed = seed;
	t->index = index;
	t->op = op;
	rng_seed(&g.r, seed, index);
	random_state(&g);
	random_data(&g);
	place(&g);
	if (op) {
		append(&g, f, op, false);
	} else if (rng_chance(&g.r, 40) || !f->count) {
		raw_bytes(&g, f);
	} else {
		sequence(&g, f);
	}
	/* A kernel may be unable to return to, or take a fault from, code with a stack pointer that is not canonical. */
	t->in.r[RSP] &= ~0ull >> 17;
	if (t->code_off + t->code_len > CODE_LEN)
		t->code_len = (u8)(CODE_LEN - t->code_off);
}
