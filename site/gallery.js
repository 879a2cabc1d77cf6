// Lays each reconstruction over its original: a slider, one for each network and one for all, says where it begins.
(function () {
  "use strict";

  function place(article, value) {
    article.style.setProperty("--at", value + "%");
    const own = article.querySelector("[data-slide] input");
    own.value = value;
    own.setAttribute("aria-valuetext", `original up to ${value} % from the left`);
  }

  for (const section of document.querySelectorAll("main section")) {
    const articles = [...section.querySelectorAll(".hung")];
    const all = section.querySelector("[data-slide-all]");
    for (const article of articles) {
      const slide = article.querySelector("[data-slide]");
      article.classList.add("sliding");
      slide.hidden = false;
      slide.querySelector("input").addEventListener("input", (event) => place(article, event.target.value));
      // a finger, or a mouse held down, on a picture moves the edge too
      const gallery = article.querySelector(".gallery");
      const follow = (event) => {
        const pair = event.target.closest(".pair");
        if (!pair || !event.buttons) return;
        const box = pair.getBoundingClientRect();
        place(article, Math.round(100 * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width))));
      };
      gallery.addEventListener("pointerdown", follow);
      gallery.addEventListener("pointermove", follow);
      gallery.addEventListener("dragstart", (event) => event.preventDefault());
      place(article, slide.querySelector("input").value);
    }
    if (articles.length > 1) {
      all.hidden = false;
      all.querySelector("input").addEventListener("input", (event) => articles.forEach((article) => place(article, event.target.value)));
    }
  }
})();
