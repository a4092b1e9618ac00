/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: guest RAM, address dispatch, interrupt lines, clock, vCPUs and lifecycle; what every engine runs and every
 * device plugs into. It names no engine, no device and no platform.
 *
 * Threads: one a vCPU, and one I/O thread (loop.h). Devices are called from any of them and lock themselves; the tables
 * below are fixed once the machine has started.
 */
#pragma once
#include <pthread.h>

#include "machine/clock.h"
#include "machine/loop.h"
#include "machine/vcpu.h"
#include "util/error.h"

#define MACHINE_MAX_CPUS 64
#define GPA_BITS	 46
#define ROOT_HASHES	 64u

/* ---- address dispatch (bus.c) ---- */
struct region_ops {
	/* offset from the region's base; size 1, 2, 4 or 8. A read's bits above size are ignored. */
	u64 (*read)(void *dev, u64 offset, unsigned size);
	void (*write)(void *dev, u64 offset, unsigned size, u64 value);
};
struct region {
	u64 base, len;
	const struct region_ops *ops;
	void *dev;
	const char *name;
	u8 width; /* widest access that ops take: wider ones arrive in pieces, as on an 8-bit bus; 0: all sizes */
};
struct bus { /* sorted by base, no overlaps */
	struct region *regions;
	unsigned count;
	/* Gets what hits no region, with the address as offset: a local APIC that the guest moved. ops NULL: none. */
	struct region fallback;
};
/* EEXIST if it overlaps another region. Before start only. */
int bus_add(struct bus *b, const struct region *r, struct error *err);
const struct region *bus_find(const struct bus *b, u64 addr);
/* Accesses that hit nothing read as all ones and write nowhere. One that straddles regions is split into bytes. */
u64 bus_read(const struct bus *b, u64 addr, unsigned size);
void bus_write(const struct bus *b, u64 addr, unsigned size, u64 value);

/* ---- interrupt lines ---- */
struct irq_line { /* a level that a device drives; whoever receives it hears of each change */
	void (*set)(void *arg, unsigned pin, bool level);
	void *arg;
	unsigned pin;
};
static inline void irq_set(const struct irq_line *l, bool level)
{
	if (l->set)
		l->set(l->arg, l->pin, level);
}

/* What a platform's interrupt controllers do for a vCPU. Called on that vCPU's thread unless said otherwise. */
struct intc_ops {
	/* Vector to deliver now, acknowledged, or -1. Called when EV_INTR was posted and the vCPU can take an interrupt. */
	int (*acknowledge)(struct vcpu *v);
	/* Whether acknowledge() would give a vector: decides wake-up from HLT. */
	bool (*pending)(struct vcpu *v);
	u8 (*get_tpr)(struct vcpu *v); /* CR8, 0..15 */
	void (*set_tpr)(struct vcpu *v, u8 tpr);
	/* IA32_APIC_BASE, IA32_TSC_DEADLINE and x2APIC's MSRs; false: #GP. */
	bool (*read_msr)(struct vcpu *v, u32 msr, u64 *value);
	bool (*write_msr)(struct vcpu *v, u32 msr, u64 value);
	/* An interrupt command as the local APIC's ICR has it, to one APIC ID. */
	void (*send)(struct vcpu *v, u32 apic_id, u32 icr);
	/* The vCPU was reset, or got INIT. */
	void (*reset)(struct vcpu *v);
	/* For an engine whose kernel can do their work: offload.h. Optional. */
	const struct irqchip_ops *irqchip;
};

/*
 * What a platform does for a guest whose kernel runs deprivileged: at CPL 3, told apart from its programs by vcpu.guest_kernel. What
 * privilege would do such a kernel asks for. On the vCPU's thread, between its instructions or within one; what faults unwinds.
 */
struct deprivileged_ops {
	/* SYSCALL in 64-bit code, of kernel or program; next: the address after it. Leaves v->rip where the guest goes on, and may
	 * change any state. */
	void (*syscall)(struct vcpu *v, u64 next);
	/* In place of delivery through the IDT: e, of the instruction at v->rip, or an event from outside; return_ip: where its handler
	 * would return to. Emulates a privileged instruction that a kernel may expect to work, or enters a handler of the guest's. */
	void (*deliver)(struct vcpu *v, const struct cpu_event *e, u64 return_ip);
	/* In place of I/O privilege and bitmap: whether the guest, at its current level, may use the ports. */
	bool (*may_use_port)(struct vcpu *v, u16 port, unsigned size);
	/* A store of the kernel's to RAM that it has mapped read-only: whether table_store() is to do it, which else is a page fault. */
	bool (*is_table)(struct vcpu *v, u64 gpa);
	/* Stores size bytes of one page, any alignment; or, with old: if *old is there, which then gets what was there. Tells
	 * machine_written() of what it has changed. False: page fault. */
	bool (*table_store)(struct vcpu *v, u64 gpa, unsigned size, u64 value, u64 *old);
	/* EV_SIPI: another vCPU has started this one. */
	void (*start)(struct vcpu *v);
};

