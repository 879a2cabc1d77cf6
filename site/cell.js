// Draws cell.html#<id> from the shard that has the cell. Texts come from the suite; here they are only placed.
(function () {
  "use strict";
  const { make, plot } = window.prunemark;
  const { table, facts, part, command, text, tags, find, fail } = window.prunemark.parts;
  const place = document.getElementById("cell");

  // ------------------------------------------------------------------------------------------------------- charts

  // A second line on an axis of its own, where the method logged what it was at: branch-alpha's alpha.
  const SECOND = "alpha";

  function curve(points) {
    const names = [...new Set(points.flatMap((point) => Object.keys(point)))].filter((name) => points.some((point) => typeof point[name] === "number"));
    if (points.length < 2 || names.length < 2) return null;
    const pick = (name, chosen, label) => {
      const select = make("select", {}, ...names.map((each) => make("option", {}, each)));
      select.value = chosen;
      return [make("label", {}, label, select), select];
    };
    const score = names.find((name) => name === "val" || name.startsWith("val/")) || names.find((name) => name !== "step") || names[0];
    const along = names.includes("step") ? "step" : names[0];
    const [yLabel, y] = pick("y", score, "Up");
    const [xLabel, x] = pick("x", along, "Across");
    const canvas = make("div", { class: "canvas", role: "img", "aria-label": "Curve; the values are in the table below it" });
    const draw = () => plot.custom(canvas, (colour, axis) => {
      const kept = points.filter((point) => typeof point[x.value] === "number" && typeof point[y.value] === "number");
      const title = (name) => ({ text: plot.escape(name), font: axis.title.font });
      const about = (point) => plot.escape(Object.entries(point).map(([name, value]) => `${name} ${text(value)}`).join(", "));
      const traces = [{ type: "scatter", mode: "lines+markers", x: kept.map((p) => p[x.value]), y: kept.map((p) => p[y.value]), text: kept.map(about),
        hovertemplate: "%{text}<extra></extra>", line: { color: colour("c0"), width: 2 },
        marker: { size: kept.map((p) => (p.restart ? 10 : 7)), symbol: kept.map((p) => (p.restart ? "diamond" : "circle")) } }];
      const layout = { xaxis: { ...axis, title: title(x.value) }, yaxis: { ...axis, title: title(y.value) }, margin: { l: 62, r: 10, t: 10, b: 46 } };
      if (names.includes(SECOND) && x.value !== SECOND && y.value !== SECOND) {
        traces.push({ type: "scatter", mode: "lines", x: kept.map((p) => p[x.value]), y: kept.map((p) => p[SECOND]), yaxis: "y2", hoverinfo: "skip",
          line: { color: colour("c1"), width: 1.8, dash: "dot", shape: "hv" } });
        layout.yaxis2 = { ...axis, title: { text: SECOND + " (dotted)", font: { ...axis.title.font, color: colour("c1") } }, overlaying: "y", side: "right", range: [-0.04, 1.04], tickmode: "array", tickvals: [0, 0.25, 0.5, 0.75, 1], showgrid: false };
        layout.margin.r = 58;
      }
      return { traces, layout };
    });
    x.addEventListener("change", draw);
    y.addEventListener("change", draw);
    setTimeout(draw);
    const all = [...new Set(points.flatMap((point) => Object.keys(point)))];
    return part("Curve", make("p", { class: "lead" }, "What the method logged on its way, on validation data." + (points.some((point) => point.restart) ? " Diamonds are restarts." : "")),
      make("div", { class: "controls" }, yLabel, xLabel), make("div", { class: "chart" }, canvas),
      make("details", { class: "values" }, make("summary", {}, "The values"), table("Curve", all, points.map((point) => all.map((name) => text(point[name]))), true)));
  }

  // Every training of the cell, one line each, over the epochs of all: was it over when it ended?
  function trainings(all) {
    const kinds = [["Score on validation data", 2], ["Training loss", 1]];
    const select = make("select", {}, ...kinds.map(([name, at]) => make("option", { value: at }, name)));
    const canvas = make("div", { class: "canvas", role: "img", "aria-label": "Trainings epoch by epoch; the values are in the table below" });
    const named = ([label, lr]) => `${label}, lr ${text(lr)}`;
    const draw = () => plot.custom(canvas, (colour, axis) => {
      const [name, at] = kinds.find((kind) => String(kind[1]) === select.value);
      const title = (words) => ({ text: words, font: axis.title.font });
      return {
        traces: all.map((training, index) => ({ type: "scatter", mode: training[2].length > 40 ? "lines" : "lines+markers", name: plot.escape(named(training)),
          x: training[2].map((point) => point[0]), y: training[2].map((point) => point[at]), text: training[2].map((point) => plot.escape(`${named(training)}: ${text(point[at])} after epoch ${point[0]}`)),
          hovertemplate: "%{text}<extra></extra>", line: { color: colour("c" + (index % 2)), width: 2 }, marker: { size: 6 } })),
        layout: { showlegend: false, xaxis: { ...axis, title: title("epochs of all trainings") }, yaxis: { ...axis, title: title(name) }, margin: { l: 62, r: 10, t: 10, b: 46 } },
      };
    });
    select.addEventListener("change", draw);
    setTimeout(draw);
    const rows = all.flatMap((training) => training[2].map((point) => [named(training), ...point.map(text)]));
    return part("Trainings, epoch by epoch", make("p", { class: "lead" }, `${all.length === 1 ? "What the method trained" : `The ${all.length} trainings of the method, in two colours by turns`}. A line that still improves at its end was cut short by its number of epochs.`),
      make("div", { class: "controls" }, make("label", {}, "Up", select)), make("div", { class: "chart" }, canvas),
      make("details", { class: "values" }, make("summary", {}, "The values"), table("Trainings", ["Training", "Epoch", "Training loss", "Validation score"], rows, true)));
  }

  function histogram(timing) {
    const ratios = timing.samples.map(([dense, own]) => dense / own).filter(Number.isFinite);
    if (ratios.length < 2) return null;
    const canvas = make("div", { class: "canvas", role: "img", "aria-label": `Histogram of ${ratios.length} pairs, dense time over compressed time` });
    setTimeout(() => plot.custom(canvas, (colour, axis) => ({
      traces: [{ type: "bar", ...plot.bins(ratios, 40), marker: { color: colour("c0"), opacity: 0.8 }, hovertemplate: "%{x:.4f}: %{y} pairs<extra></extra>" }],
      layout: {
        bargap: 0.06, margin: { l: 40, r: 10, t: 10, b: 46 },
        xaxis: { ...axis, title: { text: "dense time / compressed time of a pair", font: axis.title.font } }, yaxis: { ...axis },
        shapes: [
          ...(timing.floor ? [{ type: "rect", yref: "paper", y0: 0, y1: 1, x0: timing.speedup / (1 + timing.floor), x1: timing.speedup * (1 + timing.floor), fillcolor: colour("soft"), opacity: 0.12, line: { width: 0 } }] : []),
          { type: "rect", yref: "paper", y0: 0, y1: 1, x0: timing.low, x1: timing.high, fillcolor: colour("accent"), opacity: 0.16, line: { width: 0 } },
          { type: "line", yref: "paper", y0: 0, y1: 1, x0: timing.speedup, x1: timing.speedup, line: { color: colour("accent"), width: 2 } },
        ],
      },
    })));
    return make("div", { class: "chart" }, make("p", { class: "note" }, `${ratios.length} pairs; the line is the median of all, the band its 95 % interval${timing.floor ? ", the wide grey one the noise floor of its machine" : ""}.`), canvas);
  }

  // Originals above, what the network makes of them below: pairs that stay together on any width.
  function gallery(cell) {
    const picture = (digest, alt) => make("img", { src: `gallery/${digest}.webp`, alt, width: "128", height: "128", loading: "lazy" });
    const pairs = cell.gallery.map(([original, restored], index) => make("li", {},
      picture(original, `Test image ${index + 1}, original`),
      picture(restored, `Test image ${index + 1}, reconstructed by ${cell.method} ${cell.setting}`.trim())));
    return part("Reconstructions", make("p", { class: "lead" }, "Test images, and below each what this network makes of it."), make("ul", { class: "gallery" }, ...pairs));
  }

  function base(cell, key) {
    const name = cell.base.cell ? make("a", { href: "cell.html#" + cell.base.cell }, cell.base.text) : make("span", {}, cell.base.text);
    return make("p", {}, "Starts from the compressed network of ", name, cell.base.cell ? "; " : ", of which there is no record here.",
      cell.base.cell ? make("a", { href: `compare.html#a=${cell.base.cell}&b=${key.slice(0, 16)}` }, "compare the two") : null, cell.base.cell ? "." : null);
  }

  // --------------------------------------------------------------------------------------------------------- page

  function draw(cell, key) {
    document.title = `${cell.method} ${cell.setting} \u00b7 ${cell.task} \u00b7 Prunemark`;
    const marks = tags(cell);
    const siblings = cell.siblings.map(([seed, id, state]) =>
      seed === cell.seed ? make("b", {}, `seed ${seed}`) : make("a", { href: "cell.html#" + id }, `seed ${seed}${state === "ok" ? "" : ` (${state})`}`));
    const list = make("p", { class: "siblings" }, ...siblings.flatMap((node, index) => (index ? [" \u00b7 ", node] : [node])));
    place.replaceChildren(...[
      make("p", { class: "crumbs" }, make("a", { href: "index.html" }, "Overview"), " / ", make("a", { href: cell.task_page }, cell.task), " / ", make("a", { href: cell.method_page }, cell.method)),
      make("h1", { class: "long" }, cell.method, " ", make("span", { class: "soft" }, cell.setting)),
      marks.length ? make("p", {}, ...marks) : null,
      list,
      cell.base ? base(cell, key) : null,
      cell.reason ? make("p", { class: "notice" }, cell.reason) : null,
      cell.owed.length ? make("div", {}, make("h2", { class: "small" }, "Owed by this row"), ...cell.owed.map(command)) : null,
      cell.command ? make("div", {}, make("h2", { class: "small" }, "The command that made it"), command(cell.command)) : null,
      make("div", { class: "halves" },
        make("div", {}, make("h2", { class: "small" }, "Numbers of this seed"),
          cell.numbers.length ? table("Numbers", ["Metric", "This", "Dense", "Difference"], cell.numbers, true) : make("p", { class: "nothing" }, "Not measured."),
          cell.logged.length ? make("h2", { class: "small" }, "What the method logged") : null, cell.logged.length ? facts(cell.logged) : null),
        make("div", {}, make("h2", { class: "small" }, "Hyperparameters"), cell.hyperparameters.length ? facts(cell.hyperparameters) : make("p", { class: "nothing" }, "None."),
          cell.hyperparameters.length ? make("p", { class: "note" }, "What they mean: ", make("a", { href: cell.method_page }, cell.method)) : null,
          cell.scaled ? make("p", { class: "note" }, cell.scaled) : null,
          cell.recipe.length ? make("h2", { class: "small" }, "Recipe of the dense model") : null, cell.recipe.length ? facts(cell.recipe) : null)),
      cell.gallery && cell.gallery.length ? gallery(cell) : null,
      cell.curve.length ? curve(cell.curve) : null,
      cell.trainings.length ? trainings(cell.trainings) : null,
      cell.timings.length ? part("Speed", ...cell.timings.map((timing) => make("div", { class: "timing" },
        make("h3", {}, timing.setup), make("div", { class: "halves" }, make("div", {}, histogram(timing)), make("div", {}, facts(timing.facts), make("p", { class: "note" }, make("a", { href: timing.machine_page }, "The machine and its noise floor")))), command(timing.command)))) : null,
      cell.memory.length ? part("Memory", table("Memory", ["Conditions", "Peak", "Dense"], cell.memory, true)) : null,
      cell.energy.length ? part("Energy", table("Energy", ["Conditions", "Per image", "Dense"], cell.energy, true)) : null,
      cell.provenance.length ? part("Provenance", facts(cell.provenance)) : null,
      cell.history.length ? part("History", table("History", ["When", "Run", "What", "Machine", "Result", "Counts as"], cell.history, false)) : null,
    ].filter(Boolean));
  }

  function show() {
    const id = location.hash.slice(1).toLowerCase();
    if (!/^[0-9a-f]{4,64}$/.test(id)) return fail(place, "Which cell?", "The address of this page ends with a cell's id: cell.html#0123456789abcdef.");
    return find(place, id).then((found) => {
      if (!found) return fail(place, "No such cell", `No record here belongs to a cell whose id begins with ${id}.`);
      return draw(found.cell, found.key);
    });
  }

  window.addEventListener("hashchange", () => { show(); window.scrollTo(0, 0); });
  show();
})();
