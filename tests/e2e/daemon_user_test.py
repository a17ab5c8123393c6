"""chaosd --owner USER and --syslog: for init systems, which start it as root."""
import json
import os
import pwd
import shutil
import socket
import subprocess
import unittest

from harness import CTL, DAEMON, FAILED, SessionTest, alive, until, with_log

ROOT = os.geteuid() == 0


class Owner(SessionTest):
    def chaosd(self, *words, status):
        done = subprocess.run([DAEMON, "--dir", self.dir, *words], env=self.env, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    def test_a_user_that_does_not_exist(self):
        self.assertIn("there is no user 'nosuchuser'", self.chaosd("--owner", "nosuchuser", status=FAILED))
        self.assertNoDaemon()

    def test_only_root_becomes_somebody_else(self):
        nobody = pwd.getpwnam("nobody")
        os.chmod(self.dir, 0o755)
        if not ROOT:
            self.assertIn("can not become 'nobody'", self.chaosd("--owner", "nobody", status=FAILED))
            return
        os.chown(self.dir, nobody.pw_uid, nobody.pw_gid)
        self.chaosd("--owner", "nobody", status=0)
        pid = self.assertOneDaemon()
        with open(f"/proc/{pid}/status") as f:
            fields = dict(line.split(":", 1) for line in f)
        self.assertEqual(set(fields["Uid"].split()), {str(nobody.pw_uid)})
        self.assertEqual(set(fields["Gid"].split()), {str(nobody.pw_gid)})
        self.assertNotIn("0", fields["Groups"].split(), "no group of root is left")
        for name in ("control.sock", "rules", "report", "audit.jsonl"):
            self.assertEqual(os.stat(f"{self.dir}/default/{name}").st_uid, nobody.pw_uid, name)
        # that user may use it; so may root, in that user's name
        ids = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        copy = shutil.copy(CTL, f"{self.dir}/chaos-ctl")  # where that user can reach it
        made = subprocess.run([copy, "set", "latency", "127.0.0.1:1", "1ms"], env=self.env, capture_output=True, text=True, timeout=20, **ids)
        self.assertEqual((made.returncode, made.stdout), (0, "1\n"), made.stderr)
        with open(f"{self.dir}/default/audit.jsonl") as f:
            self.assertEqual(json.loads(f.readline())["uid"], nobody.pw_uid)


@unittest.skipUnless(ROOT, "only root can stand in for the system's log")
class Syslog(SessionTest):
    def setUp(self):
        super().setUp()
        self.log_path = f"{self.dir}/log"
        self.log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.log.bind(self.log_path)
        self.log.settimeout(0.05)
        self.lines = []

    def tearDown(self):
        super().tearDown()
        self.log.close()

    def logged(self, text):
        """The line that holds this text, once it has come."""
        def read():
            try:
                while True:
                    self.lines.append(self.log.recv(65536).decode())
            except TimeoutError:
                return next((line for line in self.lines if text in line), None)
        return until(read, f"'{text}' in the system's log")

    def test_the_log_and_the_audit_log_go_to_syslog(self):
        self.assertEqual(subprocess.run([*with_log(self.dir, self.log_path), DAEMON, "--dir", self.dir, "--syslog"], env=self.env, timeout=20).returncode, 0)
        pid = self.assertOneDaemon()
        self.assertIn(f"chaosd[{pid}]: ", self.logged("serves session"))
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--name", "slow")
        line = self.logged('"command":"set"')
        told = json.loads(line[line.index("{"):])
        self.assertEqual((told["uid"], told["outcome"], told["request"]["words"][0]), (os.getuid(), "done", "latency"))
        self.assertFalse(os.path.exists(f"{self.dir}/default/chaosd.log"))
        with open(f"{self.dir}/default/audit.jsonl") as f:
            self.assertEqual(json.loads(f.readline()), told, "the file has it, too")
        self.ok("daemon", "stop")
        self.logged(f"chaosd {pid} ends")
        self.assertFalse(alive(pid))


if __name__ == "__main__":
    unittest.main()
