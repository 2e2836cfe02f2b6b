"use strict";
// Explores the data of a report: the lineage, one candidate, and where the champion wins and loses.
// All text that comes from candidates is set as text, never as markup.

const byId = (id) => document.getElementById(id);
const EPSILON = 1e-12;

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "onclick") made.addEventListener("click", value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const shown = (value, digits = 5) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const short = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(5))));
const signed = (value, digits = 5) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

// ---- the search

class Search {
  constructor(data) {
    Object.assign(this, data);
    this.count = data.id.length;
    this.place = new Map(data.id.map((id, index) => [id, index]));
    this.crowned = new Set(data.champions);
    this.champion = data.champions.length ? data.champions[data.champions.length - 1] : -1;
    this.children = Array.from({ length: this.count }, () => []);
    this.others = Array.from({ length: this.count }, () => []);
    this.roots = [];
    for (let index = 0; index < this.count; index++) {
      const [first, ...rest] = data.parents[index];
      if (first === undefined) this.roots.push(index);
      else this.children[first].push(index);
      for (const parent of new Set(rest)) if (parent !== first) this.others[parent].push(index);
    }
    this.sortBranches();
    this.texts = new Map();
  }

  // the best score below each candidate, so that promising branches come first
  sortBranches() {
    this.reach = this.score.map((score) => (score === null ? -Infinity : score));
    for (let index = this.count - 1; index >= 0; index--) {
      const parent = this.parents[index][0];
      if (parent !== undefined && this.reach[index] > this.reach[parent]) this.reach[parent] = this.reach[index];
    }
    const order = (a, b) => this.reach[b] - this.reach[a] || a - b;
    this.roots.sort(order);
    for (const list of this.children) list.sort(order);
  }

  line(index) {
    const found = [];
    for (; index !== undefined; index = this.parents[index][0]) found.unshift(index);
    return found;
  }

  name(index) {
    const note = this.note[index];
    const operator = this.operators[this.operator[index]];
    return `#${this.number[index]} ${note ? `${operator}: ${note}` : operator}`;
  }

  outcome(index) {
    const number = this.status[index];
    return number < 0 ? "not evaluated" : this.statuses[number];
  }

  // programs are stored as changes of their parents: follow them down to one that is whole
  program(index) {
    const chain = [];
    for (let at = index; at >= 0 && !this.texts.has(at); at = this.changes[at][0]) {
      if (this.changes[at] === null) return null;
      chain.push(at);
    }
    for (const at of chain.reverse()) {
      const [base, head, tail, ...lines] = this.changes[at];
      const before = base < 0 ? [] : this.texts.get(base);
      this.texts.set(at, [...before.slice(0, head), ...lines, ...before.slice(before.length - tail)]);
    }
    return this.texts.get(index).map((line) => this.lines[line]);
  }
}

// ---- diff: the longest common subsequence of lines

function diff(before, after) {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < before.length - head && tail < after.length - head
    && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  const rows = after.slice(0, head).map((text, index) => ["same", index + 1, text]);
  rows.push(...middle(before.slice(head, before.length - tail), after.slice(head, after.length - tail), head));
  for (let index = after.length - tail; index < after.length; index++) rows.push(["same", index + 1, after[index]]);
  return rows;
}

