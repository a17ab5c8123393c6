"""The README and docs/ by somebody who types what stands there: every block of commands runs as it is written, on real programs,
and prints what is shown. A block that nobody here runs is a failure, and so is a command or an option that does not exist.

Where a command names somebody's files (redis-failure.ini, nightly.ini), small ones of that name lie in the folder. Ports, folders
and tokens are put in the place of those shown; numbers and times are compared as such, everything else word for word."""
import itertools
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
import unittest

from control_socket import ControlSocket
from harness import BUILD, CTL, SessionTest, end, free_port, until

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
DOCUMENTS = ["README.md"] + sorted(f"docs/{n}" for n in os.listdir(os.path.join(SOURCE, "docs")) if n.endswith(".md"))

EXPERIMENT = """[experiment]
name = {name}
hypothesis = redis goes on answering
baseline = 300ms
observe = {observe}
recover = 5s
after = 300ms

[probe redis]
kind = redis
address = 127.0.0.1:{port}

[fault slow]
kind = latency
target = 127.0.0.1:{port}
value = 1ms

[expect]
redis success_rate >= 50%
fired slow >= 0
"""

SCHEDULE = """[schedule]
name = nightly
start_wait = 0s

[scenario slow]
rule = latency 127.0.0.1:1 {10..30}ms
"""


def text_of(document):
    with open(os.path.join(SOURCE, document), encoding="utf-8") as f:
        return f.read()


def blocks(document):
    """(language, lines) of every fenced block."""
    return [(m[1], m[2].splitlines()) for m in re.finditer(r"(?ms)^```(\w*)\n(.*?)^```$", text_of(document))]


def plain(text):
    """Text without what differs from run to run: numbers, times, and how wide a column has to be for them."""
    text = re.sub(r"\d+(\.\d+)? (ns|µs|ms|s|min|h)\b( \d+ (s|min)\b)?", "TIME", text)
    text = re.sub(r"\d[\d,.]*", "N", text)
    return [" ".join(line.split()) for line in text.strip().splitlines()]


