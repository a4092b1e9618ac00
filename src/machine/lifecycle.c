/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From machine_new to machine_free. While it runs a machine has one thread a vCPU, one I/O thread, and the caller of
 * machine_run, who leads them through their phases: all vCPUs are created before any runs, all have stopped before the
 * I/O thread goes, and that is gone before any is destroyed. So nobody ever posts to a vCPU that its engine has not
 * made yet or has already torn down.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "machine/control.h"
#include "machine/inspect.h"
#include "machine/ram.h"
#include "machine/sampler.h"

enum phase { PHASE_CREATE, PHASE_RUN, PHASE_DESTROY };

struct run {
	struct machine *m;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum phase phase; /* what threads may do */
	unsigned arrived; /* threads that wait for the next phase */
	unsigned nthreads; /* vCPU threads that exist */
	pthread_t threads[MACHINE_MAX_CPUS], io;
	struct sampler sampler; /* of a verbose machine */
};

/* ---- making and releasing ---- */

static void first_deadline_moved(void *arg)
{
	struct machine *m = arg;

	vcpu_post(m->vcpu[0], EV_TIMER);
}

static void timers_due(void *arg, u32 events)
{
	struct machine *m = arg;

	clock_run_timers(m->clock);
}

static int create_clock(struct machine *m, struct error *err)
{
	m->clock = clock_new(m->config.deterministic);
	if (!m->clock)
		return error_set(err, errno, "cannot make the machine's clock: %s", strerror(errno));
	if (m->config.deterministic) {
		clock_on_earlier(m->clock, first_deadline_moved, m);
		return 0;
	}
	return loop_watch(m->loop, clock_fd(m->clock), EPOLLIN, timers_due, m, err);
}

static size_t vcpu_size(void)
{
	return (sizeof(struct vcpu) + PAGE_SIZE - 1) & PAGE_MASK;
}

static bool has_room(const struct machine *m)
{
	return m->config.cpus > 1 && m->config.vcpu_room;
}

/* With room behind it, if that is asked for. Zeros. */
static struct vcpu *allocate_vcpu(const struct machine *m)
{
	size_t size = (sizeof(struct vcpu) + 63) & ~63ull;
	struct vcpu *v;

	if (!has_room(m)) {
		v = aligned_alloc(64, size);
		return v ? memset(v, 0, size) : NULL;
	}
	v = mmap(NULL, vcpu_size() + m->config.vcpu_room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		 0);
	if (v == MAP_FAILED)
		return NULL;
	if (mprotect(v, vcpu_size(), PROT_READ | PROT_WRITE) == 0)
		return v;
	munmap(v, vcpu_size() + m->config.vcpu_room);
	return NULL;
}

static void free_vcpu(const struct machine *m, struct vcpu *v)
{
	if (v)
		free(v->engine_stats);
	if (v && has_room(m))
		munmap(v, vcpu_size() + m->config.vcpu_room);
	else
		free(v);
}

static int create_vcpus(struct machine *m, struct error *err)
{
	for (unsigned i = 0; i < m->config.cpus; i++) {
		struct vcpu *v = allocate_vcpu(m);

		if (!v)
			return error_set(err, ENOMEM, "no memory for vCPU %u", i);
		v->machine = m;
		v->id = i;
		v->model = m->config.model;
		m->vcpu[i] = v;
		vcpu_reset(v);
		v->wait_sipi = i != 0;
	}
	return 0;
}

static int create_parts(struct machine *m, struct error *err)
{
	if (!m->config.cpus || m->config.cpus > MACHINE_MAX_CPUS)
		return error_set(err, EINVAL, "a machine has 1 to %d vCPUs, not %u", MACHINE_MAX_CPUS, m->config.cpus);
	if (ram_create(m, err))
		return err->code;
	m->loop = loop_new(err);
	if (!m->loop || create_clock(m, err) || control_create(m, err))
		return err->code;
	return create_vcpus(m, err);
}

static unsigned count_host_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

struct machine *machine_new(const struct machine_config *config, struct error *err)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct error ignored;

	if (!err)
		err = &ignored;
	if (!m) {
		error_set(err, ENOMEM, "no memory for a machine");
		return NULL;
	}
	m->config = *config;
	m->host_cpus = count_host_cpus();
	m->debug.step_interrupts = config->deterministic; /* the run is the same with and without a debugger */
	m->ram_fd = m->control.stop_fd = -1;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	pthread_mutex_init(&m->code_lock, NULL);
	pthread_mutex_init(&m->bus_lock, NULL);
	if (create_parts(m, err)) {
		machine_free(m);
		return NULL;
	}
	return m;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < MACHINE_MAX_CPUS; i++)
		free_vcpu(m, m->vcpu[i]);
	clock_free(m->clock);
	control_destroy(m);
	machine_free_inspects(m);
	loop_free(m->loop);
	ram_destroy(m);
	free((void *)m->written);
	free(m->pio.regions);
	free(m->mmio.regions);
	free(m->report);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->code_lock);
	pthread_mutex_destroy(&m->bus_lock);
	free(m);
}

/* ---- ending ---- */

static void end_with(struct machine *m, enum machine_end why, int status, const struct error *err)
{
	pthread_mutex_lock(&m->lock);
	if (m->end == END_NONE) {
		if (err)
			m->end_error = *err;
		m->end_status = status;
		m->end = why;
		for (unsigned i = 0; i < m->config.cpus; i++)
			vcpu_post(m->vcpu[i], EV_STOP);
		pthread_cond_broadcast(&m->changed);
	}
	pthread_mutex_unlock(&m->lock);
}

