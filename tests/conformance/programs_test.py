"""Scripted sessions of real programs: what they say natively, under the idle shim, and with rules armed that match nothing
is the same, byte by byte. What legitimately differs (ports, dates, pids, speed) is taken out of the transcript first."""
import os
import re
import shutil
import signal
import socket
import subprocess
import unittest

from harness import for_others
from conformance_test_case import ConformanceTestCase, need
from postgres_test import Postgres as PostgresHelp, server_program
from program_test_case import answers, free_port, until

HERE = os.path.dirname(os.path.abspath(__file__))
FULL = os.environ.get("CONFORMANCE_LOAD") == "full"
LOAD = 20 if FULL else 1  # how much more the long form does

REDIS = """FLUSHALL|SET a 1|INCR a|APPEND a xyz|GETRANGE a 0 1|SETEX t 100 v|TTL t|MSET k1 1 k2 2|MGET k1 k2 none|LPUSH l c b a|LRANGE l 0 -1
RPOPLPUSH l m|BLPOP l 1|SADD s x y z|SCARD s|SISMEMBER s y|ZADD z 1 one 2 two 3 three|ZRANGEBYSCORE z 2 3 WITHSCORES|HSET h f 1 g 2|HGETALL h
HINCRBY h f 41|SETBIT b 7 1|BITCOUNT b|PFADD hll a b c|PFCOUNT hll|GEOADD g 13.36 38.11 Palermo|GEOPOS g Palermo|XADD st 1-1 f v|XRANGE st - +
MULTI|INCR a|EVAL "return {KEYS[1],ARGV[1],redis.call('get','k1')}" 1 k arg|SCRIPT EXISTS ffff|OBJECT ENCODING l|TYPE z|DBSIZE|RENAME k1 k9
EXPIRE k9 0|EXISTS k9|GET none|FOO bar|CONFIG GET maxmemory|PING hello|ECHO "a b"|SAVE|DEBUG SLEEP 0.05|DUMP m|SORT s ALPHA|WAIT 0 10"""

NGINX = """daemon off; worker_processes 2; error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; tcp_nopush on; gzip on; gzip_types *; gzip_min_length 1;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; etag off; if_modified_since off; server_tokens off; client_max_body_size 50m; aio threads; directio 1m;
    location /proxy/ {{ proxy_pass http://127.0.0.1:{port}/; }}
    location /again/ {{ proxy_pass http://unix:{folder}/inner.sock:/; proxy_buffering off; }}
    location /say {{ return 200 "$request_method $uri $http_x_test\\n"; }}
    location /gone {{ return 410; }}
    location /refused {{ proxy_pass http://127.0.0.1:1; }} }}
  server {{ listen unix:{folder}/inner.sock; root {folder}/www; etag off; }} }}
"""

SQL = """create table t(id serial primary key, name text, n numeric); insert into t(name, n) select 'row ' || g, g * 1.5 from generate_series(1, 5000) g;
select count(*), sum(n), min(name), max(name) from t; create index on t(name); select * from t where name = 'row 4711';
begin; update t set n = n + 1 where id % 7 = 0; savepoint a; delete from t where id < 100; rollback to a; commit; select sum(n) from t;
select md5(string_agg(name, ',' order by id)) from t; copy (select * from t where id between 10 and 13) to stdout; vacuum analyze t;
create function f(i int) returns int language plpgsql as $$ begin if i < 2 then return i; end if; return f(i-1) + f(i-2); end $$; select f(15);
select 1/0; select * from nowhere; select pg_sleep(0.05); listen ch; notify ch, 'payload'; explain (costs off) select * from t where id = 1;
with recursive r(i) as (select 1 union all select i + 1 from r where i < 50) select sum(i) from r; prepare p as select $1::int * 2; execute p(21);
create temp table big as select g, repeat('x', 2000) as pad from generate_series(1, 3000) g; select count(*), sum(length(pad)) from big; drop table t;
"""


