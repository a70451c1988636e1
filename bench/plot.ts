/** Line charts with logarithmic axes, as SVG. */

/** A line: points in ascending order of x. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** A tick: where, and what is written there. */
export type Tick = readonly [value: number, label: string];

export interface Chart {
  readonly title: string;
  readonly subtitle: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly xTicks: readonly Tick[];
  readonly yTicks: readonly Tick[];
  readonly series: readonly Series[];
}

const WIDTH = 900;
const HEIGHT = 500;
const LEFT = 84;
const RIGHT = 236;
const TOP = 72;
const BOTTOM = 64;
/** Distance of two labels at the ends of lines. */
const LABEL_HEIGHT = 18;

// Okabe and Ito's colours, which the colour-blind can tell apart, once darker for light pages, once lighter for dark
// ones. Each line has a mark of its own, too.
const LIGHT = ["#0b62a8", "#c2410c", "#0f766e", "#a21caf", "#7a5c00"];
const DARK = ["#62b5f5", "#ff9a5c", "#4fd1b5", "#e38bf0", "#e3c14f"];

const STYLE = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f; }
  .page { fill: #ffffff; }
  .title { font-size: 17px; font-weight: 600; }
  .soft { fill: #57606a; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .axis { stroke: #57606a; stroke-width: 1; }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
${LIGHT.map((colour, i) => `  .s${i} { stroke: ${colour}; } .f${i} { fill: ${colour}; }`).join("\n")}
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .page { fill: #0d1117; }
    .soft { fill: #9198a1; }
    .grid { stroke: #2a313c; }
    .axis { stroke: #9198a1; }
${DARK.map((colour, i) => `    .s${i} { stroke: ${colour}; } .f${i} { fill: ${colour}; }`).join("\n")}
  }
`;

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function text(x: number, y: number, what: string, attributes: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped(what)}</text>`;
}

/** A scale from the first tick to the last, beyond them as far as there are values. */
function scale(
  ticks: readonly Tick[],
  values: readonly number[],
  from: number,
  to: number,
): (value: number) => number {
  const all = [...ticks.map(([value]) => value), ...values].map(Math.log2);
  const low = Math.min(...all);
  const high = Math.max(...all);
  return (value) => from + ((Math.log2(value) - low) / (high - low)) * (to - from);
}

function mark(index: number, x: number, y: number): string {
  const at = `${x.toFixed(1)} ${y.toFixed(1)}`;
  const shapes = [
    `<circle class="f0" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="4"/>`,
    `<path class="f1" d="M${at}m-4 -4h8v8h-8z"/>`,
    `<path class="f2" d="M${at}m0 -5l5 9h-10z"/>`,
    `<path class="f3" d="M${at}m0 -5l5 5l-5 5l-5 -5z"/>`,
    `<path class="f4" d="M${at}m0 5l5 -9h-10z"/>`,
  ];
  return shapes[index % shapes.length] ?? "";
}

/** Moves labels down until none covers another, then up as far as they ran out at the bottom. */
function spread(wanted: readonly number[], bottom: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => (wanted[a] ?? 0) - (wanted[b] ?? 0));
  const placed = [...wanted];
  let last = Number.NEGATIVE_INFINITY;
  for (const i of order) {
    last = Math.max(placed[i] ?? 0, last + LABEL_HEIGHT);
    placed[i] = last;
  }
  let next = bottom + LABEL_HEIGHT;
  for (const i of order.reverse()) {
    next = Math.min(placed[i] ?? 0, next - LABEL_HEIGHT);
    placed[i] = next;
  }
  return placed;
}

/** The chart as a file's text. The legend stands at the ends of the lines. */
export function plot(chart: Chart): string {
  const right = WIDTH - RIGHT;
  const bottom = HEIGHT - BOTTOM;
  const points = chart.series.flatMap(({ points }) => points);
  const x = scale(
    chart.xTicks,
    points.map(([value]) => value),
    LEFT,
    right,
  );
  const y = scale(
    chart.yTicks,
    points.map(([, value]) => value),
    bottom,
    TOP,
  );
  const out: string[] = [];
  for (const [value, label] of chart.yTicks) {
    const at = y(value).toFixed(1);
    out.push(`<path class="grid" d="M${LEFT} ${at}H${right}"/>`);
    out.push(text(LEFT - 10, y(value) + 4.5, label, 'text-anchor="end" class="soft"'));
  }
  for (const [value, label] of chart.xTicks) {
    const at = x(value).toFixed(1);
    out.push(`<path class="grid" d="M${at} ${TOP}V${bottom}"/>`);
    out.push(`<path class="axis" d="M${at} ${bottom}v5"/>`);
    out.push(text(x(value), bottom + 21, label, 'text-anchor="middle" class="soft"'));
  }
  out.push(`<path class="axis" d="M${LEFT} ${bottom}H${right}"/>`);
  out.push(text(LEFT, 30, chart.title, 'class="title"'));
  out.push(text(LEFT, 51, chart.subtitle, 'class="soft"'));
  out.push(text((LEFT + right) / 2, HEIGHT - 16, chart.xLabel, 'text-anchor="middle"'));
  const middle = (TOP + bottom) / 2;
  out.push(text(0, 0, chart.yLabel, `text-anchor="middle" transform="translate(20 ${middle}) rotate(-90)"`));

  // The last line is drawn first, so that the first one, ours, lies on top.
  for (const [index, { points }] of [...chart.series.entries()].reverse()) {
    const path = points.map(([px, py]) => `${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("L");
    out.push(`<path class="line s${index % LIGHT.length}" d="M${path}"/>`);
    for (const [px, py] of points) out.push(mark(index, x(px), y(py)));
  }
  const ends = chart.series.map(({ points }) => points.at(-1));
  const labels = spread(
    ends.map((end) => y(end?.[1] ?? 1)),
    bottom,
  );
  for (const [index, { name }] of chart.series.entries()) {
    const at = labels[index] ?? 0;
    out.push(`<path class="line s${index % LIGHT.length}" d="M${right + 18} ${at.toFixed(1)}h22"/>`);
    out.push(mark(index, right + 29, at));
    out.push(text(right + 46, at + 4.5, name, ""));
  }
  const label = escaped(`${chart.title}. ${chart.subtitle}`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${label}">
<title>${escaped(chart.title)}</title>
<style>${STYLE}</style>
<rect class="page" width="${WIDTH}" height="${HEIGHT}" rx="6"/>
${out.join("\n")}
</svg>
`;
}
