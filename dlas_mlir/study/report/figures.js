// The figures of a report, each drawn when it is scrolled to; what they share is in base.js. Nothing is fetched.
// ---- the front

const frontFigure = {
  id: "front-figure",
  set() {
    const again = () => this.draw();
    const measures = Object.keys(METRIC).filter((name) => known(metrics[name]));
    const named = (names) => names.map((name) => [name, METRIC[name].name]);
    this.device = select("front-controls", "device", present("device"), again);
    this.dataset = select("front-controls", "data set", present("dataset"), again);
    this.x = select("front-controls", "across", named(measures.filter((name) => !METRIC[name].high)), again);
    this.y = select("front-controls", "up", named([...measures].sort((a, b) => (b === "accuracy") - (a === "accuracy")).filter((name) => name !== "median_ms")), again);
    const accurate = Array.from(front.keys()).filter((i) => Number.isFinite(metrics.accuracy[i]));
    begin([this.device, this.dataset], accurate, (i) => [codes.device[i], codes.dataset[i]]);
    byId(this.id).addEventListener("keydown", (event) => this.key(event));
  },
  chosen() {
    const device = Number(this.device.value), dataset = Number(this.dataset.value);
    const found = data.technique.names.map(() => []);
    for (let i = 0; i < count; i++)
      if (codes.device[i] === device && codes.dataset[i] === dataset) found[technique[i]].push(i);
    return found;
  },
  // Of two measures, the points that no other is better than in both.
  ahead(points, x, y) {
    const up = METRIC[y].high ? -1 : 1;
    const cost = (i) => up * metrics[y][i];
    const ordered = points.filter((i) => Number.isFinite(metrics[x][i]) && Number.isFinite(metrics[y][i]));
    ordered.sort((a, b) => metrics[x][a] - metrics[x][b] || cost(a) - cost(b));
    let best = Infinity;
    return ordered.filter((i) => cost(i) < best && ((best = cost(i)), true));
  },
  async draw() {
    const x = this.x.value, y = this.y.value;
    if (!x || !y) return nothing(this.id, "No point has two measures to set against each other.");
    const groups = this.chosen();
    const total = groups.reduce((sum, points) => sum + points.length, 0);
    const type = total > FEW ? "scattergl" : "scatter";
    this.members = [];
    const traces = [];
    groups.forEach((points, group) => {
      const name = data.technique.names[group];
      const style = group === 0 && name === "none" ? { color: GREY, symbol: "circle" } : mark(group - (data.technique.names[0] === "none"));
      for (let from = 0; from < points.length; from += MOST_IN_TRACE) {
        const part = points.slice(from, from + MOST_IN_TRACE);
        this.members.push(part);
        traces.push({
          type, mode: "markers", name: plain(short(name)), legendgroup: String(group), showlegend: from === 0,
          x: Float32Array.from(part, (i) => metrics[x][i]), y: Float32Array.from(part, (i) => metrics[y][i]),
          marker: { ...style, size: total > 10000 ? 4 : 7, opacity: total > 10000 ? 0.5 : 0.75 },
          hovertemplate: `%{x:.4~g}${x === "median_ms" ? " ms" : " MB"}, ${y === "accuracy" ? "%{y:.2%}" : "%{y:.4~g} MB"}<extra>${plain(short(name))}</extra>`,
        });
      }
    });
    this.line = this.ahead(groups.flat(), x, y);
    this.members.push(this.line);
    traces.push({
      type: "scatter", mode: "lines+markers", name: "front", x: this.line.map((i) => metrics[x][i]), y: this.line.map((i) => metrics[y][i]),
      line: { shape: "hv", color: look().ink, width: 1.5 }, marker: { size: 11, symbol: "circle-open", color: look().ink, line: { width: 2 } }, hoverinfo: "skip",
    });
    const shown = groups.flat();
    const vertical = METRIC[y].high ? percents(shown.map((i) => metrics[y][i])) : logarithmic(shown.map((i) => metrics[y][i]));
    await show(this.id, traces, layout({ xaxis: axis(METRIC[x].name, logarithmic(shown.map((i) => metrics[x][i]), true)), yaxis: axis(METRIC[y].name, vertical) }));
    const place = byId(this.id);
    if (!this.listening) {
      this.listening = true;
      const told = ({ points }) => points[0] && this.tell(this.members[points[0].curveNumber][points[0].pointNumber]);
      place.on("plotly_hover", told);
      place.on("plotly_click", told);
    }
    this.list(x, y);
    this.at = -1;
  },
  tell(i) {
    if (i === undefined || i === this.told) return;
    this.told = i;
    const pairs = [...data.varied.map((name) => [name, level(name, i)]), ...Object.keys(METRIC).filter((name) => Number.isFinite(metrics[name][i])).map((name) => [METRIC[name].name.split(",")[0], METRIC[name].format(metrics[name][i])])];
    const listed = element("dl", {}, ...pairs.map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
    byId("front-chosen").replaceChildren(listed, element("p", {}, "by hand: ", element("code", { textContent: command(i) })));
  },
  key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !this.line || !this.line.length) return;
    event.preventDefault();
    this.at = Math.min(Math.max(this.at + step, 0), this.line.length - 1);
    this.tell(this.line[this.at]);
  },
  list(x, y) {
    const rows = this.line.slice(0, 40).map((i) => {
      const name = element("button", { type: "button", textContent: label(i, ["device", "dataset"]), onclick: () => this.tell(i) });
      return element("tr", {}, element("td", {}, name), element("td", { className: "n", textContent: METRIC[x].format(metrics[x][i]) }), element("td", { className: "n", textContent: METRIC[y].format(metrics[y][i]) }), element("td", {}, element("code", { textContent: command(i) })));
    });
    byId("front-rows").replaceChildren(...rows);
    byId("front-count").textContent = `${this.line.length > 40 ? "the first 40 of " : ""}${many(this.line.length, "point")}`;
  },
};

