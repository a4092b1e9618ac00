/* SPDX-License-Identifier: Apache-2.0 */
/* The initial file system of a --rootfs run: the directory's tree (tree.c), then our init and what it is to do. */
#include "boot/initramfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "boot/cpio.h"
#include "util/cleanup.h"

extern const u8 guest_init_start[], guest_init_end[]; /* guest/init-blob.S */

struct pack {
	struct cpio cpio;
	u32 next_ino;
	struct error *err;
};

static void put_record(FILE *f, char letter, const char *value)
{
	fprintf(f, "%c%s", letter, value);
	fputc(0, f);
}

static int make_config(const struct boot_config *c, char **text, size_t *len)
{
	static const char *const login[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
					     "HOME=/root", "TERM=linux", NULL };
	_cleanup_file_ FILE *f = open_memstream(text, len);
	if (!f)
		return ENOMEM;
	char number[8];
	put_record(f, INIT_HOSTNAME, c->hostname ? c->hostname : "sextant");
	if (c->shares)
		put_record(f, INIT_SHARES, c->shares);
	if (c->network)
		put_record(f, INIT_NETWORK, c->network);
	put_record(f, INIT_WORKDIR, c->workdir ? c->workdir : "/");
	if (c->make_workdir)
		put_record(f, INIT_MAKE_DIR, "");
	if (c->user)
		put_record(f, INIT_USER, c->user);
	snprintf(number, sizeof(number), "%u", c->columns);
	put_record(f, INIT_COLUMNS, number);
	snprintf(number, sizeof(number), "%u", c->rows);
	put_record(f, INIT_ROWS, number);
	snprintf(number, sizeof(number), "%s%s", c->plain_input ? "i" : "", c->plain_output ? "o" : "");
	put_record(f, INIT_PLAIN, number);
	for (const char *const *e = c->envp ? c->envp : login; *e; e++)
		put_record(f, INIT_ENVIRONMENT, *e);
	for (const char *const *a = c->argv; *a; a++)
		put_record(f, INIT_ARGUMENT, *a);
	return fflush(f) ? ENOMEM : 0;
}

static int add_ours(struct pack *p, const char *name, u32 mode, const void *data, size_t len)
{
	struct cpio_entry e = { .name = name, .ino = ++p->next_ino, .mode = mode, .nlink = 1, .size = (u32)len };
	u8 *to;
	int r = cpio_add(&p->cpio, &e, &to, p->err);
	if (!r && len)
		memcpy(to, data, len);
	return r;
}

static int pack_init(struct pack *p, const struct boot_config *c)
{
	_cleanup_free_ char *config = NULL;
	size_t len = 0;
	if (make_config(c, &config, &len))
		return error_set(p->err, ENOMEM, "no memory");
	int r = add_ours(p, INIT_DIR, S_IFDIR | 0700, NULL, 0);
	if (!r)
		r = add_ours(p, INIT_DIR "/" INIT_PROGRAM, S_IFREG | 0700, guest_init_start,
			     (size_t)(guest_init_end - guest_init_start));
	if (!r)
		r = add_ours(p, INIT_DIR "/" INIT_CONFIG, S_IFREG | 0600, config, len);
	return r;
}

static const char *rootfs_name(const struct boot_config *c)
{
	return c->rootfs_name ? c->rootfs_name : c->rootfs;
}

int initramfs_pack(struct blob *out, const struct boot_config *c, u64 limit, struct error *err)
{
	if (!c->argv || !c->argv[0])
		return error_set(err, EINVAL, "rootfs %s: no command to run in it", rootfs_name(c));
	struct pack p = { .err = err };
	int r = cpio_begin(&p.cpio, out, limit, err);
	if (!r)
		r = tree_pack(&p.cpio, &p.next_ino, c->rootfs, c->owners_beside, err);
	if (!r)
		r = pack_init(&p, c);
	if (!r)
		r = cpio_end(&p.cpio, err);
	if (r)
		error_wrap(err, "rootfs %s", rootfs_name(c));
	if (c->packed)
		*c->packed = out->len;
	return r;
}
