/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our side, plainly: decode, call the row's exec function, step. It is also what tells the comparison what ran:
 * which rows, which flags they left undefined, and whether a case is fit for comparing at all.
 */
#include <Zydis/Zydis.h>
#include <string.h>

#include "emulate/emulate.h"
#include "emulate/vector.h"
#include "guest.h"
#include "machine/flags.h"

static struct guest guest; /* a test program runs one back end of a kind */

static int start(void)
{
	struct error err;

	if (guest_open(&guest) || mmu_create(guest.v, &err))
		return -1;
	return 0;
}

static void stop(void)
{
	mmu_destroy(guest.v);
	guest_close(&guest);
}

/* Bytes at RIP, up to the first page that cannot be fetched; fault_at is where that begins, or ~0. */
static unsigned fetch(struct vcpu *v, u8 *bytes, bool probe)
{
	u64 gpa;
	unsigned n = 0, room = (unsigned)(PAGE_SIZE - (v->rip & ~PAGE_MASK));

	const u8 *p = mmu_fetch(v, v->rip, &gpa);
	n = MIN(room, 15u);
	memcpy(bytes, p, n);
	if (probe && n < 15) {
		p = mmu_fetch(v, v->rip + n, &gpa);
		memcpy(bytes + n, p, 15 - n);
		n = 15;
	}
	return n;
}

/* Legacy prefixes and REX: how many there are, and whether one of them is there. */
static unsigned prefixes(const u8 *bytes, unsigned n)
{
	static const u8 all[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3 };
	unsigned k = 0;

	while (k < n && (memchr(all, bytes[k], sizeof(all)) || (bytes[k] & 0xf0) == 0x40))
		k++;
	return k;
}

static bool has_prefix(const u8 *bytes, unsigned len, u8 prefix)
{
	return memchr(bytes, prefix, prefixes(bytes, len)) != NULL;
}

/* The beginning of a near branch with prefix 66, which is shorter on AMD: see vendor_quirk. */
static bool short_branch(const u8 *bytes, unsigned n)
{
	unsigned k = prefixes(bytes, n);

	if (!has_prefix(bytes, n, 0x66) || k == n)
		return false;
	return bytes[k] == 0xe8 || bytes[k] == 0xe9 ||
	       (bytes[k] == 0x0f && (k + 1 == n || (bytes[k + 1] & 0xf0) == 0x80));
}

/* What our table lacks and another CPU may have (AVX-512, AMD's own) says nothing about us. NULL: it is undefined to all. */
static const char *outside_table(const u8 *bytes, unsigned n)
{
	ZydisDecoder z;
	ZydisDecodedInstruction d;

	ZydisDecoderInit(&z, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&z, NULL, bytes, n, &d)))
		return NULL;
	if (d.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY || d.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
		for (unsigned op = 1; op < NR_OPS; op++)
			if (op_facts[op].mnemonic == d.mnemonic)
				return NULL;
	return "not in our table";
}

/* Opcodes of AVX-512's mask instructions: CPUs that have them forgive register numbers that the manual leaves undefined. */
static bool mask_instruction(const u8 *bytes, unsigned n)
{
	unsigned k = prefixes(bytes, n), map = 1;

	if (k + 2 >= n || (bytes[k] != 0xc4 && bytes[k] != 0xc5))
		return false;
	if (bytes[k] == 0xc4)
		map = bytes[++k] & 0x1f;
	u8 opcode = k + 2 < n ? bytes[k + 2] : 0;
	return map == 1 ? (opcode >= 0x41 && opcode <= 0x4b) || (opcode & 0xf4) == 0x90
			: map == 3 && (opcode & 0xfc) == 0x30;
}

/* VMCALL with a prefix: to some the hypervisor's business all the same. */
static bool prefixed_vmcall(const u8 *bytes, unsigned n)
{
	unsigned k = prefixes(bytes, n);

	return k && k + 2 < n && !memcmp(bytes + k, "\x0f\x01\xc1", 3);
}

/* To AMD, LOCK MOV CR0 is MOV CR8 (APM vol. 3, MOV CRn), and it takes LOCK VERW for VERW. */
static bool lock_system(const u8 *bytes, unsigned n)
{
	unsigned k = prefixes(bytes, n);

	return has_prefix(bytes, n, 0xf0) && k + 1 < n && bytes[k] == 0x0f &&
	       ((bytes[k + 1] & 0xfd) == 0x20 || bytes[k + 1] < 2);
}

