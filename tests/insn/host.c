/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle: a child process that runs each case on the host CPU. Everything goes through signal frames: the handler notes
 * what the frame says (registers, flags, XSAVE image, trap number, error code, CR2), then rewrites the frame with the next
 * case's state and returns into it. No trampoline, nothing to save by hand, one signal a case.
 *
 * The child is expendable. A seccomp filter lets only three system call instructions through, told by their addresses;
 * any other gives SIGSYS, which ends the case. What runs in the handler uses no thread-local storage and no
 * libc, as FS and GS are the cases'.
 */
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "case.h"
#include "util/cleanup.h"
#include "x86/feature.h"

#define BARE __attribute__((no_sanitize("address", "undefined"), no_stack_protector))

struct host {
	struct exchange *x;
	int to_child, from_child; /* pipes, a byte a batch */
	pid_t pid;
};

/* ---- in the child ---- */
/* The child's own: there is no way to pass an argument to a signal handler. */
static struct {
	struct exchange *x; /* x->next: the case to be started; the one before it is running */
	int in, out;
	bool started, running;
	u64 done, seen; /* cases so far, and as of the last alarm */
	u8 *code; /* writable alias of the code pages */
	unsigned dirty_off, dirty_len;
	u8 stack[65536] __attribute__((aligned(64)));
} child;

/* Addresses behind the only system calls that the filter allows. */
extern const char host_sys_return[], host_sys_io[];
void host_restorer(void);
long host_io(long nr, long fd, void *p, long n);
void host_entry(int sig, siginfo_t *info, void *frame);
void host_handler(int sig, siginfo_t *info, void *frame);

/* The handler's flags are the interrupted ones, AC and NT too: start from clean ones. */
__asm__(".text\n"
	"host_entry:\n"
	"	pushq $0x202\n"
	"	popfq\n"
	"	jmp host_handler\n"
	"host_restorer:\n"
	"	movl $15, %eax\n" /* rt_sigreturn */
	"	syscall\n"
	"host_sys_return:\n"
	"	hlt\n"
	"host_io:\n"
	"	movq %rdi, %rax\n"
	"	movq %rsi, %rdi\n"
	"	movq %rdx, %rsi\n"
	"	movq %rcx, %rdx\n"
	"	syscall\n"
	"host_sys_io:\n"
	"	ret\n");

BARE static void copy(void *to, const void *from, u64 n)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

/* XSAVE's standard format, as signal frames have it (SDM vol. 1, 13.4): legacy area, header at 512, AVX at 576. */
struct frame_fp {
	u16 cw, sw;
	u8 tag, rsvd;
	u16 fop;
	u64 fip, fdp;
	u32 mxcsr, mxcsr_mask;
	u8 st[8][16];
	u8 xmm[16][16];
	u8 unused[96];
	u64 xstate_bv, xcomp_bv;
	u8 header[48];
	u8 ymmh[16][16];
};
_Static_assert(offsetof(struct frame_fp, ymmh) == 576, "XSAVE layout");