void machine_end(struct machine *m, enum machine_end why, int status)
{
	end_with(m, why, status, NULL);
}

void machine_fail(struct machine *m, const struct error *err)
{
	end_with(m, END_FAILED, 0, err);
}

/* ---- running ---- */

/* A vCPU thread is done with its phase and waits for the next. */
static void finish_phase(struct run *r, enum phase next)
{
	pthread_mutex_lock(&r->lock);
	r->arrived++;
	pthread_cond_broadcast(&r->changed);
	while (r->phase < next)
		pthread_cond_wait(&r->changed, &r->lock);
	pthread_mutex_unlock(&r->lock);
}

/* The leader waits until all vCPU threads are done with the phase... */
static void await_all(struct run *r)
{
	pthread_mutex_lock(&r->lock);
	while (r->arrived < r->nthreads)
		pthread_cond_wait(&r->changed, &r->lock);
	r->arrived = 0;
	pthread_mutex_unlock(&r->lock);
}

/* ...and lets them into the next. */
static void enter_phase(struct run *r, enum phase phase)
{
	pthread_mutex_lock(&r->lock);
	r->phase = phase;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

/* Under the lock, as machine_end() may come from a thread that is none of ours. */
static void set_running(struct machine *m, bool running)
{
	pthread_mutex_lock(&m->lock);
	atomic_store(&m->running, running);
	pthread_mutex_unlock(&m->lock);
}

struct vcpu_start {
	struct run *run;
	struct vcpu *v;
};

static void *vcpu_thread(void *arg)
{
	struct vcpu_start start = *(struct vcpu_start *)arg;
	struct vcpu *v = start.v;
	struct machine *m = v->machine;
	const struct vcpu_ops *ops = m->vcpu_ops;
	struct error err = { 0 };
	bool created;

	free(arg);
	vcpu_set_current(v);
	created = ops->create(v, &err) == 0;
	if (!created)
		end_with(m, END_FAILED, 0, &err);
	finish_phase(start.run, PHASE_RUN);
	while (control_enter(v)) {
		if (ops->run(v, &err) < 0)
			end_with(m, END_FAILED, 0, &err);
		control_leave(v);
	}
	finish_phase(start.run, PHASE_DESTROY);
	if (created)
		ops->destroy(v);
	vcpu_set_current(NULL);
	return NULL;
}

static void *io_thread(void *arg)
{
	struct machine *m = arg;

	loop_run(m->loop);
	return NULL;
}

static int start_vcpu_thread(struct run *r, struct vcpu *v, struct error *err)
{
	struct vcpu_start *start = malloc(sizeof(*start));
	int failed;

	if (!start)
		return error_set(err, ENOMEM, "no memory to start vCPU %u", v->id);
	*start = (struct vcpu_start){ r, v };
	failed = pthread_create(&r->threads[r->nthreads], NULL, vcpu_thread, start);
	if (failed) {
		free(start);
		return error_set(err, failed, "cannot start the thread of vCPU %u: %s", v->id, strerror(failed));
	}
	r->nthreads++;
	return 0;
}

/* Signals belong to the thread that called machine_run; those that faults raise stay deliverable for engines that
 * use them. */
static void block_signals(sigset_t *before)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS };
	sigset_t set;

	sigfillset(&set);
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&set, faults[i]);
	pthread_sigmask(SIG_BLOCK, &set, before);
}

/* Returns whether there is an I/O thread. Where a part cannot start the machine has ended, and the phases pass
 * quickly. */
static bool start_threads(struct run *r)
{
	struct machine *m = r->m;
	struct error err = { 0 };
	sigset_t before;
	bool io = false;
	int failed;

	block_signals(&before);
	for (unsigned i = 0; i < m->config.cpus && !err.code; i++)
		if (start_vcpu_thread(r, m->vcpu[i], &err))
			end_with(m, END_FAILED, 0, &err);
	await_all(r);
	if (m->end == END_NONE) {
		set_running(m, true);
		failed = pthread_create(&r->io, NULL, io_thread, m);
		io = !failed;
		if (failed) {
			error_set(&err, failed, "cannot start the I/O thread: %s", strerror(failed));
			end_with(m, END_FAILED, 0, &err);
		}
		if (m->config.verbose && sampler_start(&r->sampler, m, &err))
			end_with(m, END_FAILED, 0, &err);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return io;
}

int machine_run(struct machine *m, const struct vcpu_ops *ops, struct error *err)
{
	struct run r = { .m = m, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	bool io;

	m->vcpu_ops = ops;
	io = start_threads(&r);
	enter_phase(&r, PHASE_RUN);
	await_all(&r);
	if (io) {
		loop_quit(m->loop);
		pthread_join(r.io, NULL);
	}
	sampler_stop(&r.sampler);
	set_running(m, false);
	enter_phase(&r, PHASE_DESTROY);
	for (unsigned i = 0; i < r.nthreads; i++)
		pthread_join(r.threads[i], NULL);
	if (m->end != END_FAILED)
		return 0;
	if (err)
		*err = m->end_error;
	return m->end_error.code ? m->end_error.code : -EIO;
}
