/* SPDX-License-Identifier: Apache-2.0 */
/* The body of the DSDT, after its header. */
#pragma once
#include "platform/pc/aml.h"

void dsdt_write(struct aml *a);
