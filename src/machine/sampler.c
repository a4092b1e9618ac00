/* SPDX-License-Identifier: Apache-2.0 */
/* Where vCPUs spend their time, for -v: a thread looks at the place of each about a thousand times a second. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "machine/sampler.h"

#define PERIOD_NS 1000000

static void *sampler_thread(void *arg)
{
	struct sampler *s = arg;

	while (!atomic_load_explicit(&s->quit, memory_order_relaxed)) {
		nanosleep(&(struct timespec){ .tv_nsec = PERIOD_NS }, NULL);
		for (unsigned k = 0; k < s->machine->config.cpus; k++) {
			struct vcpu *v = s->machine->vcpu[k];
			v->stats.place[MIN(__atomic_load_n(&v->place, __ATOMIC_RELAXED), NR_PLACES - 1)]++;
		}
	}
	return NULL;
}

int sampler_start(struct sampler *s, struct machine *m, struct error *err)
{
	int failed;

	s->machine = m;
	failed = pthread_create(&s->thread, NULL, sampler_thread, s);
	if (failed)
		return error_set(err, failed, "cannot start the thread of -v: %s", strerror(failed));
	s->runs = true;
	return 0;
}

void sampler_stop(struct sampler *s)
{
	if (!s->runs)
		return;
	atomic_store(&s->quit, true);
	pthread_join(s->thread, NULL);
	s->runs = false;
}
