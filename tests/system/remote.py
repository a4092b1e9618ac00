# SPDX-License-Identifier: Apache-2.0
"""A client of gdb's remote protocol for tests that want to see packets, and a guest that runs under it."""
import os
import signal
import socket
import subprocess
import time

from harness import ENGINE, LIMIT, SEXTANT


class Gone(Exception):
    """The other side has closed the connection."""


def frame(body):
    if isinstance(body, str):
        body = body.encode()
    return b'$' + body + b'#%02x' % (sum(body) & 255)


class Client:
    def __init__(self, address, ack=False):
        tcp = isinstance(address, tuple)
        self.sock = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(address)
        self.buf = b''
        self.ack = True
        if not ack:
            assert self.ask('QStartNoAckMode') == 'OK'
            self.ack = False

    def close(self):
        self.sock.close()

    def byte(self):
        if not self.buf:
            try:
                self.buf = self.sock.recv(65536)
            except ConnectionError as e:
                raise Gone(str(e)) from None
            if not self.buf:
                raise Gone('closed')
        c, self.buf = self.buf[:1], self.buf[1:]
        return c

    def reply(self):
        """The body of the next packet, its checksum checked."""
        while self.byte() != b'$':
            pass
        body = b''
        while (c := self.byte()) != b'#':
            body += c
        told = self.byte() + self.byte()
        assert told == b'%02x' % (sum(body) & 255), (body, told)
        if self.ack:
            self.sock.sendall(b'+')
        return body.decode('latin-1')

    def send(self, body):
        self.sock.sendall(frame(body))

    def ask(self, body):
        self.send(body)
        return self.reply()

    # ---- with the registers of the 32-bit description ----
    NAMES = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'eip', 'eflags']

    def reg(self, name):
        return int.from_bytes(bytes.fromhex(self.ask(f'p{self.NAMES.index(name):x}')), 'little')

    def set_reg(self, name, value):
        return self.ask(f'P{self.NAMES.index(name):x}={value.to_bytes(4, "little").hex()}')

    def step(self, thread=1):
        """One step; where it ended."""
        r = self.ask(f'vCont;s:{thread:x}')
        assert r.startswith('T05'), r
        return self.reg('eip')

    def run_until(self, done):
        """Lets it go and stops it again by Ctrl-c, until done(); a busy host may not run it each time. The last stop."""
        for _ in range(200):
            self.send('vCont;c')
            time.sleep(0.05)
            self.sock.sendall(b'\x03')
            r = self.reply()
            assert r.startswith('T02'), r
            if done():
                return r
        raise AssertionError('it does not get there')

    def memory(self, addr, length):
        return bytes.fromhex(self.ask(f'm{addr:x},{length:x}'))

    def monitor(self, line):
        out = ''
        r = self.ask('qRcmd,' + line.encode().hex())
        while r.startswith('O') and r != 'OK':
            out += bytes.fromhex(r[1:]).decode()
            r = self.reply()
        assert r == 'OK', r
        return out


class Guest:
    """`sextant run --gdb` on a socket in `folder`; killed on the way out if it has not ended by itself."""

    def __init__(self, folder, *args, wait=True, sockname='gdb'):
        self.path = os.path.join(folder, sockname)
        argv = [SEXTANT, 'run', '--engine', ENGINE, *map(str, args)]
        command = argv.index('--') if '--' in argv else len(argv)
        argv[command:command] = ['--gdb', self.path] + (['-S'] if wait else [])
        self.log = open(os.path.join(folder, sockname + '.err'), 'w+b')
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)

    def __enter__(self):
        deadline = time.monotonic() + LIMIT
        while 'can connect' not in self.errors():
            assert self.process.poll() is None, f'ended: {self.errors()}'
            assert time.monotonic() < deadline, 'it does not listen'
            time.sleep(0.02)
        return self

    def errors(self):
        self.log.seek(0)
        return self.log.read().decode(errors='replace')

    def end(self):
        """Waits for it; (status, output)."""
        out = self.process.communicate(timeout=LIMIT)[0]
        return self.process.returncode, out

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        self.log.close()


def symbols(elf):
    rows = subprocess.run(['nm', elf], check=True, capture_output=True, text=True).stdout.split('\n')
    return {r.split()[2]: int(r.split()[0], 16) for r in rows if len(r.split()) == 3}
