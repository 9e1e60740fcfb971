"use strict";
// Draws a figure once it has room: figures in closed sections, and those of the other page width, wait.
(() => {
  const PRINT_WIDTH = 660; // CSS pixels between the margins of an A4 or Letter page
  const config = { responsive: true, displayModeBar: false };
  const holders = () => [...document.querySelectorAll(".plot-canvas")];

  const shown = (holder) => holder.offsetWidth > 0 && !holder.closest("details:not([open])");
  const drawn = () => holders().filter((holder) => holder.dataset.drawn && shown(holder));

  function draw() {
    for (const holder of holders()) {
      if (holder.dataset.drawn || !shown(holder)) continue;
      holder.dataset.drawn = "yes";
      const figure = JSON.parse(document.getElementById(`${holder.id}-data`).textContent);
      Plotly.newPlot(holder, figure.data, figure.layout, config);
    }
  }

  function openTarget() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") {
      target.open = true;
      target.scrollIntoView();
    }
  }

  document.addEventListener("toggle", draw, true);
  window.addEventListener("resize", () => requestAnimationFrame(draw));
  window.addEventListener("hashchange", openTarget);
  window.addEventListener("beforeprint", () => {
    draw();
    for (const holder of drawn()) {
      Plotly.relayout(holder, { width: Math.min(PRINT_WIDTH, holder.offsetWidth), autosize: false });
    }
  });
  window.addEventListener("afterprint", () => {
    for (const holder of drawn()) Plotly.relayout(holder, { width: null, autosize: true });
  });
  for (const button of document.querySelectorAll("[data-open]")) {
    button.addEventListener("click", () => {
      for (const section of document.querySelectorAll("details.fit")) section.open = button.dataset.open === "yes";
    });
  }
  openTarget();
  draw();
})();
