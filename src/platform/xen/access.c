/* SPDX-License-Identifier: Apache-2.0 */
/* What hypercalls' arguments point to: guest memory by linear address, without unwinding. See domain.h. */

#include "mmu/mmu.h"
#include "platform/xen/domain.h"

int guest_read(struct vcpu *v, u64 gla, void *buf, u64 len)
{
	return mmu_try_read(v, gla, buf, len) ? 0 : -XEN_EFAULT;
}

int guest_write(struct vcpu *v, u64 gla, const void *buf, u64 len)
{
	return mmu_try_write(v, gla, buf, len) ? 0 : -XEN_EFAULT;
}
