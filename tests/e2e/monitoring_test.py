"""Alerts, dashboard and CI job that stand in examples/: what they look at is what the shop and chaosd export, and promtool understands it."""
import json
import os
import re
import shutil
import subprocess
import unittest
import urllib.request

from harness import BUILD, free_port, until
from http_harness import HttpTest

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
PROMETHEUS = os.path.join(SOURCE, "examples/prometheus")
METRIC = re.compile(r"\b((?:shop|chaos|chaosd)_[a-z_]+)\b")


def dashboard():
    with open(os.path.join(SOURCE, "examples/grafana/shop.json"), encoding="utf-8") as f:
        return json.load(f)


class Monitoring(HttpTest):
    def promtool(self, *words):
        done = subprocess.run(["promtool", *words], text=True, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def exported(self):
        """Names of all series of a shop that had one request."""
        port = free_port()
        self.start([os.path.join(BUILD, "bin/shop"), "--port", str(port), "--redis", f"redis://127.0.0.1:{free_port()}", "--postgres",
                    f"host=127.0.0.1 dbname=none user=none port={free_port()}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answer(path):
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).read().decode()
            except urllib.error.HTTPError as e:
                return e.read().decode()
            except OSError:
                return ""
        until(lambda: answer("/healthz"), "the shop")
        for i in range(8):  # enough for the breakers to open
            answer(f"/item/{i}")
        return self.names(answer("/metrics"))

    @staticmethod
    def names(text):
        return set(re.findall(r"^([a-z_]+)(?:\{| )", text, re.M))

    def exported_by_chaosd(self):
        """Names of all series of a chaosd that has injected a delay."""
        target = self.target()
        self.post("/v1/rules", {"words": ["latency", "127.0.0.1:1", "5ms"]}, 201)
        self.order(target, "fire 1 3")
        until(lambda: "chaos_delay_seconds_bucket" in self.get("/metrics").text, "the delay")
        return self.names(self.get("/metrics").text)

    def test_alert_rules_are_sound_and_fire_for_their_reason(self):
        self.assertIn("5 rules found", self.promtool("check", "rules", f"{PROMETHEUS}/alerts.yml"))
        for name in ("prometheus.yml", "alerts.yml"):  # to where there is a token
            shutil.copy(f"{PROMETHEUS}/{name}", self.dir)
        self.promtool("check", "config", f"{self.dir}/prometheus.yml")
        self.assertIn("SUCCESS", self.promtool("test", "rules", f"{PROMETHEUS}/alerts_test.yml"))

    def test_every_alert_is_tested_firing_and_silent(self):
        with open(f"{PROMETHEUS}/alerts.yml", encoding="utf-8") as f:
            alerts = re.findall(r"- alert: (\w+)", f.read())
        with open(f"{PROMETHEUS}/alerts_test.yml", encoding="utf-8") as f:
            text = f.read()
        for alert in alerts:
            self.assertRegex(text, rf"alertname: {alert}\}}", f"{alert} is nowhere expected to be silent")
            self.assertRegex(text, rf"alertname: {alert}\n +exp_alerts:", f"{alert} is nowhere expected to fire")

    def test_a_wrong_threshold_would_be_found_out(self):
        with open(f"{PROMETHEUS}/alerts.yml", encoding="utf-8") as f:
            wrong = f.read().replace("> 0.05", "> 0.5")
        with open(os.path.join(self.dir, "alerts.yml"), "w") as f:
            f.write(wrong)
        with open(f"{PROMETHEUS}/alerts_test.yml", encoding="utf-8") as f, open(os.path.join(self.dir, "alerts_test.yml"), "w") as out:
            out.write(f.read())
        self.assertNotEqual(subprocess.run(["promtool", "test", "rules", os.path.join(self.dir, "alerts_test.yml")], capture_output=True).returncode, 0)

    def test_alerts_and_dashboard_look_at_what_is_exported(self):
        there = self.exported() | self.exported_by_chaosd()
        with open(f"{PROMETHEUS}/alerts.yml", encoding="utf-8") as f:
            wanted = set(METRIC.findall(f.read()))
        for panel in dashboard()["panels"]:
            for target in panel["targets"]:
                names = set(METRIC.findall(target["expr"]))
                self.assertTrue(names, target)
                wanted |= names
        self.assertGreater(len(wanted), 8)
        self.assertEqual({w for w in wanted if w not in there}, set())

    def test_every_query_of_the_dashboard_is_sound(self):
        rules = ["groups:", "- name: dashboard", "  rules:"]
        for panel in dashboard()["panels"]:
            for i, target in enumerate(panel["targets"]):
                rules += [f"  - record: panel_{panel['id']}_{i}", "    expr: " + json.dumps(target["expr"].replace("$instance", ".*"))]
        path = os.path.join(self.dir, "panels.yml")
        with open(path, "w") as f:
            f.write("\n".join(rules) + "\n")
        self.promtool("check", "rules", path)

    def test_the_dashboard_shows_what_is_to_be_watched(self):
        board = dashboard()
        expressions = " ".join(t["expr"] for p in board["panels"] for t in p["targets"])
        for part in ("shop_requests_total", "histogram_quantile(0.5,", "histogram_quantile(0.95,", "histogram_quantile(0.99,", "chaos_breaker_state", "shop_cache_requests_total", "shop_database_pool_connections"):
            self.assertIn(part, expressions)
        self.assertEqual(len({p["id"] for p in board["panels"]}), len(board["panels"]))

    def test_the_ci_job_runs_tests_that_there_are_and_tells_when_they_fail(self):
        with open(os.path.join(SOURCE, "examples/ci/chaos.yml"), encoding="utf-8") as f:
            job = f.read()
        self.assertRegex(job, r"- cron: '")
        self.assertRegex(job, r"if: failure\(\)\n(?:.*\n){3} +curl ")
        pattern = re.search(r"ctest .*-R '([^']+)'", job).group(1)
        known = subprocess.run(["ctest", "--test-dir", BUILD, "-N", "-R", pattern], text=True, capture_output=True).stdout
        for name in re.search(r"\(([^)]+)\)", pattern).group(1).split("|"):
            self.assertIn(f"e2e.{name}", known)


if __name__ == "__main__":
    unittest.main()
