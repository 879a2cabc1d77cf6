// Draws cell.html#<id> from the shard that has the cell. Texts come from the suite; here they are only placed.
(function () {
  "use strict";
  const { make, shard, plot } = window.prunemark;
  const place = document.getElementById("cell");

  function table(caption, head, rows, numbers) {
    const cells = (row) => row.map((text, index) => make(index ? "td" : "th", index ? { class: numbers ? "number" : null } : { scope: "row" }, text));
    return make("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
      make("table", { class: "plain" }, make("caption", { class: "hide" }, caption),
        make("thead", {}, make("tr", {}, ...head.map((text, index) => make("th", { scope: "col", class: index && numbers ? "number" : null }, text)))),
        make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row))))));
  }

  function facts(pairs) {
    return make("dl", { class: "facts" }, ...pairs.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text))));
  }

  function part(title, ...children) {
    return make("section", { class: "part" }, make("h2", {}, title), ...children);
  }

  function fail(title, text) {
    place.replaceChildren(make("h1", {}, title), make("p", { class: "lead" }, text), make("p", {}, make("a", { href: "index.html" }, "Back to the overview")));
  }

  function command(text) {
    return make("p", {}, make("code", { class: "command" }, text));
  }

  // ------------------------------------------------------------------------------------------------------- charts

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
      return {
        traces: [{ type: "scatter", mode: "lines+markers", x: kept.map((p) => p[x.value]), y: kept.map((p) => p[y.value]), line: { color: colour("c0"), width: 2 }, marker: { size: 7 } }],
        layout: { xaxis: { ...axis, title: { text: plot.escape(x.value), font: axis.title.font } }, yaxis: { ...axis, title: { text: plot.escape(y.value), font: axis.title.font } }, margin: { l: 62, r: 10, t: 10, b: 46 } },
      };
    });
    x.addEventListener("change", draw);
    y.addEventListener("change", draw);
    setTimeout(draw);
    const all = [...new Set(points.flatMap((point) => Object.keys(point)))];
    const text = (value) => (value === undefined || value === null ? "\u2013" : typeof value === "number" ? String(Number(value.toPrecision(5))) : String(value));
    return part("Curve", make("p", { class: "lead" }, "What the method logged on its way, on validation data."),
      make("div", { class: "controls" }, yLabel, xLabel), make("div", { class: "chart" }, canvas),
      make("details", { class: "values" }, make("summary", {}, "The values"), table("Curve", all, points.map((point) => all.map((name) => text(point[name]))), true)));
  }

  function histogram(timing) {
    const ratios = timing.samples.map(([dense, own]) => dense / own).filter(Number.isFinite);
    if (ratios.length < 2) return null;
    const canvas = make("div", { class: "canvas", role: "img", "aria-label": `Histogram of ${ratios.length} pairs, dense time over compressed time` });
    setTimeout(() => plot.custom(canvas, (colour, axis) => ({
      traces: [{ type: "histogram", x: ratios, nbinsx: 40, marker: { color: colour("c0"), opacity: 0.8 }, hovertemplate: "%{x}: %{y} pairs<extra></extra>" }],
      layout: {
        bargap: 0.06, margin: { l: 40, r: 10, t: 10, b: 46 },
        xaxis: { ...axis, title: { text: "dense time / compressed time of a pair", font: axis.title.font } }, yaxis: { ...axis },
        shapes: [
          { type: "rect", yref: "paper", y0: 0, y1: 1, x0: timing.low, x1: timing.high, fillcolor: colour("accent"), opacity: 0.16, line: { width: 0 } },
          { type: "line", yref: "paper", y0: 0, y1: 1, x0: timing.speedup, x1: timing.speedup, line: { color: colour("accent"), width: 2 } },
        ],
      },
    })));
    return make("div", { class: "chart" }, make("p", { class: "note" }, `${ratios.length} pairs; the line is the median of all, the band its 95 % interval.`), canvas);
  }

  // --------------------------------------------------------------------------------------------------------- page

  function draw(cell, key) {
    document.title = `${cell.method} ${cell.setting} \u00b7 ${cell.task} \u00b7 Prunemark`;
    const tags = [cell.profile !== "full" ? make("span", { class: "tag " + cell.profile }, cell.profile + " profile") : null,
      cell.state !== "ok" ? make("span", { class: "tag " + cell.state }, cell.state) : null].filter(Boolean);
    const siblings = cell.siblings.map(([seed, id, state]) =>
      seed === cell.seed ? make("b", {}, `seed ${seed}`) : make("a", { href: "cell.html#" + id }, `seed ${seed}${state === "ok" ? "" : ` (${state})`}`));
    const list = make("p", { class: "siblings" }, ...siblings.flatMap((node, index) => (index ? [" \u00b7 ", node] : [node])));
    place.replaceChildren(...[
      make("p", { class: "crumbs" }, make("a", { href: "index.html" }, "Overview"), " / ", make("a", { href: cell.task_page }, cell.task), " / ", make("a", { href: cell.method_page }, cell.method)),
      make("h1", { class: "long" }, cell.method, " ", make("span", { class: "soft" }, cell.setting)),
      tags.length ? make("p", {}, ...tags) : null,
      list,
      cell.reason ? make("p", { class: "notice" }, cell.reason) : null,
      cell.owed.length ? make("div", {}, make("h2", { class: "small" }, "Owed by this row"), ...cell.owed.map(command)) : null,
      cell.command ? make("div", {}, make("h2", { class: "small" }, "The command that made it"), command(cell.command)) : null,
      make("div", { class: "halves" },
        make("div", {}, make("h2", { class: "small" }, "Numbers of this seed"),
          cell.numbers.length ? table("Numbers", ["Metric", "This", "Dense", "Difference"], cell.numbers, true) : make("p", { class: "nothing" }, "Not measured.")),
        make("div", {}, make("h2", { class: "small" }, "Hyperparameters"), cell.hyperparameters.length ? facts(cell.hyperparameters) : make("p", { class: "nothing" }, "None."),
          cell.recipe.length ? make("h2", { class: "small" }, "Recipe of the dense model") : null, cell.recipe.length ? facts(cell.recipe) : null)),
      cell.curve.length ? curve(cell.curve) : null,
      cell.timings.length ? part("Speed", ...cell.timings.map((timing) => make("div", { class: "timing" },
        make("h3", {}, timing.setup), make("div", { class: "halves" }, make("div", {}, histogram(timing)), make("div", {}, facts(timing.facts))), command(timing.command)))) : null,
      cell.memory.length ? part("Memory", table("Memory", ["Conditions", "Peak", "Dense"], cell.memory, true)) : null,
      cell.provenance.length ? part("Provenance", facts(cell.provenance)) : null,
      cell.history.length ? part("History", table("History", ["When", "What", "Machine", "Result", "Counts as"], cell.history, false)) : null,
    ].filter(Boolean));
  }

  function show() {
    const id = location.hash.slice(1).toLowerCase();
    if (!/^[0-9a-f]{4,64}$/.test(id)) return fail("Which cell?", "The address of this page ends with a cell's id: cell.html#0123456789abcdef.");
    const digits = Number(place.dataset.digits);
    return shard("cells-" + id.slice(0, digits)).catch(() => ({})).then((cells) => {
      const key = Object.keys(cells || {}).find((each) => each.startsWith(id));
      if (!key) return fail("No such cell", `No record here belongs to a cell whose id begins with ${id}.`);
      return draw(cells[key], key);
    });
  }

  window.addEventListener("hashchange", () => { show(); window.scrollTo(0, 0); });
  show();
})();
