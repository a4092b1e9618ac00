/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lock-step finds what is wrong: a guest of a few instructions runs under --check until it writes to a port; from then on the
 * test changes a constant in each translation that there is, as a translator with a mistake would have written it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "engines/dbt/dbt-internal.h"
#include "engines/dbt/dbt.h"

#define RAM    (4u << 20)
#define PML4   0x1000u
#define CODE   0x10000u
#define DATA   0x20000u
#define UNUSED 0x300000u /* nothing is ever there */
#define PORT   0xe0u

/* Constants of the guest's that no other bytes look like. */
#define IN_LEA	 0x11223344u
#define IN_STORE 0x55667711u
#define IN_DISP	 0x00010808u

struct guest {
	struct machine *m;
	struct vcpu *v;
	u32 constant; /* which one writes to the port change */
	unsigned changed;
	bool stray; /* it stores where no store should be */
	bool done;
};

/* In all translations that there are; each has it at most a few times. */
static unsigned change(struct dbt *d, u32 constant)
{
	const struct emit *parts[] = { &d->hot, &d->cold };
	u8 *begins[] = { d->generation[0].hot.begin, d->generation[0].cold.begin };
	unsigned found = 0;

	for (unsigned k = 0; k < 2; k++)
		for (u8 *p = begins[k]; p + 4 <= parts[k]->p; p++)
			if (*(u32_una *)p == constant) {
				*p ^= 1;
				found++;
			}
	return found;
}

static void port_write(void *dev, u64 offset, unsigned size, u64 value)
{
	struct guest *g = dev;

	if (value == 2) {
		vcpu_post(g->v, EV_STOP);
		return;
	}
	if (g->constant)
		g->changed += change(dbt_of(g->v), g->constant);
	if (g->stray && !g->done)
		g->m->ram[UNUSED] ^= 1;
	g->done = true;
}

/* clang-format off */
static const u8 code[] = {
	0xb9, 0xd0, 0x07, 0x00, 0x00,				/*    mov ecx, 2000 */
	0xbf, 0x00, 0x00, 0x02, 0x00,				/*    mov edi, DATA */
	0x8d, 0x81, 0x44, 0x33, 0x22, 0x11,			/* 1: lea eax, [rcx + IN_LEA] */
	0x01, 0xc2,						/*    add edx, eax */
	0xc7, 0x07, 0x11, 0x77, 0x66, 0x55,			/*    mov dword [rdi], IN_STORE */
	0x89, 0x97, 0x08, 0x08, 0x01, 0x00,			/*    mov [rdi + IN_DISP], edx */
	0x81, 0xf9, 0x64, 0x00, 0x00, 0x00,			/*    cmp ecx, 100 */
	0x7f, 0x04,						/*    jg 2f */
	0xb0, 0x01, 0xe6, PORT,					/*    mov al, 1; out PORT, al */
	0xff, 0xc9,						/* 2: dec ecx */
	0x75, 0xdc,						/*    jnz 1b */
	0xb0, 0x02, 0xe6, PORT,					/*    mov al, 2; out PORT, al */
	0xeb, 0xfe,						/*    jmp . */
};
/* clang-format on */

/* 64-bit code, the first GiB mapped to itself. */
static void boot(struct guest *g)
{
	struct vcpu *v = g->v;
	u64 *table = (u64 *)(g->m->ram + PML4);

	table[0] = (PML4 + 0x1000) | PTE_P | PTE_W;
	table[512] = (PML4 + 0x2000) | PTE_P | PTE_W;
	for (unsigned k = 0; k < 512; k++)
		table[1024 + k] = (u64)k << 21 | PTE_P | PTE_W | PTE_PS;
	memcpy(g->m->ram + CODE, code, sizeof(code));
	v->cr0 = CR0_PE | CR0_PG | CR0_ET;
	v->cr3 = PML4;
	v->cr4 = CR4_PAE;
	v->efer = EFER_LME | EFER_LMA;
	v->seg[SEG_CS] = (struct segment){ .limit = ~0u,
					   .ar = AR_P | AR_S | AR_CODE | AR_READ | AR_ACCESSED | AR_L,
					   .selector = 8 };
	v->rip = CODE;
	vcpu_update_mode(v);
}

/* Runs the guest; what --check says of it, or NULL. */
static const char *run(struct guest *g, u64 stretch)
{
	static const struct region_ops ops = { .write = port_write };
	struct machine_config config = {
		.ram_size = RAM, .cpus = 1, .model = cpu_model_find(NULL, NULL), .deterministic = true, .check = stretch
	};
	struct region port = { .base = PORT, .len = 1, .ops = &ops, .dev = g, .name = "test" };
	struct error err = { 0 };
	const struct vcpu_ops *engine = engine_dbt.vcpu;

	g->m = machine_new(&config, &err);
	assert_non_null(g->m);
	g->m->vcpu_ops = engine;
	g->v = g->m->vcpu[0];
	assert_int_equal(bus_add(&g->m->pio, &port, &err), 0);
	boot(g);
	vcpu_set_current(g->v);
	assert_int_equal(engine->create(g->v, &err), 0);
	int r = engine->run(g->v, &err);
	engine->destroy(g->v);
	vcpu_set_current(NULL);
	assert_true(g->done && !g->constant == !g->changed);
	if (!r)
		return NULL;
	assert_int_equal(err.code, -EPROTO);
	assert_non_null(g->m->report);
	return g->m->report;
}

static void expect(u32 constant, u64 stretch, const char *differs, const char *insn)
{
	struct guest g = { .constant = constant };
	const char *report = run(&g, stretch);

	assert_non_null(report);
	if (!strstr(report, differs) || !strstr(report, insn))
		fail_msg("no %s or no %s in: %s", differs, insn, report);
	machine_free(g.m);
}

static void right(void **state)
{
	for (u64 stretch = 1; stretch <= 10000; stretch *= 100) {
		struct guest g = { 0 };
		const char *report = run(&g, stretch);

		if (report)
			fail_msg("%s", report);
		machine_free(g.m);
	}
}

/* The block is found in a stretch of many as well. */
static void wrong_register(void **state)
{
	expect(IN_LEA, 1, "rdx: dbt", "lea eax");
	expect(IN_LEA, 10000, "rdx: dbt", "lea eax");
}

static void wrong_value_stored(void **state)
{
	expect(IN_STORE, 1, "memory at physical address 0x20000", "mov dword ptr [rdi]");
	expect(IN_STORE, 10000, "memory at physical address 0x20000", "mov dword ptr [rdi]");
}

static void wrong_address_stored_to(void **state)
{
	expect(IN_DISP, 1, "memory at physical address 0x30808", "mov [rdi+0x10808], edx");
	expect(IN_DISP, 10000, "memory at physical address 0x30808", "mov [rdi+0x10808], edx");
}

/* The second side never stores there, so it takes a look at all memory. */
static void stray_store(void **state)
{
	struct guest g = { .stray = true };
	const char *report = run(&g, 10000);

	assert_non_null(report);
	assert_non_null(strstr(report, "memory at physical address 0x300000"));
	machine_free(g.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right),
		cmocka_unit_test(wrong_register),
		cmocka_unit_test(wrong_value_stored),
		cmocka_unit_test(wrong_address_stored_to),
		cmocka_unit_test(stray_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
