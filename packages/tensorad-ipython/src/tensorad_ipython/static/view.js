/**
 * A recorded graph as a picture and, where the trace has steps, the backward pass through it, step by step.
 *
 * One module for two hosts: a notebook (anywidget) and a page of documentation, which has no kernel. Both call
 * `render({ model, el })`; the model has `trace` (JSON text) and `index` (the current step, -1 before the first).
 * `dagre`, which stands above this text where it is served, works out where things are. Whatever a trace says is shown
 * as text: nothing in here writes HTML.
 *
 * A *thing* is a box that is seen: a node, a folded group, or one of the copies of a leaf that many things use.
 */

const MOST_THINGS = 300; // of more, no layout is quick, and no picture readable
const MOST_CHILDREN = 100; // of a group: of more, consecutive ones are taken together
const MOST_USES = 6; // of a leaf: of more, each use gets a copy of its own, else edges cross the whole picture
const ASIDE = 48; // pixels between a thing and a leaf beside it
const FEW_EDGES = 40; // are labelled all the time, and have room for it
const LEAST_SCALE = 0.55; // of a picture that is fitted: below it nothing can be read
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
const PACES = [["slow", 1800], ["normal", 900], ["fast", 300], ["very fast", 33]]; // milliseconds a step

const STYLE = `
.tensorad-board {
  --paper: var(--jp-layout-color0, var(--md-default-bg-color, Canvas));
  --flow: #d97a1c; --focus: #3b82d6; --mark: #2f9e77;
  --soft: color-mix(in srgb, currentColor 66%, var(--paper));
  --line: color-mix(in srgb, currentColor 38%, var(--paper));
  --faint: color-mix(in srgb, currentColor 16%, var(--paper));
  --wash: color-mix(in srgb, currentColor 4%, var(--paper));
  --flowing: color-mix(in srgb, var(--flow) 68%, currentColor);
  --code: var(--jp-code-font-family, var(--md-code-font-family, ui-monospace, 'DejaVu Sans Mono', monospace));
  container-type: inline-size; box-sizing: border-box; max-width: 100%; margin: .5em 0; text-align: left;
  color: var(--jp-content-font-color1, var(--md-default-fg-color, CanvasText)); background: var(--paper);
  font: 14px/1.5 var(--jp-ui-font-family, ${FONT});
  border: 1px solid var(--faint); border-radius: 10px; overflow: clip;

  [data-jp-theme-light="false"] &, [data-md-color-scheme="slate"] & { color-scheme: dark; }
  [data-jp-theme-light="true"] &, [data-md-color-scheme="default"] & { color-scheme: light; }
  & *, & *::before { box-sizing: border-box; }
  & .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  & [hidden] { display: none !important; }

  & .bar { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 8px; padding: 6px 10px; }
  & .head { border-bottom: 1px solid var(--faint); }
  & .title { font-weight: 600; flex: 1 1 10em; min-width: 0; overflow-wrap: anywhere; }
  & .about, & .note { color: var(--soft); font-size: 12.5px; }
  & .note:not(:empty) { padding: 4px 10px; border-bottom: 1px solid var(--faint); }
  & button, & select, & .edit {
    font: inherit; font-size: 12.5px; color: inherit; background: var(--wash); border: 1px solid var(--faint);
    border-radius: 6px; margin: 0; padding: 2px 8px; height: 28px; line-height: 1.2; cursor: pointer;
  }
  & button:hover:enabled { border-color: var(--line); }
  & button:disabled { opacity: .4; cursor: default; }
  & button svg { display: block; width: 14px; height: 14px; fill: currentColor; }
  & .move { display: flex; gap: 3px; }
  & .move button { width: 32px; padding: 0; display: grid; place-items: center; }
  & input[type=range] { flex: 1 1 8em; min-width: 6em; margin: 0; height: 28px; cursor: pointer; }
  & .count { min-width: 7ch; text-align: right; font-variant-numeric: tabular-nums; }
  & :is(button, select, input):focus-visible, & .scroll:focus-visible { outline: 2px solid var(--focus); outline-offset: 1px; }

  & .body { display: grid; grid-template-columns: minmax(0, 1fr) minmax(15rem, 23rem); }
  & .scroll { overflow: auto; max-height: var(--tensorad-height, 34rem); overscroll-behavior: auto; }
  & .scroll > svg { display: block; margin: 0 auto; max-width: none; }
  & .panel { border-left: 1px solid var(--faint); padding: 10px 14px; overflow: auto; max-height: var(--tensorad-height, 34rem);
    font-size: 13px; overflow-wrap: anywhere; }
  @container (max-width: 680px) {
    & .body { grid-template-columns: minmax(0, 1fr); }
    & .panel { border-left: 0; border-top: 1px solid var(--faint); max-height: none; }
    & .scroll { max-height: min(var(--tensorad-height, 34rem), 26rem); }
  }
  & .panel section + section { margin-top: 14px; padding-top: 10px; border-top: 1px solid var(--faint); }
  & .heading { font-weight: 600; margin: 0 0 4px; font-size: 13.5px; }
  & .label { color: var(--soft); font-size: 12px; }
  & code { font: 12.5px/1.5 var(--code); background: none; color: inherit; padding: 0; white-space: pre-wrap; }
  & .value { color: var(--flowing); font-weight: 600; font-family: var(--code); font-size: 12.5px; white-space: pre-wrap; }
  & .shape { color: var(--soft); font-size: 12px; white-space: nowrap; margin-left: .5em; }
  & .operand { margin: 10px 0 0; padding: 6px 0 0 10px; border-left: 3px solid color-mix(in srgb, var(--flow) 55%, var(--paper)); }
  & .sum { display: grid; grid-template-columns: 1.3em minmax(0, 1fr); align-items: baseline; }
  & .sum > :nth-child(odd) { color: var(--soft); }
  & button.link { all: unset; cursor: pointer; font-weight: 600; border-bottom: 1.5px dotted var(--line); }
  & button.link:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; border-radius: 2px; }
  & .edit { font-family: var(--code); cursor: text; width: 100%; margin-top: 2px; }
  & .trouble { color: color-mix(in srgb, #d13b3b 75%, currentColor); white-space: pre-wrap; font-size: 12.5px; }
  & .facts { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 1px 12px; margin: 0; }
  & .facts > dt { color: var(--soft); font-weight: 400; margin: 0; font-size: 12px; }
  & .facts > dd { margin: 0; }

  & .thing { cursor: pointer; outline: none; }
  & .box { fill: var(--paper); stroke: var(--line); stroke-width: 1.3; }
  & .leaf > .box { fill: var(--wash); }
  & .rim { fill: none; stroke: var(--line); stroke-width: 1; }
  & .special > .box { stroke: currentColor; stroke-width: 1.8; }
  & .group > .box { stroke-dasharray: none; fill: color-mix(in srgb, currentColor 7%, var(--paper)); }
  & .thing text { fill: currentColor; font: 13px ${FONT}; text-anchor: middle; }
  & .thing .name { font-weight: 650; }
  & .thing .second { font-size: 11px; fill: var(--soft); }
  & .thing .tag { font-size: 10px; fill: var(--soft); text-anchor: start; letter-spacing: .03em; }
  & .check { visibility: hidden; stroke: var(--mark); fill: var(--paper); stroke-width: 1.2; }
  & .check > path { stroke: color-mix(in srgb, var(--mark) 75%, currentColor); stroke-width: 2; fill: none; stroke-linecap: round; }
  & .thing.done .check { visibility: visible; }
  & .thing.done > .box { stroke: var(--mark); }
  & .thing:hover > .box { stroke: currentColor; }
  & .thing.chosen > .box { stroke: var(--focus); stroke-width: 2; }
  & .thing.receiving > .box { stroke: var(--flow); stroke-width: 2; }
  & .thing.current > .box { stroke: var(--flow); stroke-width: 3; fill: color-mix(in srgb, var(--flow) 20%, var(--paper)); }
  & .thing:focus-visible > .ring { visibility: visible; }
  & .ring { fill: none; stroke: var(--focus); stroke-width: 2.5; visibility: hidden; }
  & .pill > rect { fill: color-mix(in srgb, var(--flow) 14%, var(--paper)); stroke: color-mix(in srgb, var(--flow) 60%, var(--paper)); }
  & .thing .pill > text { font-size: 11px; font-weight: 600; fill: var(--flowing); }
  & .frame { fill: color-mix(in srgb, currentColor 2.5%, transparent); stroke: var(--line); stroke-width: 1; stroke-dasharray: 5 4; }
  & .frame.context { stroke-dasharray: none; stroke-width: 1.5; }
  & .frame.gradient { stroke-dasharray: 1.5 3.5; stroke-width: 1.6; stroke-linecap: round; }
  & .frame.current { stroke: var(--flow); }
  & .fold { cursor: pointer; outline: none; }
  & .fold text { fill: var(--soft); font: 11.5px ${FONT}; }
  & .fold:hover text { fill: currentColor; text-decoration: underline; }
  & .fold:focus-visible > .ring { visibility: visible; }
  & .edge .line { fill: none; stroke: var(--line); stroke-width: 1.2; }
  & .edge .hit { fill: none; stroke: transparent; stroke-width: 11; }
  & .edge text { font: 10.5px ${FONT}; fill: var(--soft); text-anchor: middle; paint-order: stroke; stroke: var(--paper); stroke-width: 5px;
    stroke-linejoin: round; pointer-events: none; visibility: hidden; }
  & .labelled .edge text, & .edge:hover text, & .edge.near text, & .edge.lit text { visibility: visible; }
  & .edge:hover .line, & .edge.near .line { stroke: currentColor; stroke-width: 1.8; }
  & .edge.lit .line { stroke: var(--flow); stroke-width: 2.6; }
  & .edge.lit text { fill: var(--flowing); font-weight: 650; font-size: 11.5px; }
  & .head-plain { fill: var(--line); } & .head-lit { fill: var(--flow); }
}
@media (prefers-reduced-motion: no-preference) {
  .tensorad-board :is(.box, .line) { transition: stroke .15s, fill .15s; }
}
@media print {
  .tensorad-board { break-inside: avoid; & .scroll, & .panel { max-height: none; overflow: visible; } & .controls, & .zoom { display: none; } }
}`;

