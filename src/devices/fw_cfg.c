/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firmware configuration device of QEMU (its docs/specs/fw_cfg.rst): named byte strings for firmware and test kernels.
 *
 *   510h  w16  selects an item and its beginning      511h  r8  the item's next byte, 0 behind its end
 *   514h  r    "QEMU CFG"; w32 upper half of a DMA request's address, big-endian; 518h: lower half, which starts it
 *
 * Items are fixed once the machine runs; the guest cannot write them. A request's fields are the guest's: its memory is
 * reached through the machine's checked copies, and whatever is no RAM fails the request.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "devices/devices.h"

#define DMA_ERROR  0x01u
#define DMA_READ   0x02u
#define DMA_SKIP   0x04u
#define DMA_SELECT 0x08u
#define DMA_WRITE  0x10u

#define ID_TRADITIONAL 1u
#define ID_DMA	       2u
#define FIRST_FILE     0x20u
#define FILE_NAME_MAX  56
#define ITEMS_MAX      64
#define ZEROS	       65536u

struct item {
	u16 key;
	u8 *data;
	u32 len;
};

struct file_entry { /* all numbers big-endian */
	u32 size;
	u16 select, reserved;
	char name[FILE_NAME_MAX];
};
struct file_dir {
	u32 count;
	struct file_entry entry[ITEMS_MAX];
};

struct dma_request { /* big-endian, in guest memory */
	u32 control, length;
	u64 address;
};

struct fw_cfg {
	struct device dev;
	struct machine *machine;
	pthread_mutex_t lock;
	struct item item[ITEMS_MAX];
	unsigned items, files;
	struct file_dir dir;
	const struct item *selected; /* NULL: an item that is not there */
	u32 at; /* next byte of it */
	u32 dma_high;
};

static const struct item *find(const struct fw_cfg *f, u16 key)
{
	for (unsigned i = 0; i < f->items; i++)
		if (f->item[i].key == key)
			return &f->item[i];
	return NULL;
}

static void choose(struct fw_cfg *f, u16 key)
{
	f->selected = find(f, key);
	f->at = 0;
}

static u32 left(const struct fw_cfg *f)
{
	return f->selected ? f->selected->len - MIN(f->at, f->selected->len) : 0;
}

static void skip(struct fw_cfg *f, u32 n)
{
	f->at = n > ~0u - f->at ? ~0u : f->at + n;
}

static u8 next_byte(struct fw_cfg *f)
{
	u8 b = left(f) ? f->selected->data[f->at] : 0;

	skip(f, 1);
	return b;
}

/* ---- DMA ---- */

static bool put_zeros(struct machine *m, u64 gpa, u32 n)
{
	static const u8 zeros[ZEROS];

	for (u32 chunk; n; n -= chunk, gpa += chunk) {
		chunk = MIN(n, ZEROS);
		if (machine_write(m, gpa, zeros, chunk))
			return false;
	}
	return true;
}

static bool dma_read(struct fw_cfg *f, u64 gpa, u32 len)
{
	u32 n = MIN(len, left(f));

	if (!ram_ptr(f->machine, gpa, len) || (n && machine_write(f->machine, gpa, f->selected->data + f->at, n)) ||
	    !put_zeros(f->machine, gpa + n, len - n))
		return false;
	skip(f, len);
	return true;
}

static void dma(struct fw_cfg *f, u64 gpa)
{
	struct dma_request q;
	u32 control, result;
	bool ok = true;

	if (machine_read(f->machine, gpa, &q, sizeof(q)))
		return;
	control = __builtin_bswap32(q.control);
	if (control & DMA_SELECT)
		choose(f, (u16)(control >> 16));
	if (control & DMA_READ)
		ok = dma_read(f, __builtin_bswap64(q.address), __builtin_bswap32(q.length));
	else if (control & DMA_WRITE)
		ok = false;
	else if (control & DMA_SKIP)
		skip(f, __builtin_bswap32(q.length));
	result = ok ? 0 : __builtin_bswap32(DMA_ERROR);
	machine_write(f->machine, gpa, &result, sizeof(result));
}

/* ---- ports ---- */

static u64 read_port(void *dev, u64 offset, unsigned size)
{
	struct fw_cfg *f = dev;
	u64 value = ~0ull;

	pthread_mutex_lock(&f->lock);
	if (offset == 1 && size == 1)
		value = next_byte(f);
	pthread_mutex_unlock(&f->lock);
	return value;
}

static void write_port(void *dev, u64 offset, unsigned size, u64 value)
{
	struct fw_cfg *f = dev;

	pthread_mutex_lock(&f->lock);
	if (offset == 0 && size == 2)
		choose(f, (u16)value);
	pthread_mutex_unlock(&f->lock);
}

static u64 read_dma(void *dev, u64 offset, unsigned size)
{
	static const char signature[8] = { 'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G' };
	u64 value = 0;

	memcpy(&value, signature + offset, size);
	return value;
}

