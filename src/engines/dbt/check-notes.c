/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the first side hears from outside its CPU, noted for the second: what device registers read as, what was written there,
 * the interrupt controller's MSRs, RAM that devices wrote, and accessed and dirty bits, which a CPU may set at any time
 * from the first use of a translation on, so that two TLBs set them at different ones.
 *
 * The second side's machine has the same regions, made of notes: it must ask for the same things in the same order, and write the same.
 * Notes that are no access (NOTE_MEMORY, NOTE_MARK) take effect on the second side before the instruction that they were made in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engines/dbt/check-internal.h"
#include "engines/dbt/count.h"

/* ---- the list ---- */

void notes_init(struct notes *n)
{
	pthread_mutex_init(&n->lock, NULL);
}

void notes_free(struct notes *n)
{
	pthread_mutex_destroy(&n->lock);
	free(n->note);
	free(n->pool);
}

void notes_forget(struct check *c)
{
	c->notes.count = c->notes.used = 0;
	c->v_next = c->f_next = 0;
}

/* Running out of memory for a list of small things: nothing sensible is left to do. */
static void *grow(void *p, size_t *have, size_t need, size_t unit)
{
	if (need <= *have)
		return p;
	*have = MAX(need, 2 * *have + 64);
	p = realloc(p, *have * unit);
	if (!p)
		abort();
	return p;
}

u64 check_now(const struct check *c)
{
	return c->recording ? c->v->stats.insns - c->start_insns + count_now(c->v) : 0;
}

/* Locked; the place in the list, as the list may move. */
static size_t add(struct notes *n, struct note note)
{
	n->note = grow(n->note, &n->size, n->count + 1, sizeof(*n->note));
	n->note[n->count] = note;
	return n->count++;
}

static size_t note(struct check *c, struct note note)
{
	note.at = check_now(c);
	pthread_mutex_lock(&c->notes.lock);
	size_t at = add(&c->notes, note);
	pthread_mutex_unlock(&c->notes.lock);
	return at;
}

static void answer(struct check *c, size_t at, u64 value, bool ok)
{
	pthread_mutex_lock(&c->notes.lock);
	c->notes.note[at].value = value;
	c->notes.note[at].ok = ok;
	pthread_mutex_unlock(&c->notes.lock);
}

/* Any thread; the first side stands between two instructions, or in an access to a device. */
void note_memory(struct check *c, const void *host, u64 len)
{
	struct notes *n = &c->notes;
	struct note note = { .kind = NOTE_MEMORY, .at = check_now(c), .len = len };

	note.addr = (u64)((const u8 *)host - c->v->machine->ram);
	pthread_mutex_lock(&n->lock);
	n->pool = grow(n->pool, &n->room, n->used + len, 1);
	memcpy(n->pool + n->used, host, len);
	note.value = n->used;
	n->used += len;
	add(n, note);
	pthread_mutex_unlock(&n->lock);
}

void note_mark(struct check *c, const u8 *host, bool wide, u64 bits)
{
	note(c, (struct note){ .kind = NOTE_MARK,
			       .addr = (u64)(host - c->v->machine->ram),
			       .size = wide ? 8 : 4,
			       .value = bits });
}

/* ---- taking them ---- */

static size_t *next_of(struct check *c, const struct vcpu *side)
{
	return side == c->v ? &c->v_next : &c->f_next;
}

static void take_memory(struct check *c, struct vcpu *side, const struct note *n)
{
	u8 *to = side->machine->ram + n->addr;

	if (side == c->f)
		for (u64 at = n->addr & PAGE_MASK; at < n->addr + n->len; at += PAGE_SIZE)
			touch(c, side->machine->ram + at);
	if (n->kind == NOTE_MARK && n->size == 8)
		*(u64_una *)to |= n->value;
	else if (n->kind == NOTE_MARK)
		*(u32_una *)to |= (u32)n->value;
	else
		memcpy(to, c->notes.pool + n->value, n->len);
	if (side == c->v)
		mmu_memory_changed(side, ram_gpa(side->machine, to), n->kind == NOTE_MARK ? n->size : n->len);
}

void notes_apply(struct check *c, struct vcpu *side, u64 at)
{
	size_t *k = next_of(c, side);

	for (; *k < c->notes.count; ++*k) {
		struct note *n = &c->notes.note[*k];

		if (n->kind < NOTE_MEMORY || n->at > at)
			return;
		if (n->kind == NOTE_MARK)
			n->len = n->size;
		take_memory(c, side, n);
	}
}

static const char *what(const struct note *n)
{
	static const char *const names[] = {
		[NOTE_READ] = "reading memory-mapped register",
		[NOTE_WRITE] = "writing memory-mapped register",
		[NOTE_MSR_READ] = "reading MSR",
		[NOTE_MSR_WRITE] = "writing MSR",
		[NOTE_TPR_READ] = "reading CR8",
		[NOTE_TPR_WRITE] = "writing CR8",
		[NOTE_SEND] = "sending an interrupt to CPU",
	};

	if (n->ports && n->kind == NOTE_READ)
		return "reading port";
	return n->ports && n->kind == NOTE_WRITE ? "writing port" : names[n->kind];
}

