/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target description (GDB manual, "Target Description Format"), made from the register table: gdb numbers registers in
 * the order in which they stand here, features as it knows them plus one of ours for the system registers.
 */
#include <stdio.h>
#include <stdlib.h>

#include "debug/gdb-internal.h"

static const char *const feature_names[NR_REG_FEATURES] = {
	[FEATURE_CORE] = "org.gnu.gdb.i386.core", [FEATURE_SEGMENTS] = "org.gnu.gdb.i386.segments",
	[FEATURE_SYSTEM] = "org.sextant.system",  [FEATURE_SSE] = "org.gnu.gdb.i386.sse",
	[FEATURE_AVX] = "org.gnu.gdb.i386.avx",
};

struct bit_name {
	u8 bit;
	const char *name;
};
static const struct bit_name eflags_bits[] = {
	{ 0, "CF" },  { 1, "" },    { 2, "PF" },   { 4, "AF" },	  { 6, "ZF" },	{ 7, "SF" },
	{ 8, "TF" },  { 9, "IF" },  { 10, "DF" },  { 11, "OF" },  { 14, "NT" }, { 16, "RF" },
	{ 17, "VM" }, { 18, "AC" }, { 19, "VIF" }, { 20, "VIP" }, { 21, "ID" },
};
static const struct bit_name mxcsr_bits[] = {
	{ 0, "IE" }, { 1, "DE" }, { 2, "ZE" }, { 3, "OE" },  { 4, "UE" },  { 5, "PE" },	 { 6, "DAZ" },
	{ 7, "IM" }, { 8, "DM" }, { 9, "ZM" }, { 10, "OM" }, { 11, "UM" }, { 12, "PM" }, { 15, "FZ" },
};

static void put_flags(FILE *f, const char *id, const struct bit_name *bits, unsigned n)
{
	fprintf(f, "<flags id=\"%s\" size=\"4\">", id);
	for (unsigned i = 0; i < n; i++)
		fprintf(f, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>", bits[i].name, bits[i].bit, bits[i].bit);
	fputs("</flags>\n", f);
}

static void put_vector_types(FILE *f)
{
	static const struct {
		const char *field, *element;
		unsigned count;
	} views[] = { { "v4_float", "ieee_single", 4 }, { "v2_double", "ieee_double", 2 }, { "v16_int8", "int8", 16 },
		      { "v8_int16", "int16", 8 },	{ "v4_int32", "int32", 4 },	   { "v2_int64", "int64", 2 } };

	for (unsigned i = 0; i < ARRAY_SIZE(views); i++)
		fprintf(f, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>", views[i].field, views[i].element,
			views[i].count);
	fputs("<union id=\"vec128\">", f);
	for (unsigned i = 0; i < ARRAY_SIZE(views); i++)
		fprintf(f, "<field name=\"%s\" type=\"%s\"/>", views[i].field, views[i].field);
	fputs("<field name=\"uint128\" type=\"uint128\"/></union>\n", f);
}

static void put_types(FILE *f, enum reg_feature feature)
{
	if (feature == FEATURE_CORE)
		put_flags(f, "i386_eflags", eflags_bits, ARRAY_SIZE(eflags_bits));
	if (feature == FEATURE_SSE) {
		put_vector_types(f);
		put_flags(f, "i386_mxcsr", mxcsr_bits, ARRAY_SIZE(mxcsr_bits));
	}
}

static const char *type_of(const struct reg *r)
{
	switch ((enum reg_kind)r->kind) {
	case REG_GPR: return r->index == RSP || r->index == RBP ? "data_ptr" : r->bytes == 8 ? "int64" : "int32";
	case REG_IP: return "code_ptr";
	case REG_FLAGS: return "i386_eflags";
	case REG_ST: return "i387_ext";
	case REG_XMM: return "vec128";
	case REG_MXCSR: return "i386_mxcsr";
	case REG_YMM_HIGH: return "uint128";
	default: return r->bytes == 8 ? "int64" : "int32";
	}
}

static const char *group_of(const struct reg *r)
{
	switch ((enum reg_kind)r->kind) {
	case REG_X87: return " group=\"float\"";
	case REG_MXCSR: return " group=\"vector\"";
	case REG_KERNEL_GS:
	case REG_CR:
	case REG_EFER: return " group=\"system\"";
	default: return "";
	}
}

static void put_features(FILE *f, const struct reg_set *s)
{
	int open = -1;

	for (unsigned i = 0; i < s->count; i++) {
		const struct reg *r = &s->reg[i];

		if (open != r->feature) {
			if (open >= 0)
				fputs("</feature>\n", f);
			open = r->feature;
			fprintf(f, "<feature name=\"%s\">\n", feature_names[open]);
			put_types(f, r->feature);
		}
		fprintf(f, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"%s/>\n", r->name, r->bytes * 8u, type_of(r),
			group_of(r));
	}
	fputs("</feature>\n", f);
}

char *gdb_target_xml(const struct reg_set *s)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fprintf(f,
		"<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n"
		"<architecture>%s</architecture>\n",
		s->wide ? "i386:x86-64" : "i386");
	put_features(f, s);
	fputs("</target>\n", f);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}
