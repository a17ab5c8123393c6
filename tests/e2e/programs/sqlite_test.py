"""sqlite3 on a disk that fails: every failure is reported, what was committed is there afterwards, and nothing else is."""
import os
import subprocess
import unittest

from program_test_case import ProgramTestCase, need

SQLITE = need("sqlite3", "sqlite3")
TRANSACTIONS = 30


class Sqlite(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.base = os.path.join(self.folder, "db")
        self.all = f"file:{self.base}*"

    def natively(self, sql):
        done = subprocess.run([SQLITE, self.base, sql], capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.split()

    def fresh(self, journal):
        for end in ("", "-wal", "-shm", "-journal"):
            if os.path.exists(self.base + end):
                os.unlink(self.base + end)
        self.natively(f"pragma journal_mode={journal}; create table t(a integer primary key, b text)")

    def transactions(self):
        """How many were committed, as the program said, and how it ended."""
        insert = "insert into t(b) values(hex(randomblob(300)));"
        sql = "".join(f"begin; {insert} {insert} commit; select 'done', {n};\n" for n in range(TRANSACTIONS))
        ran = self.run_shimmed(SQLITE, "-bail", self.base, stdin=sql)
        return ran.out.count("done"), ran

    def assertWhole(self, committed):
        self.assertEqual(self.natively("pragma integrity_check; select count(*) from t"), ["ok", str(committed * 2)])

    def test_every_fault_is_reported_and_leaves_the_database_whole(self):
        for journal in ("delete", "wal"):
            for says, words in (("disk I/O error", ["io_error", self.all, "--on", "fsync,fdatasync", "--when", "4"]),
                                ("disk I/O error", ["io_error", self.all, "--torn", "--on", "pwrite64", "--when", "20"]),
                                ("disk I/O error", ["io_error", self.all, "--late", "--on", "fsync,fdatasync", "--when", "3"]),
                                ("full", ["error", self.all, "ENOSPC", "--on", "write,pwrite64", "--when", "25+"]),
                                ("full", ["full", self.all, "60KB"]),
                                (None, ["crash", self.all, "--on", "pwrite64", "--when", "30"])):
                with self.subTest(f"{journal} {' '.join(words)}"):
                    self.fresh(journal)
                    self.fault(*words, "--scope", "process")
                    committed, ran = self.transactions()
                    self.assertFired(words[0])
                    self.ok("rm", words[0])
                    self.assertLess(committed, TRANSACTIONS, ran)
                    if says:
                        self.assertEqual(ran.code, 1, ran)
                        self.assertIn(says, ran.err)
                    else:
                        self.assertEqual(ran.code, -9, ran)
                    self.assertWhole(committed)

    def test_what_an_application_is_to_put_up_with(self):
        for journal in ("delete", "wal"):
            for words in (["error", self.all, "EINTR", "--on", "write,pwrite64", "--when", "3+3"],
                          ["latency", self.all, "2ms", "--on", "fsync,fdatasync"]):
                with self.subTest(f"{journal} {' '.join(words)}"):
                    self.fresh(journal)
                    self.fault(*words)
                    committed, ran = self.transactions()
                    self.assertEqual((committed, ran.code), (TRANSACTIONS, 0), ran)
                    self.assertFired(words[0])
                    self.ok("rm", words[0])
                    self.assertWhole(committed)


if __name__ == "__main__":
    unittest.main()
