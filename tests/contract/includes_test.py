"""The arrows of the architecture: who may include whom. A lower layer that includes a higher one is the first crack.

  include/chaos     <- nothing else of ours
  include/chaos/abi <- preload/core <- preload/effects <- preload/hooks, preload/runtime
  control           <- include/ only (and itself)
"""
import os
import re
import unittest

SOURCE = os.environ.get("CHAOS_SOURCE") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))

# layer → layers that it may include, itself always. The longest matching folder decides which layer a file is of.
MAY = {
    "include/chaos/abi": [],
    "include/chaos": ["include/chaos/abi"],
    "preload/core": ["include/chaos/abi"],
    "preload/effects": ["include/chaos/abi", "preload/core"],
    "preload/runtime": ["include/chaos/abi", "preload/core", "preload/effects"],
    "preload/hooks": ["include/chaos/abi", "preload/core", "preload/effects", "preload/runtime"],
    "control/manual": [],
    "control/rules": ["include/chaos/abi"],
    "control/protocol": ["include/chaos/abi", "control/rules"],
    "control/proc": ["include/chaos/abi", "control/rules"],
    "control/http": ["include/chaos/abi", "control/rules", "control/protocol", "control/experiment", "control/schedule"],
    "control/daemon": ["include/chaos/abi", "control/rules", "control/ini", "control/protocol", "control/proc", "control/http", "control/manual"],
    "control/experiment": ["include/chaos/abi", "include/chaos", "control/rules", "control/ini", "control/protocol", "control/stress"],
    "control/stress": ["control/rules"],
    "control/ini": ["control/rules"],
    "control/schedule": ["include/chaos/abi", "control/rules", "control/ini", "control/experiment"],
    "control/cli": ["include/chaos/abi", "control/manual", "control/rules", "control/protocol", "control/proc", "control/experiment", "control/schedule", "control/stress"],
    "control": ["include/chaos/abi", "include/chaos", "control/rules", "control/protocol", "control/proc", "control/daemon"],
    "examples": ["include/chaos", "include/chaos/abi"],
}
NAMES = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def layer_of(path):
    fits = [layer for layer in MAY if path.startswith(layer + "/")]
    return max(fits, key=len) if fits else None


def sources():
    for top in ("include", "preload", "control", "examples"):
        for folder, _, files in os.walk(os.path.join(SOURCE, top)):
            for name in files:
                if name.endswith((".hpp", ".cpp", ".h", ".c", ".def")):
                    yield os.path.relpath(os.path.join(folder, name), SOURCE)


def included_by(path):
    """Our own files that this one names, relative to the top. Others (system headers in quotes) are left out."""
    with open(os.path.join(SOURCE, path), encoding="utf-8") as f:
        for name in NAMES.findall(f.read()):
            for base in (os.path.dirname(path), "", "include"):
                candidate = os.path.normpath(os.path.join(base, name))
                if os.path.exists(os.path.join(SOURCE, candidate)):
                    yield candidate
                    break


class Includes(unittest.TestCase):
    def test_every_include_goes_downward(self):
        wrong, seen = [], 0
        for path in sources():
            layer = layer_of(path)
            if layer is None:
                continue
            for other in included_by(path):
                seen += 1
                target = layer_of(other)
                if target not in (None, layer) and target not in MAY[layer]:
                    wrong.append(f"{path} includes {other}")
                if target is None and other.split("/")[0] in ("tests", "bench", "tools"):
                    wrong.append(f"{path} includes {other}")
        self.assertGreater(seen, 100, "this test no longer finds the includes")
        self.assertEqual(wrong, [])

    def test_applications_see_no_internals_but_the_shared_data(self):
        """What is installed for applications includes only itself, the abi and the standard library."""
        for path in sources():
            if not path.startswith("include/"):
                continue
            for other in included_by(path):
                self.assertTrue(other.startswith("include/"), f"{path} includes {other}")

    def test_only_hooks_define_libc_names(self):
        """The table is expanded into definitions in one folder alone."""
        for path in sources():
            if path.startswith("preload/") and not path.startswith("preload/hooks/"):
                with open(os.path.join(SOURCE, path), encoding="utf-8") as f:
                    self.assertNotRegex(f.read(), r'extern "C"[^;{]*\b(recv|send|malloc|connect)\s*\([^;]*\{', path)


if __name__ == "__main__":
    unittest.main()
