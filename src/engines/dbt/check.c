/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --check: generated code and the reference, src/emulate, in lock-step over one guest.
 *
 * There are two sides, each with a CPU and RAM of its own. The first is the machine as it always is: generated code, linked and
 * with slots, and the devices. It runs for a stretch of instructions; what it heard from outside is noted (check-notes.c). Then
 * the second side does as many instructions (check-follow.c), hearing the notes, and the two are compared: all state of the
 * CPU, exceptions included, and each page that the second side has stored to. So every store that should have been made is
 * seen; one that should not have been, to a page that no store should hit, is found when all RAM is compared: now and then, and
 * in the end.
 *
 * A stretch ends where generated code comes back to the loop, or when the budget of count.c is used up. If something differs the
 * guest goes back to where the stretch began, and does it once more a block at a time, the first side hearing notes, too; the first block that
 * differs is what is told. Should none, it takes more than one block, and the stretch is told.
 *
 * What makes the two comparable: time is the count of instructions; devices write RAM between stretches, or while the first side is
 * in an access to a device (the gate); and flags are exact at every fault (dbt.exact_flags), as a frame on the stack holds dead ones, too.
 */
#include "engines/dbt/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engines/dbt/check-internal.h"
#include "engines/dbt/count.h"

#define SWEEP_INSNS (1ull << 28) /* all RAM is compared after so many */
#define TOLD_MAX    16384 /* bytes of a report */
#define TOLD_PLACES 8

/* ---- the gate ---- */

static void tap_enter(struct ram_tap *t)
{
	pthread_rwlock_rdlock(&container_of(t, struct check, tap)->gate);
}

static void tap_leave(struct ram_tap *t)
{
	pthread_rwlock_unlock(&container_of(t, struct check, tap)->gate);
}

static void tap_written(struct ram_tap *t, const void *host, u64 len)
{
	note_memory(container_of(t, struct check, tap), host, len);
}

/* Once more it is the notes that tell when. */
static bool tap_marks(struct ram_tap *t, const u8 *host, bool wide, u64 bits)
{
	struct check *c = container_of(t, struct check, tap);

	if (c->again)
		return false;
	note_mark(c, host, wide, bits);
	return true;
}

void check_pause(struct vcpu *v)
{
	struct check *c = check_of(v);

	if (c->recording && !c->again)
		pthread_rwlock_unlock(&c->gate);
}

void check_resume(struct vcpu *v)
{
	struct check *c = check_of(v);

	if (c->recording && !c->again)
		pthread_rwlock_wrlock(&c->gate);
}

/* ---- memory ---- */

static bool page_same(const struct check *c, u64 page)
{
	return !memcmp(c->v->machine->ram + (page << PAGE_SHIFT), c->ref->ram + (page << PAGE_SHIFT), PAGE_SIZE);
}

static bool memory_same(const struct check *c)
{
	for (size_t k = 0; k < c->touched.count; k++)
		if (unlikely(!page_same(c, c->touched.page[k])))
			return false;
	return true;
}

static void tell_page(struct check *c, u64 page, unsigned *places, struct text *out)
{
	const u8 *a = c->v->machine->ram + (page << PAGE_SHIFT), *b = c->ref->ram + (page << PAGE_SHIFT);

	for (unsigned k = 0; k < PAGE_SIZE; k += 8) {
		if (!memcmp(a + k, b + k, 8))
			continue;
		if (++*places > TOLD_PLACES)
			continue;
		text_printf(out, "  memory at physical address %#llx: dbt %016llx, reference %016llx\n",
			    (unsigned long long)ram_gpa(c->v->machine, a + k),
			    (unsigned long long)*(const u64_una *)(a + k),
			    (unsigned long long)*(const u64_una *)(b + k));
	}
}

static void memory_tell(struct check *c, struct text *out)
{
	unsigned places = 0;

	for (size_t k = 0; k < c->touched.count; k++)
		tell_page(c, c->touched.page[k], &places, out);
	if (places > TOLD_PLACES)
		text_printf(out, "  and %u more places in memory\n", places - TOLD_PLACES);
}

/* The first page from `page` on that one side has memory for and that differs; ~0: none. */
static u64 next_difference(const struct check *c, u64 page)
{
	int fds[] = { c->v->machine->ram_fd, c->ref->ram_fd };
	u64 best = ~0ull;

	for (unsigned k = 0; k < 2; k++) {
		off_t at = (off_t)(page << PAGE_SHIFT), end;
		while ((u64)at >> PAGE_SHIFT < best && (at = lseek(fds[k], at, SEEK_DATA)) >= 0 &&
		       (end = lseek(fds[k], at, SEEK_HOLE)) > at)
			for (; at < end && (u64)at >> PAGE_SHIFT < best; at += PAGE_SIZE)
				if (unlikely(!page_same(c, (u64)at >> PAGE_SHIFT)))
					best = (u64)at >> PAGE_SHIFT;
	}
	return best;
}

