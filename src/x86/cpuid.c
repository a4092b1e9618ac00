/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU models and the CPUID leaves made from them (Intel SDM vol. 2, CPUID). A model is a set of features; what is
 * in every leaf follows from the set and from the context. All models present themselves as one GenuineIntel family
 * 6 part, as kernels take the architectural paths there: TSC and APIC rates from leaf 15h, topology from leaf 0Bh,
 * mitigations from ARCH_CAPABILITIES.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "x86/bits.h"
#include "x86/cpuid.h"

/* Family 6, model AFh, stepping 3: a server part without AVX-512 or SMT; kernels have no quirk for it. */
#define SIGNATURE	  0x000a06f3u
#define MAX_BASIC	  0x16u
#define MAX_EXTENDED	  0x80000008u
#define HYPERVISOR_BASE	  0x40000000u
#define HYPERVISOR_TIMING 0x40000010u
#define BRAND		  "Sextant virtual CPU"
#define PHYSICAL_BITS	  46u
#define LINEAR_BITS	  48u

/* ---- models ---- */
#define LO(f) ((f) < 64 ? 1ull << ((f)&63) : 0)
#define HI(f) ((f) < 64 ? 0 : 1ull << ((f)&63))

/* Each list is walked twice, for the low and the high word. */
#define LEVEL_1(X)                                                                                                  \
	(X(FEAT_BASE) | X(FEAT_X87) | X(FEAT_TSC) | X(FEAT_MSR) | X(FEAT_CX8) | X(FEAT_SEP) | X(FEAT_CMOV) |        \
	 X(FEAT_CLFLUSH) | X(FEAT_MMX) | X(FEAT_FXSR) | X(FEAT_SSE) | X(FEAT_SSE2) | X(FEAT_SYSCALL) | X(FEAT_NX) | \
	 X(FEAT_LM) | X(FEAT_PGE) | X(FEAT_PSE) | X(FEAT_PSE36) | X(FEAT_PAE) | X(FEAT_APIC) | X(FEAT_MTRR) |       \
	 X(FEAT_PAT) | X(FEAT_DE) | X(FEAT_VME) | X(FEAT_MCE))
/* What the ABI levels say nothing about but kernels want of any machine: interrupts, clocks, no mitigations. */
#define SYSTEM(X)                                                                                     \
	(X(FEAT_X2APIC) | X(FEAT_TSC_DEADLINE) | X(FEAT_TSC_ADJUST) | X(FEAT_RDTSCP) | X(FEAT_ARAT) | \
	 X(FEAT_PDPE1GB) | X(FEAT_SPEC_CTRL) | X(FEAT_ARCH_CAPABILITIES))
#define LEVEL_2(X) \
	(X(FEAT_CX16) | X(FEAT_LAHF64) | X(FEAT_POPCNT) | X(FEAT_SSE3) | X(FEAT_SSSE3) | X(FEAT_SSE41) | X(FEAT_SSE42))
#define LEVEL_3(X)                                                                                               \
	(X(FEAT_AVX) | X(FEAT_AVX2) | X(FEAT_BMI1) | X(FEAT_BMI2) | X(FEAT_F16C) | X(FEAT_FMA) | X(FEAT_LZCNT) | \
	 X(FEAT_MOVBE) | X(FEAT_XSAVE))
#define BEYOND(X)                                                                                            \
	(X(FEAT_AES) | X(FEAT_PCLMUL) | X(FEAT_SHA) | X(FEAT_ADX) | X(FEAT_RDRAND) | X(FEAT_RDSEED) |        \
	 X(FEAT_FSGSBASE) | X(FEAT_PCID) | X(FEAT_INVPCID) | X(FEAT_SMEP) | X(FEAT_SMAP) | X(FEAT_UMIP) |    \
	 X(FEAT_ERMS) | X(FEAT_FSRM) | X(FEAT_XSAVEOPT) | X(FEAT_XSAVEC) | X(FEAT_XGETBV1) | X(FEAT_RDPID) | \
	 X(FEAT_CLFLUSHOPT) | X(FEAT_CLWB) | X(FEAT_PREFETCHW) | X(FEAT_MONITOR))
