/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile client of the gdb server. The first byte says how the rest is read: bit 0: as lines, each framed as a packet with
 * its right sum, so that what is behind the framing is reached; else as bytes. Bits 1 and 2 choose how the CPUs map memory:
 * not at all, 32-bit tables, PAE tables, 4-level tables, all of them made of what the client writes there.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "debug/debug.h"
#include "machine/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TABLE 0x1000

static void forget(void *arg, const u8 *data, size_t len)
{
	*(u64 *)arg += len;
}

static bool send_line(struct gdb *g, const u8 *line, size_t len)
{
	u8 sum = 0;
	char end[4];

	for (size_t i = 0; i < len; i++)
		sum += line[i];
	snprintf(end, sizeof(end), "#%02x", sum);
	return gdb_receive(g, (const u8 *)"$", 1) && gdb_receive(g, line, len) && gdb_receive(g, (u8 *)end, 3);
}

static void send_lines(struct gdb *g, const u8 *data, size_t size)
{
	while (size) {
		const u8 *end = memchr(data, '\n', size);
		size_t n = end ? (size_t)(end - data) : size;

		if (!send_line(g, data, n))
			return;
		n += end != NULL;
		data += n;
		size -= n;
	}
}

static void map(struct vcpu *v, unsigned how)
{
	static const u64 big = PTE_P | PTE_W | PTE_U | PTE_PS;

	v->cr3 = TABLE;
	v->cr0 |= CR0_PE | (how ? CR0_PG : 0);
	v->cr4 |= how >= 2 ? CR4_PAE : CR4_PSE;
	v->efer |= how == 3 ? EFER_LME | EFER_LMA : 0;
	if (how == 1)
		*(u32 *)(v->machine->ram + TABLE) = (u32)big;
	if (how == 2)
		v->pdpte[0] = TABLE | PTE_P;
	if (how >= 2)
		*(u64 *)(v->machine->ram + TABLE) = how == 2 ? big : TABLE | PTE_P | PTE_W;
	vcpu_update_mode(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine_config config = { .ram_size = 1 << 20, .cpus = 3, .model = cpu_model_find(NULL, NULL) };
	u64 sent = 0;
	struct gdb_link link = { .send = forget, .arg = &sent };
	struct error err = { 0 };
	struct machine *m;
	struct monitor *mon;
	struct gdb *g;

	if (!size)
		return 0;
	m = machine_new(&config, &err);
	mon = m ? monitor_new(m, &err) : NULL;
	assert(mon);
	for (unsigned i = 0; i < config.cpus; i++)
		map(m->vcpu[i], *data >> 1 & 3);
	g = gdb_new(m, &link, *data >> 3 & 3, mon);
	assert(g);
	if (*data & 1)
		send_lines(g, data + 1, size - 1);
	else
		gdb_receive(g, data + 1, size - 1);
	gdb_exited(g, 0);
	gdb_free(g);
	monitor_free(mon);
	machine_free(m);
	return 0;
}
