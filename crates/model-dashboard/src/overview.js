(() => {
  const body = document.querySelector("#models tbody");
  const rows = [...body.rows].map((row) => {
    const [name, cpu, invocations, latency, errors, retrained, flags] = row.dataset.k.split("|");
    return { row, name, cpu: +cpu, invocations: +invocations, latency: +latency, errors: +errors, retrained: +retrained, flags, text: row.textContent.toLowerCase() };
  });
  const [search, filter, sort] = ["q", "f", "s"].map((id) => document.getElementById(id));
  const shown = document.getElementById("shown");
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const { row, text, flags } of rows) {
      const fits = words.every((word) => text.includes(word)) && (!filter.value || flags.includes(filter.value));
      row.hidden = !fits;
      count += fits;
    }
    shown.textContent = `${count} of ${rows.length} ${rows.length === 1 ? "model" : "models"}`;
  };
  const order = () => {
    const by = sort.value;
    const sorted = by === "attention" ? rows : [...rows].sort((a, b) => by === "name" ? a.name.localeCompare(b.name) : b[by] - a[by]);
    body.append(...sorted.map(({ row }) => row));
  };
  const remember = () => {
    const state = new URLSearchParams();
    if (search.value) state.set("q", search.value);
    if (filter.value) state.set("f", filter.value);
    if (sort.value !== "attention") state.set("s", sort.value);
    history.replaceState(null, "", "#" + state);
  };
  const state = new URLSearchParams(location.hash.slice(1));
  search.value = state.get("q") ?? "";
  filter.value = state.get("f") ?? "";
  sort.value = state.get("s") ?? "attention";
  if (sort.selectedIndex < 0) sort.value = "attention";
  if (filter.selectedIndex < 0) filter.value = "";
  search.addEventListener("input", () => { apply(); remember(); });
  filter.addEventListener("change", () => { apply(); remember(); });
  sort.addEventListener("change", () => { order(); remember(); });
  document.querySelector(".tools").hidden = false;
  order();
  apply();
})();
