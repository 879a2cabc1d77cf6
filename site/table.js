// Sorts, filters and draws the tables of a task page. The texts come from the shard, made by the suite; this script
// only chooses and places them, with the same markup as templates/table.html. Choices live in the URL's fragment:
// #full-3f3f3f3f.q=l1&full-3f3f3f3f.sort=-speedup
(function () {
  "use strict";
  const { make, shard } = window.prunemark;
  const PAGE = 50;
  const FIELDS = ["q", "family", "state", "setup", "sort"];

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

  function writeFragment(slug, choice) {
    const all = readFragment();
    for (const field of FIELDS) {
      delete all[slug + "." + field];
      if (choice[field]) all[slug + "." + field] = choice[field];
    }
    const text = Object.entries(all).map(([key, value]) => encodeURIComponent(key) + "=" + encodeURIComponent(value)).join("&");
    // replaceState and not location.hash: typing in the search field is no journey to go back through
    history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
  }

  // ---------------------------------------------------------------------------------------------------- one board

  function start(section) {
    const table = section.querySelector("table[data-board]");
    const form = section.querySelector("[data-controls]");
    const tally = section.querySelector("[data-tally]");
    const more = section.querySelector("[data-more]");
    const slug = section.id;
    const said = tally.textContent;
    let data = null;
    let shown = PAGE;
    let choice = {};

    function entry(row, key) {
      const setup = Math.max(0, data.setups.indexOf(choice.setup));
      return (row.by_setup[setup] || {})[key] || row.fixed[key] || ["\u2013", "", null, {}];
    }

    function unbeaten(row) {
      return Boolean(row.front[Math.max(0, data.setups.indexOf(choice.setup))]);
    }

    function wanted(row) {
      const words = (choice.q || "").toLowerCase().split(/\s+/).filter(Boolean);
      const text = [row.method, row.setting, row.family, row.state, ...row.badges.map((badge) => badge[1])].join(" ").toLowerCase();
      return words.every((word) => text.includes(word)) && (!choice.family || row.family === choice.family) &&
        (!choice.state || (choice.state === "unbeaten" ? unbeaten(row) : row.state === choice.state));
    }

    function chosen() {
      const rows = data.rows.filter(wanted);
      const key = (choice.sort || "").replace(/^-/, "");
      const sign = (choice.sort || "").startsWith("-") ? -1 : 1;
      if (key === "name") {
        return rows.sort((a, b) => sign * (a.method + " " + a.setting).localeCompare(b.method + " " + b.setting, "en", { numeric: true }));
      }
      if (!data.columns.some((column) => column.key === key)) return rows;
      return rows.sort((a, b) => {
        const [x, y] = [entry(a, key)[2], entry(b, key)[2]];
        if (x === null || y === null) return (x === null) - (y === null);  // what was not measured stands last, either way
        return sign * (x - y);
      });
    }

    function draw() {
      const rows = chosen();
      table.tBodies[0].replaceChildren(...rows.slice(0, shown).map(drawRow));
      more.hidden = rows.length <= shown;
      const all = `${data.rows.length} row${data.rows.length === 1 ? "" : "s"}`;
      const some = rows.length === data.rows.length ? all : `${rows.length} of ${all}`;
      const part = rows.length > shown ? `, the first ${shown} shown` : "";
      const setup = data.setups.length ? " \u00b7 timed with " + (choice.setup || data.setups[0]) : "";
      tally.textContent = some + part + setup;
      for (const head of table.tHead.rows[0].cells) {
        const order = choice.sort || data.order;
        if (head.dataset.key === order.replace(/^-/, "")) head.setAttribute("aria-sort", order.startsWith("-") ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      }
    }

    function drawRow(row) {
      const mark = data.marks[row.method];
      const symbol = make("svg", { class: `mark ${mark.colour}${mark.hollow ? " hollow" : ""}`, viewBox: "-8 -8 16 16", "aria-hidden": "true" },
        make("path", { class: "point", d: mark.path }));
      const name = make("th", { scope: "row" },
        make("a", { class: "method", href: encodeURI(row.page).replace(/\+/g, "%2B") }, symbol, row.method),
        make("a", { class: "setting", href: "cell.html#" + row.cell }, row.setting || "as it is"),
        unbeaten(row) ? make("span", { class: "tick", title: `No row beats it in both ${data.headline} and speed` }, "unbeaten") : null,
        ...row.badges.map((badge) => drawBadge(badge, row)));
      const cells = data.columns.map((column) => {
        const [text, sub, , , mark] = entry(row, column.key);
        return make("td", { "data-wrap": ["change", "control", "speedup", "peak_bytes"].includes(column.key) }, text,
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

    // ---------------------------------------------------------------------------------------------- what readers do

    function change(fields) {
      choice = { ...choice, ...fields };
      shown = PAGE;
      writeFragment(slug, choice);
      draw();
      if ("setup" in fields) announce();
    }

    // plots.js draws the speed-ups of the setup that the table shows
    function announce() {
      section.dispatchEvent(new CustomEvent("setupchange", { detail: Math.max(0, data.setups.indexOf(choice.setup)) }));
    }

    function take(fragment) {
      choice = {};
      for (const field of FIELDS) if (fragment[slug + "." + field]) choice[field] = fragment[slug + "." + field];
      for (const field of ["q", "family", "state", "setup"]) {
        const input = form.elements[field];
        if (!input) continue;
        input.value = choice[field] || "";
        if (input.tagName === "SELECT" && input.selectedIndex < 0) { input.selectedIndex = 0; delete choice[field]; }
      }
      return Object.keys(choice).length > 0;
    }

    function heads() {
      for (const head of table.tHead.rows[0].cells) {
        const column = data.columns.find((each) => each.key === head.dataset.key);
        const first = column && column.better === "high" ? "-" : "";
        const button = make("button", { type: "button" });
        button.append(...head.firstElementChild.childNodes);
        button.replaceChildren(make("span", {}, ...[...button.childNodes].filter((node) => node.nodeName !== "SMALL")),
          ...[...button.childNodes].filter((node) => node.nodeName === "SMALL"));
        button.addEventListener("click", () => {
          const key = head.dataset.key;
          change({ sort: (choice.sort || data.order) === first + key ? (first ? key : "-" + key) : first + key });
        });
        head.replaceChildren(button);
      }
    }

    function download(kind) {
      const rows = chosen().map(flat);
      const text = kind === "json" ? JSON.stringify(rows, null, 1) + "\n" : csv(rows);
      const link = make("a", { download: `prunemark-${slug}.${kind}` });
      link.href = URL.createObjectURL(new Blob([text], { type: kind === "json" ? "application/json" : "text/csv" }));
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }

    function flat(row) {
      const found = { task: row.task, profile: row.profile, data_sha256: row.data_sha256, method: row.method, family: row.family,
        hyperparameters: JSON.stringify(row.hyperparameters), state: row.state, reason: row.reason, unbeaten: unbeaten(row),
        setup: data.setups.length ? choice.setup || data.setups[0] : null };
      for (const column of data.columns) {
        const [, , value, extra] = entry(row, column.key);
        found[column.key] = value;
        for (const name of data.extras[column.key] || []) found[column.key + "_" + name] = extra[name] === undefined ? null : extra[name];
      }
      found.refresh = row.owed.join("; ") || null;
      found.cell = row.cell;
      return found;
    }

    form.addEventListener("input", (event) => { if (event.target.name) change({ [event.target.name]: event.target.value }); });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(() => {
      if (form.elements.setup) form.elements.setup.selectedIndex = 0;
      change({ q: "", family: "", state: "", setup: "", sort: "" });
    }));
    form.addEventListener("click", (event) => { if (event.target.dataset.download) download(event.target.dataset.download); });
    more.firstElementChild.addEventListener("click", () => {
      const last = shown;
      shown += PAGE;
      draw();
      table.tBodies[0].rows[last].querySelector("a").focus();
    });

    shard(section.dataset.shard).then((found) => {
      data = found;
      data.extras = {};
      for (const row of data.rows) {
        for (const part of [row.fixed, ...row.by_setup]) {
          for (const [key, value] of Object.entries(part)) {
            data.extras[key] = [...new Set([...(data.extras[key] || []), ...Object.keys(value[3])])];
          }
        }
      }
      heads();
      form.hidden = false;
      const fragment = readFragment();
      if (take(fragment)) {
        draw();
        if (choice.setup) announce();
        section.scrollIntoView();
      } else if (data.rows.length > PAGE) {
        more.hidden = false;
        tally.textContent = said.replace(/; all are in leaderboard\.csv/, "");
      }
      window.addEventListener("hashchange", () => { take(readFragment()); shown = PAGE; draw(); announce(); });
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
    return [header.join(","), ...rows.map((row) => header.map((name) => field(row[name])).join(",")), ""].join("\r\n");
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("section[data-shard]").forEach(start));
})();
