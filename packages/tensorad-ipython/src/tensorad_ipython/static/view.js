/**
 * A recorded graph as a picture and, where the trace has steps, the backward pass through it, step by step.
 *
 * One module for two hosts: a notebook (anywidget) and a page of documentation, which has no kernel. Both call
 * `render({ model, el })`; the model has `trace` (JSON text) and `index` (the current step, -1 before the first).
 * Above this text, where it is served, stand `dagre`, which works out where things are, and `STYLE`, the text of
 * view.css. Whatever a trace says is shown as text: nothing in here writes HTML.
 *
 * A *thing* is a box that is seen: a node, a folded group, or one of the copies of a leaf that many things use.
 */

const MOST_THINGS = 250; // of more, no layout is quick, and no picture readable
const MOST_GRADIENTS = 12; // lines of the panel: of more, those that have just received something come first
const MOST_CHILDREN = 100; // of a group: of more, consecutive ones are taken together
const MOST_BRIEF = 20; // characters of a value in the picture
const MOST_USES = 6; // of a leaf: of more, each use gets a copy of its own, else edges cross the whole picture
const ROW_GAP = 34; // pixels between leaves that stand beside one thing, one below the other
const FEW_EDGES = 40; // are labelled all the time, and have room for it
const LEAST_SCALE = 0.65; // of a picture that is fitted: below it nothing can be read
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
const PACES = [["slow", 1800], ["normal", 900], ["fast", 300], ["very fast", 33]]; // milliseconds a step

// ------------------------------------------------------------------------------------------ making elements

