/* SPDX-License-Identifier: Apache-2.0 */
/* What a process inherits for its life: resource limits, scheduling, personality. */
#include <errno.h>
#include <linux/ioprio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container/internal.h"

/* sched_setattr(2); glibc has neither the call nor its struct. */
struct sched_attributes {
	u32 size, policy;
	u64 flags;
	s32 nice;
	u32 priority;
	u64 runtime, deadline, period;
};

static const struct {
	const char *name;
	int resource;
} limits[] = {
	{ "RLIMIT_AS", RLIMIT_AS },
	{ "RLIMIT_CORE", RLIMIT_CORE },
	{ "RLIMIT_CPU", RLIMIT_CPU },
	{ "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE },
	{ "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_NPROC", RLIMIT_NPROC },
	{ "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "RLIMIT_STACK", RLIMIT_STACK },
};

/* JSON has no unsigned 64-bit number that jansson reads: RLIM_INFINITY arrives as a real one. */
static rlim_t value(const json_t *o, const char *key)
{
	const json_t *v = js_at(o, key);

	if (json_is_real(v))
		return json_real_value(v) >= 9.2e18 ? RLIM_INFINITY : (rlim_t)json_real_value(v);
	return (rlim_t)json_integer_value(v);
}

int rlimits_apply(const json_t *process, struct error *err)
{
	bool seen[RLIM_NLIMITS] = { 0 };
	size_t i;
	json_t *each;

	json_array_foreach(js_at(process, "rlimits"), i, each)
	{
		const char *type = js_str(each, "type");
		struct rlimit r = { value(each, "soft"), value(each, "hard") };
		unsigned n;

		for (n = 0; n < ARRAY_SIZE(limits) && strcmp(limits[n].name, type); n++)
			;
		if (n == ARRAY_SIZE(limits))
			return error_set(err, EINVAL, "config: there is no resource limit %s", type);
		if (seen[limits[n].resource])
			return error_set(err, EINVAL, "config: %s is there twice", type);
		seen[limits[n].resource] = true;
		if (setrlimit((__rlimit_resource_t)limits[n].resource, &r))
			return error_set(err, errno, "%s of %llu and %llu: %s", type, (unsigned long long)r.rlim_cur,
					 (unsigned long long)r.rlim_max, strerror(errno));
	}
	return 0;
}

static int set_io_priority(const json_t *process, struct error *err)
{
	static const char *const classes[] = { "", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE" };
	const char *name = js_str(process, "ioPriority.class");
	unsigned c;

	if (!name)
		return 0;
	for (c = 1; c < ARRAY_SIZE(classes) && strcmp(classes[c], name); c++)
		;
	if (c == ARRAY_SIZE(classes))
		return error_set(err, EINVAL, "config: there is no I/O class %s", name);
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		    IOPRIO_PRIO_VALUE(c, js_int(process, "ioPriority.priority", 0))))
		return error_set(err, errno, "the I/O priority: %s", strerror(errno));
	return 0;
}

static u64 scheduler_flags(const json_t *list)
{
	static const struct {
		const char *name;
		u64 flag;
	} flags[] = { { "SCHED_FLAG_RESET_ON_FORK", 0x1 },  { "SCHED_FLAG_RECLAIM", 0x2 },
		      { "SCHED_FLAG_DL_OVERRUN", 0x4 },	    { "SCHED_FLAG_KEEP_POLICY", 0x8 },
		      { "SCHED_FLAG_KEEP_PARAMS", 0x10 },   { "SCHED_FLAG_UTIL_CLAMP_MIN", 0x20 },
		      { "SCHED_FLAG_UTIL_CLAMP_MAX", 0x40 } };
	u64 all = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		if (js_has_word(list, flags[i].name))
			all |= flags[i].flag;
	return all;
}

int schedule_apply(const json_t *process, struct error *err)
{
	static const char *const policies[] = { "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR",      "SCHED_BATCH",
						"SCHED_ISO",   "SCHED_IDLE", "SCHED_DEADLINE" };
	const json_t *o = js_at(process, "scheduler");
	struct sched_attributes a = { .size = sizeof(a) };
	const char *name = js_str(o, "policy");

	if (name) {
		for (a.policy = 0; a.policy < ARRAY_SIZE(policies) && strcmp(policies[a.policy], name);)
			a.policy++;
		if (a.policy == ARRAY_SIZE(policies))
			return error_set(err, EINVAL, "config: there is no scheduling policy %s", name);
		a.flags = scheduler_flags(js_at(o, "flags"));
		a.nice = (s32)js_int(o, "nice", 0);
		a.priority = (u32)js_int(o, "priority", 0);
		a.runtime = (u64)js_int(o, "runtime", 0);
		a.deadline = (u64)js_int(o, "deadline", 0);
		a.period = (u64)js_int(o, "period", 0);
		if (syscall(SYS_sched_setattr, 0, &a, 0))
			return error_set(err, errno, "the scheduling policy: %s", strerror(errno));
	}
	return set_io_priority(process, err);
}

int personality_apply(const json_t *config, struct error *err)
{
	const char *domain = js_str(config, "linux.personality.domain");
	unsigned long p = PER_LINUX;

	if (!domain)
		return 0;
	if (!strcmp(domain, "LINUX32"))
		p = PER_LINUX32;
	else if (strcmp(domain, "LINUX"))
		return error_set(err, EINVAL, "config: the personality is LINUX or LINUX32, not %s", domain);
	return personality(p) < 0 ? error_set(err, errno, "personality: %s", strerror(errno)) : 0;
}
