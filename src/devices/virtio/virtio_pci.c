/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over PCI (virtio 1.2, 4.1), the modern interface only. Everything is in BAR 0:
 *
 *   0000h  common configuration (4.1.4.3)      1000h  ISR status, cleared by a read (4.1.4.5)
 *   2000h  the device's configuration space    3000h  doorbells, four bytes a queue (4.1.4.4)
 *
 * BAR 1 is MSI-X: a vector a queue and one for the configuration. The same registers can be reached through configuration
 * space, for firmware that cannot map memory (4.1.4.9). Registers of the common configuration take writes of their own
 * width only (4.1.3.1); 64-bit ones by halves, or whole.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/transport.h"

#define VIRTIO_VENDOR	0x1af4
#define FIRST_DEVICE_ID 0x1040
#define REGISTER_BAR	0
#define MSIX_BAR	1
#define BAR_SIZE	0x4000u
#define AREA		0x1000u
#define ISR		0x1000u
#define DEVICE		0x2000u
#define NOTIFY		0x3000u
#define NOTIFY_MULT	4u
#define COMMON_LEN	60u /* with queue_notify_data and queue_reset of 1.2 */
#define ISR_QUEUE	1
#define ISR_CONFIG	2
#define CAP_LEN		16u

struct virtio_pci {
	struct virtio_device *d;
	struct pci_function *function;
	struct pci_info info;
	/* Registers, under transport.registers. */
	u32 feature_select, driver_feature_select;
	u16 queue_select;
	u16 config_vector; /* also read with the device's lock held: written under both */
	unsigned window; /* offset of the capability for access through configuration space */
	pthread_mutex_t isr_lock;
	u8 isr;
};

/* ---- interrupts ---- */

static void interrupt(void *arg, int q)
{
	struct virtio_pci *p = arg;
	u16 vector = q < 0 ? p->config_vector : p->d->transport->queue[q].vector;

	if (pci_msix_enabled(p->function)) {
		if (vector != VIRTIO_NO_VECTOR)
			pci_msix_signal(p->function, vector);
		return;
	}
	pthread_mutex_lock(&p->isr_lock);
	p->isr |= q < 0 ? ISR_CONFIG : ISR_QUEUE;
	pci_intx_set(p->function, true);
	pthread_mutex_unlock(&p->isr_lock);
}

static u8 read_isr(struct virtio_pci *p)
{
	u8 isr;

	pthread_mutex_lock(&p->isr_lock);
	isr = p->isr;
	p->isr = 0;
	pci_intx_set(p->function, false);
	pthread_mutex_unlock(&p->isr_lock);
	return isr;
}

static void set_vector(struct virtio_pci *p, u16 *vector, u32 value)
{
	virtio_lock(p->d);
	*vector = value < p->info.msix_vectors ? (u16)value : VIRTIO_NO_VECTOR;
	virtio_unlock(p->d);
}

/* ---- common configuration ---- */

static struct virtq *selected(struct virtio_pci *p)
{
	return p->queue_select < p->d->queues ? &p->d->transport->queue[p->queue_select] : NULL;
}

static void put(u8 *image, unsigned offset, const void *value, unsigned len)
{
	memcpy(image + offset, value, len);
}

static void put_queue(u8 *image, const struct virtq *q)
{
	u16 enabled = q->enabled;

	put(image, VIRTIO_PCI_COMMON_Q_SIZE, &q->size, 2);
	put(image, VIRTIO_PCI_COMMON_Q_MSIX, &q->vector, 2);
	put(image, VIRTIO_PCI_COMMON_Q_ENABLE, &enabled, 2);
	put(image, VIRTIO_PCI_COMMON_Q_NOFF, &q->index, 2);
	put(image, VIRTIO_PCI_COMMON_Q_DESCLO, &q->desc_gpa, 8);
	put(image, VIRTIO_PCI_COMMON_Q_AVAILLO, &q->avail_gpa, 8);
	put(image, VIRTIO_PCI_COMMON_Q_USEDLO, &q->used_gpa, 8);
}

static u64 read_common(struct virtio_pci *p, unsigned offset, unsigned size)
{
	struct virtio_transport *t = p->d->transport;
	const struct virtq *q = selected(p);
	u8 image[COMMON_LEN + 8] = { 0 };
	u64 value = 0;
	u32 offered = transport_read_features(p->d, p->feature_select);
	u32 chosen = p->driver_feature_select < 2 ? (u32)(t->driver_features >> (32 * p->driver_feature_select)) : 0;
	u16 queues = (u16)p->d->queues;

	if (offset + size > COMMON_LEN)
		return ~0ull;
	image[VIRTIO_PCI_COMMON_STATUS] = transport_read_status(p->d);
	image[VIRTIO_PCI_COMMON_CFGGENERATION] = t->generation;
	put(image, VIRTIO_PCI_COMMON_DFSELECT, &p->feature_select, 4);
	put(image, VIRTIO_PCI_COMMON_DF, &offered, 4);
	put(image, VIRTIO_PCI_COMMON_GFSELECT, &p->driver_feature_select, 4);
	put(image, VIRTIO_PCI_COMMON_GF, &chosen, 4);
	put(image, VIRTIO_PCI_COMMON_MSIX, &p->config_vector, 2);
	put(image, VIRTIO_PCI_COMMON_NUMQ, &queues, 2);
	put(image, VIRTIO_PCI_COMMON_Q_SELECT, &p->queue_select, 2);
	if (q)
		put_queue(image, q);
	memcpy(&value, image + offset, size);
	return value;
}

