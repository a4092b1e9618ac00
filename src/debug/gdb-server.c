/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where gdb connects to: a TCP port, on the loopback unless an address is given, or a socket in the file system, which is
 * its owner's alone. One client at a time; another is turned away. A client that goes, however it goes, has detached.
 *
 * What a client does not read waits in a buffer; one that lets too much gather is cut off.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "debug/debug.h"
#include "util/cleanup.h"

#define OUT_MAX	      (1u << 20)
#define CHUNK	      4096u
#define LAST_CHUNKS   64 /* of a client that may have gone */
#define PATIENCE_MS   1000 /* for the last packet of a guest that has ended */
#define LOOPBACK_HOST "127.0.0.1"

struct gdb_server {
	struct machine *machine;
	struct gdb_config config;
	char address[300];
	char *path; /* of the socket, to be removed */
	int listen_fd, fd; /* -1: none */
	struct gdb *gdb;
	u8 *out;
	size_t out_len;
	bool broken;
};

/* ---- one client ---- */

static void drop_client(struct gdb_server *s)
{
	if (s->fd < 0)
		return;
	gdb_free(s->gdb);
	s->gdb = NULL;
	loop_unwatch(s->machine->loop, s->fd);
	close(s->fd);
	s->fd = -1;
	free(s->out);
	s->out = NULL;
	s->out_len = 0;
}

/* True when all is out; false when there is more, or the client has gone. */
static bool flush(struct gdb_server *s)
{
	while (s->out_len) {
		ssize_t n = send(s->fd, s->out, s->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			s->broken |= errno != EAGAIN;
			return false;
		}
		s->out_len -= (size_t)n;
		memmove(s->out, s->out + n, s->out_len);
	}
	return true;
}

static void send_bytes(void *arg, const u8 *data, size_t len)
{
	struct gdb_server *s = arg;
	u8 *grown;

	if (s->broken)
		return;
	grown = s->out_len + len > OUT_MAX ? NULL : realloc(s->out, s->out_len + len);
	if (!grown) {
		s->broken = true;
		return;
	}
	s->out = grown;
	memcpy(s->out + s->out_len, data, len);
	s->out_len += len;
	if (!flush(s))
		loop_rewatch(s->machine->loop, s->fd, EPOLLIN | EPOLLOUT);
}

static bool receive(struct gdb_server *s)
{
	u8 buf[CHUNK];
	ssize_t n = recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	return n > 0 && gdb_receive(s->gdb, buf, (size_t)n);
}

static void on_client(void *arg, u32 events)
{
	struct gdb_server *s = arg;

	if (events & EPOLLOUT && flush(s))
		loop_rewatch(s->machine->loop, s->fd, EPOLLIN);
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !receive(s)) || s->broken)
		drop_client(s);
}

/* A client that has gone makes room for the next at once, though the event that tells of it comes after this one. */
static void look_for_end(struct gdb_server *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	for (unsigned i = 0; i < LAST_CHUNKS && s->fd >= 0 && poll(&p, 1, 0) > 0; i++)
		on_client(s, EPOLLIN);
}

static void on_connect(void *arg, u32 events)
{
	struct gdb_server *s = arg;
	struct gdb_link link = { .send = send_bytes, .arg = s };
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), on = 1;

	if (fd < 0)
		return;
	look_for_end(s);
	if (s->fd >= 0 || loop_watch(s->machine->loop, fd, EPOLLIN, on_client, s, NULL)) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->fd = fd;
	s->broken = false;
	s->gdb = gdb_new(s->machine, &link, s->config.arch, s->config.monitor);
	if (!s->gdb)
		drop_client(s);
}

/* ---- listening ---- */

/* HOST:PORT, the host perhaps in brackets. */
static int split_address(const char *text, char *host, size_t room, const char **port, struct error *err)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) > 5 ||
	    atoi(colon + 1) > 65535)
		return error_set(err, EINVAL, "there is no port in '%s': it is HOST:PORT, :PORT or a path", text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len >= room)
		return error_set(err, EINVAL, "the host in '%s' is too long", text);
	snprintf(host, room, "%.*s", (int)len, text);
	if (!len)
		snprintf(host, room, "%s", LOOPBACK_HOST);
	*port = colon + 1;
	return 0;
}

