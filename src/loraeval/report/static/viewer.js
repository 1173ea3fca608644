// The viewer: full size, zoom by whole factors, slider against the baseline, grid and colours.
"use strict";
(() => {
  const { shots, step, byId } = loraeval;
  const viewer = byId("viewer");
  const stage = byId("stage");
  const frame = byId("frame");
  const picture = byId("picture");
  const other = byId("other");
  const factors = [0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16];
  const state = { shot: null, zoom: 1, baseline: false, grid: false, colours: true };

  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const number = (value, digits) => (value === null || value === undefined ? "" : value.toFixed(digits));
  const button = (shot) => document.querySelector(`.shot[data-shot="${shot.number}"]`);
  const embedded = (shot) => byId(`view-${shot.number}`)?.textContent
    ?? button(shot)?.querySelector("img")?.src ?? "";

  // The exact pixels from beside the page where they are, else the view inside of the page.
  function load(image, shot, told) {
    image.onerror = () => {
      image.onerror = null;
      image.src = embedded(shot);
      told?.("Smooth copy: the file with the exact pixels is not beside this page.");
    };
    image.src = shot.file && !shot.exact ? shot.file : embedded(shot);
    told?.("Exact pixels.");
  }

  function show(shot) {
    state.shot = shot;
    const base = shots.get(shot.baseline) ?? null;
    byId("viewer-title").textContent = button(shot)?.dataset.label ?? shot.name;
    byId("viewer-text").textContent = shot.text;
    const said = (text) => { byId("viewer-note").textContent = `${shot.name}, ${shot.width}×${shot.height} px${shot.seed === null ? "" : `, seed ${shot.seed}`}. ${shot.problem ?? text}`; };
    load(picture, shot, said);
    picture.alt = `${shot.prompt}, full size`;
    byId("show-baseline").disabled = !base || !base.width;
    byId("show-grid").disabled = !shot.lattice;
    byId("show-colours").disabled = !shot.swatches.some((swatch) => swatch.missing);
    if (base && base.width) load(other, base);
    scores(shot, base);
    swatches(shot);
    facts(shot);
    lattice(shot);
    layout();
  }

  function scores(shot, base) {
    const measured = ([, value]) => (value === null ? 1 : 0);
    const sorted = Object.entries(shot.scores).sort((a, b) => measured(a) - measured(b));
    byId("viewer-scores").replaceChildren(...sorted.map(([name, value]) => {
      const line = document.createElement("tr");
      line.append(element("th", name, { scope: "row" }));
      if (value === null) {
        line.append(element("td", `no score: ${shot.reasons[name] ?? "no reason given"}`, { colspan: "2" }));
        return line;
      }
      const theirs = base?.scores[name] ?? null;
      line.append(element("td", number(value, 3), { class: "n" }));
      line.append(element("td", theirs === null ? "" : `baseline ${number(theirs, 3)}`, { class: "n" }));
      return line;
    }));
  }

  function chip(colour) {
    const made = element("i", "", { class: "swatch", "aria-hidden": "true" });
    made.style.background = colour;
    return made;
  }

  function swatches(shot) {
    const place = byId("viewer-swatches");
    const onPicture = byId("missing");
    place.replaceChildren();
    onPicture.replaceChildren();
    if (!shot.swatches.length) return;
    const table = element("table", "", { class: "facts" });
    table.append(element("caption", "Colours of the caption"));
    const head = table.createTHead().insertRow();
    for (const text of ["for", "wanted", "nearest", "ΔE", ""]) head.append(element("th", text, { scope: "col" }));
    const body = table.createTBody();
    for (const swatch of shot.swatches) {
      const line = body.insertRow();
      line.append(element("th", swatch.attribute, { scope: "row" }));
      const wanted = line.insertCell();
      if (swatch.colour) wanted.append(chip(swatch.colour), "\u00a0");
      wanted.append(swatch.wanted);
      const found = line.insertCell();
      if (swatch.found) found.append(chip(swatch.found), `\u00a0${swatch.found}`);
      line.append(element("td", number(swatch.delta, 1), { class: "n" }));
      const mark = { right: "\u2713 ", wrong: "\u2717 ", "not seen": "? " }[swatch.verdict] || "";
      line.append(element("td", mark + swatch.verdict, swatch.where ? { title: swatch.where } : {}));
      if (swatch.missing) {
        const drawn = element("span", "", { class: "pairing" });
        drawn.append(`${swatch.attribute}: `, ...(swatch.colour ? [chip(swatch.colour)] : [swatch.wanted]), " → ", ...(swatch.found ? [chip(swatch.found)] : ["none"]), ` ΔE ${number(swatch.delta, 0) || "?"}`);
        onPicture.append(drawn);
      }
    }
    place.append(table);
  }

  function facts(shot) {
    byId("viewer-facts").replaceChildren(...Object.entries(shot.facts).filter(([, values]) => Object.keys(values).length).map(([scorer, values]) => {
      const table = element("table", "", { class: "facts" });
      table.append(element("caption", scorer));
      const body = table.createTBody();
      for (const [name, value] of Object.entries(values)) {
        const line = body.insertRow();
        line.append(element("th", name, { scope: "row" }), element("td", value));
      }
      return table;
    }));
  }

  function lattice(shot) {
    const drawing = byId("lattice");
    drawing.replaceChildren();
    if (!shot.lattice || !shot.width) return;
    drawing.setAttribute("viewBox", `0 0 ${shot.width} ${shot.height}`);
    let lines = "";
    const [across, down] = shot.lattice.period;
    for (let x = shot.lattice.phase[0] % across; x <= shot.width; x += across) lines += `M${x} 0V${shot.height}`;
    for (let y = shot.lattice.phase[1] % down; y <= shot.height; y += down) lines += `M0 ${y}H${shot.width}`;
    for (const kind of ["under", "over"]) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", lines);
      path.setAttribute("class", kind);
      drawing.append(path);
    }
  }

  function layout() {
    const { shot } = state;
    const scale = state.zoom / (window.devicePixelRatio || 1);
    frame.style.width = `${shot.width * scale}px`;
    frame.style.height = `${shot.height * scale}px`;
    byId("zoom").textContent = `${state.zoom}×`;
    const both = state.baseline && !byId("show-baseline").disabled;
    for (const part of ["other", "cut-line", "cut-label"]) byId(part).hidden = !both;
    byId("lattice").toggleAttribute("hidden", !(state.grid && shot.lattice));
    byId("missing").hidden = !(state.colours && byId("missing").childElementCount);
    byId("show-baseline").setAttribute("aria-pressed", String(both));
    byId("show-grid").setAttribute("aria-pressed", String(state.grid));
    byId("show-colours").setAttribute("aria-pressed", String(state.colours));
    frame.style.setProperty("--cut", `${byId("cut").value}%`);
  }

  function zoom(way) {
    const place = factors.indexOf(state.zoom);
    state.zoom = way === 0 ? 1 : factors[Math.min(factors.length - 1, Math.max(0, place + way))];
    layout();
  }

  // The largest whole factor at which the image still fits the stage, 1 where none does.
  function fit() {
    const { shot } = state;
    const ratio = window.devicePixelRatio || 1;
    const fits = factors.filter((factor) => factor >= 1 && (shot.width * factor) / ratio <= stage.clientWidth && (shot.height * factor) / ratio <= stage.clientHeight);
    state.zoom = fits.at(-1) ?? 1;
    layout();
  }

  function toggle(name) {
    state[name] = !state[name];
    layout();
  }

  function go(key) {
    const next = step(state.shot.number, key);
    if (next) show(shots.get(Number(next.dataset.shot)));
  }

  document.addEventListener("click", (event) => {
    const clicked = event.target.closest(".shot");
    if (!clicked) return;
    const shot = shots.get(Number(clicked.dataset.shot));
    if (!shot.width) return;
    viewer.showModal();
    show(shot);
    fit();
    stage.scrollTo(0, 0);
    byId("close").focus();
  });
  viewer.addEventListener("close", () => button(state.shot)?.focus());
  byId("close").addEventListener("click", () => viewer.close());
  byId("previous").addEventListener("click", () => go("ArrowLeft"));
  byId("next").addEventListener("click", () => go("ArrowRight"));
  byId("zoom-in").addEventListener("click", () => zoom(1));
  byId("zoom-out").addEventListener("click", () => zoom(-1));
  byId("show-baseline").addEventListener("click", () => toggle("baseline"));
  byId("show-grid").addEventListener("click", () => toggle("grid"));
  byId("show-colours").addEventListener("click", () => toggle("colours"));
  byId("cut").addEventListener("input", layout);
  window.addEventListener("resize", () => { if (viewer.open) layout(); });

  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const scrolls = event.target.closest("#stage, .panel, input");
    const acts = {
      "+": () => zoom(1), "=": () => zoom(1), "-": () => zoom(-1), 0: () => zoom(0),
      b: () => { if (!byId("show-baseline").disabled) toggle("baseline"); },
      g: () => toggle("grid"), c: () => toggle("colours"),
    };
    const act = event.key.startsWith("Arrow") ? (scrolls ? null : () => go(event.key)) : acts[event.key.toLowerCase()];
    if (act) {
      event.preventDefault();
      act();
    }
  });

  let held = null;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button === 0) held = { x: event.clientX + stage.scrollLeft, y: event.clientY + stage.scrollTop };
  });
  window.addEventListener("pointermove", (event) => {
    if (held) stage.scrollTo(held.x - event.clientX, held.y - event.clientY);
  });
  window.addEventListener("pointerup", () => { held = null; });
})();