/* All RAM: what the first side has stored where it should not have. */
static bool sweep(struct check *c)
{
	unsigned places = 0;

	c->since_sweep = 0;
	for (u64 page = 0; (page = next_difference(c, page)) != ~0ull; page++)
		tell_page(c, page, &places, &c->report.text);
	return !places;
}

/* ---- once more, a block at a time ---- */

/* A TLB in which nothing was flushed during the stretch is as good for its beginning; and with an empty one the first access of each
 * place would go by src/emulate. */
static void rejoin(struct check *c, struct vcpu *side)
{
	state_copy(side, c->start);
	side->stop_now = false;
	vcpu_update_mode(side);
	if (side == c->f || cpu_of(side)->stats->slot_drops != c->start_drops)
		mmu_flush_all(side);
	mmu_update_view(side);
	clock_rewind(side->machine->clock, c->time);
}

/* RAM, clocks and CPUs become what they were when the stretch began. */
static void go_back(struct check *c)
{
	struct vcpu *v = c->v;

	for (size_t k = 0; k < c->touched.count; k++)
		memcpy(c->ref->ram + (c->touched.page[k] << PAGE_SHIFT), c->touched.before + (k << PAGE_SHIFT),
		       PAGE_SIZE);
	for (u64 page = 0; (page = next_difference(c, page)) != ~0ull; page++) {
		u8 *to = v->machine->ram + (page << PAGE_SHIFT);
		memcpy(to, c->ref->ram + (page << PAGE_SHIFT), PAGE_SIZE);
		mmu_memory_changed(v, ram_gpa(v->machine, to), PAGE_SIZE);
	}
	rejoin(c, v);
	rejoin(c, c->f);
	v->stats.insns = c->start_insns;
	c->v_next = c->f_next = 0;
	touched_forget(c);
}

/* One block of the first side's; what it raises is in v->event then. False: it heard what it had not heard before. */
static bool one_block(struct check *c)
{
	struct vcpu *v = c->v;
	jmp_buf landing, *outer = v->unwind;

	/* Nothing from outside but the notes. */
	mmu_take_code_mail(v);
	atomic_store(&v->events, 0);
	v->stop_now = false;
	v->unwind = &landing;
	int how = setjmp(landing);
	if (!how)
		dbt_advance(v, 1);
	else
		dbt_unwound(v);
	v->unwind = outer;
	return how != UNWOUND_DIFFERS;
}

static void tell_insn(struct check *c, u64 rip, struct text *out)
{
	char text[200];
	u8 bytes[15] = { 0 };
	unsigned n = 0;
	u64 gpa;

	for (; n < 15 && mmu_translate(c->f, code_linear(c->f, rip + n), &gpa); n++) {
		const u8 *host = ram_ptr(c->ref, gpa, 1);
		if (!host)
			break;
		bytes[n] = *host;
	}
	if (insn_format(text, sizeof(text), bytes, n, c->f->code_size, rip))
		text_printf(out, "  %#llx  %s\n", (unsigned long long)rip, text);
	else
		text_printf(out, "  %#llx  (no instruction)\n", (unsigned long long)rip);
}

static void tell_trail(struct check *c, struct text *out)
{
	u64 n = c->trail_length, first = n > TRAIL ? n - TRAIL : 0;

	if (first)
		text_printf(out, "  (%llu instructions before)\n", (unsigned long long)first);
	for (u64 k = first; k < n; k++)
		tell_insn(c, c->trail[k % TRAIL], out);
}

static void forget_why(struct check *c)
{
	text_buffer_free(&c->why);
	text_buffer_init(&c->why, TOLD_MAX);
}

/* What differs now: reasons that the second side could not go on for, state, memory. */
static void tell_difference(struct check *c)
{
	struct text *out = &c->report.text;

	text_puts(out, c->why.data ? c->why.data : "");
	state_tell(c, out);
	memory_tell(c, out);
	text_puts(out, "executed, by the reference:\n");
	tell_trail(c, out);
}

/* True, and told, if one block by itself differs. */
static bool find_block(struct check *c, u64 insns)
{
	struct vcpu *v = c->v;
	bool well = true, last = false;

	go_back(c);
	c->again = true;
	while (well && !last) {
		u64 past = check_now(c), rip = v->rip, rcx = v->r[RCX];

		notes_apply(c, v, past);
		forget_why(c);
		well = one_block(c);
		u64 now = check_now(c);
		notes_apply(c, v, now);
		well = well && follow(c, past, now, v->event.valid) && state_same(c) && memory_same(c);
		last = v->event.valid || now >= insns || (now == past && v->rip == rip && v->r[RCX] == rcx);
		if (!well)
			text_printf(&c->report.text, "in the block at %#llx (%s, CPL %u):\n", (unsigned long long)rip,
				    v->code_size == CODE_64   ? "64-bit"
				    : v->code_size == CODE_32 ? "32-bit"
							      : "16-bit",
				    v->cpl);
	}
	return !well;
}

/* ---- stretches ---- */

