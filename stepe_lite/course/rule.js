"use strict";
/* Rules in JavaScript: what stepe_lite's schedules.py, ranking.py, rules.py and analysis.py say, on recorded losses.

A test draws rules and losses and compares both, bit for bit where they are hard. Losses and weights are float32, as in
Python: Math.fround rounds where torch does. A run is {epochs, n, losses: Float32Array (epochs · n), labels, wrong:
arrays (n), random: the order in which random exclusion takes samples}. */
const rules = (() => {
  const f32 = Math.fround, LARGEST = 3.4028234663852886e38;

  const SHAPES = {
    constant: () => 1,
    linear: (t) => t,
    cosine: (t) => (1 - Math.cos(Math.PI * t)) / 2,
    exponential: (t, sharpness) => Math.expm1(-sharpness * t) / Math.expm1(-sharpness),
    staircase: (t, steps) => Math.floor(t * steps + 1e-9) / steps,
  };
  const SHARPNESS = { exponential: 3, staircase: 4 };

  function scheduled(rule, epoch) {
    if (epoch < rule.warmup) return 0;
    const ramp = rule.shape === "constant" ? 0 : rule.ramp;
    const t = ramp ? Math.min(1, (epoch - rule.warmup) / ramp) : 1;
    return rule.final * SHAPES[rule.shape](t, rule.sharpness ?? SHARPNESS[rule.shape] ?? 1);
  }

  /* Python's round: halves go to the even number. */
  function round(x) {
    const low = Math.floor(x), rest = x - low;
    return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
  }

  /* Python's format of a number with `digits` decimals; toFixed takes halves upwards. */
  function fixed(x, digits) {
    if (Number.isNaN(x)) return "nan";
    const scaled = x * 10 ** digits;
    return Number.isInteger(2 * scaled) ? (round(scaled) / 10 ** digits).toFixed(digits) : x.toFixed(digits);
  }

  /* The samples from the highest score down: NaN first, ties by index. One sort of numbers that hold score and index. */
  function ranked(scores) {
    const n = scores.length, keys = new Float64Array(n), order = new Uint32Array(n);
    const value = new Float32Array(1), bits = new Uint32Array(value.buffer);
    for (let i = 0; i < n; i++) {
      value[0] = scores[i] + 0; // −0 ranks as 0
      const up = scores[i] !== scores[i] ? 0xffffffff : bits[0] >>> 31 ? ~bits[0] >>> 0 : (bits[0] | 0x80000000) >>> 0;
      keys[i] = (0xffffffff - up) * 0x100000 + i;
    }
    keys.sort();
    for (let i = 0; i < n; i++) order[i] = keys[i] % 0x100000;
    return order;
  }

  /* As torch.nan_to_num(…, nan=inf): NaN counts as the highest, and infinity as the largest number. */
  const finite = (x) => (x !== x ? Infinity : Math.max(-LARGEST, Math.min(LARGEST, x)));

  /* Set the weights of `members`, ranked from the highest score, of which `count` are excluded. */
  function weigh(weights, members, scores, count, soft) {
    if (soft === null || count === 0) {
      for (let i = 0; i < count; i++) weights[members[i]] = 0;
      return;
    }
    const threshold = f32(f32(finite(scores[members[count - 1]]) + finite(scores[members[count]])) / 2);
    if (!Number.isFinite(threshold)) return weigh(weights, members, scores, count, null);
    const temperature = f32(soft);
    for (const i of members) {
      const x = f32(f32(threshold - finite(scores[i])) / temperature);
      weights[i] = 1 / (1 + Math.exp(-x));
    }
  }

  /* Scores before each epoch and their ranking: the last losses, or their moving average. Kept, since only momentum
     changes them: a slider of the schedule finds them sorted. */
  function scoresOf(run, momentum) {
    if (run.kept?.momentum === momentum) return run.kept.scores;
    const { n, epochs, losses } = run, scores = [null];
    const keep = f32(momentum), take = f32(1 - momentum);
    for (let epoch = 1; epoch < epochs; epoch++) {
      const row = losses.subarray((epoch - 1) * n, epoch * n);
      let values = row;
      if (momentum && epoch > 1) {
        const before = scores[epoch - 1].values;
        values = new Float32Array(n);
        for (let i = 0; i < n; i++) {
          values[i] = before[i] !== before[i] ? row[i] : f32(f32(keep * before[i]) + f32(take * row[i]));
        }
      }
      scores.push({ values, order: ranked(values) });
    }
    run.kept = { momentum, scores };
    return scores;
  }

  function membersOf(run, order, perClass) {
    if (!perClass) return [order];
    const groups = new Map();
    for (const i of order) {
      if (!groups.has(run.labels[i])) groups.set(run.labels[i], []);
      groups.get(run.labels[i]).push(i);
    }
    return groups.values();
  }

  /* What each method excludes at an epoch: the fraction, and from where on its schedule counts. */
  const METHODS = {
    "Step-E": (rule, epoch) => scheduled(rule, epoch),
    "loss truncation": (rule, epoch) => scheduled({ ...rule, shape: "constant" }, epoch),
    "self-paced": (rule, epoch) => rule.final - scheduled(rule, epoch),
    "one-shot": (rule, epoch) => (epoch < Math.max(1, rule.warmup) ? 0 : rule.final),
    "random exclusion": (rule, epoch) => scheduled(rule, epoch),
    "standard": () => 0,
    "oracle by removal": () => 0,
  };

  /* The weights (epochs · n) that a rule {method, shape, warmup, ramp, final, soft, momentum, perClass} gives. */
  function replay(rule, run) {
    const { n, epochs } = run, weights = new Float32Array(epochs * n).fill(1);
    const own = rule.method === "Step-E", soft = own ? rule.soft : null;
    const scores = scoresOf(run, own ? rule.momentum : 0);
    for (let epoch = 0; epoch < epochs; epoch++) {
      const row = weights.subarray(epoch * n, (epoch + 1) * n);
      if (rule.method === "oracle by removal") {
        for (let i = 0; i < n; i++) row[i] = run.wrong[i] ? 0 : 1;
        continue;
      }
      const fraction = METHODS[rule.method](rule, epoch);
      if (epoch === 0 || fraction === 0) continue; // epoch 0 knows no losses
      const known = scores[rule.method === "one-shot" ? Math.max(1, rule.warmup) : epoch];
      const order = rule.method === "random exclusion" ? run.random : known.order;
      for (const members of membersOf(run, order, own && rule.perClass)) {
        const size = members.length, share = own && rule.perClass ? Math.min(fraction, (size - 1) / size) : fraction;
        weigh(row, members, known.values, round(share * size), soft);
      }
    }
    return weights;
  }

  /* As analysis.outcome: a row an epoch. */
  function outcome(weights, run) {
    const { n, epochs, wrong } = run, rows = [];
    for (let epoch = 0; epoch < epochs; epoch++) {
      let caught = 0, lost = 0, bad = 0, weightBad = 0, weightGood = 0;
      for (let i = 0, at = epoch * n; i < n; i++, at++) {
        if (wrong[i]) {
          bad++;
          weightBad += weights[at];
          if (weights[at] < 0.5) caught++;
        } else {
          weightGood += weights[at];
          if (weights[at] < 0.5) lost++;
        }
      }
      const out = caught + lost;
      rows.push({
        clean: lost / n, mislabeled: caught / n, precision: out ? caught / out : NaN, recall: bad ? caught / bad : NaN,
        weightMislabeled: weightBad / bad, weightClean: weightGood / (n - bad),
      });
    }
    return rows;
  }

  const percent = (share) => (Number.isNaN(share) ? "–" : fixed(100 * share, 1));

  /* As widgets.explorer.describe: the line of numbers. */
  function describe(rows) {
    const at = rows.findIndex((row) => row.clean + row.mislabeled > 0);
    if (at < 0) return "Replayed: nobody is excluded";
    const last = rows[rows.length - 1];
    const end = `Replayed: starts at epoch ${at} with precision ${percent(rows[at].precision)} %; last epoch: excluded ` +
      `${percent(last.clean + last.mislabeled)} %, precision ${percent(last.precision)} %, ` +
      `recall ${percent(last.recall)} %`;
    if (Math.abs(last.weightMislabeled - (1 - last.recall)) < 1e-6) return end;
    return `${end}; mean weight ${fixed(last.weightMislabeled, 2)} if mislabeled, ${fixed(last.weightClean, 2)} if clean`;
  }

  /* As experiments.schedule_map.nearest: the recorded setting that is nearest to a rule, and in words what differs;
  or null, and why there is none. `grid` says what is recorded. */
  function nearest(map, rule, grid) {
    const unlike = [["soft weights", rule.soft !== null], ["a moving average", rule.momentum > 0],
      ["a ranking within each class", rule.perClass]].filter(([, given]) => given).map(([name]) => name);
    if (rule.shape === "constant") rule = { ...rule, ramp: 0 };
    const points = (each) => Math.round(100 * each.final), standard = (row) => row.shape === "standard";
    const start = (row) => Math.abs(row.warmup - rule.warmup), end = (row) => Math.abs(points(row) - points(rule));
    const other = (row) => row.ramp > 0 && rule.ramp > 0 && row.shape !== rule.shape;
    let best = null, least = Infinity;
    for (const row of map) {
      const far = standard(row) ? Math.min(start(row), end(row))
        : 5 * other(row) + start(row) + Math.abs(row.ramp - rule.ramp) + end(row);
      if (far < least) [best, least] = [row, far];
    }
    if (unlike.length && !(standard(best) && least === 0)) return { row: null, differs: `with ${unlike.join(" and ")}` };
    if (least > 6) return { row: null, differs: `near this setting, only ${grid}` };
    const pairs = [
      ["warm-up", best.warmup, rule.warmup], ["ramp", best.ramp, rule.ramp], ["final", `${points(best)} %`, `${points(rule)} %`],
      ["shape", best.shape, other(best) ? rule.shape : best.shape],
    ];
    const nearer = start(best) <= end(best) ? "warm-up" : "final";
    const differs = pairs.filter(([name, its, mine]) => its !== mine && (!standard(best) || name === nearer));
    return { row: best, differs: differs.map(([name, its, mine]) => `${name} ${its} instead of ${mine}`).join(", ") };
  }

  /* Arrays that travel as base64. */
  function bytes(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  }

  function halves(text) {
    const codes = new Uint16Array(bytes(text).buffer), values = new Float32Array(codes.length);
    for (let i = 0; i < codes.length; i++) {
      const exponent = (codes[i] >> 10) & 31, fraction = codes[i] & 1023;
      const size = exponent === 31 ? (fraction ? NaN : Infinity)
        : exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction;
      values[i] = codes[i] & 0x8000 ? -size : size;
    }
    return values;
  }

  function runOf(data) {
    const labels = bytes(data.labels), wrong = bytes(data.wrong), n = labels.length, losses = halves(data.losses);
    return { n, epochs: losses.length / n, losses, labels, wrong, random: new Uint16Array(bytes(data.random).buffer) };
  }

  return { METHODS, SHAPES, bytes, describe, fixed, halves, nearest, outcome, percent, ranked, replay, runOf, scheduled };
})();
if (typeof module !== "undefined") module.exports = rules;
