/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manuals leave open. Zydis knows which flags an instruction may leave undefined; here is on which operands it
 * does, and which results are a CPU's own business, each with the place that says so.
 */
#include <Zydis/Zydis.h>
#include <string.h>

#include "emulate/emulate.h"
#include "guest.h"

static bool named(const struct insn *i, const char *const *names)
{
	for (; *names; names++)
		if (!strcmp(op_facts[i->op].name, *names))
			return true;
	return false;
}

static unsigned count_of(const struct vcpu *v, const struct insn *i)
{
	unsigned k = insn_kind(i, 2) ? 2 : 1; /* SHLD, SHRD: the third */
	u64 c = insn_kind(i, k) == OPK_REG ? v->r[RCX] : insn_kind(i, k) == OPK_IMM ? i->imm : 1;

	return (unsigned)c & (i->size == 8 ? 63 : 31);
}

/* Shifts: OF is defined for a count of one, all flags stay for zero, CF is undefined past the operand (SDM vol. 2, SAL/SAR/SHL/SHR). */
static void shift_flags(struct meaning *m, const struct vcpu *v, const struct insn *i)
{
	static const char *const doubles[] = { "SHLD", "SHRD", NULL }, *const rotates[] = { "ROL", "ROR", "RCL", "RCR",
											    NULL };
	unsigned count = count_of(v, i), bits = 8u * i->size;

	if (count == 0) {
		m->undefined = m->written = 0;
		return;
	}
	m->undefined = count == 1 ? 0 : FL_OF;
	if (named(i, rotates))
		return;
	m->undefined |= FL_AF;
	if (count >= bits && strcmp(op_facts[i->op].name, "SAR"))
		m->undefined |= FL_CF;
	if (named(i, doubles) && count > bits) {
		/* The result is undefined as well. */
		m->undefined = FL_ARITH;
		m->loose |= LOOSE_RESULT;
	}
}

static void loosen(struct meaning *m, const struct insn *i)
{
	static const char *const rcp[] = { "RCPPS",  "RCPSS",	 "RSQRTPS",  "RSQRTSS", "VRCPPS",
					   "VRCPSS", "VRSQRTPS", "VRSQRTSS", NULL };
	/* AMD and Intel round transcendentals differently in the last place (SDM vol. 1, 8.3.10). */
	static const char *const x87[] = { "FSIN",  "FCOS",  "FSINCOS", "FPTAN", "FPATAN",
					   "F2XM1", "FYL2X", "FYL2XP1", NULL };
	/* FCOMI clears C1 by Intel's manual, AMD's keeps it. */
	static const char *const comi[] = { "FCOMI", "FCOMIP", "FUCOMI", "FUCOMIP", NULL };
	/* With a zero source Intel's and AMD's manuals differ on the destination of BSF and BSR, and neither binds upper halves.
	 * A CMPXCHG that fails writes its destination back: whether that clears a 32-bit register's upper half is open.
	 */
	static const char *const halves[] = { "BSF", "BSR", "CMPXCHG", NULL };

	/* Faults at masked-out bytes are up to the CPU (SDM vol. 2, MASKMOVDQU). */
	static const char *const masked[] = { "MASKMOVQ", "MASKMOVDQU", "VMASKMOVDQU", NULL };

	if (named(i, masked))
		m->loose |= LOOSE_MASKED | LOOSE_STRUCT;
	/* From memory AMD's leaves x87 alone, Intel's enters MMX. */
	if (i->op == OP_CVTPI2PS && (i->flags & INSN_MEM))
		m->loose |= LOOSE_X87;
	/* Not aligned and not canonical at once: either fault. */
	if ((i->flags & INSN_MEM) && (i->msize == 16 || i->msize == 32))
		m->loose |= LOOSE_ORDER;
	/* A dot product stops at the step whose exception is unmasked; which steps there are, is open. */
	if (!strcmp(op_facts[i->op].name + (op_facts[i->op].name[0] == 'V'), "DPPS") ||
	    !strcmp(op_facts[i->op].name + (op_facts[i->op].name[0] == 'V'), "DPPD"))
		m->loose |= LOOSE_TRAPPED;
	/* Flags, or the unmasked exception itself, before or after the store's alignment check. */
	if (!strcmp(op_facts[i->op].name, "VCVTPS2PH") || !strncmp(op_facts[i->op].name, "FIST", 4))
		m->loose |= LOOSE_TRAPPED;
	/* Of two operands that both fault, CPUs read either first. */
	if (op_exec[i->op] == exec_cmps)
		m->loose |= LOOSE_STRUCT | LOOSE_ORDER;
	/* ENTER's and CALL's accesses and checks come in an order of the CPU's. */
	if (i->op == OP_ENTER || i->op == OP_CALL)
		m->loose |= LOOSE_STRUCT | LOOSE_ORDER;
	if (named(i, rcp))
		m->loose |= LOOSE_RCP;
	else if (named(i, x87))
		m->loose |= LOOSE_X87_ULP;
	else if (named(i, halves) && i->size == 4)
		m->loose |= LOOSE_UPPER;
	else if (named(i, comi))
		m->loose |= LOOSE_C1;
	else if (op_facts[i->op].attr & OP_NEEDNT)
		m->loose |= LOOSE_RESULT;
}

void insn_meaning(struct meaning *m, const struct vcpu *v, const struct insn *i, const u8 *bytes, u32 rflags)
{
	ZydisDecoder z;
	ZydisDecodedInstruction d;

	memset(m, 0, sizeof(*m));
	if (v->code_size == CODE_64)
		ZydisDecoderInit(&z, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else
		ZydisDecoderInit(&z, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&z, NULL, bytes, i->len, &d)))
		return;
	if (d.cpu_flags) {
		m->read = d.cpu_flags->tested & FL_ARITH;
		m->undefined = d.cpu_flags->undefined & FL_ARITH;
		m->written = (d.cpu_flags->modified | d.cpu_flags->set_0 | d.cpu_flags->set_1) & FL_ARITH;
		m->written |= m->undefined;
	}
	/* BMI2's shifts touch no flags and have no count of zero to mind. */
	if ((d.meta.category == ZYDIS_CATEGORY_SHIFT || d.meta.category == ZYDIS_CATEGORY_ROTATE) && m->written)
		shift_flags(m, v, i);
	/* A repeated compare of length zero compares nothing. */
	if (d.meta.category == ZYDIS_CATEGORY_STRINGOP && (i->flags & (INSN_REP | INSN_REPNE)))
		m->written = 0;
	loosen(m, i);
}
