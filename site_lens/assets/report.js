"use strict";
// Draws a figure once it has room; figures in closed sections wait. Some are arranged anew on narrow pages.
(() => {
  const PRINT_WIDTH = 660; // CSS pixels between the margins of an A4 or Letter page
  const config = { responsive: true, displayModeBar: false };
  const holders = () => [...document.querySelectorAll(".plot-canvas")];

  const shown = (holder) => holder.offsetWidth > 0 && !holder.closest("details:not([open])");
  const drawn = () => holders().filter((holder) => holder.dataset.drawn && shown(holder));

  const narrow = matchMedia("screen and (max-width: 719px)");
  const read = (holder) => JSON.parse(document.getElementById(`${holder.id}-data`).textContent);
  const arranged = ({ layout }) => ({ ...layout, ...(narrow.matches ? layout.meta?.narrow : {}) });

  function draw() {
    for (const holder of holders()) {
      if (holder.dataset.drawn || !shown(holder)) continue;
      holder.dataset.drawn = "yes";
      const figure = read(holder);
      Plotly.newPlot(holder, figure.data, arranged(figure), config);
    }
  }

  function rearrange() {
    for (const holder of drawn()) {
      const figure = read(holder);
      if (figure.layout.meta?.narrow) Plotly.react(holder, figure.data, arranged(figure), config);
    }
  }

  const MOST_ROWS = 200; // rows of a table that the page shows; the file has all of them

  function csvOf({ columns, rows }) {
    const cell = (value) => {
      const text = value === null ? "" : String(value);
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
  }

  function rowOf(tag, cells) {
    const row = document.createElement("tr");
    for (const value of cells) {
      const cell = document.createElement(tag);
      cell.textContent = value === null ? "" : value;
      if (typeof value === "number") cell.className = "n";
      row.append(cell);
    }
    return row;
  }

  function tabulate(event) {
    const section = event.target;
    if (!section.matches?.("details.numbers[open]") || section.dataset.built) return;
    section.dataset.built = "yes";
    const numbers = JSON.parse(section.querySelector("script").textContent);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csvOf(numbers)], { type: "text/csv" }));
    link.download = `${section.dataset.of}.csv`;
    link.textContent = `Download ${numbers.rows.length} rows as CSV`;
    const table = document.createElement("table");
    table.createTHead().append(rowOf("th", numbers.columns));
    table.createTBody().append(...numbers.rows.slice(0, MOST_ROWS).map((row) => rowOf("td", row)));
    const scroll = document.createElement("div");
    scroll.className = "scroll rows";
    scroll.append(table);
    section.append(link, scroll);
    if (numbers.rows.length > MOST_ROWS) section.append(`The first ${MOST_ROWS} rows; the file has all.`);
  }

  function filterTasks(event) {
    const wanted = event.target.value.trim().toLowerCase();
    const matches = (element) => element.textContent.toLowerCase().includes(wanted);
    for (const section of document.querySelectorAll("details.fit")) {
      section.hidden = !matches(section.querySelector("summary strong"));
    }
    for (const item of document.querySelectorAll("[data-filtered] > li")) item.hidden = !matches(item);
  }

  function drawAttention() {
    for (const holder of document.querySelectorAll(".attention")) {
      if (holder.dataset.drawn || !shown(holder)) continue;
      holder.dataset.drawn = "yes";
      const canvas = document.createElement("div");
      canvas.id = `${holder.id}-view`;
      holder.append(canvas);
      CircuitsVis.render(canvas.id, CircuitsVis.AttentionHeads, JSON.parse(holder.querySelector("script").textContent));
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
  document.addEventListener("toggle", drawAttention, true);
  document.addEventListener("toggle", tabulate, true);
  document.getElementById("filter")?.addEventListener("input", filterTasks);
  narrow.addEventListener("change", rearrange);
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
  drawAttention();
})();
