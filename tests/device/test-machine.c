/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What devices stand on: address dispatch, the clock and its timers, the event loop, and a machine's life with engines
 * made for the occasion: halting, waking, ending from anywhere, engines that fail.
 */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* ---- dispatch ---- */

static u64 echo_offset(void *dev, u64 offset, unsigned size)
{
	return 0x1122334455667788ull + offset;
}

static u64 last_write, writes;

static void note_write(void *dev, u64 offset, unsigned size, u64 value)
{
	last_write = offset << 32 | size << 24 | (value & 0xffffff);
	writes++;
}

static const struct region_ops echo = { echo_offset, note_write };

static void dispatch(void **state)
{
	struct bus b = { 0 };
	struct region r[] = { { 0x100, 8, &echo, NULL, "a", 0 },      { 0x10, 4, &echo, NULL, "b", 0 },
			      { 0x200, 4, &echo, NULL, "narrow", 1 }, { 0x104, 1, &echo, NULL, "overlap", 0 },
			      { ~0ull, 2, &echo, NULL, "wraps", 0 },  { 0x300, 0, &echo, NULL, "empty", 0 } };
	struct error err;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(bus_add(&b, &r[i], &err), 0);
	assert_int_equal(bus_add(&b, &r[3], &err), -EEXIST);
	assert_int_equal(bus_add(&b, &r[4], &err), -EINVAL);
	assert_int_equal(bus_add(&b, &r[5], &err), -EINVAL);
	assert_null(bus_find(&b, 0xff));
	assert_string_equal(bus_find(&b, 0x107)->name, "a");
	assert_null(bus_find(&b, 0x108));
	assert_int_equal(bus_read(&b, 0x102, 2), 0x778a);
	assert_int_equal(bus_read(&b, 0x50, 4), 0xffffffff);
	assert_true(bus_read(&b, 0x50, 8) == ~0ull);
	assert_int_equal(bus_read(&b, 0x12, 4), 0xffff8b8a); /* straddles the end */
	assert_int_equal(bus_read(&b, 0x0e, 4), 0x8988ffff); /* and the beginning */
	assert_int_equal(bus_read(&b, 0x200, 4), 0x8b8a8988); /* an 8-bit device */
	writes = 0;
	bus_write(&b, 0x200, 4, 0x44332211);
	assert_int_equal(writes, 4);
	assert_int_equal(last_write, 3ull << 32 | 1 << 24 | 0x44);
	bus_write(&b, 0x50, 4, 1);
	bus_read(&b, ~0ull, 8); /* wraps around, harmlessly */
	assert_int_equal(writes, 4);
	free(b.regions);
}

/* ---- clock ---- */

static u64 fired[8], nfired;

static void note_fire(void *arg, u64 now)
{
	fired[nfired++ % 8] = (u64)(uintptr_t)arg;
}

static void timers_fire_in_order(void **state)
{
	struct clock *c = clock_new(true);
	struct timer t[3] = { { ~0ull, note_fire, (void *)1 },
			      { ~0ull, note_fire, (void *)2 },
			      { ~0ull, note_fire, (void *)3 } };

	nfired = 0;
	assert_true(clock_next_deadline(c) == ~0ull);
	timer_arm(c, &t[0], 30);
	timer_arm(c, &t[1], 10);
	timer_arm(c, &t[2], 20);
	timer_arm(c, &t[0], 15); /* again, earlier */
	timer_cancel(c, &t[2]);
	timer_cancel(c, &t[2]);
	assert_int_equal(clock_next_deadline(c), 10);
	clock_set(c, 9);
	clock_run_timers(c);
	assert_int_equal(nfired, 0);
	clock_set(c, 100);
	clock_set(c, 50); /* never back */
	assert_int_equal(clock_now(c), 100);
	clock_run_timers(c);
	assert_int_equal(nfired, 2);
	assert_int_equal(fired[0], 2);
	assert_int_equal(fired[1], 1);
	timer_arm(c, &t[2], ~0ull);
	timer_arm(c, &t[2], 5); /* past: fires with the next run, not here */
	assert_int_equal(nfired, 2);
	clock_run_timers(c);
	assert_int_equal(nfired, 3);
	assert_true(t[2].deadline == ~0ull);
	clock_free(c);
}

static void note_io(void *arg, u32 events)
{
	char buf[8];

	if (read(*(int *)arg, buf, sizeof(buf)) > 0)
		nfired++;
}

struct self_stop {
	struct loop *l;
	struct clock *c;
};

static void stop_loop(void *arg, u64 now)
{
	loop_quit(((struct self_stop *)arg)->l);
}

static void run_clock(void *arg, u32 events)
{
	clock_run_timers(((struct self_stop *)arg)->c);
}

