# needs: root bindfs sshfs squashfuse mksquashfs fuse-overlayfs fusermount3
# File systems that programs serve. The tree is in memory, so that sizes of directories are the same everywhere.
here=$(mktemp -d /dev/shm/fuse.XXXXXX); cd "$here"; umask 022
mkdir -p src/d/e m up work; for i in $(seq 50); do echo "file $i" > src/f$i; done; ln -s f1 src/l; seq 200000 > src/big; setfattr -n user.k -v v src/f1
list() { (cd "$1"; find . -printf '%p %y %m %l\n' | LC_ALL=C sort | cksum; find . -type f -exec cksum {} + | LC_ALL=C sort | cksum); }
wait_for() { for _ in $(seq 200); do mountpoint -q m && return; sleep 0.05; done; echo "not mounted"; }
list src
bindfs src m; echo "bindfs $?"; mountpoint -q m && list m
echo new > m/new; cat src/new; mkdir m/dd; ln m/f2 m/dd/hard; mv m/f4 m/f44; rm m/f5; truncate -s 5 m/big; echo end >> m/big; chmod 600 m/f6; touch -d '2011-11-11 UTC' m/f7
stat -c '%n %a %s' m/f2 m/big m/f6 m/dd/hard; stat -c %y src/f7; getfattr -n user.k --only-values m/f1; echo; ln -s x m/d/sym; readlink src/d/sym
(cd m && sha256sum f* | sha256sum; tar cf - . | tar tf - | wc -l; grep -c . f10; python3 -c "
import mmap, os
f = open('f11', 'r+b'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE); print(m[:4]); os.pwrite(f.fileno(), b'FILE', 0); print(m[:4])
s = mmap.mmap(f.fileno(), 0); s[4:6] = b'--'; s.flush(); print(open('../src/f11').read(8)); s[6:7] = b'+'; s.close(); print(open('../src/f11').read(8), f.read(8))")
cp /bin/true m/true && m/true && echo "executed"; fusermount3 -u m; echo "unmounted $?"; list src
mksquashfs src img -quiet -no-progress -noappend >/dev/null 2>&1; echo "mksquashfs $?"; squashfuse img m; echo "squashfuse $?"; list m; echo x 2>&1 > m/new; umount m; echo "unmounted $?"
fuse-overlayfs -o lowerdir=src,upperdir=up,workdir=work m; echo "fuse-overlayfs $?"; echo over > m/f1; rm m/f2; rm -r m/d; mkdir m/d; echo y > m/d/y; mv m/f8 m/f88; cat src/f1 m/f1; cat m/f2; list m
head -c 3000000 /dev/zero | tr '\0' q > m/large; cksum < m/large; umount m; echo "unmounted $?"; LC_ALL=C ls up; stat -c '%F' up/f2; list src
sftp=/usr/lib/openssh/sftp-server; mkfifo in; $sftp < in 2>/dev/null | sshfs -f -o passive "x:$here/src" m > in 2>/dev/null & wait_for
list m; echo remote > m/remote; cat src/remote; cp m/big m/copy; cmp src/copy src/big && echo same; mv m/copy m/copied; rm m/f9; fusermount3 -u m; echo "unmounted $?"; wait; list src
cd /; rm -rf "$here"
