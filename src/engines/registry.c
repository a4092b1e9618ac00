/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of engines: the one file that names them all. A row whose engine is not part of this build says what it will
 * be and has no probe; a folder that comes into the build puts its own object in the row's place.
 */
#include <errno.h>
#include <string.h>

#include "engines/container/container.h"
#include "engines/dbt/dbt.h"
#include "engines/engine.h"
#include "engines/interp/interp.h"
#include "engines/kvm/kvm.h"

static const struct engine trap_row = {
	.name = "trap",
	.technique = "direct execution, trap-and-emulate",
	.summary = "guest code runs deprivileged on the host CPU; what is privileged traps",
};
static const struct engine pv_row = {
	.name = "pv",
	.technique = "paravirtualization",
	.summary = "a kernel ported to hypercalls: the Xen PV interface",
	.platform = ENGINE_XEN,
	.core = &engine_dbt,
};
static const struct engine pv_interp_row = {
	.name = "pv",
	.technique = "paravirtualization",
	.summary = "a kernel ported to hypercalls: the Xen PV interface",
	.platform = ENGINE_XEN,
	.core = &engine_interp,
};
const struct engine *const engines[] = {
	&engine_interp, &trap_row, &engine_dbt, &engine_kvm, &pv_row, &engine_container
};
const unsigned engine_count = ARRAY_SIZE(engines);

/* What --engine takes beside the names above. */
static const struct {
	const char *name;
	const struct engine *engine;
} others[] = { { "pv,core=dbt", &pv_row }, { "pv,core=interp", &pv_interp_row } };

static const struct engine *row(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		if (!strcmp(others[i].name, name))
			return others[i].engine;
	for (unsigned i = 0; i < engine_count; i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	return NULL;
}

static const struct engine *find_auto(bool each_instruction, struct error *err)
{
	static const char *const order[] = { "kvm", "dbt", "interp" };
	struct error why;

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		const struct engine *e = row(order[i]);

		if (e && e->probe && (e->each_instruction || !each_instruction) && !e->probe(&why))
			return e;
	}
	error_set(err, ENODEV, "no engine works on this host; see sextant engines");
	return NULL;
}

const struct engine *engine_find(const char *name, bool each_instruction, struct error *err)
{
	const struct engine *e;

	if (!name || !strcmp(name, "auto"))
		return find_auto(each_instruction, err);
	e = row(name);
	if (!e) {
		error_set(err, EINVAL,
			  "unknown engine '%s'; known: auto, interp, trap, dbt, kvm, pv[,core=dbt|interp], container",
			  name);
		return NULL;
	}
	if (!engine_core(e)->probe) {
		error_set(err, ENOSYS, "engine '%s' is not built yet", name);
		return NULL;
	}
	if (engine_core(e)->probe(err)) {
		error_wrap(err, "engine '%s' does not work on this host", name);
		return NULL;
	}
	return e;
}