class Documents(SessionTest):
    def setUp(self):
        super().setUp()
        self.work = os.path.join(self.dir, "work")
        os.mkdir(self.work)
        self.env["PATH"] = os.path.join(BUILD, "bin") + ":" + self.env["PATH"]
        self.env["CHAOS_DIR"] = os.path.join(self.dir, "sessions")
        os.mkdir(self.env["CHAOS_DIR"], 0o700)

    def daemons(self, folder=None):
        return super().daemons(folder) or super().daemons(self.env["CHAOS_DIR"])

    def end_daemon(self):
        end(self.daemon_pid())  # started by hand: its command line does not name this test's folder

    def write(self, name, text):
        path = os.path.join(self.work, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    def redis(self, under_shim=False):
        run = [CTL, "run", "--"] if under_shim else []

        def answers():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0
        for _ in range(5):
            port = free_port()  # which somebody else may take before it does: then it ends
            server = self.start([*run, "redis-server", "--port", str(port), "--save", "", "--dir", self.work], stdout=subprocess.DEVNULL)
            until(lambda: answers() or server.poll() is not None, "redis-server")
            if server.poll() is None:
                return port
        self.fail("no port for a redis-server")

    def block(self, document, first):
        """The block of this document that begins so."""
        found = [lines for _, lines in blocks(document) if lines and lines[0].startswith(first)]
        self.assertEqual(len(found), 1, f"{document}: {first}")
        return found[0]

    def shell(self, commands, replaced=(), check=True):
        """Runs the commands in one bash, one after the other; what each printed, on either stream, and its exit status."""
        script = "exec 2>&1\n"
        for command in commands:
            for shown, here in replaced:
                command = command.replace(shown, here)
            script += command + '\necho "<<<$?>>>"\n'
        p = self.start(["bash", "-c", script], stdout=subprocess.PIPE, cwd=self.work, start_new_session=True)
        out = p.communicate(timeout=60)[0]
        answers = re.findall(r"(?ms)(.*?)^<<<(\d+)>>>\n", out)
        self.assertEqual(len(answers), len(commands), out)
        if check:
            for command, (printed, status) in zip(commands, answers):
                self.assertEqual(status, "0", f"{command}\n{printed}")
        return [printed for printed, _ in answers]

    # --- README.md
    def test_readme_first_session(self):
        port = self.redis()
        shown = []  # command, what stands under it
        for line in self.block("README.md", "$ chaos-ctl run"):
            if line.startswith("$ "):
                shown.append((line[2:], []))
            elif line.strip():
                shown[-1][1].append(line)
        commands = [c for c, _ in shown] + ["kill %1; wait"]
        answers = self.shell(commands, [("6399", str(port))], check=False)
        for (command, expected), printed in zip(shown, answers):
            printed = printed.replace(str(port), "6399")
            self.assertEqual(plain("\n".join(expected)), plain(printed), command)
        functions = [re.findall(r"ago +(\d+)", text) for text in ("\n".join(sum((e for _, e in shown), [])), "".join(answers))]
        self.assertEqual(*functions, "what ps shows as the number of functions")

    def test_readme_demo(self):
        scenes = text_of("tools/demo_scenes.py")
        for line in self.block("README.md", "  no fault"):
            if line.startswith("  "):
                label = re.split(r"  +", line.strip())[0]
                self.assertTrue(f'"{label}"' in scenes or f'"{label.lstrip("… ")}"' in scenes, f"tools/demo prints no line '{label}'")

    def test_readme_rules(self):
        self.write("integration-test", "#!/bin/sh\nexit 0\n")
        os.chmod(os.path.join(self.work, "integration-test"), 0o755)
        lines = self.block("README.md", "chaos-ctl set error")
        for line, printed in zip(lines, self.shell(lines)):
            if line.startswith("chaos-ctl set"):
                self.assertRegex(printed.splitlines()[-1], r"^\d+$", line)
        kinds = [r["kind"] for r in self.rules() if not r.get("run")]  # that of `run --set` has ended with its program
        self.assertEqual(sorted(kinds), sorted(re.findall(r"(?m)^chaos-ctl set (\w+)", "\n".join(lines))))

    def test_readme_building(self):
        for line in self.block("README.md", "tools/demo"):
            for command in line.split("#")[0].split("&&"):
                words = command.split()
                if words[0].startswith("tools/"):
                    self.assertTrue(os.access(os.path.join(SOURCE, words[0]), os.X_OK), line)
                if "--preset" in words:
                    presets = json.loads(text_of("CMakePresets.json"))
                    self.assertIn(words[words.index("--preset") + 1], [p["name"] for p in presets["buildPresets" if "--build" in words else "configurePresets"]])
            for flag in re.findall(r"--(?:quick|full)", line):
                self.assertIn(flag, text_of("tools/test"))

    # --- docs/experiments.md
    def experiments(self, observe="300ms"):
        port = self.redis(under_shim=True)
        for name in ("redis-failure", "examples/experiments/resilience/fallback", "examples/experiments/resilience/other"):
            self.write(name + ".ini", EXPERIMENT.format(name=os.path.basename(name), observe=observe, port=port))

    def test_experiments_commands(self):
        self.experiments()
        lines = self.block("docs/experiments.md", "chaos-ctl experiment validate")
        answers = dict(zip((line.split("#")[0].strip() for line in lines), self.shell(lines)))
        for ending, begins in (("html", "<!doctype html>"), ("xml", "<?xml"), ("json", "{")):
            with open(os.path.join(self.work, "redis-failure." + ending)) as f:
                self.assertTrue(f.read().lstrip().lower().startswith(begins), ending)
        self.assertRegex(answers["chaos-ctl experiment run examples/experiments/resilience"], "2 of 2|2/2")
        self.assertRegex(answers["chaos-ctl experiment report redis-failure.json --format markdown"], r"(?m)^# ")
        self.assertIn("hypothesis", answers["chaos-ctl experiment keys"])

    def test_experiments_while_it_runs(self):
        self.experiments(observe="60s")
        run = self.start([CTL, "experiment", "run", "redis-failure.ini"], cwd=self.work, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        until(lambda: "observe" in self.ctl("experiment", "list").out, "the phase observe")
        lines = self.block("docs/experiments.md", "chaos-ctl experiment list")
        answers = self.shell(lines)
        self.assertIn("redis-failure", answers[0])
        self.assertIn("slow", answers[1])
        self.assertIn("aborted", run.communicate(timeout=20)[0])
        self.assertEqual(run.returncode, 1)

    def test_experiments_expectations(self):
        expect = [re.split(r" {2,}", line) for line in self.block("docs/experiments.md", "[expect]")]
        abort = self.block("docs/experiments.md", "[abort]")
        self.write("redis-failure.ini", "[experiment]\nname = x\nhypothesis = y\n\n[probe shop]\nkind = http\nurl = http://127.0.0.1:1/\nfallback = X-Source: postgres\n\n[probe log]\nkind = log\npath = /dev/null\n"
                   "\n[process server]\nmatch = redis-server\n\n[fault redis-down]\nkind = down\ntarget = 127.0.0.1:1\n\n" + "\n".join(itertools.chain(*expect)) + "\n" + "\n".join(abort) + "\n")
        self.shell(["chaos-ctl experiment validate redis-failure.ini"])

    # --- docs/schedule.md
    def test_schedule_commands(self):
        self.write("nightly.ini", SCHEDULE)
        lines = [line.split("#")[0].strip() for line in self.block("docs/schedule.md", "chaos-ctl schedule validate")]
        foreground = [line for line in lines if line == "chaos-ctl schedule run nightly.ini"]
        self.assertEqual(len(foreground), 1)
        answers = self.shell(lines[:lines.index(foreground[0])])
        self.assertEqual(len(re.findall(r"(?m)\bslow\b", answers[-1])), 100, answers[-1])
        run = self.start(shlex.split(foreground[0]), cwd=self.work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: '"active"' in self.ctl("list", "--json").out, "a rule of the schedule")  # a daemon that only just starts does not answer yet
        answers = self.shell(lines[lines.index(foreground[0]) + 1:])
        self.assertIn("nightly", answers[0])
        self.assertEqual(run.wait(timeout=20), 0)

    # --- docs/http.md
    def test_http_commands(self):
        port = free_port()
        for folder in ("experiments", "schedules"):
            os.mkdir(os.path.join(self.work, folder))
        first = self.block("docs/http.md", "(umask 077")
        self.addCleanup(self.end_daemon)
        answers = self.shell(first, [("127.0.0.1:8080", f"127.0.0.1:{port}"), ("/etc/chaos/", self.work + "/"), ("curl ", "curl -sS ")])
        self.assertEqual(json.loads(answers[-1])["kind"], "latency")
        setting = [f"url=http://127.0.0.1:{port}", 'auth="Authorization: Bearer $(cat token)"']
        lines = self.block("docs/http.md", 'curl -H "$auth" -d \'{"experiment_name"')
        began = time.monotonic()
        answers = self.shell(setting + [line.replace("curl ", "curl -sS ", 1) for line in lines])[len(setting):]
        self.assertGreater(time.monotonic() - began, 2)
        for line, answer in zip(lines, answers):
            self.assertEqual(json.loads(answer)["error"], False, line)

    # --- docs/protocol.md
    def test_protocol_exchange(self):
        self.ok("daemon", "start")
        control = ControlSocket(os.path.join(self.env["CHAOS_DIR"], "default"))
        self.addCleanup(control.close)
        request, reply, refusal = self.block("docs/protocol.md", '{"v":1')
        control.file.write(request.encode() + b"\n")
        control.file.flush()
        answer = json.loads(control.file.readline())
        self.assertEqual(set(answer), set(re.findall(r'(?:^{|,)"(ok|result|warnings)"', reply)))
        for field in re.findall(r'"(id|name)":', reply):
            self.assertIn(field, answer["result"])
        self.assertIn(re.search(r'\["(rule 1 [^;]*;)', reply)[1], answer["warnings"][-1] + " ".join(answer["warnings"]))
        error = control.ask("set", words=["latency", "redis:6379", "200"])["error"]
        self.assertEqual(set(error), {"code", "message", "word", "expected"})
        for said in (f'"code":"{error["code"]}"', f'"word":"{error["word"]}"', error["message"].split(";")[0]):
            self.assertIn(said, refusal)
        rule = json.loads(self.block("docs/protocol.md", '{"kind"')[0])
        self.assertEqual(control.ask("set", rule=rule)["result"]["rule"], rule)

    # --- docs/client.md
    def test_client_examples_compile(self):
        compiler = shutil.which("g++")
        if not compiler:
            self.skipTest("no g++")
        example, verdict = "\n".join(self.block("docs/client.md", "#include <chaos/breaker.hpp>")), "\n".join(self.block("docs/client.md", "chaos::outcome chaos_classify"))
        includes = [line for line in example.splitlines() if line.startswith("#include")]
        body = [line for line in example.splitlines() if line not in includes]
        source = "\n".join(includes) + ("\n#include <iostream>\nstruct http_reply { int status; };\n" + verdict + "\nstruct { std::string get(std::string k) { return k; } } client;\n"
                                        "int main() { std::string key;\n" + "\n".join(body) + "\n}\n")
        self.write("example.cpp", source)
        done = subprocess.run([compiler, "-std=c++20", "-fsyntax-only", "-I", os.path.join(SOURCE, "include"), os.path.join(self.work, "example.cpp")], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    # --- all of them
    RUN_ABOVE = ["$ chaos-ctl run", "  no fault", "chaos-ctl set error", "tools/demo", "chaos-ctl experiment validate", "chaos-ctl experiment list", "[expect]", "[abort]",
                 "chaos-ctl schedule validate", "(umask 077", 'curl -H "$auth"', '{"v":1', '{"kind"', "#include <chaos/breaker.hpp>", "chaos::outcome chaos_classify"]
    ELSEWHERE = {"chaos-ctl ──unix": "a drawing", "            failures in a row": "a drawing", "find_package(chaos": "tools/test builds against what is installed",
                 "#45 [pid": "tests/unit/cli/output_test.cpp: what follows after_count", '{"aggregated"': "tests/unit/control/timeline_test.cpp: AggregatesAboveAThousandASecondAndCountsAll"}

    def test_every_block_is_run_by_a_test(self):
        for document in DOCUMENTS:
            for language, lines in blocks(document):
                self.assertTrue(any(lines[0].startswith(first) for first in itertools.chain(self.RUN_ABOVE, self.ELSEWHERE)),
                                f"{document}: no test runs the block that begins: {lines[0]}")

    def test_commands_in_running_text_exist(self):
        known = {}
        for document in DOCUMENTS:
            for quoted in re.findall(r"`([^`\n]*)`", re.sub(r"(?ms)^```.*?^```$", "", text_of(document))):
                words = quoted.replace("|", " ").split()
                if not words or words[0] not in ("chaos-ctl", "chaosd"):
                    continue
                command = words[1] if words[0] == "chaos-ctl" and len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]) else ""
                key = (words[0], command)
                if key not in known:
                    done = subprocess.run([*words[:1], *([command] if command else []), "--help"], env=self.env, capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, f"{document}: `{quoted}`: {done.stderr}")
                    known[key] = done.stdout
                for flag in re.findall(r"--[a-z][a-z-]*", quoted):
                    self.assertIn(flag, known[key], f"{document}: `{quoted}`")

    def test_options_in_running_text_exist(self):
        flags = set(re.findall(r"--[a-z][a-z-]+", "".join(self.ok(c, "--help").out for c in ("set", "run", "experiment", "schedule", "stress", "watch", "daemon", "doctor", "rm"))
                               + subprocess.run(["chaosd", "--help"], env=self.env, capture_output=True, text=True).stdout))
        for document in ("README.md", "docs/LIMITS.md", "docs/experiments.md", "docs/schedule.md"):
            for quoted in re.findall(r"`(--[a-z-]+)[^`\n]*`", text_of(document)):
                self.assertIn(quoted, flags | set(re.findall(r"--[a-z]+", text_of("tools/test")) + ["--resilience", "--postgres", "--pool"]), document)

    def test_benchmarks_that_performance_names_exist(self):
        for line in re.findall(r"(?m)^\|[^|]*\| (`[^|]*) \|$", text_of("docs/PERFORMANCE.md")):
            for program in re.findall(r"`((?:bench|build)/[\w/.]+)", line):
                place = os.path.join(BUILD, program[len("build/release/"):]) if program.startswith("build/release/") else os.path.join(SOURCE, program)
                self.assertTrue(os.path.exists(place), program)
                for flag in re.findall(r"(--[a-z]+)", line):
                    self.assertIn(flag, text_of(program))


if __name__ == "__main__":
    unittest.main()
