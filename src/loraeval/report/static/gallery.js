// The gallery: which score each image shows, sorting, filtering, columns, arrow keys.
"use strict";
const loraeval = (() => {
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);
  const shots = new Map(read("shots").map((shot) => [shot.number, shot]));
  const means = read("means");
  const gated = Object.keys(means).filter((name) => !name.includes("."));
  const table = byId("images");
  const lines = [...table.tBodies[0].rows];
  const metric = byId("metric");

  // The metric and number that an image shows: the chosen one, or the one furthest below the
  // baseline's mean, or the lowest where there is no baseline.
  function shown(shot) {
    if (metric.value) return { name: metric.value, value: shot.scores[metric.value] ?? null };
    let worst = { name: "", value: null, gap: Infinity };
    for (const [name, value] of Object.entries(shot.scores)) {
      if (value === null || (gated.length ? !gated.includes(name) : name.includes("."))) continue;
      const gap = value - (means[name] ?? 0);
      if (gap < worst.gap) worst = { name, value, gap };
    }
    return worst;
  }

  const gap = (shot) => {
    const { name, value } = shown(shot);
    return value === null ? null : metric.value ? value : value - (means[name] ?? 0);
  };

  function describe() {
    for (const label of document.querySelectorAll("[data-score]")) {
      const shot = shots.get(Number(label.dataset.score));
      const { name, value } = shown(shot);
      label.textContent = value === null ? "no score" : metric.value ? value.toFixed(2) : `${name} ${value.toFixed(2)}`;
      label.style.setProperty("--share", value === null ? 0 : value);
      label.classList.toggle("none", value === null);
      const button = label.closest("button");
      button.dataset.label ??= button.getAttribute("aria-label");
      const spoken = value === null ? "no score" : `${name} ${value.toFixed(2)}`;
      button.setAttribute("aria-label", `${button.dataset.label}, ${spoken}`);
    }
    byId("foot-metric").textContent = metric.value;
    table.tFoot.hidden = !metric.value;
    for (const cell of document.querySelectorAll("[data-foot]")) {
      cell.textContent = mean((shot) => shot.column === Number(cell.dataset.foot));
    }
    const base = byId("foot-base");
    if (base) base.textContent = metric.value && metric.value in means ? means[metric.value].toFixed(2) : mean((shot) => shot.column < 0);
  }

  function mean(belongs) {
    const values = [...shots.values()].filter(belongs).map((shot) => shown(shot).value).filter((value) => value !== null);
    return values.length ? (values.reduce((a, b) => a + b, 0) / values.length).toFixed(2) : "";
  }

  function visibleShots(line) {
    return [...line.querySelectorAll("td[data-column]:not([hidden]) .shot:not([hidden])")].map((button) =>
      shots.get(Number(button.dataset.shot)));
  }

  function arrange() {
    const words = byId("find").value.trim().toLowerCase();
    const below = byId("below").value === "" ? null : Number(byId("below").value);
    let images = 0;
    let prompts = 0;
    for (const line of lines) {
      for (const button of line.querySelectorAll("td[data-column] .shot")) {
        const { value } = shown(shots.get(Number(button.dataset.shot)));
        button.hidden = below !== null && !(value !== null && value < below);
      }
      const found = !words || line.querySelector("th").textContent.toLowerCase().includes(words);
      const left = visibleShots(line);
      line.hidden = !found || left.length === 0;
      images += line.hidden ? 0 : left.length;
      prompts += line.hidden ? 0 : 1;
    }
    const order = byId("sort").value;
    const extreme = (line, pick) => {
      const gaps = visibleShots(line).map(gap).filter((value) => value !== null);
      return gaps.length ? pick(...gaps) : Infinity;
    };
    const keys = new Map(lines.map((line, place) => [line, {
      given: place,
      worst: extreme(line, Math.min),
      best: -extreme(line, Math.max),
      name: line.querySelector(".id").textContent,
    }[order]]));
    const sorted = [...lines].sort((a, b) => (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : 0));
    table.tBodies[0].append(...sorted);
    byId("shown").textContent = `${images} images of ${prompts} prompts shown`;
  }

  function columns() {
    for (const box of document.querySelectorAll("input[data-column]")) {
      for (const cell of table.querySelectorAll(`[data-column="${box.dataset.column}"]`)) cell.hidden = !box.checked;
    }
  }

  // Buttons that are open to the arrow keys, as a grid of what is on the screen.
  function grid() {
    return [...table.tBodies[0].rows].filter((line) => !line.hidden)
      .map((line) => [...line.querySelectorAll("td:not([hidden]) .shot:not([hidden])")]).filter((line) => line.length);
  }

  function step(number, key) {
    const rows = grid();
    const y = rows.findIndex((line) => line.some((button) => Number(button.dataset.shot) === number));
    if (y < 0) return null;
    const x = rows[y].findIndex((button) => Number(button.dataset.shot) === number);
    const dx = { ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0;
    const dy = { ArrowUp: -1, ArrowDown: 1 }[key] ?? 0;
    const line = rows[y + dy];
    return line ? line[dy ? Math.min(x, line.length - 1) : x + dx] ?? null : null;
  }

  table.addEventListener("keydown", (event) => {
    const button = event.target.closest(".shot");
    if (!button || !event.key.startsWith("Arrow")) return;
    const next = step(Number(button.dataset.shot), event.key);
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });

  const side = () => table.style.setProperty("--side", `${byId("side").value}px`);
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  byId("tools").addEventListener("input", () => {
    side();
    columns();
    describe();
    arrange();
  });
  // Thumbnails as large as all columns fit beside each other.
  const across = table.tHead.rows[0].cells.length - 1;
  const room = table.parentElement.clientWidth - 150 - 24;
  byId("side").value = String(Math.max(64, Math.min(128, Math.floor((room / across - 7) / 8) * 8)));
  side();
  describe();
  arrange();
  return { shots, step, byId };
})();
