/** Typesets the mathematics of a page by KaTeX; mkdocs-material says when there is a new page, without loading it anew. */
document$.subscribe(({ body }) => {
  for (const place of body.querySelectorAll(".arithmatex:not([data-typeset])")) {
    const [, inline, display] = /^\s*(?:\\\(([^]*)\\\)|\\\[([^]*)\\\])\s*$/.exec(place.textContent);
    katex.render(inline ?? display, place, { displayMode: inline === undefined });
    place.dataset.typeset = "";
  }
});
