/* SPDX-License-Identifier: Apache-2.0 */
/* An assembler for random forms: it knows prefixes, REX and VEX, and leaves the lengths of displacement and immediate to the decoder. */
#include <string.h>

#include "encode.h"
#include "x86/ops.h"

static const u8 prefix_byte[4] = { 0, 0x66, 0xf3, 0xf2 };

/* What random bits a form gets beside its own. */
struct extra {
	u8 segment, lock; /* prefix bytes or 0 */
	bool asize;
	u8 rex; /* 40..4f or 0: R, X, B bits also go to VEX */
	u8 vvvv; /* as in the register's number */
	bool vex2; /* the two-byte VEX where it can say the same */
};

static unsigned put_vex(const struct form *f, const struct extra *x, u8 *p)
{
	u8 low = (u8)((~x->vvvv & 15) << 3 | (f->vex == 2) << 2 | f->prefix);
	u8 inverted = (u8)~x->rex;

	/* VEX's pp: 1 is 66, 2 F3, 3 F2 (SDM vol. 2, 2.3.5). */
	if (x->vex2 && f->map == 1 && !f->w && !(x->rex & 3)) {
		p[0] = 0xc5;
		p[1] = (u8)((inverted & 4) << 5 | low);
		return 2;
	}
	p[0] = 0xc4;
	p[1] = (u8)((inverted & 7) << 5 | f->map);
	p[2] = (u8)(f->w << 7 | low);
	return 3;
}

static unsigned put_opcode(const struct form *f, const struct extra *x, u8 *p)
{
	static const u8 escapes[4] = { 0, 0, 0x38, 0x3a };
	unsigned n = 0;

	if (x->segment)
		p[n++] = x->segment;
	if (x->asize || f->asize)
		p[n++] = 0x67;
	if (x->lock)
		p[n++] = x->lock;
	if (f->vex) {
		n += put_vex(f, x, p + n);
	} else {
		if (f->prefix)
			p[n++] = prefix_byte[f->prefix];
		if (x->rex || f->w)
			p[n++] = (u8)(0x40 | f->w << 3 | (x->rex & 7));
		if (f->map)
			p[n++] = 0x0f;
		if (f->map > 1)
			p[n++] = escapes[f->map];
	}
	p[n++] = f->opcode;
	return n;
}

unsigned encode_form(const struct form *f, u8 *bytes)
{
	/* Gathers want three registers that differ: the destination is ModRM's, the index 0. */
	bool gather = f->vex && f->map == 2 && (f->opcode & 0xfc) == 0x90;
	const struct extra plain = { .vvvv = gather ? 1 : 0 };
	unsigned n = put_opcode(f, &plain, bytes);

	bytes[n++] = f->modrm;
	return n;
}

bool encode_is_escape(unsigned map, unsigned opcode)
{
	static const u8 prefixes[] = { 0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x62, 0x64, 0x65,
				       0x66, 0x67, 0xc4, 0xc5, 0xf0, 0xf2, 0xf3 };

	if (map == 1)
		return opcode == 0x38 || opcode == 0x3a;
	return map == 0 && ((opcode & 0xf0) == 0x40 || memchr(prefixes, (int)opcode, sizeof(prefixes)));
}

static ZydisDecoder *decoder(void)
{
	static ZydisDecoder z;
	static bool ready;

	if (!ready) {
		ZydisDecoderInit(&z, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
		ZydisDecoderEnableMode(&z, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&z, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		ready = true;
	}
	return &z;
}

bool encode_has_modrm(const u8 bytes[15])
{
	ZydisDecodedInstruction d;

	return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(decoder(), NULL, bytes, 15, &d)) &&
	       (d.attributes & ZYDIS_ATTRIB_HAS_MODRM);
}

bool draft_decode(struct draft *t)
{
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder(), t->bytes, sizeof(t->bytes), &t->d, t->o)))
		return false;
	t->len = t->d.length;
	return insn_decode(&t->i, NULL, t->bytes, sizeof(t->bytes), CODE_64, 0) == DECODE_OK;
}

static u8 random_modrm(struct rng *r, const struct form *f)
{
	u8 reg = rng_chance(r, 50) ? (u8)(rng_next(r) & 0x38) : f->modrm & 0x38;

	if ((f->modrm & 0xc7) == 4) /* a form that needs a SIB byte */
		return (u8)(rng_below(r, 3) << 6 | reg | 4);
	if (f->modrm < 0xc0)
		return (u8)(rng_below(r, 3) << 6 | reg | (rng_chance(r, 30) ? 4 : rng_below(r, 8)));
	return (u8)(0xc0 | reg | (rng_chance(r, 80) ? rng_below(r, 8) : f->modrm & 7));
}

bool encode_random(struct rng *r, const struct form *f, struct draft *t)
{
	static const u8 segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x64, 0x65 };
	struct extra x = { 0 };
	bool memory = f->has_modrm && f->modrm < 0xc0;

	if (rng_chance(r, 8))
		x.segment = segments[rng_below(r, sizeof(segments))];
	if (rng_chance(r, 6))
		x.asize = true;
	if (memory && (op_facts[f->op].attr & OP_LOCK) && rng_chance(r, 30))
		x.lock = 0xf0;
	if (rng_chance(r, 50))
		x.rex = (u8)(0x40 | (rng_next(r) & 7));
	if (rng_chance(r, 70))
		x.vvvv = (u8)rng_below(r, 16);
	x.vex2 = rng_chance(r, 50);

	unsigned n = put_opcode(f, &x, t->bytes);
	if (f->has_modrm)
		t->bytes[n++] = random_modrm(r, f);
	for (; n < sizeof(t->bytes); n++)
		t->bytes[n] = (u8)value_int(r, 8);
	return draft_decode(t) && t->i.op == f->op;
}