static bool is_write(const struct note *n)
{
	return n->kind == NOTE_WRITE || n->kind == NOTE_MSR_WRITE || n->kind == NOTE_TPR_WRITE || n->kind == NOTE_SEND;
}

/* The side does this: it must be what comes next. */
static const struct note *take(struct check *c, struct vcpu *side, struct note did)
{
	const char *who = side == c->v ? "dbt, once more," : "the reference";
	size_t *k = next_of(c, side);

	notes_apply(c, side, ~0ull);
	if (*k == c->notes.count)
		differ(c, side, "%s is %s %#llx, dbt was not", who, what(&did), (unsigned long long)did.addr);
	const struct note *n = &c->notes.note[(*k)++];
	if (n->kind != did.kind || n->ports != did.ports || n->addr != did.addr || n->size != did.size)
		differ(c, side, "dbt is %s %#llx (%u bytes), %s is %s %#llx (%u bytes)", what(n),
		       (unsigned long long)n->addr, n->size, who, what(&did), (unsigned long long)did.addr, did.size);
	if (is_write(n) && n->value != did.value)
		differ(c, side, "%s %#llx: dbt writes %#llx, %s %#llx", what(n), (unsigned long long)n->addr,
		       (unsigned long long)n->value, who, (unsigned long long)did.value);
	return n;
}

/* ---- registers of devices ---- */

static u64 real_read(const struct tapped *t, u64 offset, unsigned size)
{
	return t->real.ops->read ? t->real.ops->read(t->real.dev, offset, size) : ~0ull;
}

static void real_write(const struct tapped *t, u64 offset, unsigned size, u64 value)
{
	if (t->real.ops->write)
		t->real.ops->write(t->real.dev, offset, size, value);
}

/* Not the first side's CPU, or a device that asks another. */
static bool unheard(const struct check *c)
{
	return vcpu_current() != c->v || c->inside || !c->recording;
}

/* While a device is at it, devices may write RAM: what they write is noted behind the access. */
static void go_inside(struct check *c)
{
	c->inside++;
	check_pause(c->v);
}

static void come_back(struct check *c)
{
	check_resume(c->v);
	c->inside--;
}

static struct note register_note(const struct tapped *t, enum note_kind kind, u64 offset, unsigned size, u64 value)
{
	return (struct note){
		.kind = (u8)kind, .ports = t->ports, .addr = t->real.base + offset, .size = (u8)size, .value = value
	};
}

static u64 tap_read(void *dev, u64 offset, unsigned size)
{
	struct tapped *t = dev;
	struct check *c = t->c;
	struct note n = register_note(t, NOTE_READ, offset, size, 0);

	if (unheard(c))
		return real_read(t, offset, size);
	if (c->again)
		return take(c, c->v, n)->value;
	size_t at = note(c, n);
	go_inside(c);
	u64 value = real_read(t, offset, size);
	come_back(c);
	answer(c, at, value, true);
	return value;
}

static void tap_write(void *dev, u64 offset, unsigned size, u64 value)
{
	struct tapped *t = dev;
	struct check *c = t->c;
	struct note n = register_note(t, NOTE_WRITE, offset, size, value);

	if (unheard(c)) {
		real_write(t, offset, size, value);
		return;
	}
	if (c->again) {
		take(c, c->v, n);
		return;
	}
	note(c, n);
	go_inside(c);
	real_write(t, offset, size, value);
	come_back(c);
}

static u64 ref_read(void *dev, u64 offset, unsigned size)
{
	struct tapped *t = dev;

	return take(t->c, t->c->f, register_note(t, NOTE_READ, offset, size, 0))->value;
}

static void ref_write(void *dev, u64 offset, unsigned size, u64 value)
{
	struct tapped *t = dev;

	take(t->c, t->c->f, register_note(t, NOTE_WRITE, offset, size, value));
}

static const struct region_ops tap_ops = { tap_read, tap_write };
static const struct region_ops ref_ops = { ref_read, ref_write };

/* ---- the interrupt controller, as instructions reach it ---- */

/* The check that a vCPU of either side belongs to. */
static struct check *check_either(struct vcpu *v)
{
	return v->machine->tap && v->machine->tap->stores ? v->engine : check_of(v);
}

/* What `side` asks or says: true, and *got, if that comes from notes; else `at` is the note to answer. */
static bool from_notes(struct check *c, struct vcpu *side, struct note n, const struct note **got, size_t *at)
{
	if (side == c->f || c->again) {
		*got = take(c, side, n);
		return true;
	}
	*at = note(c, n);
	return false;
}

static int tap_acknowledge(struct vcpu *v)
{
	return check_of(v)->real_intc->acknowledge(v);
}

static bool tap_pending(struct vcpu *v)
{
	return check_of(v)->real_intc->pending(v);
}