#define V1(X)	      (LEVEL_1(X) | SYSTEM(X))
#define V2(X)	      (V1(X) | LEVEL_2(X))
#define V3(X)	      (V2(X) | LEVEL_3(X))
#define ALL(X)	      (V3(X) | BEYOND(X))
/* Costs something, or is news to kernels: not in the default model. */
#define RARE(X)	      (X(FEAT_PKU) | X(FEAT_PKS))
#define EVERYTHING(X) (ALL(X) | RARE(X))
#define FEATURES(list)             \
	{                          \
		list(LO), list(HI) \
	}

const struct cpu_model cpu_models[] = {
	{ "default", "x86-64-v3 and all else that Sextant knows (AES, SHA, ADX, RDRAND, PCID, SMAP, ...)",
	  FEATURES(ALL) },
	{ "max", "default, and protection keys", FEATURES(EVERYTHING) },
	{ "x86-64-v3", "the psABI's third level: AVX2, BMI, FMA, F16C, MOVBE", FEATURES(V3) },
	{ "x86-64-v2", "the psABI's second level: SSE4.2, POPCNT, CMPXCHG16B", FEATURES(V2) },
	{ "x86-64", "the psABI's baseline: SSE2", FEATURES(V1) },
	{ 0 },
};

const struct cpu_model *cpu_model_find(const char *name, struct error *err)
{
	char known[256] = "";

	if (!name)
		return &cpu_models[0];
	for (const struct cpu_model *m = cpu_models; m->name; m++) {
		if (!strcmp(m->name, name))
			return m;
		size_t n = strlen(known);
		snprintf(known + n, sizeof(known) - n, "%s%s", n ? ", " : "", m->name);
	}
	error_set(err, EINVAL, "unknown CPU model '%s'; known: %s", name, known);
	return NULL;
}

#define FEATURE_NAME(name) #name,
static const char *const feature_names[NR_FEATURES] = { CPU_FEATURES(FEATURE_NAME) };

/* "tsc-deadline" and "TSC_DEADLINE" are one. */
static bool names_feature(const char *word, size_t len, const char *name)
{
	if (strlen(name) != len)
		return false;
	for (size_t k = 0; k < len; k++)
		if (toupper((unsigned char)word[k]) != name[k] && !(word[k] == '-' && name[k] == '_'))
			return false;
	return true;
}

static int apply(struct cpu_model *m, const char *word, size_t len, struct error *err)
{
	if (len > 1 && (*word == '+' || *word == '-')) {
		for (unsigned f = 0; f < NR_FEATURES; f++) {
			if (!names_feature(word + 1, len - 1, feature_names[f]))
				continue;
			m->feature[f / 64] &= ~BIT(f % 64);
			if (*word == '+')
				m->feature[f / 64] |= BIT(f % 64);
			return 0;
		}
	}
	return error_set(err, EINVAL, "CPU model %s: '%.*s' is no +FEATURE or -FEATURE that is known", m->name,
			 (int)len, word);
}

int cpu_model_parse(struct cpu_model *out, const char *spec, struct error *err)
{
	size_t len = spec ? strcspn(spec, ",") : 0;
	char name[64] = "";
	int r = 0;

	snprintf(name, sizeof(name), "%.*s", (int)len, spec ? spec : "");
	const struct cpu_model *m = cpu_model_find(spec ? name : NULL, err);
	if (!m)
		return -EINVAL;
	*out = *m;
	for (const char *word = spec ? spec + len : ""; !r && *word; word += len) {
		word++;
		len = strcspn(word, ",");
		r = apply(out, word, len, err);
	}
	return r;
}

/* ---- feature words ---- */
enum word { W_1_ECX, W_1_EDX, W_6_EAX, W_7_EBX, W_7_ECX, W_7_EDX, W_D1_EAX, W_EXT_ECX, W_EXT_EDX };

