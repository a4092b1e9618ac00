/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fast handlers of the vector moves that dominate compiled code: SSE loads, stores and copies of 16 bytes, and scalar ones of
 * 4 and 8. Arithmetic goes to src/emulate, where one host instruction does it.
 */
#include <emmintrin.h>

#include "emulate/vector.h"
#include "engines/interp/fast.h"

#define SSE_OR_SLOW()                                   \
	do {                                            \
		if (unlikely(!(v->simd_ok & SIMD_SSE))) \
			SLOW();                         \
	} while (0)

BODY load_16(struct vcpu *v, const struct insn *i, bool aligned, enum addr addr)
{
	u64 ea = ea_of(v, i, addr);
	u8 *p;

	SSE_OR_SLOW();
	if ((aligned && (ea & 15)) || !tlb_read(v, ea, 16, &p))
		SLOW();
	_mm_store_si128((__m128i *)&v->v[i->r[0]], _mm_loadu_si128((const __m128i *)p));
	NEXT();
}
BODY store_16(struct vcpu *v, const struct insn *i, bool aligned, enum addr addr)
{
	u64 ea = ea_of(v, i, addr);
	u8 *p;

	SSE_OR_SLOW();
	if ((aligned && (ea & 15)) || !tlb_write(v, ea, 16, &p))
		SLOW();
	_mm_storeu_si128((__m128i *)p, _mm_load_si128((const __m128i *)&v->v[i->r[1]]));
	NEXT();
}
FAST copy_16(struct vcpu *v, const struct insn *i)
{
	SSE_OR_SLOW();
	_mm_store_si128((__m128i *)&v->v[i->r[0]], _mm_load_si128((const __m128i *)&v->v[i->r[1]]));
	NEXT();
}
/* MOVSS, MOVSD, MOVQ, MOVD from memory clear the rest of the XMM register. */
BODY load_scalar(struct vcpu *v, const struct insn *i, unsigned size, enum addr addr)
{
	u8 *p;

	SSE_OR_SLOW();
	if (!tlb_read(v, ea_of(v, i, addr), size, &p))
		SLOW();
	v->v[i->r[0]].q[0] = mem_get(p, size);
	v->v[i->r[0]].q[1] = 0;
	NEXT();
}
BODY store_scalar(struct vcpu *v, const struct insn *i, unsigned size, enum addr addr)
{
	u8 *p;

	SSE_OR_SLOW();
	if (!tlb_write(v, ea_of(v, i, addr), size, &p))
		SLOW();
	mem_put(p, size, v->v[i->r[1]].q[0]);
	NEXT();
}

#define VEC(name, body, option, addr) HANDLER(name##_##addr, body(v, i, option, ADDR_##addr))
#define VEC3(name, body, option)      VEC(name, body, option, B) VEC(name, body, option, X) VEC(name, body, option, S)
VEC3(load_a, load_16, true)
VEC3(load_u, load_16, false)
VEC3(store_a, store_16, true)
VEC3(store_u, store_16, false)
VEC3(load_4, load_scalar, 4)
VEC3(load_8, load_scalar, 8)
VEC3(store_4, store_scalar, 4)
VEC3(store_8, store_scalar, 8)

#define BY_ADDR(name) ((insn_run_fn *const[]){ name##_B, name##_X, name##_S }[addr])

static insn_run_fn *select_whole(const struct insn *i, enum form form, enum addr addr, bool aligned)
{
	switch (form) {
	case FORM_RR: return copy_16;
	case FORM_RM: return aligned ? BY_ADDR(load_a) : BY_ADDR(load_u);
	case FORM_MR: return aligned ? BY_ADDR(store_a) : BY_ADDR(store_u);
	default: return NULL;
	}
}

insn_run_fn *select_vector(const struct insn *i)
{
	enum form form = form_of(i);
	enum addr addr = i->flags & INSN_MEM ? addr_of(i) : ADDR_B;

	if ((i->flags & INSN_VEX) || addr == NR_ADDR)
		return NULL;
	switch (i->op) {
	case OP_MOVAPS:
	case OP_MOVAPD:
	case OP_MOVDQA: return select_whole(i, form, addr, true);
	case OP_MOVUPS:
	case OP_MOVUPD:
	case OP_MOVDQU: return select_whole(i, form, addr, false);
	case OP_MOVSS:
	case OP_MOVD: return form == FORM_RM ? BY_ADDR(load_4) : form == FORM_MR ? BY_ADDR(store_4) : NULL;
	case OP_MOVSD:
	case OP_MOVQ: return form == FORM_RM ? BY_ADDR(load_8) : form == FORM_MR ? BY_ADDR(store_8) : NULL;
	default: return NULL;
	}
}