class Programs(ConformanceTestCase):
    def same(self, session):
        """`session(environment)` says the same in every surrounding."""
        native = session(self.natively())
        self.assertGreater(len(native.split("\n")), 10, native)
        for name, environment in self.shimmed_ways():
            with self.subTest(name):
                self.assertEqual(session(environment), native)
                self.assertNothingFired(name)

    def serve(self, argv, port, env, **more):
        p = subprocess.Popen([str(w) for w in argv], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
        self.started.append(p)
        until(lambda: p.poll() is not None or answers(port), f"an answer of {argv[0]}")
        self.assertIsNone(p.poll(), f"{argv[0]} ended")
        return p

    def end(self, p, how=signal.SIGTERM):
        p.send_signal(how)
        self.assertEqual(p.wait(30), 0 if how == signal.SIGTERM else p.returncode)

    def test_redis(self):
        need("redis-server", "redis-server")
        tests = "ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset"

        def session(env):
            port = free_port()
            folder = os.path.join(self.folder, "redis")
            shutil.rmtree(folder, ignore_errors=True)
            os.mkdir(folder)
            p = self.serve(["redis-server", "--port", port, "--save", "", "--appendonly", "yes", "--dir", folder, "--io-threads", "2",
                            "--io-threads-do-reads", "yes"], port, env)
            said = ""
            for command in REDIS.replace("\n", "|").split("|"):
                said += self.run_program("sh", "-c", f"redis-cli -p {port} --no-raw {command}", env=env)
            said += self.run_program("redis-cli", "-p", port, "--csv", "-r", "3", "lrange", "m", "0", "-1", env=env)
            for pipeline in ("1", "16"):
                ran = self.run_program("redis-benchmark", "-p", port, "-t", tests, "-n", 500 * LOAD, "-c", 20, "-P", pipeline, "--csv", env=env)
                said += re.sub(r'"([\d.]+|inf|-?nan)"', "N", ran)
            said += self.run_program("redis-cli", "-p", port, "dbsize", env=env)
            self.end(p)
            again = self.serve(["redis-server", "--port", port, "--save", "", "--appendonly", "yes", "--dir", folder], port, env)
            until(lambda: "PONG" in self.run_program("redis-cli", "-p", port, "ping", env=env), "the end of loading")
            said += self.run_program("redis-cli", "-p", port, "hgetall", "h", env=env)  # out of the append-only file
            self.end(again)
            return re.sub(r'DUMP.*', "", said)
        self.same(session)

    def test_memcached(self):
        need("memcached", "memcached")
        script = b"".join(b"set key%d %d 0 %d\r\n%s\r\n" % (i, i, i * 37, b"x" * (i * 37)) for i in range(60 * LOAD % 900 + 60))
        script += b"get key1 key2 key59 none\r\nincr none 1\r\nset n 0 0 2\r\n10\r\nincr n 5\r\ndecr n 20\r\nappend key3 0 0 2\r\nzz\r\nget key3\r\n"
        script += b"gets n\r\ndelete key1\r\ntouch key2 100\r\nadd key2 0 0 1\r\nx\r\nreplace none 0 0 1\r\nx\r\nbogus\r\nverbosity 1\r\nflush_all\r\nget key2\r\nquit\r\n"

        def session(env):
            port = free_port()
            p = self.serve(["memcached", "-l", "127.0.0.1", "-p", port, "-U", "0", "-t", "2", *(["-u", "root"] if os.geteuid() == 0 else [])], port, env)
            said = b""
            for size in (len(script), 1000, 17):  # in one piece, and in many
                with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
                    for at in range(0, len(script), size):
                        s.sendall(script[at:at + size])
                    while part := s.recv(65536):
                        said += part
            self.end(p)
            return re.sub(r"(VALUE n 0 \d+) \d+", r"\1", said.decode())
        self.same(session)

    def test_nginx_and_curl(self):
        need("nginx", "nginx-light")
        www = os.path.join(self.folder, "www")
        os.makedirs(www)
        os.chmod(self.folder, 0o755)
        for name, size in (("small", 10), ("page.txt", 5000), ("large", 3_000_000)):
            with open(os.path.join(www, name), "w") as f:
                f.write((name * size)[:size])

        def session(env):
            port = free_port()
            with open(os.path.join(self.folder, "nginx.conf"), "w") as f:
                f.write(NGINX.format(folder=self.folder, port=port))
            p = self.serve([shutil.which("nginx") or "/usr/sbin/nginx", "-c", os.path.join(self.folder, "nginx.conf")], port, env)
            at, said = f"http://127.0.0.1:{port}", ""
            upload = os.path.join(www, "large")
            curl = ["curl", "-sS", "--max-time", "20", "-D", "-"]
            for words in (["/small"], ["/page.txt"], ["/page.txt", "--compressed"], ["/large", "-r", "100-199"], ["/proxy/page.txt"], ["/proxy/proxy/small"],
                          ["/again/page.txt"], ["/say", "-X", "OPTIONS", "-H", "X-Test: yes"], ["/gone"], ["/refused"], ["/missing"], ["/say", "-I"],
                          ["/small", "-0"], ["/say", "-F", f"file=@{upload}"], ["/say", "--data-binary", f"@{upload}"],
                          ["/proxy/say", "-T", upload], ["/small", "--next", "-sS", f"{at}/say", f"{at}/gone"]):
                said += f"--- {words}\n" + self.run_program(*curl, at + words[0], *words[1:], env=env)
            for way in ("/large", "/proxy/large", "/again/large"):
                said += self.run_program("sh", "-c", f"curl -sS {at}{way} | sha1sum; curl -sS --limit-rate 20M {at}{way} | sha1sum", env=env)
            said += self.run_program("curl", "-sS", "--stderr", "/dev/null", "-Z", "--parallel-max", "20", *[f"{at}/page.txt" for _ in range(50 * LOAD)], env=env, timeout=300)
            said += self.run_program("curl", "-sS", f"file://{www}/page.txt", env=env) + self.run_program("curl", "-sS", "http://127.0.0.1:1/", env=env)
            self.end(p, signal.SIGQUIT)
            said = re.sub(r"(?m)^(Date|Last-Modified|ETag|Server):.*\n", "", said)
            return re.sub(r"after \d+ ms", "after N ms", re.sub(rf"\b{port}\b", "PORT", said))
        self.same(session)

    def test_node(self):
        need("node", "nodejs")

        def session(env):
            folder = os.path.join(self.folder, "node")
            shutil.rmtree(folder, ignore_errors=True)
            os.mkdir(folder)
            return "".join(self.run_program("node", os.path.join(HERE, "session.js"), folder, env=env) for _ in range(LOAD))
        self.same(session)

    def test_jvm(self):
        made = subprocess.run([need("javac", "default-jdk-headless"), "-nowarn", "-d", self.folder, os.path.join(HERE, "Load.java")],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(made.returncode, 0, made.stderr)

        def session(env):
            return "".join(self.run_program("java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", self.folder, "Load", self.folder, env=env, timeout=200) for _ in range(LOAD))
        self.same(session)


class Postgres(ConformanceTestCase):
    same, serve, end = Programs.same, Programs.serve, Programs.end

    def test_regression_and_pgbench(self):
        who = PostgresHelp.as_user()
        if who:  # postgres refuses root; its session folder is then its own
            for folder in (self.folder, self.idle, self.dir):
                os.chmod(folder, 0o777 if folder == self.folder else 0o755)

        def session(env):
            shimmed = "LD_PRELOAD" in env
            if shimmed:
                env = {**env, "LD_PRELOAD": f"{for_others()}/lib/libchaos.so"}
            port = free_port()
            cluster = os.path.join(self.folder, "cluster")
            shutil.rmtree(cluster, ignore_errors=True)
            made = self.run_program(server_program("initdb"), "-D", cluster, "-A", "trust", "-U", "chaos", "--no-sync", "--no-locale", "-E", "UTF8",
                                    env=env, timeout=100, **who)
            self.assertTrue(made.startswith("exit 0"), made)
            p = self.serve([server_program("postgres"), "-D", cluster, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={cluster}",
                            "-c", "autovacuum=off"], port, env, cwd=cluster, **who)
            with open(f"/proc/{p.pid}/maps") as maps:
                self.assertEqual("libchaos" in maps.read(), shimmed)
            env = {**env, "PGUSER": "chaos", "PGDATABASE": "postgres", "PGHOST": "127.0.0.1", "PGPORT": str(port), "HOME": self.folder}
            until(lambda: self.run_program("psql", "-Xc", "select 1", env=env).startswith("exit 0"), "an answer of postgres")
            script = os.path.join(self.folder, "session.sql")
            with open(script, "w") as f:
                f.write(SQL)
            said = self.run_program("psql", "-X", "-a", "-f", script, env=env)
            said += self.run_program("psql", "-X", "-c", "select count(*) from pg_class where relname = 't'", env={**env, "PGHOST": cluster})
            said += re.sub(r"[\d.]+ s\b|[\d.]+%", "N", self.run_program("pgbench", "-i", "-s", 1, "-q", env=env))
            for protocol in ("simple", "extended", "prepared"):
                ran = self.run_program("pgbench", "-n", "-M", protocol, "-c", 4, "-j", 2, "-t", 30 * LOAD, env=env, timeout=300)
                said += re.sub(r"(?m)^(latency|tps|initial|pgbench).*$", "", ran)
            said += self.run_program("psql", "-X", "-c", "select count(*), sum(tbalance) is not null from pgbench_tellers; select count(*) from pgbench_history", env=env)
            self.end(p, signal.SIGINT)
            return re.sub(r'PID \d+', "PID N", re.sub(r"\d+\.\d+ ms", "N ms", re.sub(rf"\b{port}\b", "PORT", said)))
        self.same(session)


if __name__ == "__main__":
    unittest.main()