static const u8 gregs[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
			      REG_R8,  REG_R9,	REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

BARE static void take_state(struct image *to, const ucontext_t *uc)
{
	const struct frame_fp *fp = (const struct frame_fp *)uc->uc_mcontext.fpregs;
	bool x87 = fp->xstate_bv & 1, sse = fp->xstate_bv & 2, avx = fp->xstate_bv & 4;

	for (unsigned k = 0; k < 16; k++)
		to->r[k] = (u64)uc->uc_mcontext.gregs[gregs[k]];
	to->rip = (u64)uc->uc_mcontext.gregs[REG_RIP];
	to->rflags = (u64)uc->uc_mcontext.gregs[REG_EFL];
	to->mxcsr = fp->mxcsr;
	to->x87.cw = x87 ? fp->cw : 0x37f;
	to->x87.sw = x87 ? fp->sw : 0;
	to->x87.tag = x87 ? fp->tag : 0;
	for (unsigned k = 0; k < 8; k++) {
		to->x87.st[k].m = 0;
		to->x87.st[k].e = 0;
		if (x87)
			copy(&to->x87.st[k], fp->st[k], 10);
	}
	for (unsigned k = 0; k < 16; k++) {
		for (unsigned b = 0; b < 32; b++)
			to->v[k][b] = 0;
		if (sse)
			copy(to->v[k], fp->xmm[k], 16);
		if (avx)
			copy(to->v[k] + 16, fp->ymmh[k], 16);
	}
}

BARE static void give_state(ucontext_t *uc, const struct image *from)
{
	struct frame_fp *fp = (struct frame_fp *)uc->uc_mcontext.fpregs;

	for (unsigned k = 0; k < 16; k++)
		uc->uc_mcontext.gregs[gregs[k]] = (greg_t)from->r[k];
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)from->rip;
	uc->uc_mcontext.gregs[REG_EFL] = (greg_t)from->rflags;
	fp->xstate_bv = 7;
	fp->mxcsr = from->mxcsr;
	fp->cw = from->x87.cw;
	fp->sw = from->x87.sw;
	fp->tag = from->x87.tag;
	fp->fop = 0;
	fp->fip = fp->fdp = 0;
	for (unsigned k = 0; k < 8; k++)
		copy(fp->st[k], &from->x87.st[k], 10);
	for (unsigned k = 0; k < 16; k++) {
		copy(fp->xmm[k], from->v[k], 16);
		copy(fp->ymmh[k], from->v[k] + 16, 16);
	}
}

BARE static void finish_case(int sig, const ucontext_t *uc)
{
	struct outcome *o = &child.x->out[child.x->next - 1];

	o->how = sig == SIGALRM ? HOW_HANG : sig == SIGSYS ? HOW_SYSCALL : HOW_FAULT;
	o->vector = (u8)uc->uc_mcontext.gregs[REG_TRAPNO];
	o->error = (u32)uc->uc_mcontext.gregs[REG_ERR];
	o->cr2 = (u64)uc->uc_mcontext.gregs[REG_CR2];
	take_state(&o->out, uc);
	copy(o->data, (void *)DATA_GLA, DATA_LEN);
	child.running = false;
	child.done++;
}

BARE static void put_code(const struct testcase *t)
{
	for (unsigned k = 0; k < child.dirty_len; k++)
		child.code[child.dirty_off + k] = CODE_FILL;
	copy(child.code + t->code_off, t->code, t->code_len);
	child.dirty_off = t->code_off;
	child.dirty_len = t->code_len;
}

BARE void host_handler(int sig, siginfo_t *info, void *frame)
{
	ucontext_t *uc = frame;
	char byte = 0;

	if (sig == SIGALRM && (!child.running || child.done != child.seen)) {
		child.seen = child.done;
		return;
	}
	if (child.running)
		finish_case(sig, uc);
	if (!child.started || child.x->next == child.x->count) {
		child.started = true;
		if (host_io(SYS_write, child.out, &byte, 1) != 1 || host_io(SYS_read, child.in, &byte, 1) != 1)
			host_io(SYS_exit_group, 0, NULL, 0); /* the parent has closed its end */
	}
	const struct testcase *t = &child.x->in[child.x->next++];
	put_code(t);
	copy((void *)DATA_GLA, t->data, DATA_LEN);
	give_state(uc, &t->in);
	child.running = true;
}

struct kernel_sigaction {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

static bool take_signals(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGALRM };
	struct kernel_sigaction sa = { .handler = host_entry,
				       .flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | 0x04000000 /* SA_RESTORER */,
				       .restorer = host_restorer,
				       .mask = 1ul << (SIGALRM - 1) };
	stack_t stack = { .ss_sp = child.stack, .ss_size = sizeof(child.stack) };