// ------------------------------------------------------------------------------------------ making elements

/** An element: properties are set as attributes, functions as listeners, the rest are children; text is only ever text. */
function make(namespace, tag, attributes, children) {
  const element = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}
const html = (tag, attributes = {}, ...children) => make("http://www.w3.org/1999/xhtml", tag, attributes, children);
const svg = (tag, attributes = {}, ...children) => make("http://www.w3.org/2000/svg", tag, attributes, children);

const pen = document.createElement("canvas").getContext("2d");
function widthOf(text, font) {
  pen.font = `${font} ${FONT}`;
  return pen.measureText(text).width;
}

/** At most `most` characters of `text`: of more, the middle is left out. */
function short(text, most) {
  const characters = Array.from(String(text));
  if (characters.length <= most) return characters.join("");
  const end = Math.floor((most - 1) / 2);
  return [...characters.slice(0, most - 1 - end), "…", ...characters.slice(characters.length - end)].join("");
}

const counted = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

// ------------------------------------------------------------------------------------------ reading a trace

/** The trace as it is needed here: nodes by id, groups with their paths, and what reaches each node at which step. */
function readTrace(text) {
  const trace = JSON.parse(text);
  const record = { ...trace, nodes: new Map(trace.nodes.map((node) => [node.id, node])), steps: trace.steps ?? [] };
  record.stepped = Boolean(trace.steps?.length);
  record.root = readGroup(trace.groups, "0", null);
  record.sources = new Map((trace.sources ?? []).map((source) => [source.node, source.label]));
  record.graph = JSON.stringify([trace.nodes, trace.groups, trace.target, trace.sources]); // what the picture depends on
  record.stepOf = new Map(record.steps.map((step, index) => [step.node, index]));
  record.arrivals = readArrivals(record);
  record.widest = new Map(); // the longest cotangent that a node is shown with
  for (const [node, arrivals] of record.arrivals)
    record.widest.set(node, arrivals.map(([, text]) => short(text, 16)).reduce((a, b) => (b.length > a.length ? b : a), ""));
  record.flows = new Map(); // what goes along the edge of an operand
  for (const step of record.steps)
    for (const each of step.received) record.flows.set(`${step.node} ${each.operand}`, each.value.text);
  return record;
}

/** A group with its place in the tree. Where it has very many children, consecutive ones are taken together. */
function readGroup(group, path, parent) {
  const read = { ...group, path, parent };
  let children = group.children;
  if (children.length > MOST_CHILDREN) {
    const each = Math.ceil(children.length / Math.ceil(children.length / (MOST_CHILDREN / 2)));
    children = Array.from({ length: Math.ceil(children.length / each) }, (_, part) => {
      const some = children.slice(part * each, (part + 1) * each);
      const size = some.reduce((sum, child) => sum + (child.size ?? 1), 0);
      const title = `part ${part + 1} of ${Math.ceil(group.children.length / each)}`;
      return { title, kind: "part", open: false, size, children: some };
    });
  }
  read.children = children.map((child, place) => (typeof child === "object" ? readGroup(child, `${path}/${place}`, read) : child));
  return read;
}

/** For each node, its cotangent as it stands from which step on: [[step, text], ...]. */
function readArrivals(record) {
  const arrivals = new Map();
  const note = (node, index, value) => {
    if (!arrivals.has(node)) arrivals.set(node, []);
    if (value) arrivals.get(node).push([index, value.text]);
  };
  record.steps.forEach((step, index) => {
    note(step.node, index === 0 ? -1 : index, step.cotangent); // the seed is there before the first step
    for (const each of step.received) note(each.node, index, each.sum ?? each.value);
  });
  return arrivals;
}

