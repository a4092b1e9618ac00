/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vector instructions: what the host cannot be asked about, or not safely. Permission to execute, floating-point exceptions, and
 * what a page fault leaves behind. Arithmetic is the differential test's.
 */
#include "sys-guest.h"
#include "emulate/vector.h"

#define LE32(x) (u8)(x), (u8)((x) >> 8), (u8)((u32)(x) >> 16), (u8)((u32)(x) >> 24)
#define PD	0x40000
#define HOLE	0x400000 /* the first address without a page */

#define PADDB	    0x66, 0x0f, 0xfc, 0xc1
#define PADDB_MMX   0x0f, 0xfc, 0xc1
#define VPADDB	    0xc5, 0xf9, 0xfc, 0xc1
#define DIVPS	    0x0f, 0x5e, 0xc1
#define VADDPS_YMM  0xc5, 0xfc, 0x58, 0xc1
#define MOVAPS(a)   0x0f, 0x28, 0x05, LE32(a)
#define MOVUPS(a)   0x0f, 0x10, 0x05, LE32(a)
#define VMOVUPS(a)  0xc5, 0xfc, 0x11, 0x05, LE32(a) /* store of 32 bytes */
#define VMASK_ST(a) 0xc4, 0xe2, 0x75, 0x2e, 0x05, LE32(a) /* vmaskmovps [a], ymm1, ymm0 */
#define VMASK_LD(a) 0xc4, 0xe2, 0x75, 0x2c, 0x05, LE32(a) /* vmaskmovps ymm0, ymm1, [a] */
#define GATHER	    0xc4, 0xe2, 0x65, 0x90, 0x04, 0x20 /* vpgatherdd ymm0, [eax + ymm4], ymm3 */

/* 32-bit, everything on, one page of 4 MiB and nothing above it. */
static struct vcpu *guest_vector(void **state)
{
	struct vcpu *v = guest_protected(state, 0);
	struct guest *g = *state;

	put32(g, PD, PTE_P | PTE_W | PTE_PS);
	v->r[RAX] = CR4_PSE | CR4_OSFXSR | CR4_OSXSAVE | CR4_OSXMMEXCPT;
	assert_int_equal(RUN(g, 0x0f, 0x22, 0xe0), OK);
	v->r[RAX] = PD;
	assert_int_equal(RUN(g, 0x0f, 0x22, 0xd8), OK);
	v->r[RAX] = CR0_PG | CR0_PE;
	assert_int_equal(RUN(g, 0x0f, 0x22, 0xc0), OK);
	v->r[RAX] = 7;
	v->r[RCX] = v->r[RDX] = 0;
	assert_int_equal(RUN(g, 0x0f, 0x01, 0xd1), OK); /* XSETBV */
	return v;
}

static void set_cr0(struct guest *g, u64 value)
{
	g->v->r[RAX] = value;
	assert_int_equal(RUN(g, 0x0f, 0x22, 0xc0), OK);
}
static void set_cr4(struct guest *g, u64 value)
{
	g->v->r[RAX] = value;
	assert_int_equal(RUN(g, 0x0f, 0x22, 0xe0), OK);
}

static void permission(void **state)
{
	struct vcpu *v = guest_vector(state);
	struct guest *g = *state;

	assert_int_equal(v->simd_ok, SIMD_SSE | SIMD_AVX | SIMD_AVX2);
	assert_int_equal(RUN(g, PADDB), OK);
	assert_int_equal(RUN(g, VPADDB), OK);
	assert_int_equal(RUN(g, PADDB_MMX), OK);

	set_cr0(g, CR0_PG | CR0_PE | CR0_TS);
	assert_int_equal(RUN(g, PADDB), EXC_NM);
	assert_int_equal(RUN(g, VPADDB), EXC_NM);
	assert_int_equal(RUN(g, PADDB_MMX), EXC_NM);
	set_cr0(g, CR0_PG | CR0_PE | CR0_TS | CR0_EM); /* EM is not for VEX */
	assert_int_equal(RUN(g, PADDB), EXC_UD);
	assert_int_equal(RUN(g, VPADDB), EXC_NM);
	assert_int_equal(RUN(g, PADDB_MMX), EXC_UD);
	set_cr0(g, CR0_PG | CR0_PE | CR0_TS);
	assert_int_equal(RUN(g, 0x0f, 0x06), OK); /* CLTS */
	assert_int_equal(RUN(g, PADDB), OK);

	set_cr4(g, CR4_PSE | CR4_OSXSAVE);
	assert_int_equal(RUN(g, PADDB), EXC_UD);
	assert_int_equal(RUN(g, VPADDB), OK);
	assert_int_equal(RUN(g, PADDB_MMX), OK);
	set_cr4(g, CR4_PSE | CR4_OSFXSR);
	assert_int_equal(RUN(g, PADDB), OK);
	assert_int_equal(RUN(g, VPADDB), EXC_UD);
}

static void xcr0(void **state)
{
	struct vcpu *v = guest_vector(state);
	struct guest *g = *state;

	v->r[RAX] = XCR0_X87 | XCR0_SSE;
	assert_int_equal(RUN(g, 0x0f, 0x01, 0xd1), OK);
	assert_int_equal(RUN(g, VPADDB), EXC_UD);
	assert_int_equal(RUN(g, PADDB), OK);
}

