"""Help, man pages and completions are made from the tables; here they meet the programs that read them."""
import json
import os
import pty
import re
import select
import shutil
import subprocess
import time
import unittest

from harness import BUILD, CTL, DAEMON, DEADLINE, SessionTest

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))


def commands():
    with open(os.path.join(SOURCE, "include/chaos/abi/commands.def"), encoding="utf-8") as f:
        rows = re.findall(r'^COMMAND\((\w+), "([^"]*)", (\w+), "([^"]*)"', f.read(), re.M)
    return [r for r in rows if r[3]]


class Shell:
    """An interactive shell on a terminal of its own that completes as somebody who types sees it."""
    SETUP = {
        "bash": ["bash --norc --noprofile -i", "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; source {script}",
                 """bind -x '"\\C-x": printf "\\n<%s>\\n" "$READLINE_LINE"; READLINE_LINE=; READLINE_POINT=0'"""],
        "zsh": ["zsh -f -i", "fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; unsetopt prompt_sp zle_bracketed_paste 2>/dev/null",
                """shown() {{ print -r -- $'\\n'"<$BUFFER>"; BUFFER=; }}; zle -N shown; bindkey '^X' shown"""]}

    def __init__(self, test, name):
        folder = os.path.join(test.dir, name)
        os.mkdir(folder)
        script = os.path.join(folder, "_chaos-ctl")
        with open(script, "w") as f:
            f.write(test.ok("docs", name).out)
        command, *setup = self.SETUP[name]
        ours, theirs = pty.openpty()
        self.terminal = ours
        test.addCleanup(os.close, ours)
        test.start(command.split(), stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, start_new_session=True,
                   env={"PATH": os.path.dirname(CTL) + ":" + os.environ["PATH"], "TERM": "dumb", "PS1": "$ ", "HOME": folder, "INPUTRC": "/dev/null"})
        os.close(theirs)
        for line in setup:
            os.write(ours, (line.format(folder=folder, script=script) + "\n").encode())
        os.write(ours, b"echo rea''dy\n")
        self.read_until(rb"(?m)^ready\r$")

    def read_until(self, pattern):
        text, end = b"", time.monotonic() + DEADLINE
        while not (found := re.search(pattern, text)):
            if not select.select([self.terminal], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"the shell never said {pattern}, but {text}")
            text += os.read(self.terminal, 4096)
        return found

    def complete(self, typed):
        os.write(self.terminal, typed.encode() + b"\t\x18")
        return self.read_until(rb"\n<(.*)>\r").group(1).decode()


