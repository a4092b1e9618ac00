# SPDX-License-Identifier: Apache-2.0
"""Runs a script where /dev/kvm is: on this host if it has one that the engine takes, else in a machine with an emulated CPU.

That machine is QEMU without acceleration; its TCG emulates AMD's SVM, so the Linux inside has a working /dev/kvm. A boot takes
seconds of CPU time, and guests inside run some fifty times slower than a PC's: one boot does many checks, and nothing there may
depend on time. Three serial ports: the kernel's console, what the script prints, and its status.
"""
import contextlib
import glob
import os
import shutil
import subprocess
import time

from harness import BUILD, BUSYBOX, GUEST, SEXTANT, TOP, VMM, Skip

HYPERVISOR = os.path.join(GUEST, 'hypervisor')
QEMU = 'qemu-system-x86_64'
# No la57: static programs of the C library abort there. No SMP timers to check: a busy host makes the check fail.
STILL, STARTS = 400, 3  # seconds without a word, machines
MACHINE = [QEMU, '-accel', 'tcg,thread=multi', '-machine', 'q35', '-cpu', 'max,+svm,-la57', '-smp', '2', '-m', '1536', '-nodefaults',
           '-no-user-config', '-display', 'none', '-no-reboot']
APPEND = 'console=ttyS0 quiet panic=-1 mitigations=off no_timer_check cryptomgr.notests'
INIT = '''#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts /tmp
mount -t tmpfs tmp /dev/shm
mount -t devpts pts /dev/pts
ln -s /proc/self/fd /dev/fd
ifconfig lo 127.0.0.1 up
stty -F /dev/ttyS1 raw -echo
stty -F /dev/ttyS2 raw -echo
for m in irqbypass kvm ccp kvm-amd @DRIVERS@; do
	[ ! -f /modules/$m.ko ] || insmod /modules/$m.ko
done
@START@ </dev/null >/dev/ttyS1 2>&1
echo "status $?" >/dev/ttyS2
poweroff -f
'''
IN_PAYLOAD = 'cd /payload; sh /script'
# The whole host's files, not to be written, with the kernel's own file systems and an empty /tmp over them.
DRIVERS = 'virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci fuse virtiofs'
IN_HOST_ROOT = '''host() {
	mkdir /host /root2
	mount -t virtiofs host /host && mount -t tmpfs -o mode=755 root /root2 || return 1
	for d in /host/*; do
		n=/root2/${d#/host/}
		case ${d#/host/} in
		dev | proc | sys) mkdir $n; mount --rbind /${d#/host/} $n ;;
		tmp | run) mkdir -m 1777 $n ;;
		*) if [ -L $d ]; then cp -P $d $n; elif [ -d $d ]; then mkdir $n; mount --bind $d $n; fi ;;
		esac
	done
	mkdir -p "/root2@TOP@" "/root2@BUILD@"
	mount --bind "/host@TOP@" "/root2@TOP@"
	mount --bind "/host@BUILD@" "/root2@BUILD@"
	cp /script /root2/tmp/script
	chroot /root2 /bin/sh /tmp/script
}
host'''
VIRTIOFSD = '/usr/lib/qemu/virtiofsd'


def host_has_kvm():
    out = subprocess.run([SEXTANT, 'engines'], capture_output=True, text=True, check=True).stdout
    return any(line.split()[0] == 'kvm' and line.split()[-1] == 'yes' for line in out.splitlines())


# What sextant loads when it needs it (src/util/lazy.h).
LAZY = ('libslirp.so.0', 'libnbd.so.0', 'libz.so.1', 'liblzma.so.5', 'liblz4.so.1', 'libzstd.so.1')


def libraries(program):
    known = subprocess.run(['/sbin/ldconfig', '-p'], capture_output=True, text=True, check=True).stdout
    lazy = [line.split()[-1] for line in known.splitlines() if line.split()[0] in LAZY and 'x86-64' in line]
    listing = subprocess.run(['ldd', program, *lazy], capture_output=True, text=True, check=True).stdout
    return sorted({w for line in listing.splitlines() for w in line.split() if w.startswith('/') and not w.endswith(':')} | set(lazy))


