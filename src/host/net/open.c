/* SPDX-License-Identifier: Apache-2.0 */
/* From a parsed --net to a netdev: a back end, and a policy before it where there are rules. */
#include <time.h>

#include "host/net/spec.h"

static u64 host_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * NSEC_PER_SEC + (u64)t.tv_nsec;
}

static struct netdev *open_user(const struct net_spec *s, struct machine *m, const struct net_log *log,
				struct error *err)
{
	struct policy_config c = { .lan = s->lan,
				   .rules = s->rules,
				   .forward = s->forward,
				   .forwards = s->forwards,
				   .now = host_now,
				   .loop = m->loop };
	struct netdev *user = user_new(s, s->policy && !s->rules.count, err);

	if (log)
		c.log = *log;
	return user && s->policy ? policy_new(&c, user, err) : user;
}

int net_open(const struct net_spec *s, struct machine *m, const struct net_log *log, struct netdev **n,
	     struct error *err)
{
	*n = NULL;
	if (s->kind == NET_NONE)
		return 0;
	*n = s->kind == NET_TAP ? tap_new(s, m, err) : open_user(s, m, log, err);
	return *n ? 0 : err->code;
}
