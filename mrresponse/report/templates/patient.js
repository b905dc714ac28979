// The strips: which slice of every visit is shown, and what is drawn on it.
const signed = (mm) => Math.abs(mm) < 1 ? "in the plane" : `${Math.abs(mm).toFixed(0)} mm ${mm > 0 ? "above" : "below"}`;
const showSlice = (visit, number) => {
  for (const picture of visit.querySelectorAll("svg.picture")) {
    picture.querySelector("image").setAttribute("y", -number * picture.dataset.height);
    for (const slice of picture.querySelectorAll("g.slice")) slice.classList.toggle("on", +slice.dataset.n === number);
    for (const one of picture.querySelectorAll("g.measure")) one.classList.toggle("off", +one.dataset.n !== number);
  }
  const [offset, slice] = JSON.parse(visit.dataset.planes)[number];
  visit.querySelector(".plane").textContent = `slice ${slice}, ${signed(offset)}`;
};
const update = (lesion) => {
  const view = lesion.querySelector("input[type=radio]:checked").value;
  const slider = lesion.querySelector("input[type=range]");
  slider.disabled = view !== "place";
  for (const button of lesion.querySelectorAll("button.step")) button.disabled = slider.disabled;
  for (const visit of lesion.querySelectorAll("figure[data-planes]")) {
    const steps = JSON.parse(visit.dataset.steps);
    const own = visit.dataset[view];
    const number = own === undefined || own === "" ? steps[slider.value] : +own;
    visit.classList.toggle("beyond", number === undefined);
    if (number === undefined) visit.querySelector(".plane").textContent = "outside the images";
    else showSlice(visit, number);
  }
  const mm = slider.value * lesion.dataset.step;
  const words = mm === 0 ? "middle" : `${Math.abs(mm).toFixed(0)} mm ${mm > 0 ? "towards the head" : "towards the feet"}`;
  lesion.querySelector("output").textContent = slider.disabled ? "each visit its own" : words;
  slider.setAttribute("aria-valuetext", words);
};
for (const lesion of document.querySelectorAll("section.lesion[data-step]")) {
  const slider = lesion.querySelector("input[type=range]");
  lesion.querySelector(".tools").hidden = false;
  lesion.addEventListener("input", (event) => {
    if (event.target.name === "reference") lesion.classList.toggle("with-reference", event.target.checked);
    else if (event.target.name === "outlines") lesion.classList.toggle("bare", !event.target.checked);
    else update(lesion);
  });
  for (const button of lesion.querySelectorAll("button.step")) {
    button.addEventListener("click", () => {
      slider.value = +slider.value + +button.dataset.by;
      update(lesion);
    });
  }
  update(lesion);
}

// A picture opens large; Escape or the button closes it.
const large = document.getElementById("large");
for (const button of document.querySelectorAll("button.enlarge")) {
  button.addEventListener("click", () => {
    const visit = button.closest("figure");
    const shown = visit.cloneNode(true);
    for (const one of shown.querySelectorAll("button.enlarge")) one.replaceWith(...one.childNodes);
    for (const drawing of shown.querySelectorAll("svg g[id]")) drawing.id += "-large";
    for (const use of shown.querySelectorAll("use")) use.setAttribute("href", `${use.getAttribute("href")}-large`);
    const holder = large.querySelector(".holder");
    holder.className = `holder ${visit.closest("section").className}`;
    holder.replaceChildren(shown);
    large.showModal();
  });
}
large.querySelector("button").addEventListener("click", () => large.close());

// What is folded away is printed, but for the whole course, which repeats the phases: that is printed where it is open.
addEventListener("beforeprint", () => { for (const folded of document.querySelectorAll("details:not(.course)")) folded.open = true; });
