/* SPDX-License-Identifier: Apache-2.0 */
/* info: what the machine and its parts are and do. Parts of the machine tell for themselves (machine/inspect.h). */
#include <stdio.h>
#include <string.h>

#include "debug/monitor-internal.h"
#include "machine/flags.h"
#include "mmu/mmu.h"

#define LINES_MAX 1000

/* ---- CPUs ---- */

static const char *mode_name(const struct vcpu *v)
{
	static const char *const names[] = { [MODE_REAL] = "real mode",
					     [MODE_V86] = "virtual-8086",
					     [MODE_PROTECTED] = "protected mode",
					     [MODE_COMPAT] = "compatibility mode",
					     [MODE_LONG] = "64-bit mode" };
	return names[v->mode];
}

static const char *state_name(const struct vcpu *v)
{
	return v->wait_sipi ? "waits for SIPI" : v->halted ? "halted" : "runs";
}

static void info_cpus(struct monitor *mon, struct text *out)
{
	for (unsigned i = 0; i < mon->machine->config.cpus; i++) {
		const struct vcpu *v = mon->machine->vcpu[i];

		text_printf(out, "%c CPU %u: pc %04x:%016llx, %s, CPL %u, %s\n", i == mon->cpu ? '*' : ' ', i,
			    v->seg[SEG_CS].selector, (unsigned long long)v->rip, mode_name(v), v->cpl, state_name(v));
	}
}

static void put_flags(const struct vcpu *v, struct text *out)
{
	static const struct {
		u32 bit;
		const char *name;
	} names[] = { { FL_CF, "CF" }, { FL_PF, "PF" }, { FL_AF, "AF" }, { FL_ZF, "ZF" }, { FL_SF, "SF" },
		      { FL_TF, "TF" }, { FL_IF, "IF" }, { FL_DF, "DF" }, { FL_OF, "OF" }, { FL_NT, "NT" },
		      { FL_RF, "RF" }, { FL_VM, "VM" }, { FL_AC, "AC" } };
	u64 flags = (v->rflags & ~(u64)FL_ARITH) | flags_get(v);

	text_printf(out, "rflags %08llx [", (unsigned long long)flags);
	for (unsigned i = 0, n = 0; i < ARRAY_SIZE(names); i++)
		if (flags & names[i].bit)
			text_printf(out, "%s%s", n++ ? " " : "", names[i].name);
	text_printf(out, "]  %s, CPL %u, %s%s%s\n", mode_name(v), v->cpl, state_name(v),
		    v->shadow ? ", interrupt shadow" : "", v->nmi_blocked ? ", NMI blocked" : "");
}

static void put_segment(const char *name, const struct segment *s, struct text *out)
{
	text_printf(out, "%-4s %04x base %016llx limit %08x rights %05x\n", name, s->selector,
		    (unsigned long long)s->base, s->limit, s->ar);
}

static void put_system(const struct vcpu *v, struct text *out)
{
	static const char *const names[NR_SEG] = { "es", "cs", "ss", "ds", "fs", "gs" };

	for (unsigned i = 0; i < NR_SEG; i++)
		put_segment(names[i], &v->seg[i], out);
	put_segment("ldtr", &v->ldtr, out);
	put_segment("tr", &v->tr, out);
	text_printf(out, "gdtr base %016llx limit %04x\nidtr base %016llx limit %04x\n",
		    (unsigned long long)v->gdtr.base, v->gdtr.limit, (unsigned long long)v->idtr.base, v->idtr.limit);
	text_printf(out, "cr0 %08llx  cr2 %016llx  cr3 %016llx  cr4 %08llx  efer %04llx\n", (unsigned long long)v->cr0,
		    (unsigned long long)v->cr2, (unsigned long long)v->cr3, (unsigned long long)v->cr4,
		    (unsigned long long)v->efer);
	for (unsigned i = 0; i < 8; i++)
		if (i != 4 && i != 5)
			text_printf(out, "dr%u %016llx%s", i, (unsigned long long)v->dr[i],
				    i == 3 || i == 7 ? "\n" : "  ");
}

static void put_vectors(const struct vcpu *v, struct text *out)
{
	text_printf(out, "fctrl %04x  fstat %04x  ftag %02x  mxcsr %08x  xcr0 %llx\n", v->x87.cw, v->x87.sw, v->x87.tag,
		    v->mxcsr, (unsigned long long)v->xcr0);
	for (unsigned i = 0; i < 8; i++)
		text_printf(out, "fpr%u %04x:%016llx%s", i, v->x87.fpr[i].e, (unsigned long long)v->x87.fpr[i].m,
			    i % 2 ? "\n" : "  ");
	for (unsigned i = 0; i < 16; i++)
		text_printf(out, "ymm%-2u %016llx %016llx %016llx %016llx\n", i, (unsigned long long)v->v[i].q[3],
			    (unsigned long long)v->v[i].q[2], (unsigned long long)v->v[i].q[1],
			    (unsigned long long)v->v[i].q[0]);
}

static void info_regs(struct monitor *mon, struct text *out)
{
	static const char *const names[NR_GPR] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
						   "r8",  "r9",	 "r10", "r11", "r12", "r13", "r14", "r15" };
	const struct vcpu *v = monitor_cpu(mon);

	text_printf(out, "CPU %u\n", mon->cpu);
	for (unsigned i = 0; i < NR_GPR; i++)
		text_printf(out, "%-3s %016llx%s", names[i], (unsigned long long)v->r[i], i % 4 == 3 ? "\n" : "  ");
	text_printf(out, "rip %016llx  ", (unsigned long long)v->rip);
	put_flags(v, out);
	put_system(v, out);
	put_vectors(v, out);
}

