/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differential instruction test: random instructions on random operands, run by us and by the host CPU, and all state compared.
 * It takes every row of the instruction table that user code can run; a row that no case reached is a failure.
 *
 * Hosts run 64-bit user code here. What exists in 16- and 32-bit code alone (AAA, BOUND, PUSHA) has its own table in legacy.c, and what
 * the kernel alone may do is for the assembly guests in tests/asm.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "case.h"
#include "legacy.h"
#include "util/cleanup.h"
#include "x86/ops.h"

struct options {
	u64 count, seed, only; /* only: one index, or ~0 */
	const char *op, *backend;
	bool verbose, list;
	unsigned shown; /* failures printed for each row */
};

struct run {
	struct options opt;
	struct forms forms;
	struct host *host;
	const struct backend *backend;
	u16 rows[NR_OPS]; /* what is tested, in turn */
	unsigned nrows;
	u64 done[NR_OPS], clean[NR_OPS]; /* times a row ran; ran and reached the INT3 */
	u64 failed[NR_OPS], cases, failures, skipped;
	struct {
		const char *why;
		u64 n;
	} skips[16];
	struct outcome ours[BATCH];
};

static void print_image(const struct testcase *t)
{
	const struct image *in = &t->in;

	for (unsigned k = 0; k < 16; k++)
		printf("%s%s=%016llx%s", k % 4 ? " " : "  in ",
		       (const char *[]){ "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8 ", "r9 ", "r10",
					 "r11", "r12", "r13", "r14", "r15" }[k],
		       (unsigned long long)in->r[k], k % 4 == 3 ? "\n" : "");
	printf("  in rflags=%llx mxcsr=%x fcw=%x fsw=%x ftag=%x\n", (unsigned long long)in->rflags, in->mxcsr,
	       in->x87.cw, in->x87.sw, in->x87.tag);
}

static void print_registers(const struct testcase *t)
{
	for (unsigned k = 0; k < 16; k++) {
		const u64 *q = (const u64 *)t->in.v[k];
		printf("  in ymm%-2u %016llx_%016llx_%016llx_%016llx\n", k, (unsigned long long)q[3],
		       (unsigned long long)q[2], (unsigned long long)q[1], (unsigned long long)q[0]);
	}
	for (unsigned k = 0; k < 8; k++)
		printf("  in st%u %04x:%016llx\n", k, t->in.x87.st[k].e, (unsigned long long)t->in.x87.st[k].m);
}

static void print_case(const struct run *r, const struct testcase *t)
{
	printf("repeat: -s %llu -i %llu%s%s -b %s\n", (unsigned long long)t->seed, (unsigned long long)t->index,
	       t->op ? " -o " : "", t->op ? op_facts[t->op].name : "", r->backend->name);
	for (unsigned k = 0; k < t->code_len;) {
		char text[128] = "(none)";
		unsigned n = insn_format(text, sizeof(text), t->code + k, t->code_len - k, CODE_64, t->in.rip + k);
		printf("  %llx ", (unsigned long long)t->in.rip + k);
		for (unsigned b = 0; b < (n ? n : t->code_len - k); b++)
			printf(" %02x", t->code[k + b]);
		printf("  %s\n", text);
		k += n ? n : t->code_len - k;
	}
	print_image(t);
}

static void count_skip(struct run *r, const char *why)
{
	unsigned k = 0;

	while (k < ARRAY_SIZE(r->skips) - 1 && r->skips[k].why && strcmp(r->skips[k].why, why))
		k++;
	r->skips[k].why = why;
	r->skips[k].n++;
	r->skipped++;
}

/* Whether the host's child has something of its own at an address (its binary, a sanitizer's shadow): a fork has what we have. */
static bool in_use(u64 gla)
{
	unsigned char resident;

	return gla >> 47 == 0 && mincore((void *)(gla & PAGE_MASK), 1, &resident) == 0;
}

static void judge(struct run *r, const struct testcase *t, const struct outcome *ours, const struct outcome *host)
{
	char text[8192];
	u16 about = t->op ? t->op : ours->steps ? ours->ops[ours->steps - 1] : OP_NONE;

	r->cases++;
	for (unsigned k = 0; k < ours->steps; k++) {
		r->done[ours->ops[k]]++;
		if (ours->vector == 3 || k + 1 < ours->steps)
			r->clean[ours->ops[k]]++;
	}
	if (!compare(t, ours, host, text, sizeof(text)) && r->opt.only == ~0ull)
		return;
	if (*text && ours->vector == EXC_PF && in_use(ours->cr2)) {
		count_skip(r, "address that the host's process uses");
		return;
	}
	if (*text)
		r->failures++;
	if (*text && r->failed[about]++ >= r->opt.shown)
		return;
	print_case(r, t);
	if (r->opt.verbose)
		print_registers(t);
	printf("  ours: vector %u error %x cr2 %llx; host: vector %u\n%s", ours->vector, ours->error,
	       (unsigned long long)ours->cr2, host->vector, text);
}

/* Our side goes first: what it calls unfit (a system call, no end) never reaches the host. */
static bool run_batch(struct run *r, u64 first, unsigned n)
{
	struct exchange *x = host_exchange(r->host);
	u16 op;

	x->count = 0;
	for (unsigned k = 0; k < n; k++) {
		struct testcase *t = &x->in[x->count];
		u64 index = first + k;
		op = r->nrows && (r->opt.op || index % 4) ? r->rows[(index - index / 4) % r->nrows] : OP_NONE;
		generate(&r->forms, t, r->opt.seed, index, op);
		r->backend->run(t, &r->ours[x->count]);
		if (r->ours[x->count].how == HOW_SKIP)
			count_skip(r, r->ours[x->count].skip);
		else
			x->count++;
	}
	if (x->count && !host_run(r->host))
		return false;
	for (unsigned k = 0; k < x->count; k++)
		judge(r, &x->in[k], &r->ours[k], &x->out[k]);
	return true;
}

