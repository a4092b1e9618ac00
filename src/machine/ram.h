/* SPDX-License-Identifier: Apache-2.0 */
/* Making and releasing guest RAM: for lifecycle.c only, everyone else uses ram_ptr() and machine_read/write(). */
#pragma once
#include "machine/machine.h"

int ram_create(struct machine *m, struct error *err);
void ram_destroy(struct machine *m);
