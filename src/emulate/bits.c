/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bit tests, scans and counts, BMI1, BMI2, ADX and CRC32. Flags that the manuals leave undefined are kept by bit
 * tests, as CPUs do; elsewhere they are the host's.
 */
#include "emulate/hostflags.h"
#include "emulate/operand.h"

/* ---- BT, BTS, BTR, BTC: CF is the bit; the other flags stay ---- */
struct bit_place {
	u64 ea; /* memory */
	u64 mask;
	u16 op;
};

/* With a register for the offset a memory operand is a bit string around the address (SDM vol. 2, BT). */
static struct bit_place bit_place(struct vcpu *v, const struct insn *i)
{
	unsigned bits = 8 * i->size;
	u64 offset = op_read(v, i, 1);
	struct bit_place p = { .mask = 1ull << (offset % bits), .op = i->op };

	if (insn_kind(i, 0) != OPK_MEM)
		return p;
	p.ea = op_ea(v, i);
	if (insn_kind(i, 1) == OPK_REG)
		p.ea += (u64)(sign_extend(offset, i->size) >> __builtin_ctz(bits)) * i->size;
	p.ea &= mask_size(asize_bytes(i));
	return p;
}

static void set_cf(struct vcpu *v, bool cf)
{
	flags_set(v, (flags_get(v) & ~FL_CF) | (cf ? FL_CF : 0));
}

void exec_bt(struct vcpu *v, const struct insn *i)
{
	struct bit_place p = bit_place(v, i);
	u64 x;

	if (insn_kind(i, 0) == OPK_MEM)
		x = mmu_load(v, segment_linear(v, i->seg, p.ea, i->size, SEG_READ), i->size, MMU_EXPLICIT);
	else
		x = op_read(v, i, 0);
	set_cf(v, x & p.mask);
}

static u64 do_bit(u64 x, void *arg)
{
	const struct bit_place *p = arg;
	return p->op == OP_BTS ? x | p->mask : p->op == OP_BTR ? x & ~p->mask : x ^ p->mask;
}

void exec_bt_modify(struct vcpu *v, const struct insn *i)
{
	struct bit_place p = bit_place(v, i);
	u64 old;

	if (insn_kind(i, 0) == OPK_MEM)
		old = mem_modify(v, i->seg, p.ea, i->size, i->flags & INSN_LOCK, do_bit, &p);
	else
		old = op_modify(v, i, false, do_bit, &p);
	set_cf(v, old & p.mask);
}

/* ---- scans and counts ---- */
/* A source of zero leaves the destination as it was (documented by AMD, done by Intel). */
static void scan(struct vcpu *v, const struct insn *i, bool reverse)
{
	u64 x = op_read(v, i, 1);

	if (x)
		op_write(v, i, 0, reverse ? 63 - __builtin_clzll(x) : __builtin_ctzll(x));
	flags_set(v, (host_flags(v, reverse ? OP_BSR : OP_BSF, i->size, x, 0, 0) & ~FL_ZF) | (x ? 0 : FL_ZF));
}

void exec_bsf(struct vcpu *v, const struct insn *i)
{
	scan(v, i, false);
}

void exec_bsr(struct vcpu *v, const struct insn *i)
{
	scan(v, i, true);
}

/* CF: the source was zero; ZF: the count is. */
static void count_zeros(struct vcpu *v, const struct insn *i, u64 x, u64 count)
{
	op_write(v, i, 0, count);
	u32 open = host_flags(v, i->op, i->size, x, 0, 0) & ~(FL_CF | FL_ZF);
	flags_set(v, open | (x ? 0 : FL_CF) | (count ? 0 : FL_ZF));
}

/* F3 in front of BSF and BSR is ignored by CPUs that lack these. */
void exec_tzcnt(struct vcpu *v, const struct insn *i)
{
	if (!cpu_can(v, FEAT_BMI1)) {
		scan(v, i, false);
		return;
	}
	u64 x = op_read(v, i, 1);
	count_zeros(v, i, x, x ? __builtin_ctzll(x) : 8 * i->size);
}

void exec_lzcnt(struct vcpu *v, const struct insn *i)
{
	if (!cpu_can(v, FEAT_LZCNT)) {
		scan(v, i, true);
		return;
	}
	u64 x = op_read(v, i, 1);
	count_zeros(v, i, x, x ? __builtin_clzll(x) - (64 - 8 * i->size) : 8 * i->size);
}

