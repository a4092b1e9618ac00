/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs that go down: the last one takes the domain with it, as nobody could bring another up.
 *
 * cpus: 3
 * status: 0
 */
#include "kit.h"

void guest_main(const char *which)
{
	boot_cpu(1);
	boot_cpu(2); /* both go down at once */
	for (u64 cpu = 1; cpu < 3; cpu++) {
		while (hypercall(__HYPERVISOR_vcpu_op, VCPUOP_is_up, cpu))
			relax();
		EQ(0, hypercall(__HYPERVISOR_vcpu_op, VCPUOP_down, cpu)); /* it is already */
	}
	hypercall(__HYPERVISOR_vcpu_op, VCPUOP_down, 0);
	fail("down", 0, "gone on", 0, 0);
}
