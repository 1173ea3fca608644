// Blind choices between two images; the page knows neither which is which nor what they scored.
"use strict";
(() => {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  const headers = { "X-Loraeval-Token": token, "Content-Type": "application/json" };
  const byId = (id) => document.getElementById(id);
  let pair = null;
  let busy = false;

  function show(state) {
    pair = state.pair;
    byId("progress").textContent = `${state.done} of ${state.total} pairs judged`;
    byId("undo").disabled = !state.undo;
    byId("pair").hidden = pair === null;
    byId("end").hidden = pair !== null;
    document.querySelector('[data-side="same"]').hidden = pair === null;
    if (pair === null) {
      byId("summary").textContent = state.summary;
      return;
    }
    byId("prompt").textContent = state.prompt;
    byId("prompt").hidden = state.prompt === "";
    for (const side of ["left", "right"]) load(side, state[side]);
  }

  // An image element cannot send the token's header, and the token belongs in no address.
  async function load(side, name) {
    const image = byId(side);
    const answer = await fetch(`/image/${name}`, { headers });
    const address = URL.createObjectURL(await answer.blob());
    image.onload = () => URL.revokeObjectURL(address);
    image.src = address;
  }

  async function ask(path, options = {}) {
    const answer = await fetch(path, { headers, ...options });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    show(await answer.json());
  }

  async function choose(side) {
    if (busy || (pair === null && side !== "undo")) return;
    busy = true;
    try {
      await ask("/choice", { method: "POST", body: JSON.stringify({ pair: pair ?? "", side }) });
    } catch (error) {
      byId("progress").textContent = `Not stored: ${error.message}`;
    }
    busy = false;
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-side]");
    if (button) choose(button.dataset.side);
  });
  document.addEventListener("keydown", (event) => {
    const side = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "same", u: "undo", U: "undo" }[event.key];
    if (side && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      choose(side);
    }
  });
  ask("/state").catch((error) => { byId("progress").textContent = error.message; });
})();
