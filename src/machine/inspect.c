/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what can be asked of a machine's parts; in the order in which they were added. */
#include "machine/inspect.h"

#include <errno.h>
#include <stdlib.h>

#include "machine/machine.h"

int machine_add_inspect(struct machine *m, const struct inspect *i, struct error *err)
{
	struct inspect **end = &m->inspects, *copy = malloc(sizeof(*copy));

	if (!copy)
		return error_set(err, ENOMEM, "no memory to list %s", i->name);
	*copy = *i;
	copy->next = NULL;
	while (*end)
		end = &(*end)->next;
	*end = copy;
	return 0;
}

void machine_free_inspects(struct machine *m)
{
	struct inspect *i;

	while ((i = m->inspects)) {
		m->inspects = i->next;
		free(i);
	}
}
