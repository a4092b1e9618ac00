/* SPDX-License-Identifier: Apache-2.0 */
/* Loads libslirp; see slirp.c. */
#pragma once
#include "util/error.h"

int slirp_load(struct error *err); /* before any of its functions */
