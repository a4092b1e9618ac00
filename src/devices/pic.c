/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two 8259A interrupt controllers, cascaded as in a PC/AT, with the edge/level control registers of EISA chip sets.
 *
 *   20h, a0h  write: ICW1 (bit 4 set), OCW2 (bits 4:3 = 0), OCW3 (bit 3 set)   read: IRR, ISR or poll byte
 *   21h, a1h  write: ICW2..ICW4 during initialisation, else OCW1 = IMR         read: IMR
 *   4d0h, 4d1h  ELCR: a set bit makes that input level triggered; the inputs 0, 1, 2, 8 and 13 stay edge triggered
 *
 * Departures from the data sheet (Intel 231468): an edge stays latched when the line falls before INTA, as chip sets do
 * it; IR2 of the master follows the slave's INT as a level, so that two requests of the slave in a row are never
 * merged; and an INTA when nothing is requested is refused instead of answered with the spurious vector 7, since here
 * the CPU asks and acknowledges in one step.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/intc.h"

#define ICW1_IC4	  0x01
#define ICW1_SINGLE	  0x02
#define ICW1_LEVEL	  0x08
#define ICW1		  0x10
#define ICW4_AUTO_EOI	  0x02
#define ICW4_FULLY_NESTED 0x10
#define OCW2_EOI	  0x20
#define OCW2_SPECIFIC	  0x40
#define OCW2_ROTATE	  0x80
#define OCW3		  0x08
#define OCW3_POLL	  0x04

struct pic {
	struct device dev;
	pthread_mutex_t lock;
	struct pic_chip chip[PIC_CHIPS]; /* master, slave */
	struct irq_line out;
	bool out_level;
};

static bool is_level(const struct pic_chip *c, unsigned irq)
{
	return c->icw1 & ICW1_LEVEL || c->elcr >> irq & 1;
}

/* Rank of the most urgent of these inputs, 0 the best; 8 if there is none. */
static unsigned best_rank(const struct pic_chip *c, u8 set)
{
	unsigned rank = 0;

	while (rank < 8 && !(set >> ((rank + c->highest) & 7) & 1))
		rank++;
	return rank;
}

/* The input that the chip asks to serve, or -1. */
static int requested(const struct pic_chip *c, bool master)
{
	u8 in_service = c->isr;
	unsigned rank = best_rank(c, c->irr & ~c->imr);

	if (c->expects != EXPECT_OCW)
		return -1;
	if (c->special_mask)
		in_service &= ~c->imr;
	if (master && c->icw4 & ICW4_FULLY_NESTED)
		in_service &= ~0x04;
	return rank < best_rank(c, in_service) ? (int)((rank + c->highest) & 7) : -1;
}

/* Call after any change: carries the slave's INT to the master and the master's to the CPU. */
static void settle(struct pic *p)
{
	bool slave = requested(&p->chip[1], false) >= 0, out;

	p->chip[0].irr = (p->chip[0].irr & ~0x04) | (slave ? 0x04 : 0);
	out = requested(&p->chip[0], true) >= 0;
	if (out != p->out_level) {
		p->out_level = out;
		irq_set(&p->out, out);
	}
}

static void chip_input(struct pic_chip *c, unsigned irq, bool level)
{
	u8 bit = (u8)(1 << irq), before = c->lines;

	c->lines = level ? before | bit : before & ~bit;
	if (is_level(c, irq))
		c->irr = level ? c->irr | bit : c->irr & ~bit;
	else if (level && !(before & bit))
		c->irr |= bit;
}

/* INTA or poll: the request becomes the one in service. */
static void chip_take(struct pic_chip *c, unsigned irq)
{
	if (!is_level(c, irq))
		c->irr &= ~(1 << irq);
	if (!(c->icw4 & ICW4_AUTO_EOI))
		c->isr |= 1 << irq;
	else if (c->rotate_auto)
		c->highest = (irq + 1) & 7;
}

void pic_set_input(struct device *d, unsigned irq, bool level)
{
	struct pic *p = container_of(d, struct pic, dev);

	pthread_mutex_lock(&p->lock);
	chip_input(&p->chip[irq >> 3 & 1], irq & 7, level);
	settle(p);
	pthread_mutex_unlock(&p->lock);
}

