/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that 64-bit code does not have, by table, from the manual's definitions. */
#pragma once
#include "util/types.h"

/* Runs the table; returns how many entries failed, and prints them. */
unsigned legacy_test(void);
bool legacy_covers(u16 op);
