// Finds a face by the detector that lies beside the page, if one does; nothing of it is loaded before it is asked for.

export class Finder {
  #folder;
  #worker = null;
  #open = null;

  constructor(folder) {
    this.#folder = folder;
  }

  /** Load it, once. */
  open() {
    if (!this.#folder) {
      return Promise.reject(
        new Error("no detector lies beside this page: LiteRT.js and two models are needed, see “A detector” in docs/web.md; mark the face yourself"),
      );
    }
    this.#open ??= this.#started().catch((error) => {
      this.#open = null; // so that it can be tried again
      throw error;
    });
    return this.#open;
  }

  async #started() {
    this.#worker?.terminate();
    this.#worker = new Worker(new URL("finder-worker.js", import.meta.url), { name: "finder" }); // LiteRT.js wants a classic one
    await this.#asked({ folder: this.#folder.href });
  }

  /** Five points [x, y], or null; `again` looks where the last face was. */
  async find(image, again) {
    const { data, width, height } = image;
    return (await this.#asked({ data, width, height, again })).landmarks;
  }

  #asked(question) {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data));
      this.#worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(`the detector cannot run (${event.message || "its script was not found"})`));
      };
      this.#worker.postMessage(question);
    });
  }
}