/* Decodes at RIP; faults as fetching and decoding would. false: it is the INT3 that ends every case. */
static bool decode(struct vcpu *v, struct insn *i, u8 *bytes, struct outcome *o)
{
	if (!is_canonical(v->rip))
		vcpu_raise_error(v, EXC_GP, 0);
	unsigned off = (unsigned)(v->rip & ~PAGE_MASK), n = fetch(v, bytes, false);
	if (bytes[0] == CODE_FILL) {
		v->rip++; /* a trap: behind the instruction */
		v->event = (struct cpu_event){ .valid = true, .vector = EXC_BP };
		return false;
	}
	enum decode_status s = insn_decode(i, NULL, bytes, n, CODE_64, off);

	if (s == DECODE_MORE && n < 15 && short_branch(bytes, n)) {
		o->skip = "near branch with prefix 66";
		return false;
	}
	if (s == DECODE_MORE && n < 15) {
		/* AMD's UD0 and UD1 have no ModRM byte, so that theirs end before the page does. */
		const u8 *escape = memchr(bytes, 0x0f, n);
		if (escape && escape + 1 < bytes + n && (escape[1] == 0xb9 || escape[1] == 0xff)) {
			o->skip = "UD0 or UD1 at the end of a page";
			return false;
		}
		n = fetch(v, bytes, true);
		s = insn_decode(i, NULL, bytes, n, CODE_64, off);
	}
	if (s == DECODE_MORE)
		o->loose |= LOOSE_LONG;
	if (s == DECODE_MORE)
		vcpu_raise_error(v, EXC_GP, 0);
	if (s == DECODE_INVALID && (o->skip = outside_table(bytes, n)))
		return false;
	/* Bad bytes at the end of a page, or before the sixteenth: which fault comes first depends on how many bytes are looked at. */
	if (s == DECODE_INVALID && lock_system(bytes, n)) {
		o->skip = "LOCK with a system instruction";
		return false;
	}
	if (s == DECODE_INVALID && (mask_instruction(bytes, n) || prefixed_vmcall(bytes, n))) {
		o->skip = "extensions outside the model";
		return false;
	}
	if (s == DECODE_INVALID && (n < 15 || prefixes(bytes, n) > 4)) {
		o->skip = "undefined, and perhaps too long";
		return false;
	}
	if (s == DECODE_INVALID)
		vcpu_raise(v, EXC_UD);
	return true;
}

/* Where Intel and AMD part, or a manual says nothing. */
static const char *vendor_quirk(struct vcpu *v, const struct insn *i, const u8 *bytes)
{
	bool loop = i->op == OP_LOOPE || i->op == OP_LOOPNE;

	/* AMD honours 66 on near branches in 64-bit code, Intel ignores it (SDM vol. 2, JMP; APM vol. 3, 1.2.4). */
	if ((op_facts[i->op].attr & OP_BRANCH) && has_prefix(bytes, i->len, 0x66))
		return "near branch with prefix 66";
	/* AMD: F2 and F3 choose between LOOPNE and LOOPE, whatever the opcode says. */
	if (loop && (has_prefix(bytes, i->len, 0xf2) || has_prefix(bytes, i->len, 0xf3)))
		return "LOOPcc with a repeat prefix";
	/* 0F 0D with a register is a NOP to Intel and undefined to AMD (APM vol. 3, PREFETCHlevel). */
	if (i->op == OP_NOP && insn_kind(i, 1) == OPK_REG && !(i->flags & INSN_MEM) && !memchr(bytes, 0x1f, i->len) &&
	    memchr(bytes, 0x0d, i->len))
		return "0F 0D with a register";
	/* SHA instructions' memory is aligned to Intel and may have any alignment to AMD (SDM vol. 2, exceptions type 4). */
	if (op_facts[i->op].feature == FEAT_SHA && (i->flags & INSN_MEM) && (op_ea(v, i) & 15))
		return "SHA with memory that is not aligned";
	/* VEX.256 forms of these are extensions of their own. */
	if (i->size == 32 && (op_facts[i->op].feature == FEAT_AES || op_facts[i->op].feature == FEAT_PCLMUL ||
			      !strncmp(op_facts[i->op].name, "VAES", 4) || !strcmp(op_facts[i->op].name, "VPCLMULQDQ")))
		return "VAES, VPCLMULQDQ";
	return NULL;
}

static const char *unfit(const struct insn *i, const u8 *bytes, const struct meaning *m, const struct outcome *o,
			 struct vcpu *v)
{
	if (op_facts[i->op].attr & OP_SYS)
		return "system instruction";
	if (!op_exec[i->op])
		return "no exec function";
	if (!host_has(op_facts[i->op].feature))
		return "feature the host lacks";
	if (m->read & o->undefined)
		return "reads an undefined flag";
	if (o->holes[0].len || o->loose & (LOOSE_RESULT | LOOSE_RCP | LOOSE_X87_ULP | LOOSE_UPPER | LOOSE_C1))
		return "goes on from an open result";
	/* Structures are moved in pieces, and whether each piece's alignment counts is not said. */
	if ((v->rflags & FL_AC) && (i->flags & INSN_MEM) &&
	    (i->msize > 32 || !i->msize || i->msize == 28 || i->msize == 14 || i->msize == 10))
		return "alignment checks of a structure";
	if (!strncmp(op_facts[i->op].name, "XSAVE", 5) || !strncmp(op_facts[i->op].name, "XRSTOR", 6))
		if ((v->r[RAX] & 0xffffffff & ~7ull) | (v->r[RDX] & 0xffffffff))
			return "state components that the model lacks";
	return vendor_quirk(v, i, bytes);
}

