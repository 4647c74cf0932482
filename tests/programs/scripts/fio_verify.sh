# needs: fio
# What fio writes it finds again, whatever it writes with. An engine that the kernel does not offer says so on both sides.
size=${PROGRAMS_HEAVY:+256m}; size=${size:-8m}
run() { name=$1; shift; fio --name=job --filename=fio.$name --size=$size --verify=crc32c --verify_fatal=1 --do_verify=1 --output-format=terse --terse-version=3 --minimal "$@" > out 2> err; echo "$name $? $(cut -d';' -f5 out)"; [ -s err ] && head -3 err; rm -f fio.$name; }
for engine in sync psync vsync pvsync pvsync2 mmap libaio; do run $engine.write --ioengine=$engine --rw=write --bs=64k; run $engine.random --ioengine=$engine --rw=randwrite --bs=4k --randseed=7; done
run deep --ioengine=libaio --iodepth=16 --rw=randwrite --bs=4k --randseed=8 --size=4m; run reaped --ioengine=libaio --userspace_reap --iodepth=8 --rw=randrw --bs=8k --randseed=3 --size=4m
run mixed --ioengine=psync --rw=randrw --bsrange=512-32k --bs_unaligned=1 --randseed=9 --size=4m
run fsync --ioengine=psync --rw=randwrite --bs=8k --fsync=16 --size=2m; run fdatasync --ioengine=pvsync --rw=write --bs=16k --fdatasync=8 --size=2m; run trunc --ioengine=psync --rw=write --bs=4k --overwrite=1 --size=1m --end_fsync=1
run jobs --ioengine=psync --rw=randwrite --bs=4k --numjobs=3 --size=1m --offset_increment=1m --group_reporting; run direct --ioengine=psync --direct=1 --rw=randwrite --bs=4k --size=2m; run falloc --ioengine=psync --fallocate=posix --rw=randwrite --bs=4k --size=2m; rm -f out err