/* ---- lifecycle ---- */
enum machine_end {
	END_NONE,
	END_POWEROFF,
	END_REBOOT,
	END_TRIPLE_FAULT,
	END_CRASHED, /* the guest said so, or broke a rule of the platform's after which it cannot go on */
	END_DEBUG_EXIT,
	END_TIMEOUT,
	END_USER,
	END_FAILED
};

struct vcpu_ops { /* what an engine gives for each vCPU; ready for use by machine_run */
	int (*create)(struct vcpu *v, struct error *err);
	void (*destroy)(struct vcpu *v);
	/* Runs guest code until EV_STOP, or until it has set v->debug.stop. On entry it compares machine.debug's numbers with those
	 * that it has prepared for, and takes the struct as it finds it: a debugger may have changed any of it. On return
	 * the canonical state is complete. -1 with err: the engine cannot go on. */
	int (*run)(struct vcpu *v, struct error *err);
	/* Makes run() look at v->events soon. Any thread. NULL: the engine polls. */
	void (*kick)(struct vcpu *v);
	/* Which pages of RAM the machine's vCPUs write: machine_log_writes() and machine_take_written() say how. Optional. */
	int (*log_writes)(struct machine *m, bool on, struct error *err);
	int (*take_written)(struct machine *m, u64 *bitmap, struct error *err);
	bool debugs; /* run() does what v->debug and machine.debug ask */
	/* Guest RAM [gpa, gpa + len) was written from outside (device, loader, debugger): drop decoded code. Any thread. */
	void (*memory_changed)(struct vcpu *v, u64 gpa, u64 len);
};

/* ---- who hears of changes of guest RAM: an engine that runs a second one beside itself, on RAM of its own ---- */
struct ram_tap {
	/* A device wrote [host, host + len). Any thread. */
	void (*written)(struct ram_tap *t, const void *host, u64 len);
	/* A page walk wants `bits` set in the entry of 4 or 8 bytes at host; false: it leaves that to somebody else. */
	bool (*marks)(struct ram_tap *t, const u8 *host, bool wide, u64 bits);
	/* A CPU is about to store to the page of RAM at host. Optional: TLBs hold no fast writes then. */
	void (*stores)(struct ram_tap *t, u8 *page);
	/* A device's own thread is going to write, and has written. Optional. */
	void (*enter)(struct ram_tap *t);
	void (*leave)(struct ram_tap *t);
};

/* ---- debugging: control.h ---- */
enum point_kind { POINT_SOFTWARE, POINT_HARDWARE, POINT_WRITE, POINT_READ, POINT_ACCESS };
struct debug_point { /* by linear address, in whatever address space; never visible to the guest */
	u64 gla, len; /* len is 1 for breakpoints */
	u8 kind; /* enum point_kind */
};
#define MACHINE_MAX_POINTS 256
struct machine_debug { /* changes only while every vCPU stands */
	struct debug_point point[MACHINE_MAX_POINTS];
	unsigned count;
	u64 breaks, watches; /* 0: none; else a number that names the set of breakpoints, of watchpoints */
	bool step_interrupts; /* during a step interrupts are taken */
};

struct machine_config {
	u64 ram_size; /* bytes, a multiple of the page size */
	unsigned cpus;
	const struct cpu_model *model;
	bool deterministic;
	bool verbose;
	bool perf_map; /* translations are named for perf */
	struct text *dump; /* gets each translation that has the instruction at dump_block; NULL: none is wanted */
	u64 dump_block;
	u64 code_cache; /* bytes that an engine may keep translations in; 0: it knows best */
	/* Where there are several vCPUs, address space without memory behind each struct vcpu, from the next page on: for the engine to map. */
	size_t vcpu_room;
	u64 check; /* lock-step with the reference, compared every so many instructions; 0: not */
	/* RAM is this process's alone: the host can give it huge pages. Else it is a memfd that other processes can map. */
	bool private_ram;
	const char *trace; /* where to write each executed instruction; NULL: nowhere */
};

