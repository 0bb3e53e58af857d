// Point at the timeline: the nearest tick in words. Buttons: closer and wider. The page shows all of it without this.
const ticks = JSON.parse(document.getElementById("ticks").textContent);
const rows = document.querySelector(".rows"), scroll = document.querySelector(".scroll");
const over = document.querySelector(".over"), cursor = document.querySelector(".cursor");
const readout = document.querySelector(".readout"), axis = document.querySelector(".axis .plot");
const CLOSEST = 64, APART = 90; // times the whole run; pixels between two numbers of the axis
let zoom = 1;

function nearest(left) {
  let low = 0, high = ticks.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (ticks[middle][0] < left) low = middle; else high = middle;
  }
  return left - ticks[low][0] < ticks[high][0] - left ? ticks[low] : ticks[high];
}

rows.addEventListener("pointermove", (event) => {
  const box = over.getBoundingClientRect(), left = 100 * (event.clientX - box.left) / box.width;
  if (!ticks.length || left < 0) return;
  const [at, text] = nearest(left);
  cursor.hidden = false;
  cursor.style.left = at + "%";
  readout.textContent = text;
});

function number() {
  const least = duration * APART / over.clientWidth, power = 10 ** Math.floor(Math.log10(least));
  const step = power * [1, 2, 5, 10].find((times) => times * power >= least);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  axis.replaceChildren(...Array.from({ length: Math.floor(duration / step + 1e-9) + 1 }, (_, count) => {
    const made = document.createElement("span");
    made.textContent = (count * step).toFixed(digits);
    made.style.left = 100 * count * step / duration + "%";
    return made;
  }));
}

for (const button of document.querySelectorAll(".zoom button")) {
  button.addEventListener("click", () => {
    const middle = (scroll.scrollLeft + scroll.clientWidth / 2) / scroll.scrollWidth, by = Number(button.dataset.by);
    zoom = by ? Math.min(Math.max(zoom * by, 1), CLOSEST) : 1;
    rows.style.setProperty("--zoom", zoom);
    scroll.scrollLeft = middle * scroll.scrollWidth - scroll.clientWidth / 2;
    number();
  });
}
addEventListener("resize", number);
number();
