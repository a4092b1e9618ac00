/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which devices a container may open or make: lines for v1's controller, an eBPF program for v2, which has no files for it. What
 * each container has anyway (config-linux.md, "Default Devices", and the making of nodes, which opens nothing) is allowed after
 * the configuration's own rules. A user without privileges may set neither; the user namespace already lets no device through.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "container/cgroup.h"
#include "container/fileio.h"
#include "container/json.h"
#include "util/cleanup.h"

struct rule {
	bool allow;
	char type; /* a, b, c */
	s64 major, minor; /* -1: any */
	char access[4];
};

static const struct rule always[] = {
	{ true, 'c', -1, -1, "m" }, { true, 'b', -1, -1, "m" },	   { true, 'c', 1, 3, "rwm" },
	{ true, 'c', 1, 5, "rwm" }, { true, 'c', 1, 7, "rwm" },	   { true, 'c', 1, 8, "rwm" },
	{ true, 'c', 1, 9, "rwm" }, { true, 'c', 5, 0, "rwm" },	   { true, 'c', 5, 2, "rwm" },
	{ true, 'c', 5, 1, "rwm" }, { true, 'c', 136, -1, "rwm" },
};

static int parse(const json_t *o, struct rule *r, struct error *err)
{
	const char *type = js_str(o, "type"), *access = js_str(o, "access");

	*r = (struct rule){ .allow = js_bool(o, "allow", false),
			    .type = type && *type ? type[0] : 'a',
			    .major = js_int(o, "major", -1),
			    .minor = js_int(o, "minor", -1) };
	if (!strchr("abc", r->type) || (type && strlen(type) > 1))
		return error_set(err, EINVAL, "config: device rules are of type a, b or c, not %s", type);
	if (!access || !*access)
		access = "rwm";
	if (strlen(access) > 3 || strspn(access, "rwm") != strlen(access))
		return error_set(err, EINVAL, "config: access to devices is of r, w and m, not %s", access);
	strcpy(r->access, access);
	return 0;
}

/* ---- v1 ---- */

static int write_rule(int dir, const struct rule *r)
{
	char major[24] = "*", minor[24] = "*";

	if (r->major >= 0)
		snprintf(major, sizeof(major), "%lld", (long long)r->major);
	if (r->minor >= 0)
		snprintf(minor, sizeof(minor), "%lld", (long long)r->minor);
	if (r->type == 'a')
		return file_write(dir, r->allow ? "devices.allow" : "devices.deny", "a");
	return file_writef(dir, r->allow ? "devices.allow" : "devices.deny", "%c %s:%s %s", r->type, major, minor,
			   r->access);
}

/* ---- v2: a program that tries the rules from the last to the first ---- */

#define INSNS_PER_RULE 12

static struct bpf_insn insn(u8 code, u8 dst, u8 src, s16 off, s32 imm)
{
	return (struct bpf_insn){ .code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm };
}

static s32 access_bits(const char *access)
{
	return (strchr(access, 'm') ? BPF_DEVCG_ACC_MKNOD : 0) | (strchr(access, 'r') ? BPF_DEVCG_ACC_READ : 0) |
	       (strchr(access, 'w') ? BPF_DEVCG_ACC_WRITE : 0);
}

/* r2 type, r3 the access that no rule has allowed yet, r4 major, r5 minor. A jump's offset goes to the rule's end, which is not known before it. */
static unsigned emit_rule(struct bpf_insn *p, const struct rule *r)
{
	unsigned n = 0;
	s32 bits = access_bits(r->access);

	if (r->type != 'a')
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 0,
			      r->type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK);
	if (r->type != 'a' && r->major >= 0)
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, (s32)r->major);
	if (r->type != 'a' && r->minor >= 0)
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 0, (s32)r->minor);
	if (r->type != 'a' &&
	    r->allow) { /* all that is asked for must be allowed: what is not by this rule may be by another */
		p[n++] = insn(BPF_ALU64 | BPF_AND | BPF_K, 3, 0, 0, ~bits & 7);
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 3, 0, 0, 0);
	} else if (r->type != 'a') { /* any of it may be denied */
		p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_X, 1, 3, 0, 0);
		p[n++] = insn(BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0, bits);
		p[n++] = insn(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0, 0);
	}
	for (unsigned i = 0; i < n; i++)
		if (BPF_CLASS(p[i].code) == BPF_JMP)
			p[i].off = (s16)(n + 2 - i - 1);
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, r->allow);
	p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

