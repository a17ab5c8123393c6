"""chaos-ctl run and doctor: becomes the program, refuses what can not be reached, reports what did not attach."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import unittest

from harness import CTL, DONE, FAILED, SHIM, USAGE, SessionTest, for_others, free_port, until


def compiler():
    return next((c for c in ("gcc", "cc", "g++") if subprocess.run(["which", c], capture_output=True).returncode == 0), None)


class Reach(SessionTest):
    def build(self, source, *flags):
        path = os.path.join(self.dir, "prog" + str(len(os.listdir(self.dir))))
        subprocess.run([compiler(), "-x", "c", "-", "-o", path, *flags], input=source, text=True, check=True, capture_output=True)
        return path

    def refused(self, program, code, *names):
        answer = self.ctl("doctor", program, "--json")
        self.assertEqual(answer.code, FAILED, answer)
        found = [f for f in answer.json["findings"] if f["level"] == "refused"]
        self.assertEqual([f["code"] for f in found], [code])
        for name in names:
            self.assertIn(name, found[0]["text"] + found[0]["instead"])
        ran = self.ctl("run", "--", program)
        self.assertEqual((ran.code, ran.out), (FAILED, ""), ran)
        self.assertIn(found[0]["text"], ran.err)
        self.assertNoDaemon(message="refused before a daemon starts")

    def test_a_session_that_can_not_be_is_named_by_the_shim(self):
        for name, shown in (("a b", "'a b'"), ("x" * 3000, "'xxx")):
            p = subprocess.run(["/bin/true"], env={**self.env, "CHAOS_SESSION": name, "LD_PRELOAD": SHIM}, capture_output=True, text=True, timeout=30)
            self.assertEqual((p.returncode, p.stderr.count("\n")), (0, 1), p.stderr)
            self.assertIn(f"libchaos: dormant: CHAOS_SESSION {shown}", p.stderr)
            self.assertTrue(p.stderr.endswith("at most 64\n"), p.stderr)

    def test_static_program(self):
        self.refused(self.build("int main(void){return 0;}", "-static"), "static", "statically linked")

    def test_static_pie_program(self):
        self.refused(self.build("int main(void){return 0;}", "-static-pie", "-fPIE"), "static")

    def test_32_bit_program(self):
        path = os.path.join(self.dir, "elf32")
        with open(path, "wb") as f:
            f.write(b"\x7fELF\x01\x01\x01" + b"\0" * 200)
        os.chmod(path, 0o755)
        self.refused(path, "32bit", "64-bit build")

    def test_go_program(self):
        path = self.build('__asm__(".section .note.go.buildid,\\"a\\",@note\\n.long 4,8,4\\n.asciz \\"Go\\\\0\\"\\n.quad 0\\n.previous"); int main(void){return 0;}')
        self.refused(path, "go", "proxy")

    def test_neither_elf_nor_script(self):
        path = os.path.join(self.dir, "data")
        with open(path, "w") as f:
            f.write("just text\n" * 10)
        os.chmod(path, 0o755)
        self.refused(path, "not_a_program")

    def test_setuid_program_of_another(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to give a file away")
        path = self.build("int main(void){return 0;}")
        os.chown(path, 65534, 65534)
        os.chmod(path, 0o4755)
        self.refused(path, "setuid", "--user")

    def test_file_capabilities(self):
        if os.geteuid() != 0 or not os.path.exists("/sbin/setcap") and not os.path.exists("/usr/sbin/setcap"):
            self.skipTest("needs root and setcap")
        path = os.path.join("/tmp", f"chaos-test-cap-{os.getpid()}")
        os.rename(self.build("int main(void){return 0;}"), path) if os.stat("/tmp").st_dev == os.stat(self.dir).st_dev else __import__("shutil").copy(self.build("int main(void){return 0;}"), path)
        try:
            if subprocess.run(["/usr/sbin/setcap" if os.path.exists("/usr/sbin/setcap") else "/sbin/setcap", "cap_net_raw+ep", path], capture_output=True).returncode:
                self.skipTest("no file capabilities here")
            answer = self.ok("doctor", path, "--json")
            self.assertIn("capabilities", [f["code"] for f in answer.json["findings"]])  # harmless for root, and said
        finally:
            os.unlink(path)

    def test_script_is_followed_to_its_interpreter(self):
        path = os.path.join(self.dir, "script")
        for line in ("#!/bin/sh", "#!/usr/bin/env python3", "#! /usr/bin/env -S python3 -u"):
            with open(path, "w") as f:
                f.write(line + "\nexit\n")
            os.chmod(path, 0o755)
            chain = self.ok("doctor", path, "--json").json["chain"]
            self.assertEqual(chain[0], path)
            self.assertGreater(len(chain), 1)
            self.assertNotIn("env", os.path.basename(chain[-1]))
        with open(path, "w") as f:
            f.write("#!/usr/bin/env -i python3\nexit\n")
        self.refused(path, "env_cleared", "env -i")

    def test_script_that_is_its_own_interpreter(self):
        path = os.path.join(self.dir, "loop")
        with open(path, "w") as f:
            f.write(f"#!{path}\n")
        os.chmod(path, 0o755)
        self.assertEqual(self.ctl("doctor", path).code, FAILED)

    def test_own_allocator_is_told(self):
        path = self.build("#include <stdlib.h>\nstatic char b[99999]; static size_t n; void *malloc(size_t s){void*p=b+n;n+=(s+15)&~15ul;return p;} void free(void*p){(void)p;} int main(void){return malloc(3)==0;}",
                          "-rdynamic")
        codes = [f["code"] for f in self.ok("doctor", path, "--json").json["findings"]]
        self.assertIn("own_allocator", codes)

    def test_a_program_of_a_sanitizer_is_told_and_runs(self):
        source = "#include <stdio.h>\n#include <stdlib.h>\nint main(void){char *p = malloc(10); int ok = p != NULL; free(p); printf(\"%d\\n\", ok); return 0;}"
        for name in ("address", "thread"):
            with self.subTest(name):
                path = self.build(source, f"-fsanitize={name}")
                found = [f for f in self.ok("doctor", path, "--json").json["findings"] if f["code"] == name[0] + "san"]
                self.assertEqual([f["level"] for f in found], ["note"], found)
                ran = self.ctl("run", "--", path)
                self.assertEqual((ran.code, ran.out), (DONE, "1\n"), ran)

    def test_a_program_that_sandboxes_itself_is_told(self):
        sandboxed = self.build("#include <linux/filter.h>\n#include <linux/seccomp.h>\n#include <sys/prctl.h>\n#include <stdio.h>\n#include <unistd.h>\n"
                               "int main(void){ struct sock_filter f[] = {{6, 0, 0, 0x7fff0000}}; struct sock_fprog p = {1, f};"
                               "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p); puts(\"ready\"); fflush(stdout); pause(); return 0;}")
        p = self.start([CTL, "run", "--", sandboxed], stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), "ready\n")
        told = {f["code"]: f for f in self.ok("doctor", "--pid", p.pid, "--json").json["findings"]}
        self.assertIn("seccomp", told)

    def test_imports_are_told(self):
        path = self.build("#include <sys/socket.h>\n#include <unistd.h>\n#include <stdio.h>\nint main(void){char c; link(\"a\",\"b\"); return (int)recv(0,&c,1,0);}")
        report = self.ok("doctor", path, "--json").json
        self.assertIn("recv", report["interposed"])
        self.assertIn("link", report["not_covered"])

    def test_no_such_program(self):
        self.assertEqual(self.ctl("run", "--", "no-such-program-at-all").code, FAILED)
        self.assertEqual(self.ctl("run", "--", "/nowhere/x").code, FAILED)
        self.assertEqual(self.ctl("run", "--", "/tmp").code, FAILED)
        self.assertNoDaemon()

    def test_musl_program(self):
        if subprocess.run(["which", "musl-gcc"], capture_output=True).returncode:
            self.skipTest("no musl-gcc")
        path = os.path.join(self.dir, "musl")
        subprocess.run(["musl-gcc", "-x", "c", "-", "-o", path], input="int main(void){return 0;}", text=True, check=True)
        codes = [f["code"] for f in self.ok("doctor", path, "--json").json["findings"]]
        self.assertIn("musl", codes)

    def test_a_process_that_was_not_started_under_the_shim(self):
        p = self.start(["sleep", "600"])
        answer = self.ctl("doctor", "--pid", p.pid, "--json")
        self.assertEqual(answer.code, FAILED)
        self.assertEqual([f["code"] for f in answer.json["findings"] if f["level"] == "refused"], ["not_loaded"])
        self.assertFalse(answer.json["attached"])
        self.assertEqual(self.ctl("doctor", "--pid", "4194303").code, FAILED)


@unittest.skipUnless(os.path.exists(SHIM), "no libchaos.so in this build")
class Run(SessionTest):
    def run_python(self, code, *before, **more):
        return self.ctl("run", *before, "--", sys.executable, "-c", code, **more)

    def test_becomes_the_program(self):
        p = self.start([CTL, "run", "--", sys.executable, "-c", "import os; print(os.getpid(), flush=True); os._exit(41)"], stdout=subprocess.PIPE)
        out, _ = p.communicate(timeout=30)
        self.assertEqual((int(out), p.returncode), (p.pid, 41))

    def test_signals_and_stdin_are_the_programs(self):
        p = self.start([CTL, "run", "--", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        p.stdin.write("through\n")
        p.stdin.flush()
        self.assertEqual(p.stdout.readline(), "through\n")
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(timeout=20), -signal.SIGTERM)

    def test_leaves_the_program_its_environment_arguments_and_no_child(self):
        answer = self.run_python("import os,sys; print(os.environ['MARK'], os.environ['CHAOS_SESSION'], sys.argv[1:]);"
                                 "\ntry: os.waitpid(-1, os.WNOHANG); print('child')\nexcept ChildProcessError: print('none')", env={"MARK": "x"})
        self.assertEqual(answer.out.splitlines(), ["x default []", "none"], answer)
        self.assertEqual(answer.err, "")

    def test_preload_is_put_in_front_of_what_was_there(self):
        answer = self.run_python("import os; print(os.environ['LD_PRELOAD'])", env={"LD_PRELOAD": "libm.so.6"})
        self.assertEqual(answer.out.strip(), f"{os.path.realpath(SHIM)}:libm.so.6")

    def test_attaches_and_is_seen(self):
        self.ok("daemon", "start")
        p = self.start([CTL, "run", "--", "sleep", "600"])
        until(lambda: [x for x in self.ok("ps", "--json").json["processes"] if x["pid"] == p.pid], "the attached process")
        live = self.ok("doctor", "--pid", p.pid, "--json").json
        self.assertTrue(live["attached"])
        self.assertTrue(live["reachable"])
        p.kill()
        p.wait()
        until(lambda: not self.ok("ps", "--json").json["processes"], "its end")

    def test_missing_attach_is_reported(self):
        fake = os.path.join(self.dir, "libempty.so")
        subprocess.run([compiler(), "-shared", "-x", "c", "/dev/null", "-o", fake], check=True)
        answer = self.ctl("run", "--", "sleep", "4", env={"CHAOS_LIB": fake})
        self.assertEqual(answer.code, DONE)
        self.assertRegex(answer.err, r"^chaos-ctl run: warning: sleep \(pid \d+\) did not attach within 2 s.*doctor --pid \d+.*\n$")

    def test_a_short_program_is_not_reported(self):
        for _ in range(5):
            answer = self.ctl("run", "--", "true")
            self.assertEqual((answer.code, answer.err), (DONE, ""))

    def test_bad_library_is_refused(self):
        self.assertIn("CHAOS_LIB", self.ctl("run", "--", "true", env={"CHAOS_LIB": "/nowhere.so"}).err)
        self.assertIn("CHAOS_DAEMON", self.ctl("run", "--", "true", env={"CHAOS_DAEMON": "/nowhere"}).err)

    def test_rules_of_a_run_concern_it_alone_and_end_with_it(self):
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            code = f"import socket,sys\ntry: socket.create_connection(('127.0.0.1',{port})); print('connected')\nexcept ConnectionRefusedError: print('refused')\nsys.stdout.flush(); sys.stdin.read()"
            rule = f"error 127.0.0.1:{port} ECONNREFUSED --on connect"
            p = self.start([CTL, "run", "--set", rule, "--", sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.assertEqual(p.stdout.readline(), "refused\n")
            self.assertEqual(self.run_python(code, stdin="").out, "connected\n")
            rules = self.rules()
            self.assertEqual([(r["kind"], r["state"]) for r in rules], [("error", "active")])
            self.assertGreaterEqual(rules[0]["fired"], 1)
            p.stdin.close()
            p.wait(timeout=20)
            until(lambda: self.rules()[0]["state"] == "ended", "the end of the rule with its run")

    def test_rules_of_a_run_reach_its_children(self):
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            code = f"import socket\ntry: socket.create_connection(('127.0.0.1',{port})); print('connected')\nexcept ConnectionRefusedError: print('refused')"
            answer = self.ctl("run", "--set", f"error 127.0.0.1:{port} ECONNREFUSED --on connect", "--", "sh", "-c", f'"{sys.executable}" -c "{code}"')
            self.assertEqual(answer.out, "refused\n", answer)

    def test_new_session_is_exported_to_the_program(self):
        answer = self.run_python("import os; print(os.environ['CHAOS_SESSION'])", "--session", "new")
        self.assertRegex(answer.out, r"^s\d+-\w{6}\n$")
        self.assertTrue(os.path.isdir(f"{self.dir}/{answer.out.strip()}"))

    def test_run_as_another_user(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        os.chown(self.dir, 65534, 65534)
        answer = self.ctl("run", "--user", "nobody", "--", "id", "-u", env={"CHAOS_LIB": f"{for_others()}/lib/libchaos.so", "CHAOS_DAEMON": f"{for_others()}/bin/chaosd"})
        self.assertEqual(answer.out, "65534\n", answer)
        self.assertEqual(os.stat(f"{self.dir}/default").st_uid, 65534)
        self.assertEqual(self.ctl("run", "--user", "no-such-user", "--", "id").code, USAGE)

    def test_a_target_that_ran_before_any_daemon_is_reached(self):
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            code = (f"import socket,sys\nfor line in sys.stdin:\n try: socket.create_connection(('127.0.0.1',{port})); print('connected')\n"
                    " except OSError as e: print(type(e).__name__)\n sys.stdout.flush()")
            p = self.start([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"LD_PRELOAD": SHIM})

            def ask():
                p.stdin.write("go\n")
                p.stdin.flush()
                return p.stdout.readline().strip()
            self.assertEqual(ask(), "connected")
            self.assertNoDaemon()
            self.ok("set", "down", f"127.0.0.1:{port}")
            self.assertEqual(ask(), "ConnectionRefusedError")
            self.assertGreaterEqual(self.rules()[0]["fired"], 1)
            self.ok("rm", "--all")
            self.assertEqual(ask(), "connected")
            # kill -9 of the daemon: the fault ends with the lease
            self.ok("set", "down", f"127.0.0.1:{port}")
            self.assertEqual(ask(), "ConnectionRefusedError")
            os.kill(self.daemon_pid(), signal.SIGKILL)
            until(lambda: ask() == "connected", "the end of the fault with the lease", deadline=6)


IO_URING = r"""
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
  char room[120] = {0};
  long raw, number = 425, n = 1;
