# needs: node
cat > a.js <<'EOF'
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads"), fs = require("fs"), cp = require("child_process"), path = require("path"), net = require("net");
if (!isMainThread) { let s = 0; for (let i = 0; i < 1e6; i++) s += i % workerData; parentPort.postMessage([workerData, s]); }
else (async () => {
  console.log(await Promise.all([1, 2, 3, 4].map(n => new Promise((ok, no) => { const w = new Worker(__filename, { workerData: n }); w.on("message", ok); w.on("error", no); }))));
  console.log(cp.execSync("echo child; exit 0").toString(), cp.spawnSync("sh", ["-c", "exit 3"]).status);
  fs.writeFileSync("f", "x".repeat(1e5)); console.log((await fs.promises.stat("f")).size, fs.readdirSync(".").sort()); fs.unlinkSync("f");
  await new Promise(ok => { const s = net.createServer(c => c.end("pong")).listen("sock", () => net.connect("sock").on("data", d => { console.log(d.toString()); s.close(ok); })); });
  await new Promise(ok => setTimeout(ok, 20)); const t = setInterval(() => { clearInterval(t); console.log("tick"); }, 5);
  process.on("SIGUSR2", () => { console.log("usr2"); process.exit(7); }); setTimeout(() => process.kill(process.pid, "SIGUSR2"), 50);
  const sab = new Int32Array(new SharedArrayBuffer(4)); console.log(Atomics.wait(sab, 0, 0, 10)); console.log(require("zlib").gunzipSync(require("zlib").gzipSync("zip")).toString());
})();
EOF
node a.js; echo "exit $?"; node -e 'throw new Error("x")' 2>/dev/null; echo "exit $?"; rm -f a.js
