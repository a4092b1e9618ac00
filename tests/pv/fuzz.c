/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random hypercalls and stores, from two CPUs at once, a third coming and going: arguments are now right, now wrong by a bit, now anything, and
 * what earlier calls made is what later ones work on. A guest may ruin itself, so what would only do that is left out: this
 * kernel's own memory as a target, entries that lead nowhere, waiting for ever. After it all frames' counts have to be right, and the VMM there.
 *
 * The command line: SEED, or SEED,CALLS.
 *
 * cpus: 3
 * options: -v
 * expect: frames: all types and counts are as the tables say
 */
#include "kit.h"

#define PAGES	48
#define CALLS	40000
#define WINDOW	5 /* first of the L4's slots that random tables are put in */
#define WINDOWS 4
#define BOUNCED 2 /* the CPU that comes and goes */

static u64 arena[PAGES + 3][512] __attribute__((aligned(4096))); /* the last are for what begins on the one before */
static u64 last_mfn, frames[PAGES];
static u64 finished;
static u64 seed = 1, calls = CALLS;

struct fuzz {
	u64 state;
	u64 calls, good, attempts, faults;
	struct multicall_entry multi[16];
	u64 words[512]; /* arguments in memory */
	u8 beyond[4 * PAGE]; /* where answers may run on to */
};
static struct fuzz fuzzes[2];

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" */
static u64 random(struct fuzz *f)
{
	f->state ^= f->state >> 12;
	f->state ^= f->state << 25;
	f->state ^= f->state >> 27;
	return f->state * 0x2545f4914f6cdd1dull;
}

static u64 below(struct fuzz *f, u64 n)
{
	return (random(f) >> 20) % n;
}

static bool one_in(struct fuzz *f, u64 n)
{
	return !below(f, n);
}

/* ---- values ---- */

static u64 wild(struct fuzz *f)
{
	static const u64 some[] = { 0,
				    1,
				    7,
				    8,
				    PAGE - 1,
				    PAGE,
				    1ull << 31,
				    ~0u,
				    1ull << 32,
				    1ull << 47,
				    0x7ffffffffff8,
				    0xffff7ffffffffff8,
				    0xffff800000000000,
				    0xffff807fc0000000,
				    0xffff87fffffffff8,
				    1ull << 51,
				    1ull << 63,
				    -8ull,
				    -PAGE,
				    ~0ull };

	return one_in(f, 3) ? random(f) >> below(f, 64)
			    : some[below(f, ARRAY(some))] + (one_in(f, 4) ? below(f, 16) : 0);
}

/* A frame that may be changed without this kernel's noticing. */
static u64 target(struct fuzz *f)
{
	u64 mfn;

	switch (below(f, 16)) {
	case 0: return last_mfn + below(f, 600);
	case 1: mfn = wild(f); return mfn <= last_mfn ? last_mfn + 1 : mfn;
	default: return frames[below(f, PAGES)];
	}
}

/* Or one that may be referred to. */
static u64 frame(struct fuzz *f)
{
	return one_in(f, 12) ? mfn_of(kernel_l4()) : one_in(f, 20) ? start_info->shared_info / PAGE : target(f);
}

static u64 entry(struct fuzz *f)
{
	u64 e = frame(f) * PAGE | PTE_U | PTE_A | (one_in(f, 8) ? 0 : PTE_P);

	if (one_in(f, 3))
		e |= PTE_W | PTE_D;
	if (one_in(f, 8)) /* not one that makes it a frame of the kernel's */
		e ^= 1ull << (one_in(f, 2) ? below(f, 12) : 40 + below(f, 24));
	return one_in(f, 8) ? 0 : e;
}

static u64 window(struct fuzz *f)
{
	return (WINDOW + below(f, WINDOWS)) << 39 | below(f, 3) << 30 | below(f, 3) << 21 | below(f, 3) << 12 |
	       (below(f, 512) << 3);
}

/* In memory that is only there for this. */
static u64 address(struct fuzz *f)
{
	u64 at = one_in(f, 6) ? window(f) : PTR(&arena[below(f, PAGES)][below(f, 512)]);

	return one_in(f, 8) ? at + below(f, 8) : at;
}

