/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes hang in their parent's list. The tree is never deeper than a path is long, nor has the guest more than its quota of nodes in
 * it, so that walking it by recursion is fine.
 */
#include "platform/xen/store-tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "platform/xen/domain.h"

/* ---- nodes ---- */

static struct store_node *node_new(const char *name, size_t len)
{
	struct store_node *n = calloc(1, sizeof(*n) + len + 1);

	if (n)
		memcpy(n->name, name, len);
	return n;
}

static void node_free(struct store_node *n)
{
	struct store_node *child;

	while ((child = n->child)) {
		n->child = child->next;
		node_free(child);
	}
	free(n->value);
	free(n);
}

static unsigned guest_nodes(const struct store_node *n)
{
	unsigned count = n->perm[0].id == XEN_DOMID;

	for (const struct store_node *c = n->child; c; c = c->next)
		count += guest_nodes(c);
	return count;
}

static bool set_value(struct store_node *n, const void *value, u32 len)
{
	u8 *copy = malloc(len ? len : 1);

	if (!copy)
		return false;
	memcpy(copy, value, len);
	free(n->value);
	n->value = copy;
	n->len = len;
	return true;
}

/* With all below it, in the same order. */
static struct store_node *node_copy(const struct store_node *n, struct store_node *parent)
{
	struct store_node *copy = node_new(n->name, strlen(n->name)), **end;

	if (!copy)
		return NULL;
	copy->parent = parent;
	copy->perms = n->perms;
	memcpy(copy->perm, n->perm, sizeof(copy->perm));
	if (n->value && !set_value(copy, n->value, n->len))
		goto fail;
	end = &copy->child;
	for (const struct store_node *c = n->child; c; c = c->next) {
		*end = node_copy(c, copy);
		if (!*end)
			goto fail;
		end = &(*end)->next;
	}
	return copy;
fail:
	node_free(copy);
	return NULL;
}

/* ---- trees ---- */

struct store_tree *tree_new(void)
{
	struct store_tree *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->root = node_new("", 0);
	if (!t->root) {
		free(t);
		return NULL;
	}
	t->root->perms = 1;
	t->root->perm[0] = (struct store_perm){ 0, STORE_READ };
	return t;
}

struct store_tree *tree_copy(const struct store_tree *t)
{
	struct store_tree *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	copy->guest_nodes = t->guest_nodes;
	copy->root = node_copy(t->root, NULL);
	if (copy->root)
		return copy;
	free(copy);
	return NULL;
}

void tree_free(struct store_tree *t)
{
	if (!t)
		return;
	node_free(t->root);
	free(t);
}

/* ---- paths ---- */

bool tree_path_valid(const char *path)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/_@";
	size_t len = strlen(path);

	return path[0] == '/' && len <= XENSTORE_ABS_PATH_MAX && strspn(path, letters) == len && !strstr(path, "//") &&
	       (len == 1 || path[len - 1] != '/');
}

/* The next part of a path at *at, and how long it is; 0: that was all. */
static size_t next_part(const char **at)
{
	while (**at == '/')
		++*at;
	return strcspn(*at, "/");
}

static struct store_node *child_of(const struct store_node *n, const char *name, size_t len)
{
	struct store_node *c = n->child;

	while (c && (strncmp(c->name, name, len) || c->name[len]))
		c = c->next;
	return c;
}

/* How far the tree has the path: the last node, and in *path what is left of it. */
static struct store_node *descend(const struct store_tree *t, const char **path)
{
	struct store_node *n = t->root;
	size_t len;

	while ((len = next_part(path))) {
		struct store_node *c = child_of(n, *path, len);

		if (!c)
			break;
		n = c;
		*path += len;
	}
	return n;
}

struct store_node *tree_find(const struct store_tree *t, const char *path)
{
	struct store_node *n = descend(t, &path);

	return *path ? NULL : n;
}

struct store_node *tree_nearest(const struct store_tree *t, const char *path)
{
	return descend(t, &path);
}

/* ---- permissions ---- */

unsigned tree_bits(const struct store_node *n, u16 who)
{
	if (!who || n->perm[0].id == who)
		return STORE_READ | STORE_WRITE;
	for (unsigned i = 1; i < n->perms; i++)
		if (n->perm[i].id == who)
			return n->perm[i].bits;
	return n->perm[0].bits;
}

void tree_set_perms(struct store_tree *t, struct store_node *n, const struct store_perm *p, unsigned count)
{
	t->guest_nodes -= n->perm[0].id == XEN_DOMID;
	n->perms = (u8)count;
	memcpy(n->perm, p, count * sizeof(*p));
	t->guest_nodes += n->perm[0].id == XEN_DOMID;
}

/* ---- changes ---- */

static int add_child(struct store_tree *t, struct store_node **parent, u16 who, const char *name, size_t len)
{
	struct store_node *n, **end = &(*parent)->child;

	if (who && t->guest_nodes >= STORE_NODES_MAX)
		return -ENOSPC;
	n = node_new(name, len);
	if (!n)
		return -ENOMEM;
	n->parent = *parent;
	n->perms = (*parent)->perms;
	memcpy(n->perm, (*parent)->perm, sizeof(n->perm));
	if (who)
		n->perm[0].id = who;
	t->guest_nodes += n->perm[0].id == XEN_DOMID;
	while (*end)
		end = &(*end)->next;
	*end = n;
	*parent = n;
	return 0;
}

/* Nodes that were made on the way to one that then could not be stay: their quota is the maker's. */
int tree_write(struct store_tree *t, u16 who, const char *path, const void *value, u32 len)
{
	struct store_node *n = descend(t, &path);
	size_t part;
	int r = 0;

	if (!(tree_bits(n, who) & STORE_WRITE))
		return -EACCES;
	if (who && len > STORE_VALUE_MAX)
		return -ENOSPC;
	for (; !r && (part = next_part(&path)); path += part)
		r = add_child(t, &n, who, path, part);
	if (!r && value && !set_value(n, value, len))
		r = -ENOMEM;
	return r;
}

void tree_delete(struct store_tree *t, struct store_node *n)
{
	struct store_node **at = &n->parent->child;

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	t->guest_nodes -= guest_nodes(n);
	node_free(n);
}
