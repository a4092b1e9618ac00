/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random 32-bit code, as a 64-bit kernel's users run it: translated, against src/emulate instruction by instruction, which
 * main.c compares with hosts in 64-bit code and legacy.c with the manual. Registers begin with upper halves that are not zero, segments
 * are flat or not, and addresses wrap.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emulate/emulate.h"
#include "emulate/vector.h"
#include "guest.h"
#include "machine/flags.h"

static struct guest plain; /* the other side's is engine.c's */

/* ---- cases ---- */
struct maker {
	struct rng r;
	struct testcase *t;
	u8 bytes[32];
	unsigned n;
};

static void put(struct maker *m, unsigned byte)
{
	m->bytes[m->n++] = (u8)byte;
}

static void put32(struct maker *m, u64 x)
{
	for (unsigned k = 0; k < 4; k++)
		put(m, (unsigned)(x >> 8 * k));
}

static void put_prefixes(struct maker *m)
{
	static const u8 segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x64, 0x65 };
	struct rng *r = &m->r;

	if (rng_chance(r, 12))
		put(m, segments[rng_below(r, sizeof(segments))]);
	if (rng_chance(r, 12))
		put(m, 0x66);
	if (rng_chance(r, 2))
		put(m, 0x67);
	if (rng_chance(r, 6))
		put(m, 0xf2 + (unsigned)rng_below(r, 2));
	if (rng_chance(r, 3))
		put(m, 0xf0);
}

/* Opcodes alone, so that all of them come; what is no instruction is tried anew. */
static void put_opcode(struct maker *m)
{
	struct rng *r = &m->r;
	unsigned which = (unsigned)rng_below(r, 20), op = (unsigned)rng_next(r) & 0xff;

	if (which < 2 && rng_chance(r, 50)) { /* VEX */
		unsigned map = 1 + (unsigned)rng_below(r, 3);
		put(m, 0xc4);
		put(m, 0xc0 | (unsigned)rng_below(r, 2) << 5 | map);
		put(m, (unsigned)rng_next(r) & (rng_chance(r, 80) ? 0x7f : 0xff));
	} else if (which < 4) {
		op = 0xd8 + (unsigned)rng_below(r, 8);
	} else if (which < 8) {
		put(m, 0x0f);
		if (rng_chance(r, 15))
			put(m, rng_chance(r, 50) ? 0x38 : 0x3a);
	}
	put(m, op);
}

static void put_modrm(struct maker *m)
{
	struct rng *r = &m->r;
	unsigned modrm = (unsigned)rng_next(r) & 0xff, mod = modrm >> 6, rm = modrm & 7, sib = 0;
	bool absolute = mod == 0 && rm == 5;

	put(m, modrm);
	if (mod != 3 && rm == 4) {
		put(m, sib = (unsigned)rng_next(r) & 0xff);
		absolute = mod == 0 && (sib & 7) == 5 && (sib & 0x38) == 0x20;
	}
	if (mod == 2 || absolute || (mod == 0 && rm == 4 && (sib & 7) == 5)) {
		s64 near = (s64)rng_below(r, 512) - 256;
		put32(m, absolute	     ? DATA_GLA + rng_below(r, DATA_LEN + 32) - 16
			 : rng_chance(r, 95) ? (u64)near
					     : rng_next(r));
	}
}

static bool is_wanted(const struct insn *i, const u8 *bytes)
{
	bool own = i->op == OP_PUSHFD || i->op == OP_POPFD || i->op == OP_MOV_FROM_SEG || i->op == OP_PUSH_SEG;

	if (bytes[0] == CODE_FILL || i->op == OP_NONE || !op_exec[i->op])
		return false;
	if (op_facts[i->op].attr & OP_NEEDNT || !host_has(op_facts[i->op].feature))
		return false;
	return own || !(op_facts[i->op].attr & OP_SYS);
}

/* Direct branches mostly stay in the code. */
static void aim(struct maker *m, const struct insn *i, u64 at)
{
	u64 target = CODE_GLA + rng_below(&m->r, CODE_LEN);

	if (!(op_facts[i->op].attr & OP_BRANCH) || insn_kind(i, 0) != OPK_IMM || i->len < 5 || rng_chance(&m->r, 10))
		return;
	target -= at + i->len;
	memcpy(m->bytes + i->len - 4, &target, 4);
}

