/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes ACPI Machine Language (ACPI 6.4, chapter 20): just what our DSDT says. Everything with a length is opened and closed;
 * a block that runs over its room sets `full` and is empty from then on.
 */
#pragma once
#include "util/types.h"

struct aml {
	u8 *base;
	u32 len, room;
	bool full;
};

void aml_byte(struct aml *a, u8 value);
void aml_bytes(struct aml *a, const void *data, u32 len);

/* Scopes, devices, packages, buffers: *_open gives what close() needs. Names have four characters. */
u32 aml_scope_open(struct aml *a, const char *name); /* below the root */
u32 aml_device_open(struct aml *a, const char *name);
u32 aml_package_open(struct aml *a, u8 elements);
u32 aml_method_open(struct aml *a, const char *name, u8 arguments);
u32 aml_if_open(struct aml *a, const char *name); /* a named integer is not 0 */
void aml_close(struct aml *a, u32 mark);

void aml_name(struct aml *a, const char *name); /* Name (name, <what follows>) */
void aml_integer(struct aml *a, u32 value);
void aml_return(struct aml *a, const char *name);
void aml_store_argument(struct aml *a, const char *name); /* Store (Arg0, name) */
void aml_string(struct aml *a, const char *text);
void aml_eisa_id(struct aml *a, const char *id); /* "PNP0501" */

/* Resource templates (6.4 of the specification): the items between open and close, as the value of Name (_CRS). */
u32 aml_resources_open(struct aml *a);
void aml_resources_close(struct aml *a, u32 mark);
void aml_io(struct aml *a, u16 base, u8 len);
void aml_irq(struct aml *a, u8 irq);
void aml_memory(struct aml *a, u32 base, u32 len, bool writable);
/* What a bridge passes on to the bus behind it. */
void aml_bus_window(struct aml *a, u8 first, u8 last);
void aml_io_window(struct aml *a, u16 base, u16 len);
void aml_memory_window(struct aml *a, u32 base, u32 len);
void aml_memory_window64(struct aml *a, u64 base, u64 len);
