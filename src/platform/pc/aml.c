/* SPDX-License-Identifier: Apache-2.0 */
/* The AML writer. Lengths always take the three-byte form (ACPI 6.4, 20.2.4), so that they can be filled in afterwards. */
#include "platform/pc/aml.h"

#include <string.h>

#define ZERO_OP	      0x00
#define ONE_OP	      0x01
#define NAME_OP	      0x08
#define BYTE_PREFIX   0x0a
#define WORD_PREFIX   0x0b
#define DWORD_PREFIX  0x0c
#define STRING_PREFIX 0x0d
#define SCOPE_OP      0x10
#define BUFFER_OP     0x11
#define PACKAGE_OP    0x12
#define METHOD_OP     0x14
#define EXT_OP	      0x5b
#define ARG0_OP	      0x68
#define STORE_OP      0x70
#define DEVICE_OP     0x82
#define IF_OP	      0xa0
#define RETURN_OP     0xa4
#define ROOT_CHAR     '\\'

#define PKG_LENGTH_BYTES  3
#define BUFFER_SIZE_BYTES 3 /* WordPrefix and the word */

void aml_bytes(struct aml *a, const void *data, u32 len)
{
	if (a->full || len > a->room - a->len) {
		a->full = true;
		return;
	}
	memcpy(a->base + a->len, data, len);
	a->len += len;
}

void aml_byte(struct aml *a, u8 value)
{
	aml_bytes(a, &value, 1);
}

static u32 open_length(struct aml *a)
{
	u32 mark = a->len;
	aml_bytes(a, (u8[PKG_LENGTH_BYTES]){ 0 }, PKG_LENGTH_BYTES);
	return mark;
}

void aml_close(struct aml *a, u32 mark)
{
	if (a->full)
		return;
	u32 len = a->len - mark;
	u8 *p = a->base + mark;
	p[0] = 0x80 | (len & 0xf);
	p[1] = (u8)(len >> 4);
	p[2] = (u8)(len >> 12);
}

u32 aml_scope_open(struct aml *a, const char *name)
{
	aml_byte(a, SCOPE_OP);
	u32 mark = open_length(a);
	aml_byte(a, ROOT_CHAR);
	aml_bytes(a, name, 4);
	return mark;
}

u32 aml_device_open(struct aml *a, const char *name)
{
	aml_byte(a, EXT_OP);
	aml_byte(a, DEVICE_OP);
	u32 mark = open_length(a);
	aml_bytes(a, name, 4);
	return mark;
}

u32 aml_package_open(struct aml *a, u8 elements)
{
	aml_byte(a, PACKAGE_OP);
	u32 mark = open_length(a);
	aml_byte(a, elements);
	return mark;
}

u32 aml_method_open(struct aml *a, const char *name, u8 arguments)
{
	aml_byte(a, METHOD_OP);
	u32 mark = open_length(a);
	aml_bytes(a, name, 4);
	aml_byte(a, arguments);
	return mark;
}

u32 aml_if_open(struct aml *a, const char *name)
{
	aml_byte(a, IF_OP);
	u32 mark = open_length(a);
	aml_bytes(a, name, 4);
	return mark;
}

void aml_return(struct aml *a, const char *name)
{
	aml_byte(a, RETURN_OP);
	aml_bytes(a, name, 4);
}

void aml_store_argument(struct aml *a, const char *name)
{
	aml_byte(a, STORE_OP);
	aml_byte(a, ARG0_OP);
	aml_bytes(a, name, 4);
}

void aml_name(struct aml *a, const char *name)
{
	aml_byte(a, NAME_OP);
	aml_bytes(a, name, 4);
}

void aml_integer(struct aml *a, u32 value)
{
	if (value <= 1) {
		aml_byte(a, value ? ONE_OP : ZERO_OP);
	} else if (value <= 0xff) {
		aml_byte(a, BYTE_PREFIX);
		aml_bytes(a, &value, 1);
	} else if (value <= 0xffff) {
		aml_byte(a, WORD_PREFIX);
		aml_bytes(a, &value, 2);
	} else {
		aml_byte(a, DWORD_PREFIX);
		aml_bytes(a, &value, 4);
	}
}