class Docs(SessionTest):
    def test_shells_complete_what_is_typed(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--name", "molasses")
        for name in ("bash", "zsh"):
            if not shutil.which(name):
                continue
            shell = Shell(self, name)
            for typed, becomes in (
                    ("chaos-ctl exper", "chaos-ctl experiment "),
                    ("chaos-ctl experiment val", "chaos-ctl experiment validate "),
                    ("chaos-ctl experiment run x.ini --rep", "chaos-ctl experiment run x.ini --report "),
                    ("chaos-ctl experiment report 1 --format mark", "chaos-ctl experiment report 1 --format markdown "),
                    ("chaos-ctl schedule val", "chaos-ctl schedule validate "),
                    ("chaos-ctl set lat", "chaos-ctl set latency "),
                    ("chaos-ctl set latency lis", "chaos-ctl set latency listen:"),
                    ("chaos-ctl set latency http:", "chaos-ctl set latency http://"),
                    ("chaos-ctl set pause proc", "chaos-ctl set pause process"),
                    ("chaos-ctl set enomem mal", "chaos-ctl set enomem malloc"),
                    ("chaos-ctl set down fi", "chaos-ctl set down fi"),
                    ("chaos-ctl set error redis:6379 ECONNREF", "chaos-ctl set error redis:6379 ECONNREFUSED "),
                    ("chaos-ctl set latency redis:6379 1ms --jit", "chaos-ctl set latency redis:6379 1ms --jitter "),
                    ("chaos-ctl set latency redis:6379 1ms --distribution nor", "chaos-ctl set latency redis:6379 1ms --distribution normal "),
                    ("chaos-ctl rm mola", "chaos-ctl rm molasses ")):
                with self.subTest(shell=name, typed=typed):
                    self.assertEqual(shell.complete(typed), becomes)

    def test_every_action_is_completed(self):
        self.assertEqual(self.complete("experiment", ""), ["run", "validate", "report", "keys", "list", "status", "stop", "pause", "resume"])
        self.assertEqual(self.complete("schedule", ""), ["run", "validate", "status", "stop"])
        self.assertEqual(self.complete("daemon", ""), ["start", "stop", "status"])
        self.assertEqual(self.complete("breaker", ""), ["list", "open", "close", "disable", "metrics_only", "reset", "none"])

    def complete(self, *words):
        """What bash offers for the last word."""
        script = os.path.join(self.dir, "complete.bash")
        with open(script, "w") as f:
            f.write(self.ok("docs", "bash").out)
        quoted = " ".join(f"'{w}'" for w in words)
        code = (f'PATH={os.path.dirname(CTL)}:$PATH; source {script}; COMP_WORDS=(chaos-ctl {quoted}); COMP_CWORD={len(words)}; _chaos_ctl; '
                'printf "%s\\n" "${COMPREPLY[@]}"')
        return subprocess.run(["bash", "-c", code], env=self.env, text=True, capture_output=True, check=True).stdout.split()

    def test_every_command_has_help_and_a_summary(self):
        text = self.ok("--help").out
        for name, arguments, _, summary in commands():
            self.assertRegex(text, rf"(?m)^  {name} +{re.escape(summary)}$")
            own = self.ok(name, "--help").out
            self.assertTrue(own.startswith(f"Usage: chaos-ctl {name}"), own)
            self.assertIn(arguments, own)
            self.assertEqual(own, self.ok("--help", name).out)
            self.assertTrue(all(len(line) <= 110 for line in own.splitlines() if not line.startswith("  -")), own)

    def test_every_example_in_help_is_accepted_by_the_shell(self):
        for name, *_ in commands():
            for line in re.findall(r"(?m)^  ((?:id=\$\()?chaos-ctl .*)$", self.ok(name, "--help").out):
                subprocess.run(["bash", "-n", "-c", line], check=True)

    def test_man_pages_render_without_a_complaint(self):
        if not shutil.which("groff"):
            self.skipTest("no groff")
        for name in ["man1/chaos-ctl.1", "man8/chaosd.8"] + [f"man1/chaos-ctl-{c[0]}.1" for c in commands()]:
            page = os.path.join(BUILD, "docs/man", name)
            done = subprocess.run(["groff", "-man", "-Tutf8", "-wall", "-ww", "-P-cbou", page], text=True, capture_output=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""), name)
            for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS"):
                self.assertRegex(done.stdout, rf"(?m)^{heading}$")
            self.assertNotIn("\\", done.stdout)

    def test_chaosd_tells_every_setting_in_help_and_manual(self):
        with open(os.path.join(SOURCE, "control/daemon/settings.def"), encoding="utf-8") as f:
            rows = re.findall(r'^SETTING\((\w+), +(\w+), +"([^"]*)", +(\d)', f.read(), re.M)
        self.assertGreater(len(rows), 20)
        usage = subprocess.run([DAEMON, "--help"], text=True, capture_output=True, check=True).stdout
        manual = subprocess.run(["groff", "-man", "-Tutf8", "-P-cbou"], input=subprocess.run([DAEMON, "--manual"], text=True, capture_output=True, check=True).stdout,
                                text=True, capture_output=True, check=True).stdout.replace("\u2010", "-")
        for name, form, value, config in rows:
            flag = "--" + name.replace("_", "-") + (f" {value}" if form != "flag" else "")
            self.assertIn(f"  {flag}", usage)
            self.assertIn(flag + (" (chaos.ini)" if config == "1" else ""), manual)

    def test_man_pages_of_the_build_are_those_of_the_program(self):
        folder = os.path.join(self.dir, "man")
        os.mkdir(folder)
        made = [os.path.basename(p) for p in self.ok("docs", "man", folder).out.split()]
        self.assertEqual(len(made), len(commands()) + 1)
        for name in made:
            with open(os.path.join(folder, name)) as a, open(os.path.join(BUILD, "docs/man/man1", name)) as b:
                self.assertEqual(a.read(), b.read())

    def test_completions_are_sound_scripts(self):
        for shell in ("bash", "zsh"):
            if not shutil.which(shell):
                continue
            path = os.path.join(self.dir, "c." + shell)
            with open(path, "w") as f:
                f.write(self.ok("docs", shell).out)
            done = subprocess.run([shell, "-n", path], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_bash_completes(self):
        self.assertEqual(self.complete("re"), ["resume"])
        self.assertIn("list", self.complete(""))
        self.assertEqual(self.complete("set", "lat"), ["latency"])
        self.assertEqual(self.complete("--session", "x", "set", "lat"), ["latency"])
        self.assertEqual(self.complete("set", "latency", "a:1", "1ms", "--jit"), ["--jitter"])
        self.assertEqual(self.complete("set", "enomem", "malloc", "--jit"), [])
        self.assertEqual(self.complete("set", "latency", "a:1", "1ms", "--distribution", "par"), ["pareto", "paretonormal"])
        self.assertEqual(self.complete("set", "error", "a:1", "ECONNRE"), ["ECONNRESET", "ECONNREFUSED"])
        self.assertEqual(self.complete("daemon", "sta"), ["start", "status"])
        self.assertEqual(self.complete("breaker", "re"), ["reset"])
        self.assertIn("--json", self.complete("list", "--"))
        self.assertIn("recvmsg", self.complete("set", "observe", "*", "--on", "recv"))

    def test_completion_knows_the_rules_that_exist(self):
        self.assertEqual([w for w in self.complete("rm", "mola")], [])
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--name", "molasses")
        self.assertEqual(self.complete("rm", "mola"), ["molasses"])

    def test_hooks_and_effects_agree_with_the_tables(self):
        with open(os.path.join(SOURCE, "include/chaos/abi/functions.def"), encoding="utf-8") as f:
            names = re.findall(r"^HOOK(?:_ABI)?\(\s*(\w+)", f.read(), re.M)
        self.assertEqual([f["function"] for f in self.ok("hooks", "--json").json["functions"]], names)
        with open(os.path.join(SOURCE, "include/chaos/abi/effects.def"), encoding="utf-8") as f:
            kinds = re.findall(r"^EFFECT\((\w+)", f.read(), re.M)
        self.assertEqual([e["kind"] for e in self.ok("effects", "--json").json["effects"]], kinds)

    def test_the_reference_of_rules_has_every_kind_and_option_and_its_examples_work(self):
        with open(os.path.join(SOURCE, "docs/rules.md"), encoding="utf-8") as f:
            text = f.read().replace("\\|", "|")
        for effect in self.ok("effects", "--json").json["effects"]:
            self.assertIn(f"| `{' '.join(filter(None, (effect['kind'], effect['value'])))}` | {effect['summary']} |", text)
        with open(os.path.join(SOURCE, "control/rules/options.def"), encoding="utf-8") as f:
            rows = re.findall(r'^OPTION\((\w+), +\w+, +([\w|]+), +\w+, +"([^"]*)", +"([^"]*)",\s+"([^"]*)"\)$', f.read(), re.M)
        self.assertEqual(len(rows), text.count("\n| `--"))
        for name, kinds, value, example, meaning in rows:
            flag = "--" + name.replace("_", "-") + (f" {value}" if value else "")
            self.assertIn(f"| `{flag}` | {'all' if kinds == 'any' else kinds.replace('|', ' ')} | {meaning} | `{example}` |", text)
            words = example.replace("4711", str(os.getpid())).split()
            self.ok("set", *words, *([] if name in ("for", "forever") else ["--for", "1min"]))
        for target in re.findall(r"`([^`]+)`", " ".join(re.findall(r"(?m)^\| (`[^|]*) \|", text.split("## Targets")[1].split("## Options")[0]))):
            self.ok("set", "unset" if target.startswith("env:") else "enomem" if target == "malloc" else "crash", target, "--everything", "--dry-run", "--for", "1min")

    def test_files_that_documents_name_exist(self):
        for document in ["README.md"] + [f"docs/{n}" for n in os.listdir(os.path.join(SOURCE, "docs")) if n.endswith(".md")]:
            with open(os.path.join(SOURCE, document), encoding="utf-8") as f:
                text = f.read()
            for path in re.findall(r"`((?:include|control|preload|tests|tools|docs|examples|bench)/[\w./-]+)`", text):
                if "NAME" not in path:
                    self.assertTrue(os.path.exists(os.path.join(SOURCE, path)), f"{document} names {path}")


if __name__ == "__main__":
    unittest.main()
