/* SPDX-License-Identifier: Apache-2.0 */
/* Operating-system-level virtualization. It has no vCPU: `sextant run` starts a process of src/container instead of a machine. */
#pragma once
#include "engines/engine.h"

extern const struct engine engine_container;
