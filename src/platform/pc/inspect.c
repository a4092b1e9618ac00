/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a PC that can be looked at, or told something, while it runs. */
#include "platform/pc/inspect.h"

#include "machine/inspect.h"

#define MIB_SHIFT 20

static void device_info(void *arg, struct text *out)
{
	struct device *d = arg;

	d->ops->info(d, out);
}

int inspect_add_device(struct machine *m, struct device *d, struct error *err)
{
	struct inspect row = { .name = d->ops->name, .help = d->ops->about, .info = device_info, .arg = d };

	return d->ops->info ? machine_add_inspect(m, &row, err) : 0;
}

/* ---- balloon ---- */

static void balloon_info(void *arg, struct text *out)
{
	struct balloon_stats s;

	balloon_stats(arg, &s);
	text_printf(out, "the guest has given up %llu MiB\n", (unsigned long long)balloon_size(arg) >> MIB_SHIFT);
	if (s.valid)
		text_printf(out,
			    "as it told last: %llu MiB in all, %llu free, %llu available, %llu in caches; swapped in "
			    "%llu, out %llu\n",
			    (unsigned long long)s.total >> MIB_SHIFT, (unsigned long long)s.free >> MIB_SHIFT,
			    (unsigned long long)s.available >> MIB_SHIFT, (unsigned long long)s.caches >> MIB_SHIFT,
			    (unsigned long long)s.swap_in, (unsigned long long)s.swap_out);
}

static void balloon_command(void *arg, const char *args, struct text *out)
{
	struct virtio_device *balloon = arg;
	u64 bytes;

	if (!text_parse_bytes(args, &bytes))
		text_puts(out, "balloon SIZE: a number of MiB, or one with a suffix K, M or G\n");
	else if (bytes >= balloon->machine->config.ram_size)
		text_puts(out, "that would leave the guest nothing\n");
	else
		balloon_set_target(balloon, bytes);
}

int inspect_add_balloon(struct machine *m, struct virtio_device *balloon, struct error *err)
{
	struct inspect row = { .name = "balloon",
			       .help = "how much memory the guest has given up; balloon SIZE: how much it is to",
			       .info = balloon_info,
			       .command = balloon_command,
			       .arg = balloon };

	return machine_add_inspect(m, &row, err);
}
