/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sextant run --engine container: from options to an OCI configuration, from the process's end to an exit status.
 *
 * CMD sees a copy of a directory or image, as in a machine: an overlay in a mount namespace that we enter first. Root's has its
 * upper part in memory, so that it is gone when we are; for users, and for snapshots, run-rootfs.c says where it is. A user enters a
 * user namespace before that, with the ids that /etc/subuid gives. A process of ours stays behind: when we are killed, it removes what
 * is left of the container.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "cmd/run.h"
#include "container/container.h"
#include "container/fileio.h"
#include "container/foreground.h"
#include "container/json.h"
#include "container/namespaces.h"
#include "container/rootpath.h"
#include "host/net/namespace.h"
#include "util/cleanup.h"

#define STATUS_TIMEOUT 124
#define STATUS_SIGNAL  128
#define CPU_PERIOD     100000

struct contained {
	const struct run_options *o;
	struct container c;
	struct net_namespace *net;
	struct net_log log;
	char *states, *root, *resolver; /* owned */
	bool few_ids; /* of a user namespace with one id only */
};

/* ---- a user's namespace ---- */

/* The user's first range in /etc/subuid or /etc/subgid: "name:first:count". */
static bool subordinate(const char *file, unsigned long *first, unsigned long *count)
{
	const struct passwd *me = getpwuid(geteuid());
	_cleanup_file_ FILE *f = fopen(file, "re");
	char line[512], number[24];

	snprintf(number, sizeof(number), "%u", geteuid());
	while (f && fgets(line, sizeof(line), f)) {
		size_t n = strcspn(line, ":");

		line[n] = 0;
		if ((strcmp(line, number) && (!me || strcmp(line, me->pw_name))) ||
		    sscanf(line + n + 1, "%lu:%lu", first, count) != 2)
			continue;
		return *count > 0;
	}
	return false;
}

static json_t *id_map(unsigned own, bool more, unsigned long first, unsigned long count)
{
	json_t *map = json_pack("[{s:i,s:I,s:i}]", "containerID", 0, "hostID", (json_int_t)own, "size", 1);

	if (more)
		json_array_append_new(map, json_pack("{s:i,s:I,s:I}", "containerID", 1, "hostID", (json_int_t)first,
						     "size", (json_int_t)count));
	return map;
}

static int enter_user_namespace(struct contained *k, struct error *err)
{
	unsigned long u = 0, un = 0, g = 0, gn = 0;
	bool more = subordinate("/etc/subuid", &u, &un) && subordinate("/etc/subgid", &g, &gn);
	_cleanup_json_ json_t *uids = NULL, *gids = NULL;
	_cleanup_fd_ int fd = -1;

	for (bool one = !more;; one = true) {
		json_decref(uids);
		json_decref(gids);
		uids = id_map(geteuid(), !one, u, un);
		gids = id_map(getegid(), !one, g, gn);
		fd = idmap_userns(uids, gids, err);
		k->few_ids = one;
		if (fd >= 0 || one)
			break;
	}
	if (fd < 0)
		return fd;
	if (setns(fd, CLONE_NEWUSER) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
		return error_set(err, errno, "entering a user namespace: %s", strerror(errno));
	/* What setuid made of it: /proc/self would be the host's root's. */
	prctl(PR_SET_DUMPABLE, 1);
	return 0;
}

/* ---- the root ---- */

/* What run-rootfs.c has thought out. Its place is on a disk: it goes by run_rootfs_close(), which needs it unmounted. */
static int mount_overlay(struct contained *k, struct error *err)
{
	k->root = strdup(k->o->root.path);
	if (!k->root)
		return error_set(err, ENOMEM, "out of memory");
	if (mount("sextant", k->root, "overlay", 0, k->o->root.overlay))
		return error_set(err, errno, "--rootfs %s: an overlay over it: %s", k->o->rootfs, strerror(errno));
	return 0;
}

static int copy_on_write(struct contained *k, struct error *err)
{
	const char *dir = k->o->root.path;
	_cleanup_fd_ int lower = -1, top = -1;
	_cleanup_free_ char *options = NULL, *path = realpath(dir, NULL);

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL))
		return error_set(err, errno, "a mount namespace: %s", strerror(errno));
	if (k->o->root.overlay)
		return mount_overlay(k, err);
	/* Opened in this namespace: of another one's nothing can be overlaid. */
	lower = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lower < 0 || !path)
		return error_set(err, errno, "--rootfs %s: %s", dir, strerror(errno));
	if (mount("sextant", path, "tmpfs", 0, "mode=755"))
		return error_set(err, errno, "--rootfs %s: memory for its copy: %s", dir, strerror(errno));
	top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0 || mkdirat(top, "upper", 0755) || mkdirat(top, "work", 0755) || mkdirat(top, "root", 0755))
		return error_set(err, errno, "--rootfs %s: its copy: %s", dir, strerror(errno));
	if (asprintf(&options, "lowerdir=/proc/self/fd/%d,upperdir=%s/upper,workdir=%s/work%s", lower, path, path,
		     privileged() ? "" : ",userxattr") < 0 ||
	    asprintf(&k->root, "%s/root", path) < 0)
		return error_set(err, ENOMEM, "out of memory");
	if (mount("sextant", k->root, "overlay", 0, options))
		return error_set(err, errno, "--rootfs %s: an overlay over it: %s", dir, strerror(errno));
	return 0;
}

