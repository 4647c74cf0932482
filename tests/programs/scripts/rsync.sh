# needs: root rsync getfattr setfacl
mkdir -p src/a/b src/empty; for i in $(seq 200); do echo "file $i" > src/a/f$i; done; ln src/a/f1 src/a/b/hard; ln -s ../f2 src/a/b/sym; ln -s /nowhere src/dangling; mkfifo src/a/fifo
truncate -s 5M src/sparse; echo x >> src/sparse; chmod 0 src/a/f3; chmod 6755 src/a/f4; chmod 1777 src/empty; chown 1000:1001 src/a/f5; chown -h 12:13 src/a/b/sym
setfattr -n user.k -v v src/a/f6; setfattr -n user.d -v v src/a; setfacl -m u:1000:rw src/a/f7; setfacl -d -m g:1001:rx src/a/b
touch -d '2011-11-11 11:11:11.5 UTC' src/a/f8; touch -d '2012-12-12 UTC' src/a/b src/a src
list() { (cd "$1"; find . -printf '%p %y %m %U:%G %n %l %Ts\n' | LC_ALL=C sort; find . -type f -size -2M -exec md5sum {} + | LC_ALL=C sort; getfattr -R -h -d -m- . 2>/dev/null; getfacl -R -n -p . 2>/dev/null); }
list src > src.list
rsync -aHAXS src/ dst/; echo "first $?"; list dst > dst.list; grep -v 'empty ' dst.list | diff - <(grep -v 'empty ' src.list) && echo same
rsync -aHAXSi src/ dst/; echo "second $?"
echo more >> src/a/f9; touch -d "2014-01-01 UTC" src/a/f9; rm src/a/f10; mv src/a/f11 src/a/renamed; chmod 600 src/a/f12; setfattr -n user.k -v w src/a/f6; touch -d '2013-01-01 UTC' src/a src
rsync -aHAXSi --delete src/ dst/; echo "third $?"; diff <(list src) <(list dst) && echo same; rsync -aHAX --link-dest=../dst src/ snap/; stat -c %h snap/a/f20; rsync -ac --inplace --append-verify src/sparse snap/sparse; cmp src/sparse snap/sparse && echo cmp; chmod -R u+rw src dst snap; rm -rf src dst snap *.list
