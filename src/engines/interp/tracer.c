/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --trace: one line an executed instruction: its number, CPU, instruction pointer, disassembly, and the registers it changed.
 * Nothing in a line depends on the host, so traces of two deterministic runs are equal byte for byte.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/interp/interp-internal.h"
#include "engines/interp/tracefile.h"

struct tracer {
	struct tracefile *file;
	u64 number;
	char text[160];
	u64 r[NR_GPR], cr3;
	u64 flags;
	union vreg v[16];
};

struct tracer *tracer_open(struct vcpu *v, const char *path, struct error *err)
{
	struct tracer *t = calloc(1, sizeof(*t));

	if (!t) {
		error_set(err, ENOMEM, "no memory for the trace");
		return NULL;
	}
	t->file = tracefile_open(v, path, err);
	if (!t->file) {
		free(t);
		return NULL;
	}
	return t;
}

void tracer_close(struct tracer *t)
{
	tracefile_close(t->file);
	free(t);
}

/* The bytes as far as they are mapped, without faults. */
static unsigned peek_code(struct vcpu *v, u8 *bytes, unsigned want)
{
	for (unsigned k = 0; k < want; k++) {
		u64 gpa;
		if (!mmu_translate(v, code_linear(v, v->rip + k), &gpa))
			return k;
		const u8 *p = ram_ptr(v->machine, gpa, 1);
		if (!p)
			return k;
		bytes[k] = *p;
	}
	return want;
}

void tracer_before(struct tracer *t, struct vcpu *v)
{
	u8 bytes[15];
	char text[120];
	unsigned n = peek_code(v, bytes, sizeof(bytes));

	if (!insn_format(text, sizeof(text), bytes, n, v->code_size, v->rip))
		snprintf(text, sizeof(text), "(bad)");
	snprintf(t->text, sizeof(t->text), "%u %04x:%016llx %-40s", v->id, v->seg[SEG_CS].selector,
		 (unsigned long long)v->rip, text);
	memcpy(t->r, v->r, sizeof(t->r));
	t->flags = (v->rflags & ~(u64)FL_ARITH) | flags_get(v);
	t->cr3 = v->cr3;
	memcpy(t->v, v->v, sizeof(t->v));
}

void tracer_after(struct tracer *t, struct vcpu *v)
{
	static const char names[NR_GPR][4] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
	u64 flags = (v->rflags & ~(u64)FL_ARITH) | flags_get(v);

	tracefile_print(t->file, "%llu %s", (unsigned long long)t->number++, t->text);
	for (unsigned k = 0; k < NR_GPR; k++)
		if (t->r[k] != v->r[k])
			tracefile_print(t->file, " %s=%llx", names[k], (unsigned long long)v->r[k]);
	if (t->flags != flags)
		tracefile_print(t->file, " rflags=%llx", (unsigned long long)flags);
	if (t->cr3 != v->cr3)
		tracefile_print(t->file, " cr3=%llx", (unsigned long long)v->cr3);
	for (unsigned k = 0; k < 16; k++)
		if (memcmp(&t->v[k], &v->v[k], sizeof(v->v[k])) != 0)
			tracefile_print(t->file, " ymm%u=%016llx%016llx%016llx%016llx", k,
					(unsigned long long)v->v[k].q[3], (unsigned long long)v->v[k].q[2],
					(unsigned long long)v->v[k].q[1], (unsigned long long)v->v[k].q[0]);
	tracefile_print(t->file, "\n");
}

void tracer_event(struct tracer *t, struct vcpu *v)
{
	static const char *const types[] = { "interrupt", "NMI", "exception", "INT", "INT", "INT1" };
	const struct cpu_event *e = &interp_of(v)->first;

	tracefile_print(t->file, "# %s %u", types[e->type], e->vector);
	if (e->has_error)
		tracefile_print(t->file, " error=%x", e->error);
	if (e->type == EVENT_EXCEPTION && e->vector == EXC_PF)
		tracefile_print(t->file, " cr2=%llx", (unsigned long long)e->cr2);
	tracefile_print(t->file, " -> %04x:%llx\n", v->seg[SEG_CS].selector, (unsigned long long)v->rip);
}
