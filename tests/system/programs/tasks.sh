# SPDX-License-Identifier: Apache-2.0
# Run on the host and in guests, in an empty writable directory: the output must be the same. $B is a busybox, $P the
# directory of our own programs. A mark starts each part, so that a difference is found at once.
exec 2>&1
LC_ALL=C; export LC_ALL
echo "== busybox"
"$B" seq 1 2000 | "$B" sed 's/7/seven/g' | "$B" sort | "$B" md5sum
"$B" dd if=/dev/zero bs=64k count=16 2>/dev/null | "$B" sha256sum
"$B" dd if=/dev/zero bs=64k count=16 2>/dev/null | "$B" sha512sum
"$B" dd if=/dev/zero bs=64k count=16 2>/dev/null | "$B" sha1sum
"$B" seq 1 30000 >numbers
"$B" gzip -c numbers | "$B" gunzip | "$B" cmp - numbers && echo gzip same
"$B" bzip2 -c numbers | "$B" bunzip2 | "$B" cmp - numbers && echo bzip2 same
"$B" tar cf t.tar numbers && "$B" tar tf t.tar
"$B" awk 'BEGIN { for (i = 1; i <= 5000; i++) { s += 1 / i; t = (t * 31 + i) % 65521; w[i % 97] = w[i % 97] i } printf "%.12f %d %d\n", s, t, length(w[5]) }'
"$B" printf '%s\n' 'scale=60' '4*a(1)' 'e(1)' '2^500' 'sqrt(2)' | "$B" bc -l
"$B" factor 600851475143 18446744073709551557
"$B" expr 12345678901 '*' 98765
"$B" find . -type f | "$B" sort
i=0; while [ $i -lt 200 ]; do i=$((i + 1)); echo $i; done | "$B" tail -n 1
i=0; while [ $i -lt 40 ]; do "$B" true; i=$((i + 1)); done; echo forked $i
"$B" sh -c 'kill -9 $$'; echo "killed $?"
"$B" timeout 1 "$B" sleep 9; echo "timed out $?"
echo "== sqlite3"
/usr/bin/sqlite3 t.db <<'Q'
create table t(a integer primary key, b integer, c text, d real);
with recursive n(x) as (select 1 union all select x + 1 from n where x < 5000)
 insert into t select x, x * 7919 % 1000, printf('row %05d', x), x / 7.0 from n;
create index i on t(b);
select count(*), sum(a), avg(b), max(c), round(sum(d), 6) from t where b < 500;
select b, count(*) from t group by b having count(*) > 5 order by b limit 5;
begin; update t set c = upper(c) where a % 3 = 0; delete from t where a % 5 = 0; commit;
select count(*), group_concat(c) from (select c from t order by a desc limit 3);
pragma integrity_check;
select hex(zeroblob(4)), typeof(1.0), round(exp(1), 10), round(sqrt(2), 10);
Q
echo "== perl"
/usr/bin/perl -e 'my $s = 0; for my $i (1 .. 60000) { $s += sqrt($i) * 1.5; $s -= int($s / 7) * 7 } printf "%.9f\n", $s;
my %h; $h{$_ % 997} .= chr(33 + $_ % 90) for 1 .. 20000; my $t = join "", map { "$_=$h{$_}" } sort { $a <=> $b } keys %h; print length($t), " ", unpack("%32C*", $t), "\n";
my $x = "abc" x 3000; my $n = () = $x =~ /b(?=c)/g; print "$n\n"; print join(",", sort { $a <=> $b } map { ($_ * 7919) % 1009 } 1 .. 50), "\n";
printf "%.15g %.15g %.15g %.15g\n", sin(1), cos(1), atan2(1, 2), exp(1.5); print 2 ** 62, " ", 10 / 3, " ", -7 % 3, " ", 1e308 * 10, "\n";'
echo "== threads"
"$P/threads"
echo "== signals"
"$P/signals"
echo "== end"
