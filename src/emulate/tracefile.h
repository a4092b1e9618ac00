/* SPDX-License-Identifier: Apache-2.0 */
/* Where the lines of --trace go: see tracefile.c. */
#pragma once
#include "machine/machine.h"

#define TRACEFILE_PRINT_MAX 512 /* bytes of one print, at most */

struct tracefile;
/* Makes the file; vCPU 0's empties it, and all append. ENXIO for a pipe without a reader. Errors while writing end v's
 * machine: END_FAILED. */
struct tracefile *tracefile_open(struct vcpu *v, const char *path, struct error *err);
/* A part of a line; a line ends within 4 KiB. */
void tracefile_print(struct tracefile *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tracefile_close(struct tracefile *f); /* writes what is left; waits for a slow reader while the machine runs */
