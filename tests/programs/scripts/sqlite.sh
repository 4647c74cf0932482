# needs: sqlite3
sqlite3 w.db 'pragma journal_mode=wal; create table t(who, n);'
writer() { for i in $(seq 40); do sqlite3 -cmd '.timeout 20000' w.db "insert into t values('$1', $i);"; done; }
writer a & writer b & wait
sqlite3 w.db 'select who, count(*), sum(n) from t group by who order by who; pragma integrity_check; pragma wal_checkpoint(truncate);'
sqlite3 w.db 'begin; insert into t select who, n + 100 from t; rollback; select count(*) from t; vacuum; select count(*) from t;'; rm -f w.db w.db-*
