/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second side of lock-step: a CPU that is stepped through src/emulate, an instruction at a time, in a machine that has RAM
 * and nothing else; devices are notes of what the first side heard. Nothing of src/engines is in it, so it is what the
 * interpreter's generic path is.
 *
 * Decoded instructions are kept by host address and compared with the bytes each time, so that nobody need tell of changed code.
 * Every store comes by ram_tap.stores, as the TLB holds no fast writes: before its first store to a page in a stretch the page
 * is copied, to be compared with the first side's at the end, and to go back to where the two still were the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emulate/debug.h"
#include "emulate/vector.h"
#include "engines/dbt/check-internal.h"
#include "engines/dbt/count.h"

/* ---- pages that changed ---- */

void touch(struct check *c, const u8 *host)
{
	struct touched *t = &c->touched;
	u64 page = ram_page_index(c->ref, host);

	if (t->stamp[page] == t->now)
		return;
	t->stamp[page] = t->now;
	if (t->count == t->size) {
		t->size = 2 * t->size + 64;
		t->page = realloc(t->page, t->size * sizeof(*t->page));
		t->before = realloc(t->before, t->size << PAGE_SHIFT);
		if (!t->page || !t->before)
			abort();
	}
	memcpy(t->before + (t->count << PAGE_SHIFT), c->ref->ram + (page << PAGE_SHIFT), PAGE_SIZE);
	t->page[t->count++] = page;
}

void touched_forget(struct check *c)
{
	c->touched.count = 0;
	if (!++c->touched.now) {
		memset(c->touched.stamp, 0, (c->ref->config.ram_size >> PAGE_SHIFT) * sizeof(*c->touched.stamp));
		c->touched.now = 1;
	}
}

static void ref_stores(struct ram_tap *t, u8 *page)
{
	touch(container_of(t, struct check, ref_tap), page);
}

/* Accessed and dirty bits come by notes. */
static bool ref_marks(struct ram_tap *t, const u8 *host, bool wide, u64 bits)
{
	return false;
}

static void ref_written(struct ram_tap *t, const void *host, u64 len)
{
}

/* ---- one instruction ---- */