/** The nodes of a group, those of groups in it too. */
function nodesOf(group, found = []) {
  for (const child of group.children) typeof child === "object" ? nodesOf(child, found) : found.push(child);
  return found;
}

/** What a node is called in a sentence: `h = mul`, `mul`, `w`. */
function called(node) {
  if (node.op === null) return node.name ?? node.value ?? "leaf";
  return node.name === null ? node.op : `${node.name} = ${node.op}`;
}

// ------------------------------------------------------------------------------------------ what is seen

/** The things that are seen while `open` tells which groups are unfolded, and the edges between them. */
function survey(record, open) {
  const seen = { things: new Map(), frames: [], holders: new Map(), edges: new Map() };
  const walk = (group, frame) => {
    for (const child of group.children) {
      if (typeof child !== "object") {
        seen.holders.set(child, addThing(seen, `n${child}`, frame, { node: record.nodes.get(child), nodes: [child] }));
      } else if (child.size && open.get(child.path)) {
        seen.frames.push({ key: `f${child.path}`, group: child, frame });
        walk(child, `f${child.path}`);
      } else if (child.size) {
        const nodes = nodesOf(child);
        const thing = addThing(seen, `g${child.path}`, frame, { group: child, nodes });
        for (const node of nodes) seen.holders.set(node, thing);
      }
    }
  };
  walk(record.root, null);
  const copied = leavesToCopy(record, seen);
  for (const node of record.nodes.values()) {
    const to = seen.holders.get(node.id);
    for (const [operand, input] of node.inputs) {
      const from = copied.has(input) ? copyOf(seen, record.nodes.get(input), to) : seen.holders.get(input);
      if (from && from !== to) addEdge(seen, from, to, { node: node.id, operand, input });
    }
  }
  for (const leaf of copied) seen.things.delete(`n${leaf}`);
  return seen;
}

function addThing(seen, key, frame, content) {
  const thing = { key, frame, ...content };
  seen.things.set(key, thing);
  return thing;
}

/** Parallel edges between two things are one: `uses` has all that it stands for. */
function addEdge(seen, from, to, use) {
  const key = `${from.key}>${to.key}`;
  if (!seen.edges.has(key)) seen.edges.set(key, { key, from, to, uses: [] });
  seen.edges.get(key).uses.push(use);
}

/** The leaves, seen themselves, that so many things use that each gets a copy. */
function leavesToCopy(record, seen) {
  const users = new Map();
  for (const node of record.nodes.values())
    for (const [, input] of node.inputs) {
      if (record.nodes.get(input).op !== null || !seen.holders.get(input).node) continue;
      if (!users.has(input)) users.set(input, new Set());
      users.get(input).add(seen.holders.get(node.id));
    }
  return new Set([...users].filter(([, things]) => things.size > MOST_USES).map(([leaf]) => leaf));
}

const copyOf = (seen, leaf, user) =>
  seen.things.get(`n${leaf.id}@${user.key}`) ??
  addThing(seen, `n${leaf.id}@${user.key}`, user.frame, { node: leaf, nodes: [leaf.id], copy: true });

/** The things between which the edge of an operand runs; null where both are in one folded group. */
function edgeOf(seen, node, input) {
  const to = seen.holders.get(node);
  const copy = seen.things.get(`n${input}@${to.key}`);
  return seen.edges.get(`${(copy ?? seen.holders.get(input)).key}>${to.key}`) ?? null;
}

const depthOf = (group) => group.path.split("/").length;

/**
 * A survey of no more than MOST_THINGS things: for this, other groups are folded, those that stand deepest and were
 * opened longest ago first, and never those that `kept` is in. Also says how many were folded.
 */
function surveyOfFew(record, open, kept) {
  let folded = 0;
  for (;;) {
    const seen = survey(record, open);
    const excess = seen.things.size - MOST_THINGS;
    const inner = seen.frames.filter((frame) => !seen.frames.some((other) => other.frame === frame.key));
    const candidates = inner.filter(({ group }) => !kept?.startsWith(group.path));
    if (excess <= 0 || !candidates.length) return { ...seen, folded };
    const place = new Map([...open.keys()].map((path, order) => [path, order]));
    candidates.sort((a, b) => depthOf(b.group) - depthOf(a.group) || place.get(a.group.path) - place.get(b.group.path));
    for (let gone = 0; gone < excess / 2 && candidates.length; folded++) { // half: copies of leaves go too
      const { group } = candidates.shift();
      open.delete(group.path);
      gone += Math.max(1, group.children.length - 1);
    }
  }
}

/** Which groups a trace wants to be unfolded: the paths, in a Map that keeps the order in which they were opened. */
function openAtFirst(group, open = new Map()) {
  for (const child of group.children)
    if (typeof child === "object") {
      if (child.open) open.set(child.path, true);
      openAtFirst(child, open);
    }
  return open;
}

// ------------------------------------------------------------------------------------------ layout

/** The two lines of text on a thing; the name in bold, the rest of the first line after it. */
function linesOf(thing) {
  if (thing.group) {
    return { name: short(thing.group.title || thing.group.kind, 30), rest: "", second: counted(thing.group.size, "node") };
  }
  const { op, name, shape, value } = thing.node;
  const told = value !== null && value !== undefined && Array.from(value).length <= 12;
  const bold = name ?? (op === null ? (told ? value : "leaf") : "");
  const rest = op === null ? "" : (name === null ? "" : " = ") + short(op, 22);
  const scalar = shape === "()";
  const second = told && bold !== value ? (scalar ? value : `${short(shape, 20)}  ${value}`) : short(shape, 24);
  return { name: short(bold, 20), rest, second };
}

function measure(thing, record) {
  thing.lines = linesOf(thing);
  const first = widthOf(thing.lines.name, "650 13px") + widthOf(thing.lines.rest, "13px");
  const pill = record.widest.get(thing.node?.id) ?? "";
  thing.width = Math.ceil(Math.max(first, widthOf(thing.lines.second, "11px"), 34, pillWidth(pill) + 8)) + 26;
  thing.height = record.stepped ? 46 : 40; // the cotangent has room at the lower border
}

const pillWidth = (text) => widthOf(text, "600 11px") + 14;

/** The label of an edge: its operands, and what flows along them where that is asked for. */
function edgeLabel(uses, flows) {
  const told = uses.slice(0, 2).map(({ node, operand }) => {
    const flow = flows?.get(`${node} ${operand}`);
    return flow === undefined ? short(operand, 14) : `${short(operand, 14)}: ${short(flow, 16)}`;
  });
  return told.join(", ") + (uses.length > 2 ? ` and ${uses.length - 2} more` : "");
}