static void tell(struct check *c, u64 insns)
{
	struct text *out = &c->report.text;
	struct text_buffer first = c->why; /* what the stretch as a whole tells */
	u64 rip = c->start->rip;

	c->failed = true;
	text_printf(out, "they differ after %llu instructions, ", (unsigned long long)c->start_insns);
	text_buffer_init(&c->why, TOLD_MAX);
	if (c->delivers) {
		text_printf(out, "in the delivery of vector %u at %#llx:\n", c->delivery.vector,
			    (unsigned long long)rip);
	} else {
		struct text_buffer stretch;

		text_buffer_init(&stretch, TOLD_MAX);
		state_tell(c, &stretch.text);
		memory_tell(c, &stretch.text);
		bool found = find_block(c, insns);
		if (!found) {
			text_printf(out, "in %llu instructions from %#llx on, but in none of their blocks by itself:\n",
				    (unsigned long long)insns, (unsigned long long)rip);
			text_puts(out, first.data ? first.data : "");
			text_puts(out, stretch.data ? stretch.data : "");
		}
		text_buffer_free(&stretch);
		text_buffer_free(&first);
		if (found)
			tell_difference(c);
		return;
	}
	text_buffer_free(&c->why);
	c->why = first;
	tell_difference(c);
}

void check_begin(struct vcpu *v, const struct cpu_event *delivery)
{
	struct check *c = check_of(v);

	if (c->failed)
		return;
	pthread_rwlock_wrlock(&c->gate);
	if (c->resync)
		follow_rejoin(c);
	c->resync = false;
	c->delivers = delivery;
	if (delivery)
		c->delivery = *delivery;
	c->start_insns = v->stats.insns;
	c->start_drops = cpu_of(v)->stats->slot_drops;
	c->time = clock_now(v->machine->clock);
	state_copy(c->start, v);
	c->recording = true;
}

void check_end(struct vcpu *v)
{
	struct check *c = check_of(v);

	if (!c->recording)
		return;
	u64 insns = v->stats.insns - c->start_insns;
	bool well = c->delivers ? follow_delivery(c) : follow(c, 0, insns, v->event.valid);
	if (!well || unlikely(!state_same(c) || !memory_same(c)))
		tell(c, insns);
	c->since_sweep += insns;
	if (!c->failed && c->since_sweep >= SWEEP_INSNS)
		c->failed = !sweep(c);
	cpu_of(v)->stats->stretches++;
	c->recording = false;
	notes_forget(c);
	touched_forget(c);
	pthread_rwlock_unlock(&c->gate);
}

u64 check_stretch(const struct vcpu *v)
{
	return v->machine->config.check;
}

bool check_failed(const struct vcpu *v)
{
	return check_of(v)->failed;
}

bool check_repeats(const struct vcpu *v)
{
	return check_of(v)->again;
}

/* ---- life ---- */

void check_enter(struct vcpu *v)
{
	struct check *c = check_of(v);

	pthread_rwlock_wrlock(&c->gate);
	notes_forget(c);
	follow_resync(c);
	pthread_rwlock_unlock(&c->gate);
}

int check_leave(struct vcpu *v, struct error *err)
{
	struct check *c = check_of(v);
	struct machine *m = v->machine;

	if (!c->failed) {
		pthread_rwlock_wrlock(&c->gate);
		notes_apply(c, c->f, ~0ull);
		c->failed = !sweep(c);
		pthread_rwlock_unlock(&c->gate);
	}
	if (!c->failed)
		return 0;
	if (!m->report && c->report.data)
		m->report = strdup(c->report.data);
	return error_set(err, EPROTO, "--check: generated code and the reference differ");
}

int check_create(struct vcpu *v, struct error *err)
{
	struct check *c = calloc(1, sizeof(*c));

	if (!c)
		return error_set(err, ENOMEM, "no memory to check with");
	cpu_of(v)->check = c;
	c->v = v;
	c->start = calloc(1, sizeof(*c->start));
	pthread_rwlock_init(&c->gate, NULL);
	notes_init(&c->notes);
	text_buffer_init(&c->why, TOLD_MAX);
	text_buffer_init(&c->report, 4 * TOLD_MAX);
	if (!c->start)
		return error_set(err, ENOMEM, "no memory to check with");
	int r = follow_create(c, err);
	if (!r)
		r = notes_tap(c, err);
	c->tap = (struct ram_tap){ .written = tap_written, .marks = tap_marks, .enter = tap_enter, .leave = tap_leave };
	if (!r)
		v->machine->tap = &c->tap;
	return r;
}

void check_destroy(struct vcpu *v)
{
	struct check *c = check_of(v);

	if (!c)
		return;
	v->machine->tap = NULL;
	notes_untap(c);
	follow_destroy(c);
	notes_free(&c->notes);
	pthread_rwlock_destroy(&c->gate);
	text_buffer_free(&c->why);
	text_buffer_free(&c->report);
	free(c->start);
	free(c);
	cpu_of(v)->check = NULL;
}