struct machine {
	struct machine_config config;
	/* RAM is one mapping. Below 4 GiB it ends at low_size; the rest begins at 4 GiB. */
	int ram_fd; /* its memfd; -1: it is private */
	u8 *ram;
	u64 low_size, high_size;
	/* PAGE_* a RAM page: TLBs give pages with decoded code no fast write. And whose code it is, a bit a vCPU. src/mmu. */
	_Atomic u8 *code_pages;
	_Atomic u64 *code_cpus;
	_Atomic u64 code_epoch; /* counts the pages that got code while TLBs might have had fast writes to them */
	pthread_mutex_t code_lock; /* changes of the last three; a leaf */
	/* By RAM page, a bit a vCPU: may have a fast write to it, or a store under way. NULL: nobody wants to know. src/mmu/tables.c */
	_Atomic u64 *write_cpus;
	/* Counts what became less in tables that walks have read: for the lower and the upper half of the address space; and of
	 * that what code may have been fetched through. By a hash of their frame, roots that ended: what was below them is gone. */
	_Atomic u64 table_changes[2], code_changes[2];
	_Atomic u64 roots_ended[ROOT_HASHES];

	/* While writes are logged: a bit a RAM page that something else than a vCPU wrote. Else NULL. */
	_Atomic u64 *_Atomic written;

	/* A byte a RAM_CHUNK: the host was asked for its pages. */
	_Atomic u8 *populated;
	struct ram_tap *tap; /* NULL: nobody listens */

	struct bus pio, mmio;
	const struct intc_ops *intc;
	void *intc_dev;
	const struct deprivileged_ops *deprivileged; /* NULL: guest kernels have the CPU's privileges */
	void *platform; /* the platform's own state: its devices */
	/* FERR#: raised when an x87 exception meets CR0.NE clear. A PC wires it to IRQ 13 and lowers it when port F0h is written. */
	struct irq_line ferr;
	struct clock *clock;
	struct loop *loop;

	unsigned host_cpus; /* that our threads may run on */
	struct vcpu *vcpu[MACHINE_MAX_CPUS];
	const struct vcpu_ops *vcpu_ops;
	void *engine; /* the engine's own state for the machine as a whole, if it has any; under `lock` */
	/* What the engine's kernel does in devices' place: offload.h; NULL: nothing. Changes only while no vCPU runs. */
	const struct offload_ops *offload;

	_Atomic int end; /* enum machine_end; set once */
	_Atomic int end_status; /* END_DEBUG_EXIT: the value written; END_FAILED: nothing */
	struct error end_error; /* END_FAILED */
	char *report; /* END_FAILED: lines that tell more, from malloc; or NULL */
	pthread_mutex_t bus_lock; /* split and MMIO atomics */
	pthread_mutex_t lock; /* lifecycle and control */
	pthread_cond_t changed; /* any of end and control */
	struct machine_debug debug;
	struct { /* control.c */
		_Atomic bool user; /* HOLD_USER: vCPUs stand */
		unsigned looks; /* HOLD_LOOK, this often */
		unsigned roaming; /* vCPUs that are in run() */
		u64 allowed; /* vCPUs that go when nothing holds them */
		int stop_fd; /* eventfd: a vCPU has stopped by itself; -1: none */
		struct stop_observer *observers;
	} control;
	/* From reset to the first instruction: devices' reset pins, and what the boot loader does. For machine_reset(); NULL: this
	 * machine cannot. On the thread that resets, while every vCPU stands. */
	int (*boot)(void *arg, struct error *err);
	void *boot_arg;
	struct inspect *inspects; /* machine_add_inspect() */
	_Atomic bool
		running; /* every vCPU has been created by the engine and none destroyed: its operations may be called */
};

/* RAM, bus, clock, loop and vCPUs in reset state; owns nothing of config. NULL and err when the host lacks memory. */
struct machine *machine_new(const struct machine_config *config, struct error *err);
void machine_free(struct machine *m);
/* Starts the I/O thread and one thread a vCPU, waits until the machine has ended and all have stopped. 0, or the error of
 * an engine that could not be created or go on. */
