/* SPDX-License-Identifier: Apache-2.0 */
/* The machine that our side runs cases in: flat 64-bit paging, the cases' pages for the user, one page of the supervisor's. */
#pragma once
#include "case.h"
#include "machine/machine.h"

#define GUEST_RAM      (2u << 20)
/* Guest physical: page tables below, then the cases' pages. */
#define GPA_CODE       0x10000ull
#define GPA_DATA       0x12000ull
#define GPA_RO	       0x14000ull
/* For engines that deliver exceptions themselves: IDT, GDT, TSS, gates' targets and a stack. */
#define GPA_SUPERVISOR 0x20000ull
#define SUPERVISOR_GLA 0xffff800000000000ull
#define SUPERVISOR_LEN 0x8000u

struct guest {
	struct machine *m;
	struct vcpu *v;
	u8 *code, *data; /* host addresses of the cases' pages */
	unsigned dirty_off, dirty_len;
};
int guest_open(struct guest *g);
void guest_close(struct guest *g);
/* How an engine hears that code has changed: vcpu_ops.memory_changed. */
typedef void guest_tell(struct vcpu *v, u64 gpa, u64 len);
/* The vCPU at CPL 3 in 64-bit code with the case's registers; its code and data in place. tell may be NULL. */
void guest_load(struct guest *g, const struct testcase *t, guest_tell *tell);
/* Registers and data after it. */
void guest_store(struct guest *g, struct outcome *o);

/* Which flags step `bytes`, about to run in state v, leaves undefined, and how loosely its results are compared. */
struct meaning {
	u32 read, written, undefined;
	u32 loose;
};
void insn_meaning(struct meaning *m, const struct vcpu *v, const struct insn *i, const u8 *bytes, u32 rflags);
