/* SPDX-License-Identifier: Apache-2.0 */
/* From options to what is booted: what a guest whose init is ours is told of its console, network card and shared folders. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/boot.h"
#include "cmd/run.h"
#include "util/cleanup.h"

/* The default guest is quiet; what it is to know are words of the command line, which its init gets as environment. */
static int demo_command_line(struct run_options *o, const struct boot_config *c, struct error *err)
{
	const char *term = getenv("TERM");
	size_t len;

	free(o->own_append);
	o->own_append = NULL;
	_cleanup_file_ FILE *f = open_memstream(&o->own_append, &len);

	if (!f)
		return error_set(err, ENOMEM, "out of memory");
	if (!term || !*term || strpbrk(term, " \t\n\"'"))
		term = "vt102";
	fprintf(f, "console=%s loglevel=3 TERM=%s", c->console ? c->console : "ttyS0", term);
	if (c->columns && c->rows)
		fprintf(f, " LINES=%u COLUMNS=%u", c->rows, c->columns);
	if (c->network)
		fprintf(f, " NETWORK=%s", c->network);
	if (c->shares)
		fprintf(f, " SHARES=%s", c->shares);
	fprintf(f, " %s", o->append ? o->append : "");
	if (fflush(f))
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

int run_boot(struct run_options *o, const struct run_platform *p, bool native, struct machine *m,
	     const struct terminal *t, struct error *err)
{
	char network[NET_GUEST_TEXT], tags[RUN_TAGS_MAX], user[USER_TEXT];
	const struct run_rootfs *root = &o->root;
	struct boot_config c = {
		.kernel = o->kernel,
		.console = p->console,
		.initrd = o->initrd,
		.rootfs = root->path,
		.rootfs_name = o->rootfs,
		.packed = &o->root.packed,
		.owners_beside = root->owners_beside,
		.argv = (const char *const *)root->argv,
		.envp = (const char *const *)root->env,
		.workdir = root->workdir,
		.make_workdir = root->is_image,
		.user = root->has_user ? user : NULL,
		.network = net_guest_text(o->net, network) ? network : NULL,
		.shares = run_share_tags(o, tags) ? tags : NULL,
		.plain_input = !terminal_interactive(t),
		.plain_output = !isatty(STDOUT_FILENO),
		.drivers = run_drivers(o, p),
		.unpacks_itself = native &&
				  !o->gdb, /* a debugger's symbols are for where the kernel was linked to be */
	};

	if (root->has_user)
		user_format(user, &root->user);
	terminal_size(t, &c.columns, &c.rows);
	if (o->demo && demo_command_line(o, &c, err))
		return err->code;
	c.append = o->demo ? o->own_append : o->append;
	return p->boot(m, &c, err);
}
