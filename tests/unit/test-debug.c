/* SPDX-License-Identifier: Apache-2.0 */
/* Debugging below the packets: holding and stepping a machine that runs, time meanwhile, points, registers, text, inspection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "debug/debug.h"
#include "debug/memory.h"
#include "debug/regs.h"
#include "engines/engine.h"
#include "machine/control.h"
#include "machine/inspect.h"

#define CODE	0x1000u
#define COUNTER 0x2000u

struct running {
	struct machine *m;
	pthread_t thread;
};

static struct machine *new_machine(bool deterministic)
{
	struct machine_config c = {
		.ram_size = 1 << 20, .cpus = 1, .model = cpu_model_find(NULL, NULL), .deterministic = deterministic
	};
	struct error err = { 0 };
	struct machine *m = machine_new(&c, &err);

	assert_non_null(m);
	return m;
}

/* Real mode: incw [COUNTER]; nop; jmp back. */
static int boot(void *arg, struct error *err)
{
	static const u8 code[] = { 0xff, 0x06, 0x00, 0x20, 0x90, 0xeb, 0xf9 };
	struct machine *m = arg;
	struct vcpu *v = m->vcpu[0];

	memcpy(m->ram + CODE, code, sizeof(code));
	memset(m->ram + COUNTER, 0, 2);
	v->seg[SEG_CS].base = v->seg[SEG_CS].selector = 0;
	v->rip = CODE;
	return 0;
}

static void *run(void *arg)
{
	struct running *r = arg;
	struct error err = { 0 };

	assert_int_equal(machine_run(r->m, engine_find("interp", true, &err)->vcpu, &err), 0);
	return NULL;
}

static void start(struct running *r, bool deterministic)
{
	r->m = new_machine(deterministic);
	r->m->boot = boot;
	r->m->boot_arg = r->m;
	boot(r->m, NULL);
	machine_hold(r->m, HOLD_USER);
	assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
}

static void end(struct running *r)
{
	machine_end(r->m, END_USER, 0);
	pthread_join(r->thread, NULL);
	machine_free(r->m);
}

static u16 counter(const struct machine *m)
{
	return *(const volatile u16 *)(m->ram + COUNTER);
}

static void wait_for_stop(struct machine *m)
{
	while (!machine_held(m))
		usleep(1000);
	machine_hold(m, HOLD_USER);
}

static void step(struct machine *m)
{
	machine_go(m, 0, 1, false);
	wait_for_stop(m);
	assert_int_equal(m->vcpu[0]->debug.stop, STOP_STEP);
}

static void holds_and_steps(void **state)
{
	struct running r;
	u16 at;

	start(&r, false);
	usleep(20000);
	assert_int_equal(counter(r.m), 0);
	step(r.m);
	assert_int_equal(counter(r.m), 1);
	assert_int_equal(r.m->vcpu[0]->rip, CODE + 4);
	step(r.m);
	step(r.m);
	assert_int_equal(r.m->vcpu[0]->rip, CODE);
	machine_go(r.m, ALL_VCPUS, 0, false);
	while (counter(r.m) < 100)
		usleep(1000);
	machine_hold(r.m, HOLD_LOOK);
	machine_hold(r.m, HOLD_LOOK);
	at = counter(r.m);
	machine_release(r.m, HOLD_LOOK);
	usleep(20000);
	assert_int_equal(counter(r.m), at);
	machine_release(r.m, HOLD_LOOK);
	while (counter(r.m) == at)
		usleep(1000);
	end(&r);
}

static void breakpoints(void **state)
{
	struct debug_point p = { .gla = CODE + 4, .len = 1, .kind = POINT_HARDWARE };
	struct running r;

	start(&r, true);
	assert_int_equal(machine_add_point(r.m, &p), 0);
	for (u16 n = 1; n < 4; n++) {
		machine_go(r.m, ALL_VCPUS, 0, true);
		wait_for_stop(r.m);
		assert_int_equal(r.m->vcpu[0]->debug.stop, STOP_BREAK);
		assert_int_equal(r.m->vcpu[0]->rip, CODE + 4);
		assert_int_equal(counter(r.m), n);
	}
	/* Deterministic time counts what was executed, however often it was stopped: three a round, less two at the end. */
	assert_int_equal(clock_now(r.m->clock), 7);
	machine_clear_points(r.m);
	p = (struct debug_point){ .gla = COUNTER + 1, .len = 1, .kind = POINT_WRITE };
	assert_int_equal(machine_add_point(r.m, &p), 0);
	machine_go(r.m, ALL_VCPUS, 0, true);
	wait_for_stop(r.m);
	assert_int_equal(r.m->vcpu[0]->debug.stop, STOP_WATCH);
	assert_int_equal(r.m->vcpu[0]->debug.watch_gla, COUNTER + 1);
	assert_int_equal(counter(r.m), 4);
	end(&r);
}