/** An element. Functions become listeners, other properties attributes; children are elements, or text as it stands. */
function make(namespace, tag, attributes, children) {
  const element = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
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

/** A value where there is little room: without its shape and its mean, and no number of it cut in two. */
function brief({ text, shape }) {
  const range = (text.startsWith(`${shape}, `) ? text.slice(shape.length + 2) : text).split(", mean ")[0];
  if (range.length <= MOST_BRIEF) return range;
  const words = range.split(" ");
  while (words.length > 1 && words.join(" ").length > MOST_BRIEF - 2) words.pop();
  return short(`${words.join(" ")} …`, MOST_BRIEF);
}

const counted = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

// ------------------------------------------------------------------------------------------ reading a trace

/** The trace as it is needed here: nodes by id, groups with their paths, and what reaches each node at which step. */
function readTrace(text) {
  const trace = JSON.parse(text);
  const record = { ...trace, nodes: new Map(trace.nodes.map((node) => [node.id, node])), steps: trace.steps ?? [] };
  record.stepped = Boolean(trace.steps?.length);
  record.root = readGroup(trace.groups, "0");
  record.sought = trace.sources ?? [];
  record.sources = new Map(record.sought.map((source) => [source.node, source.label]));
  record.stepOf = new Map(record.steps.map((step, index) => [step.node, index]));
  record.arrivals = readArrivals(record);
  record.widest = new Map(); // the longest cotangent that a node is shown with
  for (const [node, arrivals] of record.arrivals) {
    const texts = arrivals.map(([, text]) => text);
    record.widest.set(node, texts.reduce((longest, text) => (text.length > longest.length ? text : longest), ""));
  }
  record.flows = new Map(); // what goes along the edge of an operand
  for (const step of record.steps)
    for (const each of step.received) record.flows.set(`${step.node} ${each.operand}`, brief(each.value));
  return record;
}

/** A group with its place in the tree. Where it has very many children, consecutive ones are taken together. */
function readGroup(group, path) {
  const all = group.children;
  const parts = all.length > MOST_CHILDREN ? Math.ceil((2 * all.length) / MOST_CHILDREN) : 0;
  const start = (place) => Math.floor((place * all.length) / parts);
  const part = (place) => {
    const children = all.slice(start(place), start(place + 1));
    const size = children.reduce((sum, child) => sum + (child.size ?? 1), 0);
    return { title: `part ${place + 1} of ${parts}`, kind: "part", open: false, size, children };
  };
  const children = parts ? Array.from({ length: parts }, (_, place) => part(place)) : all;
  const read = (child, place) => (typeof child === "object" ? readGroup(child, `${path}/${place}`) : child);
  return { ...group, path, children: children.map(read) };
}

/** For each node, its cotangent as it stands from which step on: [[step, text in brief, value], ...]. */
function readArrivals(record) {
  const arrivals = new Map();
  const note = (node, index, value) => {
    if (!arrivals.has(node)) arrivals.set(node, []);
    if (value) arrivals.get(node).push([index, brief(value), value]);
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

/** What formulas call a node: `h`, `v7`; what a sentence does, `mul` if it has no name; and what it is: `h = mul`. */
const symbolOf = (node) => node.symbol ?? node.name;
const nameOf = (node) => symbolOf(node) ?? node.op ?? node.value ?? "leaf";
const called = (node) => (node.op === null || nameOf(node) === node.op ? nameOf(node) : `${nameOf(node)} = ${node.op}`);

/** What stands on a thing, or over the frame of an unfolded group. */
const titleOf = ({ node, group }) => (node ? called(node) : group.title || group.kind);

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
    const outer = new Set(seen.frames.map(({ frame }) => frame));
    const within = (group) => `${kept}/`.startsWith(`${group.path}/`);
    const candidates = seen.frames.filter(({ key, group }) => !outer.has(key) && !within(group));
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
    return { name: short(titleOf(thing), 30), rest: "", second: counted(thing.group.size, "node"), style: "name" };
  }
  const { op, name, shape, value } = thing.node;
  const symbol = symbolOf(thing.node);
  const told = typeof value === "string" && Array.from(value).length <= 12;
  const first = symbol ?? (op === null ? (told ? value : "leaf") : "");
  const rest = op === null ? "" : (symbol === null ? "" : " = ") + short(op, 22);
  const valued = shape === "()" ? value : `${short(shape, 20)}  ${value}`;
  const second = told && first !== value ? valued : short(shape, 24);
  return { name: short(first, 20), rest, second, style: name === null ? "" : "name" };
}

function measure(thing, record) {
  thing.lines = linesOf(thing);
  const first = widthOf(thing.lines.name, "650 13px") + widthOf(thing.lines.rest, "13px");
  const pill = record.widest.get(thing.node?.id) ?? "";
  thing.width = Math.ceil(Math.max(first, widthOf(thing.lines.second, "11px"), 34, pillWidth(pill) + 8)) + 26;
  thing.height = record.stepped ? 46 : 40; // the cotangent has room at the lower border
}

const pillWidth = (text) => widthOf(text, "600 11px") + 14;

/** The label of an edge: its operands, or what flows to them; not into a folded group, where they are those of many. */
function edgeLabel(edge, uses, flows) {
  const flowing = ({ node, operand }) => (flows ? `: ${flows.get(`${node} ${operand}`)}` : "");
  const one = (use) => short(use.operand, 14) + flowing(use);
  const told = [...new Set(flows || edge.to.node ? uses.map(one) : [])];
  return told.slice(0, 2).join(", ") + (told.length > 2 ? ` and ${told.length - 2} more` : "");
}

/** The widest that the label of an edge becomes. */
function labelWidth(edge, flows) {
  const flowing = edge.uses.filter(({ node, operand }) => flows.has(`${node} ${operand}`));
  const steps = Map.groupBy(flowing, (use) => use.node).values(); // one node's turn at a time
  const labels = [edgeLabel(edge, edge.uses), ...Array.from(steps, (uses) => edgeLabel(edge, uses, flows))];
  return labels.reduce((widest, label) => Math.max(widest, widthOf(label, "650 11.5px")), 0) + 8;
}

/** Gives everything that is seen its place. Inputs stand at the top, the target at the bottom. */
function layOut(record, seen) {
  seen.few = seen.edges.size <= FEW_EDGES;
  for (const thing of seen.things.values()) measure(thing, record);
  const beside = seen.few ? new Map() : leavesBeside(seen);
  const aside = new Set([...beside.values()].flat());
  const placed = [...seen.frames, ...seen.things.values()].filter((each) => !aside.has(each));
  const edges = [...seen.edges.values()];
  for (const edge of edges) edge.room = record.stepped || seen.few ? labelWidth(edge, record.flows) : 0;
  for (const { from, room } of edges) if (aside.has(from)) from.gap = Math.max(48, Math.min(120, room + 26));
  const rooms = new Map(placed.map((each) => [each, each.nodes ? roomFor(each, beside.get(each) ?? []) : {}]));
  const inside = edges.filter((edge) => !aside.has(edge.from));
  const graph = arranged(rooms, inside, seen.few);
  for (const each of placed) {
    const { x, y, width, height } = graph.node(each.key);
    Object.assign(each, { x, y }, each.nodes ? {} : { width, height });
  }
  for (const [thing, leaves] of beside) placeBeside(thing, leaves);
  for (const edge of edges) {
    const found = aside.has(edge.from) ? null : graph.edge(edge.from.key, edge.to.key);
    placeEdge(edge, found ?? { points: [edge.from, { x: (edge.from.x + edge.to.x) / 2, y: edge.from.y }, edge.to] });
  }
  Object.assign(seen, { width: graph.graph().width, height: graph.graph().height });
}

/** The graph as dagre arranges it: long chains aligned to one side, so that they are straight; small ones balanced. */
function arranged(rooms, edges, few) {
  const arrange = (align) => {
    const graph = new dagre.graphlib.Graph({ compound: true });
    graph.setGraph({ rankdir: "TB", align, ranksep: 44, nodesep: 26, edgesep: 14, marginx: 18, marginy: 22 });
    for (const [each, room] of rooms) graph.setNode(each.key, { ...room });
    for (const { key, frame } of rooms.keys()) if (frame) graph.setParent(key, frame);
    const label = (edge) => (few ? { width: edge.room, height: 14, labelpos: "c" } : {});
    for (const edge of edges) graph.setEdge(edge.from.key, edge.to.key, label(edge));
    return dagre.layout(graph);
  };
  const straight = arrange("UL");
  const balanced = few ? arrange(undefined) : straight;
  return balanced.graph().width < 1.25 * straight.graph().width ? balanced : straight;
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

const sideWidth = (leaves) => leaves.reduce((widest, leaf) => Math.max(widest, leaf.gap + leaf.width), 0);
const rowsOf = (leaves) => Math.ceil(leaves.length / 2);

/** The room that a thing needs with the leaves beside it; it stands in its middle. */
function roomFor({ width, height }, leaves) {
  if (!leaves.length) return { width, height };
  const rows = rowsOf(leaves) * (height + ROW_GAP) - ROW_GAP;
  return { width: width + 2 * sideWidth(leaves), height: Math.max(height, rows) };
}

function placeBeside(thing, leaves) {
  leaves.forEach((leaf, place) => {
    const side = place % 2 ? -1 : 1;
    leaf.x = thing.x + side * (thing.width / 2 + leaf.gap + leaf.width / 2);
    leaf.y = thing.y + (Math.floor(place / 2) - (rowsOf(leaves) - 1) / 2) * (leaf.height + ROW_GAP);
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
    const labelled = this.seen.few ? "labelled" : null;
    this.svg = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label, class: labelled },
      svg("defs", {}, this.arrowhead("plain"), this.arrowhead("lit")),
      ...frames.map((frame) => this.drawFrame(frame)),
      svg("g", {}, ...[...edges.values()].map((edge) => this.drawEdge(edge))),
      ...[...things.values()].map((thing) => this.drawThing(thing)),
      ...frames.map((frame) => this.drawFoldButton(frame)));
    this.stops = [...frames, ...things.values()].sort((a, b) => topOf(a) - topOf(b) || a.x - b.x);
    this.stops[0]?.button.setAttribute("tabindex", 0); // the Tab key stops once; the arrows go from thing to thing
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
    const [size, refX] = kind === "lit" ? [11, 17] : [8, 7.5]; // what is lit points at the cotangent, below the box
    return svg("marker", {
      id: `${this.mark}-${kind}`, viewBox: "0 0 8 8", refX, refY: 4, markerWidth: size, markerHeight: size,
      markerUnits: "userSpaceOnUse", orient: "auto-start-reverse",
    }, svg("path", { d: "M0 0 L8 4 L0 8 z", class: `head-${kind}` }));
  }

  drawFrame(frame) {
    const { x, y, width, height, group } = frame;
    return svg("rect", { class: `frame ${group.kind}`, x: x - width / 2, y: y - height / 2, width, height, rx: 8 });
  }

  /** The title of an open group, which folds it. */
  drawFoldButton(frame) {
    const [left, top] = [frame.x - frame.width / 2, topOf(frame)];
    const text = short(`▾ ${titleOf(frame)}`, Math.max(3, Math.floor((frame.width - 24) / 6.3)));
    const about = `fold ${titleOf(frame)}, ${counted(frame.group.size, "node")}`;
    const ring = { x: left + 3, y: top + 3, width: widthOf(text, "11.5px") + 12, height: 19, rx: 4 };
    const label = svg("text", { x: left + 9, y: top + 16 }, text);
    const parts = [svg("title", {}, about), svg("rect", { class: "ring", ...ring }), label];
    frame.button = svg("g", this.behaviour(frame, "fold", about, "true"), ...parts);
    return frame.button;
  }

  drawEdge(edge) {
    const path = curve(edge.points);
    edge.line = svg("path", { class: "line", d: path, "marker-end": `url(#${this.mark}-plain)` });
    edge.plate = svg("rect", { class: "plate", y: edge.y - 8, height: 16, rx: 4 }); // else the line looks like a minus
    edge.text = svg("text", { x: edge.x, y: edge.y + 4 });
    this.labelEdge(edge, edgeLabel(edge, edge.uses));
    const about = `${titleOf(edge.from)} → ${titleOf(edge.to)}`;
    const hit = svg("path", { class: "hit", d: path }); // as wide as a pointer needs it
    const parts = [svg("title", {}, about), hit, edge.line, edge.plate, edge.text];
    edge.element = svg("g", { class: "edge", "aria-hidden": "true" }, ...parts);
    return edge.element;
  }

  labelEdge(edge, text) {
    const width = widthOf(text, "650 11.5px") + 6;
    edge.text.textContent = text;
    edge.plate.classList.toggle("empty", !text);
    edge.plate.setAttribute("x", edge.x - width / 2);
    edge.plate.setAttribute("width", width);
  }

  drawThing(thing) {
    const { width, height, node, group } = thing;
    const [leaf, lift] = [node?.op === null, this.record.stepped ? 2 : 0];
    const tag = this.tagOf(node);
    // That of a target below it, where no edge is, unless the cotangent that it starts with is there.
    const tagY = tag === "target" && !this.record.stepped ? height / 2 + 13 : -height / 2 - 6;
    const box = (kind, grown, less = 0) => svg("rect", {
      class: kind, x: -width / 2 - grown, y: -height / 2 - grown, width: width + 2 * grown - less,
      height: height + 2 * grown - less, rx: (leaf ? height / 2 : 6) + grown,
    });
    const check = svg("g", { class: "check", transform: `translate(${3 - width / 2} ${height / 2 - 1})` },
      svg("circle", { r: 7.5 }), svg("path", { d: "M-3.5 0 L-1 2.8 L3.5 -2.8" }));
    const { name, rest, second, style } = thing.lines;
    thing.second = svg("text", { class: "second", y: 12 - lift }, second);
    const kind = `thing ${group ? "group" : leaf ? "leaf" : "op"} ${tag ? "special" : ""}`;
    thing.button = svg("g", this.behaviour(thing, kind, this.sentence(thing), group ? "false" : null),
      svg("title", {}, this.tooltip(thing)), box("ring", 4),
      group ? box("box", 0) : null, // a pile of boxes
      box("box", 0, group ? 4 : 0), tag ? box("rim", -3) : null,
      svg("text", { y: -3 - lift }, svg("tspan", { class: style }, name), rest), thing.second,
      tag ? svg("text", { class: "tag", x: (leaf ? 12 : 2) - width / 2, y: tagY }, tag) : null,
      this.record.stepped ? check : null);
    thing.button.setAttribute("transform", `translate(${thing.x} ${thing.y})`);
    return thing.button;
  }

  /** The word above or below a node that is the target or a source, by another name perhaps. */
  tagOf(node) {
    if (!node) return "";
    if (node.id === this.record.target) return "target";
    const source = this.record.sources.get(node.id);
    return source === undefined ? "" : source === node.name ? "source" : `source ${short(source, 16)}`;
  }

  /** What a thing that can be pressed has in common with all others. */
  behaviour(stop, kind, label, expanded) {
    return {
      class: kind, role: "button", "aria-label": label, "aria-expanded": expanded, tabindex: -1,
      mousedown: (event) => event.preventDefault(), // no focus yet: the panel would move the picture away from a click
      click: () => this.press(stop),
      focus: () => this.choose(stop.lines ? stop : null),
      keydown: (event) => this.key(event, stop),
    };
  }

  sentence(thing) {
    const { node, group } = thing;
    if (group) return `${titleOf(thing)}, folded, ${counted(group.size, "node")}`;
    const step = this.record.stepOf.get(node.id);
    const words = [called(node), `shape ${node.shape}`];
    if (node.op === null) words.push("leaf");
    if (this.record.sources.has(node.id)) words.push("source");
    if (node.id === this.record.target) words.push("target");
    if (step !== undefined) words.push(`step ${step + 1} of ${this.record.steps.length}`);
    return words.join(", ");
  }

  tooltip({ node, group }) {
    if (group) return `${group.title}\n${group.kind}, ${counted(group.size, "node")}: a click unfolds it`;
    return [called(node), `${node.shape} ${node.dtype}`, node.value, node.code, node.line].filter(Boolean).join("\n");
  }

  press(stop) {
    if (stop.node) stop.button.focus({ preventScroll: true });
    else this.fold(stop.group, Boolean(stop.lines));
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
    const aside = this.record.stepped ? {} : { ArrowLeft: -1, ArrowRight: 1 };
    const by = { ArrowUp: -1, ArrowDown: 1, ...aside }[event.key];
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
    const arrived = this.record.arrivals.get(thing.node.id)?.findLast(([step]) => step <= this.index);
    this.paintPill(thing, arrived ? arrived[1] : "");
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
      thing.button.classList.remove("current", "receiving");
      thing.button.removeAttribute("aria-current");
    }
    for (const edge of this.lit) this.lightEdge(edge, null);
    [this.current, this.lit] = [[], []];
    const step = this.record.steps[this.index];
    if (!step) return this.reveal(this.start());
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

  /** What is in view at first: where the steps start, or else the top. */
  start() {
    return this.record.stepped ? this.seen.holders.get(this.record.target) : this.stops.find((stop) => stop.lines);
  }

  /** A lit edge has its arrow at the parent: that is where cotangents go. */
  lightEdge(edge, uses) {
    edge.element.classList.toggle("lit", Boolean(uses));
    edge.line.setAttribute("marker-end", uses ? "none" : `url(#${this.mark}-plain)`);
    edge.line.setAttribute("marker-start", uses ? `url(#${this.mark}-lit)` : "none");
    this.labelEdge(edge, uses ? edgeLabel(edge, uses, this.record.flows) : edgeLabel(edge, edge.uses));
    if (uses) edge.element.parentNode.append(edge.element); // above the others
  }

  // ---------------------------------------------------------------- scrolling and zoom

  /** Scrolls the picture's own box, never the page, until things are well inside: the last one, others if they can. */
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

  /** The box has another size; at first it has none, so that only now it is known what is in view. */
  resized() {
    if (this.memory.zoom === "fit") this.zoom("fit");
    this.reveal(...(this.current.length ? this.current.toReversed() : [this.start()]));
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
  const known = value.shape === "()" || value.text.startsWith(value.shape);
  const shape = known ? null : html("span", { class: "shape" }, value.shape);
  return html("span", {}, html("span", { class: "value" }, value.text), shape);
}

/** Lines of an equation: what stands before each, and the line. */
function equation(...lines) {
  const cells = lines.filter(Boolean).flat().map((cell) => html("span", {}, cell));
  return html("div", { class: "sum" }, ...cells);
}

/** What one operand's parent receives: the formula, then symbols, then numbers, then the value. */
function operandPart(record, each, find) {
  const node = record.nodes.get(each.node);
  const name = html("button", { type: "button", class: "link", click: () => find(each.node) }, nameOf(node));
  const { before, value, sum, fitted } = each;
  return html("div", { class: "operand" },
    html("div", {}, name, html("span", { class: "label" }, ` receives, as ${each.operand}`)),
    equation(
      each.formula && ["", html("code", {}, each.formula)],
      each.symbols && ["=", html("code", {}, each.symbols)],
      each.numbers && ["=", html("code", {}, each.numbers)],
      before && ["=", shown(before)],
      fitted && ["→", html("span", { class: "label" }, fitted)],
      ["=", shown(value)],
      sum && ["+", html("span", { class: "label" }, "what it had from other paths")],
      sum && ["=", shown(sum)]));
}

function stepPart(record, index, find, edit) {
  const step = record.steps[index];
  if (!step) {
    const seed = record.steps[0];
    const name = html("b", {}, called(record.nodes.get(seed.node)));
    const flows = seed.cotangent ? [", with the cotangent ", shown(seed.cotangent)] : [": nothing flows there"];
    return [
      html("p", { class: "heading" }, "Before the first step"),
      html("div", {}, "The backward pass starts at ", name, ...flows),
    ];
  }
  const node = record.nodes.get(step.node);
  const last = step === record.steps.at(-1) ? "This was the last step: all gradients are there." : "";
  return [
    html("p", { class: "heading" }, `Step ${index + 1} of ${record.steps.length}: `,
      html("button", { type: "button", class: "link", click: () => find(node.id) }, called(node))),
    html("div", { class: "label" }, "incoming cotangent, g"),
    step.cotangent ? shown(step.cotangent) : html("div", {}, "nothing flows here"),
    edit && typeof step.cotangent?.plain === "string" ? edit(index, step) : null,
    html("div", { class: "label" }, "rule"),
    html("code", {}, step.rule),
    ...step.received.map((each) => operandPart(record, each, find)),
    html("p", { class: "label" }, last),
  ];
}

/** Names, and what is said about each. */
function facts(pairs) {
  const parts = pairs.flatMap(([name, about]) => [html("dt", {}, name), html("dd", {}, about)]);
  return html("dl", { class: "facts" }, ...parts);
}

/** What the sources have received by now; of many, those that received something last come first. */
function gradientsPart(record, index) {
  const found = record.sought.map(({ label, node }) => {
    const [step, , value] = record.arrivals.get(node)?.findLast(([at]) => at <= index) ?? [-2];
    return { label, step, value };
  });
  if (found.length > MOST_GRADIENTS) found.sort((one, other) => other.step - one.step);
  const nothing = () => html("span", { class: "label" }, "nothing yet");
  const pairs = found.slice(0, MOST_GRADIENTS).map(({ label, value }) => [label, value ? shown(value) : nothing()]);
  const left = found.length - pairs.length;
  const more = left > 0 ? html("div", { class: "label" }, `and ${left} more`) : null;
  return [html("p", { class: "heading" }, "Gradients so far"), facts(pairs), ...(more ? [more] : [])];
}

/** All that is known of a thing. */
function detailPart(record, thing) {
  if (!thing) return [html("p", { class: "label" }, "Choose a box to read about it. Up and down go from box to box.")];
  const { node, group } = thing;
  const heading = html("p", { class: "heading" }, titleOf(thing));
  const count = group && `${group.kind}, ${counted(group.size, "node")}; Enter or a click unfolds it`;
  if (group) return [heading, html("div", { class: "label" }, count)];
  const known = [
    ["shape", node.shape], ["dtype", node.dtype], ["value", node.value], ["code", node.code], ["line", node.line],
    ["recorded by", node.recorded.join(", ")],
    ...node.inputs.map(([operand, input]) => [operand, called(record.nodes.get(input))]),
    ...Object.entries(node.rule).map(([operand, formula]) => [`rule for ${operand}`, formula]),
  ];
  return [heading, facts(known.filter(([, text]) => text).map(([name, text]) => [name, html("code", {}, text)]))];
}

/** A step in one sentence, for those who do not see it. */
function spoken(record, index) {
  const step = record.steps[index];
  if (!step) return "Before the first step.";
  const where = `Step ${index + 1} of ${record.steps.length}: ${called(record.nodes.get(step.node))}`;
  const cotangent = step.cotangent ? `cotangent ${step.cotangent.text}` : "nothing flows here";
  const tell = ({ node, value }) => `${nameOf(record.nodes.get(node))} receives ${value.text}`;
  const told = step.received.slice(0, 4).map(tell);
  const more = step.received.length > 4 ? `, and ${step.received.length - 4} more` : "";
  return `${where}, ${cotangent}. ${told.join("; ")}${more}.`;
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
  constructor(last, labelOf, current, go, stopped) {
    Object.assign(this, { last, labelOf, current, go, stopped, timer: null });
    this.first = iconButton("first", "before the first step", () => this.move(-1));
    this.back = iconButton("back", "one step back", () => this.move(this.current() - 1));
    this.player = iconButton("play", "play", () => this.play());
    this.forward = iconButton("forward", "one step on", () => this.move(this.current() + 1));
    this.end = iconButton("last", "last step", () => this.move(this.last));
    const slide = () => this.move(Number(this.slider.value));
    this.slider = html("input", { type: "range", min: -1, max: last, value: -1, "aria-label": "step", input: slide });
    this.count = html("span", { class: "count about" });
    const paces = PACES.map(([name, time]) => html("option", { value: time, selected: name === "normal" }, name));
    this.pace = html("select", { "aria-label": "pace of play", title: "pace of play" }, ...paces);
    const buttons = html("div", { class: "move" }, this.first, this.back, this.player, this.forward, this.end);
    const parts = [buttons, this.slider, this.count, this.pace];
    this.element = html("div", { class: "bar controls", role: "group", "aria-label": "backward pass" }, ...parts);
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
    if (!this.playing) return;
    this.look("play");
    this.timer = null;
    this.stopped();
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
    // Not `disabled`: the keyboard would lose its place.
    for (const button of [this.first, this.back]) button.setAttribute("aria-disabled", index < 0);
    for (const button of [this.forward, this.end]) button.setAttribute("aria-disabled", index >= this.last);
  }
}

// ------------------------------------------------------------------------------------------ all of it

/** What the two hosts call: draws the model's trace into `el`, and returns what takes it away again. */
function render({ model, el }) {
  const root = html("div", { class: "tensorad-board", "data-lm-suppress-shortcuts": "true", role: "region" });
  root.style.setProperty("--font", FONT); // what texts are measured in
  const memory = { groups: null, open: null, zoom: "fit", chosen: null }; // outlives a trace that is replaced
  let board = null;
  const build = () => {
    const typing = root.contains(document.activeElement) && document.activeElement.matches(".edit");
    board?.leave();
    board = new Board(root, readTrace(model.get("trace")), memory, model);
    if (typing) root.querySelector(".edit")?.focus({ preventScroll: true });
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
    const groups = JSON.stringify(record.groups);
    if (memory.groups !== groups) Object.assign(memory, { groups, open: openAtFirst(record.root), chosen: null });
    this.last = record.steps.length - 1;
    this.note = html("div", { class: "note", role: "status" });
    this.live = html("div", { class: "unseen", "aria-live": "polite" });
    this.step = html("section", { "aria-label": "this step" });
    this.gradients = html("section", { "aria-label": "gradients so far" });
    this.detail = html("section", { "aria-label": "the chosen box" });
    this.trouble = html("div", { class: "trouble", role: "alert" });
    const labelOf = (index) => spoken(record, index);
    const go = (index) => this.go(index);
    const controls = () => new Controls(this.last, labelOf, () => this.index, go, () => this.save());
    this.controls = record.stepped ? controls() : null;
    this.assemble();
    const tell = (thing) => {
      this.detail.replaceChildren(...detailPart(record, thing));
      this.panel.hidden = !record.stepped && !thing; // a graph alone needs all the room, until something is chosen
    };
    const note = (text) => { this.note.textContent = text; };
    this.picture = new Picture(record, memory, tell, note);
    this.body.prepend(this.picture.box);
    this.observer = new ResizeObserver(() => this.picture.resized());
    this.observer.observe(this.picture.box);
    this.show(model.get("index"));
  }

  assemble() {
    const { record } = this;
    const steps = record.stepped ? `, ${counted(record.steps.length, "step")}` : ": choose one to read about it";
    const about = html("span", { class: "about" }, counted(record.nodes.size, "node") + steps);
    const zooms = html("div", { class: "zoom" },
      html("button", { type: "button", title: "fit the width", click: () => this.picture.zoom("fit") }, "fit"),
      html("button", { type: "button", title: "full size", click: () => this.picture.zoom(1) }, "1:1"));
    this.panel = html("div", { class: "panel", tabindex: 0, role: "group", "aria-label": "details" },
      ...(record.stepped ? [this.step, this.gradients] : []), this.detail);
    this.panel.hidden = !record.stepped;
    this.body = html("div", { class: "body" }, this.panel);
    this.root.setAttribute("aria-label", record.title);
    this.root.classList.toggle("stepped", record.stepped);
    this.root.replaceChildren(html("style", {}, STYLE),
      html("div", { class: "bar head" }, html("div", { class: "title" }, record.title), about, zooms),
      ...(this.controls ? [this.controls.element] : []), this.note, this.body, this.live);
  }

  /** Another step, wished for here: the model hears of it, and it is shown. */
  go(index) {
    const inside = Math.max(-1, Math.min(this.last, index));
    if (inside === this.index) return;
    this.model.set("index", inside); // the host answers with change:index, at once
    if (!this.controls.playing || Date.now() - this.saved > 250) this.save(); // not at each step of a quick play
    this.show(inside);
  }

  save() {
    this.saved = Date.now();
    this.model.save_changes();
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
    const about = { "aria-label": "change the incoming cotangent, Enter sends it", spellcheck: "false" };
    const field = html("input", { class: "edit", value: step.cotangent.plain, ...about, keydown: send });
    const label = html("span", { class: "label" }, "change it: Enter runs the rest with it");
    return html("div", {}, label, field, this.trouble);
  }

  complain(text) {
    this.trouble.textContent = text;
  }

  /** Keys anywhere inside. No notebook should take them for its own. */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape") return;
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
