# SPDX-License-Identifier: Apache-2.0
"""What tests of the OCI runtime share: bundles, running the runtime, and finding what containers have left behind."""
import json
import os
import subprocess
import tempfile

from harness import SEXTANT, Skip, busybox_root

LIMIT = 120


def need_root():
    """Containers of root's need what an unprivileged container, or a user, has not."""
    if os.geteuid():
        raise Skip('this needs root')
    r = subprocess.run(['unshare', '-mpnf', 'true'], capture_output=True, text=True, check=False)
    if r.returncode:
        raise Skip(f'namespaces cannot be made here: {r.stderr.strip()}')
    if not os.access('/sys/fs/cgroup', os.W_OK) or not groups_writable():
        raise Skip('control groups cannot be made here')


def hierarchies():
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        rows = [line.split() for line in f]
    return [r[4] for r in rows if r[r.index('-') + 1] in ('cgroup', 'cgroup2')]


def groups_writable():
    for h in hierarchies():
        try:
            os.rmdir(tempfile.mkdtemp(prefix='sextant-probe-', dir=h))
        except OSError:
            return False
    return bool(hierarchies())


class Bundle:
    """A directory with a configuration, a root with busybox, and a state directory of its own."""

    def __init__(self, folder, *args, program=SEXTANT):
        self.folder, self.program = folder, program
        self.states = os.path.join(folder, 'states')
        if not os.path.exists(os.path.join(folder, 'root')):
            busybox_root(folder)
        self.root = os.path.join(folder, 'root')
        if not os.path.exists(os.path.join(folder, 'config.json')):
            subprocess.run([SEXTANT, 'spec', '--bundle', folder], check=True)
        with open(os.path.join(folder, 'config.json'), encoding='utf-8') as f:
            self.config = json.load(f)
        self.config['root'] = {'path': 'root'}
        self.config['process'].update(terminal=False, args=list(args) or ['true'])
        self.config['process'].pop('rlimits', None)
        self.config['linux']['cgroupsPath'] = '/' + os.path.basename(folder)

    @property
    def process(self):
        return self.config['process']

    @property
    def linux(self):
        return self.config['linux']

    def save(self):
        with open(os.path.join(self.folder, 'config.json'), 'w', encoding='utf-8') as f:
            json.dump(self.config, f)

    def start(self, *words, **kw):
        return subprocess.Popen([self.program, '--root', self.states, *map(str, words)], cwd=self.folder, stdin=subprocess.DEVNULL, **kw)

    def oci(self, *words, status=0, **kw):
        """Runs a command of the runtime's; output and errors are text. status None: any."""
        r = subprocess.run([self.program, '--root', self.states, *map(str, words)], cwd=self.folder, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, errors='replace', timeout=LIMIT, check=False, **kw)
        assert status is None or r.returncode == status, f'{words}: status {r.returncode}, expected {status}\n{r.stdout[-800:]}\n{r.stderr[-800:]}'
        return r

    def run(self, *args, status=0, name='c', **kw):
        """One container from start to end."""
        if args:
            self.process['args'] = list(args)
        self.save()
        return self.oci('run', name, status=status, **kw)

    def create(self, *args, name='c', options=()):
        """create; the container's output goes to the file `out`."""
        if args:
            self.process['args'] = list(args)
        self.save()
        with open(os.path.join(self.folder, 'out'), 'wb') as f:
            p = self.start('create', *options, name, stdout=f, stderr=f)
            assert p.wait(LIMIT) == 0, self.out()

    def out(self):
        with open(os.path.join(self.folder, 'out'), encoding='utf-8', errors='replace') as f:
            return f.read()

    def state(self, name='c'):
        return json.loads(self.oci('state', name).stdout)

    def leftovers(self):
        """Whatever a container of this bundle's could have left."""
        found = [os.path.join(self.states, n) for n in os.listdir(self.states)] if os.path.isdir(self.states) else []
        name = os.path.basename(self.folder)
        for h in hierarchies():
            found += [os.path.join(d, n) for d, names, _ in os.walk(h) for n in names if n.startswith(name)]
        with open('/proc/self/mountinfo', encoding='utf-8') as f:
            found += [line.strip() for line in f if self.folder in line]
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                if os.readlink(f'/proc/{pid}/root').startswith(self.folder):
                    found.append('process ' + pid)
            except OSError:
                pass
        return found
