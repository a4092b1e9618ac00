/* SPDX-License-Identifier: Apache-2.0 */
/* From an instruction pointer to a record: fetching with the faults that it has, and gating by the CPU model. */
#include <string.h>

#include "emulate/emulate.h"

enum decode_status code_decode(struct vcpu *v, struct insn *i, struct insn_info *info, const u8 *bytes, unsigned n,
			       unsigned off)
{
	enum decode_status s = insn_decode_like(v->shapes, i, info, bytes, n, v->code_size, off);

	if (s != DECODE_OK || cpu_has(v->model, op_facts[i->op].feature))
		return s;
	/* On CPUs without them the F3 prefix of these two is ignored (SDM vol. 2, TZCNT and LZCNT). */
	if (i->op != OP_TZCNT && i->op != OP_LZCNT)
		return DECODE_INVALID;
	i->op = i->op == OP_TZCNT ? OP_BSF : OP_BSR;
	if (info)
		info->flags_maybe = info->flags_written = FL_ARITH;
	return DECODE_OK;
}

void code_fetch(struct vcpu *v, u64 gla, u8 *bytes, unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		u64 gpa;
		const u8 *host = mmu_fetch(v, v->code_size == CODE_64 ? gla + k : (u32)(gla + k), &gpa);
		bytes[k] = host ? *host : (u8)bus_read(&v->machine->mmio, gpa, 1);
	}
}

void code_check_end(struct vcpu *v, unsigned len)
{
	u64 last = v->rip + len - 1;

	if (v->code_size == CODE_64 ? !is_canonical(last) : (u64)(u32)v->rip + len - 1 > v->seg[SEG_CS].limit)
		vcpu_raise_error(v, EXC_GP, 0);
}

/* A fault on the second page counts only if the first page's bytes are not enough. */
void code_decode_at_rip(struct vcpu *v, struct insn *i, u8 bytes[15])
{
	u64 gla = code_linear(v, v->rip);
	unsigned off = gla & ~PAGE_MASK, n = (unsigned)MIN(15, PAGE_SIZE - off);

	code_fetch(v, gla, bytes, n);
	enum decode_status s = code_decode(v, i, NULL, bytes, n, off);
	while (s == DECODE_MORE && n < 15) {
		code_check_end(v, n + 1);
		code_fetch(v, gla + n, bytes + n, 1);
		s = code_decode(v, i, NULL, bytes, ++n, off);
	}
	if (s == DECODE_MORE)
		vcpu_raise_error(v, EXC_GP, 0);
	if (s != DECODE_OK)
		vcpu_raise(v, EXC_UD);
	code_check_end(v, i->len);
}
