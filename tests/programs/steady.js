// Timers, promises, workers, streams and a growing heap that all count on; speaks the protocol of workload.h.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const { Worker, isMainThread, parentPort } = require('worker_threads');

if (!isMainThread) {
  parentPort.on('message', (n) => parentPort.postMessage({ n, digest: crypto.createHash('sha256').update(String(n)).digest('hex') }));
} else {
  const home = process.env.WORKLOAD_DIR;
  const failures = [];
  const file = (name) => path.join(home, name);
  const state = { ticks: 0, answered: 0, sent: 0, chain: '', writes: 0, map: new Map() };

  for (let i = 0; i < 50000; i++) state.map.set(`key ${i}`, { i, text: 'x'.repeat(i % 50) });
  setInterval(() => { state.ticks++; }, 5);

  const worker = new Worker(__filename);
  const ask = () => worker.postMessage(state.sent++);
  worker.on('message', ({ n, digest }) => {
    if (n !== state.answered) failures.push(`answer ${n} came where ${state.answered} was due`);
    if (digest !== crypto.createHash('sha256').update(String(n)).digest('hex')) failures.push(`wrong digest of ${n}`);
    state.answered++;
    setTimeout(ask, 2);
  });
  ask();

  // The thread pool: files, and zlib.
  const log = fs.createWriteStream(file('log'));
  (async () => {
    for (;;) {
      log.write(`${state.writes++}\n`);
      await fs.promises.writeFile(file('copy'), `value ${state.writes}`);
      const back = await fs.promises.readFile(file('copy'), 'utf8');
      if (back !== `value ${state.writes}`) failures.push(`read ${back} after writing value ${state.writes}`);
      await new Promise((resolve) => setTimeout(resolve, 3));
      let garbage = [];
      for (let i = 0; i < 2000; i++) garbage.push({ i, text: `garbage ${i}` });
      garbage = null;
    }
  })();

  const answer = (number, text) => {
    fs.writeFileSync(file('result~'), text);
    fs.renameSync(file('result~'), file(`result.${number}`));
  };
  const check = (number) => {
    const before = { ...state };
    const begun = Date.now();
    const wait = setInterval(() => {
      const moved = state.ticks > before.ticks + 5 && state.answered > before.answered + 5 && state.writes > before.writes + 5;
      if (!moved && Date.now() - begun < 10000) return;
      clearInterval(wait);
      if (!moved) failures.push(`stands still: ${state.ticks} ticks, ${state.answered} answers, ${state.writes} writes`);
      for (let i = 0; i < 50000; i++) {
        const value = state.map.get(`key ${i}`);
        if (!value || value.i !== i || value.text.length !== i % 50) { failures.push(`key ${i} has changed`); break; }
      }
      const lines = fs.readFileSync(file('log'), 'utf8').split('\n');
      for (let i = 0; i < lines.length - 1; i++) {
        if (lines[i] !== String(i)) { failures.push(`line ${i} of the log is ${lines[i]}`); break; }
      }
      answer(number, failures.map((text) => `FAIL: ${text}`).join('\n') || 'OK');
      listen(number + 1);
    }, 10);
  };
  const listen = (number) => {
    const poll = setInterval(() => {
      if (fs.existsSync(file('stop'))) process.exit(0);
      if (!fs.existsSync(file(`check.${number}`))) return;
      clearInterval(poll);
      check(number);
    }, 10);
  };
  listen(1);
  fs.writeFileSync(file('ready~'), String(process.pid));
  fs.renameSync(file('ready~'), file('ready'));
}
