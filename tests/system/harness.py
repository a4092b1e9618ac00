# SPDX-License-Identifier: Apache-2.0
"""What whole-system tests share: running the executable, tiny assembled guests, root file systems, and TAP.

A test is a function with @test('what it shows'); it fails by raising. Each gets a directory of its own, which is gone
afterwards. SEXTANT_BUILD is the build directory, SEXTANT_TESTS a text, or some with | between, that names of tests to run must have.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get('SEXTANT_BUILD', os.path.join(TOP, 'build'))
SEXTANT = os.path.join(BUILD, 'sextant')
VMM = SEXTANT + '-vmm'  # what it executes for machines
GUEST = os.path.join(BUILD, 'guest')
KERNEL = os.path.join(GUEST, 'vmlinuz')
GENERIC = os.path.join(GUEST, 'vmlinuz-generic')
BUSYBOX = os.path.join(GUEST, 'busybox')
# What runs the guests; -k and the engine's name select nothing, as the same tests are run on each.
ENGINE = os.environ.get('SEXTANT_ENGINE', 'interp')
# In a machine whose CPU is emulated (nested.py): slow, and with two CPUs.
NESTED = bool(os.environ.get('SEXTANT_NESTED'))
# What a hung run is killed after: long before CI's own limit, long after the slowest boot on a loaded machine.
LIMIT = float(os.environ.get('SEXTANT_TEST_LIMIT', '300'))
tests = []


class Skip(Exception):
    pass


def sanitized():
    with open(SEXTANT, 'rb') as f:
        return b'__asan_init' in f.read()


def test(what):
    def add(fn):
        tests.append((what, fn))
        return fn
    return add


class Result:
    def __init__(self, argv, status, out, err, seconds):
        self.argv, self.status, self.out, self.err, self.seconds = argv, status, out, err, seconds

    def __str__(self):
        return (f'$ {" ".join(self.argv)}\nstatus {self.status} after {self.seconds:.1f} s\n'
                f'stdout: {self.out[-1500:]!r}\nstderr: {self.err[-1500:]!r}')

    def text(self):
        """Output as a terminal shows it: the guest's tty may end lines in \\r\\n."""
        return self.out.replace(b'\r\n', b'\n').decode(errors='replace')

    def lines(self):
        return self.err.decode(errors='replace').splitlines()


def sextant(*args, stdin=b'', env=None, limit=LIMIT, cwd=None):
    argv = [SEXTANT, *map(str, args)]
    start = time.monotonic()
    p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd,
                         env=dict(os.environ, **env) if env else None)
    try:
        out, err = p.communicate(stdin, timeout=limit)
    except subprocess.TimeoutExpired:
        p.kill()
        out, err = p.communicate()
        raise AssertionError(f'hung\n{Result(argv, "killed", out, err, time.monotonic() - start)}') from None
    return Result(argv, p.returncode, out, err, time.monotonic() - start)


def expect(result, status=0, out=None):
    assert result.status == status, f'expected status {status}\n{result}'
    if out is not None:
        assert result.text() == out, f'expected output {out!r}\n{result}'
    return result


def refused(result, status, *words):
    """A run that was not started: one line that says why, nothing else."""
    assert result.status == status, f'expected status {status}\n{result}'
    assert result.out == b'', f'output\n{result}'
    assert len(result.lines()) == 1 and result.err.endswith(b'\n'), f'not one line\n{result}'
    assert result.err.startswith(b'sextant: '), f'no "sextant: "\n{result}'
    for w in words:
        assert w.encode() in result.err, f'{w!r} is not in the message\n{result}'
    return result


# ---- tiny guests: 32-bit code entered by the PVH protocol, paging off, flat segments, interrupts off ----

PVH = '''
.section .note.pvh, "a", @note
.balign 4
.long 4, 4, 18
.asciz "Xen"
.long _start
.text
.code32
.globl _start
_start:
        mov $stack, %esp
'''
PVH_END = '''
.bss
.balign 16
.skip 4096
stack:
'''


def assemble(folder, code, name='guest'):
    """Path of an ELF image whose entry runs `code`."""
    base = os.path.join(folder, name)
    with open(base + '.s', 'w', encoding='utf-8') as f:
        f.write(PVH + code + PVH_END)
    subprocess.run(['as', '--32', '-o', base + '.o', base + '.s'], check=True)
    with open(base + '.ld', 'w', encoding='utf-8') as f:
        f.write('SECTIONS { . = 0x101000; .note.pvh : { *(.note.pvh) } .text : { *(.text) } .data : { *(.data) } .bss : { *(.bss) } }')
    subprocess.run(['ld', '-m', 'elf_i386', '-e', '_start', '-T', base + '.ld', '-o', base + '.elf', base + '.o'], check=True,
                   capture_output=True)
    return base + '.elf'


def run_code(folder, code, *options, **kw):
    return sextant('run', '--engine', ENGINE, '--kernel', assemble(folder, code), '--mem', '16M', *options, **kw)


# ---- root file systems ----

def busybox_root(folder):
    """A root with busybox and the usual directories."""
    root = os.path.join(folder, 'root')
    for d in ('bin', 'dev', 'proc', 'sys', 'tmp', 'etc', 'root'):
        os.makedirs(os.path.join(root, d))
    shutil.copy(BUSYBOX, os.path.join(root, 'bin', 'busybox'))
    for applet in subprocess.run([BUSYBOX, '--list'], check=True, capture_output=True, text=True).stdout.split():
        if applet != 'busybox':
            os.symlink('busybox', os.path.join(root, 'bin', applet))
    return root


def copy_program(root, path):
    """Puts a program of the host's and the libraries that it names at their own places below root."""
    wanted = [path]
    listing = subprocess.run(['ldd', path], capture_output=True, text=True, check=False).stdout
    for line in listing.splitlines():
        wanted += [w for w in line.split() if w.startswith('/')]
    for w in wanted:
        to = root + w
        os.makedirs(os.path.dirname(to), exist_ok=True)
        if not os.path.exists(to):
            shutil.copy(os.path.realpath(w), to)


def compile_c(folder, source, *flags):
    out = os.path.join(folder, os.path.basename(source)[:-2])
    subprocess.run(['gcc', '-D_GNU_SOURCE', '-O2', '-static', '-pthread', '-Wall', '-Werror', '-o', out, source, *flags], check=True)
    return out


def rootfs(root, *command, options=(), **kw):
    return sextant('run', '--engine', ENGINE, '--rootfs', root, *options, '--', *command, **kw)


def main():
    pattern = os.environ.get('SEXTANT_TESTS', '')
    # What runs beside the names: a name that the pattern rules out is not run and not counted.
    chosen = [(w, f) for w, f in tests if any(p in f'system: {w}' for p in pattern.split('|'))]
    bad = 0
    for n, (what, fn) in enumerate(chosen, 1):
        folder = tempfile.mkdtemp(prefix='sextant-test-')
        os.chmod(folder, 0o755)
        try:
            fn(folder)
            print(f'ok {n} - {what}', flush=True)
        except Skip as e:
            print(f'ok {n} - {what} # SKIP {e}', flush=True)
        except Exception as e:  # any exception is this test's failure, not the suite's
            bad += 1
            print(f'not ok {n} - {what}', flush=True)
            text = str(e) if isinstance(e, AssertionError) and str(e) else traceback.format_exc()
            print(''.join(f'# {line}\n' for line in text.splitlines()), end='', flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(f'1..{len(chosen)}')
    sys.exit(1 if bad else 0)
