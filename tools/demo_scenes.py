"""The scenes of tools/demo. Each sets a fault with chaos-ctl, shows what real Redis programs make of it, and takes it out."""
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import demo_experiment

BUILD = os.path.abspath(sys.argv[1])
CTL = os.path.join(BUILD, "bin/chaos-ctl")
WIDE = 100
bold = (lambda s: f"\x1b[1m{s}\x1b[0m") if sys.stdout.isatty() else (lambda s: s)

folder = tempfile.mkdtemp(prefix="chaos-demo-", dir="/dev/shm")
env = {k: v for k, v in os.environ.items() if not k.startswith("CHAOS_") and k != "LD_PRELOAD"}
env["CHAOS_DIR"] = folder
started = []
report = []


def free_port():
    """Below those that the kernel gives to outgoing connections: it is still free when a server listens on it."""
    while True:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", random.randrange(10000, 32768)))
                return s.getsockname()[1]
            except OSError:
                pass


PORT = free_port()
REDIS = f"127.0.0.1:{PORT}"


def ctl(*words, show=True, check=True):
    if show:
        print(f"  $ chaos-ctl {' '.join(words)}")
    done = subprocess.run([CTL, *words], env=env, text=True, capture_output=True, timeout=30)
    if check and done.returncode:
        raise SystemExit(f"chaos-ctl {' '.join(words)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout.strip()


def start(*argv, **more):
    p = subprocess.Popen(argv, env=env, text=True, **more)
    started.append(p)
    return p


def under_shim(*argv):
    return [CTL, "run", "--", *argv]


def until(condition, what, deadline=10):
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"tools/demo: never came: {what}")
        time.sleep(0.02)


def answers():
    try:
        with socket.create_connection(("127.0.0.1", PORT), 1) as s:
            s.sendall(b"PING\r\n")
            return s.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def redis_cli(*words):
    """Runs redis-cli under the shim: what it said, and for how long it ran."""
    began = time.monotonic()
    done = subprocess.run(under_shim("redis-cli", "-p", str(PORT), *words), env=env, text=True, capture_output=True, timeout=60)
    return (done.stdout + done.stderr).strip().splitlines()[-1:] or [""], time.monotonic() - began


def benchmark(requests, clients=10):
    done = subprocess.run(under_shim("redis-benchmark", "-p", str(PORT), "-t", "get", "-n", str(requests), "-c", str(clients), "--csv"),
                          env=env, text=True, capture_output=True, timeout=60)
    names, values = [[c.strip('"') for c in line.split(",")] for line in done.stdout.strip().splitlines()[-2:]]
    row = dict(zip(names, values))
    return float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"])


def scene(title):
    print("\n" + bold(title))


def keep(what, seen):
    print(f"    {seen}")
    report.append((what, seen))


