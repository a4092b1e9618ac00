/* SPDX-License-Identifier: Apache-2.0 */
/* Formats of disk images: names, what files are called, and how their contents begin. The rule is in format.h. */
#include "host/disk/format.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define HEADER 512

struct format {
	const char *name; /* as QEMU's block drivers are called */
	const char *suffix; /* NULL: no name promises it */
	const char *magic;
	unsigned at, len;
};
/* clang-format off */
static const struct format formats[] = {
	{ "raw", NULL, NULL, 0, 0 },
	{ "qcow2", ".qcow2", "QFI\xfb\0\0\0", 0, 7 }, /* versions 2 and 3; 1 is qcow */
	{ "qcow", ".qcow", "QFI\xfb\0\0\0\1", 0, 8 },
	{ "vmdk", ".vmdk", "KDMV", 0, 4 },
	{ "vmdk", ".vmdk", "COWD", 0, 4 },
	{ "vmdk", ".vmdk", "# Disk DescriptorFile", 0, 21 },
	{ "vhdx", ".vhdx", "vhdxfile", 0, 8 },
	{ "vdi", ".vdi", "\x7f\x10\xda\xbe", 0x40, 4 },
	{ "vpc", ".vhd", "conectix", 0, 8 },
	{ "qed", ".qed", "QED\0", 0, 4 },
	{ "parallels", ".hdd", "WithoutFreeSpace", 0, 16 },
	{ "parallels", ".hdd", "WithouFreSpacExt", 0, 16 },
	{ "dmg", NULL, NULL, 0, 0 },
	{ "bochs", NULL, "Bochs Virtual HD Image", 0, 22 },
};
/* clang-format on */

const char *format_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (!strcmp(formats[i].name, name))
			return formats[i].name;
	return NULL;
}

const char *format_names(void)
{
	return "raw, qcow2, qcow, vmdk, vhdx, vdi, vpc, qed, parallels, dmg, bochs";
}

static const char *by_content(int fd)
{
	u8 header[HEADER] = { 0 };
	ssize_t n = pread(fd, header, sizeof(header), 0);
	const struct format *best = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct format *f = &formats[i];

		if (f->len && (ssize_t)(f->at + f->len) <= n && !memcmp(header + f->at, f->magic, f->len) &&
		    (!best || f->len > best->len))
			best = f;
	}
	return best ? best->name : NULL;
}

static const char *by_name(const char *path)
{
	const char *suffix = strrchr(path, '.');

	for (unsigned i = 0; suffix && i < ARRAY_SIZE(formats); i++)
		if (formats[i].suffix && !strcasecmp(formats[i].suffix, suffix))
			return formats[i].name;
	return NULL;
}

const char *format_detect(int fd, const char *path, struct error *err)
{
	const char *name = by_name(path), *content = by_content(fd);

	if (name && content && !strcmp(name, content))
		return name;
	if (content)
		error_set(err, EINVAL,
			  "%s begins like a disk image of format %s, which a guest may have written: say format=%s or "
			  "format=raw",
			  path, content, content);
	else if (name)
		error_set(err, EINVAL,
			  "%s is called like a disk image of format %s but does not begin like one: say format=%s or "
			  "format=raw",
			  path, name, name);
	return name || content ? NULL : formats[0].name;
}

bool target_is_uri(const char *target)
{
	static const char *const schemes[] = {
		"nbd:", "nbds:", "nbd+unix:", "nbds+unix:", "nbd+vsock:", "nbds+vsock:"
	};

	for (unsigned i = 0; i < ARRAY_SIZE(schemes); i++)
		if (!strncmp(target, schemes[i], strlen(schemes[i])) && !strncmp(strchr(target, ':'), "://", 3))
			return true;
	return false;
}
