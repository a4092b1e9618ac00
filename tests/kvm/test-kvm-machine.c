/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test-kvm-machine GUEST: what only a program can ask of a machine on /dev/kvm. The guest, tests/asm/ticks.S, counts ticks of two
 * timers in memory; it is run by KVM, then goes on in the interpreter, then in KVM again: the interrupt controllers' and timers'
 * state has to come along each way. Meanwhile the pages that it writes are asked for. Prints "ok WHAT" and "not ok WHAT".
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "boot/boot.h"
#include "devices/pci/pci.h"
#include "engines/interp/interp.h"
#include "engines/kvm/kvm.h"
#include "machine/control.h"
#include "machine/offload.h"
#include "platform/pc/pc.h"

#define RAM	     (64ull << 20)
#define BOARD	     0x50000
#define PAGES	     0x60000
#define TICKS	     12
#define HOPS	     2
#define DISTURBANCES 200

struct board {
	u32 unused, hold, apic, pit, rounds;
};
struct running {
	struct machine *m;
	const struct engine *engine;
	pthread_t thread;
	struct error err;
	int failed;
};

static int bad;

static void say(bool ok, const char *what, const struct error *err)
{
	printf("%sok machine: %s\n", ok ? "" : "not ", what);
	if (!ok && err && err->text[0])
		printf("# %s\n", err->text);
	fflush(stdout);
	bad += !ok;
}

static volatile struct board *board(struct machine *m)
{
	return (volatile struct board *)ram_ptr(m, BOARD, sizeof(struct board));
}

static void *run(void *arg)
{
	struct running *r = arg;

	r->failed = machine_run(r->m, r->engine->vcpu, &r->err);
	return NULL;
}

static void start(struct running *r, struct machine *m, const struct engine *e)
{
	*r = (struct running){ .m = m, .engine = e };
	if (pthread_create(&r->thread, NULL, run, r))
		abort();
	while (!atomic_load(&m->running) && m->end == END_NONE)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static bool stop(struct running *r)
{
	machine_end(r->m, END_USER, 0);
	pthread_join(r->thread, NULL);
	r->m->end = END_NONE;
	return !r->failed;
}

/* Both timers tick on; some two minutes are no hurry. */
static bool ticks(struct machine *m)
{
	u32 apic = board(m)->apic, pit = board(m)->pit;

	for (unsigned n = 0; n < 120000 && m->end == END_NONE; n++) {
		if (board(m)->apic - apic >= TICKS && board(m)->pit - pit >= TICKS)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	printf("# from %u and %u to %u and %u\n", apic, pit, board(m)->apic, board(m)->pit);
	return false;
}

static bool in_engine(struct machine *m, const struct engine *e, struct running *r)
{
	start(r, m, e);
	bool ok = ticks(m);

	return stop(r) && ok;
}

static bool has(const u64 *bitmap, u64 gpa)
{
	return bitmap[gpa >> PAGE_SHIFT >> 6] >> (gpa >> PAGE_SHIFT & 63) & 1;
}

static void written_pages(struct machine *m)
{
	u64 *bitmap = calloc(ram_bitmap_words(m), sizeof(*bitmap));
	struct error err = { 0 };
	bool all = true, others = false;
	u32 round, zero = 0;

	say(!machine_log_writes(m, true, &err), "writes can be logged", &err);
	machine_take_written(m, bitmap, &err);
	memset(bitmap, 0, ram_bitmap_words(m) * sizeof(*bitmap));
	round = board(m)->rounds;
	while (board(m)->rounds - round < 10 && m->end == END_NONE)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	machine_write(m, 0x200000, &zero, sizeof(zero)); /* as a device does */
	bool took = !machine_take_written(m, bitmap, &err);
	for (unsigned i = 0; i < 8; i++)
		all &= has(bitmap, PAGES + i * PAGE_SIZE);
	for (u64 gpa = 0x300000; gpa < RAM; gpa += PAGE_SIZE)
		others |= has(bitmap, gpa);
	say(took && all && has(bitmap, BOARD) && has(bitmap, 0x200000) && !others,
	    "the pages that the guest and devices wrote are told, and no others", &err);
	say(!machine_log_writes(m, false, &err), "logging ends", &err);
	free(bitmap);
}

/* What a monitor shows is the kernel's state, not what the devices had before. */
static void looks(struct machine *m)
{
	struct irqchip_state s;
	struct lapic_state l;

	m->offload->pull(m);
	m->intc->irqchip->save(m, &s);
	m->intc->irqchip->save_lapic(m->vcpu[0], &l);
	say((s.ioapic.redirection[2] & 0x1ffff) == 0x50 && (s.pit[0].control & 0xf) == 4 && s.pit[0].reload == 2386 &&
		    l.reg[0x32] == 0x20040 && l.reg[0x38] == 2000000 && l.reg[0x39] <= 2000000 && s.pic[0].imr == 0xff,
	    "the controllers' state is there while the guest runs", NULL);
}

/* Held, looked at and kicked at whatever moment: nothing of it stops the guest. */
static void disturb(struct machine *m)
{
	unsigned seed = 1;
	u32 rounds = board(m)->rounds;

	for (unsigned i = 0; i < DISTURBANCES && m->end == END_NONE; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = rand_r(&seed) % 3000000 }, NULL);
		switch (rand_r(&seed) % 3) {
		case 0:
			machine_hold(m, HOLD_LOOK);
			nanosleep(&(struct timespec){ .tv_nsec = rand_r(&seed) % 300000 }, NULL);
			machine_release(m, HOLD_LOOK);
			break;
		case 1: m->offload->pull(m); break;
		default: vcpu_post(m->vcpu[0], EV_TLB);
		}
	}
	say(m->end == END_NONE && board(m)->rounds != rounds && ticks(m),
	    "it goes on after 200 holds, looks and kicks at random moments", NULL);
}

