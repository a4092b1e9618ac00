/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shifts and rotates. The count is masked to 5 bits, or 6 for 64-bit operands; if that leaves 0 no flag changes, though the
 * destination is still written (SDM vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR). Of rotates by more than 1 the undefined OF is what CPUs
 * give: as if the last of the single-bit steps had been alone. Those of shifts are the host's.
 */
#include "emulate/hostflags.h"
#include "emulate/operand.h"

struct shift {
	unsigned count, bits;
	u64 src; /* SHLD, SHRD: what is shifted in */
	bool cf; /* RCL, RCR */
};

static struct shift shift_of(struct vcpu *v, const struct insn *i, unsigned k)
{
	unsigned count = op_read(v, i, k) & (i->size == 8 ? 63 : 31);

	return (struct shift){ .count = count, .bits = 8 * i->size };
}

static u64 do_shl(u64 x, void *arg)
{
	const struct shift *s = arg;
	return x << s->count;
}
static u64 do_shr(u64 x, void *arg)
{
	const struct shift *s = arg;
	return x >> s->count;
}
static u64 do_sar(u64 x, void *arg)
{
	const struct shift *s = arg;
	return (u64)(sign_extend(x, s->bits / 8) >> s->count);
}

/* AF is undefined; OF but for a count of 1; and CF of what is shifted out whole. */
static void shift_flags(struct vcpu *v, const struct insn *i, const struct shift *s, u64 old, u64 result, bool cf,
			bool of)
{
	u32 open = FL_AF | (s->count != 1 ? FL_OF : 0) | (s->count >= s->bits ? FL_CF : 0);
	u32 f = flags_of_result(result, s->bits / 8) | (cf ? FL_CF : 0) | (of ? FL_OF : 0);
	bool twice = i->op == OP_SHLD || i->op == OP_SHRD;

	flags_set(v, (f & ~open) | (host_flags(v, i->op, i->size, old, twice ? s->src : s->count, s->count) & open));
}

static bool bit(u64 x, unsigned n)
{
	return x >> n & 1;
}

void exec_shl(struct vcpu *v, const struct insn *i)
{
	struct shift s = shift_of(v, i, 1);
	u64 old = op_modify(v, i, false, do_shl, &s), r = old << s.count;

	if (!s.count)
		return;
	bool cf = (u128)old << s.count >> s.bits & 1;
	shift_flags(v, i, &s, old, r, cf, bit(r, s.bits - 1) != cf);
}

void exec_shr(struct vcpu *v, const struct insn *i)
{
	struct shift s = shift_of(v, i, 1);
	u64 old = op_modify(v, i, false, do_shr, &s);

	if (s.count)
		shift_flags(v, i, &s, old, old >> s.count, bit(old, s.count - 1), s.count == 1 && bit(old, s.bits - 1));
}

void exec_sar(struct vcpu *v, const struct insn *i)
{
	struct shift s = shift_of(v, i, 1);
	s64 old = sign_extend(op_modify(v, i, false, do_sar, &s), i->size);

	if (s.count)
		shift_flags(v, i, &s, (u64)old, (u64)(old >> s.count), old >> (s.count - 1) & 1, false);
}

/* ---- rotates: CF and OF only ---- */
static void rotate_flags(struct vcpu *v, bool cf, bool of)
{
	flags_set(v, (flags_get(v) & ~(FL_CF | FL_OF)) | (cf ? FL_CF : 0) | (of ? FL_OF : 0));
}

/* x of `bits` bits (up to 65) turned left by n < bits. */
static u128 turn(u128 x, unsigned n, unsigned bits)
{
	return (x << n | x >> (bits - n)) & (((u128)1 << bits) - 1);
}

static u64 do_rol(u64 x, void *arg)
{
	const struct shift *s = arg;
	return (u64)turn(x, s->count % s->bits, s->bits);
}
static u64 do_ror(u64 x, void *arg)
{
	const struct shift *s = arg;
	return (u64)turn(x, -s->count % s->bits, s->bits);
}

void exec_rol(struct vcpu *v, const struct insn *i)
{
	struct shift s = shift_of(v, i, 1);
	u64 r = do_rol(op_modify(v, i, false, do_rol, &s), &s);

	if (s.count)
		rotate_flags(v, bit(r, 0), bit(r, s.bits - 1) != bit(r, 0));
}

