"""The last scene of tools/demo: the experiment examples/experiments/redis-failure.ini on examples/shop, with the real Redis of the
scenes before and a PostgreSQL of its own. It writes its report as one HTML page."""
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
ITEMS = 20000


class Postgres:
    """A server in a temporary folder. It refuses root, who becomes the user postgres for it."""

    def __init__(self, port, until):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres")) or [shutil.which("postgres")]
        programs = os.path.dirname(found[-1])
        self.data = tempfile.mkdtemp(prefix="chaos-demo-postgres-")
        user = {}
        if os.geteuid() == 0:
            postgres = pwd.getpwnam("postgres")
            os.chown(self.data, postgres.pw_uid, postgres.pw_gid)
            user = {"user": postgres.pw_uid, "group": postgres.pw_gid, "extra_groups": []}
        subprocess.run([programs + "/initdb", "-D", self.data + "/d", "-U", "shop", "-A", "trust", "--no-sync", "-E", "UTF8"], check=True, capture_output=True,
                       cwd="/", **user)
        self.process = subprocess.Popen([programs + "/postgres", "-D", self.data + "/d", "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"], cwd="/",
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)
        until(lambda: subprocess.run([programs + "/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0, "an answer of postgres")

    def end(self):
        self.process.send_signal(signal.SIGQUIT)  # at once, with its children
        self.process.wait()
        shutil.rmtree(self.data, ignore_errors=True)


def run(build, env, redis_port, free_port, until, start, under_shim):
    """Runs the experiment, shows what it said, and returns its last line and the path of the report."""
    database, port = free_port(), free_port()
    postgres = Postgres(database, until)
    try:
        log = os.path.join(env["CHAOS_DIR"], "shop.log")
        with open(log, "w") as out:
            start(*under_shim(os.path.join(build, "bin/shop"), "--port", str(port), "--redis", f"redis://127.0.0.1:{redis_port}", "--postgres",
                              f"host=127.0.0.1 dbname=postgres user=shop port={database}", "--timeout-ms", "500", "--create", str(ITEMS)), stdout=out, stderr=out)
        until(lambda: "listening" in open(log).read(), "the shop")
        report = os.path.join(os.path.dirname(os.path.abspath(build)), "redis-failure.html")
        words = ["experiment", "run", os.path.join(TOP, "examples/experiments/redis-failure.ini"), "--report", report]
        print("  $ chaos-ctl experiment run examples/experiments/redis-failure.ini --report " + os.path.relpath(report, TOP))
        done = subprocess.run([os.path.join(build, "bin/chaos-ctl"), *words], text=True, capture_output=True, timeout=60,
                              env={**env, "SHOP": f"127.0.0.1:{port}", "REDIS": f"127.0.0.1:{redis_port}", "ITEMS": str(ITEMS), "BASELINE": "3s", "OBSERVE": "6s", "RECOVER": "10s"})
        print("".join(f"  {line}\n" for line in done.stdout.splitlines()), end="")
        if done.returncode:
            raise SystemExit(f"tools/demo: the experiment ended with exit status {done.returncode}\n{done.stderr}")
        return done.stdout.strip().splitlines()[-1], report
    finally:
        postgres.end()