class Client:
    """One connection to redis that pings."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = self.socket.getsockname()[1]

    def ping_ms(self, times):
        took = []
        for i in range(times):
            began = time.perf_counter()
            self.socket.sendall(b"PING %06d\r\n" % i)
            answer = self.socket.recv(64)
            took.append((time.perf_counter() - began) * 1000)
            if answer != b"$6\r\n%06d\r\n" % i:
                raise SystemExit(f"tools/demo: ping {i} was answered with {answer!r}")
        return sorted(took)[len(took) // 2]


def fired(name):
    return next(r for r in json.loads(ctl("list", "--json", show=False))["rules"] if r["name"] == name)["fired"]


def main():
    print(f"libchaos demo: redis on port {PORT}, session folder {folder}")
    start(*under_shim("redis-server", "--port", str(PORT), "--save", "", "--appendonly", "no"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(answers, "an answer of redis-server")
    watch_path = os.path.join(folder, "watched")
    with open(watch_path, "w") as out:
        start(CTL, "watch", stdout=out, stderr=subprocess.DEVNULL)

    scene("1. Nothing set: the shim is loaded and does nothing")
    (said,), took = redis_cli("ping")
    rps, p50, p99 = benchmark(20000)
    keep("no fault", f"redis-cli ping: {said}; redis-benchmark: {rps:,.0f} requests/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms")

    scene("2. Latency: every answer reaches the client 100 ms later")
    ctl("set", "latency", REDIS, "100ms", "--process", "redis-*", "--name", "slow")
    (said,), took = redis_cli("ping")
    rps, p50, _ = benchmark(200)
    keep("latency 100ms", f"redis-cli ping: {said} after {took * 1000:.0f} ms; redis-benchmark: p50 {p50:.0f} ms ({fired('slow')} calls delayed)")
    ctl("rm", "slow")
    _, p50, _ = benchmark(20000)
    keep("… removed", f"redis-benchmark: p50 {p50:.2f} ms")

    scene("3. One connection of the running server: 100 ms for it, nothing for the others")
    one, other = Client(), Client()
    ctl("set", "latency", f"127.0.0.1:{one.port}", "100ms", "--process", "redis-server", "--name", "one-client")
    keep("one client slow", f"that client: {one.ping_ms(5):.1f} ms a ping, another: {other.ping_ms(200):.2f} ms")
    ctl("rm", "one-client")
    keep("… removed", f"that client: {one.ping_ms(50):.2f} ms a ping; same process, same connection")

    scene("4. Refusal: new connections are refused, though redis is up")
    ctl("set", "down", REDIS, "--process", "redis-cli", "--name", "refused")
    (said,), _ = redis_cli("ping")
    keep("down --how refuse", f"redis-cli: {said}")
    ctl("rm", "refused")

    scene("5. Resets: the third answer of each connection is a connection reset")
    ctl("set", "error", REDIS, "ECONNRESET", "--on", "stream_in", "--when", "3", "--process", "redis-cli", "--name", "resets")
    done = subprocess.run(under_shim("redis-cli", "-p", str(PORT), "-r", "5", "ping"), env=env, text=True, capture_output=True, timeout=60)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line]
    keep("error ECONNRESET --when 3", "redis-cli -r 5 ping: " + " · ".join(said)[:WIDE])
    ctl("rm", "resets")

    scene("6. Loss: three segments in a hundred are lost and come again 200 ms later")
    ctl("set", "loss", REDIS, "3%", "--seed", "7", "--process", "redis-benchmark", "--name", "lossy")
    rps, p50, p99 = benchmark(1000)
    keep("loss 3%", f"redis-benchmark: p50 {p50:.2f} ms, p99 {p99:.0f} ms ({fired('lossy')} segments lost)")
    ctl("rm", "lossy")

    scene("7. An experiment: while Redis is down, a shop with a circuit breaker sells from PostgreSQL")
    verdict, page = demo_experiment.run(BUILD, env, PORT, free_port, until, start, under_shim)
    keep("redis-failure.ini", verdict)

    scene("What `chaos-ctl watch` showed meanwhile")
    time_up = time.monotonic() + 2
    while time.monotonic() < time_up and "lossy" not in open(watch_path).read():
        time.sleep(0.05)
    lines = open(watch_path).read().splitlines()
    shown = []
    for rule in ("slow", "one-client", "refused", "resets", "lossy"):
        shown += [line for line in lines if f"({rule})" in line][:2 if rule == "slow" else 1]
    print("\n".join("  " + line[:WIDE + 10] for line in shown))
    print(f"  … {len(lines)} lines")

    scene("What `chaos-ctl stats` counted")
    print(re.sub("^", "  ", ctl("stats"), flags=re.M))

    scene("Report")
    for what, seen in report:
        print(f"  {what:<26} {seen}")
    print(f"\nThe experiment's report, with plots: {page}")


def clean_up():
    """Ends what was started here, by pid, and removes the folder."""
    subprocess.run([CTL, "daemon", "stop"], env=env, capture_output=True, timeout=10)
    for p in started:
        if p.poll() is None:
            p.terminate()
    for p in started:
        try:
            p.wait(5)
        except subprocess.TimeoutExpired:
            p.kill()
    shutil.rmtree(folder, ignore_errors=True)


try:
    main()
finally:
    clean_up()
