# SPDX-License-Identifier: Apache-2.0
# What tests/system/test-kvm runs where /dev/kvm is, by busybox sh, in a directory with sextant and its guests. Each check prints
# "ok WHAT" or "not ok WHAT" and then, after #, what was there instead. Nothing depends on time: guests may be very slow here.
sx=./sextant
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run() { # OPTION... - output in $work/out, what sextant itself says in $work/err, status in $status
	"$sx" run --engine kvm --timeout 400 "$@" >"$work/out" 2>"$work/err" </dev/null
	status=$?
}
verdict() { # WHAT - of the command before
	if [ $? = 0 ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		echo "# status $status"
		tail -n 12 "$work/out" | tr -d '\r' | sed 's/^/# out: /'
		tail -n 30 "$work/err" | sed 's/^/# err: /'
	fi
}
has() { grep -q -- "$1" "$work/out"; }
says() { grep -q -- "$1" "$work/err"; }
left() { # nothing of a run is there any more
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/exe" 2>/dev/null)" != "$(readlink -f "$sx")" ] || return 1
	done
}

mkdir -p root/bin root/etc root/tmp root/proc root/sys root/dev
cp busybox root/bin/busybox
for a in sh echo cat nproc grep dd md5sum wget seq sync test sleep; do ln -sf busybox root/bin/$a; done

"$sx" engines >"$work/out" 2>"$work/err"
status=$?
grep -q '^kvm .* yes$' "$work/out"
verdict 'sextant engines says yes'

# Small guests that check themselves: modes, code that changes, task switches, translations, strings over devices.
for g in modes smc task tlb; do
	run --debug-exit --mem 256M --kernel guest-$g.elf
	[ $status = 1 ] && has '^ok'
	verdict "guest $g"
done
# State between the kernel and the project's devices, and back; which pages a guest writes.
./test-kvm-machine guest-ticks.elf

run --debug-exit --mem 256M --kernel guest-triple.elf
[ $status = 3 ] && says 'triple-faulted'
verdict 'a triple fault is status 3'

for g in spin haltoff; do
	"$sx" run --engine kvm --mem 256M --kernel guest-$g.elf --timeout 2 >"$work/out" 2>"$work/err" </dev/null
	status=$?
	[ $status = 124 ]
	verdict "the time limit ends a guest that does not ($g)"
done

run --deterministic --kernel guest-spin.elf
[ $status = 1 ] && says '--deterministic' && [ "$(wc -l <"$work/err")" = 1 ]
verdict 'what the engine cannot do is told in one line'

# Kicked and killed at whatever moment: gone, and the next run is not disturbed.
status=0
for i in $(seq ${KILLS:-12}); do
	"$sx" run --engine kvm --mem 64M --cpus 2 --kernel guest-spin.elf >"$work/out" 2>"$work/err" </dev/null &
	pid=$!
	usleep $((i * 77777 % 1300000))
	signal=$([ $((i % 3)) = 0 ] && echo KILL || echo TERM)
	kill -$signal $pid
	wait $pid
	r=$?
	case $signal:$r in
	TERM:143 | KILL:137) ;;
	*) status=$r ;;
	esac
done
[ $status = 0 ] && left
verdict 'guests killed at random moments leave no process'

run --rootfs root -v -- sh -c 'echo hello; exit 42'
[ $status = 42 ] && has '^hello' && says 'KVM exits, by reason' && says '^sextant: port I/O ' && says '^sextant: nested paging *on'
verdict 'rootfs: the status is the command'"'"'s; -v has the table of exits'

# Two CPUs, a disk and a network card in one boot.
seq 1 200000 >disk.img
truncate -s 1M disk.img
sum=$(md5sum <disk.img)
mkdir -p www
seq 1 30000 >www/numbers
file=$(md5sum <www/numbers)
httpd -p 127.0.0.1:8099 -h www -f &
server=$!
cat >root/work <<'W'
nproc
md5sum </dev/vda
echo written here | dd of=/dev/vda conv=fsync,notrunc 2>/dev/null
(i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo counted $i) &
wget -q -O - http://10.0.2.2:8099/numbers | md5sum
wait
grep -E 'PCI-MSI|LOC:|RES:' /proc/interrupts
W
run --cpus 2 --disk disk.img --net user --rootfs root -- sh /work
kill $server
[ $status = 0 ] && has '^2' && has 'counted 20000'
verdict 'Debian'"'"'s kernel runs on two CPUs'
has "^$sum" && grep -q '^written here' disk.img
verdict 'virtio: what is on the disk is read, what is written is there'
grep -q "^$file" "$work/out"
verdict 'virtio: a file comes over the network'

run --cpus 2 --kernel vmlinuz --append 'console=ttyS0 quiet panic=-1 root=/dev/none'
[ $status = 0 ]
verdict 'a panic with panic=-1 is a reboot'
left
verdict 'no process is left at the end'
