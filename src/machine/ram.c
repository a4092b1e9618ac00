/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM: one memfd mapped once, so that other processes (vhost-user, snapshots) can share it; or, where nobody has to, private
 * memory, for which hosts have huge pages where for files they mostly do not. Host memory is taken when the guest first touches
 * a page. What does not fit below LOW_RAM_LIMIT continues at 4 GiB; the mapping has no hole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/ram.h"

#define HUGE_PAGE (2ull << 20)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* Aligned, so that a huge page of the guest can be one of the host's. */
static u8 *map_aligned(u64 size, int prot)
{
	u8 *p = mmap(NULL, size + HUGE_PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	u64 before = -(u64)p & (HUGE_PAGE - 1);

	if (p == MAP_FAILED)
		return p;
	if (before)
		munmap(p, before);
	p += before;
	munmap(p + size, HUGE_PAGE - before);
	return p;
}

static int map_shared(struct machine *m, u64 size, struct error *err)
{
	u8 *place;

	m->ram_fd = memfd_create("sextant-ram", MFD_CLOEXEC);
	if (m->ram_fd < 0)
		return error_set(err, errno, "cannot create guest RAM: %s", strerror(errno));
	if (ftruncate(m->ram_fd, (off_t)size) < 0)
		return error_set(err, errno, "cannot size guest RAM to %llu MiB: %s", (unsigned long long)size >> 20,
				 strerror(errno));
	m->ram = place = map_aligned(size, PROT_NONE);
	if (place != MAP_FAILED)
		m->ram = mmap(place, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, m->ram_fd,
			      0);
	if (m->ram == MAP_FAILED && place != MAP_FAILED)
		munmap(place, size);
	return 0;
}

/* Processes that we start get none of it. */
static void map_private(struct machine *m, u64 size)
{
	m->ram = map_aligned(size, PROT_READ | PROT_WRITE);
	if (m->ram == MAP_FAILED)
		return;
	madvise(m->ram, size, MADV_HUGEPAGE);
	madvise(m->ram, size, MADV_DONTFORK);
}

int ram_create(struct machine *m, struct error *err)
{
	u64 size = m->config.ram_size, pages = size >> PAGE_SHIFT;

	if (!size || size & ~PAGE_MASK || size > BIT(GPA_BITS) - HIGH_RAM_BASE)
		return error_set(err, EINVAL, "RAM size %llu is not a possible number of pages",
				 (unsigned long long)size);
	m->low_size = MIN(size, LOW_RAM_LIMIT);
	m->high_size = size - m->low_size;
	if (m->config.private_ram)
		map_private(m, size);
	else if (map_shared(m, size, err))
		return err ? err->code : -ENOMEM;
	if (m->ram == MAP_FAILED) {
		m->ram = NULL;
		return error_set(err, errno, "cannot map %llu MiB of guest RAM: %s", (unsigned long long)size >> 20,
				 strerror(errno));
	}
	m->populated = mmap(NULL, (size >> RAM_CHUNK_SHIFT) + 1, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->populated == MAP_FAILED) {
		m->populated = NULL;
		return error_set(err, errno, "no memory for the table of used RAM: %s", strerror(errno));
	}
	void *table = mmap(NULL, 9 * pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (table == MAP_FAILED)
		return error_set(err, errno, "no memory for the table of code pages: %s", strerror(errno));
	m->code_cpus = table;
	m->code_pages = (_Atomic u8 *)table + 8 * pages;
	return 0;
}

void ram_destroy(struct machine *m)
{
	if (m->populated)
		munmap((void *)m->populated, (m->config.ram_size >> RAM_CHUNK_SHIFT) + 1);
	if (m->code_pages)
		munmap((void *)m->code_cpus, 9 * (m->config.ram_size >> PAGE_SHIFT));
	if (m->ram)
		munmap(m->ram, m->config.ram_size);
	if (m->ram_fd >= 0)
		close(m->ram_fd);
}

/* Whatever the host's settings for shared memory say. It takes a millisecond, and where the host has no huge page, nothing happens. */
void ram_make_huge(struct machine *m, u64 offset)
{
	u64 begin = offset & ~(HUGE_PAGE - 1);

	if (m->config.ram_size - begin >= HUGE_PAGE)
		madvise(m->ram + begin, HUGE_PAGE, MADV_COLLAPSE);
}

/* Before Linux 5.14, or short of memory, it fails, and each page faults as it is touched. */
void ram_populate(struct machine *m, const u8 *host, u64 len)
{
	u64 first = (u64)(host - m->ram) >> RAM_CHUNK_SHIFT, last = (u64)(host - m->ram + len) >> RAM_CHUNK_SHIFT;
	u64 begin = first << RAM_CHUNK_SHIFT;

	madvise(m->ram + begin, MIN((last + 1) << RAM_CHUNK_SHIFT, m->config.ram_size) - begin, MADV_POPULATE_WRITE);
	for (u64 chunk = first; chunk <= last; chunk++)
		atomic_store_explicit(&m->populated[chunk], 1, memory_order_relaxed);
}

/* Chunks that were given back whole: their next use takes all pages at once again. One that lost only some of its pages is
 * left to single faults, as populating it would bring them all back. */
static void forget_chunks(struct machine *m, const u8 *host, u64 len)
{
	u64 chunk = 1ull << RAM_CHUNK_SHIFT, begin = (u64)(host - m->ram), end = begin + len;

	for (u64 at = (begin + chunk - 1) & ~(chunk - 1); at < end; at += chunk)
		if (end - at >= chunk || end == m->config.ram_size)
			atomic_store_explicit(&m->populated[at >> RAM_CHUNK_SHIFT], 0, memory_order_relaxed);
}

static int give_back(struct machine *m, u8 *host, u64 len)
{
	if (m->ram_fd < 0)
		return madvise(host, len, MADV_DONTNEED);
	return fallocate(m->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, host - m->ram, (off_t)len);
}

/* The mapping stays, so whoever still has a pointer into the range, be it a TLB or a system call, finds zeros there. */
int ram_discard(struct machine *m, u64 gpa, u64 len)
{
	u64 begin = (gpa + PAGE_SIZE - 1) & PAGE_MASK, end = (gpa + len) & PAGE_MASK;
	u8 *host;

	if (gpa + len < gpa || !ram_ptr(m, gpa, len))
		return -EFAULT;
	if (begin >= end)
		return 0;
	host = ram_ptr(m, begin, end - begin);
	if (give_back(m, host, end - begin) < 0)
		return -errno;
	forget_chunks(m, host, end - begin);
	machine_written(m, host, end - begin);
	return 0;
}

int machine_read(struct machine *m, u64 gpa, void *buf, u64 len)
{
	const u8 *p = ram_ptr(m, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

static bool has_code(const struct machine *m, u64 first, u64 last)
{
	for (u64 page = first; page <= last; page++)
		if (atomic_load_explicit(&m->code_pages[page], memory_order_relaxed) & PAGE_HAS_CODE)
			return true;
	return false;
}

static void note_written(struct machine *m, u64 first, u64 last)
{
	_Atomic u64 *bits = atomic_load_explicit(&m->written, memory_order_acquire);

	for (u64 page = first; bits && page <= last; page++)
		atomic_fetch_or_explicit(&bits[page / 64], BIT(page % 64), memory_order_relaxed);
}

/*
 * The fence pairs with the engines': they mark a page before they read what to decode, we read the mark after the bytes are
 * there, so one of both sees the other's. The lock keeps the vCPUs from being torn down under a device's own thread.
 */
void machine_written(struct machine *m, const void *host, u64 len)
{
	u64 offset = (u64)((const u8 *)host - m->ram);
	u64 gpa = ram_gpa(m, host);

	if (unlikely(m->tap))
		m->tap->written(m->tap, host, len);
	if (len)
		note_written(m, offset >> PAGE_SHIFT, (offset + len - 1) >> PAGE_SHIFT);
	atomic_thread_fence(memory_order_seq_cst);
	if (!len || !has_code(m, offset >> PAGE_SHIFT, (offset + len - 1) >> PAGE_SHIFT))
		return;
	pthread_mutex_lock(&m->lock);
	if (atomic_load(&m->running) && m->vcpu_ops->memory_changed)
		for (unsigned i = 0; i < m->config.cpus; i++)
			m->vcpu_ops->memory_changed(m->vcpu[i], gpa, len);
	pthread_mutex_unlock(&m->lock);
}

int machine_write(struct machine *m, u64 gpa, const void *buf, u64 len)
{
	u8 *p = ram_ptr(m, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	machine_written(m, p, len);
	return 0;
}
