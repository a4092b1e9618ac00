/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our side, through an engine as guests see it: cached code, TLB, and delivery through an IDT. Each
 * gate leads to a stub that writes to a port, whose handler stops the engine; the case's registers are then those of
 * the vCPU and of the frame on the supervisor's stack. What ran and how to compare it, the plain back end tells.
 */
#include <string.h>

#include "engines/dbt/dbt.h"
#include "engines/engine.h"
#include "engines/interp/interp.h"
#include "guest.h"
#include "machine/flags.h"

#define STOP_PORT 0xf4
#define STUBS	  (SUPERVISOR_GLA + 0x2000) /* 16 bytes a vector */
#define TSS_AT	  (SUPERVISOR_GLA + 0x1800)
#define GDT_AT	  (SUPERVISOR_GLA + 0x1000)
#define STACK_TOP (SUPERVISOR_GLA + 0x4000)

static struct guest guest; /* a test program runs one back end of a kind */

static void stop_write(void *dev, u64 offset, unsigned size, u64 value)
{
	struct guest *g = dev;

	vcpu_post(g->v, EV_STOP);
}

static u64 stop_read(void *dev, u64 offset, unsigned size)
{
	return ~0ull;
}

static u8 *supervisor(u64 gla)
{
	return ram_ptr(guest.m, GPA_SUPERVISOR + (gla - SUPERVISOR_GLA), 16);
}

static void put(u64 gla, u64 value)
{
	memcpy(supervisor(gla), &value, 8);
}

/* Interrupt gates of DPL 3, so that INT3 passes (SDM vol. 3, 6.14.1). */
static void build_idt(void)
{
	for (unsigned n = 0; n < 256; n++) {
		static const u8 stub[] = { 0xe6, STOP_PORT, 0xf4 }; /* OUT, HLT */
		u64 to = STUBS + 16 * n;
		put(SUPERVISOR_GLA + 16 * n, (to & 0xffff) | 0x08ull << 16 | 0xeeull << 40 | (to >> 16 & 0xffff) << 48);
		put(SUPERVISOR_GLA + 16 * n + 8, to >> 32);
		memcpy(supervisor(to), stub, sizeof(stub));
	}
}

static void build_tables(void)
{
	build_idt();
	put(GDT_AT + 8, 0x00209b0000000000ull); /* 64-bit code, DPL 0 */
	memcpy(supervisor(TSS_AT) + 4, &(u64){ STACK_TOP }, 8);
}

static void point_to_tables(struct vcpu *v)
{
	v->idtr = (struct table_reg){ .base = SUPERVISOR_GLA, .limit = 0xfff };
	v->gdtr = (struct table_reg){ .base = GDT_AT, .limit = 0x3f };
	v->tr = (struct segment){ .base = TSS_AT, .limit = 0x67, .ar = AR_P | 0xb, .selector = 0x40 };
}

static int start(const struct engine *engine)
{
	static const struct region_ops ops = { stop_read, stop_write };
	struct region port = { .base = STOP_PORT, .len = 1, .ops = &ops, .dev = &guest, .name = "stop" };
	struct error err;

	if (backend_exec.start() || guest_open(&guest) || bus_add(&guest.m->pio, &port, &err))
		return -1;
	build_tables();
	guest.m->vcpu_ops = engine->vcpu;
	return guest.m->vcpu_ops->create(guest.v, &err);
}

static int start_interp(void)
{
	return start(&engine_interp);
}

static int start_dbt(void)
{
	return start(&engine_dbt);
}

static void stop(void)
{
	guest.m->vcpu_ops->destroy(guest.v);
	guest_close(&guest);
	backend_exec.stop();
}

static bool pushes_error(unsigned vector)
{
	return vector == EXC_DF || (vector >= EXC_TS && vector <= EXC_PF) || vector == EXC_AC;
}

/* The state when the fault was delivered, from the frame: [error,] RIP, CS, RFLAGS, RSP, SS. */
static void unwind_frame(struct vcpu *v, struct outcome *o)
{
	u64 frame[6];

	o->vector = (u8)((v->rip - STUBS) / 16);
	unsigned words = pushes_error(o->vector) ? 6 : 5;
	memcpy(frame, supervisor(STACK_TOP - 8 * words), 8 * words);
	const u64 *f = frame + words - 5;
	o->error = words == 6 ? (u32)frame[0] : 0;
	o->cr2 = o->vector == EXC_PF ? v->cr2 : 0;
	o->out.rip = f[0];
	o->out.rflags = f[2];
	o->out.r[RSP] = f[3];
}

static void run_engine(const struct testcase *t, struct outcome *o)
{
	struct vcpu *v = guest.v;
	struct error err;

	atomic_store(&v->events, 0);
	guest_load(&guest, t, guest.m->vcpu_ops->memory_changed);
	point_to_tables(v);
	guest.m->vcpu_ops->run(v, &err);
	guest_store(&guest, o);
	if (v->rip - STUBS < 256 * 16 && !v->halted)
		unwind_frame(v, o);
	else
		o->how = HOW_DIED;
}

static void run(const struct testcase *t, struct outcome *o)
{
	if (!t->narrow) /* narrow.c does itself */
		backend_exec.run(t, o);
	if (o->how == HOW_FAULT)
		run_engine(t, o);
}

/* Each other case with slots from the start. Exact flags: a sequence may fault where the program itself no longer sees them. */
static void run_dbt(const struct testcase *t, struct outcome *o)
{
	dbt_test_mode(guest.v, t->index % 2 ? 1 : 1000);
	run(t, o);
}

const struct backend backend_interp = { .name = "interp", .start = start_interp, .run = run, .stop = stop };
const struct backend backend_dbt = { .name = "dbt", .start = start_dbt, .run = run_dbt, .stop = stop };
