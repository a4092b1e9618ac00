/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports for tests and debugging.
 *
 *   80h  POST code; delays write here, and it reads back      f4h  a write of V ends the machine with status V
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/devices.h"

struct debug_ports {
	struct device dev;
	struct machine *machine;
	_Atomic u8 post;
};

static u64 read_post(void *dev, u64 offset, unsigned size)
{
	return ((struct debug_ports *)dev)->post;
}

static void write_post(void *dev, u64 offset, unsigned size, u64 value)
{
	((struct debug_ports *)dev)->post = (u8)value;
}

/* The region is as long as the widest write is, which arrives whole; its other ports are nothing. */
static void write_exit(void *dev, u64 offset, unsigned size, u64 value)
{
	struct debug_ports *p = dev;

	if (offset == 0)
		machine_end(p->machine, END_DEBUG_EXIT, (int)(u32)value);
}

static const struct region_ops post_ops = { read_post, write_post };
static const struct region_ops exit_ops = { NULL, write_exit };

static void reset(struct device *d)
{
	container_of(d, struct debug_ports, dev)->post = 0;
}

static void destroy(struct device *d)
{
	free(container_of(d, struct debug_ports, dev));
}

static const struct device_ops debug_ports_ops = { .name = "debug-ports", .reset = reset, .destroy = destroy };

struct device *debug_ports_new(struct machine *m, bool exit_port, struct error *err)
{
	struct debug_ports *p = calloc(1, sizeof(*p));
	const struct region post = { 0x80, 1, &post_ops, p, "post", 1 };
	const struct region exit = { DEBUG_EXIT_PORT, 4, &exit_ops, p, "debug exit", 0 };

	if (!p) {
		error_set(err, ENOMEM, "no memory for the debug ports");
		return NULL;
	}
	p->dev.ops = &debug_ports_ops;
	p->machine = m;
	if (bus_add(&m->pio, &post, err) || (exit_port && bus_add(&m->pio, &exit, err))) {
		destroy(&p->dev);
		return NULL;
	}
	return &p->dev;
}
