// Draws compare.html#a=<id>&b=<id>: two cells side by side, with differences, and what their intervals allow to be said.
(function () {
  "use strict";
  const { make, plot } = window.prunemark;
  const { table, facts, part, command, text, tags, find, fail } = window.prunemark.parts;
  const place = document.getElementById("compare");
  const NOTHING = "\u2013";
  const COSTS = [["speedup", "Speed-up over dense", times], ["compressed_seconds", "Time of one pass", (v) => unit(v, [["s", 1], ["ms", 1e-3], ["\u00b5s", 1e-6], ["ns", 1e-9]])],
    ["peak_bytes", "Peak memory", bytes], ["joules", "Energy of one image", (v) => unit(v, [["J", 1], ["mJ", 1e-3], ["\u00b5J", 1e-6]])]];

  // ----------------------------------------------------------------------------------------------------- quantities

  function minus(shown) { return shown.replace("-", "\u2212"); }
  function three(value) { return value < 999.5 ? value.toPrecision(3) : value.toFixed(0); }
  function times(value) { return value.toFixed(value < 100 ? 2 : 0) + "\u00d7"; }
  function unit(value, units) {
    const [name, length] = units.find(([, each]) => Math.abs(value) >= each) || units[units.length - 1];
    return three(value / length) + "\u202f" + name;
  }
  function bytes(value) { return unit(value, [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10], ["B", 1]]); }
  function count(value) { return value < 1000 ? String(value) : unit(value, [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]); }

  function quality(kind, value) {
    if (kind === "percent") return minus((100 * value).toFixed(2)) + " %";
    if (kind === "bytes") return bytes(value);
    return kind === "count" ? count(value) : minus(String(Number(value.toPrecision(4)))) + (kind === "decibel" ? " dB" : "");
  }

  // B against A: points of a percentage, a difference of other qualities, a ratio of what is counted.
  function change(kind, a, b) {
    if (kind === "count" || kind === "bytes") return a > 0 ? times(b / a) : NOTHING;
    const shown = kind === "percent" ? (100 * (b - a)).toFixed(2) : String(Number((b - a).toPrecision(3)));
    return (b > a && Number(shown) ? "+" : "") + minus(shown) + (kind === "percent" ? " points" : "");
  }

  // ----------------------------------------------------------------------------------------------------------- parts

  function name(cell) { return `${cell.method} ${cell.setting}`.trim(); }

  function heading({ key, cell }, letter) {
    return make("div", { class: "side" }, make("p", { class: "letter" }, letter),
      make("h2", { class: "long" }, make("a", { href: "cell.html#" + key.slice(0, 16) }, cell.method), " ", make("span", { class: "soft" }, cell.setting)),
      make("p", {}, make("a", { href: cell.task_page }, cell.task), `, seed ${cell.seed} `, ...tags(cell)),
      cell.over_seeds.length ? make("p", { class: "note" }, "Over seeds: " + cell.over_seeds.join(", ")) : null,
      cell.reason ? make("p", { class: "notice" }, cell.reason) : null,
      cell.command ? command(cell.command) : null);
  }

  // Two cells of different networks or data have different dense models: nothing below compares them.
  function warnings(a, b) {
    const found = [];
    if (a.task_page !== b.task_page) found.push("The two are of different tasks: their accuracies and speed-ups are against different dense networks.");
    if (a.profile !== b.profile) found.push("The two were trained under different profiles.");
    else if (a.task_page === b.task_page && a.data_sha256 !== b.data_sha256) found.push("The two were evaluated on different data: their accuracies do not compare.");
    if (a.seed !== b.seed) found.push("The two have different seeds, so they start from different dense networks.");
    return found.map((each) => make("p", { class: "notice" }, each));
  }

  function numbers(a, b) {
    const names = [...new Set([...Object.keys(a.metrics), ...Object.keys(b.metrics)])];
    const rows = names.map((each) => {
      const [mine, other] = [a.metrics[each], b.metrics[each]];
      const [label, kind] = mine || other;
      return [label, mine ? quality(kind, mine[2]) : NOTHING, other ? quality(kind, other[2]) : NOTHING, mine && other ? change(kind, mine[2], other[2]) : NOTHING];
    });
    return part("Numbers", rows.length ? table("Numbers of both cells", ["Metric", "A", "B", "B against A"], rows, true) : make("p", { class: "nothing" }, "Neither was measured."),
      make("p", { class: "note" }, "One seed each: how far seeds differ stands above. Counts and sizes as a ratio, B / A."));
  }

  // The rule of the ranks: one is faster where its whole interval, widened by the noise floor, lies above the other's.
  function verdict(one, two) {
    if (!one.comparable || !two.comparable) return "one of them is stale, contended or simulated: no verdict";
    if ([one.low, one.high, two.low, two.high].includes(null)) return "no interval: no verdict";
    if (one.low / (1 + Math.max(one.floor, two.floor)) > two.high) return "A is faster: the intervals do not overlap";
    if (two.low / (1 + Math.max(one.floor, two.floor)) > one.high) return "B is faster: the intervals do not overlap";
    return "no difference shown: the intervals, widened by the noise floor, overlap";
  }

  function costs(a, b, sameTask) {
    const common = a.costs.map((one) => [one, b.costs.find((two) => two.setup === one.setup)]).filter(([, two]) => two);
    const blocks = common.map(([one, two]) => {
      const rows = COSTS.filter(([each]) => one[each] !== null || two[each] !== null).map(([each, label, spelled]) => {
        const [mine, other] = [one[each], two[each]];
        return [label, mine === null ? NOTHING : spelled(mine), other === null ? NOTHING : spelled(other), mine !== null && other !== null && mine > 0 ? times(other / mine) : NOTHING];
      });
      const interval = (cost) => (cost.low === null ? NOTHING : `${cost.low.toFixed(2)} to ${cost.high.toFixed(2)}`);
      if (one.speedup !== null || two.speedup !== null) rows.splice(1, 0, ["95 % interval of that", interval(one), interval(two), ""]);
      if (one.words.length || two.words.length) rows.push(["to be read with care", one.words.join(", ") || NOTHING, two.words.join(", ") || NOTHING, ""]);
      const said = sameTask && one.speedup !== null && two.speedup !== null ? make("p", { class: "verdict" }, verdict(one, two)) : null;
      return make("div", { class: "timing" }, make("h3", {}, one.setup), said, table(one.setup, ["Cost", "A", "B", "B / A"], rows, true));
    });
    const only = (own, other) => own.costs.filter((cost) => !other.costs.some((each) => each.setup === cost.setup)).map((cost) => cost.setup);
    const lone = [["A", only(a, b)], ["B", only(b, a)]].filter(([, setups]) => setups.length);
    return part("Cost", ...blocks, blocks.length ? null : make("p", { class: "nothing" }, "The two were not measured in one and the same setup."),
      ...lone.map(([letter, setups]) => make("p", { class: "note" }, `Only ${letter} was measured with: ${setups.join("; ")}`)));
  }

  function curves(a, b) {
    const named = (curve) => new Set(curve.flatMap((point) => Object.keys(point).filter((each) => typeof point[each] === "number")));
    const names = [...named(a.curve)].filter((each) => named(b.curve).has(each));
    if (a.curve.length < 2 || b.curve.length < 2 || names.length < 2) return null;
    const pick = (chosen, label) => {
      const select = make("select", {}, ...names.map((each) => make("option", {}, each)));
      select.value = chosen;
      return [make("label", {}, label, select), select];
    };
    const score = names.find((each) => each === "val" || each.startsWith("val/")) || names.find((each) => each !== "step");
    const [yLabel, y] = pick(score, "Up");
    const [xLabel, x] = pick(names.includes("step") ? "step" : names[0], "Across");
    const canvas = make("div", { class: "canvas", role: "img", "aria-label": "The curves of both cells; their values are on the cells' own pages" });
    const draw = () => plot.custom(canvas, (colour, axis) => {
      const trace = (cell, letter, index) => {
        const kept = cell.curve.filter((point) => typeof point[x.value] === "number" && typeof point[y.value] === "number");
        return { type: "scatter", mode: "lines+markers", x: kept.map((p) => p[x.value]), y: kept.map((p) => p[y.value]),
          text: kept.map((point) => plot.escape(`${letter}: ` + Object.entries(point).map(([each, value]) => `${each} ${text(value)}`).join(", "))),
          hovertemplate: "%{text}<extra></extra>", line: { color: colour("c" + index), width: 2, dash: index ? "dash" : "solid" },
          marker: { size: 8, symbol: index ? "square" : "circle", color: colour("c" + index) } };
      };
      const title = (each) => ({ text: plot.escape(each), font: axis.title.font });
      return { traces: [trace(a, "A", 0), trace(b, "B", 1)],
        layout: { xaxis: { ...axis, title: title(x.value) }, yaxis: { ...axis, title: title(y.value) }, margin: { l: 62, r: 10, t: 10, b: 46 } } };
    });
    x.addEventListener("change", draw);
    y.addEventListener("change", draw);
    setTimeout(draw);
    return part("Curves", make("p", { class: "note" }, "A: circles, solid. B: squares, dashed. As the methods logged them, on validation data."),
      make("div", { class: "controls" }, yLabel, xLabel), make("div", { class: "chart" }, canvas));
  }

  // Only what differs is worth a reader's time; what is the same is one line.
  function differences(title, one, two) {
    const [mine, other] = [new Map(one), new Map(two)];
    const names = [...new Set([...mine.keys(), ...other.keys()])];
    const apart = names.filter((each) => mine.get(each) !== other.get(each));
    const same = names.length - apart.length;
    const value = (map, each) => (map.has(each) ? map.get(each) : NOTHING);
    const more = `${same} more ${same === 1 ? "is" : "are"} the same.`;
    return part(title, apart.length ? table(title, ["What", "A", "B"], apart.map((each) => [each, value(mine, each), value(other, each)]), false) : null,
      names.length ? (same ? make("p", { class: "note" }, apart.length ? more : "All the same.") : null) : make("p", { class: "nothing" }, "None."),
      same ? make("details", { class: "values" }, make("summary", {}, "What is the same"), facts(names.filter((each) => !apart.includes(each)).map((each) => [each, mine.get(each)]))) : null);
  }

  // ------------------------------------------------------------------------------------------------------------ page

  function draw(one, two) {
    const [a, b] = [one.cell, two.cell];
    document.title = `${name(a)} and ${name(b)} \u00b7 Prunemark`;
    const turned = `#a=${two.key.slice(0, 16)}&b=${one.key.slice(0, 16)}`;
    place.replaceChildren(...[
      make("p", { class: "crumbs" }, make("a", { href: "index.html" }, "Overview"), " / ", make("a", { href: a.task_page }, a.task)),
      make("h1", { class: "long" }, "Two cells side by side"),
      ...warnings(a, b),
      make("div", { class: "sides" }, heading(one, "A"), heading(two, "B")),
      make("p", {}, make("a", { href: turned }, "Swap A and B")),
      numbers(a, b),
      costs(a, b, a.task_page === b.task_page),
      curves(a, b),
      differences("Hyperparameters", a.hyperparameters, b.hyperparameters),
      differences("Recipe of the dense model", a.recipe, b.recipe),
      differences("Provenance", a.provenance, b.provenance),
    ].filter(Boolean));
  }

  function show() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const ids = ["a", "b"].map((letter) => (asked.get(letter) || "").toLowerCase());
    if (!ids.every((id) => /^[0-9a-f]{4,64}$/.test(id))) {
      return fail(place, "Which two cells?", "Tick two rows of a task's table, or end this page's address with two ids: compare.html#a=0123456789abcdef&b=fedcba9876543210.");
    }
    return Promise.all(ids.map((id) => find(place, id))).then((found) => {
      const lost = found.indexOf(null);
      if (lost >= 0) return fail(place, "No such cell", `No record here belongs to a cell whose id begins with ${ids[lost]}.`);
      return draw(...found);
    });
  }

  window.addEventListener("hashchange", () => { show(); window.scrollTo(0, 0); });
  show();
})();
