"""The five endpoints under /chaos_experiments/: their names, defaults and shapes, and that `test` suffers what is active."""
import os
import subprocess
import time
import unittest

from harness import SHIM, free_port, until
from http_harness import HttpTest

DEFAULTS = {"latency_injection": ("delay_seconds", 2.0), "error_injection": ("error_rate", 0.1), "resource_exhaustion": ("memory_mb", 100)}


class Five(HttpTest):
    def five(self, method, what, body=None, status=200, **more):
        answer = self.checked(method, f"/chaos_experiments/{what}", body, status, **more).json
        self.assertEqual(answer["error"], status >= 400)
        return answer["error_message"] if status >= 400 else answer["resultset"]

    def begin(self, name, **parameters):
        return self.five("POST", "start", {"experiment_name": name, **parameters})

    def end(self, name):
        return self.five("POST", "stop", {"experiment_name": name})

    def took(self):
        began = time.monotonic()
        self.five("GET", "test", token=False)
        return time.monotonic() - began

    def test_what_can_be_injected_with_its_defaults(self):
        listed = self.five("GET", "list")
        self.assertEqual({e["name"]: e["parameters"] for e in listed["available_experiments"]}, {n: [p, "duration_seconds"] for n, (p, _) in DEFAULTS.items()})
        self.assertTrue(all(e["description"] for e in listed["available_experiments"]))
        self.assertEqual(listed["active_experiments"], [])
        for name, (parameter, value) in DEFAULTS.items():
            self.assertEqual(self.begin(name), {"status": "executed", "experiment": name, parameter: value, "duration_seconds": 30.0})
        active = self.five("GET", "list")["active_experiments"]
        self.assertEqual({(e["name"], e["status"]) for e in active}, {(n, "running") for n in DEFAULTS})
        self.assertEqual({e["name"] for e in self.ok("experiment", "list", "--json").json["experiments"]}, set(DEFAULTS), "each is in the table of experiments")
        for name in DEFAULTS:
            stopped = self.end(name)
            self.assertEqual((stopped["status"], stopped["experiment"]), ("stopped", name))
            self.assertLess(stopped["duration"], 30)
        self.assertEqual(self.five("GET", "list")["active_experiments"], [])

    def test_the_defaults_can_be_set(self):
        self.configure(default_latency="200ms..400ms", default_error_rate="100%")
        schema = self.get("/v1/openapi.json").json["components"]["schemas"]["compat_start_request"]["properties"]
        self.assertEqual([schema[p]["default"] for p in ("delay_seconds", "error_rate", "memory_mb")], [0.3, 1, 100])
        begun = self.begin("latency_injection", target="127.0.0.1:1")
        self.assertEqual(begun["delay_seconds"], 0.3)
        for told, set_ in zip(begun["delay_range_seconds"], (0.2, 0.4)):
            self.assertAlmostEqual(told, set_)
        self.assertIn("300ms --jitter 100ms", self.rule("latency_injection")["text"])
        times = [self.took() for _ in range(8)]
        self.assertGreaterEqual(min(times), 0.2)
        self.assertSoon(max(times), 0.9)
        self.assertGreater(max(times) - min(times), 0.01, "drawn anew for each")
        self.assertNotIn("delay_range_seconds", self.begin("latency_injection", delay_seconds=0))
        self.assertEqual(self.begin("error_injection")["error_rate"], 1)
        self.assertEqual(self.five("GET", "test", status=500, token=False), "Chaos experiment: Injected error")
        self.assertEqual(self.begin("error_injection", error_rate=0)["error_rate"], 0)
        self.five("GET", "test", token=False)

    def test_latency_is_suffered_until_it_is_stopped(self):
        self.assertSoon(self.took(), 0.3)
        self.begin("latency_injection", delay_seconds=0.5)
        self.assertGreaterEqual(self.took(), 0.5)
        answer = self.five("GET", "test", token=False)
        self.assertEqual(answer["active_chaos_experiments"], ["latency_injection"])
        self.assertEqual(answer["message"], "Test endpoint response")
        self.end("latency_injection")
        self.assertSoon(self.took(), 0.3)

    def test_a_delayed_answer_holds_up_nobody_else(self):
        self.begin("latency_injection", delay_seconds=3)
        waiting = [subprocess.Popen(["curl", "-s", "-o", "/dev/null", f"{self.url}/chaos_experiments/test"]) for _ in range(30)]
        began = time.monotonic()
        for _ in range(10):
            self.get("/healthz")
        self.assertSoon(time.monotonic() - began, 2)
        for p in waiting:
            self.assertEqual(p.wait(timeout=20), 0)
        self.assertGreaterEqual(time.monotonic() - began, 2.5)

    def test_errors_come_at_their_rate(self):
        self.begin("error_injection", error_rate=0.5)
        statuses = [self.http("GET", "/chaos_experiments/test", token=False).status for _ in range(200)]
        self.assertEqual(set(statuses), {200, 500})
        self.assertTrue(60 <= statuses.count(500) <= 140, statuses.count(500))
        results = self.end("error_injection")["results"]
        self.assertEqual((results["total_requests"], results["errors_injected"]), (200, statuses.count(500)))
        self.begin("error_injection", error_rate=1)
        self.assertEqual(self.five("GET", "test", status=500, token=False), "Chaos experiment: Injected error")
        self.begin("error_injection", error_rate=0)
        self.assertEqual({self.http("GET", "/chaos_experiments/test", token=False).status for _ in range(20)}, {200})

    def test_memory_is_consumed_and_given_back(self):
        def stat(pid):
            with open(f"/proc/{pid}/stat") as f:
                name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
            return name, int(rest.split()[1]), int(rest.split()[21]) * 4096

        def mine(pid):
            """Does chaosd stand among its forebears?"""
            while pid > 1:
                if pid == self.daemon:
                    return True
                pid = stat(pid)[1]
            return False

        def consumed():
            total = 0
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    name, _, resident = stat(pid)
                    if name.startswith("stress-ng") and mine(int(pid)):
                        total += resident
                except (OSError, IndexError):
                    continue
            return total
        self.daemon = self.daemon_pid()
        self.assertEqual(consumed(), 0)
        self.begin("resource_exhaustion", memory_mb=60)
        until(lambda: consumed() >= 60_000_000, "the memory")
        self.end("resource_exhaustion")
        until(lambda: consumed() == 0, "the end of it")

    def test_it_ends_by_itself(self):
        self.begin("latency_injection", delay_seconds=0.4, duration_seconds=3)
        self.assertGreaterEqual(self.took(), 0.4)
        until(lambda: self.five("GET", "status?experiment_name=latency_injection")["status"] == "completed", "its end")
        self.assertSoon(self.took(), 0.3)
        (e,) = self.ok("experiment", "list", "--json").json["experiments"]
        self.assertEqual((e["state"], e["verdict"]), ("ended", "completed"))

    def test_status_of_one_and_of_all(self):
        self.begin("latency_injection", delay_seconds=0)
        one = self.five("GET", "status?experiment_name=latency_injection")
        self.assertEqual(set(one), {"name", "description", "status", "start_time", "end_time", "results"})
        self.assertEqual((one["name"], one["status"], one["end_time"]), ("latency_injection", "running", None))
        self.assertEqual([e["name"] for e in self.five("GET", "status")["experiments"]], ["latency_injection"])
        self.assertIn("not found", self.five("GET", "status?experiment_name=error_injection", status=404))

    def test_programs_under_the_shim_suffer_when_a_target_is_named(self):
        port = free_port()
        self.start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir], env={"LD_PRELOAD": SHIM},
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def ping():
            began = time.monotonic()
            out = subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True, text=True, timeout=20).stdout
            return out == "PONG\n" and time.monotonic() - began
        until(ping, "redis-server")
        self.begin("latency_injection", delay_seconds=0.4, target=f"listen:{port}")
        self.assertGreaterEqual(ping(), 0.4)
        self.assertGreaterEqual(self.rule("latency_injection")["fired"], 1)
        self.end("latency_injection")
        self.assertEqual(self.rule("latency_injection")["state"], "ended")
        self.assertSoon(ping(), 0.4)
        self.begin("error_injection", error_rate=1, target=f"listen:{port}")
        self.assertFalse(ping())
        until(lambda: self.rule("error_injection")["fired"] >= 1, "the counter")
        self.ok("experiment", "stop", "error_injection")
        self.assertEqual(self.rule("error_injection")["state"], "ended")
        until(lambda: self.five("GET", "status?experiment_name=error_injection")["status"] == "completed", "what chaos-ctl stopped")

    def test_wrong_use(self):
        for body, said in (({}, "Missing required parameter: experiment_name"), ({"experiment_name": "latency"}, "Unknown experiment: latency"), ({"experiment_name": 1}, "Missing required"),
                           ({"experiment_name": "latency_injection", "delay_second": 1}, "did you mean"), ({"experiment_name": "latency_injection", "delay_seconds": "2"}, "not a number"),
                           ({"experiment_name": "latency_injection", "delay_seconds": -1}, "from 0"), ({"experiment_name": "error_injection", "error_rate": 1.5}, "from 0"),
                           ({"experiment_name": "resource_exhaustion", "memory_mb": 0}, "from 1"), ({"experiment_name": "latency_injection", "duration_seconds": 0}, "above 0"),
                           ({"experiment_name": "latency_injection", "target": "nonsense::"}, "nonsense"), ({"experiment_name": "latency_injection", "target": "*"}, "everything")):
            self.assertIn(said, self.five("POST", "start", body, 400), body)
        self.assertIn("experiment_timeout", self.five("POST", "start", {"experiment_name": "latency_injection", "duration_seconds": 400}, 403))
        self.assertIn("not found", self.five("POST", "stop", {"experiment_name": "latency_injection"}, 404))
        self.assertIn("Missing", self.five("POST", "stop", {}, 400))
        self.assertEqual(self.five("GET", "list")["active_experiments"], [])
        self.assertEqual([r for r in self.rules() if r["state"] != "ended"], [])
        self.assertEqual({e["state"] for e in self.ok("experiment", "list", "--json").json["experiments"]}, {"ended"})


if __name__ == "__main__":
    unittest.main()
