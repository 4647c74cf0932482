# needs: setpriv pg_lsclusters
# A database with fsync on, over a Unix socket; then killed hard and started again.
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1); transactions=${PROGRAMS_HEAVY:+500}; transactions=${transactions:-40}
mkdir db sock; chown 65534:65534 db sock; chmod 755 .; as="setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=$PWD/db"; db="$PWD/db/data"; export PGHOST="$PWD/sock" PGUSER=pg
$as $bin/initdb -D "$db" -U pg -A trust --locale=C.UTF-8 --no-instructions > log 2>&1 || cat log; tail -1 log | grep -c ok
start() { $as $bin/pg_ctl -D "$db" -l "$PWD/db/log" -w -t 100 -o "-c listen_addresses= -c unix_socket_directories=$PWD/sock -c fsync=on -c shared_buffers=16MB -c max_connections=20" start > /dev/null || tail -5 db/log; }
start
$as $bin/pgbench -q -i -s 1 postgres 2>/dev/null; $as $bin/pgbench -c 4 -j 2 -t "$transactions" postgres 2>&1 | grep -E 'processed|failed'
q() { $as $bin/psql -XAtqc "$1" postgres; }
q 'select count(*), sum(abalance) = (select sum(delta) from pgbench_history), sum(abalance) = (select sum(tbalance) from pgbench_tellers) from pgbench_accounts'
q 'create table x as select g, md5(g::text) m from generate_series(1, 20000) g; create index on x(m); select count(distinct m) from x'; q 'vacuum analyze x'; q 'select max(g) from x where m like '"'a%'"
ready() { for _ in $(seq 200); do [ "$(q 'select 1' 2>/dev/null)" = 1 ] && return; sleep 0.1; done; echo never ready; }
# A backend that is killed makes the server recover; one that is stopped without a checkpoint recovers when it starts.
q 'select pg_sleep(60)' 2>/dev/null & sleep 0.5; kill -9 "$(q "select pid from pg_stat_activity where query like '%pg_sleep(60)' and pid <> pg_backend_pid()")"; wait; ready
q 'insert into x select g, 2 from generate_series(1, 500) g'; $as $bin/pg_ctl -D "$db" -m immediate -w stop > /dev/null; start; ready
q 'select count(*), sum(abalance) = (select sum(delta) from pgbench_history) from pgbench_accounts'; q 'select count(*) from x'; grep -c 'redo done' db/log
$as $bin/pg_ctl -D "$db" -m fast -w stop > /dev/null; $as $bin/pg_controldata "$db" | grep 'cluster state'; rm -rf db sock log
