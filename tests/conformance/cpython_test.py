"""CPython's own tests, as Debian's libpython3.11-testsuite ships them: natively, under the idle shim, and with rules armed
that match nothing. Every single test has the same outcome.

CONFORMANCE_MODULES names the modules (CMakeLists.txt has the list). A test that differs is asked again both ways: only one
whose outcomes never meet counts as different. (VSOCK hangs in some virtual machines, with or without the shim.)"""
import os
import unittest
import xml.etree.ElementTree

from conformance_test_case import ConformanceTestCase, need

PYTHON = "/usr/bin/python3.11"
MODULES = os.environ.get("CONFORMANCE_MODULES", "test_httplib").split()
ASK_AGAIN = 4


class CPython(ConformanceTestCase):
    def outcomes(self, modules, environment, only=()):
        """{test: passed, skipped, failed or error} of one run of regrtest."""
        report = os.path.join(self.folder, "outcomes.xml")
        words = [PYTHON, "-m", "test", "--timeout", "400", "--ignore", "*VSOCK*", "--junit-xml", report, "--tempdir", self.folder]
        for test in only:
            words += ["-m", test]
        if os.path.exists(report):
            os.unlink(report)
        ran = self.run_program(*words, *modules, env=environment, timeout=3000)
        self.assertTrue(os.path.exists(report), ran)
        found = {}
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            bad = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
            found[case.get("name")] = bad[0] if bad else case.get("result")
        return found

    def test_outcomes_are_the_same_test_by_test(self):
        need("python3.11", "python3.11 libpython3.11-testsuite")
        native = self.outcomes(MODULES, self.natively())
        self.assertGreater(len([t for t, how in native.items() if how == "completed"]), 0, native)
        for name, environment in self.shimmed_ways():
            with self.subTest(name):
                shimmed = self.outcomes(MODULES, environment)
                differing = sorted(t for t in native.keys() | shimmed.keys() if native.get(t) != shimmed.get(t))
                print(f"{name}: {len(shimmed)} tests of {' '.join(MODULES)}, {len(differing)} differ at first", flush=True)
                self.assertLess(len(differing), 40, differing)
                self.assertEqual({t: why for t in differing if (why := self.still_differs(t, environment))}, {})
                self.assertNothingFired(name)

    def still_differs(self, test, environment):
        """What was seen both ways, or None when a native run also had an outcome of a shimmed one."""
        native, shimmed = set(), set()
        module = [m for m in MODULES if f".{m}." in f".{test}."] or MODULES
        for _ in range(ASK_AGAIN):
            native.add(self.outcomes(module, self.natively(), [test]).get(test))
            shimmed.add(self.outcomes(module, environment, [test]).get(test))
            if native & shimmed:
                return None
        return f"natively {native}, with the shim {shimmed}"


if __name__ == "__main__":
    unittest.main()
