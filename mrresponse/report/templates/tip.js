"use strict";
// One tooltip for all marks of the figures: it takes the place of the browser's own, and opens on a tap too.
const tip = document.getElementById("tip");
const tipWords = (mark) => {
  const title = mark.querySelector(":scope > title");
  if (title) {
    mark.dataset.tip = title.textContent;
    title.remove();
  }
  return mark.dataset.tip;
};
const showTip = (event) => {
  const mark = event.target.closest(".tip");
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = tipWords(mark);
  const box = mark.getBoundingClientRect();
  const left = Math.min(box.left + box.width / 2 - tip.offsetWidth / 2, innerWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left) + scrollX}px`;
  const above = box.top - tip.offsetHeight - 6;
  tip.style.top = `${(above > 0 ? above : box.bottom + 6) + scrollY}px`;
};
document.addEventListener("pointerover", showTip);
document.addEventListener("click", showTip);
document.addEventListener("focusin", showTip);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