/** Gives everything that is seen its place. Inputs stand at the top, the target at the bottom. */
function layOut(record, seen) {
  seen.few = seen.edges.size <= FEW_EDGES;
  for (const thing of seen.things.values()) measure(thing, record);
  const beside = seen.few ? new Map() : leavesBeside(seen);
  const aside = new Set([...beside.values()].flat());
  const placed = [...seen.frames, ...seen.things.values()].filter((each) => !aside.has(each));
  const edges = [...seen.edges.values()].filter((edge) => !aside.has(edge.from));
  const graph = new dagre.graphlib.Graph({ compound: true });
  // Aligned to one side, long chains are straight; balanced between all sides, which suits small graphs, they drift.
  graph.setGraph({ rankdir: "TB", align: seen.few ? undefined : "UL", ranksep: 44, nodesep: 26, edgesep: 14, marginx: 18, marginy: 22 });
  for (const each of placed) graph.setNode(each.key, each.group && !each.nodes ? {} : roomFor(each, beside.get(each) ?? []));
  for (const each of placed) if (each.frame) graph.setParent(each.key, each.frame);
  for (const edge of edges) {
    const room = seen.few ? widthOf(edgeLabel(edge.uses, record.flows), "650 11.5px") + 8 : 0;
    graph.setEdge(edge.from.key, edge.to.key, { width: room, height: seen.few ? 14 : 0, labelpos: "c" });
  }
  dagre.layout(graph);
  for (const each of placed) {
    const { x, y, width, height } = graph.node(each.key);
    Object.assign(each, { x, y }, each.nodes ? {} : { width, height });
  }
  for (const [thing, leaves] of beside) placeBeside(thing, leaves);
  for (const edge of seen.edges.values()) {
    const found = aside.has(edge.from) ? null : graph.edge(edge.from.key, edge.to.key);
    placeEdge(edge, found ?? { points: [edge.from, { x: (edge.from.x + edge.to.x) / 2, y: edge.from.y }, edge.to] });
  }
  Object.assign(seen, { width: graph.graph().width, height: graph.graph().height });
}

/** Leaves that one thing alone uses stand beside it, left and right: so chains stay straight, and layouts quick. */
function leavesBeside(seen) {
  const [users, inputs, beside] = [new Map(), new Map(), new Map()];
  for (const { from, to } of seen.edges.values()) {
    users.set(from, [...(users.get(from) ?? []), to]);
    inputs.set(to, [...(inputs.get(to) ?? []), from]);
  }
  for (const [thing, all] of inputs) {
    const leaves = all.filter((input) => input.node?.op === null && users.get(input).length === 1);
    if (leaves.length === all.length) leaves.shift(); // one stands above, where inputs come from
    if (leaves.length) beside.set(thing, leaves);
  }
  return beside;
}

const sideWidth = (leaves) => ASIDE + Math.max(...leaves.map((leaf) => leaf.width));
const rowsOf = (leaves) => Math.ceil(leaves.length / 2);

/** The room that a thing needs with the leaves beside it; it stands in its middle. */
function roomFor({ width, height }, leaves) {
  if (!leaves.length) return { width, height };
  return { width: width + 2 * sideWidth(leaves), height: Math.max(height, rowsOf(leaves) * (height + 18) - 18) };
}

function placeBeside(thing, leaves) {
  leaves.forEach((leaf, place) => {
    const side = place % 2 ? -1 : 1;
    leaf.x = thing.x + side * (thing.width / 2 + ASIDE + leaf.width / 2);
    leaf.y = thing.y + (Math.floor(place / 2) - (rowsOf(leaves) - 1) / 2) * (leaf.height + 18);
  });
}

/** The line of an edge, from border to border, and where its label stands. */
function placeEdge(edge, { points, x, y }) {
  const inner = points.slice(1, -1);
  edge.points = [borderOf(edge.from, inner[0]), ...inner, borderOf(edge.to, inner.at(-1))];
  const middle = inner[Math.floor(inner.length / 2)];
  Object.assign(edge, { x: x ?? middle.x, y: y ?? middle.y });
}

/** Where the line from the middle of a thing to a point leaves its box. */
function borderOf({ x, y, width, height }, point) {
  const [right, down] = [point.x - x, point.y - y];
  const part = Math.min(width / 2 / Math.abs(right || 1e-9), height / 2 / Math.abs(down || 1e-9));
  return { x: x + right * part, y: y + down * part };
}

/** A smooth line through points. */
function curve(points) {
  const at = (point) => `${point.x.toFixed(1)} ${point.y.toFixed(1)}`;
  const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  let path = `M${at(points[0])}`;
  for (let place = 1; place < points.length - 1; place++) {
    const end = place === points.length - 2 ? points[place + 1] : middle(points[place], points[place + 1]);
    path += ` Q${at(points[place])} ${at(end)}`;
  }
  return points.length === 2 ? `${path} L${at(points[1])}` : path;
}

// ------------------------------------------------------------------------------------------ the picture

/** The graph, drawn into a box that scrolls. `memory` outlives it: what is unfolded, the zoom, the chosen thing. */
class Picture {
  constructor(record, memory, whenChosen, whenNoted) {
    Object.assign(this, { record, memory, whenChosen, whenNoted, index: -1, lit: [], current: [] });
    this.mark = `tensorad-${Math.random().toString(36).slice(2)}`; // ids are the page's: each picture needs its own
    this.box = html("div", { class: "scroll", wheel: (event) => this.wheel(event) });
    this.draw();
  }