	if (sigaltstack(&stack, NULL))
		return false;
	for (unsigned k = 0; k < ARRAY_SIZE(signals); k++)
		if (syscall(SYS_rt_sigaction, signals[k], &sa, NULL, 8))
			return false;
	return true;
}

/* System calls are told by the address behind the instruction. */
static bool confine(void)
{
	u64 ret = (u64)host_sys_return, io = (u64)host_sys_io;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (u32)(ret >> 32), 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (u32)ret, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (u32)io, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(filter), filter };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static bool map_fixed(int fd, u64 gla, u64 len, u64 off, int prot)
{
	void *p = mmap((void *)gla, len, prot, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd, (off_t)off);
	return p == (void *)gla;
}

/* All pages are touched, so that what faults then is the case's doing and not the kernel's paging. */
static bool map_memory(void)
{
	_cleanup_fd_ int fd = memfd_create("insn-test", MFD_CLOEXEC);
	u64 total = CODE_LEN + DATA_LEN + RO_LEN;

	if (fd < 0 || ftruncate(fd, (off_t)total))
		return false;
	u8 *all = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (all == MAP_FAILED)
		return false;
	memset(all, CODE_FILL, CODE_LEN);
	for (unsigned k = 0; k < RO_LEN; k++)
		all[CODE_LEN + DATA_LEN + k] = (u8)(k * 37 + (k >> 8));
	child.code = all;
	return map_fixed(fd, CODE_GLA, CODE_LEN, 0, PROT_READ | PROT_EXEC) &&
	       map_fixed(fd, DATA_GLA, DATA_LEN, CODE_LEN, PROT_READ | PROT_WRITE) &&
	       map_fixed(fd, RO_GLA, RO_LEN, CODE_LEN + DATA_LEN, PROT_READ);
}

static _Noreturn void child_main(struct host *h, int in, int out)
{
	/* A case that our side calls finite and the host does not ends here. */
	struct itimerval watchdog = { .it_interval = { 5, 0 }, .it_value = { 5, 0 } };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	child.x = h->x;
	child.in = in;
	child.out = out;
	if (!map_memory() || !take_signals() || setitimer(ITIMER_REAL, &watchdog, NULL))
		_exit(2);
	if (!confine())
		_exit(3);
	/* From here on FS is not libc's. */
	host_io(SYS_arch_prctl, ARCH_SET_GS, (void *)GS_BASE, 0);
	host_io(SYS_arch_prctl, ARCH_SET_FS, (void *)FS_BASE, 0);
	__asm__ volatile("int3");
	__builtin_trap();
}

/* ---- in the parent ---- */
static bool spawn(struct host *h)
{
	int down[2], up[2];

	if (pipe2(down, O_CLOEXEC))
		return false;
	if (pipe2(up, O_CLOEXEC)) {
		close(down[0]), close(down[1]);
		return false;
	}
	fflush(NULL);
	h->pid = fork();
	if (h->pid == 0) {
		close(down[1]), close(up[0]);
		child_main(h, down[0], up[1]);
	}
	close(down[0]), close(up[1]);
	h->to_child = down[1];
	h->from_child = up[0];
	return h->pid > 0;
}

/* Waits for the child's byte: the batch is done, or at first that it is ready. */
static bool await(struct host *h)
{
	struct pollfd p = { .fd = h->from_child, .events = POLLIN };
	char byte;
	int n;

	do
		n = poll(&p, 1, 60000);
	while (n < 0 && errno == EINTR);
	return n > 0 && read(h->from_child, &byte, 1) == 1;
}

static void reap(struct host *h)
{
	close(h->to_child);
	close(h->from_child);
	if (h->pid > 0) {
		kill(h->pid, SIGKILL);
		waitpid(h->pid, NULL, 0);
	}
	h->pid = 0;
}