function middle(before, after, offset) {
  const n = before.length, m = after.length;
  if (n * m > 4e6) {
    return [...before.map((text, i) => ["del", offset + i + 1, text]), ...after.map((text, j) => ["add", offset + j + 1, text])];
  }
  const width = m + 1, table = new Uint32Array((n + 1) * width);
  for (let i = n - 1; i >= 0; i--) {
    for (let j = m - 1; j >= 0; j--) {
      table[i * width + j] = before[i] === after[j] ? table[(i + 1) * width + j + 1] + 1
        : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  const rows = [];
  let i = 0, j = 0;
  while (i < n || j < m) {
    if (i < n && j < m && before[i] === after[j]) { rows.push(["same", offset + j + 1, after[j]]); i++; j++; }
    else if (i < n && (j === m || table[(i + 1) * width + j] >= table[i * width + j + 1])) { rows.push(["del", offset + i + 1, before[i]]); i++; }
    else { rows.push(["add", offset + j + 1, after[j]]); j++; }
  }
  return rows;
}

function folded(rows, context = 3) {
  const near = new Uint8Array(rows.length);
  rows.forEach(([kind], index) => {
    if (kind !== "same") near.fill(1, Math.max(0, index - context), index + context + 1);
  });
  const found = [];
  for (let index = 0; index < rows.length; index++) {
    if (near[index]) { found.push(rows[index]); continue; }
    let end = index;
    while (end < rows.length && !near[end]) end++;
    if (end - index > 1) found.push(["gap", "", `⋯ ${end - index} unchanged lines`]);
    else found.push(rows[index]);
    index = end - 1;
  }
  return found;
}

const TOKEN = new RegExp([
  "(#.*)", "((?:\\b[rbfuRBFU]{1,2})?(?:\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\\\.|[^\"\\\\])*\"|'(?:\\\\.|[^'\\\\])*'))",
  "\\b(and|as|assert|break|class|continue|def|del|elif|else|except|False|finally|for|from|global|if|import|in|is|lambda|None|nonlocal|not|or|pass|raise|return|True|try|while|with|yield)\\b",
  "(\\b\\d[\\d_.]*(?:[eE][+-]?\\d+)?\\b)", "(\\b\\w+(?=\\())",
].join("|"), "g");
const CLASSES = ["c", "s", "k", "n", "f"];
// characters that would not show, or would reorder a line, are spelled out
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]/g;
const plain = (text) => text.replace(HIDDEN, (found) => "\\u" + found.charCodeAt(0).toString(16).padStart(4, "0"));

function coloured(line) {
  const cell = element("span", {});
  const text = plain(line);
  if (text.length > 2000) { cell.append(text); return cell; }
  let position = 0;
  for (const found of text.matchAll(TOKEN)) {
    cell.append(text.slice(position, found.index));
    const kind = found.slice(1).findIndex((group) => group !== undefined);
    cell.append(element("span", { class: CLASSES[kind] }, found[0]));
    position = found.index + found[0].length;
  }
  cell.append(text.slice(position));
  return cell;
}

const SIGNS = { same: "", add: "+", del: "−", gap: "" };
function code(rows) {
  const box = element("div", { class: "code" });
  for (const [kind, number, text] of rows) {
    const cell = kind === "gap" ? element("span", {}, text) : coloured(text);
    box.append(element("div", { class: `row ${kind}` }, element("span", {}, String(number)), element("span", {}, SIGNS[kind]), cell));
  }
  return box;
}

// ---- one candidate

class Detail {
  constructor(search, box, follow) {
    Object.assign(this, { search, box, follow, view: "parent" });
  }

  show(index) {
    const { search, box } = this;
    this.index = index;
    box.replaceChildren(
      element("h3", {}, search.name(index)),
      element("div", { class: "dim" }, element("code", {}, search.id[index]), ` · ${search.at[index].toFixed(1)} s`),
      this.chips(), this.scores(), ...this.verdict(), ...this.relatives(), ...this.feedback(), this.tabs(), this.text(),
    );
  }

  chips() {
    const { search, index } = this;
    const status = search.outcome(index), ok = status === search.ok;
    const made = [element("span", { class: ok ? "chip good" : "chip bad" }, status)];
    if (search.crowned.has(index)) made.push(element("span", { class: "chip gold" }, index === search.champion ? "★ champion" : "★ was champion"));
    if (search.cell[index] >= 0) made.push(element("span", { class: "chip" }, `archive: ${search.cells[search.cell[index]] || "entered"}`));
    const steps = search.line(index);
    if (steps.length > 1) made.push(element("span", { class: "chip" }, `${steps.length - 1} step${steps.length > 2 ? "s" : ""} from ${search.note[steps[0]] || search.name(steps[0])}`));
    return element("div", { class: "chips" }, ...made);
  }

  scores() {
    const { search, index } = this;
    const { name, unit } = search.objective;
    const rows = [["train", search.outcome(index), search.score[index], search.raw[index]]];
    const further = search.further[index] || {};
    for (const split of ["validation", "holdout"]) if (further[split]) rows.push([split, ...further[split].slice(0, 3)]);
    const head = ["", "score", `${name} ${unit}`.trim(), "against its parent"];
    const parent = search.parents[index][0];
    const body = rows.map(([split, status, score, raw]) => {
      const before = parent === undefined ? null : split === "train" ? search.score[parent]
        : ((search.further[parent] || {})[split] || [])[1];
      const known = before !== null && before !== undefined && score !== null;
      const gain = known ? score - before : 0;
      const kind = gain > EPSILON ? "win" : gain < -EPSILON ? "lose" : "dim";
      return element("tr", {}, element("td", {}, split), element("td", {}, score === null ? status : shown(score, 6)),
        element("td", {}, short(raw)), element("td", { class: kind }, known ? signed(gain, 6) : "–"));
    });
    return element("div", { class: "scroll" }, element("table", {},
      element("tr", {}, ...head.map((text) => element("th", {}, text))), ...body));
  }

  verdict() {
    const found = (this.search.further[this.index] || {}).verdict;
    if (!found) return [];
    const [promoted, reason, against, difference, low, high] = found;
    const interval = against && high ? ` Difference to ${against}: ${signed(difference)} [${signed(low)}, ${signed(high)}].` : "";
    return [element("p", { class: "quote" }, `${promoted ? "Promoted" : "Not promoted"}: ${reason}.${interval}`)];
  }

  relatives() {
    const { search, index } = this;
    const parents = search.parents[index];
    const children = [...search.children[index], ...search.others[index]];
    const made = [];
    if (parents.length) made.push(element("div", {}, parents.length > 1 ? "Parents" : "Parent"), this.links(parents));
    if (children.length) made.push(element("div", {}, `${children.length} ${children.length > 1 ? "children, best branch first" : "child"}`), this.links(children.slice(0, 12)));
    return made;
  }

  links(places) {
    const { search } = this;
    return element("div", { class: "links" }, ...places.map((place) =>
      element("button", { type: "button", "data-candidate": search.id[place], onclick: () => this.follow(place) },
        `${search.name(place).slice(0, 60)}${search.score[place] === null ? "" : `  ${shown(search.score[place])}`}`)));
  }

  feedback() {
    const { search, index } = this;
    const text = search.feedback[index] < 0 ? "" : search.feedbacks[search.feedback[index]];
    return text ? [element("p", { class: "quote" }, plain(text))] : [];
  }

  tabs() {
    const { search, index } = this;
    const views = [["program", "Program"]];
    const best = search.place.get(search.best);
    if (best !== undefined && best !== index) views.unshift(["best", `Diff to the best seed, ${search.note[best]}`]);
    if (search.parents[index].length) views.unshift(["parent", "Diff to its parent"]);
    if (!views.some(([name]) => name === this.view)) this.view = views[0][0];
    return element("div", { class: "tabs" }, ...views.map(([name, label]) => element("button", {
      type: "button", "data-view": name, "aria-pressed": String(name === this.view),
      onclick: () => { this.view = name; this.show(index); },
    }, label)));
  }

  text() {
    const { search, index } = this;
    const lines = search.program(index);
    if (lines === null) return element("p", { class: "quote" }, `This program is not in the file, to keep it small: evolve show RUN ${search.id[index].slice(0, 10)} has it.`);
    const other = this.view === "parent" ? search.parents[index][0] : this.view === "best" ? search.place.get(search.best) : undefined;
    const before = other === undefined ? null : search.program(other);
    if (before === null) return code(lines.map((text, number) => ["same", number + 1, text]));
    const rows = diff(before, lines);
    if (rows.every(([kind]) => kind === "same")) return element("p", { class: "quote" }, "The same text.");
    return code(folded(rows));
  }
}

// ---- the tree, along first parents

const MANY = 25;
const DEEPEST = 14;

class Outline {
  constructor(search, box, pick) {
    Object.assign(this, { search, box, pick, open: new Set(), more: new Map(), chosen: -1 });
  }

  reveal(index) {
    const line = this.search.line(index);
    for (let step = 0; step < line.length; step++) {
      const siblings = step ? this.search.children[line[step - 1]] : this.search.roots;
      const key = step ? line[step - 1] : -1;
      const needed = siblings.indexOf(line[step]) + 1;
      if (needed > this.limit(key)) this.more.set(key, needed);
      if (step < line.length - 1) this.open.add(line[step]);
    }
    this.chosen = index;
    this.draw();
    const row = this.box.querySelector(".on");
    if (row) this.box.scrollTop = row.offsetTop - this.box.offsetTop - this.box.clientHeight / 2;
  }

  limit(key) { return this.more.get(key) || (key < 0 ? Infinity : MANY); }

  draw() {
    const top = this.box.scrollTop;
    const rows = [];
    // a stack of its own: a line of descent may be thousands of steps long
    const waiting = [[-1, 0, this.search.roots, 0]];
    while (waiting.length) {
      const frame = waiting[waiting.length - 1];
      const [key, depth, list, at] = frame;
      if (at >= list.length) { waiting.pop(); continue; }
      if (at >= this.limit(key)) { rows.push(this.rest(key, depth, list.length - at)); waiting.pop(); continue; }
      frame[3]++;
      const index = list[at];
      rows.push(this.row(index, depth));
      if (this.open.has(index)) waiting.push([index, depth + 1, this.search.children[index], 0]);
    }
    this.box.replaceChildren(...rows);
    this.box.scrollTop = top;
  }

  row(index, depth) {
    const { search } = this;
    const children = search.children[index].length;
    const fold = children
      ? element("button", { type: "button", class: "fold", "aria-expanded": String(this.open.has(index)), "aria-label": `${children} children of #${search.number[index]}`, onclick: () => this.toggle(index) }, this.open.has(index) ? "▾" : "▸")
      : element("span", { class: "fold" }, "·");
    const score = search.score[index];
    const label = element("button", { type: "button", class: "pick", "data-candidate": search.id[index], title: search.name(index), onclick: () => this.pick(index) },
      element("span", { class: "name" }, search.crowned.has(index) ? element("span", { class: "star" }, "★ ") : "", search.name(index)),
      element("span", { class: score === null ? "score bad" : "score" }, score === null ? search.outcome(index) : shown(score)));
    return element("div", { class: index === this.chosen ? "node on" : "node", style: `--depth:${Math.min(depth, DEEPEST)}` }, fold, label);
  }

  rest(key, depth, count) {
    return element("div", { class: "node", style: `--depth:${Math.min(depth, DEEPEST)}` }, element("span", { class: "fold" }, ""),
      element("button", { type: "button", class: "pick dim", onclick: () => { this.more.set(key, this.limit(key) + 4 * MANY); this.draw(); } }, `${count} more`));
  }

  toggle(index) {
    if (!this.open.delete(index)) this.open.add(index);
    this.draw();
  }
}

// ---- the map: every candidate, by number and by what is left to the bound

class Atlas {
  constructor(search, canvas, pick) {
    Object.assign(this, { search, canvas, pick, chosen: -1 });
    const left = search.score.map((score) => (score === null ? null : Math.max(1 - score, 1e-6)));
    // the view reaches down to the best and up to most of the others
    const known = left.filter((value) => value !== null).sort((a, b) => a - b);
    this.low = Math.log(known[0] || 1e-6) - 0.1;
    this.high = Math.max(Math.log(known[Math.floor(known.length * 0.85)] || 1) + 0.1, this.low + 0.2);
    this.last = Math.max(1, search.number[search.count - 1]);
    this.left = left;
    canvas.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  at(index) {
    const value = this.left[index];
    const x = 6 + this.search.number[index] / this.last * (this.width - 12);
    if (value === null) return [x, this.height - 5]; // failures lie on the ground
    const share = Math.min(1, (Math.log(value) - this.low) / (this.high - this.low));
    return [x, this.height - 16 - share * (this.height - 24)];
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    if (!this.width) return;
    this.canvas.width = this.width * ratio;
    this.canvas.height = this.height * ratio;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    this.dots(pen, colour);
    if (this.search.champion >= 0) this.path(pen, this.search.champion, colour("--gold"), 1.6);
    if (this.chosen >= 0 && this.chosen !== this.search.champion) this.path(pen, this.chosen, colour("--link"), 1.6);
    if (this.chosen >= 0) this.ring(pen, this.chosen, colour("--fg"));
  }

  dots(pen, colour) {
    const { search } = this;
    const size = search.count > 5000 ? 1.5 : search.count > 1000 ? 2 : 2.8;
    const kinds = [[colour("--lose"), (i) => this.left[i] === null, 0.35], [colour("--control"), (i) => this.left[i] !== null && search.cell[i] < 0, 0.5],
      [colour("--best"), (i) => this.left[i] !== null && search.cell[i] >= 0, 0.75]];
    for (const [fill, belongs, alpha] of kinds) {
      pen.fillStyle = fill;
      pen.globalAlpha = alpha;
      for (let index = 0; index < search.count; index++) {
        if (!belongs(index)) continue;
        const [x, y] = this.at(index);
        pen.fillRect(x - size / 2, y - size / 2, size, size);
      }
    }
    pen.globalAlpha = 1;
  }

  path(pen, index, stroke, width) {
    pen.strokeStyle = pen.fillStyle = stroke;
    pen.lineWidth = width;
    pen.beginPath();
    const line = this.search.line(index).map((place) => this.at(place));
    line.forEach(([x, y], step) => (step ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.stroke();
    for (const [x, y] of line) { pen.beginPath(); pen.arc(x, y, 2.6, 0, 7); pen.fill(); }
  }

  ring(pen, index, stroke) {
    const [x, y] = this.at(index);
    pen.strokeStyle = stroke;
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.arc(x, y, 6, 0, 7);
    pen.stroke();
  }

  click(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    let nearest = -1, least = Infinity;
    for (let index = 0; index < this.search.count; index++) {
      const [ox, oy] = this.at(index);
      const distance = (ox - x) ** 2 + (oy - y) ** 2;
      if (distance < least) { least = distance; nearest = index; }
    }
    if (nearest >= 0) this.pick(nearest);
  }
}

// ---- where it wins and loses

class Heat {
  constructor(search, box) {
    Object.assign(this, { search, box });
    const [ours, ...rivals] = search.programs;
    this.ours = ours;
    this.rivals = rivals.filter((rival) => Object.keys(rival.scores).some((split) => ours.scores[split]));
    this.splits = Object.keys(search.grid).filter((split) => ours.scores[split]);
    this.selects = {};
  }

  static possible(search) {
    return search.programs.length > 1 && Object.values(search.grid).some((keys) => Object.keys(keys).length);
  }

  start(controls) {
    const best = this.rivals.findIndex((rival) => this.search.place.get(this.search.best) !== undefined && rival.name === this.search.note[this.search.place.get(this.search.best)]);
    const keys = Object.keys(Object.values(this.search.grid)[0]);
    this.add(controls, "rival", "against", this.rivals.map((rival) => rival.name), Math.max(0, best));
    this.add(controls, "split", "on", this.splits, this.splits.indexOf("validation"));
    const [rows, columns] = keys.length > 2 ? [1, 2] : [0, keys.length - 1];
    this.add(controls, "rows", "rows", keys, rows);
    this.add(controls, "columns", "columns", keys.length > 1 ? keys : [], columns);
    this.draw();
  }

  add(controls, name, label, options, chosen) {
    const select = element("select", { id: `heat-${name}` }, ...options.map((text, index) => element("option", { value: String(index) }, text)));
    select.selectedIndex = Math.max(0, chosen);
    select.addEventListener("change", () => this.draw());
    this.selects[name] = select;
    if (options.length > 1) controls.append(element("label", {}, label, select));
  }

  chosen(name) {
    const select = this.selects[name];
    return select.options.length ? select.options[select.selectedIndex].textContent : null;
  }

  draw() {
    const rival = this.rivals.find((each) => each.name === this.chosen("rival"));
    const split = this.chosen("split");
    const ours = this.ours.scores[split], theirs = rival && rival.scores[split];
    if (!theirs) { this.box.replaceChildren(element("p", { class: "dim" }, `${this.chosen("rival")} was not evaluated on ${split}.`)); return; }
    const keys = this.search.grid[split], rowKey = this.chosen("rows"), columnKey = this.chosen("columns");
    const plainColumns = columnKey === null || columnKey === rowKey;
    const cells = new Map();
    ours.forEach((score, index) => {
      const row = keys[rowKey][index], column = plainColumns ? "all" : keys[columnKey][index];
      const name = JSON.stringify([row, column]);
      if (!cells.has(name)) cells.set(name, { wins: 0, losses: 0, count: 0, sum: 0 });
      const cell = cells.get(name), gain = score - theirs[index];
      cell.count++; cell.sum += gain; cell.wins += gain > EPSILON; cell.losses += gain < -EPSILON;
    });
    const rows = sortedValues(keys[rowKey]), columns = plainColumns ? ["all"] : sortedValues(keys[columnKey]);
    const most = Math.max(EPSILON, ...[...cells.values()].map((cell) => Math.abs(cell.sum / cell.count)));
    const head = element("tr", {}, element("th", {}, plainColumns ? rowKey : `${rowKey} ↓  ${columnKey} →`), ...columns.map((value) => element("th", {}, String(value))));
    const body = rows.map((row) => element("tr", {}, element("th", {}, String(row)), ...columns.map((column) => heatCell(cells.get(JSON.stringify([row, column])), most))));
    this.box.replaceChildren(element("div", { class: "scroll" }, element("table", { class: "heat" }, head, ...body)), this.words([...cells.values()], rival.name));
  }

  words(cells, rival) {
    const total = (name) => cells.reduce((sum, cell) => sum + cell[name], 0);
    const wins = total("wins"), losses = total("losses"), count = total("count");
    return element("p", { class: "dim" }, `Better than ${rival} on ${wins} of ${count} instances, worse on ${losses}, level on ${count - wins - losses}. A cell: mean difference in score; below it instances better / worse.`);
  }
}

function sortedValues(values) {
  return [...new Set(values)].sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b))));
}

