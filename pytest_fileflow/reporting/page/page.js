/* What the page does: find, sort, open what a link names, and draw a chart when its flow is opened. */
(() => {
  "use strict";
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);
  const list = one("ol.flows");
  const items = all("li", list);
  const form = one("form.filter");
  const states = all("button[data-state]");
  const fields = form.elements;

  // --- find and sort

  const field = (name) => (fields.namedItem(name) ? fields.namedItem(name).value : "");

  const ORDERS = {
    rank: (one, other) => one.dataset.rank - other.dataset.rank,
    name: (one, other) => one.dataset.name.localeCompare(other.dataset.name),
    slow: (one, other) => other.dataset.slow - one.dataset.slow,
    success: (one, other) => one.dataset.success - other.dataset.success,
    latest: (one, other) => other.dataset.latest - one.dataset.latest,
  };

  function filter() {
    const words = field("text").toLowerCase().split(/\s+/).filter(Boolean);
    const pressed = states.filter((button) => button.ariaPressed === "true").map((button) => button.dataset.state);
    const owner = field("owner");
    const tag = field("tag");
    let shown = 0;
    for (const item of items) {
      const told = item.dataset;
      item.hidden = !(
        words.every((word) => told.find.includes(word)) &&
        (!pressed.length || pressed.includes(told.state)) &&
        (!owner || told.owner === owner) &&
        (!tag || JSON.parse(told.tags).includes(tag))
      );
      shown += !item.hidden;
    }
    const number = `${items.length} flow${items.length === 1 ? "" : "s"}`;
    one("output.shown").value = shown === items.length ? number : `${shown} of ${number}`;
    one("p.nothing").hidden = shown > 0 || !items.length;
  }

  function sort() {
    items.sort(ORDERS[field("sort")]);
    list.append(...items);
  }

  function showAll() {
    for (const button of states) button.ariaPressed = "false";
    for (const name of ["text", "owner", "tag"]) if (fields.namedItem(name)) fields.namedItem(name).value = "";
    filter();
  }

  for (const button of states) {
    button.addEventListener("click", () => {
      button.ariaPressed = String(button.ariaPressed !== "true");
      filter();
    });
  }
  for (const button of all("button[data-text]")) {
    button.addEventListener("click", () => {
      showAll();
      fields.namedItem("text").value = button.dataset.text;
      filter();
    });
  }
  one("button.all").addEventListener("click", showAll);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  fields.namedItem("sort").addEventListener("change", sort);
  document.addEventListener("keydown", (event) => {
    const types = event.target.matches("input, select, textarea");
    if (event.key === "/" && !types && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      fields.namedItem("text").focus();
    } else if (event.key === "Escape") {
      showAll();
    }
  });

  // --- links to a flow or a run

  /** Put in place what a flow shows when it is open: until then it is inert, or hundreds of flows would be slow. */
  function fill(flow) {
    const inert = one("template", flow);
    if (inert) inert.replaceWith(inert.content);
    const chart = one(".chart", flow);
    if (chart && chart.clientWidth) draw(chart); // again, if width or colours changed while it was closed
  }

  function follow() {
    let name = location.hash.slice(1);
    try {
      name = decodeURIComponent(name);
    } catch {
      // not encoded: it is taken as it is
    }
    if (!name) return;
    const holder = all("template", list).find((inert) => inert.content.getElementById(name));
    if (holder) fill(holder.parentElement);
    const target = document.getElementById(name);
    if (!target) return;
    if (target.closest("li[hidden]")) showAll();
    for (let part = target; part; part = part.parentElement) {
      if (part.localName === "details") part.open = true;
      if (part.matches(".flow")) fill(part); // now, since it changes where the target is
    }
    target.scrollIntoView();
  }

  // --- charts

  const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4]]; // of the cases, so that no colour is needed
  const BORDERS = ["solid", "dashed", "dotted", "dashed", "dashed"]; // the same in the legend
  const charts = new Map(); // by the element that each stands in

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const seconds = (value) =>
    value == null ? "–" : value === 0 ? "0" : value < 1 ? `${Math.round(value * 1000)} ms` : `${+value.toPrecision(3)} s`;

  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

  const DAY = 86400;
  // How far ticks may be apart: a second at least, since no two may say the same.
  const STEPS = [
    ...[1, 5, 10, 15, 30].flatMap((step) => [step, step * 60]),
    ...[1, 2, 3, 4, 6, 8, 12].map((step) => step * 3600),
    ...[1, 2, 3, 4, 5, 6, 7, 10, 15, 30, 60, 90, 120, 180, 365].map((step) => step * DAY),
  ].sort((one, other) => one - other);

  /** Return what the x axis spans: a moment by itself is shown within its hour, not within years. */
  const around = (chart, from, to) => (chart.data[0].length > 1 ? [from, to] : [chart.data[0][0] - 1800, chart.data[0][0] + 1800]);

  /** Return the words below the x axis: days, and as much of the time of day as tells them apart. */
  function moments(_, ticks, axis, space, step) {
    return ticks.map((tick) => {
      const at = new Date(tick * 1000);
      const day = `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}`;
      return step < DAY ? `${at.toISOString().slice(11, step < 60 ? 19 : 16)}\n${day}` : day;
    });
  }

  /** Return the x values and, a line each: the cases, the p95 of the days, the SLO; and which x failed. */
  function lines(told) {
    let now = 0;
    const began = told.t.map((passed) => (now += passed));
    const xs = [...new Set(began)];
    const place = new Map(xs.map((at, index) => [at, index]));
    const cases = told.cases.map(() => xs.map(() => undefined));
    began.forEach((at, index) => (cases[told.c[index]][place.get(at)] = told.y[index]));
    const days = new Map(told.p95);
    const p95 = xs.map((at) => days.get(Math.floor(at / 86400)));
    const slo = xs.map((at) => (told.slo.findLast(([since]) => since <= at) || told.slo[0] || [])[1]);
    return { xs, cases, p95, slo, bad: told.bad.map((index) => place.get(began[index])) };
  }

  /** Mark what failed with a cross; what never arrived, at the upper edge. */
  function crosses(bad, count) {
    return (chart) => {
      const { ctx, bbox } = chart;
      const size = 4 * devicePixelRatio;
      ctx.save();
      ctx.strokeStyle = colour("--bad");
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.setLineDash([]);
      ctx.beginPath();
      for (const index of bad) {
        const x = chart.valToPos(chart.data[0][index], "x", true);
        let value = null;
        for (let line = 1; line <= count; line++) value = chart.data[line][index] ?? value;
        const at = value == null ? bbox.top : chart.valToPos(value, "y", true);
        const y = Math.max(at, bbox.top + 2 * size);
        for (const way of [-1, 1]) {
          ctx.moveTo(x - size, y - way * size);
          ctx.lineTo(x + size, y + way * size);
        }
      }
      ctx.stroke();
      ctx.restore();
    };
  }

  /** Write on the SLO line what it is; far above all latencies, it is drawn at the upper edge. */
  function sloLine(slo, top) {
    return (chart) => {
      const { ctx, bbox } = chart;
      const value = slo[slo.length - 1];
      if (value == null) return;
      const off = value > top;
      const y = off ? bbox.top + devicePixelRatio : chart.valToPos(value, "y", true);
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = colour("--text");
      ctx.lineWidth = 1.5 * devicePixelRatio;
      ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
      if (off) {
        ctx.setLineDash([7 * devicePixelRatio, 5 * devicePixelRatio]);
        ctx.beginPath();
        ctx.moveTo(bbox.left, y);
        ctx.lineTo(bbox.left + bbox.width, y);
        ctx.stroke();
      }
      ctx.textAlign = "left";
      ctx.textBaseline = "bottom";
      ctx.fillText(`SLO ${seconds(value)}${off ? ", far above ↑" : ""}`, bbox.left + 2 * devicePixelRatio, y - 3 * devicePixelRatio);
      ctx.restore();
    };
  }

  function options(told, { cases, p95, slo, bad }, width) {
    const hues = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5"].map(colour);
    const highest = Math.max(0, ...cases.flat().filter((value) => value != null), ...p95.filter((value) => value != null));
    const limit = Math.max(0, ...slo.filter((value) => value != null));
    // An SLO within reach is part of the scale. One that is far above would press all points to the floor.
    const top = limit && limit <= 5 * highest ? 1.1 * Math.max(limit, highest) : 1.25 * highest || limit || 1;
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--grid"), width: 1 } };
    const value = (_, raw, line, index) => (raw === null && index != null ? "not arrived" : seconds(raw));
    const step = { value, width: 2, spanGaps: true, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) };
    return {
      width,
      height: width < 500 ? 200 : 240,
      padding: [22, 30, 0, 0], // to the right, half of the last tick's words
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      cursor: { y: false, drag: { x: true, y: false }, hover: { skip: [undefined], prox: 24 } },
      legend: { markers: { dash: (_, line) => [...BORDERS.slice(0, cases.length), "dotted", "dashed"][line - 1] } },
      scales: { x: { range: around }, y: { range: () => [0, top] } },
      axes: [{ ...axis, space: 70, incrs: STEPS, values: moments }, { ...axis, size: 62, values: (_, ticks) => ticks.map(seconds) }],
      series: [
        { label: "UTC", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" },
        ...told.cases.map((label, index) => ({
          label,
          value,
          stroke: hues[index],
          width: 1.5,
          dash: DASHES[index],
          points: { show: told.t.length < 250, size: 5, fill: hues[index] },
        })),
        { ...step, label: "p95 of the day", stroke: colour("--quiet"), dash: [1, 3] },
        { ...step, label: "SLO", stroke: colour("--text"), dash: [7, 5] },
      ],
      hooks: { draw: [crosses(bad, cases.length), sloLine(slo, top)] },
    };
  }

  function draw(element) {
    const told = JSON.parse(one("script.series", element.parentElement).textContent);
    const drawn = lines(told);
    charts.get(element)?.destroy();
    const data = [drawn.xs, ...drawn.cases, drawn.p95, drawn.slo];
    charts.set(element, new uPlot(options(told, drawn, element.clientWidth), data, element));
  }

  const redraw = () => charts.forEach((_, element) => element.clientWidth && draw(element));

  for (const flow of all("details.flow", list)) {
    flow.addEventListener("toggle", () => flow.open && fill(flow));
  }
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) redraw();
    width = innerWidth;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // --- begin

  const hours = (Date.now() - Date.parse(one(".meta time").dateTime)) / 3600000;
  if (hours > 26) {
    const age = hours < 48 ? `${Math.round(hours)} hours` : `${Math.round(hours / 24)} days`;
    one(".old").textContent = `This page is ${age} old: it does not show today.`;
    one(".old").hidden = false;
  }
  one(".scriptless").hidden = true;
  form.hidden = false;
  for (const button of all("button[disabled]")) button.disabled = false;
  sort();
  filter();
  addEventListener("hashchange", follow);
  follow();
})();
