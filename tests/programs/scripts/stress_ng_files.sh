# needs: stress-ng
# stress-ng's stressors of files, a few rounds each, with its own checks; only whether they succeed is compared.
ops=${PROGRAMS_HEAVY:+2000}; ops=${ops:-30}
for s in access acl chdir chmod chown close copy-file dentry dir dirdeep dirmany dup fallocate fcntl fd-abuse file-ioctl filename flock fpunch fstat getdent hdd io iomix lease link locka lockf lockofd mknod null open pipe punch readahead rename revio seek sendfile splice symlink sync-file tee touch unlink utime vm-splice xattr zero; do
    stress-ng --help 2>/dev/null | grep -q -- "--$s N" || continue
    case $s in hdd) more='--hdd-bytes 4m';; fallocate) more='--fallocate-bytes 4m';; iomix) more='--iomix-bytes 4m';; readahead) more='--readahead-bytes 4m';; revio) more='--revio-bytes 4m';; seek) more='--seek-size 4m';; copy-file) more='--copy-file-bytes 128m';; sync-file) more='--sync-file-bytes 4m';; dirdeep) more='--dirdeep-inodes 300';; dirmany) more=;; *) more=;; esac
    timeout -s KILL 60 stress-ng --temp-path . --verify -t 4 --$s 1 --$s-ops $ops $more > log 2>&1; rc=$?; [ $rc -eq 0 ] && echo "$s ok" || { echo "$s $rc"; grep -E 'fail|error' log | sed 's/\[[0-9]*\]//' | head -3; }
done; rm -rf log tmp-stress-ng-*
