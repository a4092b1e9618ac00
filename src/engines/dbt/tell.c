/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translations for people: --perf-map writes where each lies, in the format that perf reads (/tmp/perf-PID.map: begin and size in
 * hexadecimal, a name), and --dump-block shows one beside the guest's instructions. Where the cache is emptied addresses are used
 * again, and perf takes what was written last.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engines/dbt/translate.h"
#include "util/text.h"

/* ---- the map ---- */

static void map_line(const struct dbt *d, u64 begin, u64 end, const char *name)
{
	char line[160];
	int len = snprintf(line, sizeof(line), "%llx %llx %s\n", (unsigned long long)begin,
			   (unsigned long long)(end - begin), name);

	/* A full disk costs names, not the run. */
	if (end > begin && write(d->map_fd, line, (size_t)len) < 0)
		return;
}

int tell_open(struct dbt *d, const struct machine_config *config, struct error *err)
{
	char path[64];

	d->tells = config->dump;
	if (!config->perf_map)
		return 0;
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	/* A file of ours: whoever left one there, or a link, does not matter. */
	unlink(path);
	d->map_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (d->map_fd < 0)
		return error_set(err, errno, "--perf-map: cannot write %s: %s", path, strerror(errno));
	d->tells = true;
	map_line(d, (u64)d->code_rx, emit_here(&d->hot), "sextant thunks");
	return 0;
}

void tell_close(struct dbt *d)
{
	if (d->map_fd >= 0)
		close(d->map_fd);
}

/* ---- one block ---- */

static const char *size_name(const struct tr *t)
{
	static const char *const names[] = { "16-bit", "32-bit", "64-bit", "?" };

	return names[t->b->mode & MODE_CODE_SIZE];
}

static void put_host(struct text *out, const struct emit *e, u64 from, u64 to)
{
	char line[200];

	while (from < to) {
		const u8 *p = (const u8 *)(from - (u64)e->to_run);
		unsigned len = insn_format(line, sizeof(line), p, (unsigned)MIN(15, to - from), CODE_64, from);
		text_printf(out, "                              %llx  %s\n", (unsigned long long)from,
			    len ? line : "(data)");
		from += len ? len : to - from;
	}
}

static void put_guest(struct text *out, const struct tr *t, u64 page, unsigned k)
{
	char line[200];
	u64 at = page + t->insn[k].off;

	if (!insn_format(line, sizeof(line), t->bytes[k], t->insn[k].len, t->b->mode & MODE_CODE_SIZE, at))
		snprintf(line, sizeof(line), "(no instruction)");
	text_printf(out, "%llx  %s\n", (unsigned long long)at, line);
}

static void dump(const struct tr *t, u64 gla, u64 hot, u64 cold)
{
	struct text *out = t->v->machine->config.dump;
	u64 page = gla & PAGE_MASK;

	text_printf(out, "block at %llx (%s, CPL %u)%s: %u instructions, %llu bytes of code\n", (unsigned long long)gla,
		    size_name(t), tr_cpl(t), t->b->hot ? ", hot" : "", t->n,
		    (unsigned long long)(emit_here(t->h) - hot + emit_here(t->c) - cold));
	put_host(out, t->h, hot, t->at[0]);
	for (unsigned k = 0; k < t->n; k++) {
		put_guest(out, t, page, k);
		put_host(out, t->h, t->at[k], k + 1 < t->n ? t->at[k + 1] : emit_here(t->h));
	}
	text_puts(out, "out of line:\n");
	put_host(out, t->c, cold, emit_here(t->c));
	text_puts(out, "\n");
}

static bool holds(const struct tr *t, u64 gla, u64 wanted)
{
	if ((gla ^ wanted) & PAGE_MASK)
		return false;
	for (unsigned k = 0; k < t->n; k++)
		if (t->insn[k].off == (wanted & ~PAGE_MASK))
			return true;
	return false;
}

void tell_translation(const struct tr *t, u64 gla, u64 hot, u64 cold)
{
	const struct machine_config *config = &t->v->machine->config;
	char name[100];

	if (config->dump && holds(t, gla, config->dump_block))
		dump(t, gla, hot, cold);
	if (t->d->map_fd < 0)
		return;
	snprintf(name, sizeof(name), "guest %#llx (%s, CPL %u%s)", (unsigned long long)gla, size_name(t), tr_cpl(t),
		 t->b->hot ? ", hot" : "");
	map_line(t->d, hot, emit_here(t->h), name);
	snprintf(name, sizeof(name), "guest %#llx out of line", (unsigned long long)gla);
	map_line(t->d, cold, emit_here(t->c), name);
}
