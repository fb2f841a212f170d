// Milliseconds of each stage and pictures per second, smoothed so that they can be read.

const STAGES = { find: "Find the face", read: "Read the picture", align: "Cut the face out", network: "Network", paste: "Paste it back", show: "Show it" };
const WEIGHT = 0.15; // of the newest picture
const EVERY_MS = 250;

export class Figures {
  #body;
  #means = {};
  #last = 0;
  #told = 0;
  #between = null;

  constructor(table) {
    this.#body = table.tBodies[0];
    this.#show([]);
  }

  reset() {
    this.#means = {};
    this.#between = null;
    this.#last = this.#told = 0;
  }

  /** What one picture took, by stage; `live` if more follow. */
  add(ms, live) {
    const now = performance.now();
    for (const [stage, value] of Object.entries(ms)) this.#means[stage] = mean(this.#means[stage], value);
    if (live && this.#last) this.#between = mean(this.#between, now - this.#last);
    this.#last = now;
    if (live && now - this.#told < EVERY_MS) return;
    this.#told = now;
    const rows = Object.entries(STAGES).filter(([stage]) => stage in this.#means);
    const total = rows.reduce((sum, [stage]) => sum + this.#means[stage], 0);
    const last = live && this.#between ? ["Pictures per second", (1000 / this.#between).toFixed(1)] : ["In all", `${total.toFixed(1)} ms`];
    this.#show([...rows.map(([stage, name]) => [name, `${this.#means[stage].toFixed(1)} ms`]), last]);
  }

  #show(rows) {
    while (this.#body.rows.length > rows.length) this.#body.deleteRow(-1);
    while (this.#body.rows.length < rows.length) {
      const row = this.#body.insertRow();
      row.append(Object.assign(document.createElement("th"), { scope: "row" }), document.createElement("td"));
    }
    rows.forEach((texts, i) => texts.forEach((text, column) => (this.#body.rows[i].cells[column].textContent = text)));
  }
}

const mean = (before, value) => (before == null ? value : before + WEIGHT * (value - before));
