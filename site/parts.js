// What the pages of one cell and of two share: finding a cell in its shard, tables, lists of facts.
(function () {
  "use strict";
  const { make, shard } = window.prunemark;

  function table(caption, head, rows, numbers) {
    const entry = (content) => (content instanceof Node ? [content] : [String(content)]);
    const cells = (row) => row.map((each, index) => make(index ? "td" : "th", index ? { class: numbers ? "number" : null } : { scope: "row" }, ...entry(each)));
    return make("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
      make("table", { class: "plain" }, make("caption", { class: "hide" }, caption),
        make("thead", {}, make("tr", {}, ...head.map((each, index) => make("th", { scope: "col", class: index && numbers ? "number" : null }, ...entry(each))))),
        make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row))))));
  }

  function facts(pairs) {
    return make("dl", { class: "facts" }, ...pairs.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text))));
  }

  function part(title, ...children) {
    return make("section", { class: "part" }, make("h2", {}, title), ...children);
  }

  function command(text) {
    return make("p", {}, make("code", { class: "command" }, text));
  }

  function text(value) {
    if (value === undefined || value === null) return "\u2013";
    return typeof value === "number" ? String(Number(value.toPrecision(5))) : String(value);
  }

  function tags(cell) {
    return [cell.profile !== "full" ? make("span", { class: "tag " + cell.profile }, cell.profile + " profile") : null,
      cell.state !== "ok" ? make("span", { class: "tag " + cell.state }, cell.state) : null].filter(Boolean);
  }

  function fail(place, title, text) {
    place.replaceChildren(make("h1", {}, title), make("p", { class: "lead" }, text), make("p", {}, make("a", { href: "index.html" }, "Back to the overview")));
  }

  // The cell whose id begins so, {key, cell}, or null. `place` knows by how many characters shards are named.
  function find(place, id) {
    return shard("cells-" + id.slice(0, Number(place.dataset.digits))).catch(() => ({})).then((cells) => {
      const key = Object.keys(cells || {}).find((each) => each.startsWith(id));
      return key ? { key, cell: cells[key] } : null;
    });
  }

  window.prunemark.parts = { table, facts, part, command, text, tags, fail, find };
})();