  /** Lays out and draws everything; steps change only what they have to. */
  draw(kept = null) {
    this.seen = surveyOfFew(this.record, this.memory.open, kept);
    layOut(this.record, this.seen);
    const { width, height, frames, edges, things, folded } = this.seen;
    const label = `Graph: ${this.record.title}. ${counted(this.record.nodes.size, "node")}, inputs at the top.`;
    this.svg = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label, class: this.seen.few ? "labelled" : null },
      svg("defs", {}, this.arrowhead("plain"), this.arrowhead("lit")),
      ...frames.map((frame) => this.drawFrame(frame)),
      ...[...edges.values()].map((edge) => this.drawEdge(edge)),
      ...[...things.values()].map((thing) => this.drawThing(thing)),
      ...frames.map((frame) => this.drawFoldButton(frame)));
    this.stops = [...frames, ...things.values()].sort((a, b) => topOf(a) - topOf(b) || a.x - b.x);
    this.stops.forEach((stop, place) => stop.button.setAttribute("tabindex", place ? -1 : 0)); // one stop of the Tab key
    this.box.replaceChildren(this.svg);
    this.zoom(this.memory.zoom);
    this.lit = [];
    this.current = [];
    for (const thing of things.values()) this.paint(thing);
    this.light();
    this.choose(things.get(this.memory.chosen));
    const group = folded === 1 ? "group was" : "groups were";
    this.whenNoted(folded ? `${folded} ${group} folded, to show no more than ${MOST_THINGS} boxes at once.` : "");
  }

  arrowhead(kind) {
    const shape = svg("path", { d: "M0 0 L8 4 L0 8 z", class: `head-${kind}` });
    return svg("marker", { id: `${this.mark}-${kind}`, viewBox: "0 0 8 8", refX: kind === "lit" ? 17 : 7.5, refY: 4, markerUnits: "userSpaceOnUse",
      markerWidth: kind === "lit" ? 11 : 8, markerHeight: kind === "lit" ? 11 : 8, orient: "auto-start-reverse" }, shape);
  }

  drawFrame(frame) {
    const { x, y, width, height, group } = frame;
    frame.element = svg("rect", { class: `frame ${group.kind}`, x: x - width / 2, y: y - height / 2, width, height, rx: 8 });
    return frame.element;
  }

  /** The title of an open group, which folds it. */
  drawFoldButton(frame) {
    const { x, y, width, height, group } = frame;
    const most = Math.max(3, Math.floor((width - 24) / 6.3));
    const text = short(`▾ ${group.title || group.kind}`, most);
    frame.button = svg("g", this.behaviour(frame, "fold", `fold ${group.title || group.kind}, ${counted(group.size, "node")}`, true),
      svg("title", {}, `${group.title || group.kind}: fold`),
      svg("rect", { class: "ring", x: x - width / 2 + 3, y: y - height / 2 + 3, width: widthOf(text, "11.5px") + 12, height: 19, rx: 4 }),
      svg("text", { x: x - width / 2 + 9, y: y - height / 2 + 16 }, text));
    return frame.button;
  }

  drawEdge(edge) {
    const path = curve(edge.points);
    edge.line = svg("path", { class: "line", d: path, "marker-end": `url(#${this.mark}-plain)` });
    edge.text = svg("text", { x: edge.x, y: edge.y + 4 }, edgeLabel(edge.uses));
    const about = `${this.titleOf(edge.from)} → ${this.titleOf(edge.to)}: ${edgeLabel(edge.uses)}`;
    edge.element = svg("g", { class: "edge", "aria-hidden": "true" }, svg("title", {}, about), svg("path", { class: "hit", d: path }), edge.line, edge.text);
    return edge.element;
  }

  drawThing(thing) {
    const { x, y, width, height, node, group } = thing;
    const leaf = node?.op === null;
    const source = node ? this.record.sources.get(node.id) : undefined;
    const target = node?.id === this.record.target;
    const special = target || source !== undefined;
    const tag = target ? "target" : source === undefined ? "" : node.name === source ? "source" : `source ${short(source, 16)}`;
    const lift = this.record.stepped ? 2 : 0;
    const radius = leaf ? height / 2 : 6;
    const place = (grown) => ({ x: -width / 2 - grown, y: -height / 2 - grown, width: width + 2 * grown, height: height + 2 * grown, rx: radius + grown });
    thing.second = svg("text", { class: "second", y: 12 - lift }, thing.lines.second);
    const kind = `thing ${group ? "group" : leaf ? "leaf" : "op"} ${special ? "special" : ""}`;
    thing.button = svg("g", { ...this.behaviour(thing, kind, this.sentence(thing), group ? false : null), transform: `translate(${x} ${y})` },
      svg("title", {}, this.tooltip(thing)),
      svg("rect", { class: "ring", ...place(4) }),
      group ? svg("rect", { class: "box", ...place(0) }) : null, // a pile of boxes
      svg("rect", { class: "box", ...place(0), ...(group ? { width: width - 4, height: height - 4 } : {}) }),
      special ? svg("rect", { class: "rim", ...place(-3) }) : null,
      svg("text", { y: -3 - lift }, svg("tspan", { class: "name" }, thing.lines.name), thing.lines.rest),
      thing.second,
      tag ? svg("text", { class: "tag", x: (leaf ? 12 : 2) - width / 2, y: -height / 2 - 6 }, tag) : null,
      this.record.stepped ? svg("g", { class: "check", transform: `translate(${3 - width / 2} ${height / 2 - 1})` },
        svg("circle", { r: 7.5 }), svg("path", { d: "M-3.5 0 L-1 2.8 L3.5 -2.8" })) : null);
    return thing.button;
  }

  /** What a thing that can be pressed has in common with all others. */
  behaviour(stop, kind, label, expanded) {
    return {
      class: kind, role: "button", "aria-label": label, "aria-expanded": expanded === null ? null : String(expanded), tabindex: -1,
      click: () => this.press(stop),
      focus: () => this.choose(stop.lines ? stop : null),
      keydown: (event) => this.key(event, stop),
    };
  }

  titleOf({ node, group }) {
    return node ? called(node) : group.title || group.kind;
  }

  sentence(thing) {
    const { node, group } = thing;
    if (group) return `${group.title || group.kind}, folded, ${counted(group.size, "node")}`;
    const words = [called(node), `shape ${node.shape}`];
    if (node.op === null) words.push("leaf");
    if (this.record.sources.has(node.id)) words.push("source");
    if (node.id === this.record.target) words.push("target");
    if (this.record.stepOf.has(node.id)) words.push(`step ${this.record.stepOf.get(node.id) + 1} of ${this.record.steps.length}`);
    return words.join(", ");
  }

  tooltip({ node, group }) {
    if (group) return `${group.title || group.kind}\n${counted(group.size, "node")}: click to unfold`;
    return [called(node), `${node.shape} ${node.dtype}`, node.value, node.code, node.line].filter(Boolean).join("\n");
  }

  press(stop) {
    if (stop.lines && stop.node) {
      stop.button.focus({ preventScroll: true });
      return this.choose(stop);
    }
    this.fold(stop.group, Boolean(stop.lines));
  }

  /** Unfolds or folds a group in place, and keeps the keyboard where it was. */
  fold(group, unfold) {
    const before = this.stopOf(group);
    const [left, top] = [before.x * this.scale - this.box.scrollLeft, topOf(before) * this.scale - this.box.scrollTop];
    this.memory.open.delete(group.path);
    if (unfold) this.memory.open.set(group.path, true); // now the last one
    this.draw(unfold ? group.path : null);
    const after = this.stopOf(group) ?? this.stops[0];
    this.box.scrollTo(after.x * this.scale - left, topOf(after) * this.scale - top);
    after.button.focus({ preventScroll: true });
    this.reveal(after);
  }

  stopOf(group) {
    return this.seen.things.get(`g${group.path}`) ?? this.seen.frames.find((frame) => frame.group === group);
  }

  /** Up and down go from thing to thing; left and right too where there are no steps to go through. */
  key(event, stop) {
    const by = { ArrowUp: -1, ArrowDown: 1, ...(this.record.stepped ? {} : { ArrowLeft: -1, ArrowRight: 1 }) }[event.key];
    if (event.key === "Enter" || (event.key === " " && !this.record.stepped)) this.press(stop);
    else if (by) this.reach(this.stops[this.stops.indexOf(stop) + by]);
    else return;
    event.preventDefault();
  }

  reach(stop) {
    if (!stop) return;
    stop.button.focus({ preventScroll: true });
    this.reveal(stop);
  }

  /** Marks a thing as chosen, with its edges; the panel tells about it. */
  choose(thing) {
    for (const edge of this.near ?? []) edge.element.classList.remove("near");
    this.seen.things.get(this.memory.chosen)?.button.classList.remove("chosen");
    this.memory.chosen = thing?.key ?? null;
    this.near = thing ? [...this.seen.edges.values()].filter((edge) => edge.from === thing || edge.to === thing) : [];
    for (const edge of this.near) edge.element.classList.add("near");
    if (thing) {
      thing.button.classList.add("chosen");
      for (const stop of this.stops) stop.button.setAttribute("tabindex", stop === thing ? 0 : -1);
    }
    this.whenChosen(thing ?? null);
  }

  /** Goes to a node wherever it is: what it is folded in stands for it. */
  find(node) {
    const copies = () => [...this.seen.things.values()].find((thing) => thing.node?.id === node);
    this.reach(this.seen.things.get(this.seen.holders.get(node).key) ?? copies());
  }

  // ---------------------------------------------------------------- steps

  /** Shows another step. Only what has changed between the two is touched. */
  show(index) {
    const [first, last] = [Math.min(index, this.index), Math.max(index, this.index)];
    this.index = index;
    const changed = new Set();
    for (let place = Math.max(first, 0); place <= last; place++) {
      const step = this.record.steps[place];
      changed.add(step.node);
      for (const each of step.received) changed.add(each.node);
    }
    const things = new Set();
    for (const node of changed) things.add(this.seen.holders.get(node));
    for (const thing of things)
      for (const each of this.thingsFor(thing)) this.paint(each);
    this.light();
  }

  /** A thing, or all the copies of a leaf that stand for it. */
  thingsFor(thing) {
    if (this.seen.things.has(thing.key)) return [thing];
    return [...this.seen.things.values()].filter((each) => each.copy && each.node === thing.node);
  }

  /** How far the backward pass is with a thing: which of its nodes are done, and what has reached it. */
  paint(thing) {
    if (!this.record.stepped) return;
    thing.steps ??= thing.nodes.map((node) => this.record.stepOf.get(node)).filter((step) => step !== undefined);
    const done = thing.steps.reduce((count, step) => count + (step < this.index), 0);
    thing.button.classList.toggle("done", done > 0 && done === thing.steps.length);
    if (thing.group) {
      thing.second.textContent = done ? `${done} of ${thing.steps.length} steps` : thing.lines.second;
      return;
    }
    const arrived = (this.record.arrivals.get(thing.node.id) ?? []).filter(([step]) => step <= this.index).at(-1);
    this.paintPill(thing, arrived ? short(arrived[1], 16) : "");
  }

  /** The cotangent of a node, at its lower border, where it comes in. */
  paintPill(thing, text) {
    if (!text) return thing.pill?.setAttribute("visibility", "hidden");
    if (!thing.pill) {
      thing.pill = svg("g", { class: "pill" }, svg("rect", { y: -8, height: 16, rx: 8 }), svg("text", { y: 4 }));
      thing.pill.setAttribute("transform", `translate(0 ${thing.height / 2 + 3})`);
      thing.button.append(thing.pill);
    }
    const [rect, label] = thing.pill.children;
    if (label.textContent !== text) {
      const width = pillWidth(text);
      label.textContent = text;
      rect.setAttribute("width", width);
      rect.setAttribute("x", -width / 2);
    }
    thing.pill.setAttribute("visibility", "visible");
  }

  /** Lights the current node, its edges, and what flows along them. */
  light() {
    for (const thing of this.current) {
      thing.element?.classList.remove("current");
      thing.button.classList.remove("current", "receiving");
      thing.button.removeAttribute("aria-current");
    }
    for (const edge of this.lit) this.lightEdge(edge, null);
    [this.current, this.lit] = [[], []];
    const step = this.record.steps[this.index];
    if (!step) return this.reveal(this.seen.holders.get(this.record.target)); // where it starts
    const thing = this.seen.holders.get(step.node);
    thing.button.classList.add("current");
    thing.button.setAttribute("aria-current", "step");
    this.current.push(thing);
    const uses = new Map();
    for (const { operand, node } of step.received) {
      const edge = edgeOf(this.seen, step.node, node);
      if (edge) uses.set(edge, [...(uses.get(edge) ?? []), { node: step.node, operand }]);
    }
    for (const [edge, some] of uses) {
      this.lightEdge(edge, some);
      edge.from.button.classList.add("receiving");
      this.current.push(edge.from);
      this.lit.push(edge);
    }
    this.reveal(...this.current.toReversed()); // the current one last: it must be seen
  }

  /** A lit edge has its arrow at the parent: that is where cotangents go. */
  lightEdge(edge, uses) {
    edge.element.classList.toggle("lit", Boolean(uses));
    edge.line.setAttribute("marker-end", uses ? "none" : `url(#${this.mark}-plain)`);
    edge.line.setAttribute("marker-start", uses ? `url(#${this.mark}-lit)` : "none");
    edge.text.textContent = uses ? edgeLabel(uses, this.record.flows) : edgeLabel(edge.uses);
    if (uses) edge.element.parentNode.insertBefore(edge.element, this.seen.firstThing ??= this.firstThing());
  }

  firstThing() {
    return this.seen.things.values().next().value?.button ?? null;
  }

  // ---------------------------------------------------------------- scrolling and zoom

  /** Scrolls the picture's own box, never the page, until things are well inside: the last one, and the others if they can. */
  reveal(...stops) {
    const { box, scale } = this;
    const [width, height] = [box.clientWidth, box.clientHeight];
    let [left, top] = [box.scrollLeft, box.scrollTop];
    const keep = (start, view, at, size) => {
      const room = Math.min(60, Math.max(0, (view - size) / 2));
      return at - room < start ? at - room : at + size + room > start + view ? at + size + room - view : start;
    };
    for (const stop of stops) {
      const tall = stop.lines ? stop.height : 24; // of an open group, its title
      left = keep(left, width, (stop.x - stop.width / 2) * scale, Math.min(stop.width * scale, width));
      top = keep(top, height, topOf(stop) * scale, tall * scale);
    }
    if (left !== box.scrollLeft || top !== box.scrollTop) box.scrollTo(left, top);
  }

  /** "fit" for as wide as the box, but legible; or a scale. */
  zoom(how) {
    this.memory.zoom = how;
    const width = this.box.clientWidth || 800;
    this.scale = how === "fit" ? Math.min(1, Math.max(LEAST_SCALE, width / this.seen.width)) : how;
    this.svg.setAttribute("width", Math.floor(this.seen.width * this.scale));
    this.svg.setAttribute("height", Math.floor(this.seen.height * this.scale));
  }

  /** With the control key, the wheel zooms, and what is under the pointer stays there. */
  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const place = this.box.getBoundingClientRect();
    const [x, y] = [event.clientX - place.left, event.clientY - place.top];
    const [left, top, before] = [this.box.scrollLeft + x, this.box.scrollTop + y, this.scale];
    this.zoom(Math.min(3, Math.max(0.1, before * Math.exp(-event.deltaY / 300))));
    this.box.scrollTo((left * this.scale) / before - x, (top * this.scale) / before - y);
  }
}