/* ---- memory ---- */

struct lines {
	struct text *out;
	unsigned n;
};

static bool put_mapping(void *arg, const struct mmu_mapping *m)
{
	struct lines *l = arg;

	if (l->n++ >= LINES_MAX)
		return false;
	text_printf(l->out, "%016llx-%016llx -> %012llx %c%c%c%c%c\n", (unsigned long long)m->first,
		    (unsigned long long)m->last, (unsigned long long)m->gpa, m->rights & PTE_U ? 'u' : '-',
		    m->rights & PTE_W ? 'w' : '-', m->rights & PTE_NX ? '-' : 'x', m->rights & PTE_G ? 'g' : '-',
		    m->rights & PTE_PS ? 'L' : '-');
	return true;
}

static void info_mem(struct monitor *mon, struct text *out)
{
	struct lines l = { .out = out };

	if (!(monitor_cpu(mon)->cr0 & CR0_PG))
		text_puts(out, "paging is off\n");
	else if (!mmu_list_mappings(monitor_cpu(mon), put_mapping, &l))
		text_puts(out, "...\n");
}

static void info_tlb(struct monitor *mon, struct text *out)
{
	struct lines l = { .out = out };

	if (!monitor_cpu(mon)->mmu)
		text_puts(out, "this engine has no TLB of ours\n");
	else
		mmu_list_tlb(monitor_cpu(mon), put_mapping, &l);
	if (l.n > LINES_MAX)
		text_puts(out, "...\n");
}

static void put_bus(const struct bus *b, unsigned digits, struct text *out)
{
	for (unsigned i = 0; i < b->count; i++) {
		const struct region *r = &b->regions[i];

		text_printf(out, "  %0*llx-%0*llx %s\n", (int)digits, (unsigned long long)r->base, (int)digits,
			    (unsigned long long)(r->base + r->len - 1), r->name);
	}
}

static void info_mtree(struct monitor *mon, struct text *out)
{
	const struct machine *m = mon->machine;

	text_printf(out, "memory:\n  %012x-%012llx RAM\n", 0, (unsigned long long)m->low_size - 1);
	if (m->high_size)
		text_printf(out, "  %012llx-%012llx RAM\n", HIGH_RAM_BASE,
			    (unsigned long long)(HIGH_RAM_BASE + m->high_size - 1));
	put_bus(&m->mmio, 12, out);
	text_puts(out, "ports:\n");
	put_bus(&m->pio, 4, out);
}

/* ---- status ---- */

static void info_status(struct monitor *mon, struct text *out)
{
	struct machine *m = mon->machine;
	u64 now = clock_now(m->clock);

	text_printf(out, "%s, %u CPU%s, %llu MiB, %s time %llu.%09llu s\n", machine_held(m) ? "stopped" : "running",
		    m->config.cpus, m->config.cpus == 1 ? "" : "s",
		    (unsigned long long)(m->low_size + m->high_size) >> 20,
		    m->config.deterministic ? "deterministic" : "host-paced", (unsigned long long)(now / NSEC_PER_SEC),
		    (unsigned long long)(now % NSEC_PER_SEC));
	if (m->debug.count)
		text_printf(out, "%u breakpoints and watchpoints\n", m->debug.count);
}

static void info_points(struct monitor *mon, struct text *out)
{
	static const char *const kinds[] = { "breakpoint", "hardware breakpoint", "watchpoint, write",
					     "watchpoint, read", "watchpoint, access" };
	const struct machine_debug *d = &mon->machine->debug;

	for (unsigned i = 0; i < d->count; i++)
		text_printf(out, "%016llx %llu %s\n", (unsigned long long)d->point[i].gla,
			    (unsigned long long)d->point[i].len, kinds[d->point[i].kind]);
}

/* ---- the table ---- */

static const struct {
	const char *name, *help;
	void (*print)(struct monitor *mon, struct text *out);
} topics[] = {
	{ "breakpoints", "what a debugger has set", info_points },
	{ "cpus", "each CPU's place and state", info_cpus },
	{ "mem", "what the page tables map: user, write, execute, global, Large", info_mem },
	{ "mtree", "who is at which address", info_mtree },
	{ "regs", "all registers of the current CPU", info_regs },
	{ "status", "whether the machine runs", info_status },
	{ "tlb", "the software TLB of the current CPU", info_tlb },
};

static void list_topics(struct monitor *mon, struct text *out)
{
	for (unsigned i = 0; i < ARRAY_SIZE(topics); i++)
		text_printf(out, "info %-12s %s\n", topics[i].name, topics[i].help);
	for (const struct inspect *i = mon->machine->inspects; i; i = i->next)
		if (i->info)
			text_printf(out, "info %-12s %s\n", i->name, i->help ? i->help : "");
}

void cmd_info(struct monitor *mon, const char *args, struct text *out)
{
	char topic[32];
	bool found = false;

	if (!take_word(&args, topic, sizeof(topic))) {
		list_topics(mon, out);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(topics); i++) {
		if (!strcmp(topics[i].name, topic)) {
			topics[i].print(mon, out);
			found = true;
		}
	}
	for (const struct inspect *i = mon->machine->inspects; i; i = i->next) {
		if (i->info && !strcmp(i->name, topic)) {
			i->info(i->arg, out);
			found = true;
		}
	}
	if (!found)
		text_printf(out, "nothing is known of '%s'; `info` lists what is\n", topic);
}
