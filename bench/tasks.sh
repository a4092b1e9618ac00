# SPDX-License-Identifier: Apache-2.0
# The work that bench/run times: fixed amounts. "== NAME" goes before each part; whoever times is outside and reads these
# lines. $B is a busybox, $P the directory of our own program; runs in an empty writable directory.
LC_ALL=C; export LC_ALL
echo "== sha256"; "$B" dd if=/dev/zero bs=1M count=12 2>/dev/null | "$B" sha256sum
echo "== gzip"; "$B" seq 1 250000 | "$B" gzip -6 | "$B" gunzip | "$B" wc -c
echo "== sort"; "$B" seq 1 60000 | "$B" sed 's/\(.\)\(.*\)/\2\1/' | "$B" sort | "$B" md5sum
echo "== bc"; echo 'scale=600; 4*a(1)' | "$B" bc -l | "$B" md5sum
echo "== perl"; /usr/bin/perl -e 'my $s = 0; for my $i (1 .. 600000) { $s += sqrt($i) * 1.5; $s -= int($s / 7) * 7 } my %h; $h{$_ % 5000} += $_ for 1 .. 200000; print "$s ", scalar(keys %h), "\n"'
echo "== sqlite"; /usr/bin/sqlite3 :memory: 'create table t(a, b); with recursive n(x) as (select 1 union all select x + 1 from n where x < 60000) insert into t select x, x * 7 % 1000 from n; create index i on t(b); select count(*), sum(a) from t where b < 500;'
for w in matrix sieve chase calls faults syscalls; do echo "== $w"; "$P/compute" $w; done
echo "== fork"; i=0; while [ $i -lt 200 ]; do "$B" true; i=$((i + 1)); done
echo "== pipe"; (i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i + 1)); done) | "$B" wc -l
echo "== end"
