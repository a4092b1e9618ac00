/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest asks of the store (xen/io/xs_wire.h; the meaning is that of Xen's docs/misc/xenstore.txt). The payload is a copy that
 * nobody changes any more, with a 0 after it, so that a text in it always ends.
 *
 * A transaction works on a copy of the tree. It becomes the tree if that has not changed since, else the guest is told to do it all again:
 * coarser than it has to be, and right.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/xen/store-internal.h"

#define DOM0_PATH "/local/domain/%u"

struct request {
	struct xen_store *s;
	u32 len;
	char *payload;
	struct transaction *t; /* that it belongs to; NULL: to none */
	struct store_tree *tree; /* that it is about */
	char path[XENSTORE_ABS_PATH_MAX + 1];
	u8 reply[XENSTORE_PAYLOAD_MAX];
	u32 reply_len;
	const struct watch *added;
};

/* ---- arguments and answers ---- */

/* The text after the one at `after`, NULL: the first. NULL: the payload ends before that, or the text does not end in it. */
static const char *next_text(const struct request *q, const char *after)
{
	const char *end = q->payload + q->len, *text = after ? after + strlen(after) + 1 : q->payload;

	return text < end && memchr(text, 0, (size_t)(end - text)) ? text : NULL;
}

static int add_reply(struct request *q, const void *bytes, size_t len)
{
	if (len > sizeof(q->reply) - q->reply_len)
		return -E2BIG;
	if (len) /* a node without a value has no bytes anywhere */
		memcpy(q->reply + q->reply_len, bytes, len);
	q->reply_len += (u32)len;
	return 0;
}

static int add_text(struct request *q, const char *text)
{
	return add_reply(q, text, strlen(text) + 1);
}

static int ok(struct request *q)
{
	return add_text(q, "OK");
}

/* The first text as an absolute path in q->path. */
static int take_path(struct request *q, const char *text)
{
	bool relative;

	if (!text)
		return -EINVAL;
	relative = text[0] != '/';
	if (relative && strlen(text) > XENSTORE_REL_PATH_MAX)
		return -EINVAL;
	if (snprintf(q->path, sizeof(q->path), "%s%s", relative ? STORE_HOME "/" : "", text) >= (int)sizeof(q->path))
		return -EINVAL;
	return tree_path_valid(q->path) ? 0 : -EINVAL;
}

/* Who may not look at what is above it does not hear whether it is there. */
static int find(struct request *q, unsigned bits, struct store_node **n)
{
	int r = take_path(q, next_text(q, NULL));
	const struct store_node *nearest;

	if (r)
		return r;
	nearest = tree_nearest(q->tree, q->path);
	*n = tree_find(q->tree, q->path);
	if (!(tree_bits(nearest, XEN_DOMID) & bits))
		return -EACCES;
	return *n ? 0 : -ENOENT;
}

/* ---- reading ---- */

static int op_read(struct request *q)
{
	struct store_node *n;
	int r = find(q, STORE_READ, &n);

	return r ? r : add_reply(q, n->value, n->len);
}

static int op_directory(struct request *q)
{
	struct store_node *n;
	int r = find(q, STORE_READ, &n);

	for (const struct store_node *c = r ? NULL : n->child; c && !r; c = c->next)
		r = add_text(q, c->name);
	return r;
}

/* (path, offset): of the list that DIRECTORY would give, what fits from a byte on; an empty name ends it. First what tells whether the
 * next part is of the same list. */
static int op_directory_part(struct request *q)
{
	const char *offset = next_text(q, next_text(q, NULL));
	struct store_node *n;
	char generation[24];
	u64 skip, at = 0;
	int r = find(q, STORE_READ, &n);

	if (r || !offset)
		return r ? r : -EINVAL;
	skip = strtoull(offset, NULL, 10);
	snprintf(generation, sizeof(generation), "%llu", (unsigned long long)q->s->generation);
	add_text(q, generation);
	for (const struct store_node *c = n->child; c; c = c->next) {
		if (at >= skip && add_text(q, c->name))
			return 0;
		at += strlen(c->name) + 1;
	}
	add_text(q, "");
	return 0;
}

static int op_get_perms(struct request *q)
{
	static const char letter[] = { 'n', 'r', 'w', 'b' };
	struct store_node *n;
	int r = find(q, STORE_READ, &n);

	for (unsigned i = 0; !r && i < n->perms; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%c%u", letter[n->perm[i].bits], n->perm[i].id);
		r = add_text(q, text);
	}
	return r;
}

static int op_get_domain_path(struct request *q)
{
	const char *id = next_text(q, NULL);
	char path[32];

	if (!id || strspn(id, "0123456789") != strlen(id) || !*id || strlen(id) > 5)
		return -EINVAL;
	snprintf(path, sizeof(path), DOM0_PATH, (unsigned)strtoul(id, NULL, 10));
	return add_text(q, path);
}

static int op_is_introduced(struct request *q)
{
	const char *id = next_text(q, NULL);

	if (!id)
		return -EINVAL;
	return add_text(q, !strcmp(id, "0") || !strcmp(id, "1") ? "T" : "F");
}

/* ---- changing ---- */

static int may_change(const struct request *q)
{
	return q->t && q->t->count >= STORE_CHANGES_MAX ? -ENOSPC : 0;
}

static int changed(struct request *q, bool removed)
{
	struct change *c;

	if (!q->t) {
		store_changed(q->s, q->path, removed);
		return ok(q);
	}
	c = malloc(sizeof(*c) + strlen(q->path) + 1);
	if (!c)
		return -ENOMEM;
	c->next = NULL;
	c->removed = removed;
	strcpy(c->path, q->path);
	*q->t->changes_end = c;
	q->t->changes_end = &c->next;
	q->t->count++;
	return ok(q);
}

/* (path, value): all bytes after the path's end. */
static int op_write(struct request *q)
{
	const char *path = next_text(q, NULL);
	int r = take_path(q, path);
	u32 at;

	if (!r)
		r = may_change(q);
	if (r)
		return r;
	at = (u32)strlen(path) + 1;
	r = tree_write(q->tree, XEN_DOMID, q->path, q->payload + at, q->len - at);
	return r ? r : changed(q, false);
}

static int op_mkdir(struct request *q)
{
	struct store_node *n;
	int r = find(q, STORE_WRITE, &n);

	if (!r)
		return ok(q); /* it is there */
	if (r == -ENOENT)
		r = may_change(q);
	if (!r)
		r = tree_write(q->tree, XEN_DOMID, q->path, NULL, 0);
	return r ? r : changed(q, false);
}

/* What is not there is removed already, if its parent is. */
static bool parent_there(struct request *q)
{
	char *slash = strrchr(q->path, '/');

	*slash = 0;
	return tree_find(q->tree, slash == q->path ? "/" : q->path);
}

static int op_rm(struct request *q)
{
	struct store_node *n;
	int r = find(q, STORE_WRITE, &n);

	if (r == -ENOENT)
		return parent_there(q) ? ok(q) : -ENOENT;
	if (!r)
		r = n->parent ? may_change(q) : -EINVAL;
	if (r)
		return r;
	tree_delete(q->tree, n);
	return changed(q, true);
}

static bool parse_perm(const char *text, struct store_perm *p)
{
	static const char letters[] = "nrwb";
	const char *letter = *text ? strchr(letters, *text) : NULL;
	char *end;
	unsigned long id;

	if (!letter || text[1] < '0' || text[1] > '9')
		return false;
	id = strtoul(text + 1, &end, 10);
	*p = (struct store_perm){ (u16)id, (u8)(letter - letters) };
	return !*end && id < DOMID_FIRST_RESERVED;
}

/* (path, permission, ...): the owner alone, who stays it. */
static int op_set_perms(struct request *q)
{
	struct store_perm p[STORE_PERMS_MAX];
	const char *text = next_text(q, NULL);
	struct store_node *n;
	unsigned count = 0;
	int r = find(q, STORE_WRITE, &n);

	if (!r)
		r = n->perm[0].id != XEN_DOMID ? -EACCES : may_change(q);
	while (!r && (text = next_text(q, text))) {
		if (count == STORE_PERMS_MAX)
			return -ENOSPC;
		r = parse_perm(text, &p[count++]) ? 0 : -EINVAL;
	}
	if (r || !count)
		return r ? r : -EINVAL;
	if (p[0].id != XEN_DOMID)
		return -EPERM;
	tree_set_perms(q->tree, n, p, count);
	return changed(q, false);
}

/* ---- watches ---- */

static struct watch **find_watch(struct xen_store *s, const char *path, const char *token)
{
	struct watch **w = &s->watches;

	while (*w && (strcmp((*w)->path, path) || strcmp((*w)->token, token)))
		w = &(*w)->next;
	return w;
}

static struct watch *new_watch(const char *path, const char *token, bool relative)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->path = strdup(path);
	w->token = strdup(token);
	w->relative = relative;
	if (w->path && w->token)
		return w;
	watch_free(w);
	return NULL;
}

