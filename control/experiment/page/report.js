// Draws the report: lanes of what happened when, and for each probe latency, errors and distribution. Data comes from the JSON document.
(() => {
  "use strict";
  const report = JSON.parse(document.getElementById("report").textContent);
  const end = Math.max(1, ...report.phases.map(p => p.to_ms)) / 1000;
  const colours = {
    phase: { baseline: "#7f8fa6", inject: "#c0392b", observe: "#c0392b", "clean up": "#7f8fa6", recover: "#d68910", after: "#7f8fa6", analyse: "#7f8fa6" },
    breaker: { closed: "#2e9e5b", open: "#c0392b", half_open: "#e0a100", forced_open: "#8e2f2f", disabled: "#8395a7", metrics_only: "#8395a7" },
    fault: ["#b5485d", "#7d5ba6", "#2d7d9a", "#a8642a", "#4f7a28", "#8a4f7d"], stress: "#5f6a7a",
  };
  const element = (tag, attributes = {}, ...children) => {
    const e = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    e.append(...children);
    return e;
  };
  const number = (v, digits) => digits ? v.toFixed(digits).replace(/\.?0+$/, "") : v.toFixed(0);
  const time = ns => ns == null ? "–" : ns < 1e3 ? ns + " ns" : ns < 1e6 ? number(ns / 1e3, ns < 1e5 ? 1 : 0) + " µs" : ns < 1e9 ? number(ns / 1e6, ns < 1e8 ? 1 : 0) + " ms" : number(ns / 1e9, 2) + " s";
  const percent = v => v == null ? "–" : number(v, v < 10 ? 1 : 0) + " %";
  const seconds = v => number(v, 1) + " s";

  // Faults get their colours in the order in which they began.
  const fault_colours = new Map();
  for (const b of report.bands) if (b.of === "fault" && !fault_colours.has(b.name)) fault_colours.set(b.name, colours.fault[fault_colours.size % colours.fault.length]);

  function ticks(upTo, most) {
    const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].find(s => upTo / s <= most) || 7200;
    const out = [];
    for (let t = 0; t <= upTo; t += step) out.push(t);
    return out;
  }

  function lanes() {
    const place = element("div", { class: "lanes" });
    const add = (label, spans) => {
      const bar = element("div");
      for (const s of spans) {
        const wide = (s.to - s.from) / end * 100;
        const i = element("i", { style: `left:${s.from / end * 100}%;width:${wide}%;background:${s.colour}`, title: `${s.text}: ${seconds(s.from)} to ${seconds(s.to)}`, class: wide < 6 ? "thin" : "" });
        if (wide >= 6) i.textContent = s.text;
        bar.append(i);
      }
      place.append(element("div", { class: "lane" }, element("b", {}, label), bar));
    };
    const spans = (list, colour, text) => list.map(b => ({ from: b.from_ms / 1000, to: b.to_ms / 1000, colour: colour(b), text: text(b) }));
    add("phase", spans(report.phases.filter(p => p.to_ms - p.from_ms > 20), p => colours.phase[p.phase], p => p.phase));
    for (const of of ["fault", "stress"])
      for (const name of new Set(report.bands.filter(b => b.of === of).map(b => b.name)))
        add(name, spans(report.bands.filter(b => b.of === of && b.name === name), () => of === "fault" ? fault_colours.get(name) : colours.stress, b => b.text));
    for (const name of new Set(report.bands.filter(b => b.of === "breaker").map(b => b.name)))
      add("breaker " + name, spans(report.bands.filter(b => b.of === "breaker" && b.name === name), b => colours.breaker[b.text] || "#888", b => b.text.replace("_", " ")));
    const axis = element("div");
    for (const t of ticks(end, innerWidth < 640 ? 4 : 10)) axis.append(element("span", { style: `left:${t / end * 100}%` }, t + " s"));
    place.append(element("div", { class: "lane axis" }, element("b"), axis));
    const key = element("div", { class: "key" });
    const states = new Set(report.bands.filter(b => b.of === "breaker").map(b => b.text));
    for (const s of states) key.append(element("span", { style: `--c:${colours.breaker[s] || "#888"}` }, "breaker " + s.replace("_", " ")));
    key.append(element("em", {}, states.size ? "In the plots: shaded while faults are in force; the strip on top shows the breakers." : "In the plots: shaded while faults are in force."));
    document.getElementById("lanes").replaceChildren(place, key);
  }

  // Behind the curves: when faults were in force; above them a thin strip with the states of breakers.
  function shade(u) {
    const { ctx } = u, { left, top, width, height } = u.bbox, ratio = devicePixelRatio;
    const at = ms => Math.min(left + width, Math.max(left, u.valToPos(ms / 1000, "x", true)));
    ctx.save();
    for (const b of report.bands) {
      const from = at(b.from_ms), to = at(b.to_ms);
      if (b.of === "fault" || b.of === "stress") {
        ctx.globalAlpha = 0.1;
        ctx.fillStyle = b.of === "fault" ? fault_colours.get(b.name) : colours.stress;
        ctx.fillRect(from, top, Math.max(1, to - from), height);
      }
    }
    const breakers = [...new Set(report.bands.filter(b => b.of === "breaker").map(b => b.name))];
    ctx.globalAlpha = 0.9;
    for (const b of report.bands) {
      if (b.of !== "breaker") continue;
      ctx.fillStyle = colours.breaker[b.text] || "#888";
      ctx.fillRect(at(b.from_ms), top + breakers.indexOf(b.name) * 5 * ratio, Math.max(1, at(b.to_ms) - at(b.from_ms)), 4 * ratio);
    }
    ctx.restore();
  }

  const font = '11px system-ui, "DejaVu Sans", sans-serif';
  const grid = { stroke: "#e9ecf0", width: 1 }, mark = { stroke: "#c9cfd6", width: 1, size: 4 };
  const axis = more => ({ font, stroke: "#667080", grid, ticks: mark, ...more });
  const line = (label, stroke, value, more) => ({ label, stroke, width: 1.75, spanGaps: false, points: { show: false }, value: (u, v) => value(v), ...more });
  const plots = [];

  function draw(where, title, options, data) {
    where.append(element("h3", {}, title));
    const place = element("div");
    where.append(place);
    const width = () => Math.max(240, where.clientWidth);
    const u = new uPlot({ width: width(), height: 190, padding: [8, 14, 0, 0], cursor: { sync: options.sync ? { key: "time" } : undefined, y: false }, ...options }, data, place);
    plots.push([u, width]);
  }

  const over_time = (series, y) => ({
    sync: true,
    scales: { x: { time: false, range: [0, end] }, y: y.scale },
    axes: [axis({ values: (u, list) => list.map(v => number(v, 1) + " s"), space: 60, size: 30 }), axis({ size: 58, ...y.axis })],
    series: [{ label: "at", value: (u, v) => v == null ? "–" : seconds(v) }, ...series],
    hooks: { drawClear: [shade] },
  });

  // Powers of ten from below the least to above the greatest.
  function decades(values) {
    const some = values.filter(v => v > 0);
    if (!some.length) return [1e5, 1e7];
    return [Math.max(1e3, 10 ** Math.floor(Math.log10(Math.min(...some)))), 10 ** Math.max(1, Math.ceil(Math.log10(Math.max(...some) * 1.01)))];
  }
  const ten = v => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-6;

  function latency(where, probe) {
    const s = probe.series, of = key => s.map(x => x.samples ? x[key] : null);
    const data = [s.map(x => (x.from_ms + x.to_ms) / 2000), of("p50_ns"), of("p95_ns"), of("p99_ns"), of("max_ns")];
    const range = decades(data.slice(1).flat());
    draw(where, "Latency, from when a request was due", over_time([
      line("p50", "#1f6fd6", time), line("p95", "#d9822b", time), line("p99", "#b83280", time), line("max", "#9aa5b1", time, { dash: [3, 3], width: 1 }),
    ], { scale: { distr: 3, range }, axis: { values: (u, list) => list.map(v => ten(v) ? time(v) : "") } }), data);
  }

  function errors(where, probe) {
    const s = probe.series;
    const rate = s.map(x => x.samples ? (x.samples - x.good) / x.samples * 100 : null);
    const good = s.map(x => x.good / Math.max(0.001, (x.to_ms - x.from_ms) / 1000));
    const most = Math.max(5, ...rate.filter(v => v != null));
    draw(where, "Errors, of all requests", { ...over_time([line("errors", "#c02a2a", percent, { fill: "rgba(192,42,42,.18)" })],
      { scale: { range: [0, Math.min(100, most * 1.15)] }, axis: { values: (u, list) => list.map(v => v + " %") } }), height: 120 }, [s.map(x => (x.from_ms + x.to_ms) / 2000), rate]);
    const top = Math.max(1, ...good) * 1.15;
    draw(where, "Good answers a second", { ...over_time([line("good", "#137a3e", v => v == null ? "–" : number(v, 1) + "/s", { fill: "rgba(19,122,62,.12)" })],
      { scale: { range: [0, top] }, axis: { values: (u, list) => list.map(v => v + "/s") } }), height: 120 }, [s.map(x => (x.from_ms + x.to_ms) / 2000), good]);
  }

  // Latency by percentile, the rarer the further to the right: 50 %, 90 %, 99 %, 99.9 % stand at equal distances.
  function distribution(where, probe) {
    const windows = ["baseline", "during", "after"].filter(w => probe[w].samples > 1);
    if (!windows.length) return;
    const most = Math.max(...windows.map(w => probe[w].samples));
    const nines = Math.max(1, Math.min(5, Math.log10(most)));
    const xs = [];
    for (let x = 0; x <= nines + 1e-9; x += nines / 120) xs.push(x);
    const at = (w, share) => {
      const goal = share * w.samples;
      let n = 0;
      for (const [upper, count] of w.latency_histogram) if ((n += count) >= goal - 1e-9) return upper;
      return null;
    };
    const data = [xs, ...windows.map(w => xs.map(x => 1 - 10 ** -x > 1 - 0.5 / probe[w].samples ? null : at(probe[w], 1 - 10 ** -x)))];
    const stroke = { baseline: "#667080", during: "#c02a2a", after: "#137a3e" };
    const share = x => number((1 - 10 ** -x) * 100, x > 3 ? 3 : x > 2 ? 2 : x > 1 ? 1 : 0) + " %";
    draw(where, "Latency by share of the requests", {
      scales: { x: { time: false, range: [0, nines] }, y: { distr: 3, range: decades(data.slice(1).flat().filter(v => v != null)) } },
      axes: [axis({ size: 30, splits: () => [0, 0.301, 1, 2, 3, 4, 5].filter(v => v <= nines), values: (u, list) => list.map(share) }), axis({ size: 58, values: (u, list) => list.map(v => ten(v) ? time(v) : "") })],
      series: [{ label: "share", value: (u, v) => v == null ? "–" : share(v) }, ...windows.map(w => line(w, stroke[w], time))],
    }, data);
  }

  function machine() {
    const some = report.processes.filter(p => p.series.length > 1);
    if (!some.length) return;
    const where = document.getElementById("machine");
    where.append(element("h2", {}, "CPU and memory"));
    const palette = ["#667080", "#1f6fd6", "#d9822b", "#137a3e", "#7d5ba6"];
    for (const [key, title] of [["cpu", "CPU time, of all CPUs of the machine"], ["memory", "Memory, of the machine's"]]) {
      const data = uPlot.join(some.map(p => [p.series.map(s => s.at_ms / 1000), p.series.map(s => s[key] == null ? null : s[key] * 100)]));
      draw(where, title, { ...over_time(some.map((p, i) => line(p.name || "the machine", palette[i % palette.length], percent, { spanGaps: true })),
        { scale: { range: [0, 100] }, axis: { values: (u, list) => list.map(v => v + " %") } }), height: 140 }, data);
    }
  }

  lanes();
  for (const where of document.querySelectorAll(".plots")) {
    const probe = report.probes[where.dataset.probe];
    if (!probe.series.some(s => s.samples)) continue;
    latency(where, probe);
    errors(where, probe);
    distribution(where, probe);
  }
  machine();
  let wait;
  addEventListener("resize", () => {
    clearTimeout(wait);
    wait = setTimeout(() => { lanes(); for (const [u, width] of plots) u.setSize({ width: width(), height: u.height }); }, 100);
  });
})();
