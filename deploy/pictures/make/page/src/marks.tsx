// Annotations and exemplars on a time graph. Grafana draws them in plugins that are not in the npm packages.
import { type DataFrame, FieldType, type GrafanaTheme2 } from '@grafana/data';
import type { UPlotConfigBuilder } from '@grafana/ui';
import { useLayoutEffect } from 'react';
import type uPlot from 'uplot';
import type { Mark } from './picture';

interface MarksProps {
  config: UPlotConfigBuilder;
  marks: Mark[];
  exemplars: DataFrame[];
  theme: GrafanaTheme2;
}

export function Marks({ config, marks, exemplars, theme }: MarksProps) {
  useLayoutEffect(() => {
    config.addHook('draw', (u) => {
      for (const mark of marks) {
        drawMark(u, mark, theme);
      }
      const scale = u.series[1]?.scale ?? 'y';
      for (const [time, value] of points(exemplars)) {
        drawDiamond(u, u.valToPos(time, 'x', true), u.valToPos(value, scale, true));
      }
    });
  }, [config]);
  return null;
}

export function points(exemplars: DataFrame[]): Array<[number, number]> {
  return exemplars.flatMap((frame) => {
    const times = frame.fields.find((field) => field.type === FieldType.time)!.values;
    const values = frame.fields.find((field) => field.type === FieldType.number)!.values;
    return times.map((time: number, index: number): [number, number] => [time, values[index]]);
  });
}

export function drawDiamond(u: uPlot, x: number, y: number, color = 'rgba(138, 184, 255, 0.9)') {
  const size = 4 * devicePixelRatio;
  u.ctx.save();
  u.ctx.fillStyle = color;
  u.ctx.beginPath();
  u.ctx.moveTo(x, y - size);
  u.ctx.lineTo(x + size, y);
  u.ctx.lineTo(x, y + size);
  u.ctx.lineTo(x - size, y);
  u.ctx.fill();
  u.ctx.restore();
}

export function drawMark(u: uPlot, mark: Mark, theme: GrafanaTheme2) {
  const { ctx, bbox } = u;
  const color = theme.visualization.getColorByName(mark.color);
  const left = u.valToPos(mark.from, 'x', true);
  const right = u.valToPos(mark.to, 'x', true);
  if (right < bbox.left || left > bbox.left + bbox.width) {
    return;
  }
  ctx.save();
  ctx.strokeStyle = color;
  ctx.fillStyle = color;
  ctx.lineWidth = 1;
  ctx.setLineDash([3, 3]);
  for (const x of right > left ? [left, right] : [left]) {
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.globalAlpha = 0.1;
  ctx.fillRect(left, bbox.top, right - left, bbox.height);
  ctx.globalAlpha = 1;
  const bottom = bbox.top + bbox.height;
  if (right > left) {
    ctx.fillRect(left, bottom, right - left, 5);
  } else {
    ctx.beginPath();
    ctx.moveTo(left, bottom);
    ctx.lineTo(left + 5, bottom + 6);
    ctx.lineTo(left - 5, bottom + 6);
    ctx.fill();
  }
  ctx.restore();
}