int pic_acknowledge(struct device *d)
{
	struct pic *p = container_of(d, struct pic, dev);
	int irq, vector = -1;

	pthread_mutex_lock(&p->lock);
	irq = requested(&p->chip[0], true);
	if (irq >= 0) {
		chip_take(&p->chip[0], (unsigned)irq);
		vector = p->chip[0].base + irq;
	}
	if (irq == 2) {
		irq = requested(&p->chip[1], false);
		chip_take(&p->chip[1], (unsigned)irq);
		vector = p->chip[1].base + irq;
	}
	settle(p);
	pthread_mutex_unlock(&p->lock);
	return vector;
}

void pic_save(struct device *d, struct pic_chip s[PIC_CHIPS])
{
	struct pic *p = container_of(d, struct pic, dev);

	pthread_mutex_lock(&p->lock);
	memcpy(s, p->chip, sizeof(p->chip));
	pthread_mutex_unlock(&p->lock);
}

void pic_load(struct device *d, const struct pic_chip s[PIC_CHIPS], bool idle)
{
	struct pic *p = container_of(d, struct pic, dev);

	pthread_mutex_lock(&p->lock);
	memcpy(p->chip, s, sizeof(p->chip));
	if (!idle)
		settle(p);
	pthread_mutex_unlock(&p->lock);
}

static void write_icw1(struct pic_chip *c, u8 value)
{
	u8 levels = 0;

	c->icw1 = value;
	if (!(value & ICW1_IC4))
		c->icw4 = 0;
	c->imr = c->isr = 0;
	c->highest = 0;
	c->read_isr = c->poll = c->special_mask = c->rotate_auto = false;
	c->expects = EXPECT_ICW2;
	for (unsigned i = 0; i < 8; i++)
		levels |= is_level(c, i) << i;
	c->irr = c->lines & levels;
}

static void write_ocw2(struct pic_chip *c, u8 value)
{
	unsigned irq = value & 7, rank;

	if (value & OCW2_EOI) {
		if (!(value & OCW2_SPECIFIC)) {
			rank = best_rank(c, c->special_mask ? c->isr & ~c->imr : c->isr);
			if (rank == 8)
				return;
			irq = (rank + c->highest) & 7;
		}
		c->isr &= ~(1 << irq);
		if (value & OCW2_ROTATE)
			c->highest = (irq + 1) & 7;
	} else if (!(value & OCW2_SPECIFIC)) {
		c->rotate_auto = value & OCW2_ROTATE;
	} else if (value & OCW2_ROTATE) {
		c->highest = (irq + 1) & 7;
	}
}

static void write_ocw3(struct pic_chip *c, u8 value)
{
	if (value & 0x40)
		c->special_mask = value & 0x20;
	if (value & OCW3_POLL)
		c->poll = true;
	else if (value & 0x02)
		c->read_isr = value & 0x01;
}

static void write_data(struct pic_chip *c, u8 value)
{
	switch (c->expects) {
	case EXPECT_ICW2:
		c->base = value & 0xf8;
		c->expects = c->icw1 & ICW1_SINGLE ? EXPECT_ICW4 : EXPECT_ICW3;
		break;
	case EXPECT_ICW3: c->expects = EXPECT_ICW4; break;
	case EXPECT_ICW4:
		c->icw4 = value;
		c->expects = EXPECT_OCW;
		return;
	default: c->imr = value; return;
	}
	if (c->expects == EXPECT_ICW4 && !(c->icw1 & ICW1_IC4))
		c->expects = EXPECT_OCW;
}

