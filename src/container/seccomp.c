/* SPDX-License-Identifier: Apache-2.0 */
/* The system call filter: linux.seccomp, by libseccomp. Every action, and notification over the listener's socket. */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "container/fileio.h"
#include "container/internal.h"
#include "util/cleanup.h"

static int action_of(const char *name, const json_t *ret, u32 *action)
{
	/* seccomp(2): EPERM is what runtimes return where nothing else is said. */
	u32 value = ret ? (u32)json_integer_value(ret) : EPERM;
	const struct {
		const char *name;
		u32 action;
	} actions[] = { { "SCMP_ACT_KILL", SCMP_ACT_KILL },
			{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
			{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
			{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
			{ "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(value) },
			{ "SCMP_ACT_TRACE", SCMP_ACT_TRACE(value) },
			{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW },
			{ "SCMP_ACT_LOG", SCMP_ACT_LOG },
			{ "SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY } };

	for (unsigned i = 0; i < ARRAY_SIZE(actions); i++)
		if (!strcmp(actions[i].name, name)) {
			*action = actions[i].action;
			return 0;
		}
	return -EINVAL;
}

static int compare_of(const json_t *o, struct scmp_arg_cmp *c, struct error *err)
{
	static const struct {
		const char *name;
		enum scmp_compare op;
	} ops[] = { { "SCMP_CMP_NE", SCMP_CMP_NE },
		    { "SCMP_CMP_LT", SCMP_CMP_LT },
		    { "SCMP_CMP_LE", SCMP_CMP_LE },
		    { "SCMP_CMP_EQ", SCMP_CMP_EQ },
		    { "SCMP_CMP_GE", SCMP_CMP_GE },
		    { "SCMP_CMP_GT", SCMP_CMP_GT },
		    { "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ } };
	const char *op = js_str(o, "op");
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(ops) && strcmp(ops[i].name, op); i++)
		;
	if (i == ARRAY_SIZE(ops) || js_int(o, "index", 0) > 5)
		return error_set(err, EINVAL, "config: seccomp: no such comparison: argument %lld, %s",
				 (long long)js_int(o, "index", 0), op);
	*c = (struct scmp_arg_cmp){ .arg = (unsigned)js_int(o, "index", 0),
				    .op = ops[i].op,
				    .datum_a = (u64)js_int(o, "value", 0),
				    .datum_b = (u64)js_int(o, "valueTwo", 0) };
	return 0;
}

/* One system call of a rule. Comparisons of one argument twice are alternatives, each a rule of its own, as in the peers. */
static int add_call(scmp_filter_ctx ctx, int nr, u32 action, const struct scmp_arg_cmp *c, unsigned n)
{
	bool seen[6] = { 0 }, twice = false;
	int e = 0;

	for (unsigned i = 0; i < n; i++) {
		twice |= seen[c[i].arg];
		seen[c[i].arg] = true;
	}
	if (!twice)
		return seccomp_rule_add_array(ctx, action, nr, n, c);
	for (unsigned i = 0; !e && i < n; i++)
		e = seccomp_rule_add_array(ctx, action, nr, 1, &c[i]);
	return e;
}

static int add_rule(scmp_filter_ctx ctx, const json_t *rule, u32 otherwise, struct error *err)
{
	const json_t *args = js_at(rule, "args"), *ret = js_at(rule, "errnoRet");
	unsigned n = (unsigned)json_array_size(args);
	struct scmp_arg_cmp c[12];
	u32 action;
	size_t i;
	json_t *each;
	int e;

	if (action_of(js_str(rule, "action"), ret, &action) || n > ARRAY_SIZE(c))
		return error_set(err, EINVAL, "config: seccomp: no such action: %s", js_str(rule, "action"));
	for (i = 0; i < n; i++) {
		e = compare_of(json_array_get(args, i), &c[i], err);
		if (e)
			return e;
	}
	if (action == otherwise) /* libseccomp refuses what changes nothing */
		return 0;
	json_array_foreach(js_at(rule, "names"), i, each)
	{
		int nr = seccomp_syscall_resolve_name(json_string_value(each));

		if (nr == __NR_SCMP_ERROR)
			continue; /* profiles name system calls of other kernels and machines */
		e = add_call(ctx, nr, action, c, n);
		if (e && e != -EEXIST)
			return error_set(err, -e, "config: seccomp: a rule for %s: %s", json_string_value(each),
					 strerror(-e));
	}
	return 0;
}

static int add_architectures(scmp_filter_ctx ctx, const json_t *list, struct error *err)
{
	size_t i;
	json_t *each;

	json_array_foreach(list, i, each)
	{
		const char *name = json_string_value(each);
		char lower[32];
		u32 arch;
		int e;

		for (unsigned k = 0; k < sizeof(lower) && (k == 0 || lower[k - 1]); k++)
			lower[k] = strncmp(name, "SCMP_ARCH_", 10)
					   ? 0
					   : (char)(name[10 + k] |
						    (name[10 + k] >= 'A' && name[10 + k] <= 'Z' ? 32 : 0));
		lower[sizeof(lower) - 1] = 0;
		arch = seccomp_arch_resolve_name(lower);
		if (!arch)
			return error_set(err, EINVAL, "config: seccomp: there is no architecture %s", name);
		e = seccomp_arch_add(ctx, arch);
		if (e && e != -EEXIST)
			return error_set(err, -e, "config: seccomp: architecture %s: %s", name, strerror(-e));
	}
	return 0;
}

static int set_flags(scmp_filter_ctx ctx, const json_t *s, struct error *err)
{
	size_t i;
	json_t *each;

	/* no_new_privs is the process's own setting, not the filter's. */
	int e = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);

	json_array_foreach(js_at(s, "flags"), i, each)
	{
		const char *f = json_string_value(each);

		if (!strcmp(f, "SECCOMP_FILTER_FLAG_LOG"))
			e = e ? e : seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
		else if (!strcmp(f, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
			e = e ? e : seccomp_attr_set(ctx, SCMP_FLTATR_CTL_SSB, 1);
		else if (strcmp(f, "SECCOMP_FILTER_FLAG_TSYNC") && strcmp(f, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"))
			return error_set(err, EINVAL, "config: seccomp: there is no flag %s", f);
	}
	return e ? error_set(err, -e, "config: seccomp flags: %s", strerror(-e)) : 0;
}

static int build(scmp_filter_ctx ctx, const json_t *s, u32 otherwise, struct error *err)
{
	size_t i;
	json_t *each;
	int e = add_architectures(ctx, js_at(s, "architectures"), err);

	e = e ? e : set_flags(ctx, s, err);
	json_array_foreach(js_at(s, "syscalls"), i, each) e = e ? e : add_rule(ctx, each, otherwise, err);
	return e;
}

static bool notifies(const json_t *s)
{
	size_t i;
	json_t *each;

	json_array_foreach(js_at(s, "syscalls"), i,
			   each) if (!strcmp(js_str(each, "action"), "SCMP_ACT_NOTIFY")) return true;
	return false;
}

int seccomp_check(const json_t *config, struct error *err)
{
	const json_t *s = js_at(config, "linux.seccomp");

	if (!s)
		return 0;
	if (!strcmp(js_str(s, "defaultAction"), "SCMP_ACT_NOTIFY"))
		return error_set(err, EINVAL,
				 "config: seccomp: SCMP_ACT_NOTIFY cannot be the default: nothing could start");
	if (notifies(s) && !js_str(s, "listenerPath"))
		return error_set(err, EINVAL, "config: seccomp: SCMP_ACT_NOTIFY needs a listenerPath");
	if (!notifies(s) && js_str(s, "listenerPath"))
		return error_set(err, EINVAL, "config: seccomp: a listenerPath needs a rule of SCMP_ACT_NOTIFY");
	return 0;
}

/* The listener gets the container process state of config-linux.md with the descriptor. */
static int tell_listener(const struct launch *l, int fd, struct error *err)
{
	_cleanup_json_ json_t *o = json_pack("{s:s,s:[s],s:i,s:s,s:o}", "ociVersion", "1.0.2", "fds", "seccompFd",
					     "pid", (int)l->pid, "metadata",
					     js_str(l->config, "linux.seccomp.listenerMetadata") ?: "", "state",
					     container_state(l->c, l->exec ? STATUS_RUNNING : STATUS_CREATING));
	_cleanup_free_ char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	int e = text ? fd_send(l->listener, fd, text, strlen(text)) : -ENOMEM;

	return e ? error_set(err, -e, "telling the seccomp listener: %s", strerror(-e)) : 0;
}

int seccomp_apply(const struct launch *l, struct error *err)
{
	const json_t *s = js_at(l->config, "linux.seccomp");
	scmp_filter_ctx ctx;
	u32 otherwise;
	int e;

	if (!s)
		return 0;
	if (action_of(js_str(s, "defaultAction"), js_at(s, "defaultErrnoRet"), &otherwise))
		return error_set(err, EINVAL, "config: seccomp: no such action: %s", js_str(s, "defaultAction"));
	ctx = seccomp_init(otherwise);
	if (!ctx)
		return error_set(err, ENOMEM, "seccomp: the filter cannot be made");
	e = build(ctx, s, otherwise, err);
	if (!e && (e = seccomp_load(ctx)))
		e = error_set(err, -e, "seccomp: loading the filter: %s", strerror(-e));
	if (!e && l->listener >= 0 && notifies(s))
		e = tell_listener(l, seccomp_notify_fd(ctx), err);
	seccomp_release(ctx);
	return e;
}
