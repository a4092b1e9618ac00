/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 8042 keyboard controller of a PC/AT, with nothing plugged in, and system control port A.
 *
 *   60h  data      64h  status / command      92h  bit 0 fast reset, bit 1 fast A20
 *
 * A byte for a keyboard that is not there comes back at once as a transmit timeout (data feh, status bit 6), as from
 * controllers on whose clock line nothing answers, so that drivers give up without waiting. There is no auxiliary port.
 *
 * A20 is always on. Nothing but software for the 8088 counts on addresses wrapping at 1 MiB; everything else turns the
 * gate on first, and reads it back here. Masking it would put a test into every physical access of every engine.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/devices.h"

#define STATUS_FULL	 0x01
#define STATUS_SYSTEM	 0x04
#define STATUS_COMMAND	 0x08
#define STATUS_UNLOCKED	 0x10
#define STATUS_AUX	 0x20
#define STATUS_TIMEOUT	 0x40
#define CTR_INTERRUPT	 0x01
#define CTR_SYSTEM	 0x04
#define CTR_AUX_OFF	 0x20
#define CTR_KEYBOARD_OFF 0x10
#define CTR_TRANSLATE	 0x40
#define OUT_NOT_RESET	 0x01
#define OUT_A20		 0x02
#define NO_ANSWER	 0xfe

struct i8042 {
	struct device dev;
	struct machine *machine;
	pthread_mutex_t lock;
	struct irq_line irq;
	u8 ram[32]; /* byte 0 is the command byte, CTR */
	u8 status, data;
	u8 output; /* output port */
	u8 command; /* waits for its data byte; 0 if none */
};

static void update_irq(struct i8042 *k)
{
	bool keyboard = (k->status & (STATUS_FULL | STATUS_AUX)) == STATUS_FULL;

	irq_set(&k->irq, keyboard && k->ram[0] & CTR_INTERRUPT);
}

static void answer(struct i8042 *k, u8 data, u8 flags)
{
	k->data = data;
	k->status = (k->status & ~(STATUS_AUX | STATUS_TIMEOUT)) | STATUS_FULL | flags;
	/* A byte that replaces one nobody read is a new interrupt. */
	irq_set(&k->irq, false);
}

static void write_output(struct i8042 *k, u8 value)
{
	k->output = value;
	if (!(value & OUT_NOT_RESET))
		machine_end(k->machine, END_REBOOT, 0);
}

static void command(struct i8042 *k, u8 cmd)
{
	k->command = 0;
	switch (cmd) {
	case 0x20 ... 0x3f: answer(k, k->ram[cmd & 31], 0); break;
	case 0x60 ... 0x7f:
	case 0xd1 ... 0xd4: k->command = cmd; break;
	case 0xa7: k->ram[0] |= CTR_AUX_OFF; break;
	case 0xa8: k->ram[0] &= ~CTR_AUX_OFF; break;
	case 0xa9: answer(k, 0x02, 0); break; /* auxiliary port's test: its clock line is stuck */
	case 0xaa: /* self test */
		k->status |= STATUS_SYSTEM;
		answer(k, 0x55, 0);
		break;
	case 0xab: answer(k, 0x00, 0); break; /* keyboard port's test: fine */
	case 0xad: k->ram[0] |= CTR_KEYBOARD_OFF; break;
	case 0xae: k->ram[0] &= ~CTR_KEYBOARD_OFF; break;
	case 0xc0: answer(k, 0x80, 0); break; /* input port: keyboard not locked */
	case 0xd0: answer(k, k->output, 0); break;
	case 0xdd: k->output &= ~OUT_A20; break;
	case 0xdf: k->output |= OUT_A20; break;
	case 0xf0 ... 0xff: /* pulse the output port's bits that are 0: bit 0 resets the CPU */
		if (!(cmd & OUT_NOT_RESET))
			machine_end(k->machine, END_REBOOT, 0);
		break;
	default: break;
	}
}

static void write_data(struct i8042 *k, u8 value)
{
	u8 cmd = k->command;

	k->command = 0;
	switch (cmd) {
	case 0x60 ... 0x7f:
		k->ram[cmd & 31] = value;
		if (cmd == 0x60)
			k->status = (k->status & ~STATUS_SYSTEM) | (value & CTR_SYSTEM);
		break;
	case 0xd1: write_output(k, value); break;
	case 0xd2:
	case 0xd3:
		answer(k, value, 0);
		break; /* d3h, as if from the auxiliary port: which it lacks, so without the flag */
	case 0xd4: answer(k, NO_ANSWER, STATUS_AUX | STATUS_TIMEOUT); break;
	default:
		/* Sending to the keyboard turns its interface on. */
		k->ram[0] &= ~CTR_KEYBOARD_OFF;
		answer(k, NO_ANSWER, STATUS_TIMEOUT);
	}
}