static const struct {
	u8 feature, word, bit;
} bits[] = {
	{ FEAT_SSE3, W_1_ECX, 0 },	    { FEAT_PCLMUL, W_1_ECX, 1 },     { FEAT_MONITOR, W_1_ECX, 3 },
	{ FEAT_SSSE3, W_1_ECX, 9 },	    { FEAT_FMA, W_1_ECX, 12 },	     { FEAT_CX16, W_1_ECX, 13 },
	{ FEAT_PCID, W_1_ECX, 17 },	    { FEAT_SSE41, W_1_ECX, 19 },     { FEAT_SSE42, W_1_ECX, 20 },
	{ FEAT_X2APIC, W_1_ECX, 21 },	    { FEAT_MOVBE, W_1_ECX, 22 },     { FEAT_POPCNT, W_1_ECX, 23 },
	{ FEAT_TSC_DEADLINE, W_1_ECX, 24 }, { FEAT_AES, W_1_ECX, 25 },	     { FEAT_XSAVE, W_1_ECX, 26 },
	{ FEAT_AVX, W_1_ECX, 28 },	    { FEAT_F16C, W_1_ECX, 29 },	     { FEAT_RDRAND, W_1_ECX, 30 },

	{ FEAT_X87, W_1_EDX, 0 },	    { FEAT_VME, W_1_EDX, 1 },	     { FEAT_DE, W_1_EDX, 2 },
	{ FEAT_PSE, W_1_EDX, 3 },	    { FEAT_TSC, W_1_EDX, 4 },	     { FEAT_MSR, W_1_EDX, 5 },
	{ FEAT_PAE, W_1_EDX, 6 },	    { FEAT_MCE, W_1_EDX, 7 },	     { FEAT_CX8, W_1_EDX, 8 },
	{ FEAT_SEP, W_1_EDX, 11 },	    { FEAT_MTRR, W_1_EDX, 12 },	     { FEAT_PGE, W_1_EDX, 13 },
	{ FEAT_MCE, W_1_EDX, 14 },	    { FEAT_CMOV, W_1_EDX, 15 },	     { FEAT_PAT, W_1_EDX, 16 },
	{ FEAT_PSE36, W_1_EDX, 17 },	    { FEAT_CLFLUSH, W_1_EDX, 19 },   { FEAT_MMX, W_1_EDX, 23 },
	{ FEAT_FXSR, W_1_EDX, 24 },	    { FEAT_SSE, W_1_EDX, 25 },	     { FEAT_SSE2, W_1_EDX, 26 },

	{ FEAT_ARAT, W_6_EAX, 2 },

	{ FEAT_FSGSBASE, W_7_EBX, 0 },	    { FEAT_TSC_ADJUST, W_7_EBX, 1 }, { FEAT_BMI1, W_7_EBX, 3 },
	{ FEAT_AVX2, W_7_EBX, 5 },	    { FEAT_SMEP, W_7_EBX, 7 },	     { FEAT_BMI2, W_7_EBX, 8 },
	{ FEAT_ERMS, W_7_EBX, 9 },	    { FEAT_INVPCID, W_7_EBX, 10 },   { FEAT_RDSEED, W_7_EBX, 18 },
	{ FEAT_ADX, W_7_EBX, 19 },	    { FEAT_SMAP, W_7_EBX, 20 },	     { FEAT_CLFLUSHOPT, W_7_EBX, 23 },
	{ FEAT_CLWB, W_7_EBX, 24 },	    { FEAT_SHA, W_7_EBX, 29 },

	{ FEAT_UMIP, W_7_ECX, 2 },	    { FEAT_PKU, W_7_ECX, 3 },	     { FEAT_RDPID, W_7_ECX, 22 },
	{ FEAT_PKS, W_7_ECX, 31 },

	{ FEAT_FSRM, W_7_EDX, 4 },	    { FEAT_SPEC_CTRL, W_7_EDX, 26 }, { FEAT_ARCH_CAPABILITIES, W_7_EDX, 29 },

	{ FEAT_XSAVEOPT, W_D1_EAX, 0 },	    { FEAT_XSAVEC, W_D1_EAX, 1 },    { FEAT_XGETBV1, W_D1_EAX, 2 },
	{ FEAT_XSAVES, W_D1_EAX, 3 },

	{ FEAT_LAHF64, W_EXT_ECX, 0 },	    { FEAT_LZCNT, W_EXT_ECX, 5 },    { FEAT_PREFETCHW, W_EXT_ECX, 8 },

	{ FEAT_SYSCALL, W_EXT_EDX, 11 },    { FEAT_NX, W_EXT_EDX, 20 },	     { FEAT_PDPE1GB, W_EXT_EDX, 26 },
	{ FEAT_RDTSCP, W_EXT_EDX, 27 },	    { FEAT_LM, W_EXT_EDX, 29 },
};

