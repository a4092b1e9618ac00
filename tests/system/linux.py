# SPDX-License-Identifier: Apache-2.0
"""One Debian kernel's tests: the programs of programs/tasks.sh on the host and in the guest, and the plain initrd's shell."""
import os
import shutil
import subprocess

from harness import ENGINE, GUEST, HERE, Skip, busybox_root, compile_c, copy_program, expect, rootfs, sextant, test

PROGRAMS = os.path.join(HERE, 'programs')


def make_root(folder):
    root = busybox_root(folder)
    for path in ('/usr/bin/sqlite3', '/usr/bin/perl'):
        if not os.path.exists(path):
            raise Skip(f'no {path} on this host')
        copy_program(root, path)
    for name in ('threads', 'signals'):
        shutil.copy(compile_c(folder, os.path.join(PROGRAMS, name + '.c')), os.path.join(root, 'bin'))
    shutil.copy(os.path.join(PROGRAMS, 'tasks.sh'), os.path.join(root, 'tasks.sh'))
    return root


def on_the_host(root, folder):
    work = os.path.join(folder, 'work')
    os.mkdir(work)
    b = os.path.join(root, 'bin')
    r = subprocess.run([os.path.join(b, 'busybox'), 'sh', os.path.join(root, 'tasks.sh')], cwd=work, capture_output=True, text=True,
                       env={'B': os.path.join(b, 'busybox'), 'P': b, 'PATH': '/nonexistent'}, check=False)
    assert '== end' in r.stdout, f'the work failed on the host: {r}'
    return r.stdout


def difference(want, got):
    """The first line that differs, with the part that it is in."""
    part = ''
    for a, b in zip(want.splitlines() + [''], got.splitlines() + ['']):
        if a != b:
            return f'in part {part!r}: expected {a!r}, got {b!r}'
        part = a if a.startswith('== ') else part
    return f'lengths differ: {len(want)} and {len(got)}'


def add(name, kernel):
    @test(f'linux {name}: busybox, sqlite3, perl, threads and signals as on the bare host')
    def programs(folder):
        root = make_root(folder)
        want = on_the_host(root, folder)
        r = rootfs(root, 'sh', '-c', 'mkdir /tmp/there; cd /tmp/there; B=/bin/busybox P=/bin PATH=/nonexistent /bin/sh /tasks.sh',
                   options=['--kernel', kernel, '--mem', '512M'])
        assert r.text() == want, f'{difference(want, r.text())}\n{r}'
        assert r.status == 0, str(r)

    @test(f'linux {name}: the default guest\'s shell runs commands from its console and powers off')
    def shell(folder):
        initrd = os.path.join(GUEST, 'initrd')
        r = sextant('run', '--engine', ENGINE, '--kernel', kernel, '--initrd', initrd, '--append', 'console=ttyS0 quiet', '--timeout', '500',
                    stdin=b'echo sum $((6 * 7))\nps | wc -l\nexit\n')
        expect(r)
        assert 'sum 42' in r.text(), str(r)

    @test(f'linux {name}: boots with little and with much memory')
    def memory(folder):
        root = busybox_root(folder)
        for size, low, high in (('128M', 60000, 131072), ('5G', 4700000, 5242880)):
            out = expect(rootfs(root, 'grep', 'MemTotal', '/proc/meminfo', options=['--kernel', kernel, '--mem', size])).text()
            assert low < int(out.split()[1]) < high, (size, out)

    @test(f'linux {name}: a panic with panic=-1 is a reboot, a missing init does not hang')
    def panic(folder):
        expect(sextant('run', '--engine', ENGINE, '--kernel', kernel, '--append', 'console=ttyS0 quiet panic=-1 root=/dev/none',
                       '--timeout', '300'), 0)