static u64 read_data_port(void *dev, u64 offset, unsigned size)
{
	struct i8042 *k = dev;
	u8 value;

	pthread_mutex_lock(&k->lock);
	value = k->data;
	k->status &= ~(STATUS_FULL | STATUS_AUX | STATUS_TIMEOUT);
	update_irq(k);
	pthread_mutex_unlock(&k->lock);
	return value;
}

static void write_data_port(void *dev, u64 offset, unsigned size, u64 value)
{
	struct i8042 *k = dev;

	pthread_mutex_lock(&k->lock);
	k->status &= ~STATUS_COMMAND;
	write_data(k, (u8)value);
	update_irq(k);
	pthread_mutex_unlock(&k->lock);
}

static u64 read_status_port(void *dev, u64 offset, unsigned size)
{
	struct i8042 *k = dev;
	u8 value;

	pthread_mutex_lock(&k->lock);
	value = k->status | STATUS_UNLOCKED;
	pthread_mutex_unlock(&k->lock);
	return value;
}

static void write_command_port(void *dev, u64 offset, unsigned size, u64 value)
{
	struct i8042 *k = dev;

	pthread_mutex_lock(&k->lock);
	k->status |= STATUS_COMMAND;
	command(k, (u8)value);
	update_irq(k);
	pthread_mutex_unlock(&k->lock);
}

static u64 read_port_a(void *dev, u64 offset, unsigned size)
{
	struct i8042 *k = dev;
	u8 value;

	pthread_mutex_lock(&k->lock);
	value = k->output & OUT_A20;
	pthread_mutex_unlock(&k->lock);
	return value;
}

static void write_port_a(void *dev, u64 offset, unsigned size, u64 value)
{
	struct i8042 *k = dev;

	pthread_mutex_lock(&k->lock);
	k->output = (k->output & ~OUT_A20) | (value & OUT_A20);
	pthread_mutex_unlock(&k->lock);
	if (value & 1)
		machine_end(k->machine, END_REBOOT, 0);
}

static const struct region_ops data_port = { read_data_port, write_data_port };
static const struct region_ops command_port = { read_status_port, write_command_port };
static const struct region_ops port_a = { read_port_a, write_port_a };

/* As firmware leaves it: keyboard interrupt and translation on, self test passed. */
static void reset(struct device *d)
{
	struct i8042 *k = container_of(d, struct i8042, dev);

	pthread_mutex_lock(&k->lock);
	k->ram[0] = CTR_INTERRUPT | CTR_SYSTEM | CTR_AUX_OFF | CTR_TRANSLATE;
	k->status = STATUS_SYSTEM;
	k->data = k->command = 0;
	k->output = 0xcc | OUT_A20 | OUT_NOT_RESET;
	update_irq(k);
	pthread_mutex_unlock(&k->lock);
}

static void destroy(struct device *d)
{
	struct i8042 *k = container_of(d, struct i8042, dev);

	pthread_mutex_destroy(&k->lock);
	free(k);
}

static const struct device_ops i8042_ops = { .name = "i8042", .reset = reset, .destroy = destroy };

struct device *i8042_new(struct machine *m, struct irq_line irq, struct error *err)
{
	struct i8042 *k = calloc(1, sizeof(*k));
	const struct region regions[] = {
		{ 0x60, 1, &data_port, k, "i8042 data", 1 },
		{ 0x64, 1, &command_port, k, "i8042 command", 1 },
		{ 0x92, 1, &port_a, k, "port 92h", 1 },
	};

	if (!k) {
		error_set(err, ENOMEM, "no memory for the keyboard controller");
		return NULL;
	}
	k->dev.ops = &i8042_ops;
	k->machine = m;
	k->irq = irq;
	pthread_mutex_init(&k->lock, NULL);
	reset(&k->dev);
	for (unsigned i = 0; i < ARRAY_SIZE(regions); i++) {
		if (bus_add(&m->pio, &regions[i], err)) {
			destroy(&k->dev);
			return NULL;
		}
	}
	return &k->dev;
}
