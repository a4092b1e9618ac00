/* SPDX-License-Identifier: Apache-2.0 */
/* Small hypercalls: of the CPU's own state, of where the kernel is entered, of ports, of the version, of what it says early. */
#include <string.h>

#include "emulate/emulate.h"
#include "platform/xen/console.h"
#include "platform/xen/events.h"
#include "platform/xen/hypercall.h"
#include "platform/xen/traps.h"

/* ---- entries of the kernel ---- */

/* (table, which ends with a handler at 0; NULL: none is left) */
s64 hypercall_set_trap_table(struct vcpu *v, const u64 arg[6])
{
	struct trap_info *traps = xen_cpu_of(v)->traps, t;

	if (!arg[0]) {
		memset(traps, 0, sizeof(xen_cpu_of(v)->traps));
		return 0;
	}
	/* No table is longer than there are vectors twice over. */
	for (u64 n = 0; n < 512; n++) {
		if (guest_read(v, arg[0] + n * sizeof(t), &t, sizeof(t)))
			return -XEN_EFAULT;
		if (!t.address)
			return 0;
		if (!is_canonical(t.address))
			return -XEN_EINVAL;
		traps[t.vector] = t;
	}
	return -XEN_EINVAL;
}

/* (selector, pointer): the stack on which a program's trap enters the kernel */
s64 hypercall_stack_switch(struct vcpu *v, const u64 arg[6])
{
	xen_cpu_of(v)->kernel_ss = arg[0];
	xen_cpu_of(v)->kernel_sp = arg[1];
	return 0;
}

static s64 set_entry(struct xen_entry *e, u64 rip, bool masks)
{
	if (!is_canonical(rip))
		return -XEN_EINVAL;
	*e = (struct xen_entry){ rip, masks };
	return 0;
}

/* (event, failsafe, system call) */
s64 hypercall_set_callbacks(struct vcpu *v, const u64 arg[6])
{
	struct xen_cpu *c = xen_cpu_of(v);

	if (!is_canonical(arg[0]) || !is_canonical(arg[1]) || !is_canonical(arg[2]))
		return -XEN_EINVAL;
	c->event = (struct xen_entry){ arg[0], true };
	c->failsafe.rip = arg[1];
	c->syscall.rip = arg[2];
	return 0;
}

static struct xen_entry *entry_of(struct xen_cpu *c, unsigned type)
{
	switch (type) {
	case CALLBACKTYPE_event: return &c->event;
	case CALLBACKTYPE_failsafe: return &c->failsafe;
	case CALLBACKTYPE_syscall: return &c->syscall;
	default: return NULL;
	}
}

s64 hypercall_callback_op(struct vcpu *v, const u64 arg[6])
{
	struct xen_cpu *c = xen_cpu_of(v);
	struct callback_register reg;
	struct callback_unregister unreg;
	struct xen_entry *e;

	switch (arg[0]) {
	case CALLBACKOP_register:
		if (guest_read(v, arg[1], &reg, sizeof(reg)))
			return -XEN_EFAULT;
		e = entry_of(c, reg.type);
		return e ? set_entry(e, reg.address, reg.flags & CALLBACKF_mask_events) : -XEN_ENOSYS;
	case CALLBACKOP_unregister:
		if (guest_read(v, arg[1], &unreg, sizeof(unreg)))
			return -XEN_EFAULT;
		return entry_of(c, unreg.type) ? -XEN_EINVAL : 0; /* those that there are must be */
	default: return -XEN_ENOSYS;
	}
}

/* ---- the CPU's state ---- */

/* (CR0.TS) */
s64 hypercall_fpu_taskswitch(struct vcpu *v, const u64 arg[6])
{
	v->cr0 = arg[0] ? v->cr0 | CR0_TS : v->cr0 & ~(u64)CR0_TS;
	simd_update(v);
	return 0;
}