static void loop_and_host_clock(void **state)
{
	struct self_stop s = { loop_new(NULL), clock_new(false) };
	struct timer t = { ~0ull, stop_loop, &s };
	struct error err;
	u64 before = clock_now(s.c);
	int fds[2];

	nfired = 0;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(loop_watch(s.l, clock_fd(s.c), EPOLLIN, run_clock, &s, &err), 0);
	assert_int_equal(loop_watch(s.l, fds[0], EPOLLIN, note_io, &fds[0], &err), 0);
	assert_int_equal(loop_watch(s.l, fds[0], EPOLLIN, note_io, &fds[0], &err), -EEXIST);
	loop_rewatch(s.l, fds[0], 0);
	loop_rewatch(s.l, fds[0], EPOLLIN);
	assert_int_equal(write(fds[1], "x", 1), 1);
	timer_arm(s.c, &t, before + 500 * MS);
	timer_arm(s.c, &t, before + 20 * MS);
	loop_run(s.l);
	assert_int_equal(nfired, 1);
	assert_true(clock_now(s.c) - before >= 20 * MS);
	assert_true(clock_now(s.c) - before < 400 * MS);
	loop_unwatch(s.l, fds[0]);
	loop_unwatch(s.l, fds[0]);
	loop_free(s.l);
	clock_free(s.c);
	close(fds[0]);
	close(fds[1]);
}

/* ---- RAM ---- */

static void ram(void **state)
{
	struct machine *m = fixture_machine(1);
	char buf[4] = "abc";

	assert_int_equal(machine_write(m, 0xffc, buf, 4), 0);
	assert_int_equal(machine_read(m, 0xffe, buf, 2), 0);
	assert_memory_equal(buf, "c", 2);
	assert_int_equal(machine_write(m, BIT(24) - 2, buf, 4), -EFAULT);
	assert_int_equal(machine_read(m, BIT(24), buf, 1), -EFAULT);
	assert_int_equal(machine_read(m, ~0ull, buf, 4), -EFAULT);
	assert_int_equal(machine_read(m, 0, buf, ~0ull), -EFAULT);
	machine_free(m);
}

static void impossible_machines(void **state)
{
	struct machine_config c = {
		.ram_size = 0, .cpus = 1, .model = cpu_model_find(NULL, NULL), .deterministic = true
	};
	struct error err = { 0 };

	assert_null(machine_new(&c, &err));
	assert_true(err.code < 0 && err.text[0]);
	c.ram_size = 4097;
	assert_null(machine_new(&c, &err));
	c.ram_size = BIT(60);
	assert_null(machine_new(&c, &err));
	c.ram_size = BIT(20);
	c.cpus = 65;
	assert_null(machine_new(&c, &err));
	c.cpus = 0;
	assert_null(machine_new(&c, &err));
}

/* ---- life ---- */

static _Atomic int created, destroyed, entered, ran;

static int make(struct vcpu *v, struct error *err)
{
	assert_ptr_equal(vcpu_current(), v);
	created++;
	return 0;
}

static void unmake(struct vcpu *v)
{
	destroyed++;
}

/* Halts with the interrupt flag as given; leaves on EV_STOP. */
static int halt_until_stop(struct vcpu *v)
{
	v->halted = true;
	v->wait_sipi = false;
	machine_wait(v);
	return 0;
}

static int halt_deaf(struct vcpu *v, struct error *err)
{
	v->rflags = FL_1;
	entered++;
	halt_until_stop(v);
	ran++;
	assert_true(v->events & EV_STOP);
	return 0;
}

static void *end_soon(void *arg)
{
	do
		nanosleep(&(struct timespec){ .tv_nsec = 200 * MS }, NULL);
	while (entered < 3);
	machine_end(arg, END_USER, 3);
	return NULL;
}

static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct machine *any_machine(unsigned cpus, bool deterministic)
{
	struct machine_config c = {
		.ram_size = BIT(20), .cpus = cpus, .model = cpu_model_find(NULL, NULL), .deterministic = deterministic
	};

	return machine_new(&c, NULL);
}

static void noop(void *arg, u64 now)
{
}

/* Halted for ever with interrupts off, however much is posted and however many timers run: quiet, and ends when
 * told. */
static void dead_guest(void **state)
{
	const struct vcpu_ops ops = { .create = make, .destroy = unmake, .run = halt_deaf };

	for (int deterministic = 0; deterministic < 2; deterministic++) {
		struct machine *m = any_machine(3, deterministic);
		struct timer t = { ~0ull, noop, NULL };
		double before = cpu_seconds();
		pthread_t killer;

		created = destroyed = entered = ran = 0;
		timer_arm(m->clock, &t, 3600 * SEC);
		vcpu_post(m->vcpu[0], EV_INTR | EV_TLB | EV_CODE | EV_TIMER);
		assert_int_equal(pthread_create(&killer, NULL, end_soon, m), 0);
		assert_int_equal(machine_run(m, &ops, NULL), 0);
		pthread_join(killer, NULL);
		assert_int_equal(m->end, END_USER);
		assert_int_equal(m->end_status, 3);
		assert_int_equal(created, 3);
		assert_int_equal(destroyed, 3);
		assert_int_equal(ran, 3);
		assert_true(cpu_seconds() - before < 0.1);
		machine_free(m);
	}
}

