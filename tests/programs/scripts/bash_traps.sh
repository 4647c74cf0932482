# needs: bash
trap 'echo usr1' USR1; kill -USR1 $$; echo after
trap 'echo exit' EXIT
trap '' TERM; kill -TERM $$; echo ignored
bash -c 'trap "echo child term; exit 9" TERM; kill -TERM $$; sleep 5'; echo "status $?"
{ bash -c 'kill -SEGV $$'; } 2> /dev/null; echo "status $?"
{ bash -c 'kill -KILL $$'; } 2> /dev/null; echo "status $?"
{ bash -c 'ulimit -c 0; kill -ABRT $$'; } 2> /dev/null; echo "status $?"
trap 'echo chld' CHLD; true & wait; trap - CHLD
read -t 0.1 x < <(sleep 1); echo "read: $?"
trap 'echo err at $LINENO' ERR; false; trap - ERR
(trap 'echo sub' EXIT; true)
