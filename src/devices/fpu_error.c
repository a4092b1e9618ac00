/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PC's x87 error interrupt, for software that leaves CR0.NE clear: FERR# raises IRQ 13, and the interrupt's handler
 * lowers it by writing port F0h.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/devices.h"

#define FPU_ERROR_PORT 0xf0

struct fpu_error {
	struct device dev;
	struct irq_line line;
};

static void write_clear(void *dev, u64 offset, unsigned size, u64 value)
{
	irq_set(&((struct fpu_error *)dev)->line, false);
}

static const struct region_ops fpu_error_port_ops = { NULL, write_clear };

static void reset(struct device *d)
{
	irq_set(&container_of(d, struct fpu_error, dev)->line, false);
}

static void destroy(struct device *d)
{
	free(container_of(d, struct fpu_error, dev));
}

static const struct device_ops fpu_error_ops = { .name = "fpu-error", .reset = reset, .destroy = destroy };

struct device *fpu_error_new(struct machine *m, struct irq_line line, struct error *err)
{
	struct fpu_error *f = calloc(1, sizeof(*f));
	const struct region port = { FPU_ERROR_PORT, 2, &fpu_error_port_ops, f, "FPU error", 1 };

	if (!f) {
		error_set(err, ENOMEM, "no memory for the FPU error line");
		return NULL;
	}
	f->dev.ops = &fpu_error_ops;
	f->line = line;
	if (bus_add(&m->pio, &port, err)) {
		destroy(&f->dev);
		return NULL;
	}
	m->ferr = line;
	return &f->dev;
}
