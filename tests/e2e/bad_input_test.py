"""Every kind of bad input has a message of its own: the word, where it stood, what would be right. Nothing changes."""
import os
import shutil
import signal
import struct
import subprocess
import unittest

from harness import CTL, FAILED, USAGE, SessionTest, until

# words, code, the wrong word, what the message or `expected` must name
REFUSED = [
    (["set", "latancy", "a:1", "1ms"], "unknown_kind", "latancy", "latency"),
    (["set", "frobnicate", "a:1"], "unknown_kind", "frobnicate", "latency"),
    (["set"], "missing_word", "", "latency"),
    (["set", "latency"], "missing_word", "", ""),
    (["set", "latency", "a:1"], "missing_word", "", ""),
    (["set", "latency", "a:99999", "1ms"], "bad_target", "", "65535"),
    (["set", "latency", "10.0.0.0/33", "1ms"], "bad_target", "", "32"),
    (["set", "latency", "[::1", "1ms"], "bad_target", "", "]"),
    (["set", "latency", "malloc", "1ms"], "wrong_target", "malloc", ""),
    (["set", "enomem", "redis:6379"], "wrong_target", "", "malloc"),
    (["set", "latency", "a:1", "200"], "bad_value", "200", "200ms"),
    (["set", "latency", "a:1", "200parsec"], "bad_value", "200parsec", "ms"),
    (["set", "latency", "a:1", "-5ms"], None, None, ""),
    (["set", "latency", "a:1", "5ms", "6ms"], "unexpected_word", "6ms", ""),
    (["set", "error", "a:1", "ECONRESET"], "unknown_errno", "ECONRESET", "ECONNRESET"),
    (["set", "error", "a:1", "ENOSPC", "--on", "recv"], "impossible_errno", "ENOSPC", "ECONNRESET"),
    (["set", "error", "file:/tmp/*", "ECONNREFUSED"], "impossible_errno", "ECONNREFUSED", "EIO"),
    (["set", "error", "a:1", "ECONNRESET", "--on", "recvv"], "unknown_function", "recvv", "recv"),
    (["set", "latency", "a:1", "1ms", "--jiter", "1ms"], "unknown_option", "--jiter", "--jitter"),
    (["set", "latency", "a:1", "1ms", "--how", "refuse"], None, "--how", ""),
    (["set", "loss", "a:1", "1.5"], "bad_value", "1.5", ""),
    (["set", "loss", "a:1", "101%"], "bad_value", "101%", ""),
    (["set", "latency", "a:1", "1ms", "--probability", "2"], "bad_value", "2", ""),
    (["set", "latency", "a:1", "1ms", "--probability", "-1"], "bad_value", "-1", ""),
    (["set", "latency", "a:1", "1ms", "--when", "7..3"], "bad_value", "7..3", ""),
    (["set", "latency", "a:1", "1ms", "--when", "XOA"], "bad_value", "XOA", ""),
    (["set", "latency", "a:1", "1ms", "--scope", "conection"], "bad_value", "conection", "connection"),
    (["set", "latency", "a:1", "1ms", "--for", "1min", "--forever"], "bad_combination", "", ""),
    (["set", "latency", "udp://a:1", "1ms", "--name", "bad name"], None, "bad name", ""),
    (["set", "slicer", "udp://*:53"], "bad_combination", "", ""),
    (["set", "latency", "*", "1ms"], "needs_everything", "", "--everything"),
    (["set", "down", "a:1", "--how", "sideways"], "bad_value", "sideways", "refuse"),
    (["set", "duplicate", "tcp://a:1", "10%"], None, None, ""),
    (["set", "Latency", "a:1", "1ms"], "unknown_kind", "Latency", "did you mean 'latency'"),
    (["set", "delay", "a:1", "1ms"], "unknown_kind", "delay", "did you mean 'latency'"),
    (["set", "reset", "a:1"], "unknown_kind", "reset", "did you mean 'reset_peer'"),
    (["set", "redis:6379", "latency", "200ms"], "unknown_kind", "redis:6379", "did you mean 'latency redis:6379'"),
    (["set", "latency", "200ms", "redis:6379"], "bad_value", "redis:6379", "did you mean 'redis:6379 200ms'"),
    (["set", "latency", "redis:6379", "200", "ms"], "unexpected_word", "ms", "did you mean '200ms', in one word"),
    (["set", "latency", "redis:6379", "200MS"], "bad_value", "200MS", "did you mean '200ms'"),
    (["set", "latency", "redis:6379", "200m"], "bad_value", "200m", "did you mean '200ms' or '200min'"),
    (["set", "latency", "redis:6379", "-200ms"], "bad_value", "-200ms", "negative"),
    (["set", "latency", ":6379", "1ms"], "bad_target", ":6379", "*:6379"),
    (["set", "latency", "6379", "1ms"], "bad_target", "6379", "did you mean '*:6379'"),
    (["set", "latency", "redis:", "1ms"], "bad_target", "redis:", "redis:6379"),
    (["set", "latency", "redis:6379:", "1ms"], "bad_target", "redis:6379:", "more than one ':'"),
    (["set", "latency", "redis://redis:6379", "1ms"], "bad_target", "redis://redis:6379", "did you mean its connection, 'redis:6379'"),
    (["set", "latency", "postgres://me:pw@db:5432/x?y", "1ms"], "bad_target", "postgres://me:pw@db:5432/x?y", "did you mean its connection, 'db:5432'"),
    (["set", "latency", "https://shop:443/x", "1ms"], "bad_target", "https://shop:443/x", "did you mean its connection, 'shop:443'"),
    (["set", "error", "file:relative", "EIO"], "bad_target", "file:relative", "file:/relative"),
    (["set", "error", "file:~/x", "EIO"], "bad_target", "file:~/x", "whole path"),
    (["set", "error", "/var/lib/x", "EIO"], "bad_target", "/var/lib/x", "did you mean 'file:/var/lib/x'"),
    (["set", "latency", "/run/app.sock", "1ms"], "bad_target", "/run/app.sock", "did you mean 'unix:/run/app.sock'"),
    (["set", "error", "file", "EIO"], "bad_target", "file", "tcp://file"),
    (["set", "unset", "HOME"], "wrong_target", "HOME", "did you mean 'env:HOME'"),
    (["set", "unset", "env:"], "bad_target", "env:", "env:DATABASE_URL"),
    (["set", "enomem"], "missing_word", "", "such as malloc"),
    (["set", "error", "a:1", "econnreset"], "unknown_errno", "econnreset", "did you mean 'ECONNRESET'"),
    (["set", "error", "a:1", "104"], "unknown_errno", "104", "did you mean 'ECONNRESET'"),
    (["set", "latency", "a:1", "1ms", "--prob", "50%"], "unknown_option", "--prob", "did you mean '--probability'"),
    (["set", "latency", "a:1", "1ms", "-p", "0.5"], "unknown_option", "-p", "did you mean '--probability'"),
    (["set", "latency", "a:1", "1ms", "--probability", "50"], "bad_value", "50", "did you mean 50%"),
    (["set", "latency", "a:1", "1ms", "--probability"], "missing_word", "--probability", "--probability 10%"),
    (["set", "latency", "a:1", "1ms", "--toxicity", "--forever"], "missing_word", "--toxicity", "--toxicity 50%"),
    (["set", "latency", "a:1", "1ms", "--duration", "30s"], "unknown_option", "--duration", "did you mean '--for'"),
    (["set", "latency", "a:1", "1ms", "--for", "forever"], "bad_value", "forever", "did you mean --forever"),
    (["set", "latency", "a:1", "1ms", "--pid", "redis"], "bad_value", "redis", "--process"),
    (["set", "latency", "a:1", "1ms", "--on", "read", "write"], "unexpected_word", "write", "did you mean --on read,write"),
    (["set", "latency", "a:1", "1ms", "--on", "recv,"], "bad_value", "recv,", "empty place"),
    (["set", "latency", "a:1", "1ms", "--direction", "upstream"], "bad_value", "upstream", "did you mean 'up'"),
    (["set", "--for", "30s"], "missing_word", "", "beside the options"),
    (["set", "--toxicty", "5%", "latency", "a:1", "1ms"], "unknown_option", "--toxicty", "did you mean '--toxicity'"),
    (["set", "latency", "a:1", "1e3ms"], "bad_value", "1e3ms", "did you mean '1s'"),
    (["set", "latency", "a:1", "1,5s"], "bad_value", "1,5s", "did you mean '1500ms'"),
    (["set", "latency", "a:1", "1ms", "--for", "2h30"], "bad_value", "2h30", "did you mean '150min'"),
    (["set", "latency", "a:1", "1ms", "--for", "1m30s"], "bad_value", "1m30s", "did you mean '90s'"),
    (["set", "latency", "a:1", "1h2h"], "bad_value", "1h2h", "unknown unit 'h2h'"),
    (["set", "io_error", "file:/tmp/*", "--torn", "--on", "read"], "bad_combination", "--torn", "did you mean --on write"),
    (["set", "bandwidth", "a:1", "100KB"], "bad_value", "100KB", "did you mean '100KB/s'"),
    (["set", "bandwidth", "a:1", "1Mbit/s"], "bad_value", "1Mbit/s", "counts bits"),
    (["set", "loss", "a:1", "--model", "gemodell:1%"], "bad_value", "gemodell:1%", "gemodel:1%"),
    (["latency", "a:1", "1ms"], "unknown_command", "latency", "did you mean 'set latency'"),
    (["ls"], "unknown_command", "ls", "did you mean 'list'"),
    (["remove", "1"], "unknown_command", "remove", "did you mean 'rm'"),
    (["list", "--dir", "--session", "x"], "missing_word", "--dir", "--dir FOLDER"),
    (["list", "latency-1"], "unexpected_word", "latency-1", "list takes no argument"),
    (["watch", "latency-1"], "unexpected_word", "latency-1", "watch takes no argument"),
    (["stop", "3"], "unexpected_word", "3", "chaos-ctl rm"),
    (["set", "slicer", "a:1", "--on", "recv,accept"], "bad_combination", "accept", "stream_in"),
    (["set", "down", "listen:80", "--on", "accept"], "bad_combination", "accept", "connect"),
    (["set", "full", "file:/tmp/*", "1MB", "--on", "pread"], "bad_combination", "pread", "pwrite"),
    (["set", "pause", "process", "1s", "--everything", "--on", "epoll_wait"], "bad_combination", "epoll_wait", "stream_in"),
]


