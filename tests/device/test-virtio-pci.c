/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over PCI as a driver sees it: capabilities, the common configuration in the widths that it may use, vectors and INTA#,
 * the way through configuration space; and registers written at random while queues are in use.
 */
#include "pci-driver.h"

#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/devices.h"

static struct pci_fixture f;
static struct machine *m;
static struct virtio_device *d;
static u64 common, notify, isr, config;
#define DEVFN 8

/* A device that gives every buffer back at once; its configuration space is four bytes that can be written. */
struct echo {
	struct virtio_device d;
	u8 config[4];
	unsigned kicks[3];
};

static void echo_notify(struct virtio_device *dev, unsigned index)
{
	struct virtq *q = virtio_queue(dev, index);
	struct virtq_buffer b;

	container_of(dev, struct echo, d)->kicks[index]++;
	while (virtq_pop(q, &b) > 0)
		virtq_push(q, &b, (u32)virtq_write(&b, 0, "echo", 4));
	virtq_signal(q);
}

static void echo_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, container_of(dev, struct echo, d)->config + offset, len);
}

static void echo_write(struct virtio_device *dev, unsigned offset, const void *buf, unsigned len)
{
	memcpy(container_of(dev, struct echo, d)->config + offset, buf, len);
}

static void echo_destroy(struct virtio_device *dev)
{
	free(container_of(dev, struct echo, d));
}

static const struct virtio_ops echo_ops = {
	.name = "echo",
	.id = 42,
	.pci_class = 0x0880ff,
	.config_len = 4,
	.config_read = echo_read,
	.config_write = echo_write,
	.notify = echo_notify,
	.destroy = echo_destroy,
};

static u64 area(u8 type, u32 *len)
{
	for (unsigned i = 0, at; (at = find_capability(m, DEVFN, PCI_CAP_ID_VNDR, i)); i++) {
		if (conf_read(m, DEVFN, at + VIRTIO_PCI_CAP_CFG_TYPE, 1) != type)
			continue;
		if (len)
			*len = (u32)conf_read(m, DEVFN, at + VIRTIO_PCI_CAP_LENGTH, 4);
		return conf_read(m, DEVFN, PCI_BASE_ADDRESS_0 + 4 * conf_read(m, DEVFN, at + VIRTIO_PCI_CAP_BAR, 1),
				 4) +
		       conf_read(m, DEVFN, at + VIRTIO_PCI_CAP_OFFSET, 4);
	}
	return 0;
}

static int setup(void **state)
{
	struct echo *e = calloc(1, sizeof(*e));

	pci_fixture_new(&f);
	m = f.m;
	e->d = (struct virtio_device){ .ops = &echo_ops, .machine = m, .queues = 3 };
	d = &e->d;
	assert_int_equal(virtio_pci_add(f.bus, d, NULL), 0);
	conf_write(m, DEVFN, PCI_COMMAND, 2, 6);
	common = area(VIRTIO_PCI_CAP_COMMON_CFG, NULL);
	notify = area(VIRTIO_PCI_CAP_NOTIFY_CFG, NULL);
	isr = area(VIRTIO_PCI_CAP_ISR_CFG, NULL);
	config = area(VIRTIO_PCI_CAP_DEVICE_CFG, NULL);
	return 0;
}

static int teardown(void **state)
{
	device_destroy(&d->dev);
	pci_fixture_free(&f);
	return 0;
}

static u64 reg(unsigned offset, unsigned size)
{
	return bus_read(&m->mmio, common + offset, size);
}
static void set(unsigned offset, unsigned size, u64 value)
{
	bus_write(&m->mmio, common + offset, size, value);
}

/* Up to DRIVER_OK, with queue 0's rings of 8 entries at 0, 1000h and 2000h and the vectors as given. */
static void start(u16 config_vector, u16 queue_vector)
{
	set(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	set(VIRTIO_PCI_COMMON_STATUS, 1, 3);
	set(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	set(VIRTIO_PCI_COMMON_GF, 4, 1);
	set(VIRTIO_PCI_COMMON_STATUS, 1, 0xb);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_STATUS, 1), 0xb);
	set(VIRTIO_PCI_COMMON_MSIX, 2, config_vector);
	set(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	set(VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
	set(VIRTIO_PCI_COMMON_Q_MSIX, 2, queue_vector);
	set(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 0x1000);
	set(VIRTIO_PCI_COMMON_Q_USEDLO, 8, 0x2000);
	set(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	set(VIRTIO_PCI_COMMON_STATUS, 1, 0xf);
	memset(ram_ptr(m, 0, 0x4000), 0, 0x4000);
	*(struct vring_desc *)ram_ptr(m, 0, 16) = (struct vring_desc){ 0x3000, 16, VRING_DESC_F_WRITE, 0 };
}

static void kick(void)
{
	((u16 *)ram_ptr(m, 0x1000, 4))[1]++;
	bus_write(&m->mmio, notify, 2, 0);
}

static void found(void **state)
{
	u32 len;

	assert_int_equal(conf_read(m, DEVFN, 0, 4), (0x1040 + 42) << 16 | 0x1af4);
	assert_int_equal(conf_read(m, DEVFN, PCI_REVISION_ID, 1), 1);
	assert_true(common && notify && isr && config);
	assert_true(area(VIRTIO_PCI_CAP_COMMON_CFG, &len) && len >= 56);
	assert_true(area(VIRTIO_PCI_CAP_DEVICE_CFG, &len) && len == 4);
	assert_true(area(VIRTIO_PCI_CAP_PCI_CFG, NULL));
	assert_true(find_capability(m, DEVFN, PCI_CAP_ID_MSIX, 0));
	assert_int_equal(reg(VIRTIO_PCI_COMMON_NUMQ, 2), 3);
	set(VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_DF, 4) & 1, 1);
	set(VIRTIO_PCI_COMMON_DFSELECT, 4, 7);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_DF, 4), 0);
}