static void resets(void **state)
{
	struct running r;

	start(&r, false);
	machine_go(r.m, ALL_VCPUS, 0, false);
	while (counter(r.m) < 100)
		usleep(1000);
	machine_hold(r.m, HOLD_USER);
	r.m->vcpu[0]->r[RBX] = 5;
	r.m->ram[CODE] = 0x90; /* the loader puts it right, and decoded code must not be what it was */
	assert_int_equal(machine_reset(r.m), 0);
	assert_int_equal(r.m->vcpu[0]->r[RBX], 0);
	assert_int_equal(counter(r.m), 0);
	assert_true(machine_held(r.m));
	step(r.m);
	assert_int_equal(counter(r.m), 1);
	end(&r);
}

static void no_reset(void **state)
{
	struct machine *m = new_machine(false);

	assert_true(machine_reset(m) < 0);
	machine_free(m);
}

static void fired(void *arg, u64 now)
{
	*(int *)arg += 1;
}

static void time_stands(void **state)
{
	struct clock *c = clock_new(false);
	int count = 0;
	struct timer t = { .deadline = ~0ull, .fire = fired, .arg = &count };
	u64 at;

	clock_stop(c);
	at = clock_now(c);
	timer_arm(c, &t, at + 1000000);
	usleep(20000);
	assert_int_equal(clock_now(c), at);
	clock_run_timers(c);
	assert_int_equal(count, 0);
	clock_start(c);
	assert_true(clock_now(c) - at < 5 * NSEC_PER_SEC);
	while (clock_now(c) < at + 1000000)
		usleep(1000);
	clock_run_timers(c);
	assert_int_equal(count, 1);
	clock_free(c);
}

static void points_have_numbers(void **state)
{
	struct machine *m = new_machine(false);
	struct debug_point a = { 0x1234, 1, POINT_SOFTWARE }, b = { 0x5678, 1, POINT_HARDWARE },
			   w = { 0x9000, 16, POINT_ACCESS };
	u64 one, two;

	assert_int_equal(m->debug.breaks, 0);
	machine_add_point(m, &a);
	one = m->debug.breaks;
	machine_add_point(m, &b);
	two = m->debug.breaks;
	assert_true(one && two && one != two);
	assert_int_equal(m->debug.watches, 0);
	machine_add_point(m, &w);
	assert_int_equal(m->debug.breaks, two);
	assert_true(machine_breaks_at(m, 0x1234) && !machine_breaks_at(m, 0x1235) && !machine_breaks_at(m, 0x9000));
	assert_true(machine_breaks_at_offset(m, 0x678) && !machine_breaks_at_offset(m, 0));
	machine_remove_point(m, &a);
	machine_add_point(m, &a);
	machine_add_point(m, &a);
	assert_int_equal(m->debug.breaks, two);
	machine_remove_point(m, &b);
	assert_int_equal(m->debug.breaks, one);
	machine_remove_point(m, &a);
	machine_remove_point(m, &w);
	assert_int_equal(m->debug.breaks | m->debug.watches, 0);
	machine_free(m);
}

static bool set(struct vcpu *v, const struct reg_set *s, const char *name, u64 value)
{
	u8 bytes[REG_MAX_BYTES] = { 0 };

	memcpy(bytes, &value, 8);
	return debug_reg_write(v, reg_find(s, name), bytes);
}

