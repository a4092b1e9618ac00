/* SPDX-License-Identifier: Apache-2.0 */
/* What a vCPU leaves the guest for, each reason to the project's up-call; and the table of reasons for -v. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engines/kvm/kvm-internal.h"

static const char *const names[] = {
	[KVM_EXIT_UNKNOWN] = "unknown",
	[KVM_EXIT_EXCEPTION] = "exception",
	[KVM_EXIT_IO] = "port I/O",
	[KVM_EXIT_HYPERCALL] = "hypercall",
	[KVM_EXIT_DEBUG] = "debug",
	[KVM_EXIT_HLT] = "halt",
	[KVM_EXIT_MMIO] = "memory-mapped I/O",
	[KVM_EXIT_IRQ_WINDOW_OPEN] = "interrupt window",
	[KVM_EXIT_SHUTDOWN] = "shutdown",
	[KVM_EXIT_FAIL_ENTRY] = "failed entry",
	[KVM_EXIT_INTR] = "kick",
	[KVM_EXIT_SET_TPR] = "TPR lowered",
	[KVM_EXIT_INTERNAL_ERROR] = "internal error",
	[KVM_EXIT_SYSTEM_EVENT] = "system event",
	[KVM_EXIT_X86_RDMSR] = "RDMSR",
	[KVM_EXIT_X86_WRMSR] = "WRMSR",
};

/* ---- ports: a string instruction comes as one exit with many items ---- */
static void port_io(struct vcpu *v)
{
	struct kvm_run *run = cpu_of(v)->run;
	u8 *data = (u8 *)run + run->io.data_offset;
	unsigned size = run->io.size;

	v->stats.exits_io++;
	for (u32 i = 0; i < run->io.count; i++, data += size) {
		u64 value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, size);
			bus_write(&v->machine->pio, run->io.port, size, value);
		} else {
			value = bus_read(&v->machine->pio, run->io.port, size);
			memcpy(data, &value, size);
		}
	}
}

/* ---- memory ---- */

/* The largest piece of an access that begins here: what lies across pages comes in odd sizes. */
static unsigned piece(u64 gpa, unsigned len)
{
	unsigned size = 8;

	while (size > len || (len & (len - 1) && gpa & (size - 1)))
		size /= 2;
	return size;
}

static void memory_io(struct vcpu *v)
{
	struct kvm_run *run = cpu_of(v)->run;
	u64 gpa = run->mmio.phys_addr;
	unsigned len = MIN(run->mmio.len, 8u);

	v->stats.exits_mmio++;
	for (unsigned at = 0, size; at < len; at += size) {
		u64 value = 0;

		size = piece(gpa + at, len - at);
		if (run->mmio.is_write) {
			memcpy(&value, run->mmio.data + at, size);
			bus_write(&v->machine->mmio, gpa + at, size, value);
		} else {
			value = bus_read(&v->machine->mmio, gpa + at, size);
			memcpy(run->mmio.data + at, &value, size);
		}
	}
}

/* ---- the rest ---- */

/* Whether an NMI can end the halt, machine_wait() has to know. */
static int halt(struct vcpu *v, struct error *err)
{
	struct kvm_cpu *k = cpu_of(v);
	struct kvm_vcpu_events e;

	if (ioctl(k->fd, KVM_GET_VCPU_EVENTS, &e) < 0)
		return error_set(err, errno, "KVM and a vCPU's events: %s", strerror(errno));
	v->stats.halts++;
	v->halted = true;
	v->nmi_blocked = e.nmi.masked;
	v->rflags = k->run->if_flag ? v->rflags | FL_IF : v->rflags & ~(u64)FL_IF;
	debug_stepped(v);
	return 0;
}

/* The kernel cannot go on, and the guest has done nothing that would be an exception. */
static int internal_error(struct vcpu *v, struct error *err)
{
	const struct kvm_run *run = cpu_of(v)->run;
	char bytes[3 * 15 + 1] = "";
	struct kvm_regs r = { 0 };

	ioctl(cpu_of(v)->fd, KVM_GET_REGS, &r);
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && run->internal.ndata >= 4 &&
	    run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)
		for (unsigned i = 0, n = 0; i < MIN(run->emulation_failure.insn_size, 15u); i++)
			n += (unsigned)snprintf(bytes + n, sizeof(bytes) - n, " %02x",
						run->emulation_failure.insn_bytes[i]);
	return error_set(err, EIO, "KVM cannot go on with CPU %u at %#llx: %s %u%s%s", v->id, (unsigned long long)r.rip,
			 run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
				 ? "an instruction that it does not emulate, error"
				 : "internal error",
			 run->internal.suberror, *bytes ? ":" : "", bytes);
}

static void triple_fault(struct vcpu *v)
{
	machine_end(v->machine, END_TRIPLE_FAULT, 0);
	v->halted = true;
}

int exit_handle(struct vcpu *v, struct error *err)
{
	struct kvm_run *run = cpu_of(v)->run;

	v->stats.exit[MIN(run->exit_reason, (u32)ARRAY_SIZE(v->stats.exit) - 1)]++;
	switch (run->exit_reason) {
	case KVM_EXIT_IO: port_io(v); return 0;
	case KVM_EXIT_MMIO: memory_io(v); return 0;
	case KVM_EXIT_X86_RDMSR: return msr_exit_read(v, err);
	case KVM_EXIT_X86_WRMSR: return msr_exit_write(v, err);
	case KVM_EXIT_HLT: return halt(v, err);
	case KVM_EXIT_DEBUG: debug_exit(v); return 0;
	case KVM_EXIT_SHUTDOWN: triple_fault(v); return 0;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_SET_TPR: /* done by who entered */
	case KVM_EXIT_INTR: return 0;
	case KVM_EXIT_FAIL_ENTRY:
		return error_set(err, EIO, "KVM could not enter CPU %u's state: hardware reason %#llx", v->id,
				 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR: return internal_error(v, err);
	default:
		return error_set(err, EIO, "KVM left CPU %u for a reason that is not known here: %u", v->id,
				 run->exit_reason);
	}
}

void kvm_stats(struct machine *m, void (*line)(const char *fmt, ...))
{
	line("%-20s %s", "nested paging", kvm_nested_paging());
	line("%-20s %s", "KVM exits, by reason", "count");
	for (unsigned i = 0; i < ARRAY_SIZE(m->vcpu[0]->stats.exit); i++) {
		u64 sum = 0;

		for (unsigned c = 0; c < m->config.cpus; c++)
			sum += m->vcpu[c]->stats.exit[i];
		if (sum)
			line("%-20s %" PRIu64, i < ARRAY_SIZE(names) && names[i] ? names[i] : "other", sum);
	}
}
