// The five marks of a face: placed by clicking, dragged, or moved by arrow keys.

export const NAMES = ["eye on the left", "eye on the right", "tip of the nose", "corner of the mouth on the left", "corner of the mouth on the right"];
// Where they are in a face that fills the middle of a picture, from its middle, in parts of its shorter side.
const MIDDLE = [[-0.13, -0.1], [0.13, -0.1], [0, 0.05], [-0.1, 0.18], [0.1, 0.18]];
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Points extends EventTarget {
  #host;
  #view;
  #values = [];
  #width = 1;
  #height = 1;
  #placing = false;

  /** In `host`, which lies over the pictures in `view`. "change" is when all five are there and one has moved. */
  constructor(host, view) {
    super();
    this.#host = host;
    this.#view = view;
    view.addEventListener("click", (event) => this.#clicked(event));
  }

  /** All five, in pixels; null while some are missing. */
  get value() {
    return this.#values.length === NAMES.length ? this.#values.map((point) => [...point]) : null;
  }

  /** The one that the next click is for; null when none is. */
  get wanted() {
    return this.#placing ? NAMES[this.#values.length] : null;
  }

  reset(width, height) {
    [this.#width, this.#height] = [width, height];
    this.set([]);
  }

  set(values) {
    this.#values = values.map((point) => [...point]);
    this.#place(false);
    this.#draw();
    this.#changed();
  }

  place() {
    this.#values = [];
    this.#place(true);
    this.#draw();
    this.#changed();
  }

  middle() {
    const side = Math.min(this.#width, this.#height);
    this.set(MIDDLE.map(([x, y]) => [this.#width / 2 + x * side, this.#height / 2 + y * side]));
    this.#host.firstElementChild.focus();
  }

  set shown(shown) {
    this.#host.hidden = !shown;
  }

  #place(placing) {
    this.#placing = placing;
    this.#view.classList.toggle("placing", placing);
  }

  #clicked(event) {
    if (!this.#placing || event.target.closest(".point")) return;
    this.#values.push(this.#at(event));
    if (this.#values.length === NAMES.length) this.#place(false);
    this.#draw();
    this.#changed();
  }

  // In pixels of the picture, which fills the host.
  #at(event) {
    const box = this.#host.getBoundingClientRect();
    return this.#inside([((event.clientX - box.left) / box.width) * this.#width, ((event.clientY - box.top) / box.height) * this.#height]);
  }

  #inside([x, y]) {
    return [Math.min(Math.max(x, 0), this.#width - 1), Math.min(Math.max(y, 0), this.#height - 1)];
  }

  #draw() {
    while (this.#host.children.length > this.#values.length) this.#host.lastElementChild.remove();
    while (this.#host.children.length < this.#values.length) this.#host.append(this.#button(this.#host.children.length));
    this.#values.forEach((value, i) => this.#move(i, value));
  }

  #move(i, value) {
    const [x, y] = (this.#values[i] = this.#inside(value));
    const button = this.#host.children[i];
    button.style.left = `${(100 * x) / this.#width}%`;
    button.style.top = `${(100 * y) / this.#height}%`;
    button.setAttribute("aria-label", `${NAMES[i]}, at ${Math.round(x)}, ${Math.round(y)}`);
  }

  #button(i) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "point";
    button.addEventListener("keydown", (event) => {
      const move = MOVES[event.key];
      if (!move) return;
      event.preventDefault();
      const step = event.shiftKey ? 10 : 1;
      this.#moved(i, this.#values[i].map((value, axis) => value + step * move[axis]));
    });
    button.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      button.focus();
      button.setPointerCapture(event.pointerId);
    });
    button.addEventListener("pointermove", (event) => {
      if (button.hasPointerCapture(event.pointerId)) this.#moved(i, this.#at(event));
    });
    return button;
  }

  #moved(i, value) {
    this.#move(i, value);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
