/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's tree: nodes with a value, permissions, and a quota for what the guest owns. It knows no requests. A transaction works on a
 * copy of it.
 */
#pragma once
#include "util/types.h"

#include <xen/io/xs_wire.h>

#define STORE_READ	1u
#define STORE_WRITE	2u
#define STORE_PERMS_MAX 5
/* As xenstored has them for a domain that is not privileged. */
#define STORE_VALUE_MAX 2048u
#define STORE_NODES_MAX 1000u

struct store_perm {
	u16 id;
	u8 bits; /* STORE_READ, STORE_WRITE */
};
struct store_node {
	struct store_node *parent, *child, *next;
	u8 *value; /* len bytes; NULL: none */
	u32 len;
	u8 perms;
	struct store_perm perm[STORE_PERMS_MAX]; /* [0]: the owner, and what all may who are not named */
	char name[]; /* "" of the root */
};
struct store_tree {
	struct store_node *root;
	unsigned guest_nodes; /* that the guest owns */
};

struct store_tree *tree_new(void); /* NULL: no memory */
struct store_tree *tree_copy(const struct store_tree *t);
void tree_free(struct store_tree *t); /* NULL is fine */

/* An absolute path as tree functions want it: parts of allowed letters, none empty. */
bool tree_path_valid(const char *path);
struct store_node *tree_find(const struct store_tree *t, const char *path);
/* The node that is nearest to it upwards, itself if it is there. */
struct store_node *tree_nearest(const struct store_tree *t, const char *path);
unsigned tree_bits(const struct store_node *n, u16 who); /* what who may do with it */

/* 0, or -EACCES, -ENOSPC, -ENOMEM. Without value the node is just made. */
int tree_write(struct store_tree *t, u16 who, const char *path, const void *value, u32 len);
/* With all below it, whoever owns that. n is not the root. */
void tree_delete(struct store_tree *t, struct store_node *n);
void tree_set_perms(struct store_tree *t, struct store_node *n, const struct store_perm *p, unsigned count);
