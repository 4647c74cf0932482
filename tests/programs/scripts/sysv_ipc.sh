# needs: ipcmk ipcs ipcrm unshare nsenter lsns stress-ng root
# In a namespace of its own, so that the machine's objects are neither seen nor touched.
[ "$1" = inside ] || exec unshare --ipc bash "$0" inside
without_keys() { sed -E 's/0x[0-9a-f]{8}/KEY/; s/ +$//; /^$/d'; }
ipcmk -S 3 -p 640; ipcmk -Q -p 600; ipcmk -M 5000
ipcs | without_keys; ipcs -l | without_keys; ipcs -u | without_keys
ipcs -s -i 0 | grep -v time; ipcs -q -i 0 | grep -v time; ipcs -m -i 0 | grep -vE 'time|pid'
ipcs -t | grep -c root; ipcs -c | without_keys
unshare --ipc bash -c 'ipcs -s | grep -c root; ipcmk -S 1; ipcmk -S 1; ipcs -s | grep -c root'
setpriv --reuid 65534 --regid 65534 --clear-groups bash -c 'ipcrm -s 0; ipcs -s -i 0; ipcmk -S 1; ipcrm -s 1' 2>&1
ipcrm -s 0 -q 0 -m 0; ipcrm -s 0; ipcs | without_keys; cat /proc/sysvipc/*
sysctl -n kernel.sem kernel.msgmax kernel.msgmnb kernel.msgmni kernel.shmmax kernel.shmall kernel.shmmni
stress() { timeout 100 stress-ng "$@" --verify > log 2>&1 && grep -c 'successful run' log || cat log; }
stress --sem-sysv 3 --sem-sysv-ops 5000; stress --msg 3 --msg-ops 5000; stress --shm-sysv 2 --shm-sysv-ops 8; rm -f log
ipcs | without_keys
# The other tools that make, keep and enter namespaces.
at() { readlink "/proc/self/ns/$1"; }
own=$(at ipc); unshare --ipc --net --uts --cgroup bash -c "[ \$(readlink /proc/self/ns/ipc) != '$own' ] && echo another"
unshare --mount bash -c 'mount --make-rprivate /; touch kept net; unshare --uts=kept hostname inside; nsenter --uts=kept hostname
  unshare --net=net true; nsenter --net=net readlink /proc/self/ns/net | grep -c net; stat -f -c %T kept; findmnt -n -o FSTYPE kept
  umount kept net; rm kept net; hostname | grep -c inside'
unshare --fork --pid --mount-proc --ipc bash -c 'sleep 100 & lsns -n -o TYPE,NPROCS | sort; kill %1'
sleep 100 & other=$!; nsenter --target $other --all true; echo "entered: $?"; kill $other
unshare --user --map-root-user --ipc --net bash -c 'ipcmk -Q; id -u; ipcs -q | grep -c root'
