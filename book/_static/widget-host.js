// Widgets on a page that no kernel serves. MyST-NB writes the state of a
// notebook's widgets into the page; here each view of it comes to life, if
// its code can run without Python. Any other says that it needs a kernel.
"use strict";

(() => {
  const STATE = "application/vnd.jupyter.widget-state+json";
  const VIEW = "application/vnd.jupyter.widget-view+json";

  /** Put the bytes, which JSON cannot hold, back into the state. */
  function complete({ state, buffers = [] }) {
    for (const { path, data } of buffers) {
      const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
      const parents = path.slice(0, -1);
      const holder = parents.reduce((value, key) => value[key], state);
      holder[path.at(-1)] = new DataView(bytes.buffer);
    }
    return state;
  }

  /** What a widget's code expects of a model: get, set, on, off. */
  class PageModel {
    page = true; // no kernel will ever answer
    listeners = new Map();

    constructor(state) {
      this.state = state;
    }

    get(name) {
      return this.state[name];
    }

    set(name, value) {
      if (Object.is(this.state[name], value)) return;
      this.state[name] = value;
      for (const call of this.listeners.get(`change:${name}`) ?? []) call();
    }

    on(name, call) {
      if (!this.listeners.has(name)) this.listeners.set(name, new Set());
      this.listeners.get(name).add(call);
    }

    off(name, call) {
      this.listeners.get(name)?.delete(call);
    }

    save_changes() {}

    send() {}
  }

  function needsKernel(place) {
    const note = document.createElement("p");
    note.className = "needs-kernel";
    note.textContent =
      "This control needs a running kernel. Open the chapter in JupyterLab " +
      "to use it.";
    place.append(note);
  }

  /** Where a view goes: over the picture that stood in its place. */
  function placeFor(script) {
    const place = document.createElement("div");
    const before = script.previousElementSibling;
    const still = before?.matches("figure, img")
      ? before
      : before?.querySelector("figure, img");
    const picture = still?.matches("img") ? still : still?.querySelector("img");
    (picture?.closest("a") ?? picture ?? script).before(place);
    return { place, picture };
  }

  async function show(script, models) {
    const { model_id: id } = JSON.parse(script.textContent);
    const { place, picture } = placeFor(script);
    const model = models[id]?.state;
    // live_widgets.py has put it there, by the class of the widget
    const widget = window.minivae?.[model?._anywidget_id];
    if (!widget) return needsKernel(place);
    try {
      await widget.render({ model: new PageModel(model), el: place });
    } catch (error) {
      place.replaceChildren(); // the picture stays
      throw error;
    }
    if (picture) picture.hidden = true;
  }

  function start() {
    const stored = document.querySelector(`script[type="${STATE}"]`);
    const content = stored ? JSON.parse(stored.textContent) : { state: {} };
    const models = content.state;
    for (const id of Object.keys(models)) {
      const { state, buffers } = models[id];
      complete({ state, buffers });
    }
    for (const script of document.querySelectorAll(`script[type="${VIEW}"]`))
      show(script, models);
  }

  if (document.readyState === "loading")
    document.addEventListener("DOMContentLoaded", start);
  else start();
})();
