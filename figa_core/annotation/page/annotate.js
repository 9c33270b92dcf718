// The annotation page. Everything that comes from a row becomes a text node, never markup.
"use strict";

const VERDICTS = [["matters", "matters"], ["does not", "does not matter"], ["makes it worse", "makes it worse"]];
const SHOWN_MAX = 120;
const AROUND = 40; // characters of the text before and after a change
const RETRY_MS = 2000;
const at = (id) => document.getElementById(id);
let job = null; // the state of the server
let pair = null; // what is shown
let current = 0; // the index of the change that keys act on
let loads = 0; // the number of the latest load: an earlier answer that comes later is dropped

const memory = {
  get: (key, otherwise) => {
    try { return JSON.parse(localStorage.getItem(`figa-annotate:${key}`)) ?? otherwise; } catch { return otherwise; }
  },
  set: (key, value) => {
    try {
      if (value === null) localStorage.removeItem(`figa-annotate:${key}`);
      else localStorage.setItem(`figa-annotate:${key}`, JSON.stringify(value));
    } catch { problem("This browser stores nothing for this page: a reload may lose what is not sent yet."); }
  },
};

function problem(text) { at("problem").textContent = text; at("problem").hidden = !text; }
function say(text) { at("status").textContent = text; }
function show(id, text) { at(id).textContent = text || ""; at(id).hidden = !text; }
function node(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

class Refused extends Error {}
class OfAnotherJob extends Refused {}

async function ask(path, body) {
  let answer, found;
  try {
    answer = await fetch(path, body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    found = await answer.json();
  } catch { throw new Error("The server does not answer: is `figa annotate` running?"); }
  if (answer.ok) return found;
  if (answer.status >= 500) throw new Error(found.error);
  throw found.another_job ? new OfAnotherJob(found.error) : new Refused(found.error);
}

// Judgements wait in the browser until the server has them, also over a reload, and those of another job until
// `figa annotate` shows that one again.
const queue = {
  sending: null,
  notNow: new Set(), // refused because the server has another job, or shows fewer pairs, than this page knows
  add(judgement) {
    const same = (old) => ["shard_set_id", "pair_id", "annotator", "change"].every((name) => old[name] === judgement[name]);
    const others = memory.get("unsent", []).filter(({ judgement: old }) => !same(old));
    memory.set("unsent", [...others, { id: crypto.randomUUID(), judgement }]);
    this.notNow.clear(); // the server may show their job again
    return this.send();
  },
  remove(done) { // by its id, because another tab may send the same ones
    memory.set("unsent", memory.get("unsent", []).filter(({ id }) => id !== done));
  },
  next() {
    const ofThisJob = ({ id, judgement }) => judgement.shard_set_id === job.shard_set_id && !this.notNow.has(id);
    return memory.get("unsent", []).find(ofThisJob);
  },
  send() { return this.sending ??= this.sendAll().finally(() => { this.sending = null; this.sayWaiting(); }); },
  async sendAll() {
    let next;
    while ((next = this.next())) {
      try {
        const { finished } = await ask("api/judgement", next.judgement);
        this.remove(next.id);
        if (pair) sayProgress("Stored. ");
        if (finished && pair) refreshState().catch((error) => problem(error.message));
      } catch (error) {
        if (error instanceof OfAnotherJob) {
          this.notNow.add(next.id);
          problem(`${error.message} What you chose is kept in this browser.`);
        } else if (error instanceof Refused) {
          this.remove(next.id);
          problem(error.message);
        } else {
          problem(`${error.message} What you chose is kept in this browser and sent again.`);
          setTimeout(() => this.send(), RETRY_MS);
          return;
        }
      }
    }
  },
  sayWaiting() {
    const waiting = memory.get("unsent", []).filter(({ judgement }) => judgement.shard_set_id !== job.shard_set_id);
    show("waiting", waiting.length && `Judgements of another run or scheme that wait in this browser: ${waiting.length}. ` +
      "They are sent when `figa annotate` shows it again.");
  },
};

function changes() { return pair.stretches.filter((stretch) => stretch.key !== null); }

function sayProgress(before) {
  const judged = changes().filter((change) => pair.verdicts[change.key]).length;
  say(`${before}${judged} of ${changes().length} changes judged.`);
}

async function refreshState() {
  job = await ask(`api/state?${new URLSearchParams({ annotator: memory.get("name", "") })}`);
  at("job").textContent = `${job.name} · ${job.scheme}`;
  at("who").textContent = job.annotator;
  at("rename").hidden = false;
  at("progress").hidden = false;
  at("progress-text").textContent = `${job.done} of ${job.left} pairs` + (job.excluded ? `, ${job.excluded} thrown out` : "") +
    (job.unmarked ? `, ${job.unmarked} without a marked change` : "");
  at("bar").max = Math.max(job.left, 1);
  at("bar").value = job.done;
  at("blind").checked = job.blind || memory.get("blind", false);
  at("blind").disabled = job.blind;
  showHolder(job.held_by);
}

function showHolder(holder) {
  show("held", holder && `This workspace is in use: ${holder}. Your judgements are stored; pairs can be thrown out and ` +
    "corrected when it is free again.");
}

async function start() {
  problem("");
  at("enter").hidden = Boolean(memory.get("name", ""));
  at("work").hidden = true;
  if (!at("enter").hidden) { at("name").focus(); return; }
  try { await refreshState(); } catch (error) {
    if (error instanceof Refused) askForName();
    throw error;
  }
  await queue.send();
  const wanted = Number.parseInt(location.hash.slice(1), 10);
  if (wanted >= 1 && wanted <= job.pairs) await load(wanted - 1);
  else await loadNext(-1);
}

// The server does not take the name: without the form the page could not be left again.
function askForName() {
  at("name").value = memory.get("name", "");
  memory.set("name", "");
  at("enter").hidden = false;
  at("name").focus();
  at("name").select();
}

async function loadNext(after) {
  const turn = ++loads;
  const { place } = await ask(`api/next?${new URLSearchParams({ annotator: job.annotator, after })}`);
  if (turn !== loads) return;
  if (place === null) {
    await refreshState();
    at("work").hidden = true;
    pair = null;
    show("nothing", job.left ? "You have judged every pair. Thank you." : "There is no pair left to judge.");
    say(at("nothing").textContent);
  } else await load(place);
}

async function load(place) {
  const turn = ++loads;
  const query = new URLSearchParams({ place, annotator: job.annotator, blind: at("blind").checked ? "1" : "0" });
  const found = await ask(`api/pair?${query}`);
  if (turn !== loads) return;
  pair = found;
  history.replaceState(null, "", `#${place + 1}`);
  render();
  await refreshState();
}

function render() {
  problem("");
  at("nothing").hidden = true;
  at("work").hidden = false;
  at("pair").textContent = `Pair ${pair.place + 1} of ${job.pairs}`;
  show("out", pair.excluded && `Thrown out by ${pair.excluded}`);
  at("throw").textContent = pair.excluded ? "Put back" : "Throw out …";
  at("messages").replaceChildren(...pair.messages.flatMap((message) =>
    [node("div", message.role, "role"), node("div", message.text, "text")]));
  pair.sides.forEach((name, side) => {
    const reward = pair.rewards ? ` · reward ${pair.rewards[side].toFixed(2).replace("-", "−")}` : "";
    at(`side-${side}`).textContent = name + reward;
  });
  at("before").replaceChildren(...sideOf("before", pair.blind ? "mark" : "del"));
  at("after").replaceChildren(...sideOf("after", pair.blind ? "mark" : "ins"));
  at("reference-box").hidden = pair.reference === null;
  at("reference").textContent = pair.reference || "";
  at("question").textContent = changes().length
    ? `From ${pair.sides[0]} to ${pair.sides[1]}: does the change matter for the answer?`
    : "The scheme marks no change in this pair.";
  at("changes").replaceChildren(...changes().map(changeRow));
  at("edit").hidden = pair.correction === null;
  closeForms();
  showCorrection();
  if (pair.correction && memory.get(draftKey(), null) !== null) openCorrection();
  const open = changes().findIndex((change) => !pair.verdicts[change.key]);
  select(Math.max(open, 0), false);
  showHolder(pair.held_by);
  sayProgress("");
  at("pair").focus();
}

function sideOf(side, tag) {
  return pair.stretches.filter((stretch) => stretch[side]).map((stretch) => {
    if (stretch.key === null) return document.createTextNode(stretch[side]);
    const marked = node(tag, stretch[side]);
    marked.dataset.key = stretch.key;
    return marked;
  });
}

function shortened(text) {
  const visible = text.trim() ? text : text.replaceAll(" ", "␣").replaceAll("\t", "⇥").replaceAll("\n", "↵");
  return visible.length > SHOWN_MAX ? `${visible.slice(0, SHOWN_MAX)} …` : visible;
}

// A change within its sentence: “"2" removed” alone may be anywhere.
function placeOf(change) {
  const place = pair.stretches.indexOf(change);
  const [left, right] = [pair.stretches.slice(0, place), pair.stretches.slice(place + 1)]
    .map((stretches) => [...stretches.map((stretch) => stretch.after).join("")]); // whole characters
  const shown = node("p", undefined, "quiet place");
  shown.append((left.length > AROUND ? "… " : "") + left.slice(-AROUND).join(""));
  if (change.before) shown.append(node(pair.blind ? "mark" : "del", shortened(change.before)));
  if (change.after) shown.append(node(pair.blind ? "mark" : "ins", shortened(change.after)));
  shown.append(right.slice(0, AROUND).join("") + (right.length > AROUND ? " …" : ""));
  return shown;
}

function changeRow(change, index) {
  const fieldset = node("fieldset");
  fieldset.dataset.key = change.key;
  const [before, after] = [shortened(change.before), shortened(change.after)];
  const what = !before ? `“${after}” added` : !after ? `“${before}” removed` : `“${before}” becomes “${after}”`;
  fieldset.append(node("legend", what), placeOf(change));
  VERDICTS.forEach(([value, text], number) => {
    const label = node("label");
    const radio = node("input");
    Object.assign(radio, { type: "radio", name: `change-${index}`, value, checked: pair.verdicts[change.key] === value });
    radio.addEventListener("change", () => { select(index, false); judge(index, value); });
    label.append(radio, ` ${text} `);
    const key = node("kbd", String(number + 1));
    key.setAttribute("aria-hidden", "true");
    label.append(key);
    fieldset.append(label);
  });
  fieldset.addEventListener("focusin", () => select(index, false));
  const row = node("li");
  row.append(fieldset);
  return row;
}

function select(index, moves) {
  if (!changes().length) return;
  current = Math.min(Math.max(index, 0), changes().length - 1);
  const key = changes()[current].key;
  for (const each of document.querySelectorAll("[data-key]")) {
    const here = each.dataset.key === key;
    each.classList.toggle(each.tagName === "FIELDSET" ? "current" : "here", here);
    if (!here) continue;
    if (each.tagName !== "FIELDSET") showWithin(each.closest(".text"), each);
    else if (moves) {
      (each.querySelector("input:checked") || each.querySelector("input")).focus({ preventScroll: true });
      const sides = document.querySelector(".sides");
      each.style.scrollMarginTop = getComputedStyle(sides).position === "sticky" ? `${sides.offsetHeight + 8}px` : "";
      each.scrollIntoView({ block: "nearest" });
    }
  }
}

// Scrolls a long text to a change in it, and never the page.
function showWithin(text, change) {
  const [outer, inner] = [text.getBoundingClientRect(), change.getBoundingClientRect()];
  if (inner.top < outer.top || inner.bottom > outer.bottom) text.scrollTop += inner.top - outer.top - outer.height / 3;
}

function judge(index, verdict) {
  const change = changes()[index];
  pair.verdicts[change.key] = verdict;
  const radios = document.querySelectorAll(`input[name="change-${index}"]`);
  for (const radio of radios) radio.checked = radio.value === verdict;
  queue.add({
    shard_set_id: pair.shard_set_id, pair_id: pair.pair_id, annotator: job.annotator,
    change: change.key, verdict, blind: pair.blind,
  });
}

function judgeByKey(number) {
  if (!pair || !changes().length) return;
  judge(current, VERDICTS[number][0]);
  if (current + 1 < changes().length) select(current + 1, true);
  else at("next").focus();
}

function draftKey() { return `draft:${pair.pair_id}`; }

function closeForms() {
  at("throw-form").hidden = at("edit-form").hidden = true;
}

function showCorrection() {
  const author = pair.correction && pair.correction.author;
  show("corrected", author && `Corrected by ${author}: the next run uses “${pair.correction.text}”`);
}

function openCorrection() {
  const draft = memory.get(draftKey(), null);
  at("edit-form").hidden = false;
  at("correction").value = draft ? draft.text : pair.correction.text;
  if (draft && draft.based_on !== pair.correction.id) {
    problem("Somebody has corrected this pair since you began your draft. Compare the two before you save yours.");
    memory.set(draftKey(), { text: draft.text, based_on: pair.correction.id });
  }
}

async function decide(path, body, done) {
  const decided = pair;
  try {
    const said = { shard_set_id: decided.shard_set_id, pair_id: decided.pair_id, annotator: job.annotator, ...body };
    const answer = await ask(path, said);
    if (pair === decided) { problem(""); await done(answer); }
  } catch (error) { problem(error.message); }
}

at("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  memory.set("name", at("name").value.trim());
  guarded(start);
});
at("rename").addEventListener("click", () => { memory.set("name", ""); at("name").value = ""; guarded(start); });
at("next").addEventListener("click", () => guarded(nextPair));
at("previous").addEventListener("click", () => guarded(previousPair));
at("blind").addEventListener("change", () => {
  memory.set("blind", at("blind").checked);
  if (pair) guarded(() => load(pair.place));
});
at("keys").addEventListener("change", () => memory.set("keys", at("keys").checked));
at("throw").addEventListener("click", () => {
  if (pair.excluded) decide("api/exclusion", { out: false }, () => load(pair.place));
  else { at("throw-form").hidden = false; at("reason").value = ""; at("reason").focus(); }
});
at("throw-form").addEventListener("submit", (event) => {
  event.preventDefault();
  decide("api/exclusion", { out: true, reason: at("reason").value }, () => load(pair.place));
});
at("edit").addEventListener("click", () => { openCorrection(); at("correction").focus(); });
at("correction").addEventListener("input", () => {
  const based_on = memory.get(draftKey(), null)?.based_on || pair.correction.id;
  memory.set(draftKey(), { text: at("correction").value, based_on });
});
at("edit-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const based_on = memory.get(draftKey(), null)?.based_on || pair.correction.id;
  decide("api/correction", { text: at("correction").value, based_on }, (correction) => {
    memory.set(draftKey(), null);
    pair.correction = correction;
    closeForms();
    showCorrection();
    say(correction.author ? "Correction stored." : "The reviser's text is back.");
    at("edit").focus();
  });
});
at("edit-cancel").addEventListener("click", () => { memory.set(draftKey(), null); closeForms(); at("edit").focus(); });
at("throw-cancel").addEventListener("click", () => { closeForms(); at("throw").focus(); });

async function nextPair() { await queue.send(); await loadNext(pair.place); }
async function previousPair() { if (pair.place > 0) await load(pair.place - 1); }

const COMMANDS = {
  1: () => judgeByKey(0), 2: () => judgeByKey(1), 3: () => judgeByKey(2),
  j: () => select(current + 1, true), k: () => select(current - 1, true),
  n: () => guarded(nextPair), p: () => guarded(previousPair),
};
document.addEventListener("keydown", (event) => {
  const writes = event.target.matches("textarea, input:not([type=radio]):not([type=checkbox])");
  if (!pair || writes || event.ctrlKey || event.metaKey || event.altKey || !at("keys").checked) return;
  const command = COMMANDS[event.key.toLowerCase()];
  if (command) { event.preventDefault(); command(); }
});
window.addEventListener("hashchange", () => guarded(start));

async function guarded(action) {
  try { await action(); } catch (error) { problem(error.message); }
}

at("keys").checked = memory.get("keys", true);
guarded(start);