/* As machines have it: the resolver of the network, bound over the copy's file, which need not be ours to write. */
static int write_resolver(struct contained *k, struct error *err)
{
	char text[NET_GUEST_TEXT];
	_cleanup_fd_ int root = open(k->root, O_PATH | O_DIRECTORY | O_CLOEXEC), target = -1, file = -1;
	_cleanup_free_ char *content = NULL;

	if (k->o->net_host)
		content = file_read(AT_FDCWD, "/etc/resolv.conf", 65536);
	else if (net_guest_text(k->o->net, text) && asprintf(&content, "nameserver %s\n", strrchr(text, ',') + 1) < 0)
		content = NULL;
	if (!content)
		return 0;
	target = root < 0 ? root : root_make_file(root, "/etc/resolv.conf");
	if (target < 0 || asprintf(&k->resolver, "%s.resolv", k->root) < 0) {
		say("the container has no resolver: its /etc/resolv.conf cannot be made: %s", strerror(-target));
		k->resolver = NULL;
		return 0;
	}
	file = open(k->resolver, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (file < 0 || dprintf(file, "%s", content) < 0)
		return error_set(err, errno, "the container's resolver: %s", strerror(errno));
	return 0;
}

/* ---- the configuration ---- */

static const char *const capabilities[] = {
	"CAP_AUDIT_WRITE", "CAP_CHOWN",	  "CAP_DAC_OVERRIDE",	  "CAP_FOWNER",	    "CAP_FSETID",
	"CAP_KILL",	   "CAP_MKNOD",	  "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",    "CAP_SETFCAP",
	"CAP_SETGID",	   "CAP_SETPCAP", "CAP_SETUID",		  "CAP_SYS_CHROOT",
};
/* What asks the host's kernel for more than a process needs, and no capability guards everywhere. */
static const char *const forbidden[] = { "add_key",	    "bpf",	   "kexec_load", "keyctl", "open_by_handle_at",
					 "perf_event_open", "request_key", "userfaultfd" };

static json_t *words(const char *const *list, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, json_string(list[i]));
	return a;
}

/* Of any bytes: arguments and variables need not be UTF-8. */
static json_t *bytes(char *const *list)
{
	json_t *a = json_array();

	for (; *list; list++)
		if (json_array_append_new(a, json_stringn_nocheck(*list, strlen(*list))))
			break;
	return a;
}

