/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether this host's /dev/kvm will do, and if not, why: no CPU support, no module, no permission, or a kernel that is too
 * old for something that the engine needs. Each has a remedy of its own, which the message names.
 *
 * The CPU is asked first. There are hosts whose /dev/kvm opens and yet has no guest mode behind it: PVM, which interprets the
 * kernel of a guest that was not made for it, a thousand times slower than src/engines/interp and with instructions missing.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engines/kvm/kvm-internal.h"
#include "util/cleanup.h"

#define DEVICE "/dev/kvm"

static const struct {
	int number;
	const char *name, *since;
} needed[] = {
#define NEED(cap, since)         \
	{                        \
		cap, #cap, since \
	}
	NEED(KVM_CAP_USER_MEMORY, "2.6.25"),
	NEED(KVM_CAP_SET_TSS_ADDR, "2.6.25"),
	NEED(KVM_CAP_EXT_CPUID, "2.6.25"),
	NEED(KVM_CAP_USER_NMI, "2.6.28"),
	NEED(KVM_CAP_SET_IDENTITY_MAP_ADDR, "2.6.32"),
	NEED(KVM_CAP_VCPU_EVENTS, "2.6.33"),
	NEED(KVM_CAP_MCE, "2.6.31"),
	NEED(KVM_CAP_DEBUGREGS, "2.6.35"),
	NEED(KVM_CAP_XSAVE, "2.6.36"),
	NEED(KVM_CAP_XCRS, "2.6.36"),
	NEED(KVM_CAP_GET_TSC_KHZ, "2.6.39"),
	NEED(KVM_CAP_IMMEDIATE_EXIT, "4.13"),
	NEED(KVM_CAP_X86_USER_SPACE_MSR, "5.10"),
	NEED(KVM_CAP_X86_MSR_FILTER, "5.10"),
#undef NEED
};

enum vendor { NEITHER, VMX, SVM };

static enum vendor cpu_support(void)
{
	u32 a, b, c, d;

	if (__get_cpuid(1, &a, &b, &c, &d) && c & BIT(5))
		return VMX;
	if (__get_cpuid(0x80000001, &a, &b, &c, &d) && c & BIT(2))
		return SVM;
	return NEITHER;
}

static int no_cpu_support(struct error *why)
{
	return error_set(
		why, ENODEV,
		"no CPU support: this CPU, or the hypervisor that this host runs under, has neither VMX nor SVM "
		"(in a virtual machine: enable nested virtualization)%s",
		access("/sys/module/kvm_pvm", F_OK) == 0
			? "; the /dev/kvm here is PVM's, which is for guest kernels made for it"
			: "");
}

/* There is no such device, or nothing behind it. */
static int no_device(struct error *why)
{
	const char *module = cpu_support() == VMX ? "kvm-intel" : "kvm-amd";

	return error_set(why, ENODEV,
			 "the CPU could, but the kernel's module is not loaded: `modprobe %s` as root; if that is "
			 "refused, enable virtualization in the firmware's set-up",
			 module);
}

static int no_permission(int code, struct error *why)
{
	struct stat st;
	const struct group *group;

	if (code == EPERM) /* not the file's mode: a device control group, or a security module */
		return error_set(why, code,
				 "no permission: " DEVICE
				 " is withheld from this container or service; pass the device "
				 "in (docker and podman: --device " DEVICE ")");
	if (stat(DEVICE, &st) == 0 && (st.st_mode & (S_IRGRP | S_IWGRP)) == (S_IRGRP | S_IWGRP)) {
		group = getgrgid(st.st_gid);
		if (group)
			return error_set(why, code,
					 "no permission on " DEVICE ": join its group (`usermod -aG %s $USER` as root, "
					 "then log in again), or run as root",
					 group->gr_name);
	}
	return error_set(why, code, "no permission on " DEVICE ": run as root, or have root do `chmod 666 " DEVICE "`");
}

static int cannot_open(int code, struct error *why)
{
	switch (code) {
	case ENOENT:
		if (access("/sys/module/kvm", F_OK) == 0)
			return error_set(why, code,
					 "the kernel has KVM, but there is no " DEVICE
					 " here: a container needs it passed in (--device " DEVICE ")");
		return no_device(why);
	case ENODEV:
	case ENXIO: return no_device(why);
	case EACCES:
	case EPERM: return no_permission(code, why);
	default: return error_set(why, code, "cannot open " DEVICE ": %s", strerror(code));
	}
}

static int check(int kvm, struct error *why)
{
	int version = ioctl(kvm, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION)
		return error_set(why, ENODEV, DEVICE " speaks version %d of its interface, not %d", version,
				 KVM_API_VERSION);
	for (unsigned i = 0; i < ARRAY_SIZE(needed); i++)
		if (ioctl(kvm, KVM_CHECK_EXTENSION, needed[i].number) <= 0)
			return error_set(why, ENODEV,
					 "this kernel's KVM is too old: it lacks %s, which came with Linux %s",
					 needed[i].name, needed[i].since);
	return 0;
}

int kvm_open(struct error *why)
{
	int fd;

	if (cpu_support() == NEITHER) {
		no_cpu_support(why);
		return -1;
	}
	fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		cannot_open(errno, why);
		return -1;
	}
	if (check(fd, why)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The module's parameter: it is for all guests of a host. */
const char *kvm_nested_paging(void)
{
	static const char *const files[] = { "/sys/module/kvm_intel/parameters/ept",
					     "/sys/module/kvm_amd/parameters/npt" };

	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_fd_ int fd = open(files[i], O_RDONLY | O_CLOEXEC);
		char c;

		if (fd >= 0 && read(fd, &c, 1) == 1)
			return c == 'Y' || c == '1' ? "on" : "off, by the module's parameter: page tables are shadowed";
	}
	return "unknown";
}

int kvm_probe(struct error *why)
{
	int fd = kvm_open(why);

	if (fd < 0)
		return why && why->code ? why->code : -ENODEV;
	close(fd);
	return 0;
}