// ---- the fastest primitive

const heatFigure = {
  id: "heat-figure",
  set() {
    const heat = data.heat;
    ["point", "fastest", "tied", "ahead", "time", "unknown"].forEach((name) => (this[name] = column(heat[name])));
    this.names = heat.names;
    this.free = data.varied.filter((name) => ![...heat.choice, "model", "compression"].includes(name));
    this.selects = this.free.map((name) => select("heat-controls", name, present(name), () => this.draw()));
    if (this.free.length) begin(this.selects, this.point, (i) => this.free.map((name) => codes[name][i]));
    const chips = this.names.map((name, i) => element("li", {}, chip(this.colour(i)), name));
    const tied = element("i", { className: "tied" });
    byId("heat-legend").replaceChildren(...chips, element("li", {}, tied, "hatched: another is not shown to be slower"));
  },
  colour: (i) => (i < COLOURS.length ? COLOURS[i] : GREY),
  draw() {
    byId(this.id).classList.remove("waiting");
    if (!this.point.length) return nothing(this.id, "No point was timed.");
    const wanted = this.selects.map((chosen) => Number(chosen.value));
    const cells = new Map(), rows = new Set(), columns = new Set();
    for (let c = 0; c < this.point.length; c++) {
      const i = this.point[c];
      if (!this.free.every((name, k) => codes[name][i] === wanted[k])) continue;
      cells.set(`${codes.model[i]} ${codes.compression[i]}`, c);
      rows.add(codes.model[i]);
      columns.add(codes.compression[i]);
    }
    if (!cells.size) return byId(this.id).replaceChildren(element("p", { className: "soft", textContent: "No point was timed with these levels." }));
    const ordered = (set) => [...set].sort((a, b) => a - b);
    const head = element("tr", {}, element("th", { scope: "col", textContent: "model" }), ...ordered(columns).map((code) => element("th", { scope: "col", textContent: data.axes.compression[code] })));
    const body = ordered(rows).map((model) => element("tr", {}, element("th", { scope: "row", textContent: data.axes.model[model] }), ...ordered(columns).map((code) => this.cell(cells.get(`${model} ${code}`)))));
    byId(this.id).replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
  },
  cell(c) {
    if (c === undefined) return element("td", { textContent: "-" });
    const best = this.fastest[c];
    const tied = this.names.filter((_, k) => k !== best && k < 31 && this.tied[c] & (1 << k));
    const ahead = this.ahead[c] ? `${this.ahead[c].toFixed(2)}x` : "alone";
    const made = element("td", { className: `cell${tied.length ? " tied" : ""}${this.unknown[c] ? " unknown" : ""}` });
    made.style.backgroundColor = this.colour(best);
    const what = this.unknown[c] ? "not all could be compared" : tied.length ? `as fast: ${tied.join(", ")}` : `next slower by ${ahead}`;
    made.title = `${this.names[best]}, ${number(this.time[c])} ms; ${what}`;
    made.append(element("span", { textContent: this.names[best] }), element("br"), element("span", { textContent: tied.length ? `~ ${short(tied.join(", "), 22)}` : ahead }));
    return made;
  },
};

