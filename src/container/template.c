/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration that `spec` writes, and that sextant run starts from: a shell with what containers usually have. */
#include <unistd.h>

#include "container/container.h"

static const char text[] =
	"{\"ociVersion\":\"1.1.0\",\"process\":{\"terminal\":true,\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"sh\"],"
	"\"env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"TERM=xterm\"],\"cwd\":\"/\","
	"\"capabilities\":{\"bounding\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],"
	"\"effective\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],"
	"\"permitted\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1024,\"soft\":1024}],\"noNewPrivileges\":true},"
	"\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"sextant\",\"mounts\":["
	"{\"destination\":\"/"
	"proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
	"\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
	"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","
	"\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"
	"{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"]},"
	"{\"destination\":\"/dev/"
	"mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
	"{\"destination\":\"/"
	"sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},"
	"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"]}],"
	"\"linux\":{\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]},"
	"\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":"
	"\"mount\"},"
	"{\"type\":\"cgroup\"}],"
	"\"maskedPaths\":[\"/proc/acpi\",\"/proc/asound\",\"/proc/kcore\",\"/proc/keys\",\"/proc/latency_stats\",\"/"
	"proc/timer_list\","
	"\"/proc/timer_stats\",\"/proc/sched_debug\",\"/sys/firmware\",\"/proc/scsi\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]}}";

/* A user maps the own ids only; of a group that is not mapped (5: tty) devpts cannot make terminals. */
static void make_rootless(json_t *config)
{
	json_t *linux_ = json_object_get(config, "linux"), *mounts = json_object_get(config, "mounts"), *each;
	size_t i;

	json_array_append_new(json_object_get(linux_, "namespaces"), json_pack("{s:s}", "type", "user"));
	json_object_set_new(linux_, "uidMappings",
			    json_pack("[{s:i,s:I,s:i}]", "containerID", 0, "hostID", (json_int_t)geteuid(), "size", 1));
	json_object_set_new(linux_, "gidMappings",
			    json_pack("[{s:i,s:I,s:i}]", "containerID", 0, "hostID", (json_int_t)getegid(), "size", 1));
	json_object_del(linux_, "resources");
	json_array_foreach(mounts, i, each)
	{
		json_t *options = json_object_get(each, "options");

		for (size_t k = json_array_size(options); k--;) {
			const char *o = json_string_value(json_array_get(options, k));

			if (o && o[0] == 'g' && o[1] == 'i' && o[2] == 'd')
				json_array_remove(options, k);
		}
	}
}

json_t *template_config(bool rootless)
{
	json_t *config = json_loads(text, 0, NULL);

	if (config && rootless)
		make_rootless(config);
	return config;
}
