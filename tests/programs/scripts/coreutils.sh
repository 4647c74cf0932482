# needs: bash
mkdir -p tree/a/b/c; for i in 1 2 3 4 5; do seq $((i * 100)) > tree/a/f$i; done
cp -a tree copy; diff -r tree copy && echo same
ln tree/a/f1 tree/hard; ln -s a/f2 tree/soft; readlink tree/soft; stat -c '%h %s %a %F' tree/hard tree/soft
mv tree/a/b tree/moved; rmdir tree/moved/c; ls -R tree
chmod 640 tree/a/f3; stat -c %a tree/a/f3; touch -d '2001-02-03 04:05:06 UTC' tree/a/f4; stat -c %Y tree/a/f4
head -c 3 tree/a/f5 | od -An -tx1; tail -n 2 tree/a/f5; wc tree/a/f*; cut -c1-2 tree/a/f1 | sort | uniq -c | sort -rn | head -3
sort -R tree/a/f1 | sort -n | md5sum; sha256sum tree/a/f2; base64 tree/a/f1 | tail -1; comm -12 <(seq 5) <(seq 3 9)
split -l 100 tree/a/f5 part.; ls part.*; cat part.* | cmp - tree/a/f5 && echo joined
dd if=/dev/zero of=zeros bs=1k count=10 status=none; truncate -s 5k zeros; stat -c %s zeros
install -m 755 -d inst/bin; install -m 700 tree/a/f1 inst/bin/prog; stat -c %a inst/bin/prog
mktemp -p . -u tmp.XXXX | wc -c; basename /a/b.c .c; dirname /a/b.c; realpath --relative-to=. tree/a
expr 3 \* 4; factor 42; numfmt --to=iec 123456; date -u -d @0 +%F; env -i A=1 env; printenv HOME | grep -c .
test -d tree -a -f tree/hard; echo $?; du -sb tree/a/f1 | cut -f1; nl tree/a/f1 | tail -1; tac tree/a/f1 | head -1; rev <<< abc
pr -l5 -t <(seq 3); fold -w 3 <<< abcdefg; expand <<< $'a\tb'; join <(echo 1 a) <(echo 1 b); shuf -i 1-1; tsort <<< 'a b'
rm -rf tree copy; ls