/* Of an argument: what is written there, or anything. */
static u64 pointer(struct fuzz *f)
{
	switch (below(f, 8)) {
	case 0: return address(f);
	case 1: {
		u64 w = wild(f); /* not this kernel, which some calls write to */
		return w - (0xffffffff80000000 - PAGE) < (1ull << 30) ? 8 : w;
	}
	default: return PTR(f->words);
	}
}

static u64 number(struct fuzz *f)
{
	return one_in(f, 6) ? wild(f) : below(f, 40);
}

static void fill(struct fuzz *f)
{
	for (unsigned k = 0; k < 24; k++) {
		switch (below(f, 6)) {
		case 0: f->words[k] = frame(f); break;
		case 1: f->words[k] = address(f); break;
		case 2: f->words[k] = number(f); break;
		case 3: f->words[k] = number(f) | number(f) << 32; break;
		default: f->words[k] = 0;
		}
	}
	if (one_in(f, 2))
		*(u16 *)f->words = DOMID_SELF;
}

/* ---- calls ---- */

static u64 update_target(struct fuzz *f)
{
	if (one_in(f, 8))
		return mfn_of(kernel_l4()) * PAGE + (WINDOW + below(f, WINDOWS)) * 8;
	return target(f) * PAGE + below(f, one_in(f, 2) ? 512 : 3) * 8 + (one_in(f, 3) ? below(f, 4) : 0);
}

static void make_updates(struct fuzz *f, u64 a[5])
{
	u64 n = below(f, 16) + 1;

	for (unsigned k = 0; k < n; k++) {
		f->words[2 * k] = update_target(f);
		f->words[2 * k + 1] = entry(f);
	}
	a[0] = one_in(f, 16) ? pointer(f) : PTR(f->words);
	a[1] = a[0] == PTR(f->words) ? n : 1;
	a[2] = one_in(f, 3) ? pointer(f) : 0;
	a[3] = one_in(f, 20) ? number(f) : DOMID_SELF;
	if (a[2] == PTR(f->words))
		a[2] = 0;
}

static void make_ext(struct fuzz *f, u64 a[5])
{
	u64 n = below(f, 4) + 1;
	struct mmuext_op *op = (struct mmuext_op *)f->words;

	for (unsigned k = 0; k < n; k++) {
		op[k] = (struct mmuext_op){ .cmd = (unsigned)(one_in(f, 30) ? wild(f) : below(f, 18)) };
		op[k].arg1.mfn = target(f);
		*(u64 *)&op[k].arg2 = one_in(f, 2) ? pointer(f) : target(f);
		switch (op[k].cmd) {
		case MMUEXT_NEW_BASEPTR:
			op[k].arg1.mfn = one_in(f, 2) ? mfn_of(kernel_l4()) : last_mfn + 1 + below(f, 600);
			break;
		case MMUEXT_NEW_USER_BASEPTR: op[k].arg1.mfn = one_in(f, 4) ? 0 : frame(f); break;
		case MMUEXT_PIN_L1_TABLE ... MMUEXT_UNPIN_TABLE: op[k].arg1.mfn = frame(f); break;
		case MMUEXT_SET_LDT: *(u64 *)&op[k].arg2 = below(f, 9000); /* fall through */
		default:
			if (op[k].cmd > MMUEXT_NEW_BASEPTR && op[k].cmd < 16)
				op[k].arg1.linear_addr = address(f) & (one_in(f, 4) ? ~0ull : -PAGE);
		}
	}
	a[0] = PTR(f->words);
	a[1] = n;
	a[2] = 0;
	a[3] = DOMID_SELF;
}

static void make_mapping(struct fuzz *f, u64 a[5])
{
	a[0] = address(f) & (one_in(f, 8) ? ~0ull : -PAGE);
	a[1] = entry(f);
	a[2] = one_in(f, 8) ? number(f) : below(f, 3);
	if (one_in(f, 20))
		a[2] |= 4;
}