void exec_popcnt(struct vcpu *v, const struct insn *i)
{
	u64 x = op_read(v, i, 1);

	op_write(v, i, 0, __builtin_popcountll(x));
	flags_set(v, x ? 0 : FL_ZF);
}

/* ---- BMI1, BMI2 ---- */
/* Of a, or of a and b. */
static void bmi_result(struct vcpu *v, const struct insn *i, u64 r, bool cf, u64 a, u64 b)
{
	u32 open = host_flags(v, i->op, i->size, a, b, 0) & (FL_AF | FL_PF);

	r &= mask_size(i->size);
	op_write(v, i, 0, r);
	flags_set(v, (flags_of_result(r, i->size) & (FL_ZF | FL_SF)) | (cf ? FL_CF : 0) | open);
}

void exec_andn(struct vcpu *v, const struct insn *i)
{
	u64 a = op_read(v, i, 1), b = op_read(v, i, 2);

	bmi_result(v, i, ~a & b, false, a, b);
}

void exec_blsi(struct vcpu *v, const struct insn *i)
{
	u64 x = op_read(v, i, 1);

	bmi_result(v, i, x & -x, x != 0, x, 0);
}

void exec_blsmsk(struct vcpu *v, const struct insn *i)
{
	u64 x = op_read(v, i, 1);

	bmi_result(v, i, x ^ (x - 1), x == 0, x, 0);
}

void exec_blsr(struct vcpu *v, const struct insn *i)
{
	u64 x = op_read(v, i, 1);

	bmi_result(v, i, x & (x - 1), x == 0, x, 0);
}

static u64 low_bits(unsigned n)
{
	return n >= 64 ? ~0ull : (1ull << n) - 1;
}

/* The control's byte 0 is the first bit, byte 1 the length. */
void exec_bextr(struct vcpu *v, const struct insn *i)
{
	u64 x = op_read(v, i, 1), control = op_read(v, i, 2);
	unsigned start = (u8)control, length = (u8)(control >> 8);
	u64 r = start < 64 ? x >> start & low_bits(length) : 0;

	u32 open = host_flags(v, i->op, i->size, x, control, 0) & (FL_AF | FL_SF | FL_PF);
	op_write(v, i, 0, r);
	flags_set(v, open | (r ? 0 : FL_ZF));
}

void exec_bzhi(struct vcpu *v, const struct insn *i)
{
	u64 x = op_read(v, i, 1), index = op_read(v, i, 2);
	unsigned n = (u8)index;

	bmi_result(v, i, x & low_bits(n), n >= 8u * i->size, x, index);
}

void exec_pdep(struct vcpu *v, const struct insn *i)
{
	u64 x = op_read(v, i, 1), r = 0;

	for (u64 m = op_read(v, i, 2); m; m &= m - 1, x >>= 1)
		r |= x & 1 ? m & -m : 0;
	op_write(v, i, 0, r);
}

void exec_pext(struct vcpu *v, const struct insn *i)
{
	u64 x = op_read(v, i, 1), r = 0;
	unsigned n = 0;

	for (u64 m = op_read(v, i, 2); m; m &= m - 1)
		r |= (x >> __builtin_ctzll(m) & 1) << n++;
	op_write(v, i, 0, r);
}

/* ---- ADX: a carry chain in CF alone, and one in OF alone ---- */
static void add_with(struct vcpu *v, const struct insn *i, u32 flag)
{
	u32 f = flags_get(v);
	u128 sum = (u128)op_read(v, i, 0) + op_read(v, i, 1) + (f & flag ? 1 : 0);

	op_write(v, i, 0, (u64)sum);
	flags_set(v, (f & ~flag) | (sum >> (8 * i->size) ? flag : 0));
}

void exec_adcx(struct vcpu *v, const struct insn *i)
{
	add_with(v, i, FL_CF);
}

void exec_adox(struct vcpu *v, const struct insn *i)
{
	add_with(v, i, FL_OF);
}

/* CRC-32C, reflected polynomial 82F63B78h, four bits a step: the table is the CRC of each nibble. */
void exec_crc32(struct vcpu *v, const struct insn *i)
{
	static const u32 nibble[16] = { 0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
					0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
					0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75 };
	u64 data = op_read(v, i, 1);
	u32 crc = (u32)reg_read(v, i->r[0], 4);

	for (unsigned n = 2 * i->size2; n > 0; n--, data >>= 4)
		crc = crc >> 4 ^ nibble[(crc ^ data) & 15];
	reg_write(v, i->r[0], 4, crc);
}
