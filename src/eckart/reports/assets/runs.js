"use strict";
// The table of runs, and the pictures of a chosen run.
{
  const PAGE = 100;
  const { runs } = page.data;
  const table = document.getElementById("runs");
  const number = new Set(["integer", "number", "error", "excess", "seconds", "fraction"]);
  const pictured = new Map((page.data.pictures?.runs ?? []).map((run, place) => [run.run, place]));

  const shownNumber = (kind, value) => {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    if (value === 0) return "0";
    if (kind === "excess") return value.toExponential(1);
    if (kind === "error") return Math.abs(value) < 1e-3 ? value.toExponential(3) : value.toFixed(6);
    if (kind === "fraction") return value.toFixed(4);
    if (kind === "seconds") return value < 0.1 ? value.toPrecision(2) : value.toFixed(2);
    if (Number.isInteger(value)) return String(value);
    return Math.abs(value) < 1e-4 || Math.abs(value) >= 1e6 ? value.toExponential(2) : String(Number(value.toPrecision(6)));
  };

  const detail = (part, row) => [
    ...Object.entries(part.own).map(([name, values]) => [name, Array.isArray(values) ? values[row] : page.level(values, row)]),
    ...Object.entries(part.shared),
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");

  const list = (title, pairs) => {
    if (!pairs.length) return null;
    const items = pairs.map(([name, value]) =>
      page.make("div", {}, page.make("dt", {}, name), page.make("dd", {}, shownNumber("number", value))));
    return page.make("div", {}, page.make("h4", {}, title), page.make("dl", {}, ...items));
  };

  const details = (row, columns) => {
    const error = page.level(runs.errors, row);
    const command = runs.commands[row];
    const inner = page.make("div", {},
      error ? page.make("p", {}, error) : null,
      command ? page.make("pre", { tabindex: "0" }, page.make("code", {}, command)) : null,
      list("Results", detail(runs.results, row)),
      list("Config", detail(runs.settings, row).sort(([left], [right]) => (left < right ? -1 : 1))));
    return page.make("tr", {}, page.make("td", { colspan: columns, class: "details" }, inner));
  };

  const cell = (column, row) => {
    const value = column.values[row];
    if (column.key === "status") return page.make("td", { class: `status-${value}` }, value);
    if (column.kind === "folder") {
      const href = runs.hrefs[row];
      return page.make("td", { class: "folder" }, href ? page.make("a", { href }, value) : value);
    }
    if (column.kind === "link") {
      const address = value && /^https?:\/\//.test(value);
      const said = value ? (address ? page.make("a", { href: value, rel: "noreferrer" }, "run") : value.split("/").pop()) : "–";
      return page.make("td", { class: "link", title: value && !address ? value : null }, said);
    }
    return page.make("td", number.has(column.kind) ? { class: "number" } : {}, shownNumber(column.kind, value));
  };

  if (table) {
    const state = { sorted: null, up: true, first: 0, rows: null };
    const texts = [];
    const textOf = (row) => (texts[row] ??= ` ${[
      page.level(runs.names, row), page.level(runs.lines, row), page.level(runs.errors, row), runs.commands[row],
      ...runs.columns.map((column) => (column.values[row] === null ? "" : `${column.key}=${column.values[row]} ${column.values[row]}`)),
    ].join(" ").toLowerCase()} `);

    const heads = runs.columns.map((column) => {
      const head = page.make("th", { scope: "col", class: number.has(column.kind) ? "number" : column.kind });
      const button = page.make("button", { type: "button" }, column.label);
      button.addEventListener("click", () => {
        state.up = state.sorted === column ? !state.up : true;
        state.sorted = column;
        state.first = 0;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", state.up ? "ascending" : "descending");
        render();
      });
      head.append(button);
      return head;
    });
    table.tHead.append(page.make("tr", {}, page.make("td", {}, page.make("span", { class: "unseen" }, "more")), ...heads));

    const chosen = () => {
      const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean)
        // rank=2 is not rank=20.
        .map((word) => (/=[\d.e+-]+$/.test(word) ? ` ${word} ` : word));
      const status = document.getElementById("status").value;
      const statuses = runs.columns.find((column) => column.key === "status").values;
      const rows = [];
      for (let row = 0; row < runs.count; row += 1) {
        if (status && statuses[row] !== status) continue;
        if (words.every((word) => textOf(row).includes(word))) rows.push(row);
      }
      return rows;
    };

    const sorted = (rows) => {
      if (!state.sorted) return rows;
      const { values } = state.sorted;
      const sign = state.up ? 1 : -1;
      const compare = new Intl.Collator(undefined, { numeric: true }).compare;
      return [...rows].sort((left, right) => {
        const [a, b] = [values[left], values[right]];
        // What is not known comes last, whichever way the column is sorted.
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (typeof a === "number" && typeof b === "number" ? a - b : compare(String(a), String(b)));
      });
    };

    const rowOf = (row) => {
      const more = page.make("button", { type: "button", "aria-expanded": "false", "aria-label": `Details of ${page.level(runs.names, row)}` }, "details");
      const buttons = page.make("td", {}, more);
      if (pictured.has(row)) {
        const show = page.make("button", { type: "button", "aria-label": `Pictures of ${page.level(runs.names, row)}` }, "pictures");
        show.addEventListener("click", () => {
          page.choosePictures(pictured.get(row));
          document.getElementById("picture-section").scrollIntoView();
          document.getElementById("chooser").focus({ preventScroll: true });
        });
        buttons.append(" ", show);
      }
      const made = page.make("tr", { "data-run": row }, buttons, ...runs.columns.map((column) => cell(column, row)));
      more.addEventListener("click", () => {
        const open = more.getAttribute("aria-expanded") === "true";
        more.setAttribute("aria-expanded", String(!open));
        if (open) made.nextElementSibling.remove();
        else made.after(details(row, runs.columns.length + 1));
      });
      return made;
    };

    const render = () => {
      const rows = sorted(state.rows);
      const part = rows.slice(state.first, state.first + PAGE);
      table.tBodies[0].replaceChildren(...part.map(rowOf));
      const count = runs.count.toLocaleString("en");
      document.getElementById("shown").textContent = rows.length === runs.count ? `${count} runs` : `${rows.length.toLocaleString("en")} of ${count} runs`;
      document.getElementById("pages").hidden = rows.length <= PAGE;
      document.getElementById("page").textContent = `${state.first + 1}–${state.first + part.length} of ${rows.length}`;
      document.getElementById("previous-page").disabled = state.first === 0;
      document.getElementById("next-page").disabled = state.first + PAGE >= rows.length;
    };

    const filter = () => {
      state.rows = chosen();
      state.first = 0;
      page.shownRuns = state.rows.length === runs.count ? null : new Set(state.rows);
      render();
    };

    const status = document.getElementById("status");
    const statuses = new Set(runs.columns.find((column) => column.key === "status").values);
    for (const value of [...statuses].sort()) status.append(page.make("option", { value }, value));
    page.filters.push((row) => !page.shownRuns || row.run === undefined || page.shownRuns.has(row.run));
    let waiting = 0;
    const changed = () => {
      filter();
      clearTimeout(waiting);
      waiting = setTimeout(() => page.refresh((plot) => plot.curves), 200);
    };
    document.getElementById("filter").addEventListener("input", changed);
    status.addEventListener("change", changed);
    for (const [id, by] of [["previous-page", -PAGE], ["next-page", PAGE]]) {
      document.getElementById(id).addEventListener("click", () => {
        state.first += by;
        render();
      });
    }
    filter();
  }

  const chooser = document.getElementById("chooser");
  if (chooser) {
    const pictures = page.data.pictures;
    const previous = document.getElementById("previous-run");
    const next = document.getElementById("next-run");
    pictures.runs.forEach((run, place) => chooser.append(page.make("option", { value: place }, run.name)));
    const scale = ([low, high, map]) => {
      const bar = page.make("span", { role: "img", "aria-label": `colors from ${low} to ${high}` });
      bar.style.background = `linear-gradient(to right, ${pictures.colors[map]})`;
      return page.make("div", { class: "scale note" }, page.make("span", {}, low), bar, page.make("span", {}, high));
    };
    page.choosePictures = (place) => {
      chooser.value = place;
      const run = pictures.runs[place];
      const figures = run.images.map((image) => page.make("figure", { class: image.pixels ? null : "wide" },
        page.make("h3", {}, image.title),
        page.make("img", { src: pictures.sources[image.src], alt: `${image.title}, of the run ${run.name}`, class: image.pixels ? "pixels" : null }),
        image.scale ? scale(image.scale) : null,
        image.caption ? page.make("figcaption", {}, image.caption) : null));
      document.getElementById("pictures").replaceChildren(...figures);
      previous.disabled = place === 0;
      next.disabled = place === pictures.runs.length - 1;
    };
    chooser.addEventListener("change", () => page.choosePictures(Number(chooser.value)));
    previous.addEventListener("click", () => page.choosePictures(Number(chooser.value) - 1));
    next.addEventListener("click", () => page.choosePictures(Number(chooser.value) + 1));
    if (pictures.runs.length < pictures.of) {
      document.getElementById("pictures-note").textContent =
        `Pictures of ${pictures.runs.length} of ${pictures.of} runs are in this page, the first seed of each method and rank first.`;
    }
    page.choosePictures(0);
  }
}

{
  const metric = document.getElementById("metric");
  if (metric) {
    const figure = document.querySelector('figure[data-plot="metric-step"]');
    const log = document.getElementById("metric-log");
    const change = () => {
      const plot = page.data.plots["metric-step"];
      plot.curves = metric.value;
      figure.querySelector("h3").textContent = metric.selectedOptions[0].textContent;
      for (const layer of plot.spec.layer) layer.encoding.y.scale.type = log.checked ? "log" : "linear";
      page.redraw(figure);
    };
    metric.addEventListener("change", change);
    log.addEventListener("change", change);
  }
}
