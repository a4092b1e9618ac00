/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Register accesses of a hostile guest to a whole PC, five bytes each and a value: which bus, an address with a liking
 * for where devices are, a size, and sometimes time that passes or an interrupt that is taken.
 */
#include <assert.h>
#include <string.h>

#include "machine/machine.h"
#include "platform/pc/pc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct step {
	u8 what; /* bits 0..1: size; 2..4: kind */
	u8 value[8];
	u16 where;
} __attribute__((packed));

static size_t console_write(struct chardev *c, const u8 *data, size_t len)
{
	return data[0] & 1 ? len : len / 2;
}
static void console_resume(struct chardev *c)
{
}
static const struct chardev_ops console_ops = { console_write, console_resume };

static void pass(struct machine *m, u64 ns)
{
	u64 until = clock_now(m->clock) + ns, next;

	for (unsigned fired = 0; fired < 64 && (next = clock_next_deadline(m->clock)) <= until; fired++) {
		clock_set(m->clock, next);
		clock_run_timers(m->clock);
	}
	clock_set(m->clock, until);
}

/* The last 64 KiB below each of these hold the memory-mapped devices of a PC. */
static u64 mmio_address(const struct step *s)
{
	static const u64 pages[] = { 0xfee00000, 0xfec00000, 0xfed00000, 0xb0000000,
				     0xe0000000, 0xc0000000, 0xfe000000, 0x800000000 };

	return pages[s->where >> 13] + (s->where & 0x1fff);
}

static void take(struct machine *m, const struct step *s)
{
	unsigned bytes = 1u << (s->what & 3);
	struct vcpu *v = m->vcpu[0];
	u64 value;

	memcpy(&value, s->value, 8);
	switch (s->what >> 2 & 7) {
	case 0: bus_read(&m->pio, s->where, MIN(bytes, 4u)); break;
	case 1: bus_write(&m->pio, s->where, MIN(bytes, 4u), value); break;
	case 2: bus_read(&m->mmio, mmio_address(s), bytes); break;
	case 3: bus_write(&m->mmio, mmio_address(s), bytes, value); break;
	case 4: pass(m, value % 100000000); break;
	case 5:
		if (m->intc->pending(v))
			assert(m->intc->acknowledge(v) < 256);
		break;
	case 6: m->intc->read_msr(v, 0x800 + s->where % 0x400, &value); break;
	default: m->intc->write_msr(v, s->where & 1 ? 0x1b : 0x800 + s->where % 0x400, value); break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine_config config = {
		.ram_size = 4 << 20, .cpus = 2, .model = cpu_model_find(NULL, NULL), .deterministic = true
	};
	struct chardev console = { .ops = &console_ops };
	struct pc_config pc = { .console = &console, .debug_exit = true };
	struct error err = { 0 };
	struct machine *m = machine_new(&config, &err);

	assert(m && !pc_create(m, &pc, &err));
	vcpu_set_current(m->vcpu[0]);
	for (; size >= sizeof(struct step); data += sizeof(struct step), size -= sizeof(struct step))
		take(m, (const struct step *)data);
	vcpu_set_current(NULL);
	pc_destroy(m);
	machine_free(m);
	return 0;
}
