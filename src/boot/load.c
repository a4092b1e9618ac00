/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct kernel boot, start to end: which kind of file the kernel is, which of its entries is taken, and what goes with it.
 *
 * Entries: a bzImage's unpacked kernel and an ELF file that is Linux (elf.c says how it knows) are entered as Linux; a file
 * with a multiboot header is entered by that; any other ELF file needs a PVH note. A Linux kernel without a usable ELF entry
 * falls back to its note.
 */
#include "boot/boot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "boot/drivers.h"
#include "boot/initramfs.h"
#include "boot/kernel.h"
#include "boot/place.h"
#include "util/cleanup.h"

#define HEAD		   65536u /* the setup sectors of any bzImage, with its version's text */
/* Linux's own limits, where no bzImage tells them: COMMAND_LINE_SIZE, and the highest address of initrd_addr_max. */
#define LINUX_CMDLINE	   2047
#define LINUX64_INITRD_MAX 0x7fffffffull
#define LINUX32_INITRD_MAX 0x37ffffffull

void kernel_free(struct kernel *k)
{
	if (k->fd >= 0)
		close(k->fd);
	blob_free(&k->file);
	blob_free(&k->unpacked);
}

static int unpack_bzimage(struct kernel *k, u64 limit, struct error *err)
{
	k->is_bz = true;
	int r = bzimage_parse(&k->bz, &k->file, err);
	if (!r)
		r = payload_unpack(&k->unpacked, k->bz.payload, k->bz.payload_len, limit, err);
	if (!r && !elf_probe(&k->unpacked))
		r = error_set(err, EINVAL, "its payload is not an ELF file");
	if (!r)
		r = elf_parse(&k->elf, &k->unpacked, err);
	return r;
}

static int parse_kernel(struct kernel *k, u64 limit, struct error *err)
{
	if (bzimage_probe(&k->file))
		return unpack_bzimage(k, limit, err);
	int r = multiboot_find(&k->mb, &k->file, err);
	if (r || k->mb.version)
		return r ? r : multiboot_image(&k->mb, &k->elf, &k->file, err);
	if (!elf_probe(&k->file))
		return error_set(
			err, ENOEXEC,
			"is neither a Linux boot image (bzImage) nor an ELF file, and has no multiboot header");
	r = elf_parse(&k->elf, &k->file, err);
	if (!r && !k->elf.linux_kernel && !k->elf.has_pvh)
		return error_set(err, ENOEXEC, "is an ELF file, but neither Linux nor has a PVH entry note");
	return r;
}

int kernel_read(struct kernel *k, const char *path, u64 limit, struct error *err)
{
	int r = blob_read_file(&k->file, "kernel", path, KERNEL_MAX, err);

	if (!r && parse_kernel(k, MIN(KERNEL_MAX, limit), err))
		r = error_wrap(err, "kernel %s", path);
	return r;
}

static bool enters_as_linux(const struct kernel *k)
{
	return !k->mb.version && (k->is_bz || k->elf.linux_kernel) && k->elf.entry != ~0ull;
}

static int check_entry(const struct kernel *k, const struct placement *p, struct error *err)
{
	bool by_elf = enters_as_linux(k) || k->mb.version;
	u64 entry = by_elf ? k->elf.entry : k->elf.pvh_entry;
	if (!by_elf && !k->elf.has_pvh)
		return error_set(err, EINVAL, "corrupt: its ELF entry lies in no segment");
	if (entry < k->elf.first || entry >= k->elf.end || !place_is_free(p, entry, 1))
		return error_set(err, EINVAL, "corrupt: its entry %#llx lies outside of it", (unsigned long long)entry);
	if (k->elf.is64 && !cpu_has(p->m->config.model, FEAT_LM))
		return error_set(err, ENOEXEC, "a 64-bit kernel, but CPU model %s has no long mode",
				 p->m->config.model->name);
	return 0;
}

/* A kernel that unpacks itself is read to where it begins, and to nowhere else before. */
static bool find_itself(struct kernel *k, const char *path)
{
	u64 len;

	k->fd = file_open_plain(path, &len);
	if (k->fd < 0)
		return false;
	k->file = (struct blob){ .data = malloc(HEAD), .len = MIN(len, (u64)HEAD) };
	k->is_bz = k->file.data && !file_read_at(k->fd, 0, k->file.data, k->file.len, NULL) &&
		   bzimage_parse_head(&k->bz, &k->file, len);
	if (k->is_bz)
		bzimage_itself(&k->bz, &k->elf);
	else
		blob_free(&k->file);
	return k->is_bz;
}

static int load_kernel(struct placement *p, struct kernel *k, const struct boot_config *c, struct error *err)
{
	bool itself = c->unpacks_itself && cpu_has(p->m->config.model, FEAT_LM) && find_itself(k, c->kernel);
	int r = itself ? 0 : blob_read_file(&k->file, "kernel", c->kernel, KERNEL_MAX, err);
	if (r)
		return r;
	if (!itself)
		r = parse_kernel(k, MIN(KERNEL_MAX, p->m->low_size), err);
	p->elf = &k->elf;
	p->bz = k->is_bz ? &k->bz : NULL;
	p->roams = k->mb.version;
	if (!r)
		r = place_kernel(p, err);
	if (!r)
		r = check_entry(k, p, err);
	if (!r && itself)
		r = file_read_at(k->fd, k->bz.image_offset, place_ptr(p, k->bz.image_gpa, k->bz.image_len),
				 k->bz.image_len, err);
	if (r)
		error_wrap(err, "kernel %s", c->kernel);
	return r;
}

