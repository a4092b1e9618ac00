/* SPDX-License-Identifier: Apache-2.0 */
/* The interpreter: every guest instruction is stepped through in software. Registered in engines/registry.c. */
#pragma once
#include "engines/engine.h"

extern const struct engine engine_interp;