static void tap_reset(struct vcpu *v)
{
	const struct intc_ops *real = check_of(v)->real_intc;

	check_of(v)->resync = true; /* INIT has changed the CPU between two stretches */
	if (real->reset)
		real->reset(v);
}

static u8 tap_get_tpr(struct vcpu *v)
{
	struct check *c = check_either(v);
	const struct note *got;
	size_t at;

	if (v == c->v && unheard(c))
		return c->real_intc->get_tpr(v);
	if (from_notes(c, v, (struct note){ .kind = NOTE_TPR_READ }, &got, &at))
		return (u8)got->value;
	u8 value = c->real_intc->get_tpr(v);
	answer(c, at, value, true);
	return value;
}

static void tap_set_tpr(struct vcpu *v, u8 tpr)
{
	struct check *c = check_either(v);
	const struct note *got;
	size_t at;

	if ((v == c->v && unheard(c)) ||
	    !from_notes(c, v, (struct note){ .kind = NOTE_TPR_WRITE, .value = tpr }, &got, &at))
		c->real_intc->set_tpr(v, tpr);
}

static bool tap_read_msr(struct vcpu *v, u32 msr, u64 *value)
{
	struct check *c = check_either(v);
	const struct note *got;
	size_t at;

	if (!c->real_intc->read_msr)
		return false;
	if (v == c->v && unheard(c))
		return c->real_intc->read_msr(v, msr, value);
	if (from_notes(c, v, (struct note){ .kind = NOTE_MSR_READ, .addr = msr }, &got, &at)) {
		*value = got->ok ? got->value : *value;
		return got->ok;
	}
	bool ok = c->real_intc->read_msr(v, msr, value);
	answer(c, at, ok ? *value : 0, ok);
	return ok;
}

static bool tap_write_msr(struct vcpu *v, u32 msr, u64 value)
{
	struct check *c = check_either(v);
	const struct note *got;
	size_t at;

	if (!c->real_intc->write_msr)
		return false;
	if (v == c->v && unheard(c))
		return c->real_intc->write_msr(v, msr, value);
	if (from_notes(c, v, (struct note){ .kind = NOTE_MSR_WRITE, .addr = msr, .value = value }, &got, &at))
		return got->ok;
	bool ok = c->real_intc->write_msr(v, msr, value);
	answer(c, at, value, ok);
	return ok;
}

static void tap_send(struct vcpu *v, u32 apic_id, u32 icr)
{
	struct check *c = check_either(v);
	const struct note *got;
	size_t at;

	if ((v == c->v && unheard(c)) ||
	    !from_notes(c, v, (struct note){ .kind = NOTE_SEND, .addr = apic_id, .value = icr }, &got, &at))
		c->real_intc->send(v, apic_id, icr);
}

static const struct intc_ops tap_intc = {
	.acknowledge = tap_acknowledge,
	.pending = tap_pending,
	.get_tpr = tap_get_tpr,
	.set_tpr = tap_set_tpr,
	.read_msr = tap_read_msr,
	.write_msr = tap_write_msr,
	.send = tap_send,
	.reset = tap_reset,
};

/* ---- putting in and taking out ---- */

static void tap_region(struct check *c, struct region *r, struct region *ref, bool ports)
{
	struct tapped *t = &c->tapped[c->regions++];

	*t = (struct tapped){ .c = c, .real = *r, .ports = ports };
	*ref = *r;
	if (!r->ops)
		return;
	r->ops = &tap_ops;
	ref->ops = &ref_ops;
	r->dev = ref->dev = t;
}

static int tap_bus(struct check *c, struct bus *b, struct bus *ref, bool ports)
{
	ref->regions = calloc(b->count + 1, sizeof(*ref->regions));
	if (!ref->regions)
		return -ENOMEM;
	ref->count = b->count;
	for (unsigned k = 0; k < b->count; k++)
		tap_region(c, &b->regions[k], &ref->regions[k], ports);
	tap_region(c, &b->fallback, &ref->fallback, ports);
	return 0;
}

static void untap_bus(struct bus *b)
{
	for (unsigned k = 0; k <= b->count; k++) {
		struct region *r = k < b->count ? &b->regions[k] : &b->fallback;
		if (r->ops == &tap_ops)
			*r = ((struct tapped *)r->dev)->real;
	}
}

int notes_tap(struct check *c, struct error *err)
{
	struct machine *m = c->v->machine;

	c->tapped = calloc(m->pio.count + m->mmio.count + 2, sizeof(*c->tapped));
	if (!c->tapped || tap_bus(c, &m->pio, &c->ref->pio, true) || tap_bus(c, &m->mmio, &c->ref->mmio, false))
		return error_set(err, ENOMEM, "no memory to check with");
	c->real_intc = m->intc;
	if (m->intc)
		m->intc = c->ref->intc = &tap_intc;
	return 0;
}

void notes_untap(struct check *c)
{
	struct machine *m = c->v->machine;

	untap_bus(&m->pio);
	untap_bus(&m->mmio);
	if (m->intc == &tap_intc)
		m->intc = c->real_intc;
	free(c->tapped);
}
