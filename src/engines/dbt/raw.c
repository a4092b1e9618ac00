/* SPDX-License-Identifier: Apache-2.0 */
/* Taking encodings apart and putting them together again. See raw.h. */
#include "engines/dbt/raw.h"

/* Opcodes of the one-byte map that have a ModRM byte. */
static bool modrm_one_byte(u8 op)
{
	if (op < 0x40)
		return (op & 7) < 4;
	if (op >= 0x80 && op <= 0x8f)
		return true;
	switch (op) {
	case 0x62:
	case 0x63:
	case 0x69:
	case 0x6b:
	case 0xc0:
	case 0xc1:
	case 0xc6:
	case 0xc7:
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
	case 0xf6:
	case 0xf7:
	case 0xfe:
	case 0xff: return true;
	default: return op >= 0xd8 && op <= 0xdf;
	}
}

static bool modrm_0f(u8 op)
{
	if ((op >= 0x80 && op <= 0x8f) || (op >= 0xc8 && op <= 0xcf) || (op >= 0x30 && op <= 0x37))
		return false;
	switch (op) {
	case 0x05:
	case 0x06:
	case 0x07:
	case 0x08:
	case 0x09:
	case 0x0b:
	case 0x77:
	case 0xa0:
	case 0xa1:
	case 0xa2:
	case 0xa8:
	case 0xa9:
	case 0xaa: return false;
	default: return true;
	}
}

/* 32-bit code has no register above 7 to name: bits that could do so have the value that says no (SDM vol. 2, 2.3.5 and 2.3.6). */
static void only_eight(struct raw *r)
{
	r->v[1] |= r->vex == 2 ? 0x80 : 0xe0;
	r->v[r->vex - 1] |= 0x40;
}

static unsigned skip_vex(struct raw *r, unsigned k)
{
	r->vex = r->bytes[k] == 0xc5 ? 2 : 3;
	memcpy(r->v, r->bytes + k, r->vex);
	r->map = r->vex == 2 ? 1 : r->v[1] & 0x1f;
	return k + r->vex;
}

static unsigned skip_escape(struct raw *r, unsigned k)
{
	if (r->bytes[k] != 0x0f)
		return k;
	r->map = 1;
	if (r->bytes[k + 1] == 0x38 || r->bytes[k + 1] == 0x3a) {
		r->map = r->bytes[k + 1] == 0x38 ? 2 : 3;
		k++;
	}
	return k + 1;
}

static unsigned skip_prefixes(struct raw *r, bool wide)
{
	for (unsigned k = 0;; k++) {
		switch (r->bytes[k]) {
		case 0x66: r->p66 = true; break;
		case 0x67: r->a67 = true; break;
		case 0xf0: r->lock = true; break;
		case 0xf2:
			r->pf2 = true;
			r->pf3 = false;
			break;
		case 0xf3:
			r->pf3 = true;
			r->pf2 = false;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65: break;
		default:
			if (!wide || (r->bytes[k] & 0xf0) != 0x40)
				return k;
			r->rex = r->bytes[k];
			continue;
		}
		r->rex = 0; /* a REX prefix counts only right before the opcode */
	}
}

/* One-byte opcodes that 64-bit code lacks: INC and DEC of a register, and the twin of group 1's byte form. */
static void translate_opcode(struct raw *r)
{
	if (r->map || r->vex)
		return;
	if ((r->opcode & 0xf0) == 0x40) {
		r->modrm = 0xc0 | (r->opcode & 15);
		r->opcode = 0xff;
		r->has_modrm = true;
	} else if (r->opcode == 0x82) {
		r->opcode = 0x80;
	}
}

void raw_parse(struct raw *r, const u8 *bytes, unsigned len, bool wide)
{
	*r = (struct raw){ .bytes = bytes, .len = (u8)len };
	unsigned k = skip_prefixes(r, wide);

	if (bytes[k] == 0xc4 || bytes[k] == 0xc5)
		k = skip_vex(r, k);
	else
		k = skip_escape(r, k);
	r->opcode = bytes[k++];
	r->has_modrm = r->map >= 2 || (r->vex	? r->opcode != 0x77
				       : r->map ? modrm_0f(r->opcode)
						: modrm_one_byte(r->opcode));
	if (r->has_modrm) {
		r->modrm = bytes[k++];
		unsigned mod = r->modrm >> 6, rm = r->modrm & 7, disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;
		if (mod != 3 && rm == 4) {
			if (mod == 0 && (bytes[k] & 7) == 5)
				disp = 4;
			k++;
		} else if (mod == 0 && rm == 5) {
			disp = 4;
		}
		k += disp;
	}
	r->imm_at = (u8)k;
	if (!wide)
		translate_opcode(r);
	if (!wide && r->vex)
		only_eight(r);
}

static unsigned high(unsigned reg)
{
	return reg != NO_REG && reg & 8 ? 1 : 0;
}

static void emit_legacy(struct emit *e, const struct raw *r, unsigned reg, const struct mem *m)
{
	if (r->lock)
		e8(e, 0xf0);
	if (r->p66)
		e8(e, 0x66);
	if (r->pf2 || r->pf3)
		e8(e, r->pf2 ? 0xf2 : 0xf3);
	unsigned rex = (r->rex & 8) | (reg >> 3) << 2 | high(m->index) << 1 | high(m->base);
	if (rex || r->rex)
		e8(e, 0x40 | rex);
	if (r->map)
		e8(e, 0x0f);
	if (r->map >= 2)
		e8(e, r->map == 2 ? 0x38 : 0x3a);
}

static void emit_vex(struct emit *e, const struct raw *r, unsigned reg, const struct mem *m)
{
	u8 last = r->v[r->vex - 1];

	e8(e, 0xc4);
	e8(e, (reg & 8 ? 0 : 0x80) | (high(m->index) ? 0 : 0x40) | (high(m->base) ? 0 : 0x20) | r->map);
	e8(e, r->vex == 2 ? last & 0x7f : last);
}

void raw_emit_mem(struct emit *e, const struct raw *r, unsigned reg, struct mem m)
{
	if (m.gs)
		e8(e, 0x65);
	if (r->vex)
		emit_vex(e, r, reg, &m);
	else
		emit_legacy(e, r, reg, &m);
	e8(e, r->opcode);
	e_modrm_mem(e, reg, &m);
	for (unsigned k = r->imm_at; k < r->len; k++)
		e8(e, r->bytes[k]);
}

void raw_emit_plain(struct emit *e, const struct raw *r)
{
	struct mem none = { .base = NO_REG, .index = NO_REG };

	if (r->vex)
		emit_vex(e, r, 0, &none);
	else
		emit_legacy(e, r, 0, &none);
	e8(e, r->opcode);
	if (r->has_modrm)
		e8(e, r->modrm);
	for (unsigned k = r->imm_at; k < r->len; k++)
		e8(e, r->bytes[k]);
}
