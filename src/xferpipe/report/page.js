// Draws the charts from the specifications in the page, and lets tables be sorted and filtered.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const views = new Map(); // figure name -> views of its panels

  // A table is held as columns; one of few different texts as these and the place of each row's.
  const rowsOf = (table) => {
    const columns = Object.entries(table).map(([name, column]) =>
      [name, Array.isArray(column) ? column : column.at.map((place) => column.of[place])]);
    return (columns[0]?.[1] ?? []).map((_, row) =>
      Object.fromEntries(columns.map(([name, values]) => [name, values[row]])));
  };

  const draw = async () => {
    const { shared, tables, charts } =
      JSON.parse(document.getElementById("specifications").textContent);
    for (const element of all(".chart")) {
      const words = element.getAttribute("aria-label");
      const chart = charts[element.dataset.spec];
      const datasets = Object.fromEntries(
        Object.entries(chart.datasets).map(([name, number]) => [name, rowsOf(tables[number])]));
      const { view } = await vegaEmbed(element, { ...shared, ...chart, datasets }, {
        renderer: "svg",
        actions: false,
        tooltip: { theme: "light" },
      });
      element.setAttribute("aria-label", words);
      element.style.minHeight = "";
      const { figure } = element.dataset;
      views.set(figure, [...(views.get(figure) || []), view]);
    }
    document.documentElement.dataset.drawn = String(all(".chart svg").length);
  };

  const set = (figure, parameter, value) =>
    Promise.all((views.get(figure) || []).map((view) => view.signal(parameter, value).runAsync()));

  for (const menu of all("select[data-parameter]")) {
    menu.addEventListener("change", () =>
      set(menu.dataset.figure, menu.dataset.parameter, menu.value));
  }

  for (const entry of all("[data-highlight]")) {
    const { figure, highlight } = entry.dataset;
    const press = () => {
      const on = entry.getAttribute("aria-pressed") !== "true";
      for (const other of all("[data-highlight]", entry.parentElement)) {
        other.setAttribute("aria-pressed", String(on && other === entry));
      }
      set(figure, "highlight", on ? highlight : null);
    };
    entry.addEventListener("click", press);
    entry.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        press();
      }
    });
  }

  for (const field of all("input[data-filter]")) {
    const name = field.dataset.filter;
    const rows = all(`#table-${CSS.escape(name)} tbody tr`);
    const count = document.querySelector(`[data-count="${CSS.escape(name)}"]`);
    const before = count.textContent;
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const keep = words.every((word) => text.includes(word));
        row.hidden = !keep;
        shown += keep;
      }
      count.textContent = words.length ? `${shown} of ${before}` : before;
    });
  }

  for (const button of all("th button")) {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const column = head.cellIndex;
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = head.closest("table").tBodies[0];
      const number = head.classList.contains("number");
      const key = (row) => {
        const cell = row.cells[column];
        return number ? Number(cell.dataset.key || cell.textContent) : cell.textContent;
      };
      const sorted = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y); // last
        const order = number ? x - y : x.localeCompare(y, "en", { numeric: true });
        return up ? order : -order;
      });
      body.append(...sorted);
    });
  }

  // The links hold compressed files; a browser that can unpack them hands out plain CSV.
  const download = async (link) => {
    const bytes = Uint8Array.from(atob(link.href.split(",")[1]), (c) => c.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const file = document.createElement("a");
    file.href = URL.createObjectURL(await new Response(plain).blob());
    file.download = link.download.replace(/\.gz$/, "");
    file.click();
    setTimeout(() => URL.revokeObjectURL(file.href), 10000);
  };
  for (const link of window.DecompressionStream ? all("a[download$='.csv.gz']") : []) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      download(link);
    });
  }

  if (document.querySelector(".chart")) draw();
  else document.documentElement.dataset.drawn = "0";
})();
