// Lays plotly over the drawings of a page, once they come into view: values on hover, zoom, a click opens the cell.
// plotly.min.js is large, so it is loaded for the first chart that is seen, and where that fails the drawing stays.
(function () {
  "use strict";
  const { load, shard } = window.prunemark;
  const SYMBOLS = { circle: "circle", square: "square", "triangle-up": "triangle-up", diamond: "diamond", "triangle-down": "triangle-down", hexagon: "hexagon", cross: "cross", star: "star" };

  function colours() {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue("--" + name).trim();
  }

  function frame(height) {
    const colour = colours();
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;  // a wall of 4K has larger letters
    const font = { family: getComputedStyle(document.body).fontFamily, size: 12 * rem, color: colour("soft") };
    const axis = { gridcolor: colour("line"), zeroline: false, linecolor: colour("strong"), tickfont: font, title: { font }, fixedrange: false };
    return {
      colour, axis,
      layout: {
        height, autosize: true, margin: { l: 46 * rem, r: 10, t: 22 * rem, b: 44 * rem }, showlegend: false, hovermode: "closest", dragmode: "zoom", font,
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("strong"), font: { ...font, color: colour("ink"), size: 13 * rem }, align: "left" },
      },
      config: { displayModeBar: false, responsive: true, showTips: false },
    };
  }

  function scale(axis, data) {
    const low = data.log ? Math.log10(data.low) : data.low;
    const high = data.log ? Math.log10(data.high) : data.high;
    return { ...axis, type: data.log ? "log" : "linear", range: data.falling ? [high, low] : [low, high], tickmode: "array",
      tickvals: data.ticks.map((tick) => tick[0]), ticktext: data.ticks.map((tick) => escape(tick[1])) };
  }

  // plotly reads a small markup in its texts; none of ours is meant to be any.
  function escape(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function traces(chart, colour) {
    const found = chart.series.map((series) => {
      const tone = colour(series.colour === null ? "dense" : "c" + series.colour);
      const column = (index) => series.points.map((point) => point[index]);
      const low = series.points.map((point) => (point[2] === null ? 0 : point[0] - point[2]));
      const high = series.points.map((point) => (point[3] === null ? 0 : point[3] - point[0]));
      return {
        type: "scatter", mode: series.joined ? "lines+markers" : "markers", x: column(0), y: column(1), customdata: column(6),
        text: column(5).map(escape), hovertemplate: "%{text}<extra></extra>", cliponaxis: false,
        line: { color: tone, width: 1.8 },
        marker: { color: series.hollow ? colour("surface") : tone, symbol: SYMBOLS[series.shape], size: series.shape === "star" ? 14 : 10,
          line: { color: series.hollow ? tone : colour("surface"), width: series.hollow ? 2 : 1 } },
        error_x: { type: "data", array: high, arrayminus: low, symmetric: false, visible: high.some(Boolean), color: tone, thickness: 1.3, width: 0 },
        error_y: { type: "data", array: column(4).map((value) => value || 0), visible: !series.joined && column(4).some(Boolean), color: tone, thickness: 1.3, width: 0 },
      };
    });
    if (chart.front.length > 1) {
      found.unshift({ type: "scatter", mode: "lines", x: chart.front.map((p) => p[0]), y: chart.front.map((p) => p[1]), hoverinfo: "skip",
        line: { color: colour("accent"), width: 1.6, shape: "vh" } });
    }
    return found;
  }

  function draw(canvas, chart) {
    const height = Math.max(250, Math.min(420, Math.round(canvas.clientWidth * 0.64)));
    const { colour, axis, layout, config } = frame(height);
    layout.xaxis = { ...scale(axis, chart.x), title: { text: chart.x.label, font: axis.title.font, standoff: 8 } };
    layout.yaxis = scale(axis, chart.y);
    layout.annotations = [{ text: "<b>" + escape(chart.y.label) + "</b>", xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom", xshift: -44, yshift: 4, showarrow: false }];
    layout.shapes = chart.reference === null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: chart.reference, y1: chart.reference, layer: "below",
      line: { color: colour("faint"), width: 1, dash: "dash" } }];
    canvas.querySelectorAll("svg.plot").forEach((svg) => svg.remove());
    canvas.style.minHeight = height + "px";  // plotly's own box has a height in percent, of which nothing may be left
    return window.Plotly.react(canvas, traces(chart, colour), layout, config);
  }

  function follow(canvas) {
    canvas.on("plotly_click", (event) => {
      const cell = event.points.length ? event.points[0].customdata : null;
      if (cell) location.href = "cell.html#" + cell;
    });
  }

  function start(figure) {
    const canvas = figure.querySelector(".canvas");
    const section = figure.closest("section");
    let current = null;
    let drawn = false;

    function show(chart) {
      current = chart;
      if (!chart) return;
      const caption = figure.querySelector("figcaption span");
      if (caption) caption.textContent = chart.note;
      draw(canvas, chart).then(() => { if (!drawn) { drawn = true; follow(canvas); } });
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", chart.title + ". " + chart.note + ".");
    }

    Promise.all([shard(figure.dataset.shard), load("plotly.min.js")]).then(([data]) => {
      const speeds = figure.dataset.chart === "speedup";
      const setup = Math.max(0, Number(section.dataset.setup || 0));
      show(speeds ? data.speedups[setup] : data.charts[figure.dataset.chart]);
      if (speeds) section.addEventListener("setupchange", (event) => show(data.speedups[event.detail]));
      document.documentElement.addEventListener("themechange", () => { if (drawn) draw(canvas, current); });
    }, () => { /* the drawing stays */ });
  }

  // For cell.js: one chart of its own making, `layout` and `traces` given the page's colours.
  function custom(canvas, make) {
    return load("plotly.min.js").then(() => {
      const paint = () => {
        const { colour, axis, layout, config } = frame(Math.max(220, Math.min(340, Math.round(canvas.clientWidth * 0.5))));
        const made = make(colour, axis);
        return window.Plotly.react(canvas, made.traces, { ...layout, ...made.layout }, config);
      };
      document.documentElement.addEventListener("themechange", paint);
      return paint();
    });
  }

  // A histogram's bars: the basic bundle has no histograms of its own. All values alike make one bar.
  function bins(values, most) {
    const low = Math.min(...values), high = Math.max(...values);
    const width = (high - low) / most || Math.abs(low) * 1e-3 || 1;
    const counts = Array(high > low ? most : 1).fill(0);
    for (const value of values) counts[Math.min(counts.length - 1, Math.floor((value - low) / width))] += 1;
    return { x: counts.map((count, index) => low + (high > low ? index + 0.5 : 0) * width), y: counts, width };
  }

  window.prunemark.plot = { custom, escape, bins };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("section[data-shard]").forEach((section) =>
      section.addEventListener("setupchange", (event) => { section.dataset.setup = event.detail; }));
    const figures = [...document.querySelectorAll("figure[data-chart]")].filter((figure) => figure.querySelector("svg.plot"));
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) { seen.unobserve(entry.target); start(entry.target); }
      }
    }, { rootMargin: "200px" });
    for (const figure of figures) {
      // what is in view at once need not wait for the first frame
      if (figure.getBoundingClientRect().top < window.innerHeight) start(figure);
      else seen.observe(figure);
    }
  });
})();