static u32 word_of(const struct cpu_model *m, enum word w)
{
	u32 r = 0;

	for (unsigned k = 0; k < ARRAY_SIZE(bits); k++)
		if (bits[k].word == w && cpu_has(m, (enum feature)bits[k].feature))
			r |= 1u << bits[k].bit;
	return r;
}

void cpuid_limit(u64 feature[2], struct cpuid_regs (*query)(void *arg, u32 leaf, u32 subleaf), void *arg)
{
	const struct cpuid_regs one = query(arg, 1, 0), six = query(arg, 6, 0), seven = query(arg, 7, 0),
				xsave = query(arg, 0xd, 1), ext = query(arg, 0x80000001, 0);
	const u32 word[] = {
		[W_1_ECX] = one.ecx,	[W_1_EDX] = one.edx,   [W_6_EAX] = six.eax,
		[W_7_EBX] = seven.ebx,	[W_7_ECX] = seven.ecx, [W_7_EDX] = seven.edx,
		[W_D1_EAX] = xsave.eax, [W_EXT_ECX] = ext.ecx, [W_EXT_EDX] = ext.edx,
	};

	for (unsigned k = 0; k < ARRAY_SIZE(bits); k++)
		if (!(word[bits[k].word] >> bits[k].bit & 1))
			feature[bits[k].feature / 64] &= ~BIT(bits[k].feature % 64);
}

/* ---- leaves ---- */
static u32 text4(const char *s)
{
	u32 r;

	memcpy(&r, s, 4);
	return r;
}

static unsigned bits_for(u32 n) /* smallest b with 2^b >= n */
{
	unsigned b = 0;

	while ((1ull << b) < n)
		b++;
	return b;
}

static struct cpuid_regs leaf_1(const struct cpu_model *m, const struct cpuid_context *c)
{
	u32 logical = 1u << bits_for(c->cpus);
	struct cpuid_regs r = { .eax = SIGNATURE, .ecx = word_of(m, W_1_ECX), .edx = word_of(m, W_1_EDX) };

	r.ebx = c->apic_id << 24 | (logical & 0xff) << 16 | 8 << 8; /* CLFLUSH line: 8 x 8 bytes */
	r.ecx |= 1u << 31; /* a hypervisor is present */
	if (c->osxsave)
		r.ecx |= 1u << 27;
	if (c->apic_on)
		r.edx |= cpu_has(m, FEAT_APIC) ? 1u << 9 : 0;
	if (c->cpus > 1)
		r.edx |= 1u << 28;
	return r;
}

/* Deterministic cache parameters: L1d, L1i, L2 of each core, and an L3 that all share. */
static struct cpuid_regs leaf_4(const struct cpuid_context *c, u32 sub)
{
	static const struct {
		u8 type, level;
		u16 ways;
		u32 sets;
		bool shared;
	} cache[] = {
		{ 1, 1, 8, 64, false }, { 2, 1, 8, 64, false }, { 3, 2, 16, 2048, false }, { 3, 3, 16, 16384, true }
	};
	u32 ids = 1u << bits_for(c->cpus);

	if (sub >= ARRAY_SIZE(cache))
		return (struct cpuid_regs){ 0 };
	return (struct cpuid_regs){
		.eax = cache[sub].type | (u32)cache[sub].level << 5 | 1u << 8 |
		       (cache[sub].shared ? ids - 1 : 0) << 14 | (MIN(ids, 64u) - 1) << 26,
		.ebx = 63 | (u32)(cache[sub].ways - 1) << 22,
		.ecx = cache[sub].sets - 1,
	};
}

/*
 * MWAIT: extensions enumerated, interrupts break it even when masked; no C-state below C0, so that HLT is what
 * kernels idle with.
 */
