"use strict";
// The timeline: rows of metrics over one time axis, with incidents above them. Data and plotly are in the page.
(async () => {
  const plot = document.getElementById("timeline-plot");
  if (!plot) return;
  const data = JSON.parse(document.getElementById("timeline-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)"), narrow = matchMedia("(max-width: 600px)");
  const CAUSES = {
    rendered: { pattern: "", symbol: "circle" }, sender: { pattern: "/", symbol: "square" },
    network: { pattern: "x", symbol: "diamond" }, receiver: { pattern: "-", symbol: "triangle-up" },
    overload: { pattern: ".", symbol: "cross" }, unknown: { pattern: "|", symbol: "circle-open" },
  };
  const DASHES = ["solid", "dash", "dot"], ROW_PX = 92, GAP_PX = 34, LANE_PX = 36, MOST_SHADES = 200, PAPER_PX = 680, SHORT = 0.004;
  const rows = data.rows.map((row) => ({ ...row }));

  const printing = () => document.documentElement.hasAttribute("data-printing");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const times = (name) => data.times[data.series[name].t];
  const suffix = (name) => {
    const unit = data.series[name].unit;
    return unit === "1" || unit === "bool" ? "" : " " + unit;
  };
  const sign = (row) => suffix(row.series.find((name) => !data.series[name].flag) ?? row.series[0]).trim();
  const label = (name) => {
    const own = name.replace(/^[^.]*\./, ""), unit = data.series[name].unit.toLowerCase();
    return own.replace(new RegExp(`_${unit.replace(/[^a-z0-9]/g, ".")}$`), "").replaceAll("_", " ");
  };
  const isCount = (name) => data.series[name].counted && data.series[name].unit === "Hz";
  const step = (name) => (data.series[name].flag ? "hv" : isCount(name) ? "hvh" : "linear");
  const isScaled = (name, row) => row.series.length > 1 && (data.series[name].flag || row.scaled.includes(name));

  function tinted(text, alpha) {
    const number = parseInt(text.slice(1), 16);
    return `rgba(${number >> 16}, ${(number >> 8) & 255}, ${number & 255}, ${alpha})`;
  }

  // A band needs whole stretches: plotly fills across a gap otherwise.
  function stretches(name, low, high) {
    const found = [], t = times(name);
    let begin = 0;
    for (let i = 0; i <= t.length; i++) {
      if (i < t.length && low[i] !== null && high[i] !== null) continue;
      if (i > begin) found.push([begin, i]);
      begin = i + 1;
    }
    return found;
  }

  function bands(name, axis, low, high, tint) {
    const x = [], y = [];
    for (const [from, to] of stretches(name, low, high)) {
      const t = times(name).slice(from, to);
      x.push(...t, ...t.slice().reverse(), null);
      y.push(...low.slice(from, to), ...high.slice(from, to).reverse(), null);
    }
    return { x, y, yaxis: axis, mode: "lines", fill: "toself", fillcolor: tint, line: { width: 0 }, hoverinfo: "skip", showlegend: false };
  }

  // The area under a flag: it holds from each of its times to the next.
  function steps(name, axis, tint) {
    const x = [], y = [], t = times(name), v = data.series[name].v;
    for (const [from, to] of stretches(name, v, v)) {
      x.push(t[from]);
      y.push(0);
      for (let i = from; i < to; i++) {
        x.push(t[i], t[Math.min(i + 1, to - 1)]);
        y.push(v[i], v[i]);
      }
      x.push(t[to - 1], null);
      y.push(0, null);
    }
    return { x, y, yaxis: axis, mode: "lines", fill: "toself", fillcolor: tint, line: { width: 0 }, hoverinfo: "skip", showlegend: false };
  }

  function around(name, error) {
    const at = new Map(times(error).map((t, i) => [t, data.series[error].v[i]]));
    const values = data.series[name].v, t = times(name);
    const side = (sign) => values.map((value, i) => (value === null || at.get(t[i]) == null ? null : value + sign * at.get(t[i])));
    return [side(-1), side(1)];
  }

  function rowTraces(row, axis) {
    const traces = [];
    row.series.forEach((name, i) => {
      const series = data.series[name], tone = colour(`--plot-${(i % 3) + 1}`);
      const error = row.errors && row.errors[name];
      if (error) traces.push(bands(name, axis, ...around(name, error), tinted(tone, 0.2)));
      else if (series.lo) traces.push(bands(name, axis, series.lo, series.hi, tinted(tone, 0.22)));
      const scaled = isScaled(name, row), own = scaled ? overlay(axis) : axis;
      if (series.flag) traces.push(steps(name, own, tinted(tone, 0.15)));
      traces.push({
        x: times(name), y: series.v, yaxis: own, mode: "lines", connectgaps: false, showlegend: false, name: label(name),
        line: { color: tone, width: series.flag && scaled ? 0 : row.scaled.includes(name) ? 1 : 1.5, dash: DASHES[i % 3], shape: step(name), simplify: true },
        hovertemplate: `%{y:.4~g}${suffix(name)}`,
      });
      const lone = series.v.map((value, at) => (isLone(series.v, at) ? at : -1)).filter((at) => at >= 0);
      if (lone.length && !series.flag) traces.push({ x: lone.map((at) => times(name)[at]), y: lone.map((at) => series.v[at]), yaxis: own, mode: "markers", hoverinfo: "skip", showlegend: false, marker: { color: tone, size: 3 } });
    });
    return traces;
  }

  // Lone values between breaks have no line to be seen by.
  const isLone = (v, i) => v[i] !== null && (v[i - 1] ?? null) === null && (v[i + 1] ?? null) === null;
  const overlay = (axis) => `y${100 + Number(axis.slice(1))}`;

  const kinds = [...new Set(data.incidents.map((one) => one.kind))];
  const planted = [...new Set(data.faults.map((one) => one.kind))];
  const PLANTED = "planted: ";
  const lanes = [...planted.map((kind) => PLANTED + kind.replaceAll("_", " ")), ...kinds.slice().reverse()];

  function bars(items, lane, name, tone, look, more) {
    return {
      type: "bar", orientation: "h", yaxis: "y", name, base: items.map((one) => one.from), x: items.map((one) => one.to - one.from), y: items.map(lane), width: 0.4, offset: -0.38,
      marker: { color: tone, pattern: { shape: look.pattern, solidity: 0.35, size: 6, fillmode: "overlay", fgcolor: colour("--page") }, line: { color: tone, width: 1 } },
      customdata: items.map((one) => [one.from, one.to, one.severity ?? ""]), hovertemplate: `%{y}, %{customdata[0]:.2f} to %{customdata[1]:.2f} s<br>${name} %{customdata[2]}<extra></extra>`, ...more,
    };
  }

  function laneTraces() {
    const traces = [];
    for (const cause of [...new Set(data.incidents.map((one) => one.cause))]) {
      const items = data.incidents.filter((one) => one.cause === cause), look = CAUSES[cause] ?? CAUSES.unknown;
      const tone = colour(`--cause-${cause in CAUSES ? cause : "unknown"}`);
      traces.push(bars(items, (one) => one.kind, cause, tone, look, { legendgroup: cause, showlegend: true }));
      const short = items.filter((one) => one.to - one.from < SHORT * (whole()[1] - whole()[0]));
      // however short, it is to be seen
      traces.push({ x: short.map((one) => one.from), y: short.map((one) => lanes.indexOf(one.kind) - 0.18), yaxis: "y", mode: "markers", legendgroup: cause, showlegend: false, hoverinfo: "skip", marker: { color: tone, size: 7, symbol: look.symbol, line: { color: colour("--page"), width: 1 } } });
    }
    if (data.faults.length) traces.push(bars(data.faults, (one) => PLANTED + one.kind.replaceAll("_", " "), "planted", colour("--line"), { pattern: "" }, { showlegend: true, marker: { color: "rgba(0,0,0,0)", line: { color: colour("--quiet"), width: 1.5 } } }));
    return traces;
  }

  function figure() {
    const text = colour("--text"), quiet = colour("--quiet"), grid = colour("--grid"), page = colour("--page");
    const lanePx = lanes.length ? lanes.length * LANE_PX + 8 : 0;
    const head = 30, foot = 46, total = lanePx + rows.length * (ROW_PX + GAP_PX) + head + foot;
    const inner = total - head - foot, part = (px) => Math.min(Math.max(1 - px / inner, 0), 1);
    const layout = {
      height: total, width: printing() ? PAPER_PX : undefined, margin: { l: narrow.matches ? 44 : 64, r: 8, t: head, b: foot }, paper_bgcolor: page, plot_bgcolor: page,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: quiet },
      hovermode: "x unified", hoversubplots: "axis", dragmode: narrow.matches ? "pan" : "zoom", barmode: "overlay", bargap: 0,
      hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: text, size: 12 } },
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", xanchor: "left", font: { size: 12, color: text }, itemclick: false, itemdoubleclick: false },
      xaxis: { title: { text: "time, s", standoff: 8 }, gridcolor: grid, zeroline: false, linecolor: colour("--line"), anchor: rows.length ? `y${rows.length + 1}` : "y", hoverformat: ".2f", unifiedhovertitle: { text: "%{x:.2f} s" }, range: whole(), minallowed: whole()[0], maxallowed: whole()[1], nticks: narrow.matches ? 6 : 12, showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "solid", spikecolor: quiet, spikesnap: "cursor" },
      annotations: [], shapes: [],
    };
    const traces = [];
    if (lanes.length) {
      layout.yaxis = { domain: [part(lanePx), 1], type: "category", categoryorder: "array", categoryarray: lanes, range: [-0.5, lanes.length - 0.5], fixedrange: true, showgrid: false, zeroline: false, showticklabels: false, ticks: "" };
      traces.push(...laneTraces());
      lanes.forEach((lane, i) => layout.annotations.push(caption(lane, i)));
    }
    rows.forEach((row, i) => {
      const top = lanePx + i * (ROW_PX + GAP_PX) + GAP_PX, axis = `y${i + 2}`;
      const domain = [part(top + ROW_PX), part(top)];
      layout[`yaxis${i + 2}`] = { domain, anchor: "x", fixedrange: true, gridcolor: grid, zeroline: row.series.some((name) => data.series[name].good === "zero"), zerolinecolor: quiet, nticks: 4, rangemode: floor(row), tickformat: "~g", exponentformat: "none" };
      layout[`yaxis${102 + i}`] = { domain, anchor: "x", overlaying: axis, visible: false, range: [0, 1], fixedrange: true };
      const unit = sign(row), names = row.series.length > 1 ? row.series.map((name, j) => `<span style="color:${colour(`--plot-${(j % 3) + 1}`)}">${["━", "╍", "┅"][j % 3]} ${label(name)}</span>`).join("  ") : "";
      layout.annotations.push({ text: `<b>${escaped(row.heading)}</b>${unit ? ` ${escaped(unit)}` : ""}${row.note && !narrow.matches ? ` (${escaped(row.note)})` : ""}  ${names}`, x: 0, xref: "paper", xanchor: "left", y: part(top), yref: "paper", yanchor: "bottom", showarrow: false, font: { size: 12, color: text }, align: "left" });
      traces.push(...rowTraces(row, axis));
    });
    data.incidents.filter((one) => one.to > one.from && one.severity === "error").slice(0, MOST_SHADES).forEach((one) => layout.shapes.push({ type: "rect", xref: "x", yref: "paper", x0: one.from, x1: one.to, y0: 0, y1: part(lanePx), fillcolor: colour("--shade"), line: { width: 0 }, layer: "below" }));
    return [traces, layout];
  }

  const caption = (lane, i) => ({ text: escaped(lane), x: 0, xref: "paper", xanchor: "left", y: i - 0.02, yref: "y", yanchor: "bottom", showarrow: false, font: { size: 12, color: colour(lane.startsWith(PLANTED) ? "--quiet" : "--text") } });
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const floor = (row) => (row.series.every((name) => data.series[name].v.every((v) => v === null || v >= 0)) ? "tozero" : "normal");

  let ends = null;
  function whole() {
    if (ends) return ends;
    let low = 0, high = 1;
    for (const t of data.times) if (t.length) { low = Math.min(low, t[0]); high = Math.max(high, t[t.length - 1]); }
    for (const one of [...data.incidents, ...data.faults]) high = Math.max(high, one.to);
    return (ends = [low, high]);
  }

  async function unpacked(id) {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  const options = { displaylogo: false, responsive: true, scrollZoom: false, doubleClick: "reset", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], displayModeBar: false };
  const draw = () => Plotly.react(plot, ...kept(figure()), options);
  function kept([traces, layout]) {
    const range = plot.layout?.xaxis?.range;
    if (range) layout.xaxis.range = range;
    return [traces, layout];
  }

  function offerMore() {
    const select = document.getElementById("more"), shown = new Set(rows.flatMap((row) => row.series));
    const groups = new Map();
    for (const name of Object.keys(data.series)) {
      if (shown.has(name)) continue;
      const group = data.series[name].counted ? "counted" : name.split(".")[0];
      if (!groups.has(group)) {
        const element = document.createElement("optgroup");
        element.label = group;
        groups.set(group, element);
      }
      groups.get(group).append(new Option(data.series[name].counted ? name : label(name), name));
    }
    select.append(...groups.values());
    select.disabled = false;
    select.addEventListener("change", () => {
      if (!select.value) return;
      rows.push({ heading: select.value, note: data.series[select.value].about, series: [select.value], scaled: [], errors: {} });
      select.selectedOptions[0].remove();
      select.value = "";
      draw();
    });
    const whole_ = document.getElementById("whole");
    whole_.disabled = false;
    whole_.addEventListener("click", () => Plotly.relayout(plot, { "xaxis.range": whole().slice() }));
  }

  try {
    const script = document.createElement("script");
    script.textContent = await unpacked("plotly");
    document.head.append(script);
    plot.replaceChildren();
    await Plotly.newPlot(plot, ...figure(), options);
    offerMore();
    for (const media of [dark, narrow]) media.addEventListener("change", draw);
    addEventListener("beforeprint", () => { document.documentElement.setAttribute("data-printing", ""); draw(); });
    addEventListener("afterprint", () => { document.documentElement.removeAttribute("data-printing"); draw(); });
    plot.dataset.ready = "yes";
  } catch (error) {
    plot.textContent = "The plots cannot be drawn by this browser; all figures are in the tables below.";
    plot.dataset.failed = String(error);
  }
})();
