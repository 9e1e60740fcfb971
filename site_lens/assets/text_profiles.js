"use strict";
// Shows one head: its distances, and its pieces token by token; pointing at a token shows what it attends to.
(() => {
  const LINKS = 4; // weights of each query
  const place = document.getElementById("head");

  async function unpack(script) {
    const bytes = Uint8Array.from(atob(script.textContent.trim()), (letter) => letter.charCodeAt(0));
    const text = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(text).text());
  }

  function make(tag, text, name) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  }

  const orange = (share) => (share > 0.02 ? `rgba(213, 94, 0, ${0.75 * share})` : "");
  const blue = (share) => (share > 0.02 ? `rgba(0, 114, 178, ${0.15 + 0.6 * share})` : "");
  const percent = (share) => `${Math.round(100 * share)} %`;

  function shown(piece, tokens) {
    const box = make("div", undefined, "piece");
    const facts = make("p", undefined, "soft");
    facts.append(make("span", `largest attention ${piece.activation.toFixed(2)}`));
    const writes = make("span", "writes there: ");
    piece.written.forEach((token) => writes.append(make("code", token), " "));
    facts.append(writes);
    const text = make("div", undefined, "text");
    text.dir = "auto";
    const spanOf = []; // of each token; further bytes of a character share its span
    for (const [i, token] of tokens.entries()) {
      if (token || !spanOf.length) {
        const span = make("span");
        for (const part of token.split(/(\n)/)) {
          if (part === "\n") span.append(make("span", "\u21b5", "mark"), "\n");
          else span.append(part);
        }
        span.dataset.token = i;
        text.append(span);
        spanOf.push(span);
      } else spanOf.push(spanOf.at(-1));
    }
    const links = (query) =>
      Array.from({ length: LINKS }, (_, l) => [piece.keys[query * LINKS + l], piece.weights[query * LINKS + l] / 100])
        .filter(([, weight]) => weight > 0);
    const most = (query) =>
      Math.max(0, ...links(query).filter(([key]) => key > 0 && key < query).map(([, weight]) => weight));
    function clear() {
      for (const span of text.children) {
        span.style.background = "";
        span.classList.remove("query");
        span.removeAttribute("title");
      }
    }
    function rest() {
      clear();
      const active = new Map();
      tokens.forEach((_, i) => active.set(spanOf[i], Math.max(active.get(spanOf[i]) ?? 0, most(i))));
      active.forEach((share, span) => (span.style.background = orange(share)));
      spanOf[piece.query].classList.add("query");
      spanOf[piece.key].style.background = blue(piece.activation);
    }
    function point(query) {
      clear();
      const onto = new Map();
      links(query).forEach(([key, weight]) => onto.set(spanOf[key], (onto.get(spanOf[key]) ?? 0) + weight));
      onto.forEach((share, span) => {
        span.style.background = blue(share);
        span.title = percent(share);
      });
      spanOf[query].classList.add("query");
    }
    text.addEventListener("pointerover", (event) => {
      const span = event.target.closest("[data-token]");
      if (span && Number(span.dataset.token) > 0) point(Number(span.dataset.token));
    });
    text.addEventListener("pointerleave", rest);
    rest();
    box.append(facts, text);
    return box;
  }

  let pieces;
  let asked = 0;
  async function show() {
    const name = decodeURIComponent(location.hash.slice(1));
    const scripts = [...document.querySelectorAll("script[data-of]")];
    const script = scripts.find((one) => one.dataset.of === name) ?? (place.hasChildNodes() ? null : scripts[0]);
    if (!script) return;
    const turn = ++asked;
    pieces ??= await unpack(document.getElementById("pieces"));
    const head = await unpack(script);
    if (turn !== asked) return;
    for (const marked of document.querySelectorAll("[aria-current]")) marked.removeAttribute("aria-current");
    document.querySelector(`tr[data-head="${script.dataset.of}"]`).setAttribute("aria-current", "true");
    document.querySelector(`nav a[href="#${script.dataset.of}"]`).setAttribute("aria-current", "true");
    const distances = make("div", undefined, "distances");
    const largest = Math.max(...head.distances.map(([, share]) => share), 1e-9);
    for (const [label, share] of head.distances) {
      const bar = make("i");
      bar.style.width = `${(100 * share) / largest}%`;
      const holder = make("div");
      holder.append(bar);
      distances.append(make("span", label), holder, make("span", percent(share)));
    }
    const legend = make("p", undefined, "soft legend");
    const sample = (colour) => {
      const square = make("i");
      square.style.background = colour;
      return square;
    };
    legend.append(
      "Outlined: the token that attends most.", sample(blue(0.8)), "what it attends to",
      sample(orange(0.8)), "how much each token attends to another. Point at a token to see what it attends to.",
    );
    const parts = [make("h2", head.name), make("p", head.line), make("h3", "Attention by distance"), distances, legend];
    let decile;
    for (const piece of head.pieces) {
      if (piece.decile !== decile) {
        decile = piece.decile;
        parts.push(make("h3", `Decile ${decile}${decile === 10 ? ": most active" : decile === 1 ? ": least active" : ""}`));
      }
      parts.push(shown(piece, pieces[piece.index]));
    }
    place.replaceChildren(...parts);
    if (name === script.dataset.of) place.scrollIntoView();
  }

  addEventListener("hashchange", show);
  show();
})();
