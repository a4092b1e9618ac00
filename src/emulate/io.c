/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port I/O: IN, OUT, INS, OUTS, and who may (IOPL, then the TSS's permission bitmap; SDM vol. 1, 19.5). Repeated
 * forms commit their registers at each element and stop early, RIP unchanged, when something else wants the vCPU.
 */
#include "emulate/debug.h"
#include "emulate/descriptor.h"

#define REP_ELEMENTS 1024 /* at most, before the engine gets a look in */

static bool bitmap_allows(struct vcpu *v, u16 port, unsigned size)
{
	if (v->tr.ar & AR_UNUSABLE || !(ar_type(v->tr.ar) & 8) || v->tr.limit < 103)
		return false;
	u32 map = (u32)mmu_load(v, v->tr.base + 102, 2, MMU_SUPERVISOR);
	u32 at = map + port / 8;
	/* Two bytes are read always: ports may straddle a byte, and the bitmap ends with a byte of ones. */
	if (at + 1 > v->tr.limit)
		return false;
	u32 bits = (u32)mmu_load(v, v->tr.base + at, 2, MMU_SUPERVISOR) >> (port & 7);
	return !(bits & (BIT(size) - 1));
}

void io_check(struct vcpu *v, u16 port, unsigned size)
{
	if (v->mode == MODE_REAL)
		return;
	if (unlikely(v->machine->deprivileged)) {
		if (!v->machine->deprivileged->may_use_port(v, port, size))
			vcpu_raise_error(v, EXC_GP, 0);
		return;
	}
	bool by_iopl = v->mode != MODE_V86 && v->cpl <= (v->rflags & FL_IOPL) >> FL_IOPL_SHIFT;
	if (!by_iopl && !bitmap_allows(v, port, size))
		vcpu_raise_error(v, EXC_GP, 0);
}

u64 io_read(struct vcpu *v, u16 port, unsigned size)
{
	v->stats.exits_io++;
	if (v->cr4 & CR4_DE)
		debug_io(v, port, size);
	u8 place = vcpu_at(v, PLACE_DEVICE);
	u64 x = bus_read(&v->machine->pio, port, size);
	vcpu_at(v, place);
	return x;
}

void io_write(struct vcpu *v, u16 port, unsigned size, u64 value)
{
	v->stats.exits_io++;
	if (v->cr4 & CR4_DE)
		debug_io(v, port, size);
	u8 place = vcpu_at(v, PLACE_DEVICE);
	bus_write(&v->machine->pio, port, size, value);
	vcpu_at(v, place);
}

static u16 port_operand(struct vcpu *v, const struct insn *i, unsigned k)
{
	return insn_kind(i, k) == OPK_IMM ? (u8)i->imm : (u16)v->r[RDX];
}

void exec_in(struct vcpu *v, const struct insn *i)
{
	u16 port = port_operand(v, i, 1);

	io_check(v, port, i->size);
	reg_write(v, SLOT(RAX), i->size, io_read(v, port, i->size));
	v->rip = vcpu_next_rip(v, i);
}

void exec_out(struct vcpu *v, const struct insn *i)
{
	u16 port = port_operand(v, i, 0);
	unsigned size = i->size2; /* the first operand may be an immediate: it says nothing of the width */

	io_check(v, port, size);
	io_write(v, port, size, reg_read(v, SLOT(RAX), size));
	v->rip = vcpu_next_rip(v, i);
}

/* ---- string I/O ---- */
struct port_string {
	u16 port;
	u8 size, asize;
	u8 index; /* slot of rSI or rDI */
};

static void advance(struct vcpu *v, const struct port_string *s)
{
	u64 step = v->rflags & FL_DF ? -(u64)s->size : s->size;

	reg_write(v, s->index, s->asize, reg_read(v, s->index, s->asize) + step);
}

static void ins_element(struct vcpu *v, const struct insn *i, const struct port_string *s)
{
	u64 gla = segment_linear(v, SEG_ES, reg_read(v, s->index, s->asize), s->size, SEG_WRITE);

	/* The port's side effects must not happen if the store cannot. */
	mmu_probe_write(v, gla, s->size, MMU_EXPLICIT);
	mmu_store(v, gla, s->size, io_read(v, s->port, s->size), MMU_EXPLICIT);
	advance(v, s);
}

static void outs_element(struct vcpu *v, const struct insn *i, const struct port_string *s)
{
	u64 gla = segment_linear(v, i->seg, reg_read(v, s->index, s->asize), s->size, SEG_READ);

	io_write(v, s->port, s->size, mmu_load(v, gla, s->size, MMU_EXPLICIT));
	advance(v, s);
}

typedef void element_fn(struct vcpu *v, const struct insn *i, const struct port_string *s);

static bool wanted_elsewhere(const struct vcpu *v)
{
	return v->stop_now || steps_iterations(v) || atomic_load_explicit(&v->events, memory_order_relaxed);
}

static void string_io(struct vcpu *v, const struct insn *i, unsigned size, u8 index, element_fn *element)
{
	struct port_string s = {
		.port = (u16)v->r[RDX], .size = (u8)size, .asize = (u8)(1u << i->asize), .index = index
	};

	if (!(i->flags & (INSN_REP | INSN_REPNE))) {
		io_check(v, s.port, size);
		element(v, i, &s);
		v->rip = vcpu_next_rip(v, i);
		return;
	}
	u64 count = reg_read(v, SLOT(RCX), s.asize);
	if (count)
		io_check(v, s.port, size);
	for (unsigned k = 0; count && k < REP_ELEMENTS && !(k && wanted_elsewhere(v)); k++) {
		element(v, i, &s);
		reg_write(v, SLOT(RCX), s.asize, --count);
	}
	if (count)
		debug_rep_continues(v);
	else
		v->rip = vcpu_next_rip(v, i);
}

void exec_insb(struct vcpu *v, const struct insn *i)
{
	string_io(v, i, 1, SLOT(RDI), ins_element);
}
void exec_insw(struct vcpu *v, const struct insn *i)
{
	string_io(v, i, 2, SLOT(RDI), ins_element);
}
void exec_insd(struct vcpu *v, const struct insn *i)
{
	string_io(v, i, 4, SLOT(RDI), ins_element);
}
void exec_outsb(struct vcpu *v, const struct insn *i)
{
	string_io(v, i, 1, SLOT(RSI), outs_element);
}
void exec_outsw(struct vcpu *v, const struct insn *i)
{
	string_io(v, i, 2, SLOT(RSI), outs_element);
}
void exec_outsd(struct vcpu *v, const struct insn *i)
{
	string_io(v, i, 4, SLOT(RSI), outs_element);
}
