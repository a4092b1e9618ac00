/* SPDX-License-Identifier: Apache-2.0 */
/* What port I/O needs of debugging; what engines need is in emulate.h. */
#pragma once
#include "emulate/emulate.h"

#define DEBUGCTL_LBR BIT(0)
#define DEBUGCTL_BTF BIT(1) /* single-step on branches only */

/* Port [port, + size) was accessed while CR4.DE is set: I/O breakpoints. */
void debug_io(struct vcpu *v, u16 port, unsigned size);
