// Whose face it becomes: the artefact's own identity, and packs.

export class People extends EventTarget {
  #host;
  #packs = new Map(); // value of the radio button -> gives the pack's bytes; null is the artefact's own

  /** Radio buttons in `host`; "change" is when another is chosen. */
  constructor(host) {
    super();
    this.#host = host;
    host.addEventListener("change", () => this.dispatchEvent(new Event("change")));
  }

  /** One more; `bytes` gives its pack. */
  add({ name, picture, bytes, chosen = false }) {
    const value = String(this.#packs.size);
    this.#packs.set(value, { value, name, bytes });
    const label = element("label", { className: "person" });
    const input = element("input", { type: "radio", name: "person", value, checked: chosen });
    const face = element("span", { className: "face" });
    if (picture) face.append(element("img", { src: picture, alt: "" }));
    else face.append([...name].slice(0, 2).join("").toUpperCase());
    face.setAttribute("aria-hidden", "true");
    label.append(input, face, element("span", { textContent: name }));
    this.#host.append(label);
  }

  /** { value, name, bytes } of the one that is chosen. */
  get chosen() {
    return this.#packs.get(this.#host.querySelector("input:checked").value);
  }

  choose({ value }) {
    for (const input of this.#host.querySelectorAll("input")) input.checked = input.value === value;
  }

  chooseLast() {
    this.#host.querySelector(".person:last-child input").checked = true;
    this.dispatchEvent(new Event("change"));
  }
}

export function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
