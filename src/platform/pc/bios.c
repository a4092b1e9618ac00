/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a PC's BIOS leaves for who starts in real mode or returns to it: a BIOS data area, interrupt vectors that lead to handlers
 * which at least return, interrupt controllers with those vectors, and the timer that ticks 18.2 times a second. There are no BIOS
 * services. Kernels that set up interrupts themselves, which are all others, see nothing of this.
 */
#include "platform/pc/bios.h"

#include <string.h>

#include "platform/pc/acpi.h"

#define STUB_SEGMENT 0xf000u
#define STUB_RETURN  0xff00u
#define STUB_MASTER  0xff10u
#define STUB_SLAVE   0xff20u
#define STUB_TIMER   0xff30u
#define VECTORS	     256u
#define VECTOR_IRQ0  0x08u
#define VECTOR_IRQ8  0x70u

#define DATA_COM1      0x400
#define DATA_EBDA      0x40e
#define DATA_EQUIPMENT 0x410
#define DATA_MEMORY    0x413 /* KiB */

static const struct {
	u16 at;
	u8 len;
	u8 code[16];
} stubs[] = {
	{ STUB_RETURN, 1, { 0xcf } }, /* iret */
	/* push ax; mov al, 20h; out 20h, al; pop ax; iret */
	{ STUB_MASTER, 7, { 0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf } },
	/* push ax; mov al, 20h; out a0h, al; out 20h, al; pop ax; iret */
	{ STUB_SLAVE, 9, { 0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf } },
	/* push ds; push 0; pop ds; inc dword [46ch]; pop ds; jmp STUB_MASTER */
	{ STUB_TIMER, 12, { 0x1e, 0x6a, 0x00, 0x1f, 0x66, 0xff, 0x06, 0x6c, 0x04, 0x1f, 0xeb, 0xd4 } },
};
_Static_assert((u8)(STUB_MASTER - (STUB_TIMER + 12)) == 0xd4, "the jump's distance");

static u16 stub_of(unsigned vector)
{
	if (vector == VECTOR_IRQ0)
		return STUB_TIMER;
	if (vector - VECTOR_IRQ0 < 8)
		return STUB_MASTER;
	return vector - VECTOR_IRQ8 < 8 ? STUB_SLAVE : STUB_RETURN;
}

static void write_memory(u8 *ram)
{
	for (unsigned k = 0; k < ARRAY_SIZE(stubs); k++)
		memcpy(ram + STUB_SEGMENT * 16 + stubs[k].at, stubs[k].code, stubs[k].len);
	for (unsigned n = 0; n < VECTORS; n++)
		*(u32_una *)(ram + 4 * n) = STUB_SEGMENT << 16 | stub_of(n);
	*(u16_una *)(ram + DATA_COM1) = BIOS_COM1;
	*(u16_una *)(ram + DATA_EBDA) = BIOS_EBDA >> 4;
	*(u16_una *)(ram + DATA_EQUIPMENT) = 1 << 9; /* one serial port */
	*(u16_una *)(ram + DATA_MEMORY) = BIOS_EBDA >> 10;
	ram[BIOS_EBDA] = BIOS_EBDA_LEN >> 10;
}

/* All inputs are masked but the timer and the cascade. */
static void write_ports(struct machine *m)
{
	static const struct {
		u16 port;
		u8 value;
	} writes[] = {
		{ 0x20, 0x11 }, { 0xa0, 0x11 }, { 0x21, VECTOR_IRQ0 }, { 0xa1, VECTOR_IRQ8 }, { 0x21, 0x04 },
		{ 0xa1, 0x02 }, { 0x21, 0x01 }, { 0xa1, 0x01 },	       { 0x21, 0xfa },	      { 0xa1, 0xff },
		{ 0x43, 0x36 }, { 0x40, 0x00 }, { 0x40, 0x00 }, /* counter 0: mode 3, 65536 */
	};

	for (unsigned k = 0; k < ARRAY_SIZE(writes); k++)
		bus_write(&m->pio, writes[k].port, 1, writes[k].value);
}

void bios_leave(struct machine *m, u8 *low_ram)
{
	write_memory(low_ram);
	write_ports(m);
}
