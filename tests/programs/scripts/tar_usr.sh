# needs: tar getfattr find sha256sum
# A tree of the system packed and unpacked: content, mode, owner, times and extended attributes are the same.
# PROGRAMS_HEAVY=1 takes all of /usr.
tree=${PROGRAMS_HEAVY:+usr}; tree=${tree:-usr/sbin usr/lib/x86_64-linux-gnu/perl-base usr/share/zoneinfo/Europe usr/lib/python3/dist-packages}
mkdir own out; cd own; mkdir -p d/sub; echo hard > d/one; ln d/one d/two; ln -s one d/sym; mkfifo d/fifo; chmod 4711 d/one; chmod 2775 d/sub; truncate -s 10M d/sparse; echo end >> d/sparse
setfattr -n user.note -v hello d/one; setfattr -n user.empty d/sub; touch -d '1999-12-31 23:59:59.123456789 UTC' d/one d/sub d/sparse d/fifo; touch -h -d '2001-01-01 00:00:00 UTC' d/sym
cd ..; list() { (cd "$1" && shift && find "$@" ! -type s -printf '%p %y %m %U:%G %s %n %l ' \( -type d -printf '\n' -o -printf '%T@\n' \) | sed 's/^\([^ ]* d [^ ]* [^ ]*\) [0-9]* [0-9]*/\1/' | LC_ALL=C sort; find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; getfattr -R -h -d -m- "$@" 2>/dev/null); }
round() { from=$1; shift; tar --xattrs --xattrs-include='*' --acls --numeric-owner -C "$from" -cf - "$@" | tar --xattrs --xattrs-include='*' --acls --numeric-owner --same-owner -xpf - -C out; list "$from" "$@" > a.list; list out "$@" > b.list; cmp a.list b.list && wc -l < a.list && sha256sum < a.list; diff a.list b.list | head -20; }
round own d
round / $tree
tar --xattrs --acls -C out -cf t.tar usr/sbin; tar -df t.tar -C out | head; du --apparent-size -s out/d | cut -f1; chmod -R u+w out; rm -rf own out *.list t.tar
