"use strict";
// Draws the figures of a notebook in the colours of the page, light or dark; narrow pages arrange some anew.
(() => {
  const template = JSON.parse(document.getElementById("figure-template").textContent);
  const narrow = matchMedia("screen and (max-width: 719px)");

  function draw() {
    template.layout.font.color = getComputedStyle(document.body).color;
    for (const holder of document.querySelectorAll(".plot-canvas")) {
      const { data, layout } = JSON.parse(holder.closest("figure").querySelector("script").textContent);
      const arranged = { template, ...layout, ...(narrow.matches ? layout.meta?.narrow : {}) };
      Plotly.react(holder, data, arranged, { responsive: true, displayModeBar: false });
    }
  }

  narrow.addEventListener("change", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new MutationObserver(draw).observe(document.body, { attributeFilter: ["data-theme"] }); // the switch of the theme
  draw();
})();
