// The reader's choice of light or dark, before the first paint; without one, the system's. The link past the menu.
(function () {
  "use strict";
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try { return localStorage.getItem("prunemark-theme"); } catch (error) { return null; }
  }

  function apply(choice) {
    if (choice === "light" || choice === "dark") root.dataset.theme = choice;
    else delete root.dataset.theme;
    root.dispatchEvent(new Event("themechange"));
  }

  apply(stored());
  dark.addEventListener("change", () => apply(stored()));
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-theme-switch]");
    button.hidden = false;
    button.addEventListener("click", () => {
      const now = root.dataset.theme || (dark.matches ? "dark" : "light");
      const next = now === "dark" ? "light" : "dark";
      try { localStorage.setItem("prunemark-theme", next); } catch (error) { /* private window: it lasts for this page */ }
      apply(next);
    });
    // Its address is for pages without scripts: here the fragment names cells and filters, which must stay.
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault();
      const main = document.getElementById("main");
      main.focus();
      main.scrollIntoView();
    });
  });
})();

// Shards call prunemark.add; whoever needs one calls prunemark.shard(name) and gets a promise of its data.
window.prunemark = (function () {
  "use strict";
  const shards = new Map();
  const waiting = new Map();

  function add(name, data) {
    shards.set(name, data);
  }

  function load(source) {
    if (!waiting.has(source)) {
      waiting.set(source, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = source;
        script.onload = resolve;
        script.onerror = () => reject(new Error("cannot load " + source));
        document.head.append(script);
      }));
    }
    return waiting.get(source);
  }

  function shard(name) {
    return load("data/" + encodeURIComponent(name) + ".js").then(() => shards.get(name));
  }

  // make("td", {class: "number"}, "text", node): text never becomes markup.
  function make(name, attributes, ...children) {
    const svg = name === "svg" || name === "path";
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return node;
  }

  return { add, load, shard, make };
})();
