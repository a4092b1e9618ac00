/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain's part of the store as Xen's toolstack writes it (measured from xl), and the wishes that go through it: control/shutdown,
 * which the guest clears once it has read it, and memory/target, in KiB.
 */
#include "platform/xen/toolstack.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "machine/inspect.h"
#include "platform/xen/events-internal.h"
#include "platform/xen/mm.h"
#include "platform/xen/store.h"

#define PAGE_KIB (PAGE_SIZE >> 10)

/* What the guest may write. */
static const char *const writable[] = {
	"control/shutdown",
	"control/feature-poweroff",
	"control/feature-reboot",
	"control/feature-suspend",
	"control/sysrq",
	"device/suspend/event-channel",
	"data",
	"drivers",
	"feature",
	"attr",
	"error",
};

static void own(struct xen_domain *d, const char *key)
{
	char path[STORE_PATH_MAX];

	snprintf(path, sizeof(path), STORE_HOME "/%s", key);
	store_write(d, path, "%s", "");
	store_own(d, path, XEN_DOMID);
}

static void put_cpus(struct xen_domain *d)
{
	char path[STORE_PATH_MAX];

	for (unsigned i = 0; i < d->cpus; i++) {
		snprintf(path, sizeof(path), STORE_HOME "/cpu/%u/availability", i);
		store_write(d, path, "online");
	}
}

static void set_target(struct xen_domain *d, u64 balloon)
{
	u64 kib = d->frames * PAGE_KIB;

	store_write(d, STORE_HOME "/memory/target", "%llu", (unsigned long long)(kib - MIN(kib, balloon >> 10)));
}

/* Nodes take their parent's permissions: so tops come first. */
static int put_domain(struct xen_domain *d, u64 balloon)
{
	store_write(d, "/local/domain/0/domid", "0");
	store_write(d, "/local/domain/0/name", "Domain-0");
	store_own(d, "/local/domain/0/backend", 0);
	if (store_own(d, STORE_HOME, 0))
		return -ENOMEM;
	store_write(d, STORE_HOME "/domid", "%d", XEN_DOMID);
	store_write(d, STORE_HOME "/name", "sextant");
	store_write(d, STORE_HOME "/memory/static-max", "%llu", (unsigned long long)d->frames * PAGE_KIB);
	set_target(d, balloon);
	store_write(d, STORE_HOME "/control/platform-feature-multiprocessor-suspend", "1");
	store_write(d, STORE_HOME "/control/platform-feature-xs_reset_watches", "1");
	for (unsigned i = 0; i < ARRAY_SIZE(writable); i++)
		own(d, writable[i]);
	put_cpus(d);
	return 0;
}

/* ---- wishes ---- */

bool toolstack_shutdown(struct xen_domain *d, const char *how)
{
	char feature[STORE_PATH_MAX], text[8];

	snprintf(feature, sizeof(feature), STORE_HOME "/control/feature-%s", how);
	if (strcmp(how, "halt") && (!store_read(d, feature, text, sizeof(text)) || strcmp(text, "1")))
		return false;
	return !store_write(d, STORE_HOME "/control/shutdown", "%s", how);
}

void toolstack_set_balloon(struct xen_domain *d, u64 bytes)
{
	set_target(d, bytes);
}

/* ---- the monitor ---- */

static void shutdown_command(void *arg, const char *args, struct text *out)
{
	const char *how = *args ? args : "poweroff";

	if (strcmp(how, "poweroff") && strcmp(how, "reboot") && strcmp(how, "halt"))
		text_puts(out, "shutdown [poweroff|reboot|halt]\n");
	else if (!toolstack_shutdown(arg, how))
		text_puts(out, "the guest has no driver that would do that\n");
}

static void balloon_info(void *arg, struct text *out)
{
	struct xen_domain *d = arg;
	u64 target = d->frames * PAGE_KIB;

	store_read_number(d, STORE_HOME "/memory/target", &target);
	text_printf(out, "the guest has given up %llu MiB, and is to give up %llu\n",
		    (unsigned long long)(d->frames - MIN(d->frames, mm_total_pages(d))) * PAGE_KIB >> 10,
		    (unsigned long long)(d->frames * PAGE_KIB - MIN(d->frames * PAGE_KIB, target)) >> 10);
}

static void balloon_command(void *arg, const char *args, struct text *out)
{
	struct xen_domain *d = arg;
	u64 bytes;

	if (!text_parse_bytes(args, &bytes))
		text_puts(out, "balloon SIZE: a number of MiB, or one with a suffix K, M or G\n");
	else if (bytes >= d->frames << PAGE_SHIFT)
		text_puts(out, "that would leave the guest nothing\n");
	else
		toolstack_set_balloon(d, bytes);
}

static void events_info(void *arg, struct text *out)
{
	struct xen_domain *d = arg;
	struct xen_events *e = d->events;

	pthread_mutex_lock(&e->lock);
	text_printf(out, "%s ABI; raised %llu times, sent by the guest %llu, vCPUs told %llu\n",
		    e->abi == &abi_fifo ? "FIFO" : "2-level", (unsigned long long)e->raised,
		    (unsigned long long)e->sent, (unsigned long long)e->told);
	for (u32 p = 1; p < EVENTS_MAX; p++) {
		static const char *const kind[] = { "", "left by the guest", "unbound", "back end", "VIRQ", "IPI" };
		const struct channel *c = &e->channel[p];

		if (c->state == CHANNEL_VIRQ)
			text_printf(out, "%4u: VIRQ %u, vCPU %u\n", p, c->virq, c->cpu);
		else if (c->state != CHANNEL_CLOSED)
			text_printf(out, "%4u: %s, vCPU %u\n", p, kind[c->state], c->cpu);
	}
	pthread_mutex_unlock(&e->lock);
}

static void store_info(void *arg, struct text *out)
{
	store_print(arg, out);
}

int toolstack_list(struct xen_domain *d, struct error *err)
{
	const struct inspect rows[] = {
		{ .name = "xenstore", .help = "what host and guest tell each other of devices", .info = store_info },
		{ .name = "events", .help = "event channels", .info = events_info },
		{ .name = "balloon",
		  .help = "how much memory the guest has given up; balloon SIZE: how much it is to",
		  .info = balloon_info,
		  .command = balloon_command },
		{ .name = "shutdown",
		  .help = "shutdown [poweroff|reboot|halt]: asks the guest to",
		  .command = shutdown_command },
	};
	int r = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(rows) && !r; i++) {
		struct inspect row = rows[i];

		row.arg = d;
		r = machine_add_inspect(d->machine, &row, err);
	}
	return r;
}

int toolstack_create(struct xen_domain *d, u64 balloon, struct error *err)
{
	if (put_domain(d, balloon))
		return error_set(err, ENOMEM, "no memory for the store");
	return 0;
}