// ---- over levels

const levelsFigure = {
  id: "levels-time",
  set() {
    const keys = [...new Set(data.levels.map((line) => JSON.stringify(line.where)))];
    this.where = select("levels-controls", "model", keys.map((key) => [key, JSON.parse(key).map((value, i) => worded(["", "", "threads", "batch", ""][i], value)).join(", ")]), () => this.draw());
  },
  draw() {
    const lines = data.levels.filter((line) => JSON.stringify(line.where) === this.where.value);
    if (!lines.length) return ["levels-time", "levels-accuracy"].forEach((id) => nothing(id, "No technique was measured at several levels."));
    this.one("levels-time", lines, "median_ms", "low_ms", "high_ms", { title: "least time, ms", more: { rangemode: "tozero" } });
    this.one("levels-accuracy", lines, "accuracy", "low", "high", { title: "accuracy", more: percents(lines.flatMap((line) => [...line.points, line.base || {}]).flatMap((point) => [point.accuracy, point.low, point.high])) });
  },
  one(id, lines, name, low, high, { title, more }) {
    if (!lines.some((line) => line.points.some((point) => point[name] != null))) return nothing(id, `No ${name === "accuracy" ? "accuracy" : "time"} is known.`);
    const traces = lines.map((line, k) => {
      const points = line.points.filter((point) => point[name] != null);
      const style = mark(k);
      const spread = (side, sign) => points.map((point) => (point[side] == null ? 0 : Math.max(0, sign * (point[side] - point[name]))));
      return {
        type: "scatter", mode: "lines+markers", name: plain(short(line.name)), x: points.map((point) => point.amount), y: points.map((point) => point[name]),
        line: { color: style.color, dash: ["solid", "dash", "dot", "dashdot"][k % 4] }, marker: { ...style, size: 9 },
        error_y: { type: "data", array: spread(high, 1), arrayminus: spread(low, -1), color: style.color, thickness: 1.2, width: 4 },
      };
    });
    const base = lines.find((line) => line.base && line.base[name] != null);
    const shapes = base ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: base.base[name], y1: base.base[name], line: { color: look().soft, dash: "dot" } }] : [];
    const annotations = base ? [{ xref: "paper", x: 0, xanchor: "left", y: base.base[name], yanchor: "bottom", text: "uncompressed", showarrow: false, font: { color: look().soft } }] : [];
    show(id, traces, layout({ xaxis: axis("level, percent"), yaxis: axis(title, more), shapes, annotations }));
  },
};

// ---- expected and actual

