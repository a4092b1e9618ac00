/* SPDX-License-Identifier: Apache-2.0 */
/* The platform's figures for -v: what the guest asked for, and what it did that had to be caught. */
#include <stdio.h>

#include "platform/xen/backends.h"
#include "platform/xen/hypercall.h"
#include "platform/xen/mm.h"
#include "platform/xen/xen.h"

#define LINE_MAX 200

static u64 of(const struct xen_domain *d, size_t at)
{
	u64 n = 0;

	for (unsigned c = 0; c < d->cpus; c++)
		n += *(const u64 *)((const u8 *)&d->cpu[c].counts + at);
	return n;
}
#define SUM(field) ((unsigned long long)of(d, offsetof(struct xen_counts, field)))

static u64 sub_count(const struct xen_domain *d, unsigned nr, unsigned sub)
{
	return of(d, offsetof(struct xen_counts, sub) + (nr * XEN_SUB_OPS + sub) * sizeof(u64));
}

static void operations(const struct xen_domain *d, unsigned nr, char *text, size_t size)
{
	size_t len = 0;

	*text = 0;
	for (unsigned k = 0; k < XEN_SUB_OPS && len + 40 < size; k++) {
		unsigned long long n = sub_count(d, nr, k);

		if (n)
			len += (size_t)snprintf(text + len, size - len, "%s%u x %llu", len ? ", " : " (", k, n);
	}
	if (len)
		snprintf(text + len, size - len, ")");
}

/* What isolation rests on is counted again: a difference is a mistake of ours. */
static void check_frames(struct xen_domain *d, void (*line)(const char *fmt, ...))
{
	struct error err = { 0 };

	if (!d->mm)
		return;
	if (mm_check(d, &err))
		line("frames: WRONG: %s", err.text);
	else
		line("frames: all types and counts are as the tables say");
}

void xen_stats(struct machine *m, void (*line)(const char *fmt, ...))
{
	struct xen_domain *d = m->platform;
	char text[LINE_MAX];

	for (unsigned nr = 0; nr < XEN_HYPERCALLS; nr++) {
		unsigned long long n = of(d, offsetof(struct xen_counts, call) + nr * sizeof(u64));

		if (!n)
			continue;
		operations(d, nr, text, sizeof(text));
		if (hypercall_name(nr))
			line("hypercall %s: %llu%s", hypercall_name(nr), n, text);
		else
			line("hypercall %u, which there is none of: %llu", nr, n);
	}
	line("page tables: %llu entries changed by hypercall; %llu by stores of the kernel, and %llu such refused",
	     SUM(updates), SUM(table_stores), SUM(table_refusals));
	line("kernel entered: %llu system calls, %llu exceptions, %llu events; left: %llu by iret", SUM(syscalls),
	     SUM(exceptions), SUM(upcalls), SUM(irets));
	line("privileged instructions emulated: %llu CPUID, %llu MSRs, %llu control registers, %llu others",
	     SUM(cpuids), SUM(msrs), SUM(controls), SUM(others));
	backends_stats(d, line);
	check_frames(d, line);
}
