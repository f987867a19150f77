"use strict";
(() => {
  const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
  const bar = document.getElementById("filters");
  if (!bar) return;
  const search = document.getElementById("search"), engine = document.getElementById("engine");
  const fresh = document.getElementById("fresh"), unsettled = document.getElementById("unsettled");
  const shown = document.getElementById("shown");
  const levels = all("input[name=severity]", bar);
  const sections = all("section.sev").map((node) => ({
    node,
    level: node.id,
    files: all(".file", node).map((file) => ({
      node: file,
      path: file.querySelector(".path").textContent.toLowerCase(),
      findings: all(".f", file).map((f) => ({ node: f, engine: f.dataset.e, fresh: "n" in f.dataset, settled: f.classList.contains("settled"), text: null })),
    })),
  }));
  const total = sections.reduce((sum, s) => sum + s.files.reduce((n, f) => n + f.findings.length, 0), 0);
  const number = (n) => n.toLocaleString("en");

  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(levels.filter((box) => box.checked).map((box) => box.value));
    let count = 0;
    for (const section of sections) {
      let inSection = 0;
      for (const file of section.files) {
        let inFile = 0;
        for (const f of file.findings) {
          let fits = wanted.has(section.level) && (!engine.value || f.engine === engine.value)
            && (!fresh || !fresh.checked || f.fresh) && (!unsettled || !unsettled.checked || !f.settled);
          if (fits && words.length) {
            if (f.text === null) f.text = file.path + " " + f.node.textContent.toLowerCase();
            fits = words.every((word) => f.text.includes(word));
          }
          if (f.node.hidden === fits) f.node.hidden = !fits;
          if (fits) inFile++;
        }
        if (file.node.hidden !== (inFile === 0)) file.node.hidden = inFile === 0;
        inSection += inFile;
      }
      section.node.hidden = inSection === 0;
      count += inSection;
    }
    shown.textContent = count === total ? number(total) + " shown" : number(count) + " of " + number(total) + " shown";
  };

  let timer = 0;
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, 120); });
  for (const control of [engine, fresh, unsettled, ...levels]) if (control) control.addEventListener("change", apply);
  const toggle = (open) => all(".f:not([hidden]) details").forEach((d) => { d.open = open; });
  document.getElementById("open").addEventListener("click", () => toggle(true));
  document.getElementById("close").addEventListener("click", () => toggle(false));
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName || "");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); search.focus(); }
    if (event.key === "Escape" && event.target === search) { search.value = ""; apply(); }
  });
  // A link to a severity or a finding must lead somewhere, whatever is filtered out.
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!target || !target.closest("section.sev")) return;
    if (target.hidden || target.closest("[hidden]")) {
      search.value = ""; engine.value = ""; for (const box of [fresh, unsettled]) if (box) box.checked = false;
      levels.forEach((box) => { box.checked = true; });
      apply();
    }
    const details = target.querySelector(":scope > details");
    if (details) details.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  // On paper everything that is shown is open.
  let closed = [];
  addEventListener("beforeprint", () => { closed = all(".f:not([hidden]) details:not([open])"); closed.forEach((d) => { d.open = true; }); });
  addEventListener("afterprint", () => { closed.forEach((d) => { d.open = false; }); closed = []; });
  bar.hidden = false;
  apply();
  reveal();
})();