static int fails_to_start(struct vcpu *v, struct error *err)
{
	return v->id == 1 ? error_set(err, ENODEV, "no engine for vCPU 1") : make(v, err);
}

static int must_not_run(struct vcpu *v, struct error *err)
{
	ran++;
	return 0;
}

static void engine_that_cannot_be_made(void **state)
{
	const struct vcpu_ops ops = { .create = fails_to_start, .destroy = unmake, .run = must_not_run };
	struct machine *m = any_machine(3, false);
	struct error err = { 0 };

	created = destroyed = entered = ran = 0;
	assert_int_equal(machine_run(m, &ops, &err), -ENODEV);
	assert_string_equal(err.text, "no engine for vCPU 1");
	assert_int_equal(m->end, END_FAILED);
	assert_int_equal(created, 2);
	assert_int_equal(destroyed, 2);
	assert_int_equal(ran, 0);
	machine_free(m);
}

static int gives_up(struct vcpu *v, struct error *err)
{
	if (v->id == 0)
		return error_set(err, EIO, "cannot go on");
	return halt_deaf(v, err);
}

static void engine_that_gives_up(void **state)
{
	const struct vcpu_ops ops = { .create = make, .destroy = unmake, .run = gives_up };
	struct machine *m = any_machine(2, false);
	struct error err = { 0 };

	assert_int_equal(machine_run(m, &ops, &err), -EIO);
	assert_string_equal(err.text, "cannot go on");
	machine_free(m);
}

/* Ping-pong of NMIs: each vCPU halts until the other wakes it. A lost wake-up hangs. */
#define ROUNDS 20000
static _Atomic unsigned served;

static int ping_pong(struct vcpu *v, struct error *err)
{
	struct vcpu *other = v->machine->vcpu[!v->id];

	v->rflags = FL_1;
	v->halted = true;
	v->wait_sipi = false;
	if (v->id == 0 && !served)
		vcpu_post(other, EV_NMI);
	while (!(atomic_load(&v->events) & EV_STOP)) {
		machine_wait(v);
		if (!(atomic_fetch_and(&v->events, ~EV_NMI) & EV_NMI))
			continue;
		if (++served >= ROUNDS)
			machine_end(v->machine, END_POWEROFF, 0);
		vcpu_post(other, EV_NMI);
	}
	return 0;
}

static void no_wake_up_is_lost(void **state)
{
	const struct vcpu_ops ops = { .create = make, .destroy = unmake, .run = ping_pong };
	struct machine *m = any_machine(2, false);

	served = 0;
	assert_int_equal(machine_run(m, &ops, NULL), 0);
	assert_true(served >= ROUNDS);
	assert_int_equal(m->end, END_POWEROFF);
	machine_free(m);
}

/* A guest that sleeps by timer interrupt: by hand through the real interrupt controllers. */
static int sleeper(struct vcpu *v, struct error *err)
{
	struct machine *m = v->machine;

	writel(m, LAPIC_BASE + 0xf0, 0x1ff);
	writel(m, LAPIC_BASE + 0x3e0, 0xb);
	writel(m, LAPIC_BASE + 0x320, 0x20040);
	writel(m, LAPIC_BASE + 0x380, 1000000);
	v->rflags = FL_1 | FL_IF;
	for (unsigned i = 0; i < 50; i++) {
		v->halted = true;
		machine_wait(v);
		assert_true(atomic_load(&v->events) & EV_INTR);
		assert_int_equal(m->intc->acknowledge(v), 0x40);
		writel(m, LAPIC_BASE + 0xb0, 0);
	}
	machine_end(m, END_POWEROFF, 0);
	return 0;
}

static void timer_wakes(void **state)
{
	const struct vcpu_ops ops = { .create = make, .destroy = unmake, .run = sleeper };

	for (int deterministic = 0; deterministic < 2; deterministic++) {
		struct machine *m = any_machine(1, deterministic);
		struct device *intc = intc_new(m, NULL);
		struct timespec a, b;
		u64 ms;

		clock_gettime(CLOCK_MONOTONIC, &a);
		assert_int_equal(machine_run(m, &ops, NULL), 0);
		clock_gettime(CLOCK_MONOTONIC, &b);
		ms = (u64)(b.tv_sec - a.tv_sec) * 1000 + (u64)(b.tv_nsec / 1000000) - (u64)(a.tv_nsec / 1000000);
		if (deterministic) {
			assert_int_equal(clock_now(m->clock), 50 * MS);
			assert_true(ms < 40); /* time skipped */
		} else {
			assert_true(clock_now(m->clock) >= 45 * MS);
		}
		device_destroy(intc);
		machine_free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dispatch),
		cmocka_unit_test(timers_fire_in_order),
		cmocka_unit_test(loop_and_host_clock),
		cmocka_unit_test(ram),
		cmocka_unit_test(impossible_machines),
		cmocka_unit_test(dead_guest),
		cmocka_unit_test(engine_that_cannot_be_made),
		cmocka_unit_test(engine_that_gives_up),
		cmocka_unit_test(no_wake_up_is_lost),
		cmocka_unit_test(timer_wakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
