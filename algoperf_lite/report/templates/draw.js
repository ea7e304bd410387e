(() => {
  const touch = matchMedia("(pointer: coarse)").matches;  // there a finger on a figure scrolls the page
  const config = {displayModeBar: false, displaylogo: false, showTips: false};
  const drawn = new Set();
  // A figure follows its box, whatever changed it: the window, a turned phone, what stands beside it.
  const boxes = new ResizeObserver(seen => {
    for (const {target} of seen)
      if (target.offsetWidth && target.offsetWidth !== target._fullLayout.width) Plotly.Plots.resize(target);
  });

  // JSON of a block, with the page's colours of the moment
  const read = block => {
    const style = getComputedStyle(document.documentElement);
    return JSON.parse(block.textContent.replace(/var\((--\w+)\)/g, (_, name) => style.getPropertyValue(name)));
  };
  const show = (block, data, layout) => {
    layout.dragmode = touch ? false : "zoom";
    layout.xaxis.fixedrange = layout.yaxis.fixedrange = touch;
    let plot = block.nextElementSibling;
    if (!plot) {
      const named = {className: "live", role: "img", ariaLabel: block.dataset.title};
      block.after(plot = Object.assign(document.createElement("div"), named));
    }
    Plotly.react(plot, data, layout, config);
    boxes.observe(plot);
    block.parentElement.classList.add("drawn");  // last: a figure that failed keeps its SVG
  };
  const drawTwin = block => {
    const {data, layout} = read(block);
    for (const trace of data.filter(trace => trace.labels))
      trace.text = trace.labels.flatMap(([points, text]) => Array(points).fill(text));
    show(block, data, layout);
  };
  const drawTrials = block => {
    const [axis, workload, only] = [...block.parentElement.querySelectorAll("select")].map(menu => menu.value);
    const {axes, workloads, layout, marks, colours} = read(block);
    const {title, ...scale} = axes[axis];
    const {range, ticks, words, trials} = workloads[workload];
    const data = colours.map((color, i) => {
      const mine = trials.filter(trial => trial[0] === i && trial[4][axis] !== null && (!only || i == only));
      return {
        type: "scatter", mode: "markers", x: mine.map(trial => trial[4][axis]), y: mine.map(trial => trial[1]),
        text: mine.map(trial => trial[3]), hovertemplate: "%{text}<extra></extra>",
        marker: {
          color, size: mine.map(trial => trial[2] === 1 ? 10 : 7),
          symbol: mine.map(trial => trial[2] === -1 ? "x-thin-open" : trial[2] ? marks[i] : marks[i] + "-open"),
        },
      };
    }).filter(trace => trace.x.length).reverse();  // the first entrant on top
    Object.assign(layout.xaxis, scale, {title: {...layout.xaxis.title, text: title}});
    delete layout.xaxis.rangemode;
    Object.assign(layout.yaxis, {range, tickvals: ticks, ticktext: words});
    show(block, data, layout);
  };
  const draw = block => {
    drawn.add(block);
    (block.className === "twin" ? drawTwin : drawTrials)(block);
  };

  // Figures are drawn when they come near the screen: a page of many opens at once.
  const near = new IntersectionObserver(seen => {
    for (const {isIntersecting, target} of seen)
      if (isIntersecting) {
        near.unobserve(target);
        draw(target.querySelector("script"));
      }
  }, {rootMargin: "600px"});
  for (const block of document.querySelectorAll("script.twin, script.trials")) {
    block.parentElement.hidden = false;
    near.observe(block.parentElement);
  }
  document.querySelectorAll(".explorer").forEach(box =>
    box.addEventListener("change", () => draw(box.querySelector("script"))));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
})();
