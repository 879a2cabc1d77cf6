// Answers the overview's question for the chosen machine and loss. Texts come from the suite; here they are only chosen.
(function () {
  "use strict";
  const { make, shard } = window.prunemark;
  const form = document.getElementById("advice-form");
  if (!form) return;
  const ROUNDING = 1e-9;  // suite/advice.py has the same

  function symbol(mark) {
    return make("svg", { class: `mark ${mark.colour}${mark.hollow ? " hollow" : ""}`, viewBox: "-8 -8 16 16", "aria-hidden": "true" }, make("path", { class: "point", d: mark.path }));
  }

  function amount(board, tolerance) {
    const [factor, unit] = board.unit;
    const value = Number((tolerance * factor).toPrecision(6));
    return unit === "point" ? `${value} point${value === 1 ? "" : "s"}` : `${value} ${unit}`;
  }

  function number(label, value, mark, ...small) {
    return make("td", { class: "number", "data-label": label }, make("b", {}, value), mark ? " " : "", mark ? make("i", { class: "how" }, mark) : "", ...small.map((text) => text ? make("small", {}, text) : ""));
  }

  function best(board, index, tolerance) {
    const within = board.steps[index].filter((step) => step.lost <= tolerance + ROUNDING);
    return within[within.length - 1];
  }

  // Where the same loss buys something on another machine, or under other conditions.
  function elsewhere(data, board, index, tolerance) {
    const other = data.setups.findIndex((_, each) => each !== index && best(board, each, tolerance));
    if (other < 0) return [];
    const found = best(board, other, tolerance);
    return [" On ", make("a", { href: there(data, other) }, data.setups[other]), `: ${found.method} ${found.setting}, ${told(found)}.`];
  }

  // A speed-up in a sentence, with what belongs to it.
  function told(step) {
    return `${step.speedup}${step.how} (${[step.at_least, `${step.change}, ${step.doubt}`, step.care].filter(Boolean).join("; ")})`;
  }

  function there(data, index) {
    return `#advice.on=${encodeURIComponent(data.setups[index])}&advice.lose=${form.lose.value}`;
  }

  // The network that loses least, which is more than was asked for.
  function least(board, index, from) {
    const next = board.steps[index][0];
    return [`${from} ${amount(board, Math.ceil(next.lost * 1000) / 1000)} on: `, make("a", { href: "cell.html#" + next.cell }, `${next.method} ${next.setting}`), `, ${told(next)}.`];
  }

  function nothing(data, board, index, tolerance) {
    const other = elsewhere(data, board, index, tolerance);
    if (board.timed[index]) {
      if (!board.steps[index].length) return ["Nothing measured here is certainly faster than dense by 2 %.", ...other];
      return ["Nothing measured here does that. ", ...least(board, index, "From"), ...other];
    }
    const somewhere = board.steps.findIndex((steps) => steps.length);
    if (somewhere < 0) return [board.unmeasured + " ", make("code", {}, board.needs)];
    if (other.length) return ["No compressed network was timed here.", ...other];
    return ["No compressed network was timed here. On ", make("a", { href: there(data, somewhere) }, data.setups[somewhere]), ", ", ...least(board, somewhere, "from")];
  }

  function row(data, board, index, tolerance) {
    const found = best(board, index, tolerance);
    const title = make("th", { scope: "row" }, make("a", { href: board.page }, board.title),
      board.profile === "full" ? "" : " ", board.profile === "full" ? "" : make("span", { class: "tag " + board.profile }, board.profile + " profile"));
    if (!found) return make("tr", {}, title, make("td", { colspan: "4", class: "none" }, ...nothing(data, board, index, tolerance)));
    const how = found.commands.length
      ? make("details", { class: "values", open: true }, make("summary", {}, "Make and export it"), ...found.commands.map((text) => make("p", {}, make("code", { class: "command" }, text))), make("small", {}, "In a checkout with its data (README). The file runs in ONNX Runtime, at a speed of its own."))
      : make("small", {}, "This checkout cannot make it again.");
    return make("tr", {}, title,
      make("td", { "data-label": "Method" }, make("a", { class: "method", href: found.page }, symbol(found.mark), found.method),
        found.control ? " " : "", found.control ? make("i", { class: "how" }, "control") : "",
        make("small", {}, make("a", { class: "setting", href: "cell.html#" + found.cell }, found.setting)), how),
      number("Faster", found.speedup, found.compiled ? "compiled" : "", found.at_least, found.care),
      number("Smaller file, zipped", found.smaller, "", found.file),
      number("Difference", found.change, "", found.doubt));
  }

  // The first table of the page is the one that answers; those of other machines are for readers without scripts.
  function start(data) {
    const [answer, ...others] = document.querySelectorAll("[data-advised]");
    if (!answer) return;
    others.forEach((other) => { other.hidden = true; });
    form.hidden = false;
    answer.querySelectorAll("thead th:nth-child(2)").forEach((head) => { head.remove(); });  // the slider says it

    function draw() {
      const index = Math.max(0, data.setups.indexOf(form.on.value));
      const tolerance = Number(form.lose.value) / 100;
      form.said.value = `${form.lose.value} point${form.lose.value === "1" ? "" : "s"} (of a loss, ${Number((5 * form.lose.value).toPrecision(6))} %)`;
      form.lose.setAttribute("aria-valuetext", form.said.value);
      answer.querySelector("[data-setup]").textContent = data.setups[index];
      for (const body of answer.querySelectorAll("[data-advice]")) {
        const own = data.boards.filter((board) => board.embedded === (body.dataset.advice === "stand-ins"));
        const rank = (board) => (best(board, index, tolerance) ? 0 : board.steps[index].length ? 1 : board.timed[index] ? 2 : 3);
        own.sort((one, other) => rank(one) - rank(other));  // what has an answer first; else as on the page
        body.replaceChildren(...own.map((board) => row(data, board, index, tolerance)));
      }
    }

    function read() {
      const wanted = new Map(location.hash.slice(1).split("&").map((part) => {
        const at = part.indexOf("=");
        try { return [part.slice(0, at), decodeURIComponent(part.slice(at + 1))]; } catch (error) { return ["", ""]; }
      }));
      if (data.setups.includes(wanted.get("advice.on"))) form.on.value = wanted.get("advice.on");
      const lose = wanted.get("advice.lose");
      if (lose && /^\d{1,2}(\.\d{1,2})?$/.test(lose)) form.lose.value = lose;
      draw();
      if (wanted.has("advice.on") || wanted.has("advice.lose")) document.getElementById("advice").scrollIntoView();
    }

    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      draw();
      history.replaceState(null, "", `#advice.on=${encodeURIComponent(form.on.value)}&advice.lose=${form.lose.value}`);
    });
    window.addEventListener("hashchange", read);
    read();
  }

  shard("advice").then(start, () => { /* the tables of the page stay */ });
})();
