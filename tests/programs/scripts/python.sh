# needs: python3
cat > a.py <<'EOF'
import asyncio, mmap, multiprocessing, os, queue, signal, sqlite3, subprocess, sys, tempfile, threading, time, select, socket, selectors
def square(x): return x * x
def main():
    results, lock = [], threading.Lock()
    def work(n):
        for _ in range(100):
            with lock: results.append(n)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [t.start() for t in threads]; [t.join() for t in threads]
    print(len(results), sum(results))
    made = 0
    for _ in range(40):
        batch = [threading.Thread(target=lambda: None) for _ in range(8)]
        [t.start() for t in batch]; [t.join() for t in batch]; made += len(batch)
    for _ in range(3):
        gate = threading.Barrier(9); batch = [threading.Thread(target=gate.wait) for _ in range(8)]
        [t.start() for t in batch]; gate.wait(); [t.join() for t in batch]; made += len(batch)
    print(made)
    q = queue.Queue(); threading.Thread(target=lambda: [q.put(i) for i in range(10)]).start(); print(sum(q.get() for _ in range(10)))
    e = threading.Event(); threading.Timer(0.05, e.set).start(); print(e.wait(5))
    for method in ("fork", "spawn"):
        ctx = multiprocessing.get_context(method)
        with ctx.Pool(3) as pool: print(method, pool.map(square, range(10)))
        parent, child = ctx.Pipe(); p = ctx.Process(target=child_main, args=(child,)); p.start(); print(parent.recv()); p.join(); print(p.exitcode)
        v = ctx.Value("i", 0); ps = [ctx.Process(target=bump, args=(v,)) for _ in range(3)]; [p.start() for p in ps]; [p.join() for p in ps]; print(v.value)
    print(subprocess.run(["sh", "-c", "cat; echo err >&2; exit 3"], input=b"in", capture_output=True))
    p = subprocess.Popen(["sleep", "10"]); p.terminate(); print(p.wait())
    try: subprocess.run(["sleep", "10"], timeout=0.1)
    except subprocess.TimeoutExpired as x: print("timeout", x.cmd)
    try: subprocess.run(["./missing"])
    except FileNotFoundError as x: print(x)
    asyncio.run(amain())
    with tempfile.TemporaryFile(dir=".") as f:
        f.write(b"x" * 10000); f.flush(); m = mmap.mmap(f.fileno(), 0); m[5000:5003] = b"abc"; m.flush(); f.seek(4999); print(f.read(5)); m.close()
    m = mmap.mmap(-1, 4096)
    if os.fork() == 0: m[0] = 42; os._exit(0)
    os.wait(); print(m[0])
    db = sqlite3.connect("a.db"); db.execute("create table t(a integer primary key, b text)")
    with db: db.executemany("insert into t(b) values(?)", [(str(i),) for i in range(1000)])
    print(db.execute("select count(*), sum(a) from t where b like '%7%'").fetchone()); db.close(); os.remove("a.db")
    signal.signal(signal.SIGALRM, lambda s, f: print("alarm", s)); signal.setitimer(signal.ITIMER_REAL, 0.05); signal.pause()
    r, w = os.pipe(); print(select.select([r], [w], [], 0) == ([], [w], [])); os.write(w, b"x"); print(select.select([r], [], [], 1)[0] == [r])
    a, b = socket.socketpair(); s = selectors.DefaultSelector(); s.register(b, selectors.EVENT_READ); a.send(b"hi"); print(len(s.select(1)), b.recv(10))
    pid, fd = os.forkpty()
    if pid == 0: print("in a pty", os.isatty(0)); sys.stdout.flush(); os._exit(5)
    out = b""
    try:
        while d := os.read(fd, 100): out += d
    except OSError: pass
    print(out, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    print(sorted(os.listdir("/proc/self/task")) == [str(os.getpid())], os.cpu_count() == len(os.sched_getaffinity(0)))
def child_main(c): c.send(("hello", os.getppid() > 0)); sys.exit(4)
def bump(v):
    for _ in range(100):
        with v.get_lock(): v.value += 1
async def amain():
    async def tick(n): await asyncio.sleep(0.01 * n); return n
    print(await asyncio.gather(*(tick(n) for n in range(5))))
    p = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1); print(await p.communicate(b"async"))
    server = await asyncio.start_unix_server(serve, "sock"); r, w = await asyncio.open_unix_connection("sock"); w.write(b"ping\n"); print(await r.readline()); w.close(); server.close(); await server.wait_closed(); os.remove("sock")
async def serve(r, w): w.write((await r.readline()).upper()); await w.drain(); w.close()
if __name__ == "__main__": main()
EOF
python3 a.py; echo "exit $?"; python3 -c 'import sys; sys.exit(5)'; echo "exit $?"; python3 -c 'raise SystemError("x")' 2>&1 | tail -1; rm -rf a.py __pycache__
