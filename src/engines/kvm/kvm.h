/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware-assisted virtualization through /dev/kvm. Registered in engines/registry.c. */
#pragma once
#include "engines/engine.h"

extern const struct engine engine_kvm;
