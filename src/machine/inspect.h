/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What parts of a machine can say of themselves, or be told, by name: a list that a monitor shows and that knows no monitor.
 * Whoever makes a part adds it; a part's own functions lock what they read.
 */
#pragma once
#include "util/error.h"
#include "util/text.h"

struct machine;
struct inspect {
	const char *name; /* `info NAME`, and the command NAME */
	const char *help; /* a few words: what it tells or does */
	void (*info)(void *arg, struct text *out); /* optional */
	/* args: what follows the name, without leading blanks; "" for nothing. Optional. */
	void (*command)(void *arg, const char *args, struct text *out);
	void *arg;
	struct inspect *next;
};

/* Keeps a copy. Before machine_run(); arg outlives it. Two of one name: both are asked. -ENOMEM. */
int machine_add_inspect(struct machine *m, const struct inspect *i, struct error *err);
void machine_free_inspects(struct machine *m); /* machine_free()'s */
