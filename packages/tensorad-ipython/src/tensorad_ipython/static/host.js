/**
 * Mounts every trace that stands on a page, with no kernel behind it: a classic script, as a page that is opened from
 * a file may import no module by its address. `moduleText` is the module; a model that only remembers takes the kernel's place.
 */
function mountTraces(moduleText) {
  const address = URL.createObjectURL(new Blob([moduleText], { type: "text/javascript" }));

  function modelOf(state) {
    const listeners = {};
    return {
      get: (name) => state[name],
      set(name, value) {
        if (state[name] === value) return;
        state[name] = value;
        for (const listener of [...(listeners[`change:${name}`] ?? [])]) listener();
      },
      on: (event, listener) => (listeners[event] ??= []).push(listener),
      off: (event, listener) => { listeners[event] = (listeners[event] ?? []).filter((each) => each !== listener); },
      save_changes() {},
      send() {},
    };
  }

  const mounted = new Map(); // element -> what cleans up after it

  async function mount(page) {
    for (const [el, cleanUp] of mounted) {
      if (el.isConnected) continue;
      cleanUp(); // of a page that was there before
      mounted.delete(el);
    }
    for (const place of page.querySelectorAll(".tensorad-view:not([data-mounted])")) {
      place.dataset.mounted = "";
      try {
        const trace = place.querySelector("script[type='application/json']").textContent;
        const module = await import(address);
        const el = document.createElement("div");
        place.append(el);
        mounted.set(el, module.default.render({ model: modelOf({ trace, index: -1 }), el }));
        place.querySelector(".tensorad-fallback")?.remove();
      } catch (error) {
        console.error("tensorad: a trace cannot be shown", error); // the words that stand there stay
      }
    }
  }

  // mkdocs-material changes pages without loading them anew, and says so.
  if (window.document$) window.document$.subscribe(({ body }) => mount(body));
  else if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => mount(document));
  else mount(document);
}