static unsigned emit_program(struct bpf_insn *p, const struct rule *rules, unsigned count)
{
	unsigned n = 0;

	/* struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor. */
	p[n++] = insn(BPF_LDX | BPF_W | BPF_MEM, 2, 1, 0, 0);
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0);
	p[n++] = insn(BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
	p[n++] = insn(BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 16);
	p[n++] = insn(BPF_LDX | BPF_W | BPF_MEM, 4, 1, 4, 0);
	p[n++] = insn(BPF_LDX | BPF_W | BPF_MEM, 5, 1, 8, 0);
	/* An "all" ends the list: what is before it is forgotten, and unreachable code the verifier refuses. */
	for (unsigned i = count; i--;) {
		n += emit_rule(p + n, &rules[i]);
		if (rules[i].type == 'a')
			return n;
	}
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
	p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

static long bpf(int command, union bpf_attr *a)
{
	return syscall(SYS_bpf, command, a, sizeof(*a));
}

/* The programs of an earlier setting go when the new one is there: in between both must allow. */
static void detach_old(int dir, const u32 *ids, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		union bpf_attr get = { .prog_id = ids[i] };
		_cleanup_fd_ int fd = (int)bpf(BPF_PROG_GET_FD_BY_ID, &get);
		union bpf_attr a = { .target_fd = (u32)dir,
				     .attach_bpf_fd = (u32)fd,
				     .attach_type = BPF_CGROUP_DEVICE };

		if (fd >= 0)
			bpf(BPF_PROG_DETACH, &a);
	}
}

static int attach_program(int dir, const struct bpf_insn *p, unsigned n)
{
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insn_cnt = n, .insns = (u64)p, .license = (u64) "Apache-2.0"
	};
	_cleanup_fd_ int fd = (int)bpf(BPF_PROG_LOAD, &load);
	u32 old[64];
	union bpf_attr query = { 0 }, a = { 0 };
	long found;

	if (fd < 0)
		return -errno;
	query.query.target_fd = (u32)dir;
	query.query.attach_type = BPF_CGROUP_DEVICE;
	query.query.prog_ids = (u64)old;
	query.query.prog_cnt = ARRAY_SIZE(old);
	found = bpf(BPF_PROG_QUERY, &query);
	a.target_fd = (u32)dir;
	a.attach_bpf_fd = (u32)fd;
	a.attach_type = BPF_CGROUP_DEVICE;
	a.attach_flags = BPF_F_ALLOW_MULTI;
	if (bpf(BPF_PROG_ATTACH, &a))
		return -errno;
	if (!found)
		detach_old(dir, old, query.query.prog_cnt);
	return 0;
}

static int set_v2(int dir, const struct rule *rules, unsigned n)
{
	_cleanup_free_ struct bpf_insn *p = calloc((n + 1) * INSNS_PER_RULE + 8, sizeof(*p));

	return p ? attach_program(dir, p, emit_program(p, rules, n)) : -ENOMEM;
}

int cgroup_set_devices(const struct cgroup *c, const json_t *rules, struct error *err)
{
	unsigned n = (unsigned)json_array_size(rules), total = n + ARRAY_SIZE(always);
	_cleanup_free_ struct rule *all = calloc(total, sizeof(*all));
	bool v2 = false;
	_cleanup_free_ char *group = cgroup_dir(c, "devices", &v2);
	_cleanup_fd_ int dir = group ? open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int e = 0;

	if (!all)
		return error_set(err, ENOMEM, "out of memory");
	for (unsigned i = 0; i < n; i++) {
		e = parse(json_array_get(rules, i), &all[i], err);
		if (e)
			return e;
	}
	memcpy(all + n, always, sizeof(always));
	if (dir < 0)
		return !privileged() ? 0
				     : error_set(err, ENOENT,
						 "linux.resources.devices cannot be set: the devices controller is not "
						 "available here");
	if (v2)
		e = set_v2(dir, all, total);
	for (unsigned i = 0; !v2 && !e && i < total; i++)
		e = write_rule(dir, &all[i]);
	return e && privileged() ? error_set(err, -e, "linux.resources.devices: %s", strerror(-e)) : 0;
}