static bool add(struct maker *m)
{
	struct testcase *t = m->t;
	struct insn i;
	unsigned bits;

	m->n = 0;
	put_prefixes(m);
	put_opcode(m);
	put_modrm(m);
	for (bits = m->n; bits < sizeof(m->bytes); bits++)
		m->bytes[bits] = (u8)value_int(&m->r, 8);
	if (insn_decode(&i, NULL, m->bytes, 15, CODE_32, 0) != DECODE_OK || !is_wanted(&i, m->bytes) ||
	    t->code_len + i.len > CODE_MAX)
		return false;
	aim(m, &i, t->in.rip + t->code_len);
	memcpy(t->code + t->code_len, m->bytes, i.len);
	t->code_len = (u8)(t->code_len + i.len);
	return true;
}

static void generate_narrow(struct testcase *t, u64 seed, u64 index)
{
	static const struct forms none;
	struct maker m = { .t = t };

	generate(&none, t, seed, index, OP_NONE);
	t->code_len = 0;
	rng_seed(&m.r, seed + 1, index);
	t->narrow = rng_chance(&m.r, 80) ? NARROW_FLAT : (u8)(1 + rng_below(&m.r, NARROW_LAST));
	for (unsigned k = 0; k < 8; k++) {
		if (k != RSP && k != RCX && rng_chance(&m.r, 40))
			t->in.r[k] = DATA_GLA + 0x200 + rng_below(&m.r, DATA_LEN - 0x400);
		if (rng_chance(&m.r, 30))
			t->in.r[k] |= rng_next(&m.r) << 32;
	}
	if (rng_chance(&m.r, 2))
		t->in.r[RSP] = rng_below(&m.r, 16);
	for (unsigned k = 1 + (unsigned)rng_below(&m.r, INSNS_MAX), tries = 0; k && tries < 200; tries++)
		k -= add(&m);
	if (t->code_off + t->code_len > CODE_LEN)
		t->code_len = (u8)(CODE_LEN - t->code_off);
}

/* ---- the plain side ---- */

/* What the other side may do otherwise, as exec.c has it; false: the case is over or says nothing. */
static bool note(struct vcpu *v, const struct insn *i, const u8 *bytes, struct outcome *o)
{
	struct meaning m;

	insn_meaning(&m, v, i, bytes, (u32)flags_settle(v));
	if (m.read & o->undefined)
		o->skip = "reads an undefined flag";
	else if (!is_wanted(i, bytes))
		o->skip = "what is not tested";
	else if (o->loose & (LOOSE_RESULT | LOOSE_C1))
		o->skip = "goes on from an open result";
	else if (o->steps == STEPS_MAX)
		o->skip = "does not end";
	/* A pushed image has flags that are undefined, and so do XSAVE and its like have the addresses of x87. */
	if ((i->op == OP_PUSHFD || i->op == OP_LAHF || i->op == OP_PUSHF) && o->undefined)
		o->skip = "reads an undefined flag";
	if (v->rflags & FL_TF)
		o->skip = "single steps";
	o->ops[o->steps++] = i->op;
	/* What is open between hosts is not between our sides, but for results that are computed on the host. */
	o->loose |= m.loose & (LOOSE_RESULT | LOOSE_C1);
	o->undefined = (o->undefined & ~m.written) | m.undefined;
	return !o->skip;
}

static bool step(struct vcpu *v, struct outcome *o)
{
	static struct insn i; /* outlives the longjmp */
	u8 bytes[15];

	if (v->rip > v->seg[SEG_CS].limit)
		vcpu_raise_error(v, EXC_GP, 0);
	code_decode_at_rip(v, &i, bytes);
	if (bytes[0] == CODE_FILL) {
		v->rip++;
		v->event = (struct cpu_event){ .valid = true, .vector = EXC_BP };
		return false;
	}
	if (!note(v, &i, bytes, o))
		return false;
	v->cur = &i;
	op_exec[i.op](v, &i);
	o->undefined_before = o->undefined;
	if (!(i.flags & INSN_END))
		v->rip = vcpu_next_rip(v, &i);
	if ((i.flags & (INSN_REP | INSN_REPNE)) && o->steps > 1 && o->ops[o->steps - 2] == i.op)
		o->steps--;
	v->stop_now = false;
	return true;
}