static void write_status(struct virtio_pci *p, u8 status)
{
	transport_write_status(p->d, status);
	if (status)
		return;
	p->feature_select = p->driver_feature_select = 0;
	p->queue_select = 0;
	set_vector(p, &p->config_vector, VIRTIO_NO_VECTOR);
	read_isr(p);
}

static void write_queue(struct virtio_pci *p, unsigned offset, u32 value)
{
	struct virtq *q = selected(p);

	if (!q)
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE: transport_set_queue_size(q, (u16)value); break;
	case VIRTIO_PCI_COMMON_Q_MSIX: set_vector(p, &q->vector, value); break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value == 1)
			transport_enable_queue(q);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI: transport_set_queue_address(q, &q->desc_gpa, offset / 4 & 1, value); break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI: transport_set_queue_address(q, &q->avail_gpa, offset / 4 & 1, value); break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI: transport_set_queue_address(q, &q->used_gpa, offset / 4 & 1, value); break;
	default: break;
	}
}

static unsigned common_width(unsigned offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_STATUS: return 1;
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_Q_SELECT:
	case VIRTIO_PCI_COMMON_Q_SIZE:
	case VIRTIO_PCI_COMMON_Q_MSIX:
	case VIRTIO_PCI_COMMON_Q_ENABLE: return 2;
	default: return 4;
	}
}

static void write_common(struct virtio_pci *p, unsigned offset, unsigned size, u32 value)
{
	if (size != common_width(offset))
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT: p->feature_select = value; break;
	case VIRTIO_PCI_COMMON_GFSELECT: p->driver_feature_select = value; break;
	case VIRTIO_PCI_COMMON_GF: transport_write_features(p->d, p->driver_feature_select, value); break;
	case VIRTIO_PCI_COMMON_MSIX: set_vector(p, &p->config_vector, value); break;
	case VIRTIO_PCI_COMMON_STATUS: write_status(p, (u8)value); break;
	case VIRTIO_PCI_COMMON_Q_SELECT: p->queue_select = (u16)value; break;
	default: write_queue(p, offset, value); break;
	}
}

/* ---- BAR 0 ---- */

static u64 read_registers(struct virtio_pci *p, unsigned offset, unsigned size)
{
	u64 value = 0;

	switch (offset / AREA * AREA) {
	case 0: return read_common(p, offset, size);
	case DEVICE: transport_read_config(p->d, offset - DEVICE, &value, size); return value;
	default: return ~0ull;
	}
}

static u64 read_bar(void *arg, u64 offset, unsigned size)
{
	struct virtio_pci *p = arg;
	u64 value;

	if (offset / AREA * AREA == ISR)
		return offset == ISR ? read_isr(p) : 0;
	pthread_mutex_lock(&p->d->transport->registers);
	value = read_registers(p, (unsigned)offset, size);
	pthread_mutex_unlock(&p->d->transport->registers);
	return value;
}

static void write_registers(struct virtio_pci *p, unsigned offset, unsigned size, u64 value)
{
	if (offset >= DEVICE) {
		transport_write_config(p->d, offset - DEVICE, &value, size);
	} else if (size == 8) {
		write_common(p, offset, 4, (u32)value);
		write_common(p, offset + 4, 4, (u32)(value >> 32));
	} else {
		write_common(p, offset, size, (u32)value);
	}
}

/* The doorbell's address says which queue; the value says it again. */
static void write_bar(void *arg, u64 offset, unsigned size, u64 value)
{
	struct virtio_pci *p = arg;

	if (offset >= NOTIFY) {
		transport_kick(p->d, (unsigned)(offset - NOTIFY) / NOTIFY_MULT);
	} else if (offset / AREA * AREA != ISR) {
		pthread_mutex_lock(&p->d->transport->registers);
		write_registers(p, (unsigned)offset, size, value);
		pthread_mutex_unlock(&p->d->transport->registers);
	}
}

static const struct region_ops bar_ops = { read_bar, write_bar };

/* ---- the way through configuration space ---- */

/* Whether the guest touched the data, and what its window describes is an access that we have. */
static bool window_used(struct virtio_pci *p, unsigned offset, unsigned size, u32 *at, u32 *len)
{
	const u8 *cap = pci_config(p->function) + p->window;
	unsigned data = p->window + CAP_LEN;

	memcpy(at, cap + VIRTIO_PCI_CAP_OFFSET, 4);
	memcpy(len, cap + VIRTIO_PCI_CAP_LENGTH, 4);
	return p->window && offset < data + 4 && offset + size > data && cap[VIRTIO_PCI_CAP_BAR] == REGISTER_BAR &&
	       (*len == 1 || *len == 2 || *len == 4) && *at % *len == 0 && *at <= BAR_SIZE - *len;
}

