// The figures: the chosen group is drawn from the numbers in the page.
const data = JSON.parse(document.getElementById("data").textContent);
const node = (name, attributes, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
const text = (words, x, y, attributes = {}) => node("text", { x, y, ...attributes }, words);
const line = (x1, y1, x2, y2, style) => node("line", { x1, y1, x2, y2, class: style });
const colour = (response) => response ? data.classes[response] : "r-none";
const interval = (level, low, high) => `${+(100 * level).toFixed(2)} % interval ${low} to ${high}`;
const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const months = (days) => days === null ? "not reached" : `${(days / 30.4375).toFixed(1)} months`;
const link = (patient, words, ...drawn) => {
  const [id, address] = data.patients[patient];
  const made = node("a", { href: address, class: "tip", tabindex: -1 }, ...drawn);
  made.dataset.tip = `${id}: ${words}`;
  made.setAttribute("aria-label", made.dataset.tip);
  return made;
};
// A figure is one stop of the Tab key; arrow keys go from patient to patient.
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
const walk = (drawing) => {
  const links = [...drawing.querySelectorAll("a")];
  if (links.length) links[0].setAttribute("tabindex", 0);
  drawing.addEventListener("keydown", (event) => {
    const here = links.indexOf(event.target);
    if (here < 0 || !(event.key in STEPS)) return;
    event.preventDefault();
    const next = links[here + STEPS[event.key]];
    if (!next) return;
    links[here].setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  });
};
const figure = (holder, height, label, draw) => {
  const width = Math.max(holder.clientWidth, 280);
  const drawing = node("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "cohort", role: "group", "aria-label": label });
  draw(drawing, width);
  walk(drawing);
  holder.replaceChildren(drawing);
};
const LEFT = 44, RIGHT = 10;

const monthTicks = (days, width) => {
  const step = [1, 2, 3, 6, 12, 24, 36, 60].find((s) => days / 30.4375 / s <= width / 60) || 120;
  const ticks = [];
  for (let month = 0; month * 30.4375 <= days; month += step) ticks.push(month);
  return ticks;
};
const changeAxis = (drawing, width, y, low, high, thresholds) => {
  for (let value = Math.ceil(low * 2) / 2; value <= high + 1e-9; value += 0.5) {
    drawing.append(line(LEFT, y(value), width - RIGHT, y(value), value === 0 ? "rule zero" : "rule"));
    drawing.append(text(`${Math.round(100 * value)} %`, LEFT - 5, y(value) + 4, { class: "tick", "text-anchor": "end" }));
  }
  for (const value of thresholds) {
    if (value === null || value > high) continue;
    drawing.append(line(LEFT, y(value), width - RIGHT, y(value), "threshold"));
  }
};
const scaleOf = (values) => {
  const high = Math.min(2, Math.max(0.5, Math.ceil(2 * Math.max(0, ...values)) / 2));
  return [high, (value) => 8 + (high - Math.max(-1, Math.min(value, high))) / (high + 1) * 224];
};

const drawWaterfall = (chosen) => {
  const holder = document.getElementById("waterfall");
  const label = `Waterfall plot of ${chosen.bars.length} patients; the table of patients links to each`;
  figure(holder, 244, label, (drawing, width) => {
    const [high, y] = scaleOf(chosen.bars.map((bar) => bar[1]));
    changeAxis(drawing, width, y, -1, high, chosen.thresholds);
    const step = (width - LEFT - RIGHT) / Math.max(chosen.bars.length, 1);
    chosen.bars.forEach(([patient, change, best, percent], place) => {
      const top = Math.min(y(0), y(change)), x = LEFT + place * step;
      const bar = node("rect", { x, y: top, width: Math.max(0.6, Math.min(step * 0.85, 40)), height: Math.max(1.5, Math.abs(y(change) - y(0))), class: colour(best) });
      drawing.append(link(patient, `${percent}, best response ${best || "none"}`, bar));
    });
  });
};
const drawSpider = (chosen) => {
  const holder = document.getElementById("spider");
  figure(holder, 262, `Spider plot of ${chosen.lines.length} patients`, (drawing, width) => {
    const last = Math.max(30, ...chosen.lines.map((one) => one[1][one[1].length - 1]));
    const first = Math.min(0, ...chosen.lines.map((one) => one[1][0]));
    const [high, y] = scaleOf(chosen.lines.flatMap((one) => one[2]));
    const x = (day) => LEFT + (day - first) / (last - first) * (width - LEFT - RIGHT);
    changeAxis(drawing, width, y, -1, high, chosen.thresholds);
    for (const month of monthTicks(last, width)) drawing.append(text(month, x(month * 30.4375), 248, { class: "tick", "text-anchor": "middle" }));
    drawing.append(text("months", width - RIGHT, 260, { class: "tick", "text-anchor": "end" }));
    const best = new Map(chosen.bars.map((bar) => [bar[0], bar[2]]));
    for (const [patient, days, changes, percent] of chosen.lines) {
      const d = days.map((day, place) => `${place ? "L" : "M"}${x(day).toFixed(1)},${y(changes[place]).toFixed(1)}`).join("");
      const words = `last ${percent}, best response ${best.get(patient) || "none"}`;
      const curve = node("path", { d, class: `thread-line ${colour(best.get(patient))}` });
      drawing.append(link(patient, words, node("path", { d, class: "reach" }), curve));
    }
    drawing.classList.toggle("many", chosen.lines.length > 40);
  });
};
const laneHeight = (chosen) => chosen.lanes.length > 60 ? 9 : 18;
const drawSwimmer = (chosen) => {
  const holder = document.getElementById("swimmer");
  const lane = laneHeight(chosen);
  const height = chosen.lanes.length * lane + 26;
  figure(holder, height, `Swimmer plot of ${chosen.lanes.length} patients`, (drawing, width) => {
    const last = Math.max(30, ...chosen.lanes.map((one) => one[1]));
    const left = lane === 18 ? 110 : LEFT;
    const x = (day) => left + Math.max(0, day) / last * (width - left - 24);
    for (const month of monthTicks(last, width)) {
      drawing.append(line(x(month * 30.4375), 0, x(month * 30.4375), height - 20, "grid"));
      drawing.append(text(month, x(month * 30.4375), height - 6, { class: "tick", "text-anchor": "middle" }));
    }
    drawing.append(text("months", 0, height - 6, { class: "tick" }));
    chosen.lanes.forEach(([patient, end, best, marks, response, progression, therapy, death, ongoing], place) => {
      const y = place * lane, middle = y + lane / 2, tall = lane * 0.62;
      const parts = [node("rect", { x: x(0), y: middle - tall / 2, width: Math.max(1, x(end) - x(0)), height: tall, class: `lane-bar ${colour(best)}` })];
      for (const [day, word] of marks) parts.push(node("circle", { cx: x(day), cy: middle, r: lane / 5, class: `visit-dot ${colour(word)}` }));
      const sign = (day, letter) => { if (day !== null) parts.push(text(letter, x(day), middle + lane * 0.22, { class: "sign", "text-anchor": "middle", "font-size": lane * 0.72 })); };
      sign(response, "▲"); sign(progression, "✕"); sign(therapy, "|"); sign(death, "■");
      if (ongoing) parts.push(text("→", x(end) + 2, middle + lane * 0.25, { class: "sign dark", "font-size": lane * 0.8 }));
      if (lane === 18) {
        const id = data.patients[patient][0];
        parts.push(text(id.length > 15 ? `${id.slice(0, 14)}…` : id, left - 6, middle + 4, { class: "tick", "text-anchor": "end" }));
      }
      const course = marks.map(([day, word]) => `${word} at ${months(day)}`).join(", ") || "no follow-up";
      drawing.append(link(patient, `best ${best || "none"}; ${course}`, ...parts));
    });
  });
};
const curvePlace = (curves, level, curve) => {
  const section = document.createElement("section");
  section.className = "card";
  const heading = document.createElement("h3");
  heading.textContent = curve.name;
  const words = document.createElement("p");
  words.className = "soft";
  const [median, low, high] = curve.median;
  const around = low === null ? "" : ` (${interval(level, months(low), months(high))})`;
  words.textContent = `${counted(curve.n, "patient")}, ${counted(curve.events, "event")}; median ${months(median)}${around}.`;
  const holder = document.createElement("div");
  holder.className = "figure";
  section.append(heading, words, holder);
  curves.append(section);
  return [holder, 252, () => figure(holder, 252, `Kaplan-Meier curve: ${curve.name}, with numbers at risk`, (drawing, width) => {
    const last = Math.max(30, curve.days[curve.days.length - 1]);
    const x = (day) => LEFT + day / last * (width - LEFT - RIGHT - 8), y = (share) => 8 + (1 - share) * 184;
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      drawing.append(line(LEFT, y(share), width - RIGHT, y(share), "rule"));
      drawing.append(text(`${100 * share} %`, LEFT - 5, y(share) + 4, { class: "tick", "text-anchor": "end" }));
    }
    const stairs = (values) => {
      const points = [[x(0), y(values[0])]];
      for (let place = 1; place < values.length; place += 1) points.push([x(curve.days[place]), y(values[place - 1])], [x(curve.days[place]), y(values[place])]);
      return points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`);
    };
    drawing.append(node("path", { d: `M${stairs(curve.low).join("L")}L${stairs(curve.high).reverse().join("L")}Z`, class: "band" }));
    const steps = node("g", { class: "tip" }, node("path", { d: `M${stairs(curve.survival).join("L")}`, class: "km" }));
    steps.dataset.tip = words.textContent;
    drawing.append(steps);
    const at = (day) => { let share = 1; for (let place = 0; place < curve.days.length && curve.days[place] <= day; place += 1) share = curve.survival[place]; return share; };
    for (const day of curve.censored) drawing.append(line(x(day), y(at(day)) - 4, x(day), y(at(day)) + 4, "censored"));
    drawing.append(text("at risk", 0, 228, { class: "tick" }));
    for (const month of monthTicks(last, width * 0.8)) {
      const day = month * 30.4375, place = curve.days.findIndex((one) => one >= day);
      drawing.append(text(month, x(day), 212, { class: "tick", "text-anchor": "middle" }));
      drawing.append(text(place < 0 ? 0 : curve.atRisk[place], x(day), 244, { class: "tick strong", "text-anchor": "middle" }));
    }
    drawing.append(text("months", width - RIGHT, 226, { class: "tick", "text-anchor": "end" }));
  })];
};
const drawRates = (chosen) => {
  const holder = document.querySelector(".rates");
  holder.replaceChildren(...chosen.rates.map(([name, n, hits, value, low, high]) => {
    const row = document.createElement("div");
    const words = document.createElement("span");
    const shown = document.createElement("span");
    words.textContent = name;
    shown.textContent = `${(100 * value).toFixed(1)} % (${hits} of ${n}; ${interval(chosen.level, (100 * low).toFixed(1), (100 * high).toFixed(1))} %)`;
    const bar = node("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      node("rect", { x: 0, y: 0, width: 100, height: 10, class: "rate-ground" }),
      node("rect", { x: 0, y: 0, width: 100 * value, height: 10, class: "rate" }),
      node("rect", { x: 100 * low, y: 4, width: 100 * (high - low), height: 2, class: "rate-interval" }));
    row.append(words, bar, shown);
    return row;
  }));
};
// A figure is drawn when it comes near the window, in the room kept for it, so that a page of many patients is ready at once.
const waiting = new Map();
const drawWaiting = (holder) => {
  const drawNow = waiting.get(holder);
  waiting.delete(holder);
  nearby.unobserve(holder);
  if (drawNow) drawNow();
};
const nearby = new IntersectionObserver((seen) => {
  for (const one of seen) if (one.isIntersecting) drawWaiting(one.target);
}, { rootMargin: "300px" });
const later = (holder, height, drawNow) => {
  holder.style.minHeight = `${height}px`;
  waiting.set(holder, drawNow);
  nearby.unobserve(holder);
  nearby.observe(holder);
};
const choice = document.getElementById("group");
const draw = () => {
  const chosen = data.figures[choice.value];
  drawRates(chosen);
  later(document.getElementById("waterfall"), 244, () => drawWaterfall(chosen));
  later(document.getElementById("spider"), 262, () => drawSpider(chosen));
  later(document.getElementById("swimmer"), Math.min(520, laneHeight(chosen) * chosen.lanes.length + 26), () => drawSwimmer(chosen));
  const curves = document.getElementById("curves");
  curves.replaceChildren();
  for (const curve of chosen.curves) later(...curvePlace(curves, chosen.level, curve));
};
if (choice) {
  choice.addEventListener("change", draw);
  let pending, drawnAt = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === drawnAt) return;
    drawnAt = innerWidth;
    clearTimeout(pending);
    pending = setTimeout(draw, 150);
  });
  // what Tab is to reach must be there
  addEventListener("keydown", (event) => { if (event.key === "Tab") for (const holder of [...waiting.keys()]) drawWaiting(holder); });
  addEventListener("beforeprint", () => { for (const holder of [...waiting.keys()]) drawWaiting(holder); });
  draw();
}

// The table: a heading sorts, and the search leaves the rows that hold every word.
const body = document.querySelector("#table tbody");
const rows = [...body.rows].filter((row) => row.cells.length > 1);
const collator = new Intl.Collator(undefined, { numeric: true });
document.querySelectorAll("#table thead th").forEach((heading, column) => {
  const button = heading.querySelector("button");
  if (!button) return;
  button.addEventListener("click", () => {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const keys = new Map(rows.map((row) => [row, row.cells[column].dataset.sort ?? row.cells[column].textContent.trim()]));
    rows.sort((a, b) => (up ? 1 : -1) * collator.compare(keys.get(a), keys.get(b)));
    body.append(...rows);
  });
});
const haystack = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
document.getElementById("search").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    row.hidden = !words.every((word) => haystack.get(row).includes(word));
    shown += !row.hidden;
  }
  document.getElementById("found").textContent = `${shown} of ${rows.length}`;
});
