/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodings decoded before. What stands in front of an instruction's displacement and immediate, its head, says all about it but
 * their values. Programs write the same few thousand heads again and again: their records are kept, and the values put in.
 */
#include <stdlib.h>
#include <string.h>

#include "x86/bits.h"
#include "x86/insn.h"

#define SHAPE_BITS 13
#define HEAD_MAX   8

struct shape {
	u64 head; /* its bytes; no head is the beginning of another one */
	struct insn_layout layout; /* layout.head 0: none */
	u8 mode; /* enum code_size */
	u16 flags_read, flags_written, flags_undefined, flags_maybe;
	struct insn insn;
};
_Static_assert(sizeof(struct shape) == 64, "one line of the cache");

struct insn_shapes {
	struct shape shape[1u << SHAPE_BITS];
};

struct insn_shapes *insn_shapes_create(void)
{
	struct insn_shapes *s = aligned_alloc(64, sizeof(*s));

	if (s)
		memset(s, 0, sizeof(*s));
	return s;
}

/* ---- where the head ends ---- */

/* Whether opcodes have a ModRM byte, a bit each: of the one-byte map and of 0F (SDM vol. 2, appendix A). */
static const u32 modrm_one[8] = { 0x0f0f0f0f, 0x0f0f0f0f, 0x00000000, 0x00000a0c,
				  0x0000ffff, 0x00000000, 0xff0f00f3, 0xc0c00000 };
static const u32 modrm_0f[8] = { 0xfffff41f, 0xff00ffff, 0xffffffff, 0xff7fffff,
				 0xffff0000, 0xfffff8f8, 0xffff00ff, 0xffffffff };

static bool has_bit(const u32 set[8], u8 op)
{
	return set[op >> 5] >> (op & 31) & 1;
}

static bool is_prefix(u8 b)
{
	return b == 0x66 || (b & 0xfe) == 0xf2 || b == 0xf0 || (b & 0xe7) == 0x26 || (b & 0xfe) == 0x64;
}

/* Bytes of ModRM and SIB, and of the displacement that they ask for; addresses have 4 bytes or 8. */
static unsigned modrm_len(const u8 *p, unsigned *disp)
{
	unsigned mod = p[0] >> 6, rm = p[0] & 7;

	*disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	if (mod == 3)
		return 1;
	if (mod == 0 && (rm == 5 || (rm == 4 && (p[1] & 7) == 5)))
		*disp = 4;
	return rm == 4 ? 2 : 1;
}

/* The head's length, or 0: not of a kind that is kept. What encodings mean is not looked at: that the decoder finds the same length, once, is
 * what makes a head right. */
static unsigned head_len(const u8 *bytes, enum code_size mode, unsigned *disp)
{
	const u32 *modrm = modrm_one;
	unsigned k = 0;

	while (k < 4 && is_prefix(bytes[k]))
		k++;
	if (mode == CODE_64 && (bytes[k] & 0xf0) == 0x40)
		k++;
	u8 op = bytes[k++];
	bool vex = (op & 0xfe) == 0xc4 && (mode == CODE_64 || bytes[k] >= 0xc0);
	if (vex) {
		modrm = op == 0xc5 || (bytes[k] & 0x1f) == 1 ? modrm_0f : NULL;
		k += op == 0xc5 ? 1 : 2;
		op = bytes[k++];
	} else if (op == 0x0f) {
		op = bytes[k++];
		modrm = modrm_0f;
		if (op == 0x38 || op == 0x3a) {
			op = bytes[k++];
			modrm = NULL;
		}
	}
	*disp = 0;
	if (!modrm || has_bit(modrm, op))
		k += modrm_len(bytes + k, disp);
	return k <= HEAD_MAX ? k : 0;
}

/* ---- records ---- */

static s64 load_signed(const u8 *p, unsigned n)
{
	switch (n) {
	case 1: return *(const s8 *)p;
	case 2: return (s16) * (const u16_una *)p;
	case 4: return (s32) * (const u32_una *)p;
	default: return (s64) * (const u64_una *)p;
	}
}

static u64 load_unsigned(const u8 *p, unsigned n)
{
	u64 x = (u64)load_signed(p, n);

	return n == 8 ? x : x & (BIT(8 * n) - 1);
}

/* False: it does not fit a record made of another one. */
static bool put_values(const struct shape *s, struct insn *i, const u8 *bytes, unsigned off)
{
	const struct insn_layout *l = &s->layout;
	const u8 *p = bytes + l->head;

	i->off = (u16)off;
	if (l->disp) {
		s64 disp = load_signed(p, l->disp);
		if (i->base == SLOT_CODE)
			disp += off + i->len;
		if (disp != (s32)disp)
			return false;
		i->disp = (s32)disp;
		p += l->disp;
	}
	switch (l->kind) {
	case IMM_SIGNED: i->imm = (u64)load_signed(p, l->imm); break;
	case IMM_UNSIGNED: i->imm = load_unsigned(p, l->imm); break;
	case IMM_RELATIVE: i->disp = (s32)load_signed(p, l->imm); break;
	default: break;
	}
	return true;
}

static void put_info(const struct shape *s, const struct insn *i, struct insn_info *info)
{
	info->flags_read = s->flags_read;
	info->flags_written = s->flags_written;
	info->flags_undefined = s->flags_undefined;
	info->flags_maybe = s->layout.shift ? (i->imm & 31 ? 0 : s->flags_written) : s->flags_maybe;
}

/* A record of which the values are put in again has to be what it was. */
static void keep(struct shape *s, u64 head, const struct insn_layout *l, enum code_size mode, const struct insn *i,
		 const struct insn_info *info, const u8 *bytes, unsigned off)
{
	struct insn same = *i;

	*s = (struct shape){ .head = head,
			     .layout = *l,
			     .mode = (u8)mode,
			     .flags_read = (u16)info->flags_read,
			     .flags_written = (u16)info->flags_written,
			     .flags_undefined = (u16)info->flags_undefined,
			     .flags_maybe = (u16)info->flags_maybe,
			     .insn = *i };
	if (!put_values(s, &same, bytes, off) || memcmp(&same, i, sizeof(same)) != 0)
		s->layout.head = 0;
}

enum decode_status insn_decode_like(struct insn_shapes *known, struct insn *i, struct insn_info *info, const u8 *bytes,
				    unsigned n, enum code_size mode, unsigned off)
{
	struct insn_info found;
	struct insn_layout l;
	unsigned disp, len;

	if (!known || mode == CODE_16 || n < 15)
		return insn_decode(i, info, bytes, n, mode, off);
	len = head_len(bytes, mode, &disp);
	if (!len)
		return insn_decode(i, info, bytes, n, mode, off);
	u64 head = *(const u64_una *)bytes & (~0ull >> (64 - 8 * len));
	struct shape *s = &known->shape[head * 0x9e3779b97f4a7c15ull >> (64 - SHAPE_BITS)];
	if (s->layout.head == len && s->head == head && s->mode == mode && s->insn.len <= n) {
		*i = s->insn;
		if (put_values(s, i, bytes, off)) {
			if (info)
				put_info(s, i, info);
			return DECODE_OK;
		}
	}
	enum decode_status r = insn_decode_layout(i, &found, &l, bytes, n, mode, off);
	if (r != DECODE_OK)
		return r;
	if (l.head == len && l.disp == disp)
		keep(s, head, &l, mode, i, &found, bytes, off);
	if (info)
		*info = found;
	return r;
}