static void config_read_cb(void *arg, unsigned offset, unsigned size)
{
	struct virtio_pci *p = arg;
	u32 at, len, value;

	if (!window_used(p, offset, size, &at, &len))
		return;
	value = (u32)read_bar(p, at, len);
	memcpy(pci_config(p->function) + p->window + CAP_LEN, &value, len);
}

static void config_write_cb(void *arg, unsigned offset, unsigned size)
{
	struct virtio_pci *p = arg;
	u32 at, len, value = 0;

	if (!window_used(p, offset, size, &at, &len))
		return;
	memcpy(&value, pci_config(p->function) + p->window + CAP_LEN, len);
	write_bar(p, at, len, value);
}

/* ---- making it ---- */

static bool add_capability(struct virtio_pci *p, u8 type, u32 offset, u32 length, u32 extra, unsigned len)
{
	u8 cap[CAP_LEN + 4] = { [VIRTIO_PCI_CAP_LEN] = (u8)len, [VIRTIO_PCI_CAP_CFG_TYPE] = type };
	static const u8 window[CAP_LEN + 4] = { [VIRTIO_PCI_CAP_BAR] = 0xff,
						[VIRTIO_PCI_CAP_OFFSET... CAP_LEN + 3] = 0xff };
	unsigned at;

	put(cap, VIRTIO_PCI_CAP_OFFSET, &offset, 4);
	put(cap, VIRTIO_PCI_CAP_LENGTH, &length, 4);
	put(cap, CAP_LEN, &extra, 4);
	at = pci_add_capability(p->function, PCI_CAP_ID_VNDR, cap, len, type == VIRTIO_PCI_CAP_PCI_CFG ? window : NULL);
	if (type == VIRTIO_PCI_CAP_PCI_CFG)
		p->window = at;
	return at;
}

static bool add_capabilities(struct virtio_pci *p)
{
	u32 config_len = p->d->ops->config_len;

	return add_capability(p, VIRTIO_PCI_CAP_COMMON_CFG, 0, COMMON_LEN, 0, CAP_LEN) &&
	       add_capability(p, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY, NOTIFY_MULT * p->d->queues, NOTIFY_MULT,
			      CAP_LEN + 4) &&
	       add_capability(p, VIRTIO_PCI_CAP_ISR_CFG, ISR, 1, 0, CAP_LEN) &&
	       (!config_len || add_capability(p, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE, config_len, 0, CAP_LEN)) &&
	       add_capability(p, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0, CAP_LEN + 4);
}

static void bus_was_reset(void *arg)
{
	struct virtio_pci *p = arg;

	pthread_mutex_lock(&p->d->transport->registers);
	write_status(p, 0);
	pthread_mutex_unlock(&p->d->transport->registers);
}

static void release(void *arg)
{
	struct virtio_pci *p = arg;

	if (p->function)
		pci_remove(p->function);
	pthread_mutex_destroy(&p->isr_lock);
	free(p);
}

static int doorbell(void *arg, unsigned q, int fd, bool on)
{
	struct virtio_pci *p = arg;

	if (on)
		return pci_doorbell_add(p->function, REGISTER_BAR, NOTIFY + NOTIFY_MULT * q, fd);
	pci_doorbell_remove(p->function, fd);
	return 0;
}

static const struct transport_ops pci_transport = { .interrupt = interrupt, .destroy = release, .doorbell = doorbell };

static void describe(struct virtio_pci *p)
{
	const struct virtio_ops *ops = p->d->ops;

	p->info = (struct pci_info){
		.name = ops->name,
		.vendor = VIRTIO_VENDOR,
		.device = (u16)(FIRST_DEVICE_ID + ops->id),
		.subsystem_vendor = VIRTIO_VENDOR,
		.subsystem = (u16)(FIRST_DEVICE_ID + ops->id),
		.class = ops->pci_class,
		.revision = 1,
		.intx = true,
		.msix_vectors = p->d->queues + 1,
		.msix_bar = MSIX_BAR,
		.bar[REGISTER_BAR] = { .kind = BAR_MEM32, .size = BAR_SIZE, .ops = &bar_ops },
		.config_read = config_read_cb,
		.config_write = config_write_cb,
		.reset = bus_was_reset,
	};
}

int virtio_pci_add(struct device *pci_bus, struct virtio_device *d, struct error *err)
{
	struct virtio_pci *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return error_set(err, ENOMEM, "no memory for %s", d->ops->name);
	p->d = d;
	p->config_vector = VIRTIO_NO_VECTOR;
	pthread_mutex_init(&p->isr_lock, NULL);
	describe(p);
	r = transport_attach(d, &pci_transport, p, err);
	if (r) {
		release(p);
		return r;
	}
	p->function = pci_add(pci_bus, -1, &p->info, p, err);
	if (p->function && add_capabilities(p))
		return 0;
	r = p->function ? error_set(err, ENOSPC, "no room for the capabilities of %s", d->ops->name)
	    : err	? err->code
			: -ENOSPC;
	transport_detach(d);
	return r;
}
