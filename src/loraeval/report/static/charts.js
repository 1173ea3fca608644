// Draws the page's charts with the bundled vega-embed, in the colours of the reader's scheme.
"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const specs = read("chart-specs");
  const configs = read("chart-configs");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  // vega-embed writes inline styles and a style element; expressions run in its interpreter, so
  // that the page's policy can forbid evaluating text as code.
  const options = { actions: false, ast: true, renderer: "svg", mode: "vega-lite" };

  async function draw() {
    for (const place of document.querySelectorAll("[data-chart]")) {
      const spec = structuredClone(specs[place.dataset.chart]);
      spec.config = dark.matches ? configs.dark : configs.light;
      try {
        await window.vegaEmbed(place, spec, options);
        place.dataset.drawn = "yes";
      } catch (error) {
        place.textContent = `The chart could not be drawn: ${error.message}`;
      }
    }
  }

  if (Object.keys(specs).length) {
    draw();
    dark.addEventListener("change", draw);
  }
})();