const topOf = (stop) => stop.y - stop.height / 2;

// ------------------------------------------------------------------------------------------ the panel

/** A value and its shape. */
function shown(value) {
  return html("span", {}, html("span", { class: "value" }, value.text), value.shape === "()" ? null : html("span", { class: "shape" }, value.shape));
}

/** Lines of an equation: what stands before each, and the line. */
function equation(...lines) {
  return html("div", { class: "sum" }, ...lines.filter(Boolean).flatMap(([sign, line]) => [html("span", {}, sign), html("span", {}, line)]));
}

/** What one operand's parent receives: the formula, then symbols, then numbers, then the value. */
function operandPart(record, each, find) {
  const node = record.nodes.get(each.node);
  const name = html("button", { type: "button", class: "link", click: () => find(each.node) }, node.name ?? node.op ?? node.value ?? "leaf");
  const { before, value, sum } = each;
  const how = before && (before.shape === value.shape ? "cast" : `summed from ${before.shape} to ${value.shape}`);
  return html("div", { class: "operand" },
    html("div", {}, name, html("span", { class: "label" }, ` receives, as ${each.operand}`)),
    equation(
      each.formula && ["", html("code", {}, each.formula)],
      each.symbols && ["=", html("code", {}, each.symbols)],
      each.numbers && ["=", html("code", {}, each.numbers)],
      before && ["=", shown(before)],
      before && ["→", html("span", { class: "label" }, how)],
      ["=", shown(value)],
      sum && ["+", html("span", { class: "label" }, "what it had from other paths")],
      sum && ["=", shown(sum)]));
}

