# needs: sqlite3 bash
# Writers that are killed in the middle: nothing that was committed is lost, and the file is whole.
rounds=${PROGRAMS_HEAVY:+25}; rounds=${rounds:-4}
for mode in wal delete truncate; do
    db=$mode.db; sqlite3 $db "pragma journal_mode=$mode; pragma synchronous=full; create table t(who integer, n integer, pad text, primary key (who, n)); create index i on t(pad);" ; : > done.1; : > done.2
    for round in $(seq "$rounds"); do
        for who in 1 2; do
            ( n=$((round * 1000)); while :; do n=$((n + 1)); sqlite3 -cmd '.timeout 20000' $db "pragma synchronous=full; begin immediate; insert into t values($who, $n, hex(randomblob(300))); update t set pad = hex(randomblob(200)) where n % 7 = $((n % 7)) and who = $who; commit;" >/dev/null 2>&1 && echo $n >> done.$who; done ) & pids[$who]=$!
        done
        sleep 1.5
        # The shells and what they have running.
        for who in 1 2; do kill -9 "${pids[$who]}"; pkill -9 -P "${pids[$who]}"; done; wait 2>/dev/null
        [ "$(sqlite3 -cmd '.timeout 20000' $db 'pragma integrity_check;')" = ok ] || echo "$mode round $round: not whole"
    done
    for who in 1 2; do
        [ -s done.$who ] || echo "$mode: writer $who never committed"
        sqlite3 $db "select n from t where who = $who order by n;" > there; sort -n done.$who | comm -23 <(sort done.$who) <(sort there) | sed "s/^/$mode: lost /"
    done
    sqlite3 $db 'pragma wal_checkpoint(truncate); vacuum; pragma integrity_check;' | tail -1; rm -f $db $db-* done.* there
done 2>/dev/null
