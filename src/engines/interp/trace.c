/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building traces: decode onward from an offset until control leaves for good, the page ends, or code that is decoded
 * already begins; then, backwards, find out which flags anybody can see, and choose handlers.
 *
 * Flags are dead where every path overwrites them before something reads them. Whatever may fault, or leave the trace, reads
 * them all, so that flags are exact wherever state can be looked at.
 */
#include "engines/interp/interp-internal.h"
#include "machine/control.h"

/* A record that is no instruction: it leads from the end of a trace to what follows. */
static void put_link(struct insn *i, insn_run_fn *run, unsigned off, unsigned n, const struct insn *target)
{
	*i = (struct insn){
		.run = run, .off = (u16)off, .n = (u16)n, .target = target, .base = SLOT_ZERO, .index = SLOT_ZERO
	};
}

static void cover(struct code_page *p, unsigned off, unsigned len)
{
	for (unsigned k = off; k < off + len && k < PAGE_SIZE; k++)
		p->covered[k / 64] |= BIT(k % 64);
}

static bool ends_trace(const struct insn *i)
{
	return (i->flags & INSN_END) && !insn_is_jcc(i) && !(i->flags & (INSN_REP | INSN_REPNE)) &&
	       !insn_changes_flags_only(i);
}

/* Integer instructions on registers cannot, save a few. */
static bool may_fault(const struct insn *i)
{
	if ((i->flags & (INSN_MEM | INSN_END | INSN_LOCK)) || i->op >= OP_INT_LIMIT)
		return true;
	switch (i->op) {
	case OP_DIV:
	case OP_IDIV:
	case OP_AAM:
	case OP_UD0:
	case OP_UD1:
	case OP_UD2: return true;
	default: return (op_facts[i->op].attr & OP_SYS) || insn_has_hidden_memory(i);
	}
}

/* Flags that are visible before instruction i, given those that are after it. */
static u32 live_before(const struct insn *i, const struct insn_info *info, u32 live)
{
	if (may_fault(i))
		return FL_ARITH;
	return (live & ~(info->flags_written & ~info->flags_maybe)) | info->flags_read;
}

static void choose_handlers(struct vcpu *v, struct insn *t, const struct insn_info *info, unsigned count)
{
	u32 live = FL_ARITH;

	for (unsigned k = count; k-- > 0;) {
		bool want = !info[k].flags_written || (info[k].flags_written & live);
		t[k].run = select_handler(v, &t[k], want);
		if (k + 1 < count) {
			insn_run_fn *fused = v->code_size == CODE_64 ? select_fused(&t[k], &t[k + 1]) : NULL;
			if (fused)
				t[k].run = fused;
		}
		live = live_before(&t[k], &info[k], live);
	}
}

void trace_build(struct vcpu *v, struct code_page *p, const u8 *host, unsigned off)
{
	struct interp *in = interp_of(v);
	struct insn *t = in->arena + in->arena_used;
	struct insn_info info[TRACE_MAX];
	unsigned n = 0;
	bool linked = true, breaks = v->machine->debug.breaks;

	v->stats.traces++;
	for (;;) {
		if (off >= PAGE_SIZE) {
			put_link(&t[n], run_page_end, PAGE_SIZE, n, NULL);
			break;
		}
		if (n == TRACE_MAX || p->entry[off]) {
			put_link(&t[n], run_goto, off, n, p->entry[off] ? in->arena + p->entry[off] : NULL);
			break;
		}
		if (unlikely(breaks) && machine_breaks_at_offset(v->machine, off)) {
			p->entry[off] = in->arena_used + n;
			put_link(&t[n], run_break, off, n, NULL);
			break;
		}
		unsigned room = (unsigned)MIN(15, PAGE_SIZE - off);
		enum decode_status s = code_decode(v, &t[n], &info[n], host + off, room, off);
		p->entry[off] = in->arena_used + n;
		if (s != DECODE_OK) {
			cover(p, off, room);
			put_link(&t[n], s == DECODE_MORE && room < 15 ? run_cross : run_invalid, off, n, NULL);
			t[n].len = s == DECODE_MORE ? 15 : 0;
			break;
		}
		cover(p, off, t[n].len);
		t[n].n = (u16)n;
		off += t[n].len;
		if (ends_trace(&t[n++])) {
			linked = false;
			break;
		}
	}
	choose_handlers(v, t, info, n);
	in->arena_used += n + linked;
}
