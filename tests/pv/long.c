/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hypercall that would take hours: as many requests as can be counted, which 32 GiB of addresses show that lead to one page. The other CPU has
 * its flushes and its tables meanwhile, and then ends the run, which waits for nobody.
 *
 * cpus: 2
 */
#include "kit.h"

#define TURNS 200
#define SLOT  5

#define TABLE static u64 __attribute__((aligned(4096)))
TABLE three[512], two[512], one[512], requests[512], data[512], table[512];
static bool begun;

void guest_cpu(unsigned cpu)
{
	while (!__atomic_load_n(&begun, __ATOMIC_SEQ_CST))
		relax();
	EQ(0, make_ro(table));
	for (unsigned k = 0; k < TURNS; k++) {
		EQ(0, mmu_op(MMUEXT_TLB_FLUSH_ALL, 0, 0));
		EQ(0, mmu_op(MMUEXT_INVLPG_ALL, PTR(data), 0));
		EQ(0, pin(1 + k % 4, table));
		EQ(0, unpin(table));
	}
	CHECK(data[0]); /* it is under way */
	quit(33);
}

void guest_main(const char *which)
{
	struct multicall_entry calls[64];

	for (unsigned k = 0; k < 512; k += 2) {
		requests[k] = mfn_of(data) * PAGE;
		requests[k + 1] = k + 1;
	}
	for (unsigned k = 0; k < 512; k++) {
		one[k] = pte_of(requests, RO);
		two[k] = pte_of(one, RW);
		three[k] = pte_of(two, RW);
	}
	EQ(0, make_ro(one));
	EQ(0, make_ro(two));
	EQ(0, make_ro(three));
	EQ(0, update_entry(kernel_l4(), SLOT, pte_of(three, RW)));
	boot_cpu(1);
	for (unsigned k = 0; k < ARRAY(calls); k++)
		calls[k] = (struct multicall_entry){ .op = __HYPERVISOR_mmu_update,
						     .args = { (u64)SLOT << 39, 0x7fffffff, 0, DOMID_SELF } };
	__atomic_store_n(&begun, true, __ATOMIC_SEQ_CST);
	hypercall(__HYPERVISOR_multicall, calls, ARRAY(calls));
	fail("long", 0, "it came to an end", 0, calls[0].result);
}