void aml_string(struct aml *a, const char *text)
{
	aml_byte(a, STRING_PREFIX);
	aml_bytes(a, text, (u32)strlen(text) + 1);
}

static u8 hex_digit(char c)
{
	return (u8)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* ACPI 6.4, 19.3.4, EISAID: three letters of five bits, four digits, high byte first. */
void aml_eisa_id(struct aml *a, const char *id)
{
	u16 letters = (u16)((id[0] - '@') << 10 | (id[1] - '@') << 5 | (id[2] - '@'));
	u8 bytes[5] = { DWORD_PREFIX, (u8)(letters >> 8), (u8)letters, (u8)(hex_digit(id[3]) << 4 | hex_digit(id[4])),
			(u8)(hex_digit(id[5]) << 4 | hex_digit(id[6])) };
	aml_bytes(a, bytes, sizeof(bytes));
}

u32 aml_resources_open(struct aml *a)
{
	aml_name(a, "_CRS");
	aml_byte(a, BUFFER_OP);
	u32 mark = open_length(a);
	aml_bytes(a, (u8[BUFFER_SIZE_BYTES]){ WORD_PREFIX }, BUFFER_SIZE_BYTES);
	return mark;
}

void aml_resources_close(struct aml *a, u32 mark)
{
	aml_bytes(a, (u8[]){ 0x79, 0 }, 2); /* end tag; checksum 0 means none */
	if (a->full)
		return;
	u32 size = a->len - (mark + PKG_LENGTH_BYTES + BUFFER_SIZE_BYTES);
	memcpy(a->base + mark + PKG_LENGTH_BYTES + 1, &size, 2);
	aml_close(a, mark);
}

/* 6.4.2.5: decodes 16 bits, fixed place */
void aml_io(struct aml *a, u16 base, u8 len)
{
	u8 lo = (u8)base, hi = (u8)(base >> 8);
	aml_bytes(a, (u8[]){ 0x47, 1, lo, hi, lo, hi, 1, len }, 8);
}

/* 6.4.2.1 without flags: edge-triggered, active high */
void aml_irq(struct aml *a, u8 irq)
{
	u16 mask = (u16)(1u << irq);
	aml_bytes(a, (u8[]){ 0x22, (u8)mask, (u8)(mask >> 8) }, 3);
}

/* 6.4.3.4 */
void aml_memory(struct aml *a, u32 base, u32 len, bool writable)
{
	aml_bytes(a, (u8[]){ 0x86, 9, 0, writable }, 4);
	aml_bytes(a, &base, 4);
	aml_bytes(a, &len, 4);
}

/* Address space descriptors (6.4.3.5): a producer's, both ends fixed. */
#define SPACE_MEMORY	0
#define SPACE_IO	1
#define SPACE_BUS	2
#define PRODUCER_FIXED	0x0c
#define ENTIRE_RANGE	3 /* I/O: neither ISA ports only nor all but those */
#define WRITABLE_MEMORY 1

/* Granularity, first, last, translation offset, length: each of `width` bytes. */
static void window(struct aml *a, u8 tag, u8 width, u8 space, u8 flags, u64 base, u64 len)
{
	const u64 field[5] = { 0, base, base + len - 1, 0, len };
	aml_bytes(a, (u8[]){ tag, (u8)(3 + 5 * width), 0, space, PRODUCER_FIXED, flags }, 6);
	for (unsigned i = 0; i < 5; i++)
		aml_bytes(a, &field[i], width);
}

void aml_bus_window(struct aml *a, u8 first, u8 last)
{
	window(a, 0x88, 2, SPACE_BUS, 0, first, last - first + 1u);
}

void aml_io_window(struct aml *a, u16 base, u16 len)
{
	window(a, 0x88, 2, SPACE_IO, ENTIRE_RANGE, base, len);
}

void aml_memory_window(struct aml *a, u32 base, u32 len)
{
	window(a, 0x87, 4, SPACE_MEMORY, WRITABLE_MEMORY, base, len);
}

void aml_memory_window64(struct aml *a, u64 base, u64 len)
{
	window(a, 0x8a, 8, SPACE_MEMORY, WRITABLE_MEMORY, base, len);
}
