"use strict";
// Plots, their tooltips, and the choice of light or dark. Whatever comes from the data becomes text, never markup.
const page = { data: JSON.parse(document.getElementById("data").textContent), views: new Map(), filters: [], drawing: new Map() };

page.make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

page.rows = (columns) => {
  const names = Object.keys(columns);
  const count = names.length ? columns[names[0]].length : 0;
  return Array.from({ length: count }, (_, row) => Object.fromEntries(names.map((name) => [name, columns[name][row]])));
};

page.level = (levels, row) => levels.levels[levels.index[row]];

page.curveRows = (name) => {
  const { names, lines, colors, panels, columns } = page.data.runs;
  const ranks = columns.find((column) => column.key === "rank");
  const floor = name.startsWith("excess") ? 1e-15 : null;
  return page.data.curves[name].flatMap(([run, steps, values]) => {
    const shared = { run, name: page.level(names, run), line: page.level(lines, run), color: page.level(colors, run),
      panel: page.level(panels, run), rank: ranks ? ranks.values[run] : null };
    const log = name !== "accuracy-epoch" && (!name.startsWith("metric ") || document.getElementById("metric-log").checked);
    return steps.map((step, place) => {
      const value = floor === null ? values[place] : Math.max(values[place], floor);
      return { ...shared, step, value: log && !(value > 0) ? null : value };
    });
  });
};

// The rows of a plot that the choices of the page leave: each filter says whether a row is shown.
page.dataOf = (key) => {
  const plot = page.data.plots[key];
  plot.all ??= Object.fromEntries([
    ...Object.entries(plot.rows).map(([name, columns]) => [name, page.rows(columns)]),
    ...(plot.curves ? [["curves", page.curveRows(plot.curves)]] : []),
  ]);
  const shown = (row) => page.filters.every((filter) => filter(row));
  return Object.fromEntries(Object.entries(plot.all).map(([name, rows]) => [name, rows.filter(shown)]));
};

page.tooltip = (_handler, event, _item, value) => {
  const box = document.getElementById("tooltip");
  if (value === null || value === undefined || value === "") {
    box.hidden = true;
    return;
  }
  const list = page.make("dl");
  for (const [name, said] of Object.entries(value)) {
    if (said === null || said === "null" || said === "" || said === undefined) continue;
    list.append(page.make("dt", {}, name), page.make("dd", {}, String(said)));
  }
  box.replaceChildren(list);
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const left = event.clientX + 14 + width > innerWidth ? event.clientX - width - 14 : event.clientX + 14;
  const top = event.clientY + 14 + height > innerHeight ? event.clientY - height - 14 : event.clientY + 14;
  box.style.left = `${Math.max(4, left)}px`;
  box.style.top = `${Math.max(4, top)}px`;
};

// The legend names what is drawn, and no more.
page.nameLines = (figure, data) => {
  const drawn = new Set(Object.values(data).flatMap((rows) => rows.map((row) => row.color)));
  for (const item of figure.querySelectorAll(".legend li")) item.hidden = !drawn.has(item.dataset.label);
};

// The ranks of an axis are those of the chosen data, not of all.
page.labelRanks = (node, datasets) => {
  const x = node.encoding?.x;
  if (x?.field === "rank" && x.axis?.values) {
    x.axis.values = [...new Set(Object.values(datasets).flat().map((row) => row.rank))].sort((left, right) => left - right);
  }
  (node.layer ?? []).forEach((layer) => page.labelRanks(layer, datasets));
};

page.draw = (figure) => {
  const key = figure.dataset.plot;
  if (page.drawing.has(key)) return page.drawing.get(key);
  const place = figure.querySelector(".plot");
  const spec = structuredClone(page.data.plots[key].spec);
  spec.datasets = page.dataOf(key);
  page.labelRanks(spec, spec.datasets);
  page.nameLines(figure, spec.datasets);
  const options = { renderer: "svg", ast: true, actions: false, defaultStyle: false, tooltip: page.tooltip, logLevel: 1 };
  const drawn = vegaEmbed(place, spec, options).then((result) => {
    page.views.set(key, result.view);
    // To a screen reader a plot is one image; its numbers are in the table below it.
    place.setAttribute("role", "img");
    place.setAttribute("aria-labelledby", `title-${key}`);
    place.querySelector("svg").setAttribute("aria-hidden", "true");
    figure.dataset.rendered = "";
  });
  page.drawing.set(key, drawn);
  return drawn;
};

// A plot whose scale or data are others now.
page.redraw = (figure) => {
  const key = figure.dataset.plot;
  const { drawing, views } = page;
  page.data.plots[key].all = undefined;
  if (!drawing.has(key)) return;
  drawing.get(key).then(() => {
    views.get(key).finalize();
    views.delete(key);
    drawing.delete(key);
    page.draw(figure);
  });
};

// After a filter changed: plots that are drawn get the rows that are left, the others will be drawn with them.
page.refresh = (changes = () => true) => {
  for (const [key, view] of page.views) {
    if (!changes(page.data.plots[key])) continue;
    const data = page.dataOf(key);
    page.nameLines(document.querySelector(`figure[data-plot="${key}"]`), data);
    for (const [name, rows] of Object.entries(data)) view.data(name, rows);
    view.runAsync();
  }
};

page.choosePanel = (panel) => {
  page.panel = panel;
  for (const figure of document.querySelectorAll("figure[data-plot]")) {
    const { titles } = page.data.plots[figure.dataset.plot];
    if (panel in titles) figure.querySelector("h3").textContent = titles[panel];
    figure.hidden = !("" in titles) && !(panel in titles);
    page.redraw(figure);
  }
  for (const figures of document.querySelectorAll(".figures")) {
    const section = figures.closest("section");
    section.hidden = [...figures.children].every((figure) => figure.hidden);
    const link = document.querySelector(`nav a[href="#${section.id}"]`);
    if (link) link.parentElement.hidden = section.hidden;
  }
};

{
  const choice = document.getElementById("data-choice");
  page.panel = choice ? choice.value : null;
  page.filters.push((row) => page.panel === null || row.panel === undefined || row.panel === page.panel);
  if (choice) {
    choice.addEventListener("change", () => page.choosePanel(choice.value));
    page.choosePanel(choice.value);
  }

  const figures = document.querySelectorAll("figure[data-plot]");
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      page.draw(entry.target);
    }
  }, { rootMargin: "300px" });
  figures.forEach((figure) => near.observe(figure));
  addEventListener("beforeprint", () => figures.forEach(page.draw));

  const theme = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const said = () => theme.setAttribute("aria-pressed", String((document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark"));
  theme.hidden = false;
  said();
  dark.addEventListener("change", said);
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = theme.getAttribute("aria-pressed") === "true" ? "light" : "dark";
    said();
  });
}