const barsFigure = {
  id: "bars-figure",
  set() {
    this.device = select("bars-controls", "device", data.bars.map((each, i) => [i, each.device]), () => this.draw());
  },
  draw() {
    const each = data.bars[Number(this.device.value)];
    if (!each) return nothing(this.id, "No compressed point has a base to be compared with.");
    const names = each.bars.map((bar) => plain(short(bar.name)));
    const traces = [
      { name: "expected", x: each.bars.map((bar) => bar.expected), marker: { color: "rgba(0,0,0,0)", line: { color: look().ink, width: 1.5 } } },
      { name: "actual", x: each.bars.map((bar) => bar.actual), marker: { color: COLOURS[0] } },
    ].map((trace) => ({ type: "bar", orientation: "h", y: names, text: trace.x.map((v) => (v == null ? "" : `${v.toFixed(2)}x`)), textposition: "outside", cliponaxis: false, textfont: { color: look().ink }, hovertemplate: "%{y}: %{x:.3f}<extra></extra>", ...trace }));
    const shapes = [{ type: "line", x0: 1, x1: 1, yref: "paper", y0: 0, y1: 1, line: { color: look().soft, dash: "dot" } }];
    byId(this.id).style.height = `${Math.max(16, 4 + 3 * names.length)}rem`;
    show(this.id, traces, layout({ barmode: "group", xaxis: axis("times faster", { range: [0, (innerWidth < 600 ? 1.35 : 1.16) * Math.max(1, ends(traces.flatMap((trace) => trace.x))[1])] }), yaxis: axis("", { autorange: "reversed" }), shapes, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" } }));
    const cells = each.bars.length ? each.bars[0].n : 0;
    byId("bars-of").textContent = `Geometric means over the same ${many(cells, "cell")} of ${many(each.models.length, "model")}: ${each.models.join(", ")}.` + (each.left.length ? ` Left out, for they share no cell with the others: ${each.left.join(", ")}.` : "");
  },
};

// ---- untuned and tuned

const slopesFigure = {
  id: "slopes-figure",
  most: 80,
  set() {
    const devices = [...new Set(data.slopes.lines.map((line) => line.device))];
    this.device = select("slopes-controls", "device", devices.map((name) => [name, name]), () => this.draw());
    this.primitives = [...new Set(data.slopes.lines.map((line) => line.primitive))];
  },
  draw() {
    const all = data.slopes.lines.filter((line) => line.device === this.device.value);
    if (!all.length) return nothing(this.id, "Nothing was timed with two kinds of schedules.");
    const lines = all.length <= this.most ? all : Array.from({ length: this.most }, (_, k) => all[Math.floor((k * all.length) / this.most)]);
    const seen = new Set();
    const traces = lines.map((line) => {
      const first = line.times.find((time) => time != null);
      const at = line.times.map((time, k) => [data.slopes.levels[k], time]).filter(([, time]) => time != null);
      const group = this.primitives.indexOf(line.primitive);
      const fresh = !seen.has(group) && seen.add(group);
      return {
        type: "scatter", mode: "lines+markers", name: plain(short(line.primitive)), legendgroup: String(group), showlegend: Boolean(fresh),
        x: at.map(([name]) => name), y: at.map(([, time]) => time / first), text: at.map(([, time]) => `${plain(short(line.label, 60))}<br>${number(time)} ms`),
        hovertemplate: "%{text}, %{y:.3f}<extra></extra>", line: { color: mark(group).color, width: 1.3 }, marker: { ...mark(group), size: 7 }, opacity: 0.75,
      };
    });
    show(this.id, traces, layout({ xaxis: axis("", { type: "category", categoryorder: "array", categoryarray: data.slopes.levels }), yaxis: axis("time over that of the first", logarithmic(traces.flatMap((trace) => trace.y))) }));
    byId("slopes-of").textContent = `${lines.length} of ${data.slopes.of} shown, each from the left to the right.`;
  },
};

// ---- between devices

const betweenFigure = {
  id: "between-figure",
  set() {
    ["first", "second", "x", "y", "differs"].forEach((name) => (this[name] = column(data.between[name])));
    const pairs = new Map();
    for (let k = 0; k < this.first.length; k++) {
      const key = `${codes.device[this.first[k]]} ${codes.device[this.second[k]]}`;
      pairs.set(key, [...(pairs.get(key) || []), k]);
    }
    this.pairs = pairs;
    this.which = select("between-controls", "devices", [...pairs.keys()].map((key) => [key, key.split(" ").map((code) => data.axes.device[code]).join(" and ")]), () => this.draw());
  },
  draw() {
    const chosen = this.pairs.get(this.which.value);
    if (!chosen) return nothing(this.id, "No compressed point was timed on two devices.");
    const [one, other] = this.which.value.split(" ").map((code) => plain(data.axes.device[code]));
    const groups = new Map();
    chosen.forEach((k) => groups.set(technique[this.first[k]], [...(groups.get(technique[this.first[k]]) || []), k]));
    const shift = data.technique.names[0] === "none" ? 1 : 0;
    const traces = [...groups].map(([group, members]) => ({
      type: members.length > FEW ? "scattergl" : "scatter", mode: "markers", name: plain(short(data.technique.names[group])),
      x: members.map((k) => this.x[k]), y: members.map((k) => this.y[k]), text: members.map((k) => plain(short(label(this.first[k], ["device"]), 60))),
      marker: { color: mark(group - shift).color, size: 8, symbol: members.map((k) => mark(group - shift).symbol + (this.differs[k] ? "" : "-open")) },
      hovertemplate: `%{text}<br>${one}: %{x:.3f}, ${other}: %{y:.3f}<extra></extra>`,
    }));
    const all = [...chosen.map((k) => this.x[k]), ...chosen.map((k) => this.y[k])];
    traces.push({ type: "scatter", mode: "lines", x: ends(all), y: ends(all), name: "equal", line: { color: look().soft, dash: "dot" }, hoverinfo: "skip" });
    show(this.id, traces, layout({ xaxis: axis(`speed-up on ${one}`, logarithmic(all, true)), yaxis: axis(`speed-up on ${other}`, logarithmic(all)) }));
  },
};

// ---- parallel coordinates

const parallelFigure = {
  id: "parallel-figure",
  set() {
    this.chosen = column(data.parallel);
  },
  draw() {
    const chosen = Array.from(this.chosen);
    if (chosen.length < 2) return nothing(this.id, "There are too few points.");
    const dimensions = data.varied.map((name) => {
      const used = [...new Set(chosen.map((i) => codes[name][i]))].sort((a, b) => a - b);
      const many = used.length > 24;
      return { label: name, values: chosen.map((i) => used.indexOf(codes[name][i])), tickvals: many ? [] : used.map((_, k) => k), ticktext: many ? [] : used.map((code) => short(data.axes[name][code], 16)) };
    });
    Object.keys(METRIC).forEach((name) => {
      const values = chosen.map((i) => metrics[name][i]);
      if (!values.every(Number.isFinite)) return;
      if (!METRIC[name].log) return dimensions.push({ label: METRIC[name].name, values, ...percents(values) });
      const logs = values.map(Math.log10);
      const [low, high] = ends(logs);
      const ticks = [0, 1, 2, 3, 4].map((k) => low + ((high - low) * k) / 4);
      dimensions.push({ label: METRIC[name].name, values: logs, tickvals: ticks, ticktext: ticks.map((tick) => number(10 ** tick)) });
    });
    const time = chosen.map((i) => Math.log10(metrics.median_ms[i]));
    const { ink } = look();
    byId(this.id).parentElement.style.minWidth = `${7 * dimensions.length}rem`;
    show(this.id, [{ type: "parcoords", dimensions, line: { color: time, colorscale: "Viridis" }, labelfont: { color: ink }, tickfont: { color: ink, shadow: "none" }, rangefont: { color: ink } }], layout({ margin: { l: 110, r: 60, t: 64, b: 24 } }));
  },
};

// ---- two studies

const comparisonFigure = {
  id: "comparison-figure",
  set() {
    const found = data.comparison;
    ["x", "y", "verdict"].forEach((name) => (this[name] = column(found[name])));
  },
  draw() {
    if (!this.x.length) return nothing(this.id, "No point was timed in both.");
    const style = { faster: { color: COLOURS[2], symbol: "triangle-down" }, tie: { color: GREY, symbol: "circle-open" }, slower: { color: COLOURS[3], symbol: "triangle-up" }, untestable: { color: GREY, symbol: "x" } };
    const traces = data.comparison.verdicts.map((name, code) => {
      const members = Array.from(this.verdict.keys()).filter((k) => this.verdict[k] === code);
      return {
        type: members.length > FEW ? "scattergl" : "scatter", mode: "markers", name: `${name} in B`, marker: { ...style[name], size: 8 },
        x: members.map((k) => this.x[k]), y: members.map((k) => this.y[k]), text: members.map((k) => plain(short(label(k), 60))),
        hovertemplate: "%{text}<br>A: %{x:.4~g} ms, B: %{y:.4~g} ms<extra></extra>",
      };
    }).filter((trace) => trace.x.length);
    const all = [...this.x, ...this.y];
    traces.push({ type: "scatter", mode: "lines", x: ends(all), y: ends(all), name: "equal", line: { color: look().soft, dash: "dot" }, hoverinfo: "skip" });
    return show(this.id, traces, layout({ xaxis: axis("A, ms", logarithmic(all, true)), yaxis: axis("B, ms", logarithmic(all)) }));
  },
};

// ---- the page

const OF_A_STUDY = [frontFigure, heatFigure, levelsFigure, barsFigure, slopesFigure, betweenFigure, parallelFigure];
let FIGURES = OF_A_STUDY;
const drawn = new Set();

async function draw(figure) {
  if (!drawn.has(figure)) figure.set();
  drawn.add(figure);
  await figure.draw();
}

function watch() {
  const seen = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      seen.unobserve(entry.target);
      draw(FIGURES.find((figure) => figure.id === entry.target.id));
    });
  }, { rootMargin: "300px" });
  FIGURES.filter((figure) => !drawn.has(figure)).forEach((figure) => seen.observe(byId(figure.id)));
  const again = () => drawn.forEach((figure) => figure.draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}

async function start() {
  data = await unpack(byId("data").textContent);
  byId("data").remove();
  if (data.comparison) {
    FIGURES = [comparisonFigure];
    codes = Object.fromEntries(Object.entries(data.comparison.codes).map(([axis, value]) => [axis, column(value)]));
  } else prepare();
  await draw(FIGURES[0]);
  document.documentElement.dataset.ready = "1";
  watch();
}
start().catch((error) => {
  const note = byId("figures-note");
  note.hidden = false;
  note.textContent = `The figures cannot be drawn: ${error.message}. The tables and findings are all here.`;
  throw error;
});