/* (number, value). What DR7 allows is breakpoints; DR4 and DR5 are no registers. */
s64 hypercall_set_debugreg(struct vcpu *v, const u64 arg[6])
{
	u64 n = arg[0], value = arg[1];

	switch (n) {
	case 0 ... 3:
		if (!is_canonical(value))
			return -XEN_EPERM;
		break;
	case 6: value = (value & (0xf | DR6_BD | DR6_BS | DR6_BT)) | DR6_FIXED; break;
	case 7:
		value = (value & 0xffff0fffull & ~(0xc00ull | DR7_GD)) | DR7_FIXED;
		for (unsigned k = 16; k < 32; k += 4)
			if ((value >> k & 3) == 2) /* I/O breakpoints */
				return -XEN_EPERM;
		break;
	default: return -XEN_EINVAL;
	}
	v->dr[n] = value;
	if (n != 6) {
		mmu_update_watchpoints(v);
		v->stop_now = true;
	}
	return 0;
}

s64 hypercall_get_debugreg(struct vcpu *v, const u64 arg[6])
{
	return arg[0] < 4 || arg[0] == 6 || arg[0] == 7 ? (s64)v->dr[arg[0]] : -XEN_EINVAL;
}

static void load_gs(struct vcpu *v, void *selector)
{
	segment_load(v, SEG_GS, *(u16 *)selector);
}

/* The programs' GS, while the kernel has its own: as SWAPGS, MOV GS, SWAPGS would load it. One that is no good is null. */
static void set_user_gs(struct vcpu *v, u16 selector)
{
	u64 kernel = v->seg[SEG_GS].base;
	u16 null = 0;

	if (!try_run(v, load_gs, &selector))
		load_gs(v, &null);
	v->msr.kernel_gs_base = v->seg[SEG_GS].base;
	v->seg[SEG_GS].base = kernel;
}

/* (which, base or selector) */
s64 hypercall_set_segment_base(struct vcpu *v, const u64 arg[6])
{
	if (arg[0] <= SEGBASE_GS_KERNEL && !is_canonical(arg[1]))
		return -XEN_EINVAL;
	switch (arg[0]) {
	case SEGBASE_FS: v->seg[SEG_FS].base = arg[1]; return 0;
	case SEGBASE_GS_USER: v->msr.kernel_gs_base = arg[1]; return 0;
	case SEGBASE_GS_KERNEL: v->seg[SEG_GS].base = arg[1]; return 0;
	case SEGBASE_GS_USER_SEL: set_user_gs(v, (u16)arg[1]); return 0;
	default: return -XEN_EINVAL;
	}
}

/* (on or off, which): hints that change nothing of ours, but for how runstate is published */
s64 hypercall_vm_assist(struct vcpu *v, const u64 arg[6])
{
	struct xen_domain *d = xen_of(v);

	if (arg[1] >= 64)
		return -XEN_EINVAL;
	switch (arg[0]) {
	case VMASST_CMD_enable: atomic_fetch_or(&d->vm_assist, BIT(arg[1])); return 0;
	case VMASST_CMD_disable: atomic_fetch_and(&d->vm_assist, ~BIT(arg[1])); return 0;
	default: return -XEN_ENOSYS;
	}
}

/* ---- console_io ---- */

#define PIECE	 4096u /* bytes at once */
#define TEXT_MAX 65536u /* of one call; what is longer loses its end */

/* (write, length, address). A hypervisor's own console shows it; here it would come between the guest's and its user, who may ask for it. */
s64 hypercall_console_io(struct vcpu *v, const u64 arg[6])
{
	u32 left = MIN((u32)arg[1], TEXT_MAX), len;
	u8 text[PIECE];

	if (arg[0] != CONSOLEIO_write)
		return arg[0] == CONSOLEIO_read ? 0 : -XEN_ENOSYS;
	for (u64 gla = arg[2]; left; gla += len, left -= len) {
		len = MIN(left, PIECE);
		if (guest_read(v, gla, text, len))
			return -XEN_EFAULT;
		if (xen_of(v)->early_console)
			console_write(xen_of(v), text, len);
	}
	return 0;
}

/* ---- xen_version ---- */

#define XEN_MAJOR 4
#define XEN_MINOR 17
#define FEATURES                                                                                                      \
	(1u << XENFEAT_pae_pgdir_above_4gb | 1u << XENFEAT_mmu_pt_update_preserve_ad | 1u << XENFEAT_highmem_assist | \
	 1u << XENFEAT_gnttab_map_avail_bits)