static json_t *make_process(const struct run_options *o)
{
	const struct run_rootfs *r = &o->root;
	json_t *caps = words(capabilities, ARRAY_SIZE(capabilities)), *groups = json_array();
	bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);

	for (unsigned i = 0; i < r->user.ngroups; i++)
		json_array_append_new(groups, json_integer(r->user.group[i]));
	return json_pack("{s:b,s:{s:I,s:I,s:o},s:o,s:o,s:s,s:{s:O,s:O,s:o}}", "terminal", (int)terminal, "user", "uid",
			 (json_int_t)r->user.uid, "gid", (json_int_t)r->user.gid, "additionalGids", groups, "args",
			 bytes(r->argv), "env", bytes(r->env), "cwd", r->workdir ? r->workdir : "/", "capabilities",
			 "bounding", caps, "effective", caps, "permitted", caps);
}

static void add_shares(json_t *mounts, const struct run_options *o)
{
	for (unsigned i = 0; i < o->nshares; i++) {
		_cleanup_free_ char *to = NULL;

		if (asprintf(&to, "/mnt/%s", o->share[i].tag) < 0)
			to = NULL;
		json_array_append_new(mounts, json_pack("{s:s,s:s,s:s,s:[s,s,s,s]}", "destination", to ? to : "",
							"type", "bind", "source", o->share[i].dir, "options", "rbind",
							"nosuid", "nodev", o->share[i].readonly ? "rro" : "rw"));
	}
}

static json_t *limits(const struct run_options *o)
{
	json_t *r = json_pack("{s:[{s:b,s:s}]}", "devices", "allow", 0, "access", "rwm");

	if (o->has_mem)
		json_object_set_new(r, "memory", json_pack("{s:I}", "limit", (json_int_t)o->mem));
	if (o->has_cpus)
		json_object_set_new(r, "cpu",
				    json_pack("{s:I,s:I}", "quota", (json_int_t)o->cpus * CPU_PERIOD, "period",
					      (json_int_t)CPU_PERIOD));
	return r;
}

static void drop_network(json_t *namespaces)
{
	for (size_t i = json_array_size(namespaces); i--;)
		if (!strcmp(js_str(json_array_get(namespaces, i), "type"), "network"))
			json_array_remove(namespaces, i);
}

static json_t *make_config(const struct contained *k)
{
	const struct run_options *o = k->o;
	json_t *c = template_config(k->few_ids), *l = json_object_get(c, "linux");

	if (!l)
		return c;
	json_object_set_new(c, "process", make_process(o));
	json_object_set_new(c, "root", json_pack("{s:s}", "path", k->root));
	add_shares(json_object_get(c, "mounts"), o);
	if (k->resolver)
		json_array_append_new(json_object_get(c, "mounts"),
				      json_pack("{s:s,s:s,s:s,s:[s]}", "destination", "/etc/resolv.conf", "type",
						"bind", "source", k->resolver, "options", "bind"));
	json_object_set_new(l, "resources", limits(o));
	json_object_set_new(l, "seccomp",
			    json_pack("{s:s,s:[{s:o,s:s}]}", "defaultAction", "SCMP_ACT_ALLOW", "syscalls", "names",
				      words(forbidden, ARRAY_SIZE(forbidden)), "action", "SCMP_ACT_ERRNO"));
	json_object_del(l, "uidMappings");
	json_object_del(l, "gidMappings");
	for (size_t i = json_array_size(json_object_get(l, "namespaces")); i--;)
		if (!strcmp(js_str(json_array_get(json_object_get(l, "namespaces"), i), "type"), "user"))
			json_array_remove(json_object_get(l, "namespaces"), i);
	if (o->net_host)
		drop_network(json_object_get(l, "namespaces"));
	return c;
}

/* ---- the run ---- */

static void net_line(void *arg, const char *text)
{
	say("%s", text);
}

static int connect_network(void *arg, pid_t init, struct error *err)
{
	struct contained *k = arg;

	if (!k->o->net || net_is_none(k->o->net))
		return 0;
	return net_namespace_open(k->o->net, init, &k->log, &k->net, err);
}

/* It hears of our end by the pipe's; whatever is still there then goes. Nothing of ours is open in it: who waits for the end of our
 * output would wait for it. */