static void write_dma(void *dev, u64 offset, unsigned size, u64 value)
{
	struct fw_cfg *f = dev;

	pthread_mutex_lock(&f->lock);
	if (size == 4 && offset == 0) {
		f->dma_high = __builtin_bswap32((u32)value);
	} else if (size == 4 && offset == 4) {
		dma(f, (u64)f->dma_high << 32 | __builtin_bswap32((u32)value));
		f->dma_high = 0;
	}
	pthread_mutex_unlock(&f->lock);
}

static const struct region_ops port_ops = { read_port, write_port };
static const struct region_ops dma_ops = { read_dma, write_dma };

/* ---- items ---- */

int fw_cfg_add(struct device *d, u16 key, const void *data, size_t len, struct error *err)
{
	struct fw_cfg *f = container_of(d, struct fw_cfg, dev);
	struct item *i = &f->item[f->items];

	if (f->items == ITEMS_MAX || find(f, key) || len > ~0u)
		return error_set(err, ENOSPC, "no room for firmware configuration item %#x", key);
	i->data = malloc(len + 1);
	if (!i->data)
		return error_set(err, ENOMEM, "no memory for the firmware configuration");
	memcpy(i->data, data, len);
	i->key = key;
	i->len = (u32)len;
	f->items++;
	return 0;
}

int fw_cfg_add_file(struct device *d, const char *name, const void *data, size_t len, struct error *err)
{
	struct fw_cfg *f = container_of(d, struct fw_cfg, dev);
	struct file_entry *e = &f->dir.entry[f->files];
	u16 key = (u16)(FIRST_FILE + f->files);
	int r;

	if (strlen(name) >= FILE_NAME_MAX)
		return error_set(err, ENAMETOOLONG, "firmware configuration file %s: its name is too long", name);
	r = fw_cfg_add(d, key, data, len, err);
	if (r)
		return r;
	e->size = __builtin_bswap32((u32)len);
	e->select = __builtin_bswap16(key);
	strcpy(e->name, name);
	f->dir.count = __builtin_bswap32(++f->files);
	/* The directory is the first item made; it is kept current in place. */
	memcpy(f->item[0].data, &f->dir, sizeof(f->dir));
	return 0;
}

static int add_standard_items(struct fw_cfg *f, struct error *err)
{
	const struct machine_config *c = &f->machine->config;
	const u32 id = ID_TRADITIONAL | ID_DMA;
	const u16 cpus = (u16)c->cpus;
	const u64 ram = c->ram_size;
	int r = fw_cfg_add(&f->dev, FW_CFG_FILE_DIR, &f->dir, sizeof(f->dir), err);

	if (!r)
		r = fw_cfg_add(&f->dev, FW_CFG_SIGNATURE, "QEMU", 4, err);
	if (!r)
		r = fw_cfg_add(&f->dev, FW_CFG_ID, &id, sizeof(id), err);
	if (!r)
		r = fw_cfg_add(&f->dev, FW_CFG_RAM_SIZE, &ram, sizeof(ram), err);
	if (!r)
		r = fw_cfg_add(&f->dev, FW_CFG_NB_CPUS, &cpus, sizeof(cpus), err);
	if (!r)
		r = fw_cfg_add(&f->dev, FW_CFG_MAX_CPUS, &cpus, sizeof(cpus), err);
	return r;
}

static void reset(struct device *d)
{
	struct fw_cfg *f = container_of(d, struct fw_cfg, dev);

	pthread_mutex_lock(&f->lock);
	choose(f, FW_CFG_SIGNATURE);
	f->dma_high = 0;
	pthread_mutex_unlock(&f->lock);
}

static void destroy(struct device *d)
{
	struct fw_cfg *f = container_of(d, struct fw_cfg, dev);

	for (unsigned i = 0; i < f->items; i++)
		free(f->item[i].data);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static const struct device_ops fw_cfg_ops = { .name = "fw-cfg", .reset = reset, .destroy = destroy };

struct device *fw_cfg_new(struct machine *m, struct error *err)
{
	struct fw_cfg *f = calloc(1, sizeof(*f));
	const struct region ports = { FW_CFG_PORT, 2, &port_ops, f, "fw_cfg", 0 };
	const struct region request = { FW_CFG_PORT + 4, 8, &dma_ops, f, "fw_cfg dma", 0 };

	if (!f) {
		error_set(err, ENOMEM, "no memory for the firmware configuration device");
		return NULL;
	}
	f->dev.ops = &fw_cfg_ops;
	f->machine = m;
	pthread_mutex_init(&f->lock, NULL);
	if (add_standard_items(f, err) || bus_add(&m->pio, &ports, err) || bus_add(&m->pio, &request, err)) {
		destroy(&f->dev);
		return NULL;
	}
	reset(&f->dev);
	return &f->dev;
}
