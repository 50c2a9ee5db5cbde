// What all figures of a report need: its data, words, looks. It shares one scope with figures.js.
// Okabe and Ito's colours, with a symbol each, in the order in which they are told apart best.
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down"];
const GREY = "#8a939c";
// Plotly's hover over one trace freezes at a hundred thousand points.
const MOST_IN_TRACE = 50000;
// Below this, SVG: it needs none of a page's few WebGL contexts.
const FEW = 2000;
const METRIC = {
  median_ms: { name: "time, ms", format: (v) => `${number(v)} ms`, log: true },
  accuracy: { name: "accuracy", format: (v) => `${(100 * v).toFixed(2)} %`, log: false, high: true },
  weight_bytes: { name: "weights, MB", format: (v) => `${number(v)} MB`, log: true },
};
let data, count, metrics, codes, ids, front, technique;

// ---- data

async function unpack(text) {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function column(value) {
  const binary = atob(value.data);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const kinds = { Uint8Array, Uint16Array, Uint32Array, Float32Array };
  return new kinds[value.type](bytes.buffer);
}

function prepare() {
  codes = Object.fromEntries(Object.entries(data.codes).map(([axis, value]) => [axis, column(value)]));
  metrics = Object.fromEntries(Object.entries(data.metrics).map(([name, value]) => [name, column(value)]));
  metrics.weight_bytes = metrics.weight_bytes.map((bytes) => bytes / 1e6);
  ids = column(data.ids);
  front = column(data.front);
  technique = column(data.technique.codes);
  count = front.length;
}

const level = (axis, i) => data.axes[axis][codes[axis][i]];
const identifier = (i) => Array.from(ids.subarray(8 * i, 8 * i + 8), (b) => b.toString(16).padStart(2, "0")).join("");
const command = (i) => data.command.replace("{point}", identifier(i));
const known = (values) => values.some((value) => Number.isFinite(value));

function worded(axis, name) {
  if (axis === "threads") return `${name} thread${name === "1" ? "" : "s"}`;
  return axis === "batch" ? `batch ${name}` : name;
}
const label = (i, without = []) =>
  data.varied.filter((axis) => !without.includes(axis)).map((axis) => worded(axis, level(axis, i))).join(", ") || level("model", i);

// ---- text

function number(value) {
  if (!Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  return size >= 1000 ? value.toFixed(0) : size >= 1e-3 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}
// Plotly takes its texts for a little HTML.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const many = (amount, what) => `${amount.toLocaleString("en")} ${what}${amount === 1 ? "" : "s"}`;
const short = (text, most = 34) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
const byId = (id) => document.getElementById(id);

function select(into, name, options, change) {
  const chosen = element("select", { onchange: change });
  options.forEach(([value, text]) => chosen.append(element("option", { value, textContent: short(text, 60) })));
  const shown = element("label", {}, `${name} `, chosen);
  if (options.length < 2) shown.hidden = true;
  byId(into).append(shown);
  return chosen;
}
// Begin with the levels, one for each of `selects`, that most of `points` have.
function begin(selects, points, levels) {
  const counts = new Map();
  for (const i of points) counts.set(levels(i).join(" "), (counts.get(levels(i).join(" ")) || 0) + 1);
  const most = [...counts].reduce((best, each) => (each[1] > best[1] ? each : best), ["", 0]);
  if (most[1]) most[0].split(" ").forEach((value, k) => (selects[k].value = value));
}
const present = (axis) => [...new Set(codes[axis])].sort((a, b) => a - b).map((code) => [code, worded(axis, data.axes[axis][code])]);

// ---- looks

function look() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["ink", "soft", "line", "card", "paper"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function axis(title, more = {}) {
  const { ink, line } = look();
  return { title: { text: title, standoff: 8 }, gridcolor: line, zerolinecolor: line, linecolor: line, tickcolor: line, color: ink, automargin: true, showspikes: false, ...more };
}

function ends(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}

// Of an axis of times, sizes or ratios. Each tick has its whole number: Plotly writes the first digit of most.
function logarithmic(values, across = false) {
  const [low, high] = ends(values);
  if (!(low > 0)) return { type: "log" };
  const ratio = high / low;
  const few = ratio > 30 || (across && innerWidth < 600 && ratio > 4);
  const steps = ratio > 1e4 ? [1] : few ? [1, 2, 5] : ratio > 2.5 ? [1, 1.5, 2, 3, 4, 5, 7] : Array.from({ length: 45 }, (_, k) => (10 + 2 * k) / 10);
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.log10(high) + 1; power++) ticks.push(...steps.map((step) => step * 10 ** power));
  return { type: "log", tickvals: ticks, ticktext: ticks.map(number), tickangle: 0 };
}

// Of an axis of accuracies: as many digits as tell its ticks apart.
function percents(values) {
  const [low, high] = ends(values);
  const digits = high > low ? Math.ceil(0.9 - Math.log10(100 * (high - low))) : 1;
  return { tickformat: `.${Math.min(Math.max(digits, 1), 4)}%` };
}

function layout(more = {}) {
  const { ink, card, line } = look();
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, family: "system-ui, DejaVu Sans, sans-serif", size: 13 },
    margin: { l: 52, r: 12, t: 12, b: 44 }, hovermode: "closest", hoverdistance: 12, spikedistance: 0,
    hoverlabel: { bgcolor: card, bordercolor: line, font: { color: ink } },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink },
    legend: { orientation: "h", x: 0, y: -0.18, yanchor: "top", font: { size: 12 } },
    ...more,
  };
}

const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "toImage"] };

function show(id, traces, shape) {
  const place = byId(id);
  place.classList.remove("waiting");
  return Plotly.react(place, traces, shape, CONFIG);
}

function nothing(id, why) {
  const place = byId(id);
  if (place.data) Plotly.purge(place);
  place.classList.remove("waiting");
  place.style.minHeight = "0";
  place.replaceChildren(element("p", { className: "soft", textContent: why }));
}

function mark(number) {
  return number < COLOURS.length ? { color: COLOURS[number], symbol: SYMBOLS[number] } : { color: GREY, symbol: "star-open" };
}

function chip(colour) {
  const made = element("i");
  made.style.background = colour;
  return made;
}
