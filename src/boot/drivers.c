/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which modules of Linux a guest's devices need, and where they are on the host. Dependencies are in the table's order, so
 * nobody has to read modules.dep; they have been the same since Linux 5.12.
 */
#include "boot/drivers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/cpio.h"
#include "util/cleanup.h"

#define MODULE_MAX     (64ull << 20)
#define VERSION_OFFSET 0x20e /* of a bzImage's header: where its version string is, less 200h */
#define ANY	       ~0u

static const struct module {
	const char *folder, *name;
	unsigned drivers; /* DRIVER_* that need it */
	bool xen; /* for a guest whose devices are Xen's; else for all others */
} modules[] = {
	{ "drivers/virtio", "virtio_ring", ANY },
	{ "drivers/virtio", "virtio", ANY },
	{ "drivers/virtio", "virtio_pci_legacy_dev", ANY },
	{ "drivers/virtio", "virtio_pci_modern_dev", ANY },
	{ "drivers/virtio", "virtio_pci", ANY },
	{ "drivers/char/hw_random", "virtio-rng", ANY },
	{ "drivers/block", "virtio_blk", DRIVER_DISK },
	{ "net/core", "failover", DRIVER_NET },
	{ "drivers/net", "net_failover", DRIVER_NET },
	{ "drivers/net", "virtio_net", DRIVER_NET },
	{ "drivers/char", "virtio_console", DRIVER_CONSOLE },
	{ "drivers/virtio", "virtio_balloon", DRIVER_BALLOON },
	{ "net/vmw_vsock", "vsock", DRIVER_VSOCK },
	{ "net/vmw_vsock", "vmw_vsock_virtio_transport_common", DRIVER_VSOCK },
	{ "net/vmw_vsock", "vmw_vsock_virtio_transport", DRIVER_VSOCK },
	{ "fs/fuse", "fuse", DRIVER_SHARE },
	{ "fs/fuse", "virtiofs", DRIVER_SHARE },
	{ "drivers/block", "xen-blkfront", DRIVER_DISK, true },
	{ "drivers/net", "xen-netfront", DRIVER_NET, true },
};

/* ---- the kernel's version ---- */

static const char *version_text(const struct blob *kernel, size_t *room)
{
	static const char banner[] = "Linux version ";
	size_t at = 0;
	const u8 *found;

	if (bzimage_probe(kernel)) {
		if (kernel->len >= VERSION_OFFSET + 2)
			at = 0x200u + *(const u16_una *)(kernel->data + VERSION_OFFSET);
	} else {
		found = memmem(kernel->data, kernel->len, banner, sizeof(banner) - 1);
		at = found ? (size_t)(found - kernel->data) + sizeof(banner) - 1 : 0;
	}
	*room = at && at < kernel->len ? kernel->len - at : 0;
	return (const char *)kernel->data + at;
}

/* It becomes part of a path: letters that versions have, and no more. */
void drivers_version(char version[DRIVERS_VERSION_MAX], const struct blob *kernel)
{
	static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-+_~";
	size_t room, len = 0;
	const char *text = version_text(kernel, &room);

	while (len < room && len < DRIVERS_VERSION_MAX - 1 && text[len] && strchr(letters, text[len]))
		len++;
	memcpy(version, text, len);
	version[len] = 0;
	if (version[0] == '.')
		version[0] = 0;
}

/* ---- files ---- */

static int read_if_there(struct blob *b, const char *path)
{
	struct error ignored;

	return access(path, R_OK) ? -ENOENT : blob_read_file(b, "module", path, MODULE_MAX, &ignored);
}

/* 0, or -ENOENT. */
static int find_module(struct blob *b, const struct module *m, const char *kernel, const char *version)
{
	const char *slash = strrchr(kernel, '/');
	int dir_len = slash ? (int)(slash - kernel) + 1 : 0;
	_cleanup_free_ char *beside = NULL, *installed = NULL;

	if (asprintf(&beside, "%.*smodules/%s/%s.ko", dir_len, kernel, version, m->name) < 0) {
		beside = NULL;
		return -ENOMEM;
	}
	if (!read_if_there(b, beside))
		return 0;
	if (asprintf(&installed, "/lib/modules/%s/kernel/%s/%s.ko", version, m->folder, m->name) < 0) {
		installed = NULL;
		return -ENOMEM;
	}
	return read_if_there(b, installed) ? -ENOENT : 0;
}

/* ---- the archive ---- */

static int add(struct cpio *cpio, u32 *ino, const char *name, u32 mode, const struct blob *b, struct error *err)
{
	struct cpio_entry e = { .name = name, .ino = ++*ino, .mode = mode, .nlink = 1, .size = b ? (u32)b->len : 0 };
	u8 *to;
	int r = cpio_add(cpio, &e, &to, err);

	if (!r && b)
		memcpy(to, b->data, b->len);
	return r;
}

static int add_module(struct cpio *cpio, u32 *ino, unsigned number, const struct blob *b, struct error *err)
{
	char name[sizeof(INIT_DIR "/" INIT_DRIVERS "/") + 8];

	snprintf(name, sizeof(name), INIT_DIR "/" INIT_DRIVERS "/%02u", number);
	return add(cpio, ino, name, S_IFREG | 0600, b, err);
}

static int add_modules(struct cpio *cpio, const struct boot_config *c, const char *version, struct error *err)
{
	unsigned count = 0;
	u32 ino = 0;
	int r = add(cpio, &ino, INIT_DIR, S_IFDIR | 0700, NULL, err);

	if (!r)
		r = add(cpio, &ino, INIT_DIR "/" INIT_DRIVERS, S_IFDIR | 0700, NULL, err);
	for (unsigned i = 0; i < ARRAY_SIZE(modules) && !r; i++) {
		_cleanup_blob_ struct blob b = { 0 };

		if (modules[i].drivers & c->drivers && modules[i].xen == !!(c->drivers & DRIVER_XEN) &&
		    !find_module(&b, &modules[i], c->kernel, version))
			r = add_module(cpio, &ino, count++, &b, err);
	}
	return r;
}

int drivers_pack(struct blob *out, const struct boot_config *c, const char *version, u64 limit, struct error *err)
{
	struct cpio cpio;
	int r;

	if (!c->drivers || !*version)
		return 0;
	r = cpio_begin(&cpio, out, limit, err);
	if (!r)
		r = add_modules(&cpio, c, version, err);
	return r ? r : cpio_end(&cpio, err);
}