function stepPart(record, index, find, edit) {
  const step = record.steps[index];
  if (!step) {
    const seed = record.steps[0];
    const name = called(record.nodes.get(seed.node));
    return [
      html("p", { class: "heading" }, "Before the first step"),
      seed.cotangent
        ? html("div", {}, "The backward pass starts at ", html("b", {}, name), ", with the cotangent ", shown(seed.cotangent))
        : html("div", {}, `Nothing flows into ${name}.`),
    ];
  }
  const node = record.nodes.get(step.node);
  return [
    html("p", { class: "heading" }, `Step ${index + 1} of ${record.steps.length}: `,
      html("button", { type: "button", class: "link", click: () => find(node.id) }, called(node))),
    html("div", { class: "label" }, "incoming cotangent, g"),
    step.cotangent ? shown(step.cotangent) : html("div", {}, "nothing flows here"),
    step.cotangent?.plain !== undefined && edit ? edit(index, step) : null,
    html("div", { class: "label", style: "margin-top: 6px" }, "rule"),
    html("code", {}, step.rule),
    ...step.received.map((each) => operandPart(record, each, find)),
    index === record.steps.length - 1 ? html("p", { class: "label" }, "This was the last step: all gradients are there.") : null,
  ];
}

function gradientsPart(record, index) {
  const last = record.steps[Math.max(0, index)].gradients;
  return [
    html("p", { class: "heading" }, "Gradients so far"),
    html("dl", { class: "facts" }, ...last.flatMap(({ label, text, shape }) => [
      html("dt", {}, label),
      html("dd", {}, text === null || index < 0 ? html("span", { class: "label" }, "nothing yet") : shown({ text, shape })),
    ])),
  ];
}

/** All that is known of a thing. */
function detailPart(record, thing) {
  if (!thing) return [html("p", { class: "label" }, "Choose a box to read about it. Up and down go from box to box.")];
  const { node, group } = thing;
  if (group) return [html("p", { class: "heading" }, group.title || group.kind), html("div", { class: "label" }, `${counted(group.size, "node")}; Enter or a click unfolds them`)];
  const facts = [
    ["shape", node.shape], ["dtype", node.dtype], ["value", node.value], ["code", node.code], ["line", node.line],
    ["recorded by", node.recorded.join(", ")],
    ...node.inputs.map(([operand, input]) => [operand, called(record.nodes.get(input))]),
    ...Object.entries(node.rule).map(([operand, formula]) => [`rule for ${operand}`, formula]),
  ];
  return [
    html("p", { class: "heading" }, called(node)),
    html("dl", { class: "facts" }, ...facts.filter(([, text]) => text).flatMap(([name, text]) => [html("dt", {}, name), html("dd", {}, html("code", {}, text))])),
  ];
}

/** A step in one sentence, for those who do not see it. */
function spoken(record, index) {
  const step = record.steps[index];
  if (!step) return "Before the first step.";
  const received = step.received.slice(0, 4).map((each) => `${called(record.nodes.get(each.node))} receives ${(each.value).text}`);
  const more = step.received.length > 4 ? `, and ${step.received.length - 4} more` : "";
  const cotangent = step.cotangent ? `cotangent ${step.cotangent.text}` : "nothing flows here";
  return `Step ${index + 1} of ${record.steps.length}: ${called(record.nodes.get(step.node))}, ${cotangent}. ${received.join("; ")}${more}.`;
}

// ------------------------------------------------------------------------------------------ the controls

const ICONS = {
  first: "M2 2h2v10H2zM13 2v10L5 7z", back: "M11 2v10L3 7z", play: "M3 1l10 6-10 6z",
  pause: "M3 2h3v10H3zM8 2h3v10H8z", forward: "M3 2l8 5-8 5z", last: "M10 2h2v10h-2zM1 2l8 5-8 5z",
};