static int leave_caretaker(const struct contained *k, struct error *err)
{
	int p[2], null;
	struct container c;
	struct error ignored = { 0 };
	char byte;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) || (null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
		return error_set(err, errno, "a pipe: %s", strerror(errno));
	pid = fork();
	if (pid) {
		close(p[0]);
		close(null);
		return pid < 0 ? error_set(err, errno, "fork: %s", strerror(errno)) : 0;
	}
	close(p[1]);
	setsid();
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	while (read(p[0], &byte, 1) < 0 && errno == EINTR)
		;
	if (!container_open(&c, k->states, k->c.id, &ignored) || c.dir >= 0)
		container_delete(&c, true, &ignored);
	_exit(0);
}

static int prepare(struct contained *k, struct error *err)
{
	char id[64];
	int e;

	k->states = container_states(NULL);
	snprintf(id, sizeof(id), "run-%d", (int)getpid());
	e = k->states ? container_new(&k->c, k->states, id, err) : error_set(err, ENOMEM, "out of memory");
	e = e || privileged() ? e : enter_user_namespace(k, err);
	if (!e && k->few_ids && (k->o->root.user.uid || k->o->root.user.gid))
		e = error_set(err, EPERM,
			      "a container of yours has root only, so CMD cannot be user %u:%u in it: have "
			      "ids given to you in /etc/subuid and /etc/subgid, or use --user root",
			      k->o->root.user.uid, k->o->root.user.gid);
	e = e ? e : copy_on_write(k, err);
	e = e ? e : write_resolver(k, err);
	return e ? e : leave_caretaker(k, err);
}

static int not_started(const struct error *err)
{
	say("%s", err->text);
	if (strncmp(err->text, "executing ", 10))
		return EXIT_FAILURE;
	return err->code == -ENOENT ? CONTAINER_NOT_FOUND : CONTAINER_NOT_RUN;
}

static int wait_for_end(struct contained *k, int terminal)
{
	struct foreground f = { .pid = k->c.pid, .terminal = terminal, .ends = true, .timeout = k->o->timeout };
	int status = foreground_wait(&f);

	if (f.timed_out) {
		say("the time limit of %g s has ended the run", k->o->timeout);
		return STATUS_TIMEOUT;
	}
	return f.signal ? STATUS_SIGNAL + f.signal : status;
}

static int start(struct contained *k)
{
	_cleanup_json_ json_t *config = make_config(k);
	struct create_options co = {
		.config = config, .init = true, .stays = true, .connect = connect_network, .connect_arg = k
	};
	struct error err = { 0 };
	int terminal = -1, status;

	if (!config) {
		say("out of memory, or an argument that is not UTF-8");
		return EXIT_FAILURE;
	}
	if (container_run(&k->c, &co, &terminal, &err))
		return not_started(&err);
	status = wait_for_end(k, terminal);
	if (container_delete(&k->c, true, &err))
		say("%s", err.text);
	return status;
}

/* As it was typed: cmd's argv[0] is "sextant run". */
int run_container_seal(int argc, char **argv)
{
	char **all = calloc((size_t)argc + 2, sizeof(*all));
	struct error err = { 0 };
	int e, mount;

	if (!all) {
		say("out of memory");
		return EXIT_FAILURE;
	}
	all[0] = (char[]){ "sextant" };
	all[1] = (char[]){ "run" };
	memcpy(all + 2, argv + 1, (size_t)argc * sizeof(*all));
	/* The mount is open until we end: nobody waits for it then. */
	e = seal_executable(all, &mount, &err);
	free(all);
	if (e)
		say("%s", err.text);
	return e ? EXIT_FAILURE : 0;
}

int run_container(const struct run_options *o)
{
	struct contained k = { .o = o, .log = { .line = net_line } };
	struct error err = { 0 };
	int status;

	k.c.dir = -1;
	foreground_prepare();
	if (prepare(&k, &err)) {
		say("%s", err.text);
		status = EXIT_FAILURE;
	} else {
		status = start(&k);
	}
	net_namespace_close(k.net);
	if (o->root.overlay && k.root)
		umount2(k.root, MNT_DETACH);
	container_free(&k.c);
	free(k.states);
	free(k.root);
	free(k.resolver);
	return status;
}
