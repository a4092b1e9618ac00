/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that samples vCPUs' places: sampler.c. Private to src/machine. */
#pragma once
#include "machine/machine.h"

struct sampler {
	struct machine *machine;
	pthread_t thread;
	_Atomic bool quit;
	bool runs;
};

int sampler_start(struct sampler *s, struct machine *m, struct error *err);
void sampler_stop(struct sampler *s);