int kernel_cmdline(char **out, const struct boot_config *c, struct error *err)
{
	const char *append = c->append ? c->append : "";
	const char *console = strstr(append, "console=") ? "" : c->console ? c->console : "ttyS0";
	const char *ours = c->rootfs ? "quiet loglevel=0 panic=-1 rdinit=" INITRAMFS_INIT " " : "";
	if (asprintf(out, "%s%s%s%s%s", *console ? "console=" : "", console, *console ? " " : "", ours, append) < 0) {
		*out = NULL;
		return error_set(err, ENOMEM, "no memory");
	}
	size_t len = strlen(*out);
	while (len && (*out)[len - 1] == ' ')
		(*out)[--len] = 0;
	return 0;
}

static int load_cmdline(struct placement *p, const struct kernel *k, const struct boot_config *c, struct error *err)
{
	_cleanup_free_ char *line = NULL;
	int r = kernel_cmdline(&line, c, err);
	if (r)
		return r;
	size_t longest = k->is_bz && k->bz.cmdline_size ? k->bz.cmdline_size : LINUX_CMDLINE;
	return place_cmdline(p, line, longest, err);
}

int kernel_initrd(struct blob *out, const struct kernel *k, const struct boot_config *c, u64 limit, struct error *err)
{
	char version[DRIVERS_VERSION_MAX];
	int r;

	if (c->initrd) {
		r = blob_read_file(out, "initrd", c->initrd, limit, err);
		if (r)
			return r;
	}
	r = c->rootfs ? initramfs_pack(out, c, limit, err) : 0;
	if (r || !c->drivers)
		return r;
	drivers_version(version, &k->file);
	return drivers_pack(out, c, version, limit, err);
}

int kernel_initrd_wrap(const struct boot_config *c, struct error *err)
{
	return error_wrap(err, "%s %s", c->rootfs ? "rootfs" : "initrd",
			  !c->rootfs	   ? c->initrd
			  : c->rootfs_name ? c->rootfs_name
					   : c->rootfs);
}

/* A file that is all of it is read to where it goes, and to nowhere else before. */
static int read_initrd(struct placement *p, int fd, u64 len, u64 limit, struct error *err)
{
	int r = place_initrd(p, &(struct blob){ .len = len }, limit, err);

	return r ? r : file_read_at(fd, 0, place_ptr(p, p->initrd_gpa, len), len, err);
}

static int load_initrd(struct placement *p, const struct kernel *k, const struct boot_config *c, struct error *err)
{
	_cleanup_blob_ struct blob initrd = { 0 };
	_cleanup_fd_ int fd = -1;
	u64 limit = k->elf.is64 ? LINUX64_INITRD_MAX : LINUX32_INITRD_MAX, len;
	int r;

	if (k->is_bz && k->bz.initrd_max)
		limit = k->bz.initrd_max;
	if (c->initrd && !c->rootfs && !c->drivers)
		fd = file_open_plain(c->initrd, &len);
	if (fd >= 0) {
		r = read_initrd(p, fd, len, limit, err);
	} else {
		r = kernel_initrd(&initrd, k, c, p->m->low_size, err);
		if (r || !initrd.len)
			return r;
		r = place_initrd(p, &initrd, limit, err);
	}
	return r ? kernel_initrd_wrap(c, err) : 0;
}

/* A multiboot kernel's command line begins with its file's name, as kernels that parse it expect. */
static int load_multiboot(struct placement *p, const struct kernel *k, const struct boot_config *c, struct error *err)
{
	_cleanup_free_ char *line = NULL;
	u8 *ignored;
	if (c->rootfs)
		return error_set(err, ENOTSUP, "kernel %s: a multiboot kernel; --rootfs needs Linux", c->kernel);
	if (asprintf(&line, "%s%s%s", c->kernel, c->append ? " " : "", c->append ? c->append : "") < 0) {
		line = NULL;
		return error_set(err, ENOMEM, "no memory");
	}
	int r = multiboot_modules(p, c->initrd, err);
	if (!r)
		r = place_block(p, ENTRY_GDT_SIZE, &p->gdt, &ignored, err);
	return r ? r : multiboot_enter(p, &k->mb, line, err);
}

static void placement_free(struct placement *p)
{
	for (unsigned i = 0; i < p->modules; i++)
		free(p->module[i].string);
}

int boot_load(struct machine *m, const struct boot_config *c, struct error *err)
{
	_cleanup_kernel_ struct kernel k = KERNEL_NONE;
	__attribute__((
		cleanup(placement_free))) struct placement p = { .m = m, .firmware = c->firmware, .gdt = PLACE_GDT };
	int r = load_kernel(&p, &k, c, err);
	if (r || k.mb.version)
		return r ? r : load_multiboot(&p, &k, c, err);
	r = load_cmdline(&p, &k, c, err);
	if (!r)
		r = load_initrd(&p, &k, c, err);
	if (r)
		return r;
	if (enters_as_linux(&k))
		linux_enter(&p);
	else
		pvh_enter(&p);
	return 0;
}
