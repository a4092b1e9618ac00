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
void aml_close(struct aml *a, u32 mark);

void aml_name(struct aml *a, const char *name); /* Name (name, <what follows>) */
void aml_integer(struct aml *a, u32 value);
void aml_string(struct aml *a, const char *text);
void aml_eisa_id(struct aml *a, const char *id); /* "PNP0501" */

/* Resource templates (6.4 of the specification): the items between open and close, as the value of Name (_CRS). */
u32 aml_resources_open(struct aml *a);
void aml_resources_close(struct aml *a, u32 mark);
void aml_io(struct aml *a, u16 base, u8 len);
void aml_irq(struct aml *a, u8 irq);
void aml_memory(struct aml *a, u32 base, u32 len, bool writable);
