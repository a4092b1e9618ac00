/* SPDX-License-Identifier: Apache-2.0 */
/* CPU models as data: which features a guest sees, and the CPUID leaves made from them (Intel SDM vol. 2, CPUID). */
#pragma once
#include "util/error.h"
#include "util/types.h"
#include "x86/feature.h"

struct cpu_model {
	const char *name; /* as --cpu takes it */
	const char *summary;
	u64 feature[2]; /* bit set by enum feature */
};

/* All models, the default one first; ends with a NULL name. */
extern const struct cpu_model cpu_models[];
/* name NULL is the default. NULL and err ("unknown CPU model ...; known: ...") if there is none of that name. */
const struct cpu_model *cpu_model_find(const char *name, struct error *err);

/* "MODEL", or "MODEL,+FEATURE,-FEATURE...": the model with features added and taken away, by the manuals' names in any case. */
int cpu_model_parse(struct cpu_model *out, const char *spec, struct error *err);

static inline bool cpu_has(const struct cpu_model *c, enum feature f)
{
	return c->feature[f / 64] >> (f % 64) & 1;
}

/* What varies between vCPUs and with their state. */
struct cpuid_context {
	u32 apic_id; /* initial APIC ID */
	u32 cpus; /* vCPUs in the machine, at least 1 */
	u64 tsc_hz; /* leaf 15h, 16h and the hypervisor's timing leaf */
	u64 apic_hz; /* rate of the local APIC timer before its divider */
	bool osxsave; /* CR4.OSXSAVE, shown in leaf 1 */
	bool ospke; /* CR4.PKE, shown in leaf 7 */
	bool apic_on; /* IA32_APIC_BASE.EN, shown in leaf 1 */
	u64 xcr0; /* size of the XSAVE area, leaf Dh */
	u64 xss;
};
struct cpuid_regs {
	u32 eax, ebx, ecx, edx;
};
/* Clears in `feature` what a CPU with these leaves does not have. FEAT_BASE stays. */
void cpuid_limit(u64 feature[2], struct cpuid_regs (*query)(void *arg, u32 leaf, u32 subleaf), void *arg);
/* Leaves above the highest give the highest basic leaf's data, as Intel's CPUs do; the hypervisor range is 40000000h. */
struct cpuid_regs cpuid_query(const struct cpu_model *model, const struct cpuid_context *ctx, u32 leaf, u32 subleaf);