static void float_exceptions(void **state)
{
	struct vcpu *v = guest_vector(state);
	struct guest *g = *state;
	const union vreg one = { .f = { 1, 1, 1, 1, 1, 1, 1, 1 } }, three = { .f = { 3, 3, 3, 3 } };

	v->v[0] = one;
	v->v[1] = three;
	simd_set_mxcsr(v, MXCSR_DEFAULT);
	simd_enter(v);
	assert_int_equal(RUN(g, DIVPS), OK);
	assert_int_equal(simd_get_mxcsr(v), MXCSR_DEFAULT | 0x20);
	assert_int_equal(v->v[0].d[0], 0x3eaaaaab);

	/* Division by zero, unmasked: the destination and the upper half stay, only ZE is added. */
	v->v[0] = one;
	v->v[1] = (union vreg){ .f = { 0, 3, 3, 3 } };
	simd_set_mxcsr(v, MXCSR_DEFAULT & ~0x200u);
	assert_int_equal(RUN(g, DIVPS), EXC_XM);
	assert_memory_equal(&v->v[0], &one, sizeof(one));
	assert_int_equal(simd_get_mxcsr(v), (MXCSR_DEFAULT & ~0x200u) | 4);
	set_cr4(g, CR4_PSE | CR4_OSFXSR);
	assert_int_equal(RUN(g, DIVPS), EXC_UD);

	/* Underflow, unmasked: an exact denormal result raises it, masked it would not. */
	set_cr4(g, CR4_PSE | CR4_OSFXSR | CR4_OSXSAVE | CR4_OSXMMEXCPT);
	v->v[0] = v->v[1] = (union vreg){ .d = { [7] = 0x00200000 } };
	simd_set_mxcsr(v, MXCSR_DEFAULT & ~0x800u);
	assert_int_equal(RUN(g, VADDPS_YMM), EXC_XM);
	assert_int_equal(simd_get_mxcsr(v), (MXCSR_DEFAULT & ~0x800u) | 0x12);
	simd_set_mxcsr(v, MXCSR_DEFAULT);
	assert_int_equal(RUN(g, VADDPS_YMM), OK);
	assert_int_equal(v->v[0].d[7], 0x00400000);
	simd_leave(v);
	assert_int_equal(v->mxcsr, MXCSR_DEFAULT | 2);
}

static void alignment(void **state)
{
	struct vcpu *v = guest_vector(state);
	struct guest *g = *state;

	put64(g, 0x5008, 0x1122334455667788);
	assert_int_equal(RUN(g, MOVAPS(0x5008)), EXC_GP);
	assert_int_equal(RUN(g, MOVUPS(0x5008)), OK);
	assert_int_equal(v->v[0].q[0], 0x1122334455667788);
	assert_int_equal(RUN(g, MOVAPS(0x5000)), OK);
	assert_int_equal(v->v[0].q[1], 0x1122334455667788);
}

static void stores_at_a_hole(void **state)
{
	struct vcpu *v = guest_vector(state);
	struct guest *g = *state;
	u64 end = HOLE - 16;

	memset(&v->v[0], 0xaa, 32);
	v->v[1] = (union vreg){ .d = { ~0u, 0, ~0u, 0 } };
	assert_int_equal(RUN(g, VMOVUPS(HOLE - 16)), EXC_PF);
	assert_int_equal(v->event.cr2, HOLE);
	assert_int_equal(get64(g, end), 0);

	v->v[1].d[5] = ~0u; /* the first element selected beyond the end faults */
	assert_int_equal(RUN(g, VMASK_ST(HOLE - 16)), EXC_PF);
	assert_int_equal(v->event.cr2, HOLE + 4);
	assert_int_equal(get64(g, end), 0);
	v->v[1].d[5] = 0;
	assert_int_equal(RUN(g, VMASK_ST(HOLE - 16)), OK);
	assert_int_equal(get64(g, end), 0xaaaaaaaa);
	assert_int_equal(get64(g, end + 8), 0xaaaaaaaa);
	put32(g, end + 4, 5);
	assert_int_equal(RUN(g, VMASK_LD(HOLE - 16)), OK);
	assert_int_equal(v->v[0].q[0], 0xaaaaaaaa);
	assert_int_equal(v->v[0].q[2], 0);
}

static void gather_resumes(void **state)
{
	struct vcpu *v = guest_vector(state);
	struct guest *g = *state;

	for (unsigned k = 0; k < 8; k++)
		put32(g, 0x5000 + 4 * k, 100 + k);
	v->r[RAX] = 0x5000;
	memset(&v->v[0], 0xee, 32);
	memset(&v->v[3], 0xff, 32);
	v->v[3].d[1] = 0;
	v->v[4] = (union vreg){ .d = { 0, 4, 8, HOLE, 16, 20, 24, 28 } };
	assert_int_equal(RUN(g, GATHER), EXC_PF);
	assert_int_equal(v->event.cr2, 0x5000 + HOLE);
	const u32 done[] = { 100, 0xeeeeeeee, 102, 0xeeeeeeee, 0xeeeeeeee }, left[] = { 0, 0, 0, ~0u, ~0u };
	assert_memory_equal(&v->v[0], done, sizeof(done));
	assert_memory_equal(&v->v[3], left, sizeof(left));
	v->v[4].d[3] = 12;
	assert_int_equal(RUN(g, GATHER), OK);
	const u32 all[] = { 100, 0xeeeeeeee, 102, 103, 104, 105, 106, 107 };
	assert_memory_equal(&v->v[0], all, sizeof(all));
	assert_int_equal(v->v[3].d[7], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(permission, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(xcr0, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(float_exceptions, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(alignment, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(stores_at_a_hole, guest_new, guest_free),
		cmocka_unit_test_setup_teardown(gather_resumes, guest_new, guest_free),
	};

	return cmocka_run_group_tests_name("vector", tests, NULL, NULL);
}
