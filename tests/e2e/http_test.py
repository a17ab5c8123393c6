"""chaosd over HTTP: what it answers, and to whom. Clients that misbehave are in http_hostile_test.py."""
import json
import os
import re
import socket
import subprocess
import time
import unittest

from harness import CTL, DAEMON, FAILED, SHIM, USAGE, free_port, until
from http_harness import HttpTest

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))


def routes():
    """(method, path, open) of every row of routes.def."""
    with open(f"{SOURCE}/control/http/routes.def", encoding="utf-8") as f:
        rows = re.findall(r'^ROUTE\((\w+), +"([^"]+)", +(\w+), +(\w+)', f.read(), re.M)
    verbs = {"get": "GET", "post": "POST", "del": "DELETE"}
    return [(verbs[m], path, access == "open") for m, path, _, access in rows]


def filled(path):
    return re.sub(r"\{\w+\}", "nothing", path)


class Http(HttpTest):
    def redis(self):
        self.port = free_port()
        p = self.start(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir],
                       env={"LD_PRELOAD": SHIM}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: self.ping().endswith("PONG\n"), "redis-server")
        return p

    def ping(self, times=1):
        return subprocess.run(["redis-cli", "-p", str(self.port), "-r", str(times), "ping"], capture_output=True, text=True, timeout=60).stdout

    def metrics(self):
        """name{labels} → value"""
        text = self.get("/metrics").text
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}

    # --- who may ask

    def test_every_endpoint_but_the_open_ones_wants_the_token(self):
        wrong = [False, "x", self.token[:-1], self.token + "x", self.token[:-1] + ("0" if self.token[-1] != "0" else "1"), ""]
        for method, path, is_open in routes():
            for token in wrong if not is_open else []:
                answer = self.http(method, filled(path), "{}" if method == "POST" else None, token=token)
                self.assertEqual(answer.status, 401, f"{method} {path} with {token}")
                self.assertEqual(answer.headers["WWW-Authenticate"].split()[0], "Bearer")
            if is_open:
                self.assertLess(self.http(method, filled(path), token=False).status, 400)
        for header in ("Basic " + self.token, "Bearer", "Bearer  " + self.token, self.token):
            self.assertEqual(self.http("GET", "/v1/rules", token=False, headers={"Authorization": header}).status, 401, header)
        twice = self.raw(f"GET /v1/rules HTTP/1.1\r\nAuthorization: Bearer {self.token}\r\nAuthorization: Bearer {self.token}\r\nConnection: close\r\n\r\n".encode())
        self.assertIn(" 401 ", twice.splitlines()[0])
        self.get("/v1/rules")
        self.assertEqual([r for r in self.rules()], [], "nothing that was refused has done anything")

    def test_the_token_is_read_from_a_file_that_nobody_else_can_read(self):
        def refused(*words, code=FAILED):
            done = subprocess.run([DAEMON, "--dir", f"{self.dir}/other", *words], env=self.env, capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, code, (words, done.stderr))
            return done.stderr
        for mode in (0o644, 0o640, 0o602):
            self.assertIn("chmod 600", refused("--http", "127.0.0.1:0", "--token-file", self.write("open", self.token, mode)))
        self.assertIn("No such file", refused("--http", "127.0.0.1:0", "--token-file", f"{self.dir}/none"))
        self.assertIn("openssl rand", refused("--http", "127.0.0.1:0", "--token-file", self.write("short", "secret\n", 0o600), code=USAGE))
        self.assertIn("blank", refused("--http", "127.0.0.1:0", "--token-file", self.write("blank", "0123456789 0123456789\n", 0o600), code=USAGE))
        self.assertIn("regular", refused("--http", "127.0.0.1:0", "--token-file", self.dir))
        self.assertIn("--token-file", refused("--http", "127.0.0.1:0"))
        self.assertIn("others can reach", refused("--http", "0.0.0.0:0"))
        self.assertIn("--http", refused("--token-file", self.token_file, code=USAGE))
        for address in ("8080", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", "example.org:80", ":80", "[::1:80"):
            self.assertIn("ADDRESS:PORT", refused("--http", address, "--token-file", self.token_file, code=USAGE), address)
        self.assertIn("taken", refused("--http", self.url[7:], "--token-file", self.token_file))
        self.assertFalse(os.path.exists(f"{self.dir}/other/default/control.sock"))

    def test_an_address_that_others_can_reach_comes_with_a_warning(self):
        self.assertEqual([n for n in self.status()["notes"] if "encrypted" in n], [])
        self.configure(http="0.0.0.0:0")
        self.assertEqual(len([n for n in self.status()["notes"] if "encrypted" in n]), 1)
        self.get("/v1/rules")

    def test_off_by_default(self):
        self.ok("daemon", "stop")
        os.unlink(f"{self.dir}/chaos.ini")
        self.ok("daemon", "start")
        self.assertIsNone(self.status()["http"])
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(self.address, timeout=5)

    # --- rules

    def test_rules_come_and_go(self):
        made = self.post("/v1/rules", {"words": ["latency", "127.0.0.1:1", "5ms"]}, 201).json
        self.assertEqual((made["id"], made["name"], made["state"]), (1, "latency-1", "active"))
        self.assertIn("10min", made["warnings"][0])
        self.post("/v1/rules", {"rule": {"kind": "loss", "target": "127.0.0.1:2", "value": "1%", "name": "lossy", "for": "1h"}}, 201)
        self.assertEqual(len(self.post("/v1/rules", {"ini": "[fault a]\nkind = latency\ntarget = 127.0.0.1:3\nvalue = 1ms\n[fault b]\nkind = down\ntarget = 127.0.0.1:4\n"}, 201).json["rules"]), 2)
        self.assertEqual([r["name"] for r in self.get("/v1/rules").json["rules"]], ["latency-1", "lossy", "a", "b"])
        self.assertEqual(self.post("/v1/rules/lossy/pause").json, {"ids": [2]})
        self.assertEqual(self.get("/v1/rules/2").json["state"], "paused")
        self.post("/v1/rules/2/resume")
        self.assertEqual(self.get("/v1/rules/lossy").json["state"], "active")
        self.assertEqual(self.checked("DELETE", "/v1/rules/1", None, 200).json, {"ids": [1]})
        self.assertEqual(self.rule("latency-1")["state"], "ended")
        self.assertEqual(self.post("/v1/stop").json["ended"], 3)
        self.assertEqual({r["state"] for r in self.rules()}, {"ended"})

    def test_wrong_rules_are_answered_with_what_would_be_right(self):
        for body, status, word in (({"words": ["latancy", "127.0.0.1:1", "5ms"]}, 400, "latancy"), ({"words": ["latency", "127.0.0.1:1", "5"]}, 400, "5"), ({"words": []}, 400, ""),
                                   ({"word": []}, 400, "word"), ({}, 400, ""), ({"words": "x"}, 400, ""), ({"words": ["loss", "a:1", "1%"], "ini": ""}, 400, ""),
                                   ({"rule": {"kind": "latency", "target": "127.0.0.1:1", "value": "5ms", "owner": 99999999}}, 400, "99999999"),
                                   ({"rule": {"kind": "latency"}}, 400, ""), ({"words": [1]}, 400, "")):
            answer = self.post("/v1/rules", body, status).json["error"]
            self.assertEqual(set(answer), {"code", "message", "word", "expected"}, body)
            self.assertEqual(answer["word"], word, answer)
        for method, path in (("GET", "/v1/rules/7"), ("DELETE", "/v1/rules/7"), ("POST", "/v1/rules/no/pause"), ("GET", "/v1/experiments/7"), ("POST", "/v1/experiments/x/stop"),
                             ("POST", "/v1/breakers/no/open")):
            self.assertEqual(self.http(method, path).status, 404, path)
        self.assertEqual(self.rules(), [])

    def test_who_asked_over_http_is_in_the_audit_log(self):
        self.post("/v1/rules", {"words": ["latency", "127.0.0.1:1", "5ms"]}, 201)
        self.post("/v1/rules", {"words": ["latency"]}, 400)
        with open(f"{self.dir}/default/audit.jsonl") as f:
            lines = [json.loads(line) for line in f]
        self.assertEqual([(a["command"], a["outcome"]) for a in lines], [("set", "done"), ("set", "missing_word")])
        self.assertRegex(lines[0]["remote"], r"^127\.0\.0\.1:\d+$")
        self.assertNotIn(self.token, json.dumps(lines))

    # --- what there is

    def test_the_openapi_document_is_what_is_served(self):
        document = self.get("/v1/openapi.json").json
        told = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
        self.assertEqual(told, {(method, path) for method, path, _ in routes()})
        for method, path in sorted(told):
            if (method, path) == ("POST", "/v1/stop"):
                continue
            answer = self.http(method, filled(path), "{}" if method == "POST" else None)
            self.assertNotIn(answer.status, (401, 405), f"{method} {path}")
            if answer.status == 404:
                self.assertNotIn("nothing is served", answer.text, f"{method} {path}")
        every = {path for _, path in told}
        for path in every:
            for method in ("GET", "POST", "DELETE", "PUT", "PATCH"):
                if (method, path) not in told:
                    answer = self.http(method, filled(path))
                    self.assertEqual(answer.status, 405, f"{method} {path}")
                    self.assertNotIn(method, answer.headers["Allow"])
        for path in ("/", "/v1", "/v1/", "/v1/rule", "/v1/rules/", "/v2/rules", "/chaos_experiments", "/V1/rules", "/v1/rules/a/b/c"):
            self.assertEqual(self.http("GET", path).status, 404, path)
        names = [o["operationId"] for operations in document["paths"].values() for o in operations.values()]
        self.assertEqual(len(names), len(set(names)))
        schemas = document["components"]["schemas"]
        for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
            self.assertIn(reference, schemas)
        kinds = [e["kind"] for e in self.ok("effects", "--json").json["effects"]]
        self.assertEqual(schemas["rule"]["properties"]["kind"]["enum"], kinds)

    def test_health_without_a_token_and_status_with_it(self):
        self.assertEqual(self.get("/healthz", token=False).json["status"], "ok")
        self.assertEqual(self.get("/v1/status").json["pid"], self.daemon_pid())

    def test_processes_and_breakers(self):
        target = self.target("shop")
        (process,) = self.get("/v1/processes").json["processes"]
        self.assertEqual((process["pid"], process["name"]), (target.pid, "shop"))
        self.assertEqual(self.get("/v1/breakers").json, {"breakers": [], "commands": []})

    # --- metrics

    def test_metrics_move_with_injected_faults(self):
        self.redis()
        self.post("/v1/rules", {"words": ["latency", f"listen:{self.port}", "30ms", "--name", "slow"]}, 201)
        until(lambda: self.metrics().get("chaos_attached_processes") == 1, "the process")
        before = self.metrics()
        self.assertEqual(before['chaos_rules{kind="latency",state="active"}'], 1)
        self.assertEqual(self.ping(10).count("PONG"), 10)
        fired = self.rule("slow")["fired"]
        self.assertGreaterEqual(fired, 10)
        until(lambda: self.metrics().get('chaos_delay_seconds_count{kind="latency"}') == fired, "the events")
        after = self.metrics()
        self.assertEqual(after['chaos_injections_total{kind="latency"}'], fired)  # one of them perhaps was the end of who asked whether redis is there
        self.assertEqual(after['chaos_delay_seconds_bucket{kind="latency",le="+Inf"}'], fired)
        self.assertGreaterEqual(after['chaos_delay_seconds_sum{kind="latency"}'], 0.030 * 10)
        self.assertEqual(after['chaos_delay_seconds_bucket{kind="latency",le="0.025"}'], 0)
        self.assertGreater(after["chaos_events_total"], before["chaos_events_total"])
        self.post("/v1/rules", {"words": ["error", f"listen:{self.port}", "ECONNRESET", "--times", "1", "--on", "recv,read"]}, 201)
        self.ping()
        until(lambda: self.metrics().get('chaos_injections_total{kind="error"}') == 1, "the error")
        # counters never go back, not even when the rules are gone
        self.post("/v1/stop")
        gone = self.metrics()
        self.assertEqual(gone['chaos_injections_total{kind="latency"}'], self.rule("slow")["fired"])
        self.assertNotIn('chaos_rules{kind="latency",state="active"}', gone)
        self.assertSoon(gone["chaos_lease_age_seconds"], 3)

    def test_metrics_are_what_prometheus_reads(self):
        target = self.target('a"b\\c')
        self.post("/v1/rules", {"words": ["latency", "127.0.0.1:1", "5ms"]}, 201)
        self.order(target, "fire 1 3")
        until(lambda: "chaos_delay_seconds_count" in self.get("/metrics").text or self.rule(1)["fired"], "the events")
        answer = self.get("/metrics")
        self.assertTrue(answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        checked = subprocess.run(["promtool", "check", "metrics"], input=answer.text, capture_output=True, text=True, timeout=30)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""), answer.text)

    def test_metrics_can_be_switched_off(self):
        self.configure(metrics="false")
        target = self.target()
        self.post("/v1/rules", {"words": ["latency", "127.0.0.1:1", "5ms"]}, 201)
        self.order(target, "fire 1 3")
        until(lambda: self.rule(1)["fired"] == 3, "the injections")
        until(lambda: len([e for e in self.get("/v1/timeline").json["events"] if e["kind"] == "injection"]) == 3, "the events")
        self.assertEqual(self.get("/metrics", 404).json["error"]["message"], "chaosd was started with metrics = false: there are none")
        self.assertEqual(self.http("GET", "/metrics", token=False).status, 401)
        self.assertEqual(self.ok("stats", "--json").json["delays"], {})

    def test_what_is_wrong_is_named(self):
        for path, part in (("/v1/timeline?lst=2", "unknown parameter 'lst': did you mean 'last'?"), ("/v1/rules?x=1", "takes no parameter, but got 'x'"),
                           ("/v1/timeline?last=x", "last: 'x' is not a number"), ("/v1/timeline?stream=maybe", "stream: 'maybe' is neither")):
            self.assertIn(part, self.get(path, 400).json["error"]["message"])
        for body, part in (({"words": "latency"}, "\"words\" is not a list"), ({}, "one of"), ([], "a JSON array"), (None, "the body is empty"),
                           ({"ini": "[fault x]\nkind = latency\ntarget = a:1\nvalue = 5\n"}, "line 4: [fault x]: latency value: '5' has no unit")):
            self.assertIn(part, self.post("/v1/rules", body, 400).json["error"]["message"])
        self.assertIn("no schedule 'x' runs", self.post("/v1/schedules/x/stop", None, 404).json["error"]["message"])
        self.assertEqual(self.rules(), [])

    # --- timeline

    def test_the_timeline_as_json_and_as_it_happens(self):
        target = self.target()
        self.post("/v1/rules", {"words": ["latency", "127.0.0.1:1", "5ms"]}, 201)
        self.order(target, "fire 1 5")
        until(lambda: len([e for e in self.get("/v1/timeline").json["events"] if e["kind"] == "injection"]) == 5, "the events")
        self.assertEqual(len(self.get("/v1/timeline?last=2").json["events"]), 2)
        for query in ("last=x", "last=-1", "last=", "stream=maybe"):
            self.get(f"/v1/timeline?{query}", 400)
        with socket.create_connection(self.address, timeout=10) as s, s.makefile("r") as lines:
            s.sendall(f"GET /v1/timeline?last=2 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode())
            self.assertIn(" 200 ", lines.readline())
            head = {}
            while (line := lines.readline().strip()):
                head[line.split(":")[0].lower()] = line.split(":", 1)[1].strip()
            self.assertEqual(head["content-type"], "text/event-stream")
            self.assertEqual(lines.readline(), "retry: 1000\n")

            def events(n):
                found = []
                while len(found) < n:
                    line = lines.readline()
                    self.assertTrue(line, "the stream ended")
                    if line.startswith("data: "):
                        found.append(json.loads(line[6:]))
                return found
            old = events(2)
            self.order(target, "fire 1 40")
            new = events(40)
            self.assertEqual([e["seq"] for e in old + new], list(range(old[0]["seq"], old[0]["seq"] + 42)), "each once, in order")
            self.assertEqual(self.status()["watchers"], 1)
        until(lambda: not self.status()["watchers"], "the end of the stream when its reader is gone")

    # --- experiments

    def experiment_file(self, name, observe="60s"):
        with open(f"{self.experiments}/{name}.ini", "w") as f:
            f.write(f"[experiment]\nname = {name}\nhypothesis = none\nbaseline = 200ms\nobserve = {observe}\nrecover = 5s\n[probe redis]\nkind = tcp\n"
                    f"address = 127.0.0.1:{self.port}\nsend = PING\\r\\n\nexpect = PONG\nrate = 50/s\ntimeout = 1s\n"
                    f"[fault {name}]\nkind = latency\ntarget = listen:{self.port}\nvalue = 10ms\n[expect during]\nsuccess_rate >= 99%\n")

    def test_an_experiment_of_the_folder(self):
        self.redis()
        self.experiment_file("slow")
        self.assertEqual(self.get("/v1/experiments").json["files"], ["slow"])
        e = self.post("/v1/experiments", {"name": "slow"}, 201).json
        self.assertEqual((e["name"], e["state"]), ("slow", "running"))
        status = lambda: self.get(f"/v1/experiments/{e['id']}").json
        until(lambda: status()["rules"], "the fault")
        self.assertRegex(status()["remote"], r"^127\.0\.0\.1:")
        self.assertEqual(self.metrics()['chaos_experiments{state="running"}'], 1)
        self.assertEqual(self.post("/v1/experiments/slow/pause").json["experiments"][0]["id"], e["id"])
        self.assertEqual((status()["state"], self.rule("slow")["state"]), ("paused", "paused"))
        self.post("/v1/experiments/slow/resume")
        self.assertEqual(self.post("/v1/experiments/slow/stop").json["experiments"][0]["removed"], ["slow"])
        self.assertEqual(self.rule("slow")["state"], "ended")
        until(lambda: status()["state"] == "ended", "the runner's end")
        self.assertEqual(status()["verdict"], "aborted")
        self.assertEqual(self.metrics()['chaos_experiments_ended_total{verdict="aborted"}'], 1)
        self.post("/v1/experiments/slow/stop", status=404)

    def test_an_experiment_that_holds(self):
        self.redis()
        self.experiment_file("slow", observe="500ms")
        e = self.post("/v1/experiments", {"name": "slow"}, 201).json
        self.assertIn("has not ended", self.get(f"/v1/experiments/{e['id']}/report", 404).json["error"]["message"])
        until(lambda: self.get(f"/v1/experiments/{e['id']}").json["verdict"] == "held", "the verdict")
        self.assertTrue(self.get("/v1/experiments/slow").json["report"])
        report = self.get(f"/v1/experiments/{e['id']}/report").json
        self.assertEqual((report["name"], report["verdict"], report["hypothesis"]), ("slow", "held", "none"))
        self.assertEqual([p["phase"] for p in report["phases"]], ["baseline", "inject", "observe", "clean up", "recover", "analyse"])
        self.assertGreater(report["probes"][0]["during"]["samples"], 0)
        self.assertGreater(report["faults"][0]["fired"], 0)
        self.assertEqual({x["state"] for x in report["expectations"]}, {"pass"})
        self.assertEqual(self.ok("experiment", "report", "slow", "--json").json, report)
        for form, kind, text in (("json", "application/json", '"verdict": "held"'), ("markdown", "text/markdown", "PASS: "), ("junit", "application/xml", "<testsuite"), ("html", "text/html", "var uPlot=")):
            answer = self.get(f"/v1/experiments/slow/report?format={form}")
            self.assertEqual(answer.headers["Content-Type"].split(";")[0], kind)
            self.assertIn(text, answer.text)
        error = self.get("/v1/experiments/slow/report?format=pdf", 400).json["error"]
        self.assertEqual((error["word"], error["expected"]), ("pdf", ["markdown", "json", "junit", "html"]))
        self.get("/v1/experiments/slow/report?format=", 400)
        self.get("/v1/experiments/none/report", 404)
        self.post("/chaos_experiments/start", {"experiment_name": "latency_injection", "duration_seconds": 0.1})
        until(lambda: self.get("/v1/experiments/latency_injection").json["state"] == "ended", "the end of one of the five")
        self.assertIn("no report", self.get("/v1/experiments/latency_injection/report", 404).json["error"]["message"])

    def test_an_experiment_that_can_not_run_says_why(self):
        self.redis()
        self.experiment_file("slow")
        with open(f"{self.experiments}/broken.ini", "w") as f:
            f.write("[experiment]\nnam = x\n")
        answer = self.post("/v1/experiments", {"name": "broken"}, 409)
        self.assertIn("did you mean 'name'", answer.json["error"]["message"])
        self.write("stop", "")
        self.assertIn("stop file", self.post("/v1/experiments", {"name": "slow"}, 409).json["error"]["message"])
        os.unlink(f"{self.dir}/stop")
        self.configure(experiments_max=1)
        self.post("/v1/experiments", {"name": "slow"}, 201)
        self.experiment_file("other")
        self.assertIn("experiments_max", self.post("/v1/experiments", {"name": "other"}, 409).json["error"]["message"])

    def test_names_do_not_lead_out_of_the_folder(self):
        self.port = 1
        self.experiment_file("inside")
        self.write("outside.ini", "[experiment]\nname = x\n")
        os.symlink(f"{self.dir}/outside.ini", f"{self.experiments}/link.ini")
        os.mkdir(f"{self.experiments}/folder.ini")
        self.assertEqual(self.get("/v1/experiments").json["files"], ["inside"])
        for name in ("../outside", "..", ".", "", "/etc/passwd", "inside/../inside", "./inside", "..%2foutside", "%2e%2e/outside", "inside\0", "inside\n", "inside.ini", "-h", "--help", "$(id)",
                     "a;id", "link", "folder", "x" * 300, "ünï", "inside "):
            answer = self.http("POST", "/v1/experiments", {"name": name})
            self.assertIn(answer.status, (400, 404), name)
        for body in ({"name": ["inside"]}, {"name": None}, {}, {"name": "inside", "path": "/tmp"}, {"name": "inside", "dry_run": "yes"}):
            self.post("/v1/experiments", body, 400)
        self.assertEqual(self.get("/v1/experiments").json["experiments"], [])
        self.configure(experiments="")
        self.assertIn("folder", self.post("/v1/experiments", {"name": "inside"}, 403).json["error"]["message"])


if __name__ == "__main__":
    unittest.main()
