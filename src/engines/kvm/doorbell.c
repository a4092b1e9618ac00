/* SPDX-License-Identifier: Apache-2.0 */
/* Doorbells of devices: the kernel takes the guest's write and signals an eventfd, and the vCPU goes on at once. */
#include <errno.h>
#include <sys/ioctl.h>

#include "engines/kvm/kvm-internal.h"

int doorbell(struct machine *m, u64 gpa, int fd, bool on)
{
	const struct kvm_vm *vm = m->engine;
	struct kvm_ioeventfd bell = { .addr = gpa, .fd = fd, .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN };

	return ioctl(vm->fd, KVM_IOEVENTFD, &bell) < 0 ? -errno : 0;
}
