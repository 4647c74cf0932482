# needs: bash
set -m
sleep 30 & first=$!
sleep 30 & second=$!
jobs | sed 's/sleep.*/sleep/'
kill -STOP %1; sleep 0.1; jobs %1 | grep -o Stopped
kill -CONT %1; kill %1; wait $first; echo "first: $?"
kill -INT %2; wait $second; echo "second: $?"
(sleep 0.1; exit 3) & wait $!; echo "third: $?"
sleep 0.1 & sleep 0.2 & wait; echo all
wait 999999; echo "no child: $?"
bash -c 'kill -STOP $$; echo continued' & p=$!
while [ "$(ps -o stat= -p $p | cut -c1)" != T ]; do sleep 0.05; done
kill -CONT $p; sleep 0.3
timeout 0.2 sleep 10; echo "timeout: $?"
nice -n 5 bash -c 'nice'
