"""The experiments of examples/experiments, shortened, on examples/shop with a real Redis and a real PostgreSQL: they hold on
the shop as it is, and each fails for the right reason on a shop without breakers, fallback and time-outs."""
import glob
import os
import pwd
import shutil
import subprocess
import tempfile
import unittest

import side_by_side
from harness import BUILD, CTL, DONE, SessionTest, TooLate, free_port, until

HYPOTHESIS_FAILED = 4
SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
SHOP = os.path.join(BUILD, "bin/shop")
POSTGRES = (sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres")) or [shutil.which("postgres")])[-1]


@unittest.skipUnless(os.path.exists(SHOP), "examples/shop was not built")
class ShopExperiments(SessionTest):
    @classmethod
    def setUpClass(cls):
        if not POSTGRES:
            raise AssertionError("postgres is not installed: apt-get install postgresql")
        cls.data = tempfile.mkdtemp(prefix="chaos-postgres-")
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
        ready = [folder + "/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(cls.port)]
        until(lambda: subprocess.run(ready).returncode == 0, "postgres", deadline=60)

    @classmethod
    def tearDownClass(cls):
        cls.postgres.send_signal(3)  # SIGQUIT: at once, with its children
        cls.postgres.wait()
        shutil.rmtree(cls.data, ignore_errors=True)

    def shop(self, resilience):
        redis, port = free_port(), free_port()
        self.start(["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir], stdout=subprocess.DEVNULL)
        until(lambda: subprocess.run(["redis-cli", "-p", str(redis), "ping"], capture_output=True).returncode == 0, "redis-server")
        log = os.path.join(self.dir, "shop.log")
        with open(log, "w") as out:
            self.start([CTL, "run", "--", SHOP, "--port", str(port), "--redis", f"redis://127.0.0.1:{redis}", "--postgres",
                        f"host=127.0.0.1 dbname=postgres user=shop port={self.port}", "--timeout-ms", "500", "--recovery-ms", "500",
                        "--create", "20000", "--resilience", resilience], stdout=out, stderr=out)

        def listening():
            with open(log) as said:
                return "listening" in said.read()
        until(listening, "the shop", deadline=60)  # it creates its items first
        self.env.update(SHOP=f"127.0.0.1:{port}", REDIS=f"127.0.0.1:{redis}", POSTGRES=f"127.0.0.1:{self.port}", BASELINE="2s", OBSERVE="5s",
                        RECOVER="15s", ITEMS="20000")

    def run_it(self, name, resilience, status, **env):
        self.shop(resilience)
        report = os.environ.get("CHAOS_REPORTS", self.dir) + f"/{name}-{resilience}.html"
        answer = self.ctl("experiment", "run", f"{SOURCE}/examples/experiments/{name}.ini", "--json", "--report", report, env=env, timeout=60)
        out = answer.json
        unsteady = [e["text"] for e in out["expectations"] if e["window"] == "baseline" and e["state"] != "pass"]
        if unsteady:
            raise TooLate(f"without any fault this machine is too slow for {unsteady}")
        self.assertEqual(answer.code, status, answer)
        self.assertEqual([r["name"] for r in self.rules() if r["state"] != "ended"], [])
        for fault in out["faults"]:
            self.assertGreaterEqual(fault["fired"], 1, fault)
        return {e["text"] for e in out["expectations"] if e["state"] == "fail"}

    def test_redis_failure(self):
        self.assertEqual(self.run_it("redis-failure", "on", DONE), set())

    def test_database_failure(self):
        self.assertEqual(self.run_it("database-failure", "on", DONE), set())

    def test_network_latency(self):
        self.assertEqual(self.run_it("network-latency", "on", DONE), set())

    def test_without_fallback_the_redis_failure_is_found_out(self):
        failed = self.run_it("redis-failure", "off", HYPOTHESIS_FAILED)
        self.assertLessEqual({"shop success_rate >= 99%", "shop header X-Source: postgres >= 80%", "shop status 5xx < 1%"}, failed)
        self.assertLessEqual({"customers fallback_ratio >= 0.99", "opens_within redis = 5 failures", "half_opens_after redis = 500ms ±40%", "no_calls_while_open redis redis-down"}, failed,
                             "it has neither fallback nor breaker")
        self.assertLessEqual(failed & {"no_crash", "recovers_within = 15s"}, set())

    def test_without_breaker_the_database_failure_is_found_out(self):
        failed = self.run_it("database-failure", "off", HYPOTHESIS_FAILED)
        self.assertLessEqual({"shop status 503 >= 90%", "shop timeout_rate < 1%", "shop p50 < 50ms", "opens_within postgres = 5 failures", "shop fails_fast_under postgres = 50ms", "no_hang"}, failed)
        self.assertNotIn("no_crash", failed)

    def test_without_time_outs_the_network_latency_is_found_out(self):
        failed = self.run_it("network-latency", "off", HYPOTHESIS_FAILED)
        self.assertLessEqual({"p50 < 100ms", "max < 2500ms"}, failed)

load_tests = side_by_side.share

if __name__ == "__main__":
    unittest.main()
