"""Other than x86-64 and glibc: a program linked with musl, and one for aarch64 under qemu, are delayed and cut off as any other.

The round trips are those of bench/peers. The aarch64 part builds libchaos.so with Debian's cross compiler and is slow."""
import os
import shutil
import subprocess
import sys
import unittest

from harness import BUILD, SHIM, SessionTest

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
PROGRAM = os.path.join(SOURCE, "bench/peers/round_trips.c")
TRIPS, WARM_UP = 10, 5
DELAY_MS, SLACK_MS = 50, 40


def need(program, package):
    if not shutil.which(program):
        raise AssertionError(f"{program} is missing: apt-get install {package} (tools/test --full does)")


class Platform(SessionTest):
    prefix = []  # what runs the client

    def client(self, *words, shim):
        env = {**self.env, "LD_PRELOAD": shim} if not self.prefix else self.env
        prefix = [*self.prefix, "-E", f"LD_PRELOAD={shim}"] if self.prefix else []
        return subprocess.run([*prefix, self.dir + "/client", *map(str, words)], env=env, capture_output=True, text=True, timeout=60)

    def delayed_and_cut_off(self, shim):
        subprocess.run(["cc", "-O1", "-o", self.dir + "/server", PROGRAM], check=True)
        server = self.start([self.dir + "/server", "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        port = int(server.stdout.readline())
        for how in ("blocking", "epoll"):
            with self.subTest(how):
                rule = self.ok("set", "latency", f"127.0.0.1:{port}", f"{DELAY_MS}ms").out.strip()
                done = self.client(port, TRIPS, how, shim=shim)
                self.assertEqual(done.returncode, 0, done.stderr)
                p50_ms = float(done.stdout.split()[0]) / 1000
                self.assertGreater(p50_ms, DELAY_MS - 0.2)
                self.assertSoon(p50_ms / 1000, (DELAY_MS + SLACK_MS) / 1000)
                self.assertEqual(self.rule(rule)["fired"], TRIPS + WARM_UP)
                self.ok("rm", rule)
        rule = self.ok("set", "error", f"127.0.0.1:{port}", "EPIPE", "--on", "send").out.strip()
        self.assertEqual(self.client(port, TRIPS, "blocking", shim=shim).returncode, 1, "its first send fails")
        self.assertEqual(self.rule(rule)["fired"], 1)


class Musl(Platform):
    def test_a_program_of_musl(self):
        need("musl-gcc", "musl-tools")
        subprocess.run(["musl-gcc", "-O1", "-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu", "-o", self.dir + "/client", PROGRAM], check=True)
        self.delayed_and_cut_off(SHIM)


class Aarch64(Platform):
    prefix = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"]

    def test_a_program_for_aarch64(self):
        need("qemu-aarch64-static", "qemu-user-static")
        need("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")
        build = os.path.join(BUILD, "aarch64")
        subprocess.run(["cmake", "-S", SOURCE, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
                        "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc", "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
                        *(f"-DCHAOS_BUILD_{part}=OFF" for part in ("CONTROL", "TESTS", "BENCH", "EXAMPLES"))], check=True, stdout=sys.stderr)
        subprocess.run(["cmake", "--build", build], check=True, stdout=sys.stderr)
        subprocess.run(["aarch64-linux-gnu-gcc", "-O1", "-o", self.dir + "/client", PROGRAM], check=True)
        self.delayed_and_cut_off(os.path.join(build, "lib/libchaos.so"))


if __name__ == "__main__":
    unittest.main()