struct host *host_start(void)
{
	_cleanup_free_ struct host *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->x = mmap(NULL, sizeof(*h->x), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (h->x == MAP_FAILED || !spawn(h))
		return NULL;
	if (!await(h)) {
		reap(h);
		return NULL;
	}
	return steal_ptr(h);
}

struct exchange *host_exchange(struct host *h)
{
	return h->x;
}

bool host_run(struct host *h)
{
	struct exchange *x = h->x;

	x->next = 0;
	while (x->next < x->count) {
		if (write(h->to_child, "", 1) == 1 && await(h))
			continue;
		/* The running case took the child along. */
		if (x->next)
			x->out[x->next - 1].how = HOW_DIED;
		reap(h);
		if (!spawn(h) || !await(h))
			return false;
	}
	return true;
}

void host_stop(struct host *h)
{
	reap(h);
	munmap(h->x, sizeof(*h->x));
	free(h);
}

/* ---- what the host has ---- */
bool host_has(unsigned feature)
{
	enum { A, B, C, D };
	static const struct {
		u32 leaf;
		u8 sub, reg, bit;
	} where[NR_FEATURES] = {
		[FEAT_CX8] = { 1, 0, D, 8 },
		[FEAT_CMOV] = { 1, 0, D, 15 },
		[FEAT_CLFLUSH] = { 1, 0, D, 19 },
		[FEAT_MMX] = { 1, 0, D, 23 },
		[FEAT_FXSR] = { 1, 0, D, 24 },
		[FEAT_SSE] = { 1, 0, D, 25 },
		[FEAT_SSE2] = { 1, 0, D, 26 },
		[FEAT_SSE3] = { 1, 0, C, 0 },
		[FEAT_PCLMUL] = { 1, 0, C, 1 },
		[FEAT_SSSE3] = { 1, 0, C, 9 },
		[FEAT_FMA] = { 1, 0, C, 12 },
		[FEAT_CX16] = { 1, 0, C, 13 },
		[FEAT_SSE41] = { 1, 0, C, 19 },
		[FEAT_SSE42] = { 1, 0, C, 20 },
		[FEAT_MOVBE] = { 1, 0, C, 22 },
		[FEAT_POPCNT] = { 1, 0, C, 23 },
		[FEAT_AES] = { 1, 0, C, 25 },
		[FEAT_XSAVE] = { 1, 0, C, 27 },
		[FEAT_AVX] = { 1, 0, C, 28 },
		[FEAT_F16C] = { 1, 0, C, 29 },
		[FEAT_RDRAND] = { 1, 0, C, 30 },
		[FEAT_FSGSBASE] = { 7, 0, B, 0 },
		[FEAT_BMI1] = { 7, 0, B, 3 },
		[FEAT_AVX2] = { 7, 0, B, 5 },
		[FEAT_BMI2] = { 7, 0, B, 8 },
		[FEAT_RDSEED] = { 7, 0, B, 18 },
		[FEAT_ADX] = { 7, 0, B, 19 },
		[FEAT_CLFLUSHOPT] = { 7, 0, B, 23 },
		[FEAT_CLWB] = { 7, 0, B, 24 },
		[FEAT_SHA] = { 7, 0, B, 29 },
		[FEAT_RDPID] = { 7, 0, C, 22 },
		[FEAT_XSAVEOPT] = { 13, 1, A, 0 },
		[FEAT_XSAVEC] = { 13, 1, A, 1 },
		[FEAT_XGETBV1] = { 13, 1, A, 2 },
		[FEAT_LAHF64] = { 0x80000001, 0, C, 0 },
		[FEAT_LZCNT] = { 0x80000001, 0, C, 5 },
		[FEAT_PREFETCHW] = { 0x80000001, 0, C, 8 },
		[FEAT_RDTSCP] = { 0x80000001, 0, D, 27 },
	};
	u32 r[4] = { 0 };

	if (!where[feature].leaf)
		return true;
	__get_cpuid_count(where[feature].leaf, where[feature].sub, &r[0], &r[1], &r[2], &r[3]);
	return r[where[feature].reg] >> where[feature].bit & 1;
}