static int op_watch(struct request *q)
{
	const char *path = next_text(q, NULL), *token = path ? next_text(q, path) : NULL;
	int r = take_path(q, path);
	struct watch **end;

	if (r || !token)
		return r ? r : -EINVAL;
	end = find_watch(q->s, q->path, token);
	if (*end)
		return -EEXIST;
	if (q->s->nwatches == STORE_WATCHES_MAX)
		return -E2BIG;
	*end = new_watch(q->path, token, path[0] != '/');
	if (!*end)
		return -ENOMEM;
	q->s->nwatches++;
	q->added = *end;
	return ok(q);
}

static void remove_watch(struct xen_store *s, struct watch **at)
{
	struct watch *w = *at;

	*at = w->next;
	s->nwatches--;
	watch_free(w);
}

static int op_unwatch(struct request *q)
{
	const char *path = next_text(q, NULL), *token = path ? next_text(q, path) : NULL;
	int r = take_path(q, path);
	struct watch **w;

	if (r || !token)
		return r ? r : -EINVAL;
	w = find_watch(q->s, q->path, token);
	if (!*w)
		return -ENOENT;
	remove_watch(q->s, w);
	return ok(q);
}

void store_forget_guest(struct xen_store *s)
{
	struct transaction *t;

	while (s->watches)
		remove_watch(s, &s->watches);
	while ((t = s->transactions)) {
		s->transactions = t->next;
		transaction_free(t);
	}
	s->ntransactions = 0;
}

