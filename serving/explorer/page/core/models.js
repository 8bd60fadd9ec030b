/** Which models of images are in service, looked at now and then; which of them is chosen. */

/** Between two looks, while the page is seen. */
const LOOK_MS = 10_000;

export class Models {
  /** @type {Model[]} */
  list = [];
  /** @type {ModelVersion[]} */
  versions = [];
  /** Told when models or versions came, went or were replaced. */
  onchange = () => {};
  #service;
  #known = '';
  /** @type {string[]} names of models of other data, which this page has no pictures of */
  #others = [];

  /** @param {Service} service */
  constructor(service) {
    this.#service = service;
  }

  /** Looks once; throws as calls do. */
  async look() {
    const said = await this.#service.call('ListModels', {});
    /** @type {Model[]} */
    const models = said.models ?? [];
    this.list = models.filter(({ image }) => image);
    this.#others = models.filter(({ image }) => !image).map(({ model }) => model.name);
    this.versions = said.versions ?? [];
    const known = JSON.stringify([this.list.map(({ model }) => model), this.versions]);
    const isNew = known !== this.#known;
    this.#known = known;
    if (isNew) this.onchange();
  }

  /** Looks again and again; not while nobody sees the page. */
  watch() {
    let isLooking = false;
    const again = async () => {
      // While the server is away one look waits for it, and not one for every ten seconds.
      if (document.hidden || isLooking) return;
      isLooking = true;
      await this.look().catch(() => {});
      isLooking = false;
    };
    setInterval(again, LOOK_MS);
    document.addEventListener('visibilitychange', again);
  }

  /**
   * The model that an address names, and what to say where it cannot be had.
   * @param {string | null} name the first one if null
   * @param {string | null} version the newest if null
   * @returns {{model: Model | null, words: string}}
   */
  find(name, version) {
    if (!this.list.length) {
      const isOther = this.#others.length > 0;
      const what = isOther ? 'No model of images is in service, and no other is shown here.' : 'No model is in service.';
      return { model: null, words: `${what} ${this.#reasons()}` };
    }
    const named = this.list.filter(({ model }) => name === null || model.name === name);
    if (!named.length) {
      const first = this.list[0].model.name;
      const why = this.#others.includes(name ?? '') ? 'is not of images, and not shown here' : 'is not in service';
      const words = `The address names the model “${name}”, which ${why}. This is ${first}.`;
      return { model: this.list[0], words };
    }
    const exact = named.find(({ model }) => (model.version ?? '0') === version);
    if (exact || version === null) return { model: exact ?? named[0], words: '' };
    const shown = named[0].model;
    const words = `Version ${version} of ${shown.name} is not in service. This is version ${shown.version}.`;
    return { model: named[0], words };
  }

  #reasons() {
    const told = this.versions.filter(({ reason }) => reason);
    return told.map(({ name, version, reason }) => `${name} ${version}: ${reason}.`).join(' ');
  }
}
