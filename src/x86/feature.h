/* SPDX-License-Identifier: Apache-2.0 */
/* CPU features that a CPU model has or lacks, by the names of the manuals. FEAT_BASE is what every x86-64 CPU has; FEAT_AMD is
 * the other vendor's name, and where the two differ its ways. */
#pragma once
#include "util/types.h"

/* clang-format off */
#define CPU_FEATURES(X) \
	X(BASE) X(X87) X(TSC) X(MSR) X(CX8) X(SEP) X(CMOV) X(CLFLUSH) X(MMX) X(FXSR) X(SSE) X(SSE2) X(SSE3) X(PCLMUL) \
	X(MONITOR) X(SSSE3) X(FMA) X(CX16) X(SSE41) X(SSE42) X(MOVBE) X(POPCNT) X(AES) X(XSAVE) X(AVX) X(F16C) \
	X(RDRAND) X(FSGSBASE) X(BMI1) X(AVX2) X(BMI2) X(INVPCID) X(PCID) X(SMEP) X(SMAP) X(UMIP) X(ERMS) X(RDSEED) \
	X(ADX) X(CLFLUSHOPT) X(CLWB) X(SHA) X(RDPID) X(XSAVEOPT) X(XSAVEC) X(XGETBV1) X(XSAVES) X(LAHF64) X(LZCNT) \
	X(PREFETCHW) X(SYSCALL) X(NX) X(PDPE1GB) X(RDTSCP) X(LM) X(X2APIC) X(TSC_DEADLINE) X(PGE) X(PSE) X(PAE) \
	X(APIC) X(MTRR) X(PAT) X(DE) X(VME) X(FSRM) X(SPEC_CTRL) X(ARCH_CAPABILITIES) X(TSC_ADJUST) X(PSE36) X(MCE) \
	X(ARAT) X(AMD) X(PKU) X(PKS)

#define FEATURE_ENUM(name) FEAT_##name,
enum feature { CPU_FEATURES(FEATURE_ENUM) NR_FEATURES };
/* clang-format on */
_Static_assert(NR_FEATURES <= 128, "struct cpu_model has 128 bits");