ACCEPTED = [
    "error a:1 ECONNRESET", "error a:1 ECONNRESET --on stream_in", "error a:1 EPIPE --on stream_out", "error a:1 ECONNREFUSED --on datagram_in",
    "error a:1 ECONNRESET=3,EPIPE=1", "error file:/tmp/* EIO --on fsync,file_io", "error file:/tmp/* ENOSPC --on write", "error a:1 ENOSPC --force",
    "latency redis:6379 1.5s --jitter 50us --distribution paretonormal", "latency listen:8080 1ms", "latency unix:/run/*.sock 1ms",
    "latency udp://*:53 1ms", "latency [2001:db8::/32]:80,10.0.0.0/8,!10.1.0.0/16 1ms", "latency dns:*.example.com 1ms",
    "latency a:1 1ms --percentiles p50=1ms,p99=9ms", "down a:1 --how blackhole", "loss a:1 10%", "loss a:1 0", "corrupt a:1 0.001",
    "corrupt a:1 --bits 3", "slicer a:1 --average-size 16B", "reset_peer a:1", "reset_peer a:1 2s", "enomem malloc --size 1MiB..", "observe * --everything",
]


class BadInput(SessionTest):
    def test_what_is_right_is_accepted(self):
        for text in ACCEPTED:
            with self.subTest(text):
                words = text.split()
                if "--percentiles" in words:
                    words.remove("1ms")
                self.ok("set", *words, "--for", "1min")
    def test_is_refused_with_its_own_message_and_starts_no_daemon(self):
        for words, code, word, names in REFUSED:
            with self.subTest(" ".join(words)):
                answer = self.ctl(*words, "--json")
                self.assertEqual(answer.code, USAGE, answer)
                error = answer.json["error"]
                if code:
                    self.assertEqual(error["code"], code, error)
                if word:
                    self.assertEqual(error["word"], word, error)
                self.assertIn(names, error["message"] + " ".join(error["expected"]))
                text = self.ctl(*words)
                self.assertEqual((text.code, text.out), (USAGE, ""))
                self.assertTrue(text.err.startswith("chaos-ctl"), text.err)
                self.assertIn(error["message"], text.err)
        self.assertNoDaemon()
        self.assertEqual(os.listdir(self.dir), [])

    def test_messages_differ(self):
        said = {}
        for words, code, *_ in REFUSED:
            message = self.ctl(*words, "--json").json["error"]["message"]
            self.assertGreater(len(message), 10)
            self.assertNotIn(message, said, f"{words} and {said.get(message)}")
            said[message] = words

    def test_the_wrong_word_is_underlined(self):
        err = self.ctl("set", "latency", "redis:6379", "200").err.splitlines()
        self.assertEqual(err[1], "  chaos-ctl set latency redis:6379 200")
        self.assertEqual(err[2], "                                   ^~~")
        for words, under in ((["set", "loss", "a:20", "20%", "--correlation", "2"], "2"), (["set", "loss", "a:20", "20%", "--correlation=2"], "2"),
                             (["set", "down", "a:1", "--how=sideways"], "sideways"), (["set", "error", "a:1", "ECONNRESET,EFOO"], "EFOO")):
            line, mark = self.ctl(*words).err.splitlines()[1:3]
            at = mark.index("^")
            self.assertEqual((line[at:at + len(under)], len(mark) - at), (under, len(under)), line)
            self.assertEqual(at + len(under), len(line), line)

    def test_an_address_that_looks_like_one_with_a_port_is_pointed_out(self):
        self.assertIn("brackets: [::1]:80", self.ok("set", "latency", "::1:80", "1ms").err)
        for target in ("fe80::1", "[::1]:80", "2001:db8::10", "10.0.0.1:80"):
            self.assertNotIn("brackets", self.ok("set", "latency", target, "1ms").err)

    def test_a_rule_that_is_not_there_names_those_that_are(self):
        self.ok("daemon", "start")
        self.assertIn("nor any other", self.ctl("rm", "7", check=FAILED).err)
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--name", "molasses")
        self.assertIn("expected: molasses", self.ctl("rm", "7", check=FAILED).err)
        self.assertIn("did you mean 'molasses'?", self.ctl("pause", "molases", check=FAILED).err)
        self.assertIn("none has run in this session", self.ctl("schedule", "stop", "nightly", check=FAILED).err)

    def test_changes_nothing_in_a_running_session(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--name", "x", "--forever")
        target = self.target()
        before, generation = self.rules(), self.order(target, "page")["generation"]
        for words, *_ in REFUSED:
            self.assertEqual(self.ctl(*words, "--name", "x").code, USAGE)
        self.assertEqual(self.rules(), before)
        self.assertEqual(self.order(target, "page")["generation"], generation)

    def test_too_many_rules(self):
        ini = lambda first, n: "".join(f"[fault r{i}]\nkind = latency\ntarget = 127.0.0.1:{1 + i}\nvalue = 1ms\n" for i in range(first, first + n))
        self.ok("apply", "-", stdin=ini(0, 256))
        for words, stdin in ((["set", "latency", "127.0.0.1:9", "1ms"], None), (["apply", "-"], ini(300, 2))):
            answer = self.ctl(*words, "--json", stdin=stdin)
            self.assertEqual(answer.code, FAILED)
            self.assertEqual(answer.json["error"]["code"], "too_many")
            self.assertIn("256", answer.json["error"]["message"])
        self.assertEqual(len([r for r in self.rules() if r["state"] != "ended"]), 256)
        self.ok("rm", "r7")
        self.ok("set", "latency", "127.0.0.1:9", "1ms")

    def test_corrupt_state_file_is_kept_aside_and_said(self):
        for junk in ("{ not json", '{"rules": 7}', "", "\0" * 100):
            with self.subTest(junk):
                self.ok("daemon", "start")
                self.ok("daemon", "stop")
                with open(f"{self.dir}/default/state.json", "w") as f:
                    f.write(junk)
                status = self.ok("daemon", "start", "--json").json
                self.assertTrue(any("state" in n for n in status["notes"]), status["notes"])
                aside = [n for n in os.listdir(f"{self.dir}/default") if n.startswith("state.json.")]
                self.assertTrue(aside)
                self.assertEqual(self.rules(), [])
                self.ok("daemon", "stop")
                for name in aside:
                    os.unlink(f"{self.dir}/default/{name}")

    def test_session_folder_of_somebody_else(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to give a folder away")
        os.mkdir(f"{self.dir}/default", 0o700)
        os.chown(f"{self.dir}/default", 65534, 65534)
        answer = self.ctl("set", "latency", "127.0.0.1:1", "1ms", "--json")
        self.assertEqual(answer.code, FAILED)
        self.assertEqual(answer.json["error"]["code"], "not_allowed")
        self.assertIn("owned", answer.json["error"]["message"])
        os.chown(f"{self.dir}/default", 0, 0)
        os.chmod(f"{self.dir}/default", 0o777)
        answer = self.ctl("set", "latency", "127.0.0.1:1", "1ms", "--json")
        self.assertEqual(answer.code, FAILED)
        self.assertIn("chmod", answer.json["error"]["message"])

    def test_page_of_another_version(self):
        self.ok("daemon", "start")
        self.ok("daemon", "stop")
        with open(f"{self.dir}/default/rules", "r+b") as f:
            f.seek(8)
            f.write(struct.pack("<I", 77))
        answer = self.ctl("set", "latency", "127.0.0.1:1", "1ms", "--json")
        self.assertEqual(answer.code, FAILED, answer)
        self.assertIn("version", answer.json["error"]["message"])
        self.assertIn("version", self.ctl("stop", "--json").json["error"]["message"])
        self.assertIn("77", self.ok("doctor").out)
        self.assertNoDaemon()

    def test_full_disk(self):
        small = os.path.join(self.dir, "small")
        os.mkdir(small)
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", small], capture_output=True)
        if mount.returncode:
            self.skipTest("may not mount a small tmpfs")
        try:
            answer = self.ctl("--dir", small, "set", "latency", "127.0.0.1:1", "1ms", "--json")
            self.assertEqual(answer.code, FAILED, answer)
            self.assertRegex(answer.json["error"]["message"].lower(), "space|room|full")
            self.assertNoDaemon(small)
        finally:
            subprocess.run(["umount", small], check=True)

    def test_disk_that_fills_later_refuses_the_change(self):
        small = os.path.join(self.dir, "small")
        os.mkdir(small)
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", small], capture_output=True)
        if mount.returncode:
            self.skipTest("may not mount a small tmpfs")
        try:
            self.ok("--dir", small, "set", "latency", "127.0.0.1:1", "1ms")
            filler = os.open(f"{small}/filler", os.O_CREAT | os.O_WRONLY)
            try:
                while True:
                    os.write(filler, b"x" * 4096)
            except OSError:
                os.close(filler)
            answer = self.ctl("--dir", small, "set", "latency", "127.0.0.1:2", "1ms", "--json")
            self.assertEqual(answer.code, FAILED, answer)
            self.assertEqual(answer.json["error"]["code"], "not_saved")
            self.assertEqual(len(self.ok("--dir", small, "list", "--json").json["rules"]), 1)
        finally:
            for pid in self.daemons(small):
                os.kill(pid, signal.SIGKILL)
                until(lambda: not self.daemons(small), "the end of chaosd")
            subprocess.run(["umount", small], check=True)

    def test_a_folder_is_no_file(self):
        for words in (["apply"], ["experiment", "validate"], ["experiment", "report"], ["schedule", "run"], ["schedule", "validate"]):
            self.assertIn(f"can not read {self.dir}: Is a directory", self.ctl(*words, self.dir, check=FAILED).err, words)
        self.assertNoDaemon()

    def test_command_line(self):
        for words, names in ((["lst"], "list"), ([], "--help"), (["list", "--jsn"], "--json"), (["watch", "--count", "x"], "whole number"),
                             (["doctor", "--pid", "x"], "process id"), (["doctor", "ls", "--pid", "1"], "one thing"),
                             (["run"], "CMD"), (["run", "--set", "latency x", "--", "true"], ""), (["run", "--set", "a 'b", "--", "true"], "never closed")):
            answer = self.ctl(*words)
            self.assertEqual(answer.code, USAGE, (words, answer))
            self.assertIn(names, answer.err)
        self.assertNoDaemon()


if __name__ == "__main__":
    unittest.main()