static void make_memory(struct fuzz *f, u64 a[5])
{
	struct xen_memory_reservation *r = (struct xen_memory_reservation *)f->words;
	static const u8 cmds[] = { 0, 1, 1, 1, 2, 3, 4, 5, 6, 6, 6, 7, 9, 11, 12, 17 };

	a[0] = one_in(f, 20) ? number(f) : cmds[below(f, ARRAY(cmds))];
	a[1] = one_in(f, 10) ? pointer(f) : PTR(f->words);
	fill(f);
	*r = (struct xen_memory_reservation){ .nr_extents = below(f, 4),
					      .extent_order = one_in(f, 10) ? (unsigned)number(f) : 0,
					      .domid = DOMID_SELF };
	for (unsigned k = 0; k < 4; k++)
		f->words[100 + k] = target(f);
	set_xen_guest_handle(r->extent_start, &f->words[100]);
	if (one_in(f, 20))
		set_xen_guest_handle(r->extent_start, (xen_pfn_t *)pointer(f));
}

static void make_sched(struct fuzz *f, u64 a[5])
{
	struct sched_poll *p = (struct sched_poll *)f->words;

	a[1] = PTR(f->words);
	switch (below(f, 4)) {
	case 0: a[0] = SCHEDOP_yield; break;
	case 1:
		a[0] = SCHEDOP_poll;
		*p = (struct sched_poll){ .nr_ports = (unsigned)number(f), .timeout = 1 };
		set_xen_guest_handle(p->ports, (evtchn_port_t *)&f->words[8]);
		for (unsigned k = 8; k < 64; k++)
			f->words[k] = number(f);
		break;
	case 2:
		a[0] = SCHEDOP_shutdown;
		f->words[0] = 17;
		break;
	default: a[0] = 4 + below(f, 100);
	}
}

static void make_vcpu(struct fuzz *f, u64 a[5])
{
	static const u8 cmds[] = { 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 };

	fill(f);
	a[0] = one_in(f, 10) ? number(f) : cmds[below(f, ARRAY(cmds))];
	a[1] = a[0] <= 2 || a[0] == VCPUOP_register_vcpu_info || a[0] == VCPUOP_initialise ? BOUNCED : below(f, 4);
	a[2] = pointer(f);
	if (a[0] == VCPUOP_register_vcpu_info && seed % 4 != 2) /* there, anything may be pending, always */
		a[2] = 8;
	else if (a[0] == VCPUOP_register_vcpu_info)
		f->words[0] = target(f), f->words[1] = below(f, 520) * 8;
}

static void make_events(struct fuzz *f, u64 a[5])
{
	fill(f);
	a[0] = number(f) % 16;
	a[1] = PTR(f->words);
	if (one_in(f, 20))
		a[1] = pointer(f);
	u32 *w = (u32 *)f->words;
	switch (a[0]) {
	case EVTCHNOP_bind_virq: w[0] = (u32)below(f, 26), w[1] = (u32)below(f, 4); break;
	case EVTCHNOP_alloc_unbound: f->words[0] = DOMID_SELF; break;
	case EVTCHNOP_init_control:
		f->words[0] = target(f), w[2] = (u32)below(f, 500) * 8, w[3] = (u32)below(f, 4);
		break;
	case EVTCHNOP_expand_array: f->words[0] = target(f); break;
	case EVTCHNOP_reset:
		f->words[0] = one_in(f, 50) ? DOMID_SELF : 1234;
		a[1] = PTR(f->words);
		break;
	default: w[0] = (u32)number(f);
	}
}

/* With three operands of its own choice. */
static void make_any(struct fuzz *f, u64 a[5])
{
	fill(f);
	for (unsigned k = 0; k < 5; k++)
		a[k] = one_in(f, 2) ? pointer(f) : number(f);
}

static void make_descriptor(struct fuzz *f, u64 a[5])
{
	a[0] = target(f) * PAGE + below(f, 512) * 8;
	a[1] = one_in(f, 2) ? 0x00cff3000000ffff : random(f);
}

