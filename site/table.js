// Sorts, filters and draws the tables of a task page. The texts come from the shard, made by the suite; this script
// only chooses and places them, with the same markup as templates/table.html. Choices live in the URL's fragment:
// #full-3f3f3f3f.q=l1&full-3f3f3f3f.sort=-speedup
(function () {
  "use strict";
  const { make, shard } = window.prunemark;
  const PAGE = 50;
  const FACETS = ["machine", "device", "batch_size", "threads", "backend", "precision", "cache", "timing"];
  const FIELDS = ["q", "family", "state", "setup", "sort", "cols", ...FACETS];
  const NOTHING = ["\u2013", "", null, []];
  const ELSEWHERE = "speedup@";

  // ------------------------------------------------------------------------------------------------ the fragment

  function readFragment() {
    const found = {};
    for (const part of location.hash.slice(1).split("&")) {
      const at = part.indexOf("=");
      if (at < 0) continue;
      try { found[decodeURIComponent(part.slice(0, at))] = decodeURIComponent(part.slice(at + 1)); } catch (error) { /* no choice of ours */ }
    }
    return found;
  }

  // A choice is a step that "back" undoes; a letter typed into the search field is not.
  function writeFragment(changes, step) {
    const all = { ...readFragment(), ...changes };
    const text = Object.entries(all).filter(([, value]) => value).map(([key, value]) => encodeURIComponent(key) + "=" + encodeURIComponent(value)).join("&");
    const address = text ? "#" + text : location.pathname + location.search;
    if (step) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
  }

  // ---------------------------------------------------------------------------------------------- two rows to compare

  const picks = (function () {
    const names = new Map();  // every cell of the page by its row's name
    const redraw = [];
    const bar = make("div", { class: "compare", role: "region", "aria-label": "Comparison", "aria-live": "polite", hidden: true });
    const chosen = () => (readFragment().pick || "").split(",").filter((cell) => /^[0-9a-f]{4,64}$/.test(cell)).slice(0, 2);

    function toggle(cell, on) {
      const kept = chosen().filter((each) => each !== cell);
      writeFragment({ pick: (on ? [...kept, cell].slice(-2) : kept).join(",") }, true);
      show();
    }

    function show() {
      const cells = chosen();
      const named = cells.map((cell) => make("b", {}, names.get(cell) || "a cell of another page"));
      bar.hidden = !cells.length;
      bar.replaceChildren(
        make("span", {}, ...named.flatMap((node, index) => (index ? [" and ", node] : [node])), cells.length === 1 ? ": tick a second row to compare" : null),
        cells.length === 2 ? make("a", { class: "go", href: `compare.html#a=${cells[0]}&b=${cells[1]}` }, "Compare") : "",
        make("button", { type: "button" }, "Clear"));
      bar.lastChild.addEventListener("click", () => { writeFragment({ pick: "" }, true); show(); });
      for (const each of redraw) each(cells);
    }

    function box(row) {
      const input = make("input", { type: "checkbox", class: "pick", "data-cell": row.cell, "aria-label": `Compare ${row.method} ${row.setting}`.trim(), title: "Tick two rows to compare them" });
      input.checked = chosen().includes(row.cell);
      input.addEventListener("change", () => toggle(row.cell, input.checked));
      return input;
    }

    return { names, redraw, bar, show, box };
  })();

  // ---------------------------------------------------------------------------------------------------- one board

  function start(section) {
    const table = section.querySelector("table[data-board]");
    const form = section.querySelector("[data-controls]");
    const menu = section.querySelector("[data-columns] > div");
    const tally = section.querySelector("[data-tally]");
    const more = section.querySelector("[data-more]");
    const slug = section.id;
    let data = null;
    let size = PAGE;
    let choice = {};
    let place = 0;  // of the setup that the table shows

    function entry(row, key) {
      if (key.startsWith(ELSEWHERE)) return (row.by_setup[Number(key.slice(ELSEWHERE.length))] || {}).speedup || NOTHING;
      return (row.by_setup[place] || {})[key] || row.fixed[key] || NOTHING;
    }

    function unbeaten(row) {
      return Boolean(row.front[place]);
    }

    // How a row was timed in a setup: what the setup says, but for an INT8 network, which says what differs.
    function timedAs(row, setup) {
      if (!row.timed[setup]) return null;
      return row.timed[setup] === 1 ? data.facets[setup] : { ...data.facets[setup], ...row.timed[setup] };
    }

    // What a row computes in, wherever it was timed.
    function precisions(row) {
      return data.setups.map((_, setup) => (timedAs(row, setup) || {}).precision || "");
    }

    function suits(row, setup, wishes) {
      const facts = wishes.length ? timedAs(row, setup) : null;
      return !wishes.length || Boolean(facts && wishes.every(([name, value]) => facts[name] === value));
    }

    function wishes() {
      return FACETS.filter((name) => choice[name]).map((name) => [name, choice[name]]);
    }

    // The setup that is shown: the chosen one if any row in it suits the filters, else the first one where one does.
    function settle() {
      const asked = wishes();
      const fitting = data.setups.map((_, setup) => !asked.length || data.rows.some((row) => suits(row, setup, asked)));
      const wanted = data.setups.indexOf(choice.setup);
      const first = fitting.indexOf(true);
      const before = place;
      place = wanted >= 0 && (fitting[wanted] || first < 0) ? wanted : Math.max(0, first);
      const select = form.elements.setup;
      if (select) {
        select.selectedIndex = place;
        fitting.forEach((fits, setup) => { select.options[setup].disabled = !fits && first >= 0; });
      }
      if (place !== before) announce();
    }

    function rowsWanted() {
      const words = (choice.q || "").toLowerCase().split(/\s+/).filter(Boolean);
      const asked = wishes();
      return data.rows.filter((row) => words.every((word) => row.text.includes(word)) && (!choice.family || row.family === choice.family) &&
        (!choice.state || (choice.state === "unbeaten" ? unbeaten(row) : row.state === choice.state || row.badges.some((badge) => badge[0] === choice.state))) &&
        suits(row, place, asked));
    }

    function rowsInOrder() {
      const rows = rowsWanted();
      const key = (choice.sort || "").replace(/^-/, "");
      const sign = (choice.sort || "").startsWith("-") ? -1 : 1;
      if (key === "name") return rows.sort((a, b) => sign * (a.byName - b.byName));
      if (!data.columns.some((column) => column.key === key)) return rows;
      const values = new Map(rows.map((row) => [row, entry(row, key)[2]]));
      return rows.sort((a, b) => {
        const [x, y] = [values.get(a), values.get(b)];
        if (x === null || y === null) return (x === null) - (y === null);  // what was not measured stands last, either way
        return sign * (x - y);
      });
    }

    function columns() {
      const keys = choice.cols ? choice.cols.split(",") : null;
      return data.columns.filter((column) => (keys ? keys.includes(column.key) : column.shown));
    }

    // ------------------------------------------------------------------------------------------------- drawing

    function draw() {
      const began = performance.now();
      settle();
      const rows = rowsInOrder();
      const seen = columns();
      table.tHead.rows[0].replaceChildren(drawHead({ key: "name", label: "Method", unit: "and setting", title: "", better: "low" }), ...seen.map(drawHead));
      const none = rows.length ? [] : [make("tr", {}, make("td", { class: "none", colspan: seen.length + 1 }, "No row is like that."))];
      table.tBodies[0].replaceChildren(...rows.slice(0, size).map((row) => drawRow(row, seen)), ...none);
      more.hidden = rows.length <= size;
      const all = `${data.rows.length} row${data.rows.length === 1 ? "" : "s"}`;
      const some = rows.length === data.rows.length ? all : `${rows.length} of ${all}`;
      const part = rows.length > size ? `, the first ${size} shown` : "";
      tally.textContent = some + part + (data.setups.length ? " \u00b7 timed with " + data.setups[place] : "");
      section.dataset.drawn = (performance.now() - began).toFixed(1);  // milliseconds, for the benchmark
    }

    function drawHead(column) {
      const order = choice.sort || data.order;
      const sorted = column.key === order.replace(/^-/, "");
      const small = column.unit ? make("small", {}, column.unit) : null;
      const button = make("button", { type: "button" }, make("span", {}, column.label), small);
      const first = column.better === "high" ? "-" : "";
      button.addEventListener("click", () => {
        const again = order === first + column.key;
        change({ sort: again ? (first ? column.key : "-" + column.key) : first + column.key });
        table.tHead.querySelector(`th[data-key="${column.key}"] button`).focus();
      });
      return make("th", { scope: "col", "data-key": column.key, title: column.title || null,
        "aria-sort": sorted ? (order.startsWith("-") ? "descending" : "ascending") : null }, button);
    }

    function drawRow(row, seen) {
      const mark = data.marks[row.method];
      const symbol = make("svg", { class: `mark ${mark.colour}${mark.hollow ? " hollow" : ""}`, viewBox: "-8 -8 16 16", "aria-hidden": "true" },
        make("path", { class: "point", d: mark.path }));
      const name = make("th", { scope: "row" }, picks.box(row),
        make("a", { class: "method", href: encodeURI(row.page).replace(/\+/g, "%2B") }, symbol, row.method),
        make("a", { class: "setting", href: "cell.html#" + row.cell }, row.setting || "as it is"),
        unbeaten(row) ? make("span", { class: "tick", title: `No row is certainly ahead of it in both ${data.headline} and speed` }, "unbeaten") : null,
        ...row.badges.map((badge) => drawBadge(badge, row)));
      const head = data.order.replace(/^-/, "");
      const cells = seen.map(({ key }) => {
        const [text, sub, , , mark] = entry(row, key);
        return make("td", { class: key.split("@")[0] + (key === head ? " head" : "") }, text,
          mark ? make("i", { class: "how" }, mark) : null, sub ? make("small", {}, sub) : null);
      });
      return make("tr", { class: row.state + (unbeaten(row) ? " unbeaten" : "") }, name, ...cells);
    }

    function drawBadge([kind, text], row) {
      return make("details", { class: "badge " + kind }, make("summary", {}, text),
        row.reason ? make("p", {}, row.reason) : null,
        ...row.owed.map((command) => make("p", {}, make("code", { class: "command" }, command))),
        !row.owed.length && row.state === "stale" ? make("p", {}, "This checkout cannot measure it again.") : null);
    }

    function drawMenu() {
      menu.replaceChildren(...data.columns.map((column) => make("label", { title: column.title },
        make("input", { type: "checkbox", "data-column": column.key }), `${column.label}${column.unit ? ` (${column.unit})` : ""}`)));
    }

    // ---------------------------------------------------------------------------------------------- what readers do

    function change(fields, step = true) {
      choice = { ...choice, ...fields };
      size = PAGE;
      writeFragment(Object.fromEntries(FIELDS.map((field) => [slug + "." + field, choice[field] || ""])), step);
      draw();
    }

    // plots.js draws the speed-ups of the setup that the table shows: after the table, for plotly takes its time
    function announce() {
      requestAnimationFrame(() => setTimeout(() => section.dispatchEvent(new CustomEvent("setupchange", { detail: place }))));
    }

    function take(fragment) {
      choice = {};
      for (const field of FIELDS) if (fragment[slug + "." + field]) choice[field] = fragment[slug + "." + field];
      if (choice.cols) {
        const known = choice.cols.split(",").filter((key) => data.columns.some((column) => column.key === key));
        if (known.length) choice.cols = known.join(",");
        else delete choice.cols;
      }
      for (const field of ["q", "family", "state", ...FACETS]) {
        const input = form.elements[field];
        if (!input) { delete choice[field]; continue; }
        input.value = choice[field] || "";
        if (input.tagName === "SELECT" && input.selectedIndex < 0) { input.selectedIndex = 0; delete choice[field]; }
        if (choice[field] && FACETS.includes(field)) input.closest("details").open = true;
      }
      const seen = columns().map((column) => column.key);
      for (const input of menu.querySelectorAll("input")) input.checked = seen.includes(input.dataset.column);
      return Object.keys(choice).length > 0;
    }

    function chooseColumns() {
      const keys = [...menu.querySelectorAll("input:checked")].map((input) => input.dataset.column);
      const usual = data.columns.filter((column) => column.shown).map((column) => column.key);
      change({ cols: keys.join() === usual.join() || !keys.length ? "" : keys.join() });
      if (!keys.length) take(readFragment());
    }

    // ----------------------------------------------------------------------------------------------------- downloads

    function download(kind) {
      const rows = rowsInOrder().map((row) => flat(row, kind));
      const text = kind === "json" ? JSON.stringify(rows, null, 1) + "\n" : csv(rows);
      const link = make("a", { download: `prunemark-${data.task}-${slug}.${kind}` });
      link.href = URL.createObjectURL(new Blob([text], { type: kind === "json" ? "application/json" : "text/csv" }));
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }

    // What tells a row from others, and the shown columns, in base units and under the names of records.
    function flat(row, kind) {
      const found = { task: row.task, profile: row.profile, data_sha256: row.data_sha256, method: row.method, family: row.family,
        hyperparameters: kind === "json" ? row.hyperparameters : JSON.stringify(row.hyperparameters), state: row.state, reason: row.reason };
      const facts = timedAs(row, place) || {};
      for (const name of FACETS) {
        const value = facts[name] === undefined ? null : facts[name];
        if (name !== "timing" || value !== null) found[name] = /^\d{1,9}$/.test(value || "") ? Number(value) : value;
      }
      for (const column of columns()) {
        const values = entry(row, column.key)[3];
        column.fields.forEach((name, index) => { found[name] = values[index] === undefined ? null : values[index]; });
      }
      found.refresh = row.owed.join("; ") || null;
      found.cell = row.cell;
      return found;
    }

    function copy() {
      const say = (text) => { const before = tally.textContent; tally.textContent = text; setTimeout(() => { if (tally.textContent === text) tally.textContent = before; }, 2500); };
      const byHand = () => say("The link is in the address bar.");
      if (!navigator.clipboard) return byHand();
      return navigator.clipboard.writeText(location.href).then(() => say("Link copied."), byHand);
    }

    form.addEventListener("input", (event) => {
      if (event.target.dataset.column) chooseColumns();
      else if (event.target.name) change({ [event.target.name]: event.target.value }, event.target.name !== "q");
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(() => {
      change(Object.fromEntries(FIELDS.map((field) => [field, ""])));
      take(readFragment());
    }));
    form.addEventListener("click", (event) => {
      if (event.target.dataset.download) download(event.target.dataset.download);
      if ("copy" in event.target.dataset) copy();
    });
    document.addEventListener("click", (event) => {
      for (const open of form.querySelectorAll("details[open]")) if (!open.contains(event.target)) open.open = false;
    });
    form.addEventListener("keydown", (event) => {
      const open = event.key === "Escape" && event.target.closest("details[open]");
      if (open) { open.open = false; open.firstElementChild.focus(); }
    });
    more.firstElementChild.addEventListener("click", () => {
      const last = size;
      size = size < 4 * PAGE ? 4 * PAGE : 2 * size;
      draw();
      table.tBodies[0].rows[last].querySelector("a").focus();
    });
    picks.redraw.push((cells) => table.querySelectorAll("input.pick").forEach((input) => { input.checked = cells.includes(input.dataset.cell); }));

    return shard(section.dataset.shard).then((found) => {
      data = found;
      const collator = new Intl.Collator("en", { numeric: true });
      for (const row of data.rows) {
        row.text = [row.method, row.setting, row.family, row.state, ...precisions(row), ...row.badges.map((badge) => badge[1])].join(" ").toLowerCase();
        picks.names.set(row.cell, `${row.method} ${row.setting}`.trim());
      }
      data.rows.map((row) => [picks.names.get(row.cell), row]).sort((a, b) => collator.compare(a[0], b[0])).forEach(([, row], index) => { row.byName = index; });
      data.task = data.rows.length ? data.rows[0].task.replace(/[^\w+.-]+/g, "-").slice(0, 60) : "rows";
      drawMenu();
      form.hidden = false;
      const asked = take(readFragment());
      draw();
      if (asked) section.scrollIntoView();
      window.addEventListener("hashchange", () => { take(readFragment()); size = PAGE; draw(); });
    });
  }

  // A text that a spreadsheet would take for a formula gets an apostrophe in front, as in exports.py.
  function csv(rows) {
    const header = rows.length ? Object.keys(rows[0]) : ["task"];
    const field = (value) => {
      if (value === null || value === undefined) return "";
      if (typeof value !== "string") return String(value);
      const text = /^[=+\-@]/.test(value) ? "'" + value : value;
      return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
    };
    return [header.map(field).join(","), ...rows.map((row) => header.map((name) => field(row[name])).join(",")), ""].join("\r\n");
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelector("main").append(picks.bar);
    Promise.all([...document.querySelectorAll("section[data-shard]")].map(start)).then(picks.show);
    window.addEventListener("hashchange", picks.show);
  });
})();
