
"use strict";
(() => {
  const root = document.documentElement;
  const say = (text) => { document.getElementById("status").textContent = text; };

  // Theme: auto, light, dark.
  const themes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  const use = (theme) => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    button.value = theme;
    try { localStorage.setItem("bitfit-probe-theme", theme); } catch { /* a page without storage */ }
  };
  let kept = null;
  try { kept = localStorage.getItem("bitfit-probe-theme"); } catch { /* a page without storage */ }
  use(themes.includes(kept) ? kept : "auto");
  button.hidden = false;
  button.addEventListener("click", () => use(themes[(themes.indexOf(button.value) + 1) % themes.length]));

  // A link opens what it leads into.
  const open = () => {
    let target = null;
    try { target = document.getElementById(decodeURIComponent(location.hash.slice(1))); } catch { /* no such id */ }
    for (; target; target = target.parentElement) if (target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", open);
  open();

  // Paper has no folds; the long list of tensors stays shut.
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details:not(#tensors details)")) fold.open = true;
  });

  // Heat maps: the figure of the cell in focus, which the arrow keys move.
  for (const map of document.querySelectorAll("[data-heat]")) {
    const rows = [...map.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td")]);
    const tip = (cell, on) => { if (on && cell.title) cell.dataset.tip = cell.title; else delete cell.dataset.tip; };
    rows.flat().forEach((cell) => {
      cell.tabIndex = -1;
      if (cell.title) cell.setAttribute("aria-label", cell.title);
      cell.addEventListener("focus", () => tip(cell, true));
      cell.addEventListener("blur", () => tip(cell, false));
    });
    if (rows.length) rows[0][0].tabIndex = 0;
    map.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      const down = rows.findIndex((row) => row.includes(document.activeElement));
      if (!step || down < 0) return;
      const next = rows[down + step[0]]?.[rows[down].indexOf(document.activeElement) + step[1]];
      if (!next) return;
      document.activeElement.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
      event.preventDefault();
    });
  }

  const number = (text) => {
    const value = parseFloat(text.replace(/[,+[]/g, ""));
    return Number.isNaN(value) ? null : value;
  };
  const order = (a, b) => {
    const [x, y] = [number(a), number(b)];
    if (x !== null && y !== null) return x - y;
    if (x === null && y === null) return a.localeCompare(b);
    return x === null ? 1 : -1;
  };
  const csv = (rows) => rows.map((row) => row.map((cell) => {
    const safe = /^[=+@-]/.test(cell) && number(cell) === null ? `'${cell}` : cell;
    return /[",\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  }).join(",")).join("\n");

  for (const holder of document.querySelectorAll("[data-table]")) {
    const table = holder.querySelector("table");
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const texts = (row) => [...row.cells].map((cell) => cell.textContent.trim());
    const titles = texts(table.tHead.rows[0]);
    if (body.rows.length > 1) heads.forEach((head, column) => {
      const sort = document.createElement("button");
      sort.type = "button";
      sort.textContent = head.textContent;
      head.replaceChildren(sort);
      sort.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const keyed = [...body.rows].map((row) => [row.cells[column].textContent.trim(), row]);
        keyed.sort(([a], [b]) => {
          const lacks = (number(a) === null) - (number(b) === null);
          return head.classList.contains("number") && lacks ? lacks : down ? order(b, a) : order(a, b);
        });
        body.replaceChildren(...keyed.map(([, row]) => row));
        say(`Sorted by ${titles[column]}, ${down ? "descending" : "ascending"}`);
      });
    });

    const tools = document.createElement("div");
    tools.className = "tools";
    if (body.rows.length > 12) {
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "search";
      input.id = `filter-${holder.dataset.table}`;
      label.htmlFor = input.id;
      label.textContent = "Filter";
      tools.append(label, input);
      input.addEventListener("input", () => {
        const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        let shown = 0;
        for (const row of body.rows) {
          const text = row.textContent.toLowerCase();
          row.hidden = !wanted.every((word) => text.includes(word));
          shown += !row.hidden;
        }
        say(`${shown} of ${body.rows.length} rows`);
      });
    }
    const copy = document.createElement("button");
    copy.type = "button";
    copy.textContent = "Copy as CSV";
    tools.append(copy);
    copy.addEventListener("click", async () => {
      const rows = [...body.rows].filter((row) => !row.hidden).map(texts);
      const text = csv([titles, ...rows]);
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        const area = document.createElement("textarea");
        area.value = text;
        area.className = "hidden";
        document.body.append(area);
        area.select();
        document.execCommand("copy");
        area.remove();
      }
      copy.textContent = `Copied ${rows.length} row${rows.length === 1 ? "" : "s"}`;
      say(copy.textContent);
      setTimeout(() => { copy.textContent = "Copy as CSV"; }, 2000);
    });
    holder.prepend(tools);
  }
})();