static int op_reset_watches(struct request *q)
{
	store_forget_guest(q->s);
	return ok(q);
}

/* ---- transactions ---- */

static struct transaction **find_transaction(struct xen_store *s, u32 id)
{
	struct transaction **t = &s->transactions;

	while (*t && (*t)->id != id)
		t = &(*t)->next;
	return t;
}

static u32 free_id(struct xen_store *s)
{
	do
		s->last_id++;
	while (!s->last_id || *find_transaction(s, s->last_id));
	return s->last_id;
}

static int op_transaction_start(struct request *q)
{
	struct xen_store *s = q->s;
	struct transaction *t;
	char id[16];

	if (q->t)
		return -EBUSY;
	if (s->ntransactions == STORE_TRANSACTIONS_MAX)
		return -ENOSPC;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->tree = tree_copy(s->tree);
	if (!t->tree) {
		free(t);
		return -ENOMEM;
	}
	t->changes_end = &t->changes;
	t->generation = s->generation;
	t->id = free_id(s);
	t->next = s->transactions;
	s->transactions = t;
	s->ntransactions++;
	snprintf(id, sizeof(id), "%u", t->id);
	return add_text(q, id);
}

static int commit(struct xen_store *s, struct transaction *t)
{
	struct store_tree *old = s->tree;

	if (!t->changes)
		return 0;
	if (t->generation != s->generation)
		return -EAGAIN;
	s->tree = t->tree;
	t->tree = old;
	for (const struct change *c = t->changes; c; c = c->next)
		store_changed(s, c->path, c->removed);
	return 0;
}

static int op_transaction_end(struct request *q)
{
	const char *how = next_text(q, NULL);
	struct transaction **at;
	int r = 0;

	if (!q->t)
		return -ENOENT;
	if (!how || (strcmp(how, "T") && strcmp(how, "F")))
		return -EINVAL;
	at = find_transaction(q->s, q->t->id);
	*at = q->t->next;
	q->s->ntransactions--;
	if (*how == 'T')
		r = commit(q->s, q->t);
	transaction_free(q->t);
	return r ? r : ok(q);
}

/* ---- dispatch ---- */

/* The toolstack's. */
static int op_denied(struct request *q)
{
	return -EACCES;
}

static int (*const ops[XS_TYPE_COUNT])(struct request *q) = {
	[XS_CONTROL] = op_denied,
	[XS_DIRECTORY] = op_directory,
	[XS_READ] = op_read,
	[XS_GET_PERMS] = op_get_perms,
	[XS_WATCH] = op_watch,
	[XS_UNWATCH] = op_unwatch,
	[XS_TRANSACTION_START] = op_transaction_start,
	[XS_TRANSACTION_END] = op_transaction_end,
	[XS_INTRODUCE] = op_denied,
	[XS_RELEASE] = op_denied,
	[XS_GET_DOMAIN_PATH] = op_get_domain_path,
	[XS_WRITE] = op_write,
	[XS_MKDIR] = op_mkdir,
	[XS_RM] = op_rm,
	[XS_SET_PERMS] = op_set_perms,
	[XS_IS_DOMAIN_INTRODUCED] = op_is_introduced,
	[XS_RESUME] = op_denied,
	[XS_SET_TARGET] = op_denied,
	[XS_RESET_WATCHES] = op_reset_watches,
	[XS_DIRECTORY_PART] = op_directory_part,
};

static const char *error_name(int error)
{
	for (unsigned i = 0; i < ARRAY_SIZE(xsd_errors); i++)
		if (xsd_errors[i].errnum == -error)
			return xsd_errors[i].errstring;
	return "EINVAL";
}

void store_serve(struct xen_store *s, const struct xsd_sockmsg *h, char *payload)
{
	struct xsd_sockmsg answer = *h;
	struct request *q = calloc(1, sizeof(*q));
	int r;

	if (!q) {
		s->broken = true;
		return;
	}
	*q = (struct request){ .s = s, .len = h->len, .payload = payload, .tree = s->tree };
	if (h->tx_id) {
		q->t = *find_transaction(s, h->tx_id);
		q->tree = q->t ? q->t->tree : NULL;
	}
	if (h->tx_id && !q->t)
		r = -ENOENT;
	else
		r = h->type < XS_TYPE_COUNT && ops[h->type] ? ops[h->type](q) : -ENOSYS;
	if (r) {
		answer.type = XS_ERROR;
		q->reply_len = 0;
		add_text(q, error_name(r));
	}
	answer.len = q->reply_len;
	if (!store_send(s, &answer, q->reply))
		s->broken = true;
	else if (q->added)
		store_fire(s, q->added, q->added->path);
	free(q);
}
