"""Help, man pages and completions are made from the tables; here they meet the programs that read them."""
import json
import os
import re
import shutil
import subprocess
import unittest

from harness import BUILD, CTL, DAEMON, SessionTest

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))


def commands():
    with open(os.path.join(SOURCE, "include/chaos/abi/commands.def"), encoding="utf-8") as f:
        rows = re.findall(r'^COMMAND\((\w+), "([^"]*)", (\w+), "([^"]*)"', f.read(), re.M)
    return [r for r in rows if r[3]]


class Docs(SessionTest):
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