static s64 put(struct vcpu *v, u64 gla, const void *bytes, u64 len)
{
	return guest_write(v, gla, bytes, len) ? -XEN_EFAULT : 0;
}

static s64 get_features(struct vcpu *v, u64 gla)
{
	struct xen_feature_info info;

	if (guest_read(v, gla, &info, sizeof(info)))
		return -XEN_EFAULT;
	if (info.submap_idx >= XENFEAT_NR_SUBMAPS)
		return -XEN_EINVAL;
	info.submap = FEATURES;
	return put(v, gla, &info, sizeof(info));
}

s64 hypercall_xen_version(struct vcpu *v, const u64 arg[6])
{
	static const xen_extraversion_t extra = "-sextant";
	static const xen_capabilities_info_t capabilities = "xen-3.0-x86_64";
	static const xen_changeset_info_t changeset = "unavailable";
	static const struct xen_compile_info compile = { "unavailable", "sextant", "", "" };
	const struct xen_platform_parameters parameters = { .virt_start = HYPERVISOR_VIRT_START };

	switch (arg[0]) {
	case XENVER_version: return XEN_MAJOR << 16 | XEN_MINOR;
	case XENVER_extraversion: return put(v, arg[1], extra, sizeof(extra));
	case XENVER_compile_info: return put(v, arg[1], &compile, sizeof(compile));
	case XENVER_capabilities: return put(v, arg[1], capabilities, sizeof(capabilities));
	case XENVER_changeset: return put(v, arg[1], changeset, sizeof(changeset));
	case XENVER_platform_parameters: return put(v, arg[1], &parameters, sizeof(parameters));
	case XENVER_get_features: return get_features(v, arg[1]);
	case XENVER_pagesize: return PAGE_SIZE;
	case XENVER_guest_handle: return put(v, arg[1], (u8[16]){ 0 }, 16);
	default: return -XEN_ENOSYS;
	}
}

/* ---- physdev_op: ports ---- */

static s64 set_iopl(struct vcpu *v, u64 gla)
{
	struct physdev_set_iopl set;

	if (guest_read(v, gla, &set, sizeof(set)))
		return -XEN_EFAULT;
	if (set.iopl > 3)
		return -XEN_EINVAL;
	xen_cpu_of(v)->iopl = (u8)set.iopl;
	return 0;
}

static s64 set_io_bitmap(struct vcpu *v, u64 gla)
{
	struct physdev_set_iobitmap set;

	if (guest_read(v, gla, &set, sizeof(set)))
		return -XEN_EFAULT;
	if (set.nr_ports > 65536)
		return -XEN_EINVAL;
	xen_cpu_of(v)->io_bitmap = (u64)set.bitmap.p;
	xen_cpu_of(v)->io_ports = set.nr_ports;
	return 0;
}

s64 hypercall_physdev_op(struct vcpu *v, const u64 arg[6])
{
	switch (arg[0]) {
	case PHYSDEVOP_set_iopl: return set_iopl(v, arg[1]);
	case PHYSDEVOP_set_iobitmap: return set_io_bitmap(v, arg[1]);
	default: return -XEN_ENOSYS;
	}
}

/* The map is in the kernel's memory. */
static bool bitmap_allows(struct vcpu *v, u16 port, unsigned size)
{
	struct xen_cpu *c = xen_cpu_of(v);
	u8 bits[2] = { 0xff, 0xff };
	unsigned bytes = (port & 7) + size > 8 ? 2 : 1;
	bool ok;

	if (!c->io_bitmap || (u32)port + size > c->io_ports)
		return false;
	traps_set_kernel(v, true);
	ok = !guest_read(v, c->io_bitmap + port / 8, bits, bytes);
	traps_set_kernel(v, false);
	return ok && !((bits[0] | bits[1] << 8) >> (port & 7) & (BIT(size) - 1));
}

bool ports_allowed(struct vcpu *v, u16 port, unsigned size)
{
	return v->guest_kernel || xen_cpu_of(v)->iopl == 3 || bitmap_allows(v, port, size);
}