static void run_plain(const struct testcase *t, struct outcome *o)
{
	struct vcpu *v = plain.v;
	jmp_buf landing;

	memset(o, 0, offsetof(struct outcome, data));
	o->skip = NULL;
	o->undefined = o->undefined_before = o->loose = 0;
	o->steps = 0;
	memset(o->holes, 0, sizeof(o->holes));
	guest_load(&plain, t, NULL);
	mmu_flush_all(v);
	v->unwind = &landing;
	simd_enter(v);
	if (!setjmp(landing))
		while (step(v, o))
			;
	simd_leave(v);
	v->unwind = NULL;
	o->how = o->skip ? HOW_SKIP : HOW_FAULT;
	o->vector = v->event.vector;
	o->error = v->event.has_error ? v->event.error : 0;
	o->cr2 = v->event.vector == EXC_PF ? v->event.cr2 : 0;
	guest_store(&plain, o);
	if (o->vector != EXC_BP)
		o->undefined = o->undefined_before;
	/* What a compare that faults in its middle leaves is not said (SDM vol. 2, REP). */
	if (o->vector != EXC_BP && o->steps &&
	    (op_exec[o->ops[o->steps - 1]] == exec_cmps || op_exec[o->ops[o->steps - 1]] == exec_scas))
		o->undefined = FL_ARITH;
	v->event.valid = false;
}

/* ---- both ---- */

static void show(const struct testcase *t, const struct outcome *a, const char *text)
{
	printf("repeat: -s %llu -i %llu (segments: %u), vector %u\n", (unsigned long long)t->seed,
	       (unsigned long long)t->index, t->narrow, a->vector);
	for (unsigned k = 0; k < t->code_len;) {
		char line[128] = "(none)";
		unsigned n = insn_format(line, sizeof(line), t->code + k, t->code_len - k, CODE_32, t->in.rip + k);
		printf("  %llx  ", (unsigned long long)t->in.rip + k);
		for (unsigned b = 0; b < (n ? n : 1); b++)
			printf("%02x ", t->code[k + b]);
		printf(" %s\n", line);
		k += n ? n : 1;
	}
	for (unsigned k = 0; k < 16; k++)
		printf("  r%-2u %016llx%s", k, (unsigned long long)t->in.r[k], k % 4 == 3 ? "\n" : "");
	fputs(text, stdout);
}

static unsigned run_case(u64 seed, u64 index, u64 *compared)
{
	static struct testcase t;
	static struct outcome expected, got;
	char text[8192];

	generate_narrow(&t, seed, index);
	run_plain(&t, &expected);
	if (expected.how != HOW_FAULT)
		return 0;
	++*compared;
	got.how = HOW_FAULT;
	backend_dbt.run(&t, &got);
	/* compare() takes the open places from its first side. */
	if (!compare(&t, &expected, &got, text, sizeof(text)))
		return 0;
	show(&t, &expected, text);
	return 1;
}

int main(int argc, char **argv)
{
	u64 count = 60000, seed = 1, only = ~0ull, compared = 0;
	unsigned failed = 0;
	int c;

	while ((c = getopt(argc, argv, "n:s:i:")) != -1) {
		u64 x = strtoull(optarg ? optarg : "", NULL, 0);
		switch (c) {
		case 'n': count = x; break;
		case 's': seed = x; break;
		case 'i': only = x; break;
		default: fputs("usage: insn32-test [-n CASES] [-s SEED] [-i INDEX]\n", stderr); return 2;
		}
	}
	if (guest_open(&plain) || backend_dbt.start())
		return 2;
	struct error err;
	if (mmu_create(plain.v, &err))
		return 2;
	if (only != ~0ull)
		failed = run_case(seed, only, &compared);
	for (u64 k = 0; only == ~0ull && k < count && failed < 20; k++)
		failed += run_case(seed, k, &compared);
	printf("%llu cases compared, %u differ; seed %llu\n", (unsigned long long)compared, failed,
	       (unsigned long long)seed);
	backend_dbt.stop();
	mmu_destroy(plain.v);
	guest_close(&plain);
	/* Most cases must come to a comparison, or the test tests nothing. */
	return failed || (only == ~0ull && compared < count / 2) ? 1 : 0;
}