static void registers(void **state)
{
	set(VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_Q_SIZE, 2), VIRTQ_SIZE_MAX);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_Q_NOFF, 2), 2);
	set(VIRTIO_PCI_COMMON_Q_SIZE, 2, 64);
	set(VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x11111110);
	set(VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0x22222222);
	set(VIRTIO_PCI_COMMON_Q_USEDLO, 8, 0x3333333344444444);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	assert_true(reg(VIRTIO_PCI_COMMON_Q_DESCLO, 8) == 0x2222222211111110);
	assert_true(reg(VIRTIO_PCI_COMMON_Q_USEDLO, 8) == 0x3333333344444444);
	set(VIRTIO_PCI_COMMON_Q_SIZE, 1, 32); /* of the wrong width */
	set(VIRTIO_PCI_COMMON_STATUS, 4, 0x0101);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_STATUS, 1), 0);
	set(VIRTIO_PCI_COMMON_Q_MSIX, 2, 3);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_Q_MSIX, 2), 3);
	set(VIRTIO_PCI_COMMON_Q_MSIX, 2, 4); /* there are 0..3 */
	assert_int_equal(reg(VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	set(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1); /* outside RAM */
	assert_int_equal(reg(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_STATUS, 1), VIRTIO_CONFIG_S_NEEDS_RESET);
	set(VIRTIO_PCI_COMMON_Q_SELECT, 2, 3); /* which it does not have */
	assert_int_equal(reg(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	set(VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
	set(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	set(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	bus_write(&m->mmio, config, 4, 0x64636261);
	assert_int_equal(bus_read(&m->mmio, config + 1, 2), 0x6362);
	assert_int_equal(bus_read(&m->mmio, config + 1, 4), 0xffffffff); /* over its end */
	bus_write(&m->mmio, config + 3, 4, 0);
	assert_int_equal(bus_read(&m->mmio, config, 4), 0x64636261);
}

static void set_vector(unsigned v, u32 data)
{
	u64 table = conf_read(m, DEVFN, PCI_BASE_ADDRESS_1, 4);

	writel(m, table + 16 * v, 0xfee00000);
	writel(m, table + 16 * v + 8, data);
	writel(m, table + 16 * v + 12, 0);
}

static void messages(void **state)
{
	set_vector(0, 0x40);
	set_vector(2, 0x42);
	conf_write(m, DEVFN, find_capability(m, DEVFN, PCI_CAP_ID_MSIX, 0) + 2, 2, 0x8000);
	start(0, 2);
	kick();
	assert_int_equal(take_vector(m), 0x42);
	assert_int_equal(((u16 *)ram_ptr(m, 0x2000, 4))[1], 1);
	assert_memory_equal(ram_ptr(m, 0x3000, 4), "echo", 4);
	virtio_lock(d);
	virtio_config_changed(d);
	virtio_unlock(d);
	assert_int_equal(take_vector(m), 0x40);
	assert_int_equal(bus_read(&m->mmio, isr, 1), 0);
	start(0xffff, 0xffff); /* no interrupts wanted */
	kick();
	assert_int_equal(((u16 *)ram_ptr(m, 0x2000, 4))[1], 1);
	assert_int_equal(take_vector(m), -1);
}

static void line(void **state)
{
	writel(m, IOAPIC_BASE, 0x10 + 2 * 17);
	writel(m, IOAPIC_BASE + 0x10, 0x8000 | 0x61);
	start(0xffff, 0xffff);
	kick();
	assert_int_equal(take_vector(m), 0x61);
	assert_int_equal(bus_read(&m->mmio, isr, 1), 1);
	assert_int_equal(bus_read(&m->mmio, isr, 1), 0);
	take_vector(m);
	assert_int_equal(take_vector(m), -1);
	virtio_lock(d);
	virtio_config_changed(d);
	virtio_unlock(d);
	assert_int_equal(take_vector(m), 0x61);
	assert_int_equal(bus_read(&m->mmio, isr, 1), 2);
	kick();
	set(VIRTIO_PCI_COMMON_STATUS, 1, 0); /* a reset lowers it */
	take_vector(m);
	assert_int_equal(take_vector(m), -1);
}

/* 4.1.4.9: everything through configuration space. */
static unsigned window_at;

static void window(u64 address, unsigned len)
{
	if (!window_at)
		for (unsigned i = 0; (window_at = find_capability(m, DEVFN, PCI_CAP_ID_VNDR, i)); i++)
			if (conf_read(m, DEVFN, window_at + VIRTIO_PCI_CAP_CFG_TYPE, 1) == VIRTIO_PCI_CAP_PCI_CFG)
				break;
	conf_write(m, DEVFN, window_at + VIRTIO_PCI_CAP_OFFSET, 4,
		   address - conf_read(m, DEVFN, PCI_BASE_ADDRESS_0, 4));
	conf_write(m, DEVFN, window_at + VIRTIO_PCI_CAP_LENGTH, 4, len);
}

static void through_configuration(void **state)
{
	unsigned data;

	window(common + VIRTIO_PCI_COMMON_NUMQ, 2);
	data = window_at + 16;
	assert_int_equal(conf_read(m, DEVFN, data, 2), 3);
	window(config, 4);
	conf_write(m, DEVFN, data, 4, 0xdeadbeef);
	assert_int_equal(bus_read(&m->mmio, config, 4), 0xdeadbeef);
	window(common + VIRTIO_PCI_COMMON_STATUS, 1);
	conf_write(m, DEVFN, data, 1, 3);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_STATUS, 1), 3);
	/* What it cannot do it leaves. */
	window(common + 1, 2);
	conf_read(m, DEVFN, data, 2);
	window(config, 3);
	conf_write(m, DEVFN, data, 4, 0);
	window(config, 0xffffffff);
	conf_write(m, DEVFN, data, 4, 0);
	window(common + 0x4000, 4);
	conf_write(m, DEVFN, data, 4, 0);
	conf_write(m, DEVFN, window_at + VIRTIO_PCI_CAP_BAR, 1, 5);
	window(config, 4);
	conf_write(m, DEVFN, data, 4, 0);
	assert_int_equal(bus_read(&m->mmio, config, 4), 0xdeadbeef);
}

static void bus_reset(void **state)
{
	start(0, 0);
	device_reset(f.bus);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_STATUS, 1), 0);
	assert_int_equal(reg(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
}

/* ---- hostile ---- */

static u64 seed = 0x5e87a97;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull;
}

static void scribble(void)
{
	u64 base = conf_read(m, DEVFN, PCI_BASE_ADDRESS_0, 4);
	unsigned size = 1u << rnd() % 4;
	u64 value = rnd() % 2 ? rnd() & 0xffff : rnd() % 2 ? rnd() : rnd() & 0xf;

	switch (rnd() % 8) {
	case 0: bus_read(&m->mmio, base + rnd() % 0x4000, size); break;
	case 1: bus_write(&m->mmio, base + rnd() % 0x4000, size, value); break;
	case 2: set((unsigned)rnd() % 60, size, value); break;
	case 3: set(VIRTIO_PCI_COMMON_STATUS, 1, rnd() & 0xff); break;
	case 4: bus_write(&m->mmio, notify + 4 * (rnd() % 200), 2, value); break;
	case 5: conf_write(m, DEVFN, 0x40 + (unsigned)rnd() % 0xc0, 1u << rnd() % 3, value); break;
	case 6: *(u16 *)ram_ptr(m, rnd() % 0x3000 & ~1ull, 2) = (u16)value; break;
	default: bus_read(&m->mmio, isr, size); break;
	}
}

static void hostile(void **state)
{
	const struct echo *e = container_of(d, struct echo, d);

	for (unsigned i = 0; i < 200000; i++) {
		if (i % 200 == 0) {
			conf_write(m, DEVFN, find_capability(m, DEVFN, PCI_CAP_ID_MSIX, 0) + 2, 2,
				   i % 400 ? 0x8000 : 0);
			start(0, 1);
		}
		scribble();
		if (rnd() % 4 == 0)
			kick();
		if (i % 64 == 0)
			while (take_vector(m) >= 0 && rnd() % 4)
				;
	}
	assert_true(e->kicks[0] > 1000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(found),	 TEST(registers), TEST(messages), TEST(line), TEST(through_configuration),
		TEST(bus_reset), TEST(hostile),
	};
	const char *other = getenv("SEXTANT_SEED");

	if (other)
		seed = strtoull(other, NULL, 0) | 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