void differ(struct check *c, struct vcpu *side, const char *fmt, ...)
{
	char line[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	text_printf(&c->why.text, "  %s\n", line);
	longjmp(*side->unwind, UNWOUND_DIFFERS);
}

static bool still(const struct followed *d, const u8 *host, u8 code_size)
{
	unsigned len = d->insn.len;

	if (d->host != host || d->insn.n != code_size)
		return false;
	if (unlikely(((u64)host & ~PAGE_MASK) > PAGE_SIZE - 16)) /* the page may be the last */
		return memcmp(d->bytes, host, len) == 0;
	u64 low = *(const u64_una *)host ^ d->bytes[0], high = *(const u64_una *)(host + 8) ^ d->bytes[1];
	return len <= 8 ? low << (64 - 8 * len) == 0 : !low && high << (128 - 8 * len) == 0;
}

/* What is at RIP; faults as fetching it does. */
static const struct insn *fetch(struct check *c)
{
	struct vcpu *f = c->f;
	u64 gpa, gla = code_linear(f, f->rip);

	if (f->code_size == CODE_64 ? !is_canonical(gla) : f->rip > f->seg[SEG_CS].limit)
		vcpu_raise_error(f, EXC_GP, 0);
	const u8 *host = mmu_fetch(f, gla, &gpa);
	struct followed *d = &c->followed[((u64)host ^ (u64)host >> PAGE_SHIFT) & (FOLLOWED - 1)];
	if (likely(host && still(d, host, f->code_size))) {
		code_check_end(f, d->insn.len);
		return &d->insn;
	}
	u8 bytes[16] = { 0 };
	code_decode_at_rip(f, &c->single, bytes);
	if (!host || (gla & ~PAGE_MASK) + c->single.len > PAGE_SIZE)
		return &c->single;
	*d = (struct followed){ .host = host, .insn = c->single };
	d->insn.n = f->code_size;
	memcpy(d->bytes, bytes, sizeof(bytes));
	return &d->insn;
}

static void exec(struct vcpu *f, const struct insn *i)
{
	op_exec[i->op](f, i);
	if (!(i->flags & INSN_END))
		f->rip = vcpu_next_rip(f, i);
}

/* As the loop's step(). A string instruction that pauses goes on: it counts when it is done. */
static void follow_one(struct check *c)
{
	struct vcpu *f = c->f;
	bool trap = f->rflags & FL_TF;
	u64 from = f->rip;

	notes_apply(c, f, c->done);
	c->trail[c->trail_length++ % TRAIL] = from;
	if (debug_breakpoints_on(f) && debug_code_breakpoint(f))
		vcpu_raise(f, EXC_DB);
	f->shadow = false;
	clock_set(c->ref->clock, c->time + c->done);
	const struct insn *i = fetch(c);
	f->cur = i;
	bool paused;
	do {
		f->stop_now = false;
		exec(f, i);
		paused = count_paused(f, i, from);
	} while (paused && !f->pending_db);
	c->done += !paused;
	if (trap)
		debug_single_step(f, from);
	f->stop_now = false;
	f->cur = &c->none;
	if (unlikely(f->pending_db))
		debug_trap_check(f);
}

/* The first side is in the middle of a string instruction: as many iterations as it has done. */
static void follow_part(struct check *c)
{
	struct vcpu *f = c->f;
	u64 from = f->rip, left = c->v->r[RCX];
	const struct insn *i;

	if (c->v->rip != from || f->r[RCX] == left)
		return;
	i = fetch(c);
	if (!count_string(i))
		return;
	unsigned size = 1u << i->asize;
	reg_write(f, SLOT(RCX), size, f->r[RCX] - left);
	f->cur = i;
	do {
		f->stop_now = false;
		exec(f, i);
	} while (f->rip == from && reg_read(f, SLOT(RCX), size));
	f->cur = &c->none;
	if (reg_read(f, SLOT(RCX), size) == 0) {
		reg_write(f, SLOT(RCX), size, left);
		f->rip = from;
	}
}

/* ---- what the first side has done ---- */

static void begin(struct check *c, u64 from)
{
	struct vcpu *f = c->f;

	simd_leave(c->v);
	simd_enter(f);
	if (unlikely(atomic_load(&f->events))) {
		atomic_store(&f->events, 0);
		mmu_flush_all(f);
	}
	c->done = from;
	c->trail_length = 0;
	f->cur = &c->none;
}

static bool end(struct check *c, bool well)
{
	simd_leave(c->f);
	simd_enter(c->v);
	c->f->unwind = NULL;
	return well;
}

static void say_fault(struct check *c, u64 of)
{
	const struct cpu_event *e = &c->f->event;

	text_printf(&c->why.text,
		    "  the reference raises exception %u (error code %#x, CR2 %#llx) at %#llx, in instruction %llu of "
		    "%llu\n",
		    e->vector, e->error, (unsigned long long)e->cr2, (unsigned long long)c->f->rip,
		    (unsigned long long)c->done + 1, (unsigned long long)of);
}

bool follow(struct check *c, u64 from, u64 to, bool then_faults)
{
	struct vcpu *f = c->f;
	jmp_buf landing;
	int how;

	begin(c, from);
	f->unwind = &landing;
	how = setjmp(landing);
	if (!how) {
		while (c->done < to)
			follow_one(c);
		if (!then_faults)
			follow_part(c);
		else
			follow_one(c);
		if (then_faults) {
			text_printf(&c->why.text, "  dbt raises exception %u there, the reference does not\n",
				    c->v->event.vector);
			return end(c, false);
		}
	} else if (how == UNWOUND_DIFFERS) {
		return end(c, false);
	} else if (!then_faults || c->done != to) {
		say_fault(c, to);
		return end(c, false);
	}
	notes_apply(c, f, c->again ? to : ~0ull);
	if (!c->again && c->f_next != c->notes.count) {
		text_printf(&c->why.text, "  dbt used a device that the reference did not\n");
		return end(c, false);
	}
	return end(c, true);
}

bool follow_delivery(struct check *c)
{
	struct vcpu *f = c->f;
	jmp_buf landing;
	int how;

	begin(c, 0);
	f->event = c->delivery;
	f->halted = false;
	f->unwind = &landing;
	how = setjmp(landing);
	if (!how) {
		notes_apply(c, f, 0);
		deliver_event(f);
	} else if (how == UNWOUND_DIFFERS) {
		return end(c, false);
	} else {
		if (!combine_exceptions(f, &c->delivery)) {
			f->event.valid = false;
			f->halted = true;
		}
	}
	notes_apply(c, f, ~0ull);
	return end(c, true);
}

/* ---- making it ---- */

static void copy_ram(struct check *c)
{
	struct machine *m = c->v->machine, *ref = c->ref;
	off_t from = 0, to;

	if (fallocate(ref->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)ref->config.ram_size))
		memset(ref->ram, 0, ref->config.ram_size);
	while ((from = lseek(m->ram_fd, from, SEEK_DATA)) >= 0) {
		to = lseek(m->ram_fd, from, SEEK_HOLE);
		if (to <= from)
			break;
		memcpy(ref->ram + from, m->ram + from, (size_t)(to - from));
		from = to;
	}
}

void follow_rejoin(struct check *c)
{
	struct vcpu *f = c->f;

	state_copy(f, c->v);
	f->stop_now = false;
	vcpu_update_mode(f);
	mmu_flush_all(f);
	mmu_update_watchpoints(f);
}

void follow_resync(struct check *c)
{

	copy_ram(c);
	follow_rejoin(c);
	memset(c->followed, 0, FOLLOWED * sizeof(*c->followed));
	clock_rewind(c->ref->clock, clock_now(c->v->machine->clock));
	touched_forget(c);
}

int follow_create(struct check *c, struct error *err)
{
	struct machine_config config = c->v->machine->config;

	config.check = 0;
	config.trace = NULL;
	c->ref = machine_new(&config, err);
	if (!c->ref)
		return err->code;
	c->f = c->ref->vcpu[0];
	c->f->engine = c;
	c->none.base = c->none.index = SLOT_ZERO;
	c->f->cur = &c->none;
	c->ref_tap = (struct ram_tap){ .written = ref_written, .marks = ref_marks, .stores = ref_stores };
	c->ref->tap = &c->ref_tap;
	c->followed = aligned_alloc(64, FOLLOWED * sizeof(*c->followed));
	c->touched.stamp = calloc(config.ram_size >> PAGE_SHIFT, sizeof(*c->touched.stamp));
	if (!c->followed || !c->touched.stamp)
		return error_set(err, ENOMEM, "no memory to check with");
	if (mmu_create(c->f, err))
		return err->code;
	mmu_enter(c->f);
	return 0;
}

void follow_destroy(struct check *c)
{
	if (c->f) {
		mmu_destroy(c->f);
		c->f->engine = NULL;
	}
	machine_free(c->ref);
	free(c->followed);
	free(c->touched.stamp);
	free(c->touched.page);
	free(c->touched.before);
}