static void registers(void **state)
{
	struct machine *m = new_machine(false);
	struct vcpu *v = m->vcpu[0];
	struct reg_set wide, narrow;

	reg_set_build(&wide, true, m->config.model);
	reg_set_build(&narrow, false, m->config.model);
	assert_null(reg_find(&narrow, "rax"));
	assert_null(reg_find(&wide, ""));
	assert_true(set(v, &wide, "r15", 0x123456789abcdef0));
	assert_int_equal(v->r[R15], 0x123456789abcdef0);
	assert_true(set(v, &narrow, "eax", 0xfffffffffull));
	assert_int_equal(v->r[RAX], 0xffffffff);
	/* Real mode: a selector is its base. */
	assert_true(set(v, &wide, "ds", 0x1234));
	assert_int_equal(v->seg[SEG_DS].base, 0x12340);
	assert_false(set(v, &wide, "cr0", v->cr0 | CR0_PG | CR0_PE));
	assert_false(set(v, &wide, "cr4", CR4_PAE));
	assert_false(set(v, &wide, "efer", EFER_LME));
	assert_false(set(v, &wide, "eflags", FL_1 | FL_VM));
	assert_false(set(v, &wide, "fs_base", 0x8000000000000000));
	assert_false(set(v, &wide, "rip", 0x100000000));
	assert_true(set(v, &wide, "eflags", FL_1 | FL_CF | FL_TF));
	v->x87.sw = 3 << 11;
	assert_true(set(v, &wide, "st0", 0x8000000000000000));
	assert_int_equal(v->x87.fpr[3].m, 0x8000000000000000);
	/* What was due at one place is not at another. */
	v->event = (struct cpu_event){ .valid = true, .type = EVENT_EXCEPTION, .vector = EXC_PF };
	v->halted = true;
	assert_true(set(v, &wide, "rip", 0x7c00));
	assert_false(v->event.valid || v->halted);
	machine_free(m);
}

static void say(void *arg, struct text *out)
{
	text_puts(out, arg);
}

static void take(void *arg, const char *args, struct text *out)
{
	text_printf(out, "%s took '%s'", (const char *)arg, args);
}

static void parts_tell(void **state)
{
	struct machine *m = new_machine(false);
	struct inspect i = { .name = "balloon", .help = "a part", .info = say, .command = take, .arg = "the part" };
	struct error err = { 0 };
	struct monitor *mon;
	struct text_buffer b;

	assert_int_equal(machine_add_inspect(m, &i, &err), 0);
	mon = monitor_new(m, &err);
	text_buffer_init(&b, 20);
	monitor_line(mon, "  info balloon \n", &b.text);
	assert_string_equal(b.data, "the part");
	monitor_line(mon, "balloon  64 M", &b.text);
	assert_string_equal(b.data, "the partthe part too");
	assert_int_equal(b.lost, 8);
	text_buffer_free(&b);
	monitor_free(mon);
	machine_free(m);
}

static void memory_across_pages(void **state)
{
	struct machine *m = new_machine(false);
	struct vcpu *v = m->vcpu[0];
	u8 buf[16];

	/* 32-bit tables: page 0 is at 3000h, page 1 at 1000h, page 2 is not there. */
	v->cr0 |= CR0_PE | CR0_PG;
	v->cr3 = 0x8000;
	*(u32 *)(m->ram + 0x8000) = 0x9000 | PTE_P;
	*(u32 *)(m->ram + 0x9000) = 0x3000 | PTE_P;
	*(u32 *)(m->ram + 0x9004) = 0x1000 | PTE_P;
	vcpu_update_mode(v);
	assert_int_equal(debug_write(v, LINEAR, 0xffe, "abcd", 4), 4);
	assert_memory_equal(m->ram + 0x3ffe, "ab", 2);
	assert_memory_equal(m->ram + 0x1000, "cd", 2);
	assert_int_equal(debug_read(v, LINEAR, 0x1ff8, buf, 16), 8);
	assert_int_equal(debug_read(v, LINEAR, 0x2000, buf, 16), 0);
	assert_int_equal(debug_read(v, PHYSICAL, 0x3ffe, buf, 2), 2);
	assert_memory_equal(buf, "ab", 2);
	assert_int_equal(debug_read(v, PHYSICAL, ~0ull - 4, buf, 16), 0);
	assert_int_equal(*(u32 *)(m->ram + 0x9000) & PTE_A, 0);
	machine_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_and_steps), cmocka_unit_test(breakpoints), cmocka_unit_test(resets),
		cmocka_unit_test(no_reset),	   cmocka_unit_test(time_stands), cmocka_unit_test(points_have_numbers),
		cmocka_unit_test(registers),	   cmocka_unit_test(parts_tell),  cmocka_unit_test(memory_across_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