static void tell_tcp_address(struct gdb_server *s)
{
	char host[256], port[8];
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	if (!getsockname(s->listen_fd, (struct sockaddr *)&a, &len) &&
	    !getnameinfo((struct sockaddr *)&a, len, host, sizeof(host), port, sizeof(port),
			 NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(s->address, sizeof(s->address), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static int listen_tcp(struct gdb_server *s, const char *text, struct error *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list = NULL;
	const char *port = "";
	char host[256];
	int on = 1, r = split_address(text, host, sizeof(host), &port, err);

	if (r)
		return r;
	r = getaddrinfo(host, port, &hints, &list);
	if (r)
		return error_set(err, EADDRNOTAVAIL, "cannot find '%s': %s", host, gai_strerror(r));
	s->listen_fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd >= 0)
		setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (s->listen_fd < 0 || bind(s->listen_fd, list->ai_addr, list->ai_addrlen) || listen(s->listen_fd, 1))
		r = error_set(err, errno, "cannot listen on %s:%s: %s", host, port, strerror(errno));
	freeaddrinfo(list);
	if (!r)
		tell_tcp_address(s);
	return r;
}

/* A socket that nobody listens on any more is one that a run left behind. */
static void remove_stale(const struct sockaddr_un *a)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (fd >= 0 && !stat(a->sun_path, &st) && S_ISSOCK(st.st_mode) &&
	    connect(fd, (const struct sockaddr *)a, sizeof(*a)) && errno == ECONNREFUSED)
		unlink(a->sun_path);
}

static int listen_unix(struct gdb_server *s, const char *path, struct error *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t before;
	int failed;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	remove_stale(&a);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	before = umask(0177);
	failed = s->listen_fd < 0 || bind(s->listen_fd, (struct sockaddr *)&a, sizeof(a)) ? errno : 0;
	umask(before);
	if (!failed)
		s->path = strdup(path);
	if (!failed && listen(s->listen_fd, 1))
		failed = errno;
	snprintf(s->address, sizeof(s->address), "%s", path);
	return failed ? error_set(err, failed, "cannot listen on %s: %s", path, strerror(failed)) : 0;
}

/* Where in the address the path of a socket begins; NULL: it is HOST:PORT, which *tcp then is. */
static const char *socket_path(const char *address, const char **tcp)
{
	if (!strncmp(address, "unix:", 5))
		return address + 5;
	if (strncmp(address, "tcp:", 4) && strchr(address, '/'))
		return address;
	*tcp = strncmp(address, "tcp:", 4) ? address : address + 4;
	return NULL;
}

int gdb_server_check(const char *address, struct error *err)
{
	const char *tcp, *path = socket_path(address, &tcp), *port;
	char host[256];

	if (!path)
		return split_address(tcp, host, sizeof(host), &port, err);
	if (!*path || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return error_set(err, EINVAL, "'%s' is no path for a socket", path);
	return 0;
}

static int start(struct gdb_server *s, const char *text, struct error *err)
{
	const char *tcp, *path = socket_path(text, &tcp);
	int r = path ? listen_unix(s, path, err) : listen_tcp(s, tcp, err);

	return r ? r : loop_watch(s->machine->loop, s->listen_fd, EPOLLIN, on_connect, s, err);
}

int gdb_server_new(struct gdb_server **out, struct machine *m, const struct gdb_config *cfg, struct error *err)
{
	struct gdb_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return error_set(err, ENOMEM, "no memory for the gdb server");
	s->machine = m;
	s->config = *cfg;
	s->listen_fd = s->fd = -1;
	r = gdb_server_check(cfg->address, err);
	if (!r)
		r = start(s, cfg->address, err);
	if (r) {
		gdb_server_free(s);
		return r;
	}
	*out = s;
	return 0;
}

const char *gdb_server_address(const struct gdb_server *s)
{
	return s->address;
}

void gdb_server_exited(struct gdb_server *s, int status)
{
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };

	if (s->fd < 0)
		return;
	gdb_exited(s->gdb, status);
	while (!s->broken && !flush(s) && poll(&p, 1, PATIENCE_MS) > 0)
		;
}

void gdb_server_free(struct gdb_server *s)
{
	if (!s)
		return;
	drop_client(s);
	if (s->listen_fd >= 0) {
		loop_unwatch(s->machine->loop, s->listen_fd);
		close(s->listen_fd);
	}
	if (s->path)
		unlink(s->path);
	free(s->path);
	free(s);
}