static struct cpuid_regs leaf_5(const struct cpu_model *m)
{
	if (!cpu_has(m, FEAT_MONITOR))
		return (struct cpuid_regs){ 0 };
	return (struct cpuid_regs){ .eax = 64, .ebx = 64, .ecx = 3 };
}

/*
 * Subleaf 2 has IA32_SPEC_CTRL's later controls. BHI_CTRL is there because kernels since 2025 do not believe
 * BHI_NO: with it they set a bit once, without it they flush the branch history by hundreds of branches at each
 * system call.
 */
static struct cpuid_regs leaf_7(const struct cpu_model *m, const struct cpuid_context *c, u32 sub)
{
	switch (sub) {
	case 0:
		return (struct cpuid_regs){ .eax = 2,
					    .ebx = word_of(m, W_7_EBX),
					    .ecx = word_of(m, W_7_ECX) | (c->ospke ? 1u << 4 : 0),
					    .edx = word_of(m, W_7_EDX) };
	case 2: return (struct cpuid_regs){ .edx = cpu_has(m, FEAT_SPEC_CTRL) ? 1u << 4 | 1u << 5 /* MCDT_NO */ : 0 };
	default: return (struct cpuid_regs){ 0 };
	}
}

/* One package, one thread a core: x2APIC IDs are the cores' numbers. */
static struct cpuid_regs leaf_b(const struct cpuid_context *c, u32 sub)
{
	struct cpuid_regs r = { .ecx = sub & 0xff, .edx = c->apic_id };

	if (sub == 0) {
		r.ebx = 1;
		r.ecx |= 1 << 8;
	} else if (sub == 1) {
		r.eax = bits_for(c->cpus);
		r.ebx = c->cpus;
		r.ecx |= 2 << 8;
	}
	return r;
}

#define XSAVE_LEGACY	  576u /* legacy area and header */
#define XSAVE_AVX_OFFSET  576u
#define XSAVE_AVX_SIZE	  256u
#define XSAVE_PKRU_OFFSET 2688u /* in the standard format; in the compacted one it follows AVX */
#define XSAVE_PKRU_SIZE	  8u

static u32 xsave_size(u64 components)
{
	if (components & XCR0_PKRU)
		return XSAVE_PKRU_OFFSET + XSAVE_PKRU_SIZE;
	return components & XCR0_AVX ? XSAVE_AVX_OFFSET + XSAVE_AVX_SIZE : XSAVE_LEGACY;
}

static u32 xsave_compact_size(u64 components)
{
	return xsave_size(components & ~XCR0_PKRU) + (components & XCR0_PKRU ? XSAVE_PKRU_SIZE : 0);
}

static struct cpuid_regs leaf_d(const struct cpu_model *m, const struct cpuid_context *c, u32 sub)
{
	bool avx = cpu_has(m, FEAT_AVX);
	u64 all = XCR0_X87 | XCR0_SSE | (avx ? XCR0_AVX : 0) | (cpu_has(m, FEAT_PKU) ? XCR0_PKRU : 0);

	if (!cpu_has(m, FEAT_XSAVE))
		return (struct cpuid_regs){ 0 };
	switch (sub) {
	case 0: return (struct cpuid_regs){ .eax = (u32)all, .ebx = xsave_size(c->xcr0), .ecx = xsave_size(all) };
	case 1: {
		u32 how = word_of(m, W_D1_EAX);
		return (struct cpuid_regs){ .eax = how, .ebx = how & 0xa ? xsave_compact_size(c->xcr0 | c->xss) : 0 };
	}
	case 2:
		return avx ? (struct cpuid_regs){ .eax = XSAVE_AVX_SIZE, .ebx = XSAVE_AVX_OFFSET }
			   : (struct cpuid_regs){ 0 };
	case 9:
		return all & XCR0_PKRU ? (struct cpuid_regs){ .eax = XSAVE_PKRU_SIZE, .ebx = XSAVE_PKRU_OFFSET }
				       : (struct cpuid_regs){ 0 };
	default: return (struct cpuid_regs){ 0 };
	}
}

static u64 gcd(u64 a, u64 b)
{
	while (b) {
		u64 t = a % b;
		a = b;
		b = t;
	}
	return a;
}

