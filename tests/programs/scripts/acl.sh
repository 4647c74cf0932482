# needs: root setfacl getfacl rsync tar setpriv
# Access control lists here (the Gofer's tree), in memory and on the root (an overlay), and on the way between them.
umask 027
places="$PWD/work $(mktemp -d /dev/shm/acl.XXXXXX) $(mktemp -d /var/tmp/acl.XXXXXX)"
mkdir work
list() { (cd "$1"; find . ! -type l -print0 | LC_ALL=C sort -z | xargs -0 getfacl -n -p; find . -printf "%p %M %U:%G\n" | LC_ALL=C sort); }
n=0
for place in $places; do
    n=$((n+1)); cd "$place"; chmod 711 .
    mkdir -p src/in src/plain; echo a > src/a; echo b > src/in/b
    setfacl -m u:1000:rwx,u:1001:r,g:1002:rx src/a; setfacl -m d:u:1000:rwX,d:g:1003:rx,d:o::- src/in
    echo c > src/in/c; mkdir src/in/d; ln -s a src/link; mkfifo src/in/fifo; install -m 6755 /bin/true src/in/suid
    chmod g-x src/a; setfacl -x u:1001 src/a; setfacl -m m::rw src/in/b; chacl u::rwx,g::rx,o::x src/plain
    cp -a src copy; cp -r src plain-copy; tar --acls -cf src.tar src; mkdir out; tar --acls -C out -xpf src.tar
    rsync -aHAX src/ synced/; echo "rsync $?"; rsync -aHAXi src/ synced/; echo "again $?"
    list src > src.list; cat src.list
    for other in copy out/src synced; do list $other | diff src.list - && echo "$other is the same"; done
    getfacl -n -p plain-copy/in/c; setfacl -b copy/a; setfacl -k copy/in; getfacl -n copy/a copy/in; ls -ld copy/a copy/in | cut -c1-11
    getfacl -R -n src | setfacl --restore=- 2>&1; list src | diff src.list - && echo restored
    setfacl -m d:u:1:r src/a; echo "default of a file $?"; chmod o+x src; setfacl -m u:1000:rwx,g:1002:x src/in
    for who in 1000 1002 77; do
        setpriv --reuid $who --regid $who --clear-groups bash -c 'id -u; cat src/a; echo x >> src/a; ls src/in >/dev/null && echo searched; cat src/in/c; echo y >> src/in/c; touch src/in/new' 2>&1 | sed "s/^bash: line [0-9]*: //"
    done
    setpriv --reuid 1000 --regid 1000 --clear-groups setfacl -m u:7:r src/a 2>&1 | sed 's/: src.*: /: /'; echo "$(< src/a)" | wc -l
done
set -- $places
rsync -aAX $1/src/ $2/from1/; rsync -aAX $2/from1/ $3/from2/; list $1/src | diff - <(list $3/from2) && echo "from place to place"
cp -a $3/src $1/from3; list $1/from3 | diff - <(list $3/src) && echo "and back"
rm -rf $places
