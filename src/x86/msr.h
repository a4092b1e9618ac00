/* SPDX-License-Identifier: Apache-2.0 */
/* MSR numbers that the project knows (Intel SDM vol. 4; AMD APM vol. 2 app. A for C000_xxxx). */
#pragma once

#define MSR_TSC		      0x10
#define MSR_PLATFORM_ID	      0x17
#define MSR_APIC_BASE	      0x1b
#define MSR_SMI_COUNT	      0x34
#define MSR_FEATURE_CONTROL   0x3a
#define MSR_TSC_ADJUST	      0x3b
#define MSR_SPEC_CTRL	      0x48
#define MSR_PRED_CMD	      0x49
#define MSR_UCODE_LOAD	      0x79
#define MSR_UCODE_REV	      0x8b
#define MSR_PLATFORM_INFO     0xce
#define MSR_MTRRCAP	      0xfe
#define MSR_ARCH_CAPABILITIES 0x10a
#define MSR_MISC_FEATURES     0x140
#define MSR_SYSENTER_CS	      0x174
#define MSR_SYSENTER_ESP      0x175
#define MSR_SYSENTER_EIP      0x176
#define MSR_MCG_CAP	      0x179
#define MSR_MCG_STATUS	      0x17a
#define MSR_MCG_CTL	      0x17b
#define MSR_MISC_ENABLE	      0x1a0
#define MSR_DEBUGCTL	      0x1d9
#define MSR_MTRR_PHYSBASE0    0x200
#define MSR_MTRR_FIX64K	      0x250
#define MSR_MTRR_FIX16K_80000 0x258
#define MSR_MTRR_FIX16K_A0000 0x259
#define MSR_MTRR_FIX4K_C0000  0x268
#define MSR_PAT		      0x277
#define MSR_MTRR_DEF_TYPE     0x2ff
#define MSR_MC0_CTL	      0x400
#define MSR_TSC_DEADLINE      0x6e0
#define MSR_PKRS	      0x6e1
#define MSR_X2APIC_FIRST      0x800
#define MSR_X2APIC_LAST	      0x8ff
#define MSR_XSS		      0xda0
#define MSR_EFER	      0xc0000080
#define MSR_STAR	      0xc0000081
#define MSR_LSTAR	      0xc0000082
#define MSR_K7_EVNTSEL0	      0xc0010000 /* AMD's four event selects and four counters */
#define MSR_CSTAR	      0xc0000083
#define MSR_SFMASK	      0xc0000084
#define MSR_FS_BASE	      0xc0000100
#define MSR_GS_BASE	      0xc0000101
#define MSR_KERNEL_GS_BASE    0xc0000102
#define MSR_TSC_AUX	      0xc0000103
