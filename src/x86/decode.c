/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to the compact record, through Zydis. This is the only file that knows how Zydis describes an instruction; what it
 * costs (some 120 ns an instruction) is paid once, as engines keep the records.
 */
#include <Zydis/Zydis.h>
#include <pthread.h>
#include <string.h>

#include "x86/bits.h"
#include "x86/insn.h"
#include "x86/ops.h"

const struct op_fact op_facts[NR_OPS] = {
#define INSN(m, feature, attr, exec) [OP_##m] = { ZYDIS_MNEMONIC_##m, VAR_PLAIN, feature, attr, #m },
#define INSN_AS(name, m, variant, feature, attr, exec) \
	[OP_##name] = { ZYDIS_MNEMONIC_##m, variant, feature, attr, #name },
#include "x86/ops-int.def"
#include "x86/ops-sys.def"
#include "x86/ops-vec.def"
#include "x86/ops-x87.def"
};

/* Rows of a mnemonic: the first one, and each row's successor. Filled once. */
static u16 first_row[ZYDIS_MNEMONIC_MAX_VALUE + 1];
static u16 next_row[NR_OPS];
static ZydisDecoder decoders[3];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void set_up(void)
{
	static const struct {
		ZydisMachineMode mode;
		ZydisStackWidth stack;
	} modes[] = {
		[CODE_16] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16 },
		[CODE_32] = { ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32 },
		[CODE_64] = { ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
	};
	/* On a CPU without these extensions their encodings are NOPs, and no CPU model has them. */
	static const ZydisDecoderMode off[] = { ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET,
						ZYDIS_DECODER_MODE_CLDEMOTE };

	for (unsigned m = 0; m < ARRAY_SIZE(decoders); m++) {
		ZydisDecoderInit(&decoders[m], modes[m].mode, modes[m].stack);
		for (unsigned k = 0; k < ARRAY_SIZE(off); k++)
			ZydisDecoderEnableMode(&decoders[m], off[k], ZYAN_FALSE);
	}
	for (unsigned op = NR_OPS - 1; op > 0; op--) {
		next_row[op] = first_row[op_facts[op].mnemonic];
		first_row[op_facts[op].mnemonic] = (u16)op;
	}
}

static unsigned row_find(ZydisMnemonic mnemonic, enum op_variant variant)
{
	for (unsigned op = first_row[mnemonic]; op; op = next_row[op])
		if (op_facts[op].variant == variant)
			return op;
	return OP_NONE;
}

/* The most special variant that the operands call for. */
static enum op_variant variant_of(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *o)
{
	bool mmx = false, gpr = false;

	if (d->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return VAR_FAR;
	if (d->meta.category == ZYDIS_CATEGORY_STRINGOP)
		return VAR_STR;
	for (unsigned k = 0; k < d->operand_count_visible; k++) {
		if (o[k].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(o[k].reg.value)) {
		case ZYDIS_REGCLASS_SEGMENT: return k ? VAR_SEG_OF : VAR_SEG;
		case ZYDIS_REGCLASS_CONTROL: return k ? VAR_CR_OF : VAR_CR;
		case ZYDIS_REGCLASS_DEBUG: return k ? VAR_DR_OF : VAR_DR;
		case ZYDIS_REGCLASS_MMX: mmx = true; break;
		case ZYDIS_REGCLASS_GPR32:
		case ZYDIS_REGCLASS_GPR64: gpr = true; break;
		default: break;
		}
	}
	if (mmx && gpr)
		return ZydisRegisterGetClass(o[0].reg.value) == ZYDIS_REGCLASS_MMX ? VAR_MMX_GPR : VAR_GPR_MMX;
	return mmx ? VAR_MMX : gpr ? VAR_GPR : VAR_PLAIN;
}

static unsigned row_of(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *o)
{
	enum op_variant want = variant_of(d, o);
	unsigned op = row_find(d->mnemonic, want);

	if (!op && (want == VAR_MMX_GPR || want == VAR_GPR_MMX))
		op = row_find(d->mnemonic, VAR_MMX);
	return op ? op : row_find(d->mnemonic, VAR_PLAIN);
}

/* Register number as the record wants it: a byte offset for general registers, else the plain number. */
static u8 reg_of(ZydisRegister reg)
{
	ZydisRegisterClass c = ZydisRegisterGetClass(reg);
	u8 id = (u8)ZydisRegisterGetId(reg);

	switch (c) {
	case ZYDIS_REGCLASS_GPR8: /* AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8B... */
		if (id >= 4 && id < 8)
			return SLOT(id - 4) + 1;
		return SLOT(id >= 8 ? id - 4 : id);
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64: return SLOT(id);
	default: return id;
	}
}

static u8 slot_of(ZydisRegister reg)
{
	return reg == ZYDIS_REGISTER_NONE ? SLOT_ZERO : reg_of(reg);
}

static u8 seg_of(ZydisRegister reg)
{
	return reg >= ZYDIS_REGISTER_ES && reg <= ZYDIS_REGISTER_GS ? (u8)(reg - ZYDIS_REGISTER_ES) : SEG_DS;
}

static u8 seg_override(ZydisInstructionAttributes a)
{
	return a & ZYDIS_ATTRIB_HAS_SEGMENT_ES	 ? SEG_ES
	       : a & ZYDIS_ATTRIB_HAS_SEGMENT_CS ? SEG_CS
	       : a & ZYDIS_ATTRIB_HAS_SEGMENT_SS ? SEG_SS
	       : a & ZYDIS_ATTRIB_HAS_SEGMENT_FS ? SEG_FS
	       : a & ZYDIS_ATTRIB_HAS_SEGMENT_GS ? SEG_GS
						 : SEG_DS;
}

static u8 byte_size(unsigned bits)
{
	return bits <= 1024 ? (u8)(bits / 8) : 0;
}

static void take_memory(struct insn *i, const ZydisDecodedOperand *o)
{
	i->flags |= INSN_MEM;
	i->seg = seg_of(o->mem.segment) & 7;
	i->msize = byte_size(o->size);
	if (o->mem.disp.has_displacement && o->mem.disp.value != (s32)o->mem.disp.value) {
		i->flags |= INSN_MOFFS;
		i->imm = (u64)o->mem.disp.value;
	} else {
		i->disp = (s32)o->mem.disp.value;
	}
	i->index = slot_of(o->mem.index);
	for (unsigned s = o->mem.scale; s > 1; s >>= 1)
		i->scale++;
	if (o->mem.base != ZYDIS_REGISTER_RIP && o->mem.base != ZYDIS_REGISTER_EIP) {
		i->base = slot_of(o->mem.base);
		return;
	}
	i->base = SLOT_CODE;
	s64 disp = o->mem.disp.value + i->off + i->len;
	if (disp == (s32)disp)
		i->disp = (s32)disp;
	else
		i->asize = 0; /* op_ea adds off and len itself */
}

/* SIB base 5 with mod 0 is a displacement alone (SDM vol. 2, table 2-3), with REX.B and a 32-bit address too: Zydis 4.0 makes it R13D. */
static void mend_memory(const ZydisDecodedInstruction *d, ZydisDecodedOperand *o)
{
	if (d->raw.modrm.mod == 0 && d->raw.modrm.rm == 4 && d->raw.sib.base == 5 &&
	    o->mem.base == ZYDIS_REGISTER_R13D) {
		o->mem.base = ZYDIS_REGISTER_NONE;
		o->mem.disp.has_displacement = ZYAN_TRUE;
		o->mem.disp.value = d->raw.disp.value;
	}
}

static void take_operand(struct insn *i, unsigned k, const ZydisDecodedOperand *o)
{
	enum operand_kind kind = OPK_NONE;

	switch (o->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		kind = OPK_REG;
		i->r[k] = reg_of(o->reg.value);
		break;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		kind = OPK_MEM;
		take_memory(i, o);
		break;
	case ZYDIS_OPERAND_TYPE_POINTER:
		kind = OPK_IMM;
		i->imm = o->ptr.offset;
		i->disp = o->ptr.segment;
		break;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		kind = OPK_IMM;
		if (o->imm.is_relative)
			i->disp = (s32)o->imm.value.s;
		else if (i->kinds && insn_kind(i, 0) == OPK_IMM)
			i->disp = (s32)o->imm.value.u; /* ENTER's second immediate */
		else
			i->imm = o->imm.value.u;
		break;
	default: break;
	}
	i->kinds |= (u8)(kind << (2 * k));
	if (k == 0 && kind != OPK_IMM)
		i->size = byte_size(o->size);
	if (k == 1)
		i->size2 = kind == OPK_IMM ? i->size : byte_size(o->size);
}

static bool is_shift(const ZydisDecodedInstruction *d)
{
	return d->meta.category == ZYDIS_CATEGORY_SHIFT || d->meta.category == ZYDIS_CATEGORY_ROTATE;
}

static void take_flags(struct insn_info *info, const struct insn *i, const ZydisDecodedInstruction *d)
{
	*info = (struct insn_info){ 0 };
	if (!d->cpu_flags)
		return;
	info->flags_read = d->cpu_flags->tested & FL_ARITH;
	info->flags_undefined = d->cpu_flags->undefined & FL_ARITH;
	info->flags_written = (d->cpu_flags->modified | d->cpu_flags->set_0 | d->cpu_flags->set_1) & FL_ARITH;
	info->flags_written |= info->flags_undefined;
	bool shift = is_shift(d) && (insn_kind(i, d->operand_count_visible - 1u) != OPK_IMM || !(i->imm & 31));
	if (shift || d->meta.category == ZYDIS_CATEGORY_STRINGOP)
		info->flags_maybe = info->flags_written;
}

/* The immediate's operand, or NULL: then it has none, or means something else (a register). */
static const ZydisDecodedOperand *immediate_of(const struct insn *i, const ZydisDecodedOperand *o)
{
	for (unsigned k = 0; k < 4; k++)
		if (insn_kind(i, k) == OPK_IMM && o[k].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			return &o[k];
	return NULL;
}

static void take_layout(struct insn_layout *l, const struct insn *i, const ZydisDecodedInstruction *d,
			const ZydisDecodedOperand *o)
{
	unsigned disp = d->raw.disp.size / 8u, imm = d->raw.imm[0].size / 8u;
	const ZydisDecodedOperand *x = imm ? immediate_of(i, o) : NULL;
	bool absolute = d->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (d->opcode & 0xfc) == 0xa0;

	if (d->raw.imm[1].size || (imm && !x) || (disp && !(i->flags & INSN_MEM)) || absolute ||
	    (i->base == SLOT_CODE && !i->asize))
		return;
	*l = (struct insn_layout){
		.head = (u8)(i->len - disp - imm), .disp = (u8)disp, .imm = (u8)imm, .shift = is_shift(d) && x
	};
	if (x)
		l->kind = x->imm.is_relative ? IMM_RELATIVE : x->imm.is_signed ? IMM_SIGNED : IMM_UNSIGNED;
}

static u8 log2_bytes(unsigned bits)
{
	return bits >= 64 ? 3 : bits >= 32 ? 2 : bits >= 16 ? 1 : 0;
}

/* F3 90 is PAUSE only without REX.B; with it, XCHG of R8 and RAX, which Zydis misses. F3 there means as little as DS. */
static enum decode_status decode_xchg_r8(struct insn *i, struct insn_info *info, const u8 *bytes, unsigned n,
					 enum code_size mode, unsigned off)
{
	u8 plain[15];

	for (unsigned k = 0; k < n; k++)
		plain[k] = bytes[k] == 0xf3 ? 0x3e : bytes[k];
	return insn_decode(i, info, plain, n, mode, off);
}

enum decode_status insn_decode(struct insn *i, struct insn_info *info, const u8 *bytes, unsigned n, enum code_size mode,
			       unsigned off)
{
	return insn_decode_layout(i, info, NULL, bytes, n, mode, off);
}

enum decode_status insn_decode_layout(struct insn *i, struct insn_info *info, struct insn_layout *layout,
				      const u8 *bytes, unsigned n, enum code_size mode, unsigned off)
{
	ZydisDecodedInstruction d;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecoderContext context;

	if (layout)
		layout->head = 0;
	pthread_once(&once, set_up);
	memset(i, 0, sizeof(*i));
	i->base = i->index = SLOT_ZERO;
	i->off = (u16)off;
	i->len = (u8)n;
	ZyanStatus s = ZydisDecoderDecodeInstruction(&decoders[mode], &context, bytes, n, &d);
	if (s == ZYDIS_STATUS_NO_MORE_DATA || s == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		return DECODE_MORE;
	if (!ZYAN_SUCCESS(s))
		return DECODE_INVALID;
	if (d.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && d.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
		return DECODE_INVALID;
	if (d.mnemonic == ZYDIS_MNEMONIC_PAUSE && d.raw.rex.B)
		return decode_xchg_r8(i, info, bytes, n, mode, off);
	/* Knights Corner's VEX forms of TZCNT, LZCNT, POPCNT are nobody else's. */
	if (d.meta.isa_ext == ZYDIS_ISA_EXT_KNC || d.meta.isa_ext == ZYDIS_ISA_EXT_KNCV)
		return DECODE_INVALID;
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeOperands(&decoders[mode], &context, &d, o, d.operand_count_visible)))
		return DECODE_INVALID;

	i->op = (u16)row_of(&d, o);
	if (!i->op)
		return DECODE_INVALID;
	i->len = d.length;
	i->size = byte_size(d.operand_width);
	i->osize = log2_bytes(d.operand_width) & 3;
	i->asize = log2_bytes(d.address_width) & 3;
	i->seg = seg_override(d.attributes) & 7;
	i->flags = (d.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE) ? INSN_REP : 0) |
		   (d.attributes & ZYDIS_ATTRIB_HAS_REPNE ? INSN_REPNE : 0) |
		   (d.attributes & ZYDIS_ATTRIB_HAS_LOCK ? INSN_LOCK : 0) |
		   (d.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? INSN_VEX : 0);
	if ((op_facts[i->op].attr & (OP_END | OP_BRANCH)) || (i->flags & (INSN_REP | INSN_REPNE)))
		i->flags |= INSN_END;
	if (d.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (d.opcode & 0xf8) == 0xd8) /* x87: FOP */
		i->imm = (u64)(d.opcode & 7) << 8 | bytes[d.raw.modrm.offset];
	/* String instructions have their operands in the mnemonic. */
	bool string = d.meta.category == ZYDIS_CATEGORY_STRINGOP || d.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
	for (unsigned k = 0; k < d.operand_count_visible && k < 4 && !string; k++) {
		if (o[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
			mend_memory(&d, &o[k]);
		take_operand(i, k, &o[k]);
	}
	if (info)
		take_flags(info, i, &d);
	if (layout)
		take_layout(layout, i, &d, o);
	return DECODE_OK;
}

unsigned insn_format(char *text, size_t size, const u8 *bytes, unsigned n, enum code_size mode, u64 rip)
{
	ZydisDecodedInstruction d;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	static const ZydisFormatterStyle style = ZYDIS_FORMATTER_STYLE_INTEL;
	ZydisFormatter f;

	pthread_once(&once, set_up);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders[mode], bytes, n, &d, o)))
		return 0;
	ZydisFormatterInit(&f, style);
	if (!ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&f, &d, o, d.operand_count_visible, text, size, rip, NULL)))
		return 0;
	return d.length;
}
