"""Files: dd, CPython and sqlite3 writing and reading through errors and delays at open, read, write and fsync."""
import json
import os
import textwrap
import unittest

from program_test_case import PYTHON, ProgramTestCase, need

DD = need("dd", "coreutils")
SQLITE = need("sqlite3", "sqlite3")
CAT = need("cat", "coreutils")


class Files(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.data = os.path.join(self.folder, "data")
        self.beside = os.path.join(self.folder, "beside")
        os.mkdir(self.data)
        os.mkdir(self.beside)
        self.file = os.path.join(self.data, "file")
        self.all = f"file:{self.data}/**"

    def fill(self, path, n=100_000):
        with open(path, "wb") as f:
            f.write(os.urandom(n))

    def python(self, program, *words):
        ran = self.run_shimmed(PYTHON, "-c", textwrap.dedent(program), *words)
        self.assertEqual(ran.code, 0, ran)
        return [json.loads(line) for line in ran.out.splitlines()]

    def test_dd_read_error(self):
        self.fill(self.file)
        self.fault("error", self.all, "EIO", "--on", "read", "--when", "3")
        ran = self.run_shimmed(DD, f"if={self.file}", f"of={self.beside}/copy", "bs=10k")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("Input/output error", ran.err)
        self.assertIn("2+0 records in", ran.err)
        self.assertFired("error", 1)

    def test_dd_write_error_and_files_beside_are_left_alone(self):
        self.fill(os.path.join(self.beside, "in"))
        self.fault("error", self.all, "ENOSPC", "--on", "write", "--when", "4+")
        ran = self.run_shimmed(DD, f"if={self.beside}/in", f"of={self.file}", "bs=10k")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("No space left on device", ran.err)
        self.assertEqual(os.path.getsize(self.file), 30720)
        self.assertFired("error", 1)
        ran = self.run_shimmed(DD, f"if={self.beside}/in", f"of={self.beside}/out", "bs=10k")
        self.assertEqual(ran.code, 0, ran)
        self.assertFired("error", 1)

    def test_dd_fsync_error(self):
        self.fault("error", self.all, "EIO", "--on", "fsync")
        ran = self.run_shimmed(DD, "if=/dev/zero", f"of={self.file}", "bs=1k", "count=3", "conv=fsync")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("fsync failed", ran.err)
        self.assertFired("error", 1)

    def test_dd_through_latency(self):
        self.fill(self.file, 40_000)
        self.fault("latency", self.all, "30ms", "--on", "read")
        ran = self.run_shimmed(DD, f"if={self.file}", "of=/dev/null", "bs=10000")
        self.assertEqual(ran.code, 0, ran)
        self.assertTook(ran.seconds, 0.15)  # four pieces, and the end
        self.assertFired("latency", 5)

    def test_cat_of_a_file_that_does_not_open(self):
        self.fill(self.file)
        self.fault("error", self.all, "EACCES", "--on", "open,openat,open64,openat64")
        ran = self.run_shimmed(CAT, self.file)
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("Permission denied", ran.err)
        self.assertFired("error", 1)

    def test_cat_copies_whole_through_slow_reads(self):
        self.fill(self.file, 300_000)
        self.fault("latency", self.all, "5ms")
        ran = self.run_shimmed(CAT, self.file, text=False)
        with open(self.file, "rb") as f:
            self.assertTrue(ran.out == f.read())
        self.assertFired("latency", at_least=3)

    def test_python_open_read_write_fsync(self):
        self.fill(self.file, 1000)
        program = """
            import errno, json, os, sys
            path, where = sys.argv[1:]
            def attempt(name, action):
                try:
                    print(json.dumps([name, action()]))
                except OSError as e:
                    print(json.dumps([name, errno.errorcode[e.errno], type(e).__name__]))
            attempt("open", lambda: open(path, "rb").close())
            with open(where, "wb", buffering=0) as w, open("/dev/null", "rb") as r:
                attempt("write", lambda: w.write(b"x" * 100))
                attempt("fsync", lambda: os.fsync(w.fileno()))
                attempt("fdatasync", lambda: os.fdatasync(w.fileno()))
                attempt("truncate", lambda: w.truncate(10))
            attempt("stat", lambda: os.stat(where).st_size)
            fd = os.open(where, os.O_RDWR)
            attempt("pread", lambda: len(os.pread(fd, 5, 0)))
            attempt("pwrite", lambda: os.pwrite(fd, b"yy", 0))
            attempt("readv", lambda: os.readv(fd, [bytearray(3)]))
            os.close(fd)
        """
        other = os.path.join(self.beside, "other")
        self.assertEqual([got[1] for got in self.python(program, self.file, other)], [None, 100, None, None, 10, 10, 5, 2, 3])
        for on, errno, name, expected in (
                ("open", "ENOENT", "open", "FileNotFoundError"), ("open", "EMFILE", "open", "OSError")):
            with self.subTest(on=on, errno=errno):
                self.fault("error", self.all, errno, "--on", "file_open")
                got = dict((g[0], g[1:]) for g in self.python(program, self.file, other))
                self.assertEqual(got[name], [errno, expected])
                self.assertEqual(got["write"], [100])
                self.assertFired("error", 1)
                self.ok("rm", "error")
        beside = f"file:{self.beside}/**"
        for call in ("write", "fsync", "fdatasync", "pread", "pwrite", "readv"):
            with self.subTest(call):
                functions = {"pread": "pread,pread64", "pwrite": "pwrite,pwrite64"}.get(call, call)
                self.fault("error", beside, "EIO", "--on", functions)
                got = {g[0]: g[1:] for g in self.python(program, self.file, other)}
                self.assertEqual([name for name, value in got.items() if value == ["EIO", "OSError"]], [call])
                self.assertFired("error", 1)
                self.ok("rm", "error")

    def test_an_error_after_the_write_has_happened(self):
        self.fault("error", self.all, "EIO", "--on", "write", "--late", "--times", "1")
        got = self.python("""
            import json, os, sys
            fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
            for part in (b"one", b"two"):
                try:
                    print(json.dumps(os.write(fd, part)))
                except OSError as e:
                    print(json.dumps(e.strerror))
        """, self.file)
        self.assertEqual(got, ["Input/output error", 3])
        with open(self.file) as f:
            self.assertEqual(f.read(), "onetwo")
        self.assertFired("error", 1)

    def test_python_reads_late_and_corrupted(self):
        self.fill(self.file, 50_000)
        program = """
            import json, sys, time
            began = time.monotonic()
            with open(sys.argv[1], "rb", buffering=0) as f:
                got = f.read(50_000)
            print(json.dumps([got.hex(), time.monotonic() - began]))
        """
        with open(self.file, "rb") as f:
            expected = f.read()
        self.fault("latency", self.all, "80ms", "--on", "read")
        [[got, seconds]] = self.python(program, self.file)
        self.assertTrue(bytes.fromhex(got) == expected)
        self.assertTook(seconds, 0.08)
        self.assertFired("latency", 1)
        self.ok("rm", "latency")
        self.fault("corrupt", self.all, "--bits", "5", "--on", "read")
        [[got, _]] = self.python(program, self.file)
        flipped = sum(bin(a ^ b).count("1") for a, b in zip(bytes.fromhex(got), expected))
        self.assertIn(flipped, (1, 3, 5))  # the same bit twice is none
        self.assertFired("corrupt", 1)
        with open(self.file, "rb") as f:
            self.assertTrue(f.read() == expected, "the file itself is as it was")

    def test_sqlite_on_a_bad_disk(self):
        base = os.path.join(self.data, "base.db")
        sql = lambda statement: self.run_shimmed(SQLITE, base, statement)
        self.assertEqual(sql("pragma journal_mode=delete; create table t(i); insert into t values (1), (2);").code, 0)
        self.fault("error", f"file:{base}*", "EIO", "--on", "fsync,fdatasync")
        ran = sql("insert into t values (3);")
        self.assertNotEqual(ran.code, 0, ran)
        self.assertIn("disk I/O error", ran.err)
        self.assertFired("error")
        self.ok("rm", "error")
        self.assertEqual(sql("pragma integrity_check; select group_concat(i) from t;").out, "ok\n1,2\n", "what failed was rolled back")
        self.fault("error", f"file:{base}", "ENOSPC", "--on", "pwrite,pwrite64,write")
        ran = sql("insert into t values (3);")
        self.assertIn("database or disk is full", ran.err)
        self.assertFired("error")
        self.ok("rm", "error")
        self.fault("error", f"file:{base}-journal", "EACCES", "--on", "file_open")
        ran = sql("insert into t values (3);")
        self.assertRegex(ran.err, "unable to open database file|readonly")
        self.assertFired("error")
        self.ok("rm", "error")
        self.fault("latency", f"file:{base}*", "25ms", "--on", "fsync,fdatasync")
        ran = sql("insert into t values (3); select group_concat(i) from t;")
        self.assertEqual(ran.out, "1,2,3\n")
        self.assertTook(ran.seconds, self.assertFired("latency", at_least=2) * 0.025)

    def test_excluded_files_are_left_alone(self):
        for name in ("a.log", "a.db"):
            self.fill(os.path.join(self.data, name), 100)
        self.fault("error", f"{self.all},!file:{self.data}/*.log", "EIO", "--on", "read")
        self.assertEqual(self.run_shimmed(DD, f"if={self.data}/a.log", "of=/dev/null").code, 0)
        self.assertNotFired("error")
        self.assertEqual(self.run_shimmed(DD, f"if={self.data}/a.db", "of=/dev/null").code, 1)
        self.assertFired("error", 1)

    def test_relative_and_linked_paths_are_the_same_file(self):
        self.fill(self.file, 100)
        os.symlink(self.file, os.path.join(self.beside, "link"))
        self.fault("error", f"file:{self.file}", "EIO", "--on", "read")
        for n, words in enumerate((["dd", "if=../data/file"], ["dd", f"if={self.beside}/link"], ["dd", f"if={self.beside}/../data/./file"]), 1):
            ran = self.run_shimmed("/bin/sh", "-c", f"cd {self.beside} && {' '.join(words)} of=/dev/null")
            self.assertNotEqual(ran.code, 0, ran)
            self.assertFired("error", n)


if __name__ == "__main__":
    unittest.main()
