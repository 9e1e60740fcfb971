"use strict";
// Draws a figure once it has room; figures in closed sections wait. Some are arranged anew on narrow pages.
(() => {
  const PRINT_WIDTH = 660; // CSS pixels between the margins of an A4 or Letter page
  const config = { responsive: true, displayModeBar: false };
  const holders = () => [...document.querySelectorAll(".plot-canvas")];

  const shown = (holder) => holder.offsetWidth > 0 && !holder.closest("details:not([open])");
  const drawn = () => holders().filter((holder) => holder.dataset.drawn && shown(holder));

  const narrow = matchMedia("screen and (max-width: 719px)");
  const template = JSON.parse(document.getElementById("figure-template").textContent);
  const read = (holder) => JSON.parse(document.getElementById(`${holder.id}-data`).textContent);
  const arranged = ({ layout }) => {
    template.layout.font.color = getComputedStyle(document.body).color; // of the light or the dark page
    const all = { template, ...layout, ...(narrow.matches ? layout.meta?.narrow : {}) };
    delete all.width; // the place has the width of the figure, or less
    return all;
  };

  // Scripts, tables and attention are compressed.
  async function unpack(script) {
    const bytes = Uint8Array.from(atob(script.textContent.trim()), (letter) => letter.charCodeAt(0));
    const text = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(text).text();
  }

  const libraries = {};
  function load(name) {
    libraries[name] ??= unpack(document.getElementById(`library-${name}`)).then((source) => {
      const script = document.createElement("script"); // the policy of the page knows its digest
      script.textContent = source;
      document.body.append(script);
    });
    return libraries[name];
  }

  function draw() {
    if (!window.Plotly) return;
    for (const holder of holders()) {
      if (holder.dataset.drawn || !shown(holder)) continue;
      holder.dataset.drawn = "yes";
      const figure = read(holder);
      Plotly.newPlot(holder, figure.data, arranged(figure), config);
    }
  }

  function redraw() {
    for (const holder of drawn()) {
      const figure = read(holder);
      Plotly.react(holder, figure.data, arranged(figure), config);
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

  async function tabulate(event) {
    const section = event.target;
    if (!section.matches?.("details.numbers[open]") || section.dataset.built) return;
    section.dataset.built = "yes";
    const numbers = JSON.parse(await unpack(section.querySelector("script")));
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
    const sections = [...document.querySelectorAll("details.fit")];
    for (const section of sections) section.hidden = !matches(section.querySelector("summary strong"));
    for (const item of document.querySelectorAll("[data-filtered] > li")) item.hidden = !matches(item);
    document.getElementById("no-task").hidden = sections.some((section) => !section.hidden);
  }

  // One pattern at a time, with a button for each head: the selector of circuitsvis takes the width of the window.
  function drawHeads(holder, { attentionHeadNames, attention, ...properties }) {
    const view = document.createElement("div");
    view.id = `${holder.id}-view`;
    const buttons = attentionHeadNames.map((name, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", () => show(i));
      return button;
    });
    function show(chosen) {
      const canvas = document.createElement("div");
      canvas.id = `${holder.id}-pattern`;
      view.replaceChildren(...buttons, canvas);
      for (const [i, button] of buttons.entries()) button.setAttribute("aria-pressed", i === chosen);
      CircuitsVis.render(canvas.id, CircuitsVis.AttentionPattern, {
        zoomed: true,
        ...properties,
        attention: attention[chosen],
      });
    }
    holder.append(view);
    show(0);
  }

  async function drawAttention() {
    for (const holder of document.querySelectorAll(".attention")) {
      if (holder.dataset.drawn || !shown(holder)) continue;
      holder.dataset.drawn = "yes";
      await load("circuitsvis");
      drawHeads(holder, JSON.parse(await unpack(holder.querySelector("script"))));
    }
  }

  // The menu marks the last section that begins above the upper third of the window.
  const links = [...document.querySelectorAll("nav .parts > li > a")];
  function markSection() {
    const begun = links.filter((link) => {
      const section = document.querySelector(link.getAttribute("href"));
      return section && section.getBoundingClientRect().top < innerHeight / 3;
    });
    const at = begun.at(-1) ?? links[0];
    for (const link of links) link.toggleAttribute("aria-current", link === at);
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
  narrow.addEventListener("change", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
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
  window.addEventListener("scroll", () => requestAnimationFrame(markSection), { passive: true });
  openTarget();
  markSection();
  if ("DecompressionStream" in window) {
    load("plotly").then(() => {
      draw();
      drawAttention();
    });
  } else {
    document.querySelector("header").append("Figures and tables of numbers need a browser of 2023 or later.");
  }
})();
