/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A debugger's steps, breakpoints and watchpoints, by the CPU's debug registers and trap flag as KVM lends them
 * (KVM_SET_GUEST_DEBUG). The guest's memory and its own debug registers stay as they are; while points are set, though, the
 * guest's own do not fire, as there are only four.
 *
 * Watchpoints have the registers first: nothing else can do what they do. Breakpoints get what is left; where there are more
 * of them the guest is stepped, instruction by instruction, and looked at before each. x86 has no register that watches for
 * reads alone: those of writes are told as well.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engines/kvm/kvm-internal.h"
#include "machine/control.h"

#define REGISTERS 4
enum { ON_EXECUTION = 0, ON_WRITE = 1, ON_ACCESS = 3 };

/* SDM vol. 3, 18.2.4: naturally aligned pieces of 1, 2, 4 or 8 bytes; LEN is 0, 1, 3, 2. */
static unsigned largest_piece(u64 gla, u64 len)
{
	unsigned size = 8;

	while (size > len || gla & (size - 1))
		size /= 2;
	return size;
}

static bool use_register(struct kvm_cpu *k, unsigned point, u64 gla, unsigned size, unsigned on)
{
	static const u8 len_field[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
	struct kvm_guest_debug *d = &k->debug;
	unsigned n = k->registers;

	if (n == REGISTERS)
		return false;
	d->arch.debugreg[n] = gla;
	d->arch.debugreg[7] |= BIT(2 * n + 1) | (u64)(len_field[size] << 2 | on) << (16 + 4 * n);
	k->register_point[n] = (u8)point;
	k->registers++;
	return true;
}

static void set_watchpoints(struct kvm_cpu *k, const struct machine_debug *md)
{
	for (unsigned i = 0; i < md->count; i++) {
		const struct debug_point *p = &md->point[i];
		unsigned on = p->kind == POINT_WRITE ? ON_WRITE : ON_ACCESS, size;

		if (point_breaks(p))
			continue;
		for (u64 at = 0; at < p->len; at += size) {
			size = largest_piece(p->gla + at, p->len - at);
			if (!use_register(k, i, p->gla + at, size, on))
				return;
		}
	}
}

static void set_breakpoints(struct kvm_cpu *k, const struct machine_debug *md)
{
	for (unsigned i = 0; i < md->count; i++)
		if (point_breaks(&md->point[i]) && !use_register(k, i, md->point[i].gla, 1, ON_EXECUTION))
			k->stepping = true;
}

void debug_prepare(struct vcpu *v)
{
	struct kvm_cpu *k = cpu_of(v);
	const struct machine_debug *md = &v->machine->debug;

	v->debug.breaks = md->breaks;
	v->debug.watches = md->watches;
	k->debug = (struct kvm_guest_debug){ .arch.debugreg[7] = DR7_FIXED };
	k->registers = 0;
	k->stepping = v->debug.step;
	set_watchpoints(k, md);
	set_breakpoints(k, md);
	if (k->registers)
		k->debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	if (k->stepping)
		k->debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
	if (k->vm->blocks_irqs && debug_holds_off(v))
		k->debug.control |= KVM_GUESTDBG_BLOCKIRQ;
	if (v->debug.pass ||
	    v->debug.step) /* SDM vol. 3, 18.3.1.1: the breakpoint at the first instruction does not fire */
		v->rflags |= FL_RF;
	v->debug.pass = false;
}

int debug_load(struct vcpu *v, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);

	if (!k->debug.control && !k->debugging)
		return 0;
	k->debugging = k->debug.control;
	if (ioctl(k->fd, KVM_SET_GUEST_DEBUG, &k->debug) < 0)
		return error_set(err, errno, "KVM does not let CPU %u be debugged: %s", v->id, strerror(errno));
	return 0;
}

/* The debugger's step takes no interrupt, so that it ends at the next instruction; a halt ends by nothing else. */
bool debug_holds_off(const struct vcpu *v)
{
	return v->debug.step && !v->machine->debug.step_interrupts && !v->halted;
}

void debug_stepped(struct vcpu *v)
{
	if (v->debug.step && !v->debug.stop)
		v->debug.stop = STOP_STEP;
}

/* Which of the registers' points was met; false: none that the debugger has set. */
static bool met(struct vcpu *v, u64 dr6)
{
	const struct kvm_cpu *k = cpu_of(v);

	for (unsigned n = 0; n < k->registers; n++) {
		const struct debug_point *p = &v->machine->debug.point[k->register_point[n]];

		if (!(dr6 & DR6_B(n)))
			continue;
		v->debug.stop = point_breaks(p) ? STOP_BREAK : STOP_WATCH;
		v->debug.watch_kind = p->kind;
		v->debug.watch_gla = p->gla;
		if (v->debug.stop == STOP_WATCH)
			break;
	}
	return v->debug.stop;
}

/* KVM_EXIT_DEBUG. What is left when it was no point and no step of the debugger's is a step of ours. */
void debug_exit(struct vcpu *v)
{
	const struct kvm_run *run = cpu_of(v)->run;

	if (met(v, run->debug.arch.dr6))
		return;
	if (v->debug.step)
		v->debug.stop = STOP_STEP;
	else if (machine_breaks_at(v->machine, run->debug.arch.pc))
		v->debug.stop = STOP_BREAK;
}
