"use strict";
/* What is alive on a page: the schedule explorer, the look-up of a sample and the boxes for guesses.

Plain JavaScript on data that stand in the page; the rules are those of rule.js. Without JavaScript the pictures and
words that the notebook saved stay as they are. */
(() => {
  const TEMPERATURES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10]; // nats
  /* How many of the controls a method reads (warm-up, final fraction, ramp, shape, and what is Step-E's alone), and what
  it does. */
  const METHODS = {
    "Step-E": [7, "Each epoch ranks the samples by loss. During the warm-up nobody is excluded; then those with the highest " +
      "losses are, more and more of them over the ramp, up to the final fraction of all samples."],
    "loss truncation": [2, "After the warm-up the final fraction is excluded at once, without a ramp; ranked anew each epoch."],
    "self-paced": [4, "The other way round: at first only the easy samples, those of low loss, are in; over the ramp all come in."],
    "one-shot": [2, "One ranking, after the warm-up: who is excluded then stays out for ever."],
    "random exclusion": [4, "As many as Step-E excludes, but drawn by chance: the control for the ranking."],
    "standard": [0, "Nobody is ever excluded."],
    "oracle by removal": [0, "All mislabeled samples are out from the start, and no other: only who knows the truth can do that."],
  };
  const ROWS = 500; // samples drawn one by one; of more, evenly spaced ones
  let names = 0;

  /* An element with properties (those with a dash are attributes) and children. */
  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children);
    return element;
  }

  function field(text, control) {
    control.id = `control-${++names}`;
    return make("div", { className: "field" }, make("label", { for: control.id }, text), control);
  }

  function choice(text, options, value, act) {
    const control = make("select", { onchange: act }, ...options.map((each) => make("option", { value: each }, String(each))));
    control.value = value;
    return [control, field(text, control)];
  }

  /* A native slider; `unit` is read out with its value. */
  function slider(text, unit, least, most, value, act, step = 1) {
    const shown = make("output");
    const control = make("input", { type: "range", min: least, max: most, step, value });
    control.say = () => {
      shown.textContent = `${control.value} ${unit}`.trim();
      control.setAttribute("aria-valuetext", shown.textContent);
    };
    control.oninput = () => (control.say(), act());
    const line = field(text, control);
    shown.htmlFor = control.id;
    line.append(shown);
    control.say();
    return [control, line];
  }

  function box(text, act) {
    const control = make("input", { type: "checkbox", onchange: act });
    return [control, field(text, control)];
  }

  /* A picture with axes. `draw(pen, x, y)` draws in data units; the colours are those of the page. */
  class Picture {
    constructor(title, xlabel, ylabel) {
      Object.assign(this, { xlabel, ylabel });
      this.canvas = make("canvas", { role: "img" });
      this.legend = make("div", { className: "legend" });
      this.element = make("figure", {}, make("figcaption", {}, title), this.legend, this.canvas);
    }

    explain(entries) {
      this.legend.replaceChildren(...entries.map(([text, colour, dash]) => {
        const key = make("span", { className: "key" });
        key.style.borderTop = `${dash === "fill" ? 10 : 3}px ${dash === "fill" ? "solid" : dash} ${colour}`;
        return make("span", {}, key, text);
      }));
    }

    show(said, { x: [left, right], y: [bottom, top], ticks = [0, 25, 50, 75, 100], log = false }, draw) {
      this.canvas.setAttribute("aria-label", said);
      const width = Math.max(200, this.canvas.clientWidth), height = 230, sharp = window.devicePixelRatio || 1;
      if (this.canvas.width !== Math.round(width * sharp)) {
        [this.canvas.width, this.canvas.height] = [Math.round(width * sharp), Math.round(height * sharp)];
      }
      const pen = this.canvas.getContext("2d"), ink = getComputedStyle(this.canvas).color;
      const scale = log ? Math.log10 : (v) => v;
      const x = (v) => 48 + ((v - left) / (right - left)) * (width - 58);
      const y = (v) => height - 38 - ((scale(v) - scale(bottom)) / (scale(top) - scale(bottom))) * (height - 48);
      pen.setTransform(sharp, 0, 0, sharp, 0, 0);
      pen.clearRect(0, 0, width, height);
      pen.font = "12px system-ui, sans-serif";
      pen.fillStyle = ink;
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      for (const tick of ticks) pen.fillText(tick, 44, y(tick));
      pen.textAlign = "center";
      const step = [1, 2, 5, 10, 20, 50, 100].find((each) => (right - left) / each <= 6);
      for (let tick = 0; tick <= right; tick += step) pen.fillText(tick, x(tick), height - 28);
      pen.fillText(this.xlabel, x((left + right) / 2), height - 9);
      pen.save();
      pen.translate(9, (height - 28) / 2);
      pen.rotate(-Math.PI / 2);
      pen.fillText(this.ylabel, 0, 0);
      pen.restore();
      pen.lineWidth = 2;
      draw(pen, x, y);
      pen.setLineDash([]);
      pen.strokeStyle = ink;
      pen.lineWidth = 1;
      pen.strokeRect(x(left), y(top), x(right) - x(left), y(bottom) - y(top));
    }
  }

  function path(pen, colour, dash, points) {
    pen.strokeStyle = colour;
    pen.setLineDash(dash);
    pen.beginPath();
    let down = false;
    for (const [x, y] of points) {
      if (Number.isNaN(y)) down = false;
      else down = (down ? pen.lineTo(x, y) : pen.moveTo(x, y), true);
    }
    pen.stroke();
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const redrawn = []; // what draws anew when the window or its colours change

  function explorer(place, data) {
    const runs = {}, start = data.start, act = () => moved();
    const [source, sourceLine] = choice("losses", Object.keys(data.runs), Object.keys(data.runs)[0], () => pick());
    const [method, methodLine] = choice("method", Object.keys(rules.METHODS), "Step-E", act);
    const [shape, shapeLine] = choice("shape", Object.keys(rules.SHAPES), start.shape, act);
    const [warmup, warmupLine] = slider("warm-up", "epochs", 0, 60, start.warmup, act);
    const [ramp, rampLine] = slider("ramp", "epochs", 0, 60, start.ramp, act);
    const [final, finalLine] = slider("final fraction", "%", 0, 95, Math.round(100 * start.final), act);
    const [momentum, momentumLine] = slider("moving average", "", 0, 0.99, 0, act, 0.01);
    const [soft, softLine] = box("soft weights", act);
    const [temperature, temperatureLine] = choice("temperature (nats)", TEMPERATURES, 0.5, act);
    const [perClass, perClassLine] = box("rank within each class", act);
    const reset = make("button", { type: "button", onclick: () => back() }, "Back to the start values");
    const note = make("p", { className: "note" });
    const facts = make("p", { className: "facts", role: "status" });
    const trained = make("p", { className: "trained" });
    const speed = make("p", { className: "speed" });
    const much = new Picture("How many are excluded", "epoch (counted from 0)", "% of all samples");
    const whom = new Picture("Whom, one by one", "epoch (counted from 0)", "samples (%)");
    const right = new Picture("How rightly", "epoch (counted from 0)", "share (%)");
    const pictures = [much, whom, right], times = [];
    let run = null;

    place.replaceChildren(
      make("div", { className: "controls", role: "group", "aria-label": "Settings of the rule" }, sourceLine, methodLine,
        shapeLine, warmupLine, rampLine, finalLine, momentumLine, softLine, temperatureLine, perClassLine, reset),
      note,
      make("div", { className: "pictures" }, ...pictures.map((each) => each.element)), facts, trained, speed);

    function pick() {
      const name = source.value;
      run = runs[name] ??= rules.runOf(data.runs[name]);
      run.rate = run.wrong.reduce((sum, each) => sum + each, 0) / run.n;
      run.rows ??= rowsOf(run);
      for (const each of [warmup, ramp]) each.max = run.epochs;
      times.length = 0;
      speed.textContent = "";
      begin();
    }

    /* The start values: of the notebook for its own run, for another in proportion, with its own noise rate. */
    function begin() {
      const first = Object.keys(data.runs)[0], own = source.value === first, scale = run.epochs / runs[first].epochs;
      shape.value = start.shape;
      [warmup.value, ramp.value] = [start.warmup, start.ramp].map((each) => Math.round(scale * each));
      [final.value, momentum.value] = [Math.round(100 * (own ? start.final : run.rate)), 0];
      [soft.checked, perClass.checked, temperature.value] = [start.soft !== null, false, start.soft ?? 0.5];
      for (const each of [warmup, ramp, final, momentum]) each.say();
      show();
    }

    function back() {
      [source.value, method.value] = [Object.keys(data.runs)[0], "Step-E"];
      pick();
    }

    /* What the controls say, for rule.js. */
    function rule() {
      return {
        method: method.value, shape: shape.value, warmup: +warmup.value, ramp: +ramp.value, final: +final.value / 100,
        momentum: +momentum.value, soft: soft.checked ? +temperature.value : null, perClass: perClass.checked,
      };
    }

    function show() {
      const chosen = rule(), own = chosen.method === "Step-E";
      const [used, said] = METHODS[chosen.method];
      for (const [at, each] of [warmup, final, ramp, shape, momentum, soft, perClass].entries()) each.disabled = at >= used;
      ramp.disabled ||= chosen.shape === "constant";
      temperature.disabled = !own || !soft.checked;
      note.textContent = said + (chosen.momentum && own ? " The moving average ranks by the mean of all losses so far, the " +
        "last ones counting most; near 1, old ones count as well." : "") +
        (chosen.perClass && own ? " Each given class loses the same fraction, so none can vanish." : "");
      const weights = rules.replay(chosen, run), rows = rules.outcome(weights, run);
      facts.textContent = rules.describe(rows);
      draw(chosen, weights, rows);
      compare(chosen);
    }

    /* Show what a control was moved to, and how long that took; the first picture of a page is no measure of it. */
    function moved() {
      const began = performance.now();
      show();
      times.push(performance.now() - began);
      if (times.length > 21) times.shift();
      const median = times.slice().sort((a, b) => a - b)[times.length >> 1];
      speed.textContent = `From a control to the pictures: ${median.toFixed(1)} ms in this browser ` +
        `(median of the last ${times.length}), for ${run.n} samples and ${run.epochs} epochs.`;
    }

    function draw(chosen, weights, rows) {
      const { n, epochs } = run, bad = colour("mislabeled"), good = colour("clean");
      const ink = getComputedStyle(place).color, x = [0, epochs], y = [0, 100];
      const planned = (epoch) => 100 * rules.METHODS[chosen.method](chosen, epoch);
      const said = facts.textContent;
      much.explain([["mislabeled", bad, "fill"], ["clean", good, "fill"], ["schedule", ink, "solid"], ["noise rate", ink, "dotted"]]);
      much.show(`Excluded samples by epoch, mislabeled below and clean above. ${said}.`, { x, y }, (pen, px, py) => {
        rows.forEach((row, epoch) => {
          const [from, wide] = [px(epoch), px(epoch + 1) - px(epoch) + 0.5];
          const low = py(0), middle = py(100 * row.mislabeled), high = py(100 * (row.mislabeled + row.clean));
          pen.fillStyle = bad;
          pen.fillRect(from, middle, wide, low - middle);
          pen.fillStyle = good;
          pen.fillRect(from, high, wide, middle - high);
        });
        path(pen, ink, [2, 3], [[px(0), py(100 * run.rate)], [px(epochs), py(100 * run.rate)]]);
        const at = Array.from({ length: 201 }, (_, i) => (i * epochs) / 200);
        path(pen, ink, [], at.map((epoch) => [px(epoch), py(planned(epoch))]));
      });
      whom.explain([["mislabeled (on top)", bad, "fill"], ["clean", good, "fill"], [chosen.soft ? "fainter: more weight" : "blank: kept", "transparent", "solid"]]);
      whom.show(`The samples one by one, mislabeled on top; coloured where excluded. ${said}.`, { x, y: [100, 0] }, (pen, px, py) => {
        const image = (run.image ??= new ImageData(epochs, run.rows.length)), shades = [good, bad].map(parts);
        run.rows.forEach((sample, row) => {
          const [r, g, b] = shades[run.wrong[sample] ? 1 : 0];
          for (let epoch = 0; epoch < epochs; epoch++) {
            image.data.set([r, g, b, 255 * (1 - weights[epoch * n + sample])], 4 * (row * epochs + epoch));
          }
        });
        const small = (run.canvas ??= make("canvas", { width: epochs, height: run.rows.length }));
        small.getContext("2d").putImageData(image, 0, 0);
        pen.imageSmoothingEnabled = false;
        pen.drawImage(small, px(0), py(0), px(epochs) - px(0), py(100) - py(0));
      });
      right.explain([["precision", colour("precision"), "solid"], ["recall", colour("recall"), "dashed"]]);
      right.show(`Precision and recall by epoch. ${said}.`, { x, y }, (pen, px, py) => {
        path(pen, colour("precision"), [], rows.map((row, epoch) => [px(epoch), py(100 * row.precision)]));
        path(pen, colour("recall"), [6, 4], rows.map((row, epoch) => [px(epoch), py(100 * row.recall)]));
      });
    }

    /* What training gave at this setting, or the nearest that was recorded. */
    function compare(chosen) {
      if (!data.map || source.value !== Object.keys(data.runs)[0]) {
        trained.replaceChildren("Trainings are recorded for “this run” alone.");
        return;
      }
      if (chosen.method !== "Step-E") {
        trained.replaceChildren("Trainings are recorded here for Step-E alone.");
        return;
      }
      const { row, differs } = rules.nearest(data.map.rows, chosen, data.map.grid);
      if (row === null) {
        trained.replaceChildren(make("b", {}, "Trained for real: "), `nothing is recorded ${differs}.`);
        return;
      }
      const where = differs ? `Not at this setting; the nearest recorded has ${differs}` : "This setting, recorded";
      const place = `${Math.round(100 * row.way)} % of the way from standard training to the oracle`;
      const meter = make("meter", { min: 0, max: 1, value: row.way, "aria-label": place });
      trained.replaceChildren(make("b", {}, `Trained for real. ${where}: `), `${row.said} `, meter, ` ${place}. ${data.map.about}`);
    }

    pick();
    redrawn.push(show);
    place.explorer = { rule, show };
  }

  const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

  /* The samples that are drawn: mislabeled above clean, the highest mean loss on top. */
  function rowsOf({ n, epochs, losses, wrong }) {
    const mean = new Float64Array(n);
    for (let at = 0; at < losses.length; at++) mean[at % n] += losses[at] / epochs;
    const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => wrong[b] - wrong[a] || mean[b] - mean[a]);
    const many = Math.min(ROWS, n);
    return Array.from({ length: many }, (_, i) => order[Math.floor((i * (n - 1)) / Math.max(1, many - 1))]);
  }

  function lookup(place, data) {
    const images = rules.bytes(data.images), losses = rules.halves(data.losses), out = rules.bytes(data.excluded);
    const [channels, height, width] = data.size, n = data.columns.given.length, epochs = losses.length / n;
    const number = make("input", { type: "number", min: 0, max: n - 1, value: data.sample });
    const [scroll, scrollLine] = slider("sample by slider", "", 0, n - 1, data.sample, () => pick(scroll.value));
    number.oninput = () => pick(number.value);
    const image = make("canvas", { role: "img", width, height, className: "sample" });
    const title = make("p", { className: "facts", role: "status" });
    const line = new Picture("Its loss by epoch; grey: excluded", "epoch (counted from 0)", "loss (nats)");
    const table = make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "What happened to the sample" });
    place.replaceChildren(make("div", { className: "controls", role: "group", "aria-label": "Which sample" },
      field("sample", number), scrollLine), title, make("div", { className: "pictures" }, image, line.element), table);
    let sample = data.sample;

    function pick(value) {
      const chosen = Math.round(Number(value));
      if (value === "" || !(chosen >= 0 && chosen < n)) return;
      sample = chosen;
      [number.value, scroll.value] = [sample, sample];
      scroll.say();
      show();
    }

    function show() {
      const of = (name) => data.columns[name]?.[sample];
      const wrong = of("is_mislabeled"), shade = wrong === undefined ? "" : colour(wrong ? "mislabeled" : "clean");
      title.textContent = `Sample ${sample}, labelled ${of("given")}` + (wrong ? `, is ${of("clean")}` : "") +
        (of("outcome") ? `: ${of("outcome")}` : "");
      const pixels = new ImageData(width, height), size = width * height;
      for (let i = 0; i < size; i++) {
        for (let c = 0; c < 3; c++) {
          const value = images[sample * channels * size + Math.min(c, channels - 1) * size + i];
          pixels.data[4 * i + c] = channels === 1 ? 255 - value : value;
        }
        pixels.data[4 * i + 3] = 255;
      }
      image.getContext("2d").putImageData(pixels, 0, 0);
      image.setAttribute("aria-label", `The image of sample ${sample}`);
      const values = Array.from({ length: epochs }, (_, epoch) => Math.max(1e-4, losses[epoch * n + sample]));
      const said = `Loss of sample ${sample}: ${values[0].toFixed(2)} nats after the first epoch, ` +
        `${values[epochs - 1].toFixed(2)} after the last.`;
      const scale = { x: [0, epochs], y: [1e-4, data.highest], ticks: [0.0001, 0.01, 1], log: true };
      line.show(said, scale, (pen, px, py) => {
        pen.fillStyle = "rgba(128, 128, 128, 0.35)";
        for (let epoch = 0; epoch < epochs; epoch++) {
          const bit = epoch * n + sample;
          if (out[bit >> 3] & (128 >> (bit & 7))) pen.fillRect(px(epoch), py(data.highest), px(1) - px(0) + 0.5, py(1e-4) - py(data.highest));
        }
        path(pen, shade || getComputedStyle(place).color, [], values.map((value, epoch) => [px(epoch + 0.5), py(value)]));
      });
      const columns = data.order; // the columns of a JSON object have none
      const text = (value) => (typeof value !== "number" || Number.isInteger(value) ? String(value) : value.toFixed(3));
      table.replaceChildren(make("table", {},
        make("thead", {}, make("tr", {}, ...["sample", ...columns].map((name) => make("th", { scope: "col" }, name)))),
        make("tbody", {}, make("tr", {}, make("th", { scope: "row" }, String(sample)), ...columns.map((name) => make("td", {}, text(of(name))))))));
    }

    redrawn.push(show);
    show();
  }

  /* The measured value stands below the question; what the reader guesses is compared with it. */
  function predictions() {
    const measured = [...document.querySelectorAll("pre")].map((pre) => {
      const found = /^\s*Measured: (-?[\d.]+)(.*)\. You wrote no guess down\.\s*$/.exec(pre.textContent);
      return found && { pre, value: Number(found[1]), digits: (found[1].split(".")[1] ?? "").length, unit: found[2].trim() };
    }).filter(Boolean);
    for (const label of document.querySelectorAll("label.prediction")) {
      const input = label.querySelector("input");
      const at = measured.findIndex(({ pre }) => label.compareDocumentPosition(pre) & Node.DOCUMENT_POSITION_FOLLOWING);
      if (at < 0) continue;
      const [{ pre, value, digits, unit }] = measured.splice(at, 1), before = pre.textContent;
      pre.setAttribute("role", "status");
      input.addEventListener("input", () => {
        const typed = input.value.trim().replace(unit, "").replace(",", ".").trim(), guess = Number(typed);
        const said = `Measured: ${value.toFixed(digits)} ${unit}.`;
        if (!typed) pre.textContent = before;
        else if (Number.isNaN(guess)) pre.textContent = `${said} “${input.value}” is no number.`;
        else pre.textContent = `Your guess: ${guess} ${unit}. ${said} Off by ${Math.abs(guess - value).toFixed(digits)}.`;
      });
    }
  }

  /* A question says whether what is typed is right, as widgets.explorer.Question does. */
  function questions() {
    for (const asked of document.querySelectorAll(".question")) {
      const input = asked.querySelector("input"), reply = asked.querySelector("[role=status]");
      const { answer, within, said } = asked.dataset;
      input.addEventListener("change", () => {
        const typed = input.value.trim().replace(/%$/, "").replace(",", "."), off = Math.abs(Number(typed) - answer);
        const hint = Math.abs(100 * typed - answer) <= within ? " A share? Here it is in %." : "";
        if (!typed.trim()) reply.textContent = "";
        else if (Number.isNaN(off)) reply.textContent = "✗ That is no number.";
        else reply.textContent = off <= within ? `✓ It is ${said}.` : `✗ Not yet.${hint}`;
      });
    }
  }

  const KINDS = { explorer, lookup };
  for (const place of document.querySelectorAll("[data-alive]")) {
    const data = JSON.parse(place.querySelector("script").textContent);
    KINDS[place.dataset.alive](place, data);
  }
  predictions();
  questions();
  let waiting = 0;
  const again = () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => redrawn.forEach((show) => show()));
  };
  window.addEventListener("resize", again);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  window.matchMedia("print").addEventListener("change", () => redrawn.forEach((show) => show())); // no frame comes
})();
