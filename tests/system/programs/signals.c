/* SPDX-License-Identifier: Apache-2.0 */
/* Signals of all kinds: faults that handlers repair or leave by siglongjmp, timers that interrupt arithmetic, nesting,
 * alternate stacks, queued real-time signals. Prints only what timing does not change. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf landing;
static volatile sig_atomic_t ticks, code, order_len, depth, deepest;
static int order[64];
static char *page;
static volatile char *volatile nowhere = (char *)16, *volatile hole = (char *)0x8000000000000000ull;

static void leave(int sig, siginfo_t *info, void *context)
{
	code = info->si_code;
	siglongjmp(landing, sig);
}

static void repair(int sig, siginfo_t *info, void *context)
{
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
	ticks++;
}

static void tick(int sig)
{
	volatile double x = 1.0;

	for (int i = 1; i < 20; i++)
		x = x * i / (i + 0.5); /* the interrupted code's vector registers must survive this */
	ticks++;
}

static void note(int sig, siginfo_t *info, void *context)
{
	order[order_len++] = info->si_value.sival_int;
}

static void nest(int sig)
{
	depth++;
	if (depth > deepest)
		deepest = depth;
	if (depth < 5)
		raise(sig);
	depth--;
}

static void skip_two(int sig, siginfo_t *info, void *context)
{
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
	ticks++;
}

static void handle(int sig, void (*fn)(int, siginfo_t *, void *), int flags)
{
	struct sigaction a = { .sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags };

	sigaction(sig, &a, NULL);
}

static void fault(const char *what, int sig, void (*cause)(void))
{
	int got;

	handle(sig, leave, SA_NODEFER);
	got = sigsetjmp(landing, 1);
	if (!got) {
		cause();
		printf("%s: nothing happened\n", what);
	} else {
		printf("%s: signal %d code %d\n", what, got, code);
	}
}

static void divide(void)
{
	__asm__ volatile("divl %1" : : "a"(1), "r"(0), "d"(0));
}
static void undefined(void)
{
	__asm__ volatile("ud2");
}
static void unmapped(void)
{
	*nowhere = 1;
}
static void read_only(void)
{
	*(volatile char *)page = 1;
}
static void non_canonical(void)
{
	*hole = 1;
}
static void privileged(void)
{
	__asm__ volatile("hlt");
}
static void no_execute(void)
{
	((void (*)(void))page)();
}
static void breakpoint(void)
{
	__asm__ volatile("int3");
}
static void beyond_file(void)
{
	char name[] = "/tmp/sextant-signals-XXXXXX";
	int fd = mkstemp(name);

	unlink(name);
	*(volatile char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) = 1;
}

static void interrupted_arithmetic(void)
{
	struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, off = { 0 };
	double sum = 0;
	uint64_t hash = 1;

	ticks = 0;
	signal(SIGALRM, tick);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 1; i <= 400000; i++) {
		sum += 1.0 / i;
		hash = hash * 6364136223846793005u + (uint64_t)i;
	}
	while (ticks < 5)
		;
	setitimer(ITIMER_REAL, &off, NULL);
	printf("sum %.12f hash %016llx ticked %d\n", sum, (unsigned long long)hash, ticks >= 5);
}

int main(void)
{
	stack_t alt = { .ss_sp = malloc(65536), .ss_size = 65536 };
	sigset_t set, old;
	union sigval v;

	page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaltstack(&alt, NULL);
	fault("divide", SIGFPE, divide);
	fault("undefined", SIGILL, undefined);
	fault("unmapped", SIGSEGV, unmapped);
	fault("read-only", SIGSEGV, read_only);
	fault("non-canonical", SIGSEGV, non_canonical);
	fault("privileged", SIGSEGV, privileged);
	fault("no-execute", SIGSEGV, no_execute);
	fault("breakpoint", SIGTRAP, breakpoint);
	fault("beyond file", SIGBUS, beyond_file);

	ticks = 0;
	handle(SIGSEGV, repair, SA_ONSTACK);
	for (int i = 0; i < 1000; i++) {
		mprotect(page, 4096, PROT_READ);
		page[i] = (char)i;
	}
	printf("repaired %d, last %d\n", ticks, page[999]);

	ticks = 0;
	handle(SIGILL, skip_two, 0);
	for (int i = 0; i < 1000; i++)
		__asm__ volatile("ud2");
	printf("skipped %d\n", ticks);

	interrupted_arithmetic();

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGRTMIN + 1);
	handle(SIGRTMIN, note, 0);
	handle(SIGRTMIN + 1, note, 0);
	sigprocmask(SIG_BLOCK, &set, &old);
	for (int i = 0; i < 10; i++) {
		v.sival_int = i;
		sigqueue(getpid(), i & 1 ? SIGRTMIN + 1 : SIGRTMIN, v);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	printf("queued:");
	for (int i = 0; i < order_len; i++)
		printf(" %d", order[i]);
	printf("\n");

	struct sigaction deep = { .sa_handler = nest, .sa_flags = SA_NODEFER };
	sigaction(SIGUSR1, &deep, NULL);
	for (int i = 0; i < 300; i++)
		raise(SIGUSR1);
	printf("nested %d\n", deepest);

	for (int sig = 1; sig <= 15; sig++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			signal(sig, SIG_DFL);
			kill(getpid(), sig);
			_exit(99);
		}
		waitpid(pid, &status, 0);
		printf("killed by %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	}
	return 0;
}