static unsigned count_lines(const char *path)
{
	FILE *f = fopen(path, "r");
	unsigned n = 0;

	for (int c; f && (c = getc(f)) != EOF;)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static unsigned count_files(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static struct machine *make(const struct cpu_model *model, const char *guest, struct error *err)
{
	struct machine_config mc = { .ram_size = RAM, .cpus = 1, .model = model, .private_ram = true };
	struct machine *m = machine_new(&mc, err);
	struct pc_config pc = { .debug_exit = true };

	if (!m || pc_create(m, &pc, err))
		return NULL;
	struct boot_config bc = { .kernel = guest, .firmware = pc_firmware(m) };
	if (boot_load(m, &bc, err))
		return NULL;
	board(m)->hold = 1;
	return m;
}

/* A machine that was made, run and released has left nothing in the process. */
static void leaves_nothing(const struct cpu_model *model, const char *guest)
{
	unsigned files = 0, maps = 0;
	bool same = true;

	for (unsigned i = 0; i < 6; i++) {
		struct error err = { 0 };
		struct machine *m = make(model, guest, &err);
		struct running r;

		same &= m && in_engine(m, &engine_kvm, &r);
		if (m) {
			pc_destroy(m);
			machine_free(m);
		}
		if (i == 1) {
			files = count_files();
			maps = count_lines("/proc/self/maps");
		}
	}
	/* The allocator may have cut a mapping of its own in two. */
	same &= count_files() == files && count_lines("/proc/self/maps") <= maps + 3;
	say(same, "machines that have gone leave no file and no mapping", NULL);
	if (!same)
		printf("# files: %u, then %u; mappings: %u, then %u\n", files, count_files(), maps,
		       count_lines("/proc/self/maps"));
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	struct cpu_model model;
	struct running r;

	if (argc != 2 || cpu_model_parse(&model, NULL, &err))
		return 2;
	engine_kvm.limit_features(model.feature);
	struct machine *m = make(&model, argv[1], &err);
	say(m, "it is made", &err);
	if (!m)
		return 1;
	start(&r, m, &engine_kvm);
	say(ticks(m), "timers tick in the kernel", &r.err);
	looks(m);
	written_pages(m);
	disturb(m);
	say(stop(&r), "it stops", &r.err);
	for (unsigned i = 0; i < HOPS; i++) {
		say(in_engine(m, &engine_interp, &r), "the interpreter goes on from KVM, with both timers", &r.err);
		say(in_engine(m, &engine_kvm, &r), "KVM goes on from the interpreter, with both timers", &r.err);
	}
	board(m)->hold = 0;
	start(&r, m, &engine_kvm);
	pthread_join(r.thread, NULL);
	say(m->end == END_DEBUG_EXIT && m->end_status == 0, "the guest finds all registers as it has set them", &r.err);
	pc_destroy(m);
	machine_free(m);
	leaves_nothing(&model, argv[1]);
	return bad ? 1 : 0;
}
