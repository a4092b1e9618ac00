/* SPDX-License-Identifier: Apache-2.0 */
/* The engine for the registry: dynamic binary translation, x86-64 to x86-64. */
#pragma once
#include "engines/engine.h"

extern const struct engine engine_dbt;
/* Tests: flags are exact at every fault, also where no path of the program reads them; and blocks are hot after `heat` entries. */
void dbt_test_mode(struct vcpu *v, unsigned heat);
