// The state timeline. Grafana's own is a part of its application, not of its npm packages.
import { type Field, FieldType, getFieldDisplayName } from '@grafana/data';
import { VisibilityMode } from '@grafana/schema';
import { useTheme2 } from '@grafana/ui';
import type uPlot from 'uplot';
import { Canvas } from './canvas';
import { drawMark } from './marks';
import type { BodyProps } from './panels';

interface Row {
  name: string;
  field: Field;
  times: number[];
}

export function StateTimeline({ panel, frames, picture, width, height }: BodyProps) {
  const theme = useTheme2();
  const rows = frames.flatMap((frame): Row[] => {
    const times = frame.fields.find((field) => field.type === FieldType.time)!.values;
    return frame.fields
      .filter((field) => field.type !== FieldType.time)
      .map((field) => ({ name: getFieldDisplayName(field, frame, frames), field, times }));
  });
  const draw = (u: uPlot) => {
    const thickness = (u.bbox.height / rows.length) * (panel.options?.rowHeight ?? 0.9);
    rows.forEach((row, number) => {
      const middle = u.valToPos(rows.length - number - 0.5, 'y', true);
      for (const state of states(row, picture.step, picture.range.to)) {
        drawState(u, state, middle, thickness, panel.options?.showValue ?? 'auto', theme.typography.fontFamily);
      }
    });
    picture.marks.forEach((mark) => drawMark(u, mark, theme));
  };
  return (
    <Canvas
      {...{ picture, width, height, draw }}
      top={rows.length}
      splits={rows.map((_, number) => number + 0.5)}
      labels={rows.map((row) => row.name).reverse()}
    />
  );
}

interface State {
  from: number;
  to: number;
  text: string;
  color: string;
}

function states({ field, times }: Row, step: number, end: number): State[] {
  const found: State[] = [];
  times.forEach((time, index) => {
    const value = field.values[index];
    if (value === null || value === undefined) {
      return;
    }
    const next = times[index + 1] ?? Math.min(end, time + step);
    const regular = field.config.interval !== undefined;
    const to = regular && next - time > 2 * step ? time + step : next;
    const { text, suffix = '', prefix = '', color = '#888' } = field.display!(value);
    const last = found.at(-1);
    if (last && last.to >= time && last.text === prefix + text + suffix) {
      last.to = to;
    } else {
      found.push({ from: time, to, text: prefix + text + suffix, color });
    }
  });
  return found;
}

function drawState(u: uPlot, state: State, middle: number, thickness: number, show: string, font: string) {
  const { ctx, bbox } = u;
  const left = Math.max(u.valToPos(state.from, 'x', true), bbox.left);
  const right = Math.min(u.valToPos(state.to, 'x', true), bbox.left + bbox.width);
  if (right <= left) {
    return;
  }
  ctx.save();
  ctx.globalAlpha = 0.7;
  ctx.fillStyle = state.color;
  ctx.fillRect(left, middle - thickness / 2, Math.max(right - left, 1), thickness);
  ctx.globalAlpha = 1;
  ctx.font = `${12 * devicePixelRatio}px ${font}`;
  if (show === VisibilityMode.Always || (show === 'auto' && ctx.measureText(state.text).width < right - left - 8)) {
    ctx.fillStyle = '#fff';
    ctx.textBaseline = 'middle';
    ctx.fillText(state.text, left + 5, middle);
  }
  ctx.restore();
}