static u8 chip_read(struct pic_chip *c, bool master, u64 offset)
{
	int irq;

	if (c->poll) {
		c->poll = false;
		irq = requested(c, master);
		if (irq < 0)
			return 0;
		chip_take(c, (unsigned)irq);
		return (u8)(0x80 | irq);
	}
	if (offset & 1)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

static void chip_write(struct pic_chip *c, u64 offset, u8 value)
{
	if (offset & 1)
		write_data(c, value);
	else if (value & ICW1)
		write_icw1(c, value);
	else if (value & OCW3)
		write_ocw3(c, value);
	else
		write_ocw2(c, value);
}

static u64 read_chip(struct pic *p, unsigned n, u64 offset)
{
	u8 value;

	pthread_mutex_lock(&p->lock);
	value = chip_read(&p->chip[n], n == 0, offset);
	settle(p);
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void write_chip(struct pic *p, unsigned n, u64 offset, u8 value)
{
	pthread_mutex_lock(&p->lock);
	chip_write(&p->chip[n], offset, value);
	settle(p);
	pthread_mutex_unlock(&p->lock);
}

static u64 read_master(void *dev, u64 offset, unsigned size)
{
	return read_chip(dev, 0, offset);
}

static void write_master(void *dev, u64 offset, unsigned size, u64 value)
{
	write_chip(dev, 0, offset, (u8)value);
}

static u64 read_slave(void *dev, u64 offset, unsigned size)
{
	return read_chip(dev, 1, offset);
}

static void write_slave(void *dev, u64 offset, unsigned size, u64 value)
{
	write_chip(dev, 1, offset, (u8)value);
}

static u64 read_elcr(void *dev, u64 offset, unsigned size)
{
	struct pic *p = dev;
	u8 value;

	pthread_mutex_lock(&p->lock);
	value = p->chip[offset].elcr;
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void write_elcr(void *dev, u64 offset, unsigned size, u64 value)
{
	struct pic *p = dev;
	struct pic_chip *c = &p->chip[offset];

	pthread_mutex_lock(&p->lock);
	c->elcr = (u8)value & c->elcr_mask;
	for (unsigned i = 0; i < 8; i++)
		if (is_level(c, i))
			c->irr = (c->irr & ~(1 << i)) | (c->lines & 1 << i);
	settle(p);
	pthread_mutex_unlock(&p->lock);
}

static const struct region_ops master_ports = { read_master, write_master };
static const struct region_ops slave_ports = { read_slave, write_slave };
static const struct region_ops elcr_ports = { read_elcr, write_elcr };

/* Nothing is requested before software has written ICW1 to ICW4, as nothing is known of vectors. */
static void reset(struct device *d)
{
	struct pic *p = container_of(d, struct pic, dev);

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < 2; i++) {
		u8 lines = p->chip[i].lines;

		p->chip[i] = (struct pic_chip){ .lines = lines, .imr = 0xff, .elcr_mask = i ? 0xde : 0xf8 };
	}
	settle(p);
	pthread_mutex_unlock(&p->lock);
}

static void destroy(struct device *d)
{
	struct pic *p = container_of(d, struct pic, dev);

	pthread_mutex_destroy(&p->lock);
	free(p);
}

static void info(struct device *d, struct text *out)
{
	struct pic *p = container_of(d, struct pic, dev);

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < 2; i++) {
		const struct pic_chip *c = &p->chip[i];

		text_printf(out,
			    "PIC %u: vectors from %02x, lines %02x, requested %02x, in service %02x, masked %02x, "
			    "level %02x\n",
			    i, c->base, c->lines, c->irr, c->isr, c->imr, c->elcr);
	}
	pthread_mutex_unlock(&p->lock);
}

static const struct device_ops pic_ops = { .name = "pic", .reset = reset, .destroy = destroy, .info = info };

struct device *pic_new(struct machine *m, struct irq_line out, struct error *err)
{
	struct pic *p = calloc(1, sizeof(*p));
	const struct region regions[] = {
		{ 0x20, 2, &master_ports, p, "pic", 1 },
		{ 0xa0, 2, &slave_ports, p, "pic2", 1 },
		{ 0x4d0, 2, &elcr_ports, p, "elcr", 1 },
	};

	if (!p) {
		error_set(err, ENOMEM, "no memory for the interrupt controllers");
		return NULL;
	}
	p->dev.ops = &pic_ops;
	p->out = out;
	pthread_mutex_init(&p->lock, NULL);
	reset(&p->dev);
	for (unsigned i = 0; i < ARRAY_SIZE(regions); i++) {
		if (bus_add(&m->pio, &regions[i], err)) {
			destroy(&p->dev);
			return NULL;
		}
	}
	return &p->dev;
}
