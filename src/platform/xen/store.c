/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's tree and who watches it: domain 0, which is we, and the guest. What changes is told to both in one way, whoever
 * changed it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/xen/store-internal.h"

#define PRINT_MAX 80u /* bytes of a value */

/* ---- watches ---- */

static bool is_at_or_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return !strcmp(top, "/") || (!strncmp(path, top, len) && (!path[len] || path[len] == '/'));
}

/* A watch that was asked for by a relative path is told of in such. */
static const char *shown(const struct watch *w, const char *path)
{
	return w->relative ? path + sizeof(STORE_HOME "/") - 1 : path;
}

void store_fire(struct xen_store *s, const struct watch *w, const char *path)
{
	char event[XENSTORE_PAYLOAD_MAX];
	const char *name = shown(w, path);
	size_t len = strlen(name) + 1, token = strlen(w->token) + 1;
	struct xsd_sockmsg h = { .type = XS_WATCH_EVENT, .len = (u32)(len + token) };

	if (!(tree_bits(tree_nearest(s->tree, path), XEN_DOMID) & STORE_READ) || len + token > sizeof(event))
		return;
	if (s->broken || s->out_bytes + h.len > STORE_OUT_MAX)
		return;
	memcpy(event, name, len);
	memcpy(event + len, w->token, token);
	s->events += store_send(s, &h, event);
}

void store_changed(struct xen_store *s, const char *path, bool removed)
{
	s->generation++;
	for (const struct watch *w = s->watches; w; w = w->next) {
		if (is_at_or_below(path, w->path))
			store_fire(s, w, path);
		else if (removed && is_at_or_below(w->path, path))
			store_fire(s, w, w->path);
	}
	for (const struct store_watch *w = s->inner; w; w = w->next)
		if (is_at_or_below(path, w->path) || (removed && is_at_or_below(w->path, path)))
			w->fn(w->arg);
}

void watch_free(struct watch *w)
{
	free(w->path);
	free(w->token);
	free(w);
}

void transaction_free(struct transaction *t)
{
	struct change *c;

	while ((c = t->changes)) {
		t->changes = c->next;
		free(c);
	}
	tree_free(t->tree);
	free(t);
}

void store_add_watch(struct xen_domain *d, struct store_watch *w)
{
	pthread_mutex_lock(&d->store->lock);
	w->next = d->store->inner;
	d->store->inner = w;
	pthread_mutex_unlock(&d->store->lock);
}

void store_remove_watch(struct xen_domain *d, struct store_watch *w)
{
	pthread_mutex_lock(&d->store->lock);
	for (struct store_watch **at = &d->store->inner; *at; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			break;
		}
	}
	pthread_mutex_unlock(&d->store->lock);
}

/* ---- domain 0's side ---- */

int store_write(struct xen_domain *d, const char *path, const char *fmt, ...)
{
	char text[STORE_VALUE_MAX];
	va_list ap;
	int len, r;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&d->store->lock);
	r = tree_write(d->store->tree, 0, path, text, (u32)MIN(len, (int)sizeof(text) - 1));
	if (!r)
		store_changed(d->store, path, false);
	pthread_mutex_unlock(&d->store->lock);
	return r;
}

int store_own(struct xen_domain *d, const char *path, u16 owner)
{
	const struct store_perm perms[] = { { owner, 0 }, { owner ? 0 : XEN_DOMID, STORE_READ } };
	struct store_node *n;
	int r;

	pthread_mutex_lock(&d->store->lock);
	r = tree_write(d->store->tree, 0, path, NULL, 0);
	n = r ? NULL : tree_find(d->store->tree, path);
	if (n) {
		tree_set_perms(d->store->tree, n, perms, ARRAY_SIZE(perms));
		store_changed(d->store, path, false);
	}
	pthread_mutex_unlock(&d->store->lock);
	return r;
}

bool store_read(struct xen_domain *d, const char *path, char *text, size_t size)
{
	const struct store_node *n;
	size_t len = 0;

	pthread_mutex_lock(&d->store->lock);
	n = tree_find(d->store->tree, path);
	if (n && n->value) {
		len = MIN(n->len, size - 1);
		memcpy(text, n->value, len);
	}
	text[len] = 0;
	pthread_mutex_unlock(&d->store->lock);
	return n;
}

bool store_read_number(struct xen_domain *d, const char *path, u64 *value)
{
	char text[24];

	if (!store_read(d, path, text, sizeof(text)) || !*text || strspn(text, "0123456789") != strlen(text) ||
	    strlen(text) > 19)
		return false;
	*value = strtoull(text, NULL, 10);
	return true;
}

u32 store_port(const struct xen_domain *d)
{
	return d->store->port;
}

/* Names have few letters; values may have any bytes, and some mean much to a terminal. */
static void print_node(const struct store_node *n, unsigned depth, struct text *out)
{
	char value[PRINT_MAX + 1];
	u32 len = MIN(n->len, PRINT_MAX);

	for (u32 i = 0; i < len; i++)
		value[i] = n->value[i] >= ' ' && n->value[i] < 0x7f ? (char)n->value[i] : '.';
	value[len] = 0;
	if (n->parent)
		text_printf(out, "%*s%.200s = \"%s\"%s\n", (int)MIN(depth, 40) * 2 - 2, "", n->name, value,
			    n->len > len ? "..." : "");
	for (const struct store_node *c = n->child; c; c = c->next)
		print_node(c, depth + 1, out);
}

void store_print(struct xen_domain *d, struct text *out)
{
	pthread_mutex_lock(&d->store->lock);
	print_node(d->store->tree->root, 0, out);
	text_printf(out, "%llu requests, %llu events, %u watches, %u transactions%s\n",
		    (unsigned long long)d->store->requests, (unsigned long long)d->store->events, d->store->nwatches,
		    d->store->ntransactions, d->store->broken ? "; the guest broke the protocol" : "");
	pthread_mutex_unlock(&d->store->lock);
}

/* ---- making and releasing ---- */

int store_create(struct xen_domain *d, u64 mfn, struct error *err)
{
	struct xen_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return error_set(err, ENOMEM, "no memory for the store");
	s->d = d;
	pthread_mutex_init(&s->lock, NULL);
	d->store = s;
	s->tree = tree_new();
	r = s->tree ? store_ring_start(s, mfn, err) : error_set(err, ENOMEM, "no memory for the store");
	if (r)
		store_destroy(d);
	return r;
}

void store_destroy(struct xen_domain *d)
{
	struct xen_store *s = d->store;

	if (!s)
		return;
	store_ring_stop(s);
	store_forget_guest(s);
	tree_free(s->tree);
	pthread_mutex_destroy(&s->lock);
	free(s);
	d->store = NULL;
}