#if defined(__x86_64__)
  __asm__ volatile("syscall" : "=a"(raw) : "a"(number), "D"(n), "S"(room) : "rcx", "r11", "memory");  /* no shim sees this one */
#else
  raw = syscall(number, n, room) < 0 ? -errno : 0;
#endif
  errno = 0;
  long by_libc = syscall(425, 1, room);
  printf("%ld %d %d\n", raw, by_libc < 0 ? errno : 0, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  fflush(stdout);
  getchar();
  return 0;
}
"""


class IoUring(SessionTest):
    build = Reach.build

    def asks(self, *options):
        p = self.start([CTL, "run", *options, "--", self.build(IO_URING)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        raw, by_libc, no_new_privs = map(int, p.stdout.readline().split())
        return p, raw, by_libc, no_new_privs

    def test_no_io_uring_answers_enosys_to_every_caller(self):
        p, raw, by_libc, no_new_privs = self.asks("--no-io-uring")
        self.assertEqual((raw, by_libc, no_new_privs), (-38, 38, 1))
        process = next(q for q in self.ok("ps", "--json").json["processes"] if q["pid"] == p.pid)
        self.assertIn("seccomp", process["limits"])
        self.assertIn("seccomp", [f["code"] for f in self.ok("doctor", "--pid", p.pid, "--json").json["findings"]])
        p.stdin.close()
        self.assertEqual(p.wait(30), 0)

    def test_without_it_nothing_is_filtered(self):
        self.assertEqual(self.asks()[3], 0)

    def test_while_address_rules_are_in_force_syscall_answers_enosys(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms")
        self.assertEqual(self.asks()[2], 38)

    def test_ps_and_doctor_name_a_ring_in_use(self):
        p, raw, _, _ = self.asks()
        if raw < 0:
            self.skipTest(f"no io_uring here: {os.strerror(-raw)}")
        process = next(q for q in self.ok("ps", "--json").json["processes"] if q["pid"] == p.pid)
        self.assertIn("io_uring", process["limits"])
        self.assertIn("io_uring_in_use", [f["code"] for f in self.ok("doctor", "--pid", p.pid, "--json").json["findings"]])

    def test_help_states_the_cost(self):
        text = " ".join(self.ok("run", "--help").out.split())
        for word in ("no_new_privs", "seccomp", "each system call"):
            self.assertIn(word, text)


class Preloads(SessionTest):
    build = Reach.build

    def test_competing_preloads_are_named(self):
        other = self.build("#include <sys/types.h>\nssize_t recv(int a, void*b, size_t c, int d){(void)a;(void)b;(void)c;(void)d;return 0;}", "-shared", "-fPIC")
        found = lambda answer: [f for f in answer.json["findings"] if f["code"] == "preload"]
        told = found(self.ok("doctor", "sleep", "--json", env={"LD_PRELOAD": other}))
        self.assertEqual([f["level"] for f in told], ["note"])
        self.assertIn("recv", told[0]["text"])
        p = self.start(["sleep", "600"], env={"LD_PRELOAD": f"{other}:{SHIM}"})
        until(lambda: "libchaos" in pathlib.Path(f"/proc/{p.pid}/maps").read_text(), "the shim")
        told = found(self.ctl("doctor", "--pid", p.pid, "--json"))
        self.assertEqual([f["level"] for f in told], ["limited"])
        self.assertIn(f"{SHIM.rsplit('/', 1)[1]}:{other}", told[0]["instead"])

    def test_a_cleared_environment_is_told(self):
        p = self.start(["env", "-i", "sleep", "600"])
        until(lambda: os.readlink(f"/proc/{p.pid}/exe").endswith(("sleep", "coreutils")), "sleep")
        told = {f["code"]: f for f in self.ctl("doctor", "--pid", p.pid, "--json").json["findings"]}
        self.assertIn("not_loaded", told)
        self.assertIn("env -i", told["no_preload"]["text"])
        self.assertIn("env -i", self.ok("run", "--", "env", "-i", "true").err)


if __name__ == "__main__":
    unittest.main()
