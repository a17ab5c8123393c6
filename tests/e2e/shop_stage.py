"""What the experiments of examples/experiments are run against: two replicas of examples/shop behind nginx, with Redis and
PostgreSQL, all but the last under the shim, and a supervisor that starts again what ends.

An experiment fails when that is taken away which its hypothesis rests on, and nothing else is: of the shop its breakers, fallback and
time-outs; of the platform the balancer's next try and the supervisor; of the machine most of the time on the CPUs."""
import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading

from harness import BUILD, CTL, SessionTest, TooLate, free_port, until

HYPOTHESIS_FAILED = 4
SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
EXPERIMENTS = os.path.join(SOURCE, "examples/experiments")
SHOP = os.path.join(BUILD, "bin/shop")
POSTGRES = (sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres")) or [shutil.which("postgres")])[-1]
ITEMS = "20000"
SHOP_ITSELF, PLATFORM, MACHINE = "shop", "platform", "machine"  # what may be taken away
RESTS_ON = {name: PLATFORM for name in ("instance-failure", "instances-failure", "region-outage", "bad-deployment", "configuration-error")} | {"high-cpu": MACHINE}  # all others: on the shop

NGINX = """daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  upstream shops {{
    server 127.0.0.1:{first} max_fails={fails} fail_timeout=1s;
    server 127.0.0.1:{second} max_fails={fails} fail_timeout=1s;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://shops;
      proxy_connect_timeout 300ms;
      proxy_next_upstream {next};
      add_header X-Replica $upstream_addr always;
    }}
  }}
}}
"""


class Supervised:
    """A program that is started again whenever it ends, unless it is not meant to be."""

    def __init__(self, argv, env, log, again, polite=False):
        self.argv, self.env, self.log, self.again, self.polite = argv, env, log, again, polite  # polite: it has children to end
        self.ending = False
        self.start()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def start(self):
        with open(self.log, "a") as out:
            self.process = subprocess.Popen(self.argv, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

    def watch(self):
        while True:
            self.process.wait()
            if self.ending or not self.again:
                return
            self.start()

    def end(self):
        self.ending = True
        if self.polite:
            self.process.terminate()
            self.thread.join(3)
        while self.thread.is_alive():  # it may just be starting the next one
            self.process.kill()
            self.thread.join(0.05)
        self.process.wait()


class StageTest(SessionTest):
    @classmethod
    def setUpClass(cls):
        if not POSTGRES:
            raise AssertionError("postgres is not installed: tools/install-dependencies")
        cls.data = tempfile.mkdtemp(prefix="chaos-postgres-")
        cls.addClassCleanup(shutil.rmtree, cls.data, ignore_errors=True)
        cls.user = {}
        if os.geteuid() == 0:  # which PostgreSQL refuses
            user = pwd.getpwnam("postgres")
            os.chown(cls.data, user.pw_uid, user.pw_gid)
            cls.user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        folder = os.path.dirname(POSTGRES)
        subprocess.run([folder + "/initdb", "-D", cls.data + "/d", "-U", "shop", "-A", "trust", "--no-sync", "-E", "UTF8"], check=True,
                       capture_output=True, cwd="/", **cls.user)
        cls.port = free_port()
        cls.postgres = subprocess.Popen([POSTGRES, "-D", cls.data + "/d", "-p", str(cls.port), "-h", "127.0.0.1", "-k", "", "-F"], cwd="/",
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **cls.user)
        cls.addClassCleanup(cls.postgres.wait)
        cls.addClassCleanup(cls.postgres.send_signal, signal.SIGQUIT)  # at once, with its children
        ready = [folder + "/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(cls.port)]
        until(lambda: subprocess.run(ready).returncode == 0, "postgres", deadline=60)
        # Prepared once: what is under test is how the shop sells.
        psql = subprocess.run([folder + "/psql", "-q", "-h", "127.0.0.1", "-p", str(cls.port), "-U", "shop", "postgres", "-c",
                               "create table items (id int primary key, name text not null, price_cents int not null)", "-c",
                               f"insert into items select i, 'thing ' || i, i * 100 from generate_series(1, {ITEMS}) i"], capture_output=True, text=True)
        if psql.returncode:
            raise AssertionError(psql.stderr)

    def supervised(self, name, *argv, again=True, polite=False, env=None):
        p = Supervised(list(argv), {**self.env, **(env or {})}, os.path.join(self.dir, name + ".log"), again, polite)
        self.addCleanup(p.end)
        return p

    def set_up_stage(self, without=None):
        platform = without != PLATFORM
        redis, balancer, ports = free_port(), free_port(), (free_port(), free_port())
        redis_folder = os.path.join(self.dir, "redis")
        os.mkdir(redis_folder)
        self.supervised("redis", CTL, "run", "--", "redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
                        "--appendfsync", "everysec", "--dir", redis_folder, again=platform)
        self.await_stage(lambda: subprocess.run(["redis-cli", "-p", str(redis), "ping"], capture_output=True, text=True).stdout == "PONG\n", "redis")
        database = f"host=127.0.0.1 dbname=postgres user=shop port={self.port}"
        self.shops = []
        for i, port in enumerate(ports):
            self.shops.append(self.supervised(f"shop-{i + 1}", CTL, "run", "--", SHOP, "--port", str(port), "--redis", f"redis://127.0.0.1:{redis}", "--timeout-ms", "300",
                                              "--recovery-ms", "500", "--resilience", "off" if without == SHOP_ITSELF else "on", *(["--l1-s", "3600"] if i else []), again=platform,
                                              env={"DATABASE_URL": database}))
        for i, port in enumerate(ports):
            self.await_stage(lambda: "listening" in self.log(f"shop-{i + 1}"), f"shop-{i + 1}")
            if without == MACHINE:
                self.starve(self.shops[i].process.pid)
        with open(os.path.join(self.dir, "nginx.conf"), "w") as f:
            f.write(NGINX.format(dir=self.dir, port=balancer, first=ports[0], second=ports[1], fails=1 if platform else 0,
                                 next="error timeout http_500 http_502 http_503" if platform else "off"))
        self.supervised("nginx", CTL, "run", "--", "nginx", "-c", os.path.join(self.dir, "nginx.conf"), again=False, polite=True)
        self.await_stage(lambda: subprocess.run(["curl", "-sf", f"http://127.0.0.1:{balancer}/healthz"], capture_output=True).returncode == 0, "nginx")
        self.env.update(SHOP=f"127.0.0.1:{ports[0]}", SHOP_1=f"127.0.0.1:{ports[0]}", SHOP_2=f"127.0.0.1:{ports[1]}", SHOP_L1=f"127.0.0.1:{ports[1]}",
                        SHOP_PID=str(self.shops[0].process.pid), SHOP_1_PID=str(self.shops[0].process.pid), SHOP_2_PID=str(self.shops[1].process.pid), SHOP_LOG=os.path.join(self.dir, "shop-1.log"), BALANCER=f"127.0.0.1:{balancer}",
                        REDIS=f"127.0.0.1:{redis}", REDIS_FOLDER=redis_folder, POSTGRES=f"127.0.0.1:{self.port}", ITEMS=ITEMS, PROCESS="shop",
                        BASELINE="1s", OBSERVE="3s", RECOVER="2s" if without else "10s", AFTER="3s", CPUS="16", ACCEPTABLE="60ms", AVAILABLE="20%", STEP="1s", STEP_2="2s", HALF_OPEN="500ms")

    def starve(self, pid):
        """The process runs 50 ms of every 150, as under a cgroup's cpu.max of a third, which needs no rights here."""
        over = threading.Event()

        def slices():
            while not over.is_set():
                os.kill(pid, signal.SIGSTOP)
                over.wait(0.1)
                os.kill(pid, signal.SIGCONT)
                over.wait(0.05)
        worker = threading.Thread(target=slices, daemon=True)
        worker.start()
        self.addCleanup(lambda: (over.set(), worker.join()))

    def await_stage(self, condition, name):
        try:
            until(condition, name)
        except AssertionError as e:
            raise AssertionError(f"{e}; its log:\n{self.log(name)}") from None

    def log(self, name):
        with open(os.path.join(self.dir, name + ".log"), errors="replace") as f:
            return f.read()

    def experiment(self, name, outcome, timeout=90):
        """The report as JSON, and the exit status."""
        report = os.environ.get("CHAOS_REPORTS", self.dir) + f"/{os.path.basename(name)}-{outcome}.html"
        answer = self.ctl("experiment", "run", f"{EXPERIMENTS}/{name}.ini", "--json", "--report", report, timeout=timeout)
        try:
            self.assertSteady(answer.json)
            return answer.json, answer
        except json.JSONDecodeError:
            raise AssertionError(f"{name}: {answer}") from None

    def assertSteady(self, out):
        """Before anything is injected the system does what is expected of it: or the machine is too slow for this test."""
        unsteady = [(e["text"], e["measured_text"]) for e in out["expectations"] if e["window"] == "baseline" and e["state"] != "pass"]
        if unsteady:
            raise TooLate(f"without any fault: {unsteady}")

    def assertHeld(self, out):
        """What does not hold are bounds on times, and on the share of requests that are answered in time: best of some, as all such."""
        if out["verdict"] == "failed" and not any("fired" in e["text"] for e in out["expectations"] if e["state"] != "pass"):
            raise TooLate(self.what_happened(out))
        self.assertEqual((out["verdict"], [e for e in out["expectations"] if e["state"] != "pass"]), ("held", []), self.what_happened(out))

    def holds(self, name):
        self.set_up_stage()
        out, answer = self.experiment(name, "holds")
        self.assertHeld(out)
        self.assertEqual(answer.code, 0)
        self.assert_nothing_in_force()

    def fails(self, name, *reasons):
        self.set_up_stage(without=RESTS_ON.get(name, SHOP_ITSELF))
        out, answer = self.experiment(name, "fails")
        self.assertEqual((out["verdict"], answer.code), ("failed", HYPOTHESIS_FAILED), self.what_happened(out))
        failed = {e["text"] for e in out["expectations"] if e["state"] == "fail"}
        self.assertLessEqual(set(reasons), failed, self.what_happened(out))
        if out["faults"]:
            self.assertGreaterEqual(sum(f["fired"] for f in out["faults"]), 1, "it failed because nothing happened")
        self.assert_nothing_in_force()

    def start_emergency(self):
        p = self.start([CTL, "experiment", "run", f"{EXPERIMENTS}/emergency-stop.ini", "--json"], env={"OBSERVE": "60s"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: {"redis-down", "slow-postgres"} <= {r["name"] for r in self.rules() if r["state"] == "active"}, "the faults")
        return p

    def sells(self):
        return subprocess.run(["curl", "-sf", "-m", "2", f"http://{self.env['SHOP']}/item/7"], capture_output=True).returncode == 0

    def assert_nothing_in_force(self):
        self.assertEqual([r["name"] for r in self.rules() if r["state"] != "ended"], [])

    @staticmethod
    def what_happened(out):
        lines = [out["verdict"], out["reason"]] + [f"{e['state']:10} {e['window']:8} {e['text']:45} {e['measured_text']} {e['reason']}" for e in out["expectations"]]
        lines += [f"{p['name']} {w}: {p[w]['samples']} {p[w]['answers']}" for p in out["probes"] for w in ("baseline", "during", "after") if p.get(w)]
        lines += [f"{f['name']}: matched {f['matched']} fired {f['fired']}" for f in out["faults"]] + out.get("notes", [])
        return "\n" + "\n".join(lines)