/* The crystal is the APIC timer's clock; TSC = crystal * EBX / EAX. Kernels that find all three calibrate nothing. */
static struct cpuid_regs leaf_15(const struct cpuid_context *c)
{
	u64 g = gcd(c->tsc_hz, c->apic_hz);

	if (!g)
		return (struct cpuid_regs){ 0 };
	return (struct cpuid_regs){ .eax = (u32)(c->apic_hz / g), .ebx = (u32)(c->tsc_hz / g), .ecx = (u32)c->apic_hz };
}

static struct cpuid_regs vendor(const struct cpu_model *m, u32 max)
{
	if (cpu_has(m, FEAT_AMD))
		return (struct cpuid_regs){ max, text4("Auth"), text4("cAMD"), text4("enti") };
	return (struct cpuid_regs){ max, text4("Genu"), text4("ntel"), text4("ineI") };
}

static struct cpuid_regs basic(const struct cpu_model *m, const struct cpuid_context *c, u32 leaf, u32 sub)
{
	u32 mhz = (u32)(c->tsc_hz / 1000000);

	switch (leaf) {
	case 0x0: return vendor(m, MAX_BASIC);
	case 0x1: return leaf_1(m, c);
	case 0x2: return (struct cpuid_regs){ .eax = 0x00ff0001 }; /* FFh: see leaf 4 */
	case 0x4: return leaf_4(c, sub);
	case 0x5: return leaf_5(m);
	case 0x6: return (struct cpuid_regs){ .eax = word_of(m, W_6_EAX) };
	case 0x7: return leaf_7(m, c, sub);
	case 0xb: return leaf_b(c, sub);
	case 0xd: return leaf_d(m, c, sub);
	case 0x15: return leaf_15(c);
	case 0x16: return (struct cpuid_regs){ .eax = mhz, .ebx = mhz, .ecx = 100 };
	default: return (struct cpuid_regs){ 0 };
	}
}

static struct cpuid_regs brand(unsigned part)
{
	char text[48] = BRAND;
	struct cpuid_regs r;

	memcpy(&r, text + 16 * part, sizeof(r));
	return r;
}

static struct cpuid_regs extended(const struct cpu_model *m, u32 leaf)
{
	switch (leaf) {
	case 0x80000000:
		return cpu_has(m, FEAT_AMD) ? vendor(m, MAX_EXTENDED) : (struct cpuid_regs){ .eax = MAX_EXTENDED };
	case 0x80000001: return (struct cpuid_regs){ .ecx = word_of(m, W_EXT_ECX), .edx = word_of(m, W_EXT_EDX) };
	case 0x80000002:
	case 0x80000003:
	case 0x80000004: return brand(leaf - 0x80000002);
	case 0x80000006: return (struct cpuid_regs){ .ecx = 2048u << 16 | 8u << 12 | 64 }; /* L2 as in leaf 4 */
	case 0x80000007: return (struct cpuid_regs){ .edx = 1u << 8 }; /* invariant TSC */
	case 0x80000008: return (struct cpuid_regs){ .eax = PHYSICAL_BITS | LINEAR_BITS << 8 };
	default: return (struct cpuid_regs){ 0 };
	}
}

static struct cpuid_regs hypervisor(const struct cpuid_context *c, u32 leaf)
{
	switch (leaf) {
	case HYPERVISOR_BASE:
		return (struct cpuid_regs){ HYPERVISOR_TIMING, text4("Sext"), text4("antV"), text4("MMSx") };
	case HYPERVISOR_TIMING:
		return (struct cpuid_regs){ .eax = (u32)(c->tsc_hz / 1000), .ebx = (u32)(c->apic_hz / 1000) };
	default: return (struct cpuid_regs){ 0 };
	}
}

struct cpuid_regs cpuid_query(const struct cpu_model *model, const struct cpuid_context *ctx, u32 leaf, u32 subleaf)
{
	if (leaf >= HYPERVISOR_BASE && leaf <= HYPERVISOR_BASE + 0xff)
		return hypervisor(ctx, leaf);
	if (leaf >= 0x80000000 && leaf <= MAX_EXTENDED)
		return extended(model, leaf);
	return basic(model, ctx, MIN(leaf, MAX_BASIC), subleaf);
}