def lay_out(root, payload, script):
    """What the machine has in memory. payload: a directory that is the script's; None: it runs among the host's files."""
    for d in ('bin', 'dev', 'etc', 'modules', 'proc', 'sys', 'tmp', 'root'):
        os.makedirs(os.path.join(root, d), exist_ok=True)
    shutil.copy(BUSYBOX, os.path.join(root, 'bin', 'busybox'))
    os.symlink('busybox', os.path.join(root, 'bin', 'sh'))
    for name in os.listdir(HYPERVISOR):
        if name.endswith('.ko'):
            shutil.copy(os.path.join(HYPERVISOR, name), os.path.join(root, 'modules'))
    if payload:
        for path in libraries(VMM):
            to = root + path
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy(os.path.realpath(path), to)
        shutil.copytree(payload, os.path.join(root, 'payload'), symlinks=True)
        start, drivers = IN_PAYLOAD, ''
    else:
        start, drivers = IN_HOST_ROOT.replace('@TOP@', TOP).replace('@BUILD@', os.path.realpath(BUILD)), DRIVERS
        for name in glob.glob(os.path.join(GUEST, 'modules', '*-cloud-*', '*.ko')):
            shutil.copy(name, os.path.join(root, 'modules'))
    init = INIT.replace('@START@', start).replace('@DRIVERS@', drivers)
    for path, text in (('init', init), ('script', script)):
        with open(os.path.join(root, path), 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(os.path.join(root, path), 0o755)


def tail(path, lines=30):
    with open(path, encoding='utf-8', errors='replace') as f:
        return ''.join(f.readlines()[-lines:])


class HostFiles:
    """QEMU's options for a machine that sees the host's files."""
    def __init__(self, folder):
        if os.geteuid() or not os.path.exists(VIRTIOFSD):
            raise Skip(f'only root can start {VIRTIOFSD}, which has to be there')
        self.socket = os.path.join(folder, 'files')

    def __enter__(self):
        self.server = subprocess.Popen([VIRTIOFSD, f'--socket-path={self.socket}', '-o', 'source=/,cache=always,sandbox=chroot,log_level=err'],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.exists(self.socket) and self.server.poll() is None:
            time.sleep(0.05)
        return ['-m', '3072', '-object', 'memory-backend-memfd,id=ram,size=3072M,share=on', '-machine', 'memory-backend=ram',
                '-chardev', f'socket,id=files,path={self.socket}', '-device', 'vhost-user-fs-pci,chardev=files,tag=host']

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket)


def stands_still(argv, growing, limit):
    """Runs it until it ends, or the limit, which the status that is not there tells of. True: nothing has grown for so long that both CPUs
    of the emulated machine must be in vain: seen once in some twenty runs, both in QEMU's code for interrupts while a guest that was killed goes away, so
    that the script's own limits do not come either. What a check hangs in is told by those."""
    began = grew = time.monotonic()
    size = 0
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as p:
        try:
            while p.poll() is None and time.monotonic() < min(began + limit, grew + STILL):
                time.sleep(0.5)
                now = sum(os.path.getsize(f) for f in growing if os.path.exists(f))
                if now != size:
                    size, grew = now, time.monotonic()
            return p.poll() is None and time.monotonic() < began + limit
        finally:
            p.kill()


def in_a_machine(folder, payload, script, limit):
    if not shutil.which(QEMU):
        raise Skip(f'{QEMU} is not installed')
    if not os.path.exists(os.path.join(HYPERVISOR, 'kvm-amd.ko')):
        raise Skip('there is no kernel with KVM for AMD CPUs: `scripts/guest DIR --tests` gets one from its package')
    root, initrd = os.path.join(folder, 'machine'), os.path.join(folder, 'initrd')
    console, output, status = (os.path.join(folder, n) for n in ('console', 'output', 'status'))
    lay_out(root, payload, script)
    # Not compressed: to unpack it costs more there than to load it.
    with open(initrd, 'wb') as f:
        names = subprocess.run(['find', '.'], cwd=root, capture_output=True, check=True).stdout
        subprocess.run(['cpio', '--quiet', '-o', '-H', 'newc', '-R', '0:0'], cwd=root, input=names, stdout=f, check=True)
    shutil.rmtree(root)
    serial = [w for p in (console, output, status) for w in ('-serial', 'file:' + p)]
    files = HostFiles(folder) if not payload else contextlib.nullcontext([])
    argv = [*MACHINE, '-kernel', os.path.join(HYPERVISOR, 'vmlinuz'), '-initrd', initrd, '-append', APPEND, *serial]
    for _ in range(STARTS):
        with files as options:
            stood = stands_still([*argv, *options], (console, output), limit)
        if not stood:
            break
        print('# the emulated machine stood still', flush=True)
    ended = tail(status).strip()
    return tail(output, 100000), ended == 'status 0', f'the machine ended with {ended!r}; its console:\n{tail(console)}'


def run(folder, payload, script, limit):
    """Runs sh code with the payload as working directory, or (None) among the host's files: its output, whether it came to its end with 0, and a note for when not."""
    if not host_has_kvm():
        return in_a_machine(folder, payload, script, limit)
    try:
        r = subprocess.run([BUSYBOX, 'sh', '-c', script], cwd=payload or '/', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, errors='replace', timeout=limit, check=False)
        return r.stdout, r.returncode == 0, f'status {r.returncode}'
    except subprocess.TimeoutExpired as e:
        return (e.stdout or b'').decode(errors='replace'), False, f'not done after {limit} s'