static void note(struct outcome *o, const struct insn *i, const struct meaning *m)
{
	o->ops[o->steps++] = i->op;
	o->loose |= m->loose;
	if ((i->flags & INSN_MEM) && (i->msize > 32 || !i->msize || i->msize == 28 || i->msize == 14 || i->msize == 10))
		o->loose |= LOOSE_STRUCT;
	o->undefined = (o->undefined & ~m->written) | m->undefined;
}

/* Saved x87 states hold the last instruction's and operand's addresses, which AMD keeps only while an exception is pending; and
 * FXSAVE's MXCSR_MASK is the CPU's. */
static void note_holes(struct vcpu *v, struct outcome *o, const struct insn *i)
{
	const char *name = op_facts[i->op].name;
	u64 at;

	if (strncmp(name, "FN", 2) && strncmp(name, "FX", 2) && strncmp(name, "XS", 2))
		return;
	at = op_ea(v, i) + (i->seg >= SEG_FS ? v->seg[i->seg].base : 0);
	if (!strcmp(name, "FNSTENV") || !strcmp(name, "FNSAVE")) {
		o->holes[0].gla = at + (i->osize == 1 ? 6 : 12);
		o->holes[0].len = i->osize == 1 ? 8 : 16;
	} else if (!strncmp(name, "FXSAVE", 6) || !strncmp(name, "XSAVE", 5)) {
		o->holes[0].gla = at + 6;
		o->holes[0].len = 18;
		o->holes[1].gla = at + 28;
		o->holes[1].len = 4;
	}
}

/* One instruction. false: the case is over, as o says. */
static bool step(struct vcpu *v, struct outcome *o)
{
	static struct insn i; /* outlives the longjmp */
	struct meaning m;
	u8 bytes[15];

	if (!decode(v, &i, bytes, o))
		return false;
	insn_meaning(&m, v, &i, bytes, (u32)flags_settle(v));
	o->skip = unfit(&i, bytes, &m, o, v);
	if (!o->skip && o->steps == STEPS_MAX)
		o->skip = "does not end";
	if (o->skip)
		return false;
	note(o, &i, &m);
	note_holes(v, o, &i);
	v->cur = &i;
	op_exec[i.op](v, &i);
	o->undefined_before = o->undefined;
	if (!(i.flags & INSN_END))
		v->rip += i.len;
	/* Repeated string instructions may stop to let events in, with RIP still on themselves: not a step. */
	if ((i.flags & (INSN_REP | INSN_REPNE)) && o->steps > 1 && o->ops[o->steps - 2] == i.op)
		o->steps--;
	v->stop_now = false;
	return true;
}

/* What a fault in the middle leaves open. */
static void note_fault(struct outcome *o)
{
	const char *name = o->steps ? op_facts[o->ops[o->steps - 1]].name : "";

	if (o->vector == EXC_BP)
		return;
	o->undefined = o->undefined_before;
	/* Intel gives the flags back, AMD those of the last comparison (SDM vol. 2, REP). */
	if (!strncmp(name, "CMPS", 4) || !strncmp(name, "SCAS", 4))
		o->undefined = FL_ARITH;
	/* Whether what was pushed before the fault stays is open; it lies beyond the stack's top. */
	if (!strcmp(name, "ENTER"))
		o->loose |= LOOSE_MEMORY;
	/* Whether the x87 state has become MMX by then is open. */
	if (strstr(name, "_MMX") || strstr(name, "2PI") || !strcmp(name, "CVTPI2PS") || !strcmp(name, "MASKMOVQ") ||
	    !strcmp(name, "MOVNTQ"))
		o->loose |= LOOSE_X87;
}

static void run(const struct testcase *t, struct outcome *o)
{
	struct vcpu *v = guest.v;
	jmp_buf landing;

	memset(o, 0, offsetof(struct outcome, data));
	o->skip = NULL;
	o->undefined = o->loose = 0;
	o->undefined_before = 0;
	o->steps = 0;
	memset(o->holes, 0, sizeof(o->holes));
	guest_load(&guest, t, NULL);
	v->unwind = &landing;
	simd_enter(v);
	if (!setjmp(landing))
		while (step(v, o))
			;
	simd_leave(v);
	v->unwind = NULL;
	if (v->r[RSP] >> 47)
		o->skip = "stack pointer the host's kernel cannot report";
	o->how = o->skip ? HOW_SKIP : HOW_FAULT;
	o->vector = v->event.vector;
	o->error = v->event.has_error ? v->event.error : 0;
	o->cr2 = v->event.cr2;
	guest_store(&guest, o);
	note_fault(o);
	v->event.valid = false;
}

const struct backend backend_exec = { .name = "exec", .start = start, .run = run, .stop = stop };