function iconButton(icon, label, press) {
  const shape = svg("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, svg("path", { d: ICONS[icon] }));
  return html("button", { type: "button", class: icon, "aria-label": label, title: label, click: press }, shape);
}

/** Buttons, a slider, play and its pace: all of them call `go` with the number of a step. */
class Controls {
  constructor(last, labelOf, current, go) {
    Object.assign(this, { last, labelOf, current, go, timer: null });
    this.first = iconButton("first", "before the first step", () => this.move(-1));
    this.back = iconButton("back", "one step back", () => this.move(this.current() - 1));
    this.player = iconButton("play", "play", () => this.play());
    this.forward = iconButton("forward", "one step on", () => this.move(this.current() + 1));
    this.end = iconButton("last", "last step", () => this.move(this.last));
    this.slider = html("input", { type: "range", min: -1, max: last, step: 1, value: -1, "aria-label": "step", input: () => this.move(Number(this.slider.value)) });
    this.count = html("span", { class: "count about" });
    this.pace = html("select", { "aria-label": "pace of play", title: "pace of play" }, ...PACES.map(([name, time]) => html("option", { value: time, selected: name === "normal" }, name)));
    this.element = html("div", { class: "bar controls", role: "group", "aria-label": "backward pass" },
      html("div", { class: "move" }, this.first, this.back, this.player, this.forward, this.end), this.slider, this.count, this.pace);
  }

  move(index) {
    this.stop();
    this.go(index);
  }

  get playing() {
    return this.timer !== null;
  }

  play() {
    if (this.playing) return this.stop();
    if (this.current() >= this.last) this.go(-1);
    this.look("pause");
    const next = () => {
      this.go(this.current() + 1);
      if (this.current() >= this.last) this.stop();
      else this.timer = setTimeout(next, Number(this.pace.value));
    };
    this.timer = setTimeout(next, Math.min(Number(this.pace.value), 300));
  }

  stop() {
    clearTimeout(this.timer);
    if (this.playing) this.look("play");
    this.timer = null;
  }

  look(icon) {
    this.player.querySelector("path").setAttribute("d", ICONS[icon]);
    this.player.setAttribute("aria-label", icon);
    this.player.setAttribute("title", icon);
  }

  /** Says where it is. */
  tell(index) {
    this.slider.value = index;
    this.slider.setAttribute("aria-valuetext", this.labelOf(index));
    this.count.textContent = `${index + 1} / ${this.last + 1}`;
    for (const button of [this.first, this.back]) button.disabled = index < 0;
    for (const button of [this.forward, this.end]) button.disabled = index >= this.last;
  }
}

// ------------------------------------------------------------------------------------------ all of it

/** What the two hosts call: draws the model's trace into `el`, and returns what takes it away again. */
function render({ model, el }) {
  const root = html("div", { class: "tensorad-board", "data-lm-suppress-shortcuts": "true", role: "region" });
  const memory = { open: null, zoom: "fit", chosen: null };
  let board = null;
  const build = () => {
    const text = model.get("trace");
    board?.leave();
    board = new Board(root, readTrace(text), memory, model);
  };
  const step = () => board.show(model.get("index"));
  const hear = (message) => message?.error && board.complain(message.error);
  const key = (event) => board.key(event);
  root.addEventListener("keydown", key);
  el.append(root);
  build();
  model.on("change:trace", build);
  model.on("change:index", step);
  model.on("msg:custom", hear);
  return () => {
    model.off("change:trace", build);
    model.off("change:index", step);
    model.off("msg:custom", hear);
    board.leave();
    root.remove();
  };
}

/** The picture, the panel and the controls of one trace. */
class Board {
  constructor(root, record, memory, model) {
    Object.assign(this, { root, record, memory, model });
    memory.open ??= openAtFirst(record.root);
    this.last = record.steps.length - 1;
    this.note = html("div", { class: "note", role: "status" });
    this.live = html("div", { class: "unseen", "aria-live": "polite" });
    this.step = html("section", { "aria-label": "this step" });
    this.gradients = html("section", { "aria-label": "gradients so far" });
    this.detail = html("section", { "aria-label": "the chosen box" });
    this.trouble = html("div", { class: "trouble", role: "alert" });
    this.controls = record.stepped ? new Controls(this.last, (index) => spoken(record, index), () => this.index, (index) => this.go(index)) : null;
    this.picture = null;
    this.assemble();
    this.picture = new Picture(record, memory, (thing) => this.detail.replaceChildren(...detailPart(record, thing)), (text) => { this.note.textContent = text; });
    this.body.prepend(this.picture.box);
    this.picture.zoom(memory.zoom); // now it is known how wide the box is
    this.observer = new ResizeObserver(() => memory.zoom === "fit" && this.picture.zoom("fit"));
    this.observer.observe(this.picture.box);
    this.show(model.get("index"));
  }

  assemble() {
    const { record } = this;
    const about = counted(record.nodes.size, "node") + (record.stepped ? `, ${counted(record.steps.length, "step")}` : "");
    const zooms = html("div", { class: "move zoom" },
      html("button", { type: "button", style: "width: auto; padding: 0 8px", title: "fit the width", click: () => this.picture.zoom("fit") }, "fit"),
      html("button", { type: "button", style: "width: auto; padding: 0 8px", title: "full size", click: () => this.picture.zoom(1) }, "1:1"));
    const panel = html("div", { class: "panel", tabindex: 0, role: "group", "aria-label": "details" },
      ...(record.stepped ? [this.step, this.gradients] : []), this.detail);
    this.body = html("div", { class: "body" }, panel);
    this.root.setAttribute("aria-label", record.title);
    this.root.replaceChildren(html("style", {}, STYLE),
      html("div", { class: "bar head" }, html("div", { class: "title" }, record.title), html("span", { class: "about" }, about), zooms),
      ...(this.controls ? [this.controls.element] : []), this.note, this.body, this.live);
  }

  /** Another step, wished for here: the model hears of it, and it is shown. */
  go(index) {
    const inside = Math.max(-1, Math.min(this.last, index));
    if (inside === this.index) return;
    this.model.set("index", inside); // the host answers with change:index, at once
    this.model.save_changes();
    this.show(inside);
  }

  show(index) {
    if (!this.record.stepped || index === this.index) return;
    this.index = Math.max(-1, Math.min(this.last, index));
    this.picture.show(this.index);
    const find = (node) => this.picture.find(node);
    const edit = this.record.editable ? (place, step) => this.editor(place, step) : null;
    this.trouble.textContent = "";
    this.step.replaceChildren(...stepPart(this.record, this.index, find, edit).filter(Boolean));
    this.gradients.replaceChildren(...gradientsPart(this.record, this.index));
    this.controls.tell(this.index);
    const quick = this.controls.playing && Number(this.controls.pace.value) < 900;
    if (!quick) this.live.textContent = spoken(this.record, this.index);
  }

  /** Where the incoming cotangent can be changed: Enter sends it to Python, which runs the rest again. */
  editor(index, step) {
    const send = (event) => event.key === "Enter" && this.model.send({ step: index, text: field.value });
    const field = html("input", { class: "edit", value: step.cotangent.plain, "aria-label": "change the incoming cotangent, Enter sends it", spellcheck: "false", keydown: send });
    return html("div", {}, html("span", { class: "label" }, "change it (Enter runs the rest with it)"), field, this.trouble);
  }

  complain(text) {
    this.trouble.textContent = text;
  }

  /** Keys anywhere inside. No notebook should take them for its own. */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    const typing = event.target.matches(".edit, select");
    if (!this.controls || typing || event.defaultPrevented) return;
    const pressed = event.key === " " && event.target.matches("button"); // a space presses it
    const to = { ArrowLeft: this.index - 1, ArrowRight: this.index + 1, Home: -1, End: this.last }[event.key];
    if (to !== undefined) this.controls.move(to);
    else if (event.key === " " && !pressed) this.controls.play();
    else return;
    event.preventDefault();
  }

  leave() {
    this.controls?.stop();
    this.observer.disconnect();
  }
}

export default { render };