void exec_ror(struct vcpu *v, const struct insn *i)
{
	struct shift s = shift_of(v, i, 1);
	u64 r = do_ror(op_modify(v, i, false, do_ror, &s), &s);

	if (s.count)
		rotate_flags(v, bit(r, s.bits - 1), bit(r, s.bits - 1) != bit(r, s.bits - 2));
}

/* Through the carry: the operand with CF above it, turned as one of bits + 1. */
static u128 carry_rotate(u64 x, const struct shift *s)
{
	return turn((u128)s->cf << s->bits | x, s->count, s->bits + 1);
}
static u64 do_carry_rotate(u64 x, void *arg)
{
	return (u64)carry_rotate(x, arg);
}

static void rotate_through_carry(struct vcpu *v, const struct insn *i, bool right)
{
	struct shift s = shift_of(v, i, 1);
	unsigned count = s.count, n = count % (s.bits + 1);

	s.count = right && n ? s.bits + 1 - n : n;
	s.cf = flags_cf(v);
	u128 r = carry_rotate(op_modify(v, i, false, do_carry_rotate, &s), &s);
	if (!count)
		return;
	bool cf = r >> s.bits & 1, top = bit((u64)r, s.bits - 1);
	rotate_flags(v, cf, top != (right ? bit((u64)r, s.bits - 2) : cf));
}

void exec_rcl(struct vcpu *v, const struct insn *i)
{
	rotate_through_carry(v, i, false);
}

void exec_rcr(struct vcpu *v, const struct insn *i)
{
	rotate_through_carry(v, i, true);
}

/*
 * SHLD and SHRD shift the destination beside the source; a 16-bit one by more than 16 is undefined, and gets the destination's
 * own bits after the source's: three operands side by side.
 */
static u128 beside(u64 dst, const struct shift *s)
{
	return s->bits == 64 ? (u128)dst << 64 | s->src : ((u128)dst << s->bits | s->src) << s->bits | dst;
}
static u64 do_shld(u64 x, void *arg)
{
	const struct shift *s = arg;
	return (u64)(beside(x, s) << s->count >> (s->bits == 64 ? 64 : 2 * s->bits));
}
static u64 do_shrd(u64 x, void *arg)
{
	const struct shift *s = arg;
	if (s->bits == 64)
		return (u64)(((u128)s->src << 64 | x) >> s->count);
	return (u64)(beside(x, s) >> s->count);
}

void exec_shld(struct vcpu *v, const struct insn *i)
{
	struct shift s = shift_of(v, i, 2);

	s.src = op_read(v, i, 1);
	u64 old = op_modify(v, i, false, do_shld, &s), r = do_shld(old, &s);
	if (!s.count)
		return;
	struct shift before = { s.count - 1, s.bits, s.src, false };
	bool cf = bit(do_shld(old, &before), s.bits - 1);
	shift_flags(v, i, &s, old, r, cf, bit(r, s.bits - 1) != cf);
}

void exec_shrd(struct vcpu *v, const struct insn *i)
{
	struct shift s = shift_of(v, i, 2);

	s.src = op_read(v, i, 1);
	u64 old = op_modify(v, i, false, do_shrd, &s), r = do_shrd(old, &s);
	if (!s.count)
		return;
	struct shift before = { s.count - 1, s.bits, s.src, false };
	shift_flags(v, i, &s, old, r, bit(do_shrd(old, &before), 0), bit(r, s.bits - 1) != bit(r, s.bits - 2));
}

/* ---- BMI2: no flags ---- */
void exec_shlx(struct vcpu *v, const struct insn *i)
{
	struct shift s = shift_of(v, i, 2);

	op_write(v, i, 0, do_shl(op_read(v, i, 1), &s));
}

void exec_shrx(struct vcpu *v, const struct insn *i)
{
	struct shift s = shift_of(v, i, 2);

	op_write(v, i, 0, do_shr(op_read(v, i, 1), &s));
}

void exec_sarx(struct vcpu *v, const struct insn *i)
{
	struct shift s = shift_of(v, i, 2);

	op_write(v, i, 0, do_sar(op_read(v, i, 1), &s));
}

void exec_rorx(struct vcpu *v, const struct insn *i)
{
	struct shift s = shift_of(v, i, 2);

	op_write(v, i, 0, do_ror(op_read(v, i, 1), &s));
}
