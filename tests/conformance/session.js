// Node under load with an outcome that does not depend on timing: HTTP, streams, files, names, processes, workers.
const http = require('http'), net = require('net'), dgram = require('dgram'), fs = require('fs'), path = require('path'), dns = require('dns');
const crypto = require('crypto'), zlib = require('zlib'), {execFileSync, spawn} = require('child_process'), {Worker} = require('worker_threads');
const {once} = require('events'), {pipeline} = require('stream/promises'), folder = process.argv[2];
const sum = data => crypto.createHash('sha1').update(data).digest('hex').slice(0, 12);
const data = (seed, n) => crypto.createHash('sha512').update(String(seed)).digest().toString('hex').repeat(Math.ceil(n / 128)).slice(0, n);

async function body(response) {
  const parts = [];
  for await (const part of response) parts.push(part);
  return Buffer.concat(parts);
}

async function main() {
  const server = http.createServer(async (q, r) => {
    const got = await body(q);
    r.setHeader('Date', 'never');
    if (q.url === '/gzip') return pipeline([data(1, 100000)], zlib.createGzip(), r);
    r.end(q.method + q.url + ':' + sum(got));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = server.address().port;
  const ask = (where, method = 'GET', send = '') => new Promise((good, bad) => {
    const q = http.request({port, host: '127.0.0.1', path: where, method, agent: new http.Agent({keepAlive: where.length % 2 === 0, maxSockets: 4})}, async r => good(await body(r)));
    q.on('error', bad);
    q.end(send);
  });
  const answers = await Promise.all(Array.from({length: 60}, (_, i) => ask('/' + 'x'.repeat(i % 7), i % 3 ? 'GET' : 'POST', data(i, i * 3000))));
  answers.forEach((a, i) => console.log('http', i, a.toString()));
  console.log('gzip', sum(zlib.gunzipSync(await ask('/gzip'))));
  server.closeAllConnections?.();
  server.close();

  const echo = net.createServer(s => s.pipe(s)).listen(path.join(folder, 'echo.sock'));
  await once(echo, 'listening');
  for (let i = 0; i < 10; i++) {
    const s = net.connect(path.join(folder, 'echo.sock'));
    s.end(data(i, 400000));
    console.log('unix', i, sum(await body(s)));
  }
  echo.close();

  const refused = net.connect(1, '127.0.0.1');
  console.log('refused', (await once(refused, 'error'))[0].code);
  const a = dgram.createSocket('udp4'), b = dgram.createSocket('udp4');
  b.bind(0, '127.0.0.1');
  await once(b, 'listening');
  for (let i = 0; i < 10; i++) {
    const arrived = once(b, 'message');
    a.send(data(i, 700), b.address().port, '127.0.0.1');
    console.log('udp', i, sum((await arrived)[0]));
  }
  a.close();
  b.close();

  console.log('lookup', (await dns.promises.lookup('localhost', {family: 4})).address);
  for (let i = 0; i < 10; i++) {
    const file = path.join(folder, 'file' + i);
    await fs.promises.writeFile(file, data(i, 200000));
    await pipeline(fs.createReadStream(file), zlib.createDeflate(), fs.createWriteStream(file + '.z'));
    console.log('file', i, sum(zlib.inflateSync(fs.readFileSync(file + '.z'))), (await fs.promises.stat(file)).size);
  }
  console.log('missing', await fs.promises.readFile(path.join(folder, 'missing')).catch(e => e.code));
  console.log('child', execFileSync('sh', ['-c', 'echo out; cat >/dev/null; exit 0'], {input: data(1, 100000)}).toString().trim());
  const cat = spawn('cat');
  cat.stdin.end(data(2, 300000));
  console.log('cat', sum(await body(cat.stdout)));
  const workers = Array.from({length: 4}, (_, i) => new Worker('require("worker_threads").parentPort.postMessage(' + i + ' * 7)', {eval: true}));
  console.log('workers', (await Promise.all(workers.map(async w => (await once(w, 'message'))[0]))).join());
}
main().then(() => console.log('done'), e => { console.log('failed', e); process.exit(1); });