function heatCell(cell, most) {
  if (!cell) return element("td", { class: "dim" }, "");
  const mean = cell.sum / cell.count;
  // the root lets small differences show beside large ones
  const strength = Math.round(75 * Math.sqrt(Math.abs(mean) / most));
  const tint = Math.abs(mean) <= EPSILON ? "var(--soft)" : `color-mix(in srgb, var(${mean > 0 ? "--heat-win" : "--heat-lose"}) ${strength}%, var(--soft))`;
  const digits = most < 0.001 ? 6 : most < 0.1 ? 5 : 4;
  return element("td", { style: `background:${tint}`, title: `${cell.count} instances` }, Math.abs(mean) <= EPSILON ? "0" : signed(mean, digits), element("small", {}, `${cell.wins} / ${cell.losses}`));
}

// ---- all together

function start(data) {
  const search = new Search(data);
  if (search.count) explore(search);
  if (Heat.possible(search)) new Heat(search, byId("heat")).start(byId("heat-controls"));
  else byId("heat").append(element("p", { class: "dim" }, "Nothing to compare: there is no champion, or the problem's instances are out of reach."));
  document.documentElement.setAttribute("data-ready", "true");
}

function explore(search) {
  const pick = (index, jump = false) => {
    detail.show(index);
    outline.reveal(index);
    atlas.chosen = index;
    if (atlas.width) atlas.draw(); // the first drawing comes with the size of the canvas
    remember(search.id[index]);
    if (jump) byId("lineage").scrollIntoView();
  };
  const detail = new Detail(search, byId("detail"), pick);
  const outline = new Outline(search, byId("tree"), pick);
  const atlas = new Atlas(search, byId("map"), pick);
  byId("find").addEventListener("input", (event) => {
    const text = event.target.value.trim().toLowerCase().replace(/^#/, "");
    if (!text) return;
    const numbered = search.number.findIndex((number) => String(number) === text);
    const found = numbered >= 0 ? numbered : search.id.findIndex((id) => id.startsWith(text));
    if (found >= 0) pick(found);
  });
  byId("to-champion").addEventListener("click", () => pick(search.champion));
  byId("to-champion").hidden = search.champion < 0;
  for (const button of document.querySelectorAll("[data-open]")) {
    button.addEventListener("click", () => { const index = search.place.get(button.dataset.open); if (index !== undefined) pick(index, true); });
  }
  const asked = search.place.get(location.hash.replace(/^#candidate-/, ""));
  const first = asked !== undefined ? asked : search.champion >= 0 ? search.champion : search.roots[0];
  pick(first, asked !== undefined);
}

function remember(id) {
  // where the page is shown inside another one, its address may be out of reach
  try { history.replaceState(null, "", `#candidate-${id}`); } catch { /* the address stays as it is */ }
}

unpack(byId("data").textContent.trim()).then(start).catch((error) => {
  byId("fault").textContent = `The candidates cannot be shown: ${error.message}. A browser from 2023 or later is needed.`;
  byId("fault").hidden = false;
});
