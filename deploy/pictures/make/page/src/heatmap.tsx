// The heatmap. Grafana's own is a part of its application, not of its npm packages.
import { type DataFrame, FieldType, getDisplayProcessor } from '@grafana/data';
import { useTheme2 } from '@grafana/ui';
import { interpolateOranges, interpolateSpectral, interpolateTurbo, interpolateYlOrRd } from 'd3-scale-chromatic';
import type uPlot from 'uplot';
import { Canvas } from './canvas';
import { drawDiamond, drawMark, points } from './marks';
import { type BodyProps, exemplarsOf, withoutExemplars } from './panels';

// With when Grafana turns the scheme round.
const SCHEMES: Record<string, [scheme: (share: number) => string, turned: 'always' | 'dark' | 'never']> = {
  Oranges: [interpolateOranges, 'dark'],
  Spectral: [interpolateSpectral, 'always'],
  Turbo: [interpolateTurbo, 'never'],
  YlOrRd: [interpolateYlOrRd, 'dark'],
};
const LEGEND_HEIGHT = 34;

export function Heatmap(props: BodyProps) {
  const { panel, frames, picture, width, height } = props;
  const theme = useTheme2();
  const options = panel.options ?? {};
  const frame = withoutExemplars(frames).find((one) => one.length > 0) as DataFrame;
  const times = frame.fields.find((field) => field.type === FieldType.time)!.values;
  const buckets = frame.fields.filter((field) => field.type === FieldType.number);
  const edges = buckets.map((bucket) => Number(bucket.name === '+Inf' ? Infinity : bucket.name));
  const most = options.color?.max ?? Math.max(...buckets.flatMap((bucket) => bucket.values.map(Number)));
  const least = options.color?.min ?? 0;
  const colour = palette(options.color ?? {}, least, most, theme.isDark);
  const yUnit = getDisplayProcessor({
    field: { type: FieldType.number, config: { unit: options.yAxis?.unit ?? 'short', decimals: options.yAxis?.decimals } },
    theme,
  });
  const shown = options.legend?.show ?? true;
  const draw = (u: uPlot) => {
    buckets.forEach((bucket, number) => {
      const top = u.valToPos(number + 1, 'y', true);
      const bottom = u.valToPos(number, 'y', true);
      times.forEach((time: number, index: number) => {
        const value = bucket.values[index];
        if (value > (options.filterValues?.le ?? 1e-9)) {
          const left = Math.max(u.valToPos(time - picture.step, 'x', true), u.bbox.left);
          const right = u.valToPos(time, 'x', true);
          u.ctx.save();
          u.ctx.fillStyle = colour(value);
          u.ctx.fillRect(left + 0.5, top + 0.5, Math.max(right - left - 1, 1), bottom - top - 1);
          u.ctx.restore();
        }
      });
    });
    for (const [time, value] of points(exemplarsOf(frames))) {
      const bucket = edges.findIndex((edge) => value <= edge);
      const lower = edges[bucket - 1] ?? 0;
      const share = Number.isFinite(edges[bucket]) ? (value - lower) / (edges[bucket] - lower) : 0.5;
      drawDiamond(u, u.valToPos(time, 'x', true), u.valToPos(bucket + share, 'y', true), options.exemplars?.color);
    }
    picture.marks.forEach((mark) => drawMark(u, mark, theme));
  };
  const text = (value: number) => {
    const { prefix = '', text, suffix = '' } = yUnit(value);
    return prefix + text + suffix;
  };
  return (
    <div>
      <Canvas
        {...{ picture, width, draw }}
        height={height - (shown ? LEGEND_HEIGHT : 0)}
        top={buckets.length}
        splits={buckets.map((_, number) => number + 1)}
        labels={edges.map((edge) => (Number.isFinite(edge) ? text(edge) : '+Inf'))}
      />
      {shown && <Scale {...{ least, most, colour, width }} {...cellText(options, theme)} />}
    </div>
  );
}

function cellText(options: any, theme: any) {
  const display = getDisplayProcessor({
    field: { type: FieldType.number, config: { unit: options.cellValues?.unit, decimals: options.cellValues?.decimals } },
    theme,
  });
  return {
    text: (value: number) => {
      const { text, suffix = '' } = display(value);
      return text + suffix;
    },
  };
}

function palette(color: any, least: number, most: number, isDark: boolean) {
  const [scheme, turned] = SCHEMES[color.scheme ?? 'Oranges'];
  const flipped = Boolean(color.reverse) !== (turned === 'always' || (turned === 'dark' && isDark));
  const steps = color.steps ?? 64;
  return (value: number) => {
    const share = Math.min(1, Math.max(0, (value - least) / (most - least || 1)));
    const step = Math.floor(Math.pow(share, color.mode === 'opacity' ? (color.exponent ?? 0.5) : 1) * (steps - 1));
    const place = step / (steps - 1);
    return scheme(flipped ? 1 - place : place);
  };
}

function Scale(props: {
  least: number;
  most: number;
  width: number;
  colour: (value: number) => string;
  text: (value: number) => string;
}) {
  const { least, most, colour, text } = props;
  const stops = Array.from({ length: 20 }, (_, index) => colour(least + ((most - least) * index) / 19));
  return (
    <div style={{ width: 260, marginLeft: 8, fontSize: 11 }}>
      <div style={{ height: 10, background: `linear-gradient(to right, ${stops.join(',')})` }} />
      <div style={{ display: 'flex', justifyContent: 'space-between' }}>
        {[0, 0.5, 1].map((share) => (
          <span key={share}>{text(least + (most - least) * share)}</span>
        ))}
      </div>
    </div>
  );
}
