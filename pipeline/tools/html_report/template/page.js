"use strict";
// Draws every figure of the page in the colours of its style sheet, and again when those change.
(() => {
  const drawings = JSON.parse(document.getElementById("drawings").textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const narrow = () => window.innerWidth < 520;

  function themed(layout) {
    const axis = { gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line") };
    return {
      ...layout,
      autosize: true,
      margin: { l: 10, r: 10, t: 46, b: 10 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("ink"), family: getComputedStyle(document.body).fontFamily, size: narrow() ? 10 : 12 },
      hoverlabel: { bgcolor: colour("paper"), bordercolor: colour("line"), font: { color: colour("ink") } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("faint"), activecolor: colour("accent") },
      xaxis: { ...layout.xaxis, ...axis },
      yaxis: { ...layout.yaxis, ...axis },
    };
  }

  const shown = Object.entries(drawings)
    .map(([key, drawing]) => [document.getElementById(`figure-${key}`), drawing])
    .filter(([place]) => place !== null);
  // Named one by one: among the buttons of plotly.js is one that sends the data to a service of its makers.
  const options = {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: "",
    displayModeBar: "hover",
    modeBarButtons: [["toImage", "resetScale2d"]],
  };
  const draw = () => {
    for (const [place, { data, layout }] of shown) {
      Plotly.react(place, data, themed(layout), options);
    }
  };
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // Paper has other measures and no dark side.
  window.matchMedia("print").addEventListener("change", draw);
})();
