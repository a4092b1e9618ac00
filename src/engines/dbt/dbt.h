/* SPDX-License-Identifier: Apache-2.0 */
/* The engine for the registry: dynamic binary translation, x86-64 to x86-64. */
#pragma once
#include "engines/engine.h"

extern const struct engine engine_dbt;
/* Tests: flags are exact at every fault, also where no path of the program reads them. Before the vCPU first runs. */
void dbt_exact_flags(struct vcpu *v);
