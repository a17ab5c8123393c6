"""libchaos.so is loaded into programs that are not ours: it exports exactly its table, brings nothing along, needs libc only."""
import os
import re
import subprocess
import unittest

SOURCE = os.environ.get("CHAOS_SOURCE") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.environ.get("CHAOS_BUILD") or os.path.join(SOURCE, "build/release")
SHIM = os.path.join(BUILD, "lib/libchaos.so")
API = {"dlopen", "chaos_annotate", "chaos_breaker_slot", "chaos_breaker_generation", "chaos_breaker_command", "chaos_breaker_publish"}


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def hooked():
    with open(os.path.join(SOURCE, "include/chaos/abi/functions.def"), encoding="utf-8") as f:
        return set(re.findall(r"^HOOK(?:_ABI)?\(\s*(\w+)\s*,", f.read(), re.M))


@unittest.skipUnless(os.path.exists(SHIM), "no libchaos.so in this build")
class Exports(unittest.TestCase):
    def symbols(self):
        rows = [line.split() for line in run("nm", "-D", "--defined-only", SHIM).splitlines()]
        return {(r[-1].split("@")[0], r[-2]) for r in rows if len(r) >= 3}

    def test_exports_equal_the_table(self):
        self.assertGreater(len(hooked()), 100)
        exported = {name for name, kind in self.symbols() if kind != "A"}
        self.assertEqual(exported, hooked() | API)

    def test_nothing_is_gnu_unique(self):
        self.assertEqual([name for name, kind in self.symbols() if kind == "u"], [])

    def test_no_dynamic_thread_local_storage(self):
        """It calls malloc; when that malloc is ours and fails, glibc aborts the program."""
        self.assertEqual(re.findall(r"\S*(?:DTPMOD|DTPOFF|TLSDESC)\S*", run("readelf", "-rW", SHIM)), [])

    def test_thread_local_storage_is_small(self):
        sizes = [int(line.split()[5], 16) for line in run("readelf", "-lW", SHIM).splitlines() if line.split()[:1] == ["TLS"]]
        self.assertLessEqual(sum(sizes), 64)

    def test_needs_libc_only(self):
        needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-dW", SHIM))
        self.assertTrue(all(re.fullmatch(r"libc\.so\.6|ld-linux.*|libc\.musl.*", n) for n in needed), needed)

    def test_no_trace_of_the_cxx_runtime(self):
        undefined = run("nm", "-D", "--undefined-only", SHIM)
        self.assertEqual(re.findall(r"\b(_Z\w+|__cxa_throw|__cxa_guard\w*|__gxx\w*|_Unwind\w*)", undefined), [])

    def test_initialises_first_and_binds_at_once(self):
        dynamic = run("readelf", "-dW", SHIM)
        self.assertIn("INITFIRST", dynamic)
        self.assertIn("NOW", dynamic)
        self.assertNotIn("TEXTREL", dynamic)

    def test_keeps_the_environment_of_the_program(self):
        """A loader call in the first constructor runs libc's own too early, and `environ` stays empty."""
        out = subprocess.run(["/usr/bin/env"], env={"LD_PRELOAD": SHIM, "CHAOS_DIR": "/dev/null/nowhere", "MARK": "here"}, capture_output=True, text=True)
        self.assertIn("MARK=here", out.stdout)

    def test_controllers_carry_the_marker(self):
        for program in ("chaosd", "chaos-ctl"):
            path = os.path.join(BUILD, "bin", program)
            if os.path.exists(path):
                self.assertIn("chaos_controller_marker", run("nm", "-D", "--defined-only", path), program)


if __name__ == "__main__":
    unittest.main()