static bool tested_row(const struct run *r, unsigned op)
{
	return !(op_facts[op].attr & OP_SYS) && r->forms.first[op] != r->forms.first[op + 1] &&
	       host_has(op_facts[op].feature);
}

static bool choose_rows(struct run *r)
{
	for (unsigned op = 1; op < NR_OPS; op++)
		if (tested_row(r, op) && (!r->opt.op || !strcasecmp(r->opt.op, op_facts[op].name)))
			r->rows[r->nrows++] = (u16)op;
	return r->nrows || !r->opt.op;
}

/* Rows that nothing ran. Rows without a 64-bit encoding are legacy.c's. */
static unsigned report_coverage(const struct run *r)
{
	unsigned missing = 0;

	for (unsigned op = 1; op < NR_OPS; op++) {
		const char *state = "";
		if (op_facts[op].attr & OP_SYS)
			continue;
		if (!host_has(op_facts[op].feature))
			state = "  host lacks it";
		else if (!r->done[op] && !legacy_covers((u16)op))
			state = "  NEVER RAN", missing += r->opt.only == ~0ull && !r->opt.op;
		if (r->opt.list)
			printf("%-20s %10llu ran %10llu completed%s\n", op_facts[op].name,
			       (unsigned long long)r->done[op], (unsigned long long)r->clean[op], state);
		else if (*state && !r->opt.op && r->opt.only == ~0ull)
			printf("%s:%s\n", op_facts[op].name, state);
	}
	return missing;
}

static void report(const struct run *r)
{
	for (unsigned op = 0; op < NR_OPS; op++)
		if (r->failed[op])
			printf("%-20s %llu failed of %llu\n", op ? op_facts[op].name : "(no instruction)",
			       (unsigned long long)r->failed[op], (unsigned long long)r->done[op]);
	for (unsigned k = 0; k < ARRAY_SIZE(r->skips) && r->skips[k].why; k++)
		printf("not compared: %llu cases, %s\n", (unsigned long long)r->skips[k].n, r->skips[k].why);
	printf("%s: %llu cases compared, %llu differ, %llu not compared; seed %llu\n", r->backend->name,
	       (unsigned long long)r->cases, (unsigned long long)r->failures, (unsigned long long)r->skipped,
	       (unsigned long long)r->opt.seed);
}

static const char usage[] =
	"usage: insn-test [-n CASES] [-s SEED] [-o INSTRUCTION] [-i INDEX] [-b exec|interp|dbt] [-f SHOWN] [-l] [-v]\n"
	"  -n CASES  how many (100000)      -s SEED   which ones (1)\n"
	"  -o NAME   one row of the table   -i INDEX  one case, printed whatever it gives\n"
	"  -b NAME   which of our sides     -f SHOWN  failures printed for each row (2)\n"
	"  -l        coverage by row        -v        inputs in full\n";

static bool parse(struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:s:o:i:b:f:lv")) != -1)
		switch (c) {
		case 'n': o->count = strtoull(optarg, NULL, 0); break;
		case 's': o->seed = strtoull(optarg, NULL, 0); break;
		case 'i': o->only = strtoull(optarg, NULL, 0); break;
		case 'f': o->shown = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'o': o->op = optarg; break;
		case 'b': o->backend = optarg; break;
		case 'l': o->list = true; break;
		case 'v': o->verbose = true; break;
		default: return false;
		}
	return optind == argc;
}

static bool run_all(struct run *r)
{
	if (r->opt.only != ~0ull)
		return run_batch(r, r->opt.only, 1);
	for (u64 k = 0; k < r->opt.count; k += BATCH)
		if (!run_batch(r, k, (unsigned)MIN(r->opt.count - k, (u64)BATCH)))
			return false;
	return true;
}

int main(int argc, char **argv)
{
	static const struct backend *const backends[] = { &backend_exec, &backend_interp, &backend_dbt };
	_cleanup_free_ struct run *r = calloc(1, sizeof(*r));

	if (!r)
		return 2;
	r->opt = (struct options){ .count = 100000, .seed = 1, .only = ~0ull, .shown = 2, .backend = "exec" };
	if (!parse(&r->opt, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	for (unsigned k = 0; k < ARRAY_SIZE(backends); k++)
		if (!strcmp(r->opt.backend, backends[k]->name))
			r->backend = backends[k];
	if (!r->backend || forms_find(&r->forms) || !choose_rows(r)) {
		fprintf(stderr, "insn-test: no such back end or instruction\n");
		return 2;
	}
	r->host = host_start();
	if (!r->host || r->backend->start()) {
		fprintf(stderr, "insn-test: the host's child or our side does not start\n");
		return 2;
	}
	bool ok = run_all(r);
	host_stop(r->host);
	r->backend->stop();
	free(r->forms.all);
	report(r);
	unsigned missing = report_coverage(r);
	unsigned legacy = r->opt.op || r->opt.only != ~0ull ? 0 : legacy_test();
	return ok && !r->failures && !missing && !legacy ? 0 : 1;
}