static void make_gdt(struct fuzz *f, u64 a[5])
{
	for (unsigned k = 0; k < 14; k++)
		f->words[k] = target(f);
	a[0] = one_in(f, 8) ? pointer(f) : PTR(f->words);
	a[1] = below(f, 3) * 512 + (one_in(f, 4) ? number(f) : 0);
}

/* None that could stop this kernel at an address of its own. */
static void make_debug(struct fuzz *f, u64 a[5])
{
	a[0] = number(f);
	a[1] = a[0] == 7 ? random(f) & ~0xffull : wild(f);
}

static void make_timer(struct fuzz *f, u64 a[5])
{
	a[0] = number(f);
}

static void make_operation(struct fuzz *f, u64 a[5])
{
	make_any(f, a);
	a[0] = number(f);
	a[2] = one_in(f, 4) ? number(f) : 1;
	if (a[2] > 100 && a[2] <= 4096) /* answers: further than there is room */
		a[2] = 1;
}

static const struct maker {
	u64 nr;
	void (*make)(struct fuzz *f, u64 a[5]);
	unsigned weight;
} makers[] = {
	{ __HYPERVISOR_mmu_update, make_updates, 20 },
	{ __HYPERVISOR_mmuext_op, make_ext, 20 },
	{ __HYPERVISOR_update_va_mapping, make_mapping, 20 },
	{ __HYPERVISOR_memory_op, make_memory, 8 },
	{ __HYPERVISOR_set_gdt, make_gdt, 3 },
	{ __HYPERVISOR_update_descriptor, make_descriptor, 3 },
	{ __HYPERVISOR_sched_op, make_sched, 2 },
	{ __HYPERVISOR_vcpu_op, make_vcpu, 6 },
	{ __HYPERVISOR_event_channel_op, make_events, 10 },
	{ __HYPERVISOR_set_debugreg, make_debug, 1 },
	{ __HYPERVISOR_get_debugreg, make_any, 1 },
	{ __HYPERVISOR_set_timer_op, make_timer, 1 },
	{ __HYPERVISOR_fpu_taskswitch, make_any, 1 },
	{ __HYPERVISOR_set_segment_base, make_operation, 2 },
	{ __HYPERVISOR_grant_table_op, make_operation, 4 },
	{ __HYPERVISOR_vm_assist, make_operation, 1 },
	{ __HYPERVISOR_xen_version, make_operation, 2 },
	{ __HYPERVISOR_physdev_op, make_operation, 1 },
	{ __HYPERVISOR_stack_switch, make_any, 1 },
};
#define WEIGHTS 107

static const struct maker *choose(struct fuzz *f)
{
	u64 n = below(f, WEIGHTS);
	const struct maker *m = makers;

	for (; n >= m->weight && m < &makers[ARRAY(makers) - 1]; m++)
		n -= m->weight;
	return m;
}

static s64 do_call(struct fuzz *f)
{
	const struct maker *m = choose(f);
	u64 a[5] = { 0 }, nr = m->nr;

	m->make(f, a);
	if (one_in(f, 50)) { /* some other call; those that make kernels enter elsewhere, or leave, are left out */
		nr = number(f);
		if (nr == __HYPERVISOR_set_trap_table || nr == __HYPERVISOR_set_callbacks || nr == __HYPERVISOR_iret ||
		    nr == __HYPERVISOR_callback_op || nr == __HYPERVISOR_sched_op || nr == __HYPERVISOR_console_io ||
		    nr == __HYPERVISOR_vcpu_op || nr == __HYPERVISOR_multicall || nr == __HYPERVISOR_mmuext_op ||
		    nr == __HYPERVISOR_mmu_update || nr == __HYPERVISOR_set_debugreg ||
		    nr == __HYPERVISOR_update_va_mapping)
			nr = 63;
	}
	return hypercall_with(nr, a[0], a[1], a[2], a[3], a[4]);
}

