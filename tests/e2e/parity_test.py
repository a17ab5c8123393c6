"""docs/PARITY.md is a promise: each command, file and test that it names exists."""
import glob
import importlib.util
import os
import re
import sys
import unittest

from harness import SessionTest

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.abspath(os.path.join(HERE, "../.."))


def rows():
    """(system, capability, what has it, tests) of each row of the tables with tests."""
    system = ""
    with open(os.path.join(SOURCE, "docs/PARITY.md"), encoding="utf-8") as f:
        for line in f:
            if line.startswith("## "):
                system = line[3:].strip()
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if line.startswith("|") and len(cells) == 3 and cells[0] != "capability" and not cells[0].startswith("---"):
                yield (system, *cells)


def module_of(parts):
    """By its place: tests/e2e and tests/e2e/programs may both have a file of a name."""
    path = os.path.join(HERE, *parts) + ".py"
    spec = importlib.util.spec_from_file_location("parity_" + "_".join(parts), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Parity(SessionTest):
    def test_every_system_has_its_rows(self):
        per_system = {}
        for system, *_ in rows():
            per_system[system[:1]] = per_system.get(system[:1], 0) + 1
        for number, least in (("1", 30), ("2", 18), ("3", 10), ("4", 16), ("5", 9)):
            self.assertGreaterEqual(per_system.get(number, 0), least, f"system {number}")

    def test_every_command_and_file_exists(self):
        help_texts = {}
        for system, capability, here, _ in rows():
            named = re.findall(r"`([^`]+)`", here)
            self.assertTrue(named, f"{system}: {capability}")
            for what in named:
                words = what.split()
                if words[0] != "chaos-ctl":
                    self.assertTrue(os.path.exists(os.path.join(SOURCE, what)), f"{capability}: {what}")
                    continue
                command = words[1]
                if command not in help_texts:
                    help_texts[command] = self.ok(command, "--help").out
                for word in words[2:]:
                    self.assertRegex(help_texts[command], rf"\b{re.escape(word)}\b", f"{capability}: {what}")

    def test_every_test_exists(self):
        sys.path[:0] = [HERE, os.path.join(HERE, "programs")]
        self.addCleanup(lambda: sys.path.__delitem__(slice(0, 2)))
        compiled = set()
        for path in glob.glob(os.path.join(SOURCE, "tests/**/*.cpp"), recursive=True):
            with open(path, encoding="utf-8") as f:
                compiled |= {".".join(found) for found in re.findall(r"^(?:TYPED_)?TEST(?:_[FP])?\((\w+),\s*(\w+)\)", f.read(), re.M)}
        missing = []
        for system, capability, _, tests in rows():
            names = tests.split()
            self.assertTrue(names, f"{system}: {capability} has no test")
            for name in names:
                parts = name.split(".")
                if len(parts) == 2:
                    found = name in compiled
                else:
                    found = callable(getattr(getattr(module_of(parts[:-2]), parts[-2], None), parts[-1], None))
                if not found:
                    missing.append(f"{capability}: {name}")
        self.assertEqual(missing, [])

    def test_what_is_out_of_reach_is_said_with_a_reason(self):
        with open(os.path.join(SOURCE, "docs/PARITY.md"), encoding="utf-8") as f:
            text = f.read().split("## Out of reach")[1]
        for what in ("autoscaling", "priority", "several hosts"):
            self.assertRegex(text, rf"\| [^|]*{what}[^|]*\| [^|]{{40,}} \|")


if __name__ == "__main__":
    unittest.main()
