// Moves a notebook's picture, and the table below it, with its sliders: all states are recorded.
for (const box of document.querySelectorAll(".states")) {
  const sliders = [...box.querySelectorAll("input[type=range]")];
  const picture = box.querySelector("img.state");

  const show = () => {
    for (const slider of sliders) {
      const text = slider.dataset.texts.split("|")[slider.value];
      slider.setAttribute("aria-valuetext", text);
      slider.parentElement.querySelector("output").textContent = text;
    }
    const places = sliders.map(slider => slider.value);
    picture.src = `${box.dataset.folder}/${places.join("-")}.webp`;
    for (const table of box.querySelectorAll(".state-table"))
      table.hidden = table.dataset.places !== places.join(",");
  };

  sliders.forEach(slider => slider.addEventListener("input", show));
  show(); // a browser may have kept a slider's place when the page was loaded again
}