/* The same arguments in memory several times over: of calls that take them in registers. */
static s64 do_multicall(struct fuzz *f)
{
	u64 n = below(f, ARRAY(f->multi)) + 1;

	for (unsigned k = 0; k < n; k++) {
		u64 a[5] = { 0 };
		bool descriptor = one_in(f, 8);
		(descriptor ? make_descriptor : make_mapping)(f, a);
		f->multi[k] = (struct multicall_entry){ .op = descriptor ? __HYPERVISOR_update_descriptor
									 : __HYPERVISOR_update_va_mapping,
							.args = { a[0], a[1], a[2] } };
		if (one_in(f, 8))
			f->multi[k].op = one_in(f, 2) ? __HYPERVISOR_multicall : __HYPERVISOR_xen_version;
	}
	return hypercall(__HYPERVISOR_multicall, f->multi, n);
}

/* ---- stores ---- */

static s64 do_attempt(struct fuzz *f)
{
	static void (*const ways[])(void) = { store8, store16, store32, store64, store64, store64,  xchg64,  cmpxchg64,
					      bts64,  add64,   or8,	load64,	 load64,  store128, fxsave64 };
	u64 where = address(f);

	switch (below(f, 20)) {
	case 0: return attempt(stos, where, entry(f), below(f, 600));
	case 1: return attempt(movs, where, address(f), below(f, 600));
	case 2: return attempt(cmpxchg128, where & -16ull, entry(f), entry(f));
	default: return attempt(ways[below(f, ARRAY(ways))], where, one_in(f, 4) ? random(f) : entry(f));
	}
}

/* What is a table here and there is memory again, so that it does not become less and less. */
static void heal(struct fuzz *f)
{
	for (unsigned k = 0; k < 8; k++) {
		unsigned page = (unsigned)below(f, PAGES);

		mmu_op(MMUEXT_UNPIN_TABLE, frames[page], 0);
		map_as(arena[page], frames[page] * PAGE | (one_in(f, 4) ? RO : RW));
		if (one_in(f, 2))
			attempt(stos, arena[page], 0, 512);
	}
	for (unsigned k = 0; k < WINDOWS; k++)
		if (one_in(f, 8))
			update(mfn_of(kernel_l4()) * PAGE + (WINDOW + k) * 8, 0);
}

static void run(struct fuzz *f, u64 seed, u64 calls)
{
	f->state = seed * 0x9e3779b97f4a7c15ull + 1;
	for (u64 k = 0; k < calls; k++) {
		if (!(k & 63))
			heal(f);
		if (one_in(f, 3)) {
			f->attempts++;
			f->faults += do_attempt(f) != NOTHING;
			continue;
		}
		f->calls++;
		f->good += (one_in(f, 12) ? do_multicall(f) : do_call(f)) >= 0;
	}
}

void guest_cpu(unsigned cpu)
{
	if (cpu == BOUNCED)
		for (;;) {
			attempt(load64, arena);
			hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
		}
	run(&fuzzes[1], seed + 0x5eed, calls);
	__atomic_store_n(&finished, 1, __ATOMIC_SEQ_CST);
}

static const char *read_number(const char *text, u64 *value)
{
	if (*text >= '0' && *text <= '9')
		for (*value = 0; *text >= '0' && *text <= '9'; text++)
			*value = *value * 10 + (u64)(*text - '0');
	return *text == ',' ? text + 1 : text;
}

void guest_main(const char *which)
{
	read_number(read_number(which, &seed), &calls);
	for (u64 pfn = 0; pfn < start_info->nr_pages; pfn++)
		if (mfn_of_pfn(pfn) > last_mfn)
			last_mfn = mfn_of_pfn(pfn);
	for (unsigned k = 0; k < PAGES; k++)
		frames[k] = mfn_of(arena[k]);
	boot_cpu(1);
	boot_cpu(BOUNCED);
	run(&fuzzes[0], seed, calls);
	while (!__atomic_load_n(&finished, __ATOMIC_SEQ_CST))
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
	for (unsigned k = 0; k < 2; k++)
		print("CPU %d: %d calls, %d of them good; %d attempts, %d of them faults\n", (u64)k, fuzzes[k].calls,
		      fuzzes[k].good, fuzzes[k].attempts, fuzzes[k].faults);
	CHECK(fuzzes[0].good > calls / 16 && fuzzes[0].faults > calls / 32);
}