int machine_run(struct machine *m, const struct vcpu_ops *ops, struct error *err);
/* First caller wins; posts EV_STOP everywhere. Any thread, not a signal handler. */
void machine_end(struct machine *m, enum machine_end why, int status);
void machine_fail(struct machine *m, const struct error *err); /* END_FAILED: the machine cannot go on, as err says */
/* Blocks a halted vCPU until an event is posted (or, deterministic, skips time to the next timer). Its own thread. */
void machine_wait(struct vcpu *v);
/* The vCPU whose thread this is; NULL on other threads. What a CPU finds at an address can depend on the CPU: its local APIC. */
struct vcpu *vcpu_current(void);
void vcpu_set_current(struct vcpu *v); /* tests, and whoever runs a vCPU on a thread that machine_run did not start */

#define PAGE_HAS_CODE 1u /* machine.code_pages: some engine decoded code here */
#define PAGE_WRITTEN  2u /* some TLB may hold a fast write */
#define PAGE_TABLE    4u /* a page table that its guest may not write: mmu_protect_page() */
#define PAGE_WALKED   8u /* of such: a walk of the address space's lower half has read it; shifted by 1: of the upper */

#define LOW_RAM_LIMIT 0xc0000000ull /* RAM below 4 GiB ends here at the latest; devices live above */
#define HIGH_RAM_BASE 0x100000000ull

/* Host address of RAM, or NULL where [gpa, gpa + len) is not all RAM. */
static inline u8 *ram_ptr(const struct machine *m, u64 gpa, u64 len)
{
	if (gpa < m->low_size && len <= m->low_size - gpa)
		return m->ram + gpa;
	if (gpa >= HIGH_RAM_BASE && gpa - HIGH_RAM_BASE < m->high_size && len <= m->high_size - (gpa - HIGH_RAM_BASE))
		return m->ram + m->low_size + (gpa - HIGH_RAM_BASE);
	return NULL;
}
/* The other way: the guest physical address of a byte of RAM. */
static inline u64 ram_gpa(const struct machine *m, const void *host)
{
	u64 offset = (u64)((const u8 *)host - m->ram);

	return offset < m->low_size ? offset : HIGH_RAM_BASE + (offset - m->low_size);
}
/* Host page faults cost 10 us each on some hosts: the first use of a chunk gets all its pages by one system call. */
#define RAM_CHUNK_SHIFT 16
void ram_make_huge(struct machine *m, u64 offset); /* the 2 MiB of RAM that hold it: a page of the host's */
void ram_populate(struct machine *m, const u8 *host, u64 len); /* the chunks that hold [host, host + len) */
static inline void ram_use(struct machine *m, const u8 *host)
{
	u64 chunk = (u64)(host - m->ram) >> RAM_CHUNK_SHIFT;

	if (unlikely(!atomic_load_explicit(&m->populated[chunk], memory_order_relaxed)))
		ram_populate(m, host, 1);
}
/* Gives the host back the memory of all whole pages in [gpa, gpa + len), which read as zeros from now on; what is used again
 * is taken again. EFAULT when the range is not all RAM. Any thread, while vCPUs run: an access at the same time hits the old
 * page or the new one. */
int ram_discard(struct machine *m, u64 gpa, u64 len);
/* Index of a RAM page in code_pages, from its host address. */
static inline u64 ram_page_index(const struct machine *m, const u8 *host)
{
	return (u64)(host - m->ram) >> PAGE_SHIFT;
}
/* A device wrote [host, host + len) of guest RAM through a pointer: engines drop code that they decoded there. Cheap where
 * there is none. Any thread. */
void machine_written(struct machine *m, const void *host, u64 len);
/* Logging of writes, for who copies RAM while the guest runs. From machine_log_writes(on) to (off), machine_take_written() sets the
 * bits, by ram_page_index(), of all pages that were written, by vCPUs or devices, since it began or since the last time;
 * ram_bitmap_words() of them. -ENOTSUP: the engine cannot tell. Any thread but a vCPU's, one at a time, while the machine runs. */
int machine_log_writes(struct machine *m, bool on, struct error *err);
int machine_take_written(struct machine *m, u64 *bitmap, struct error *err);
static inline u64 ram_bitmap_words(const struct machine *m)
{
	return ((m->config.ram_size >> PAGE_SHIFT) + 63) / 64;
}
/* Copies to or from guest physical memory, RAM only; EFAULT when the range is not all RAM. Tells engines of writes. */
int machine_read(struct machine *m, u64 gpa, void *buf, u64 len);
int machine_write(struct machine *m, u64 gpa, const void *buf, u64 len);
