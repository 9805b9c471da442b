// The bar chart, with lying bars. Grafana's own is a part of its application, not of its npm packages.
import { type Field, FieldType, formattedValueToString, getFieldDisplayName, getFieldSeriesColor } from '@grafana/data';
import { useTheme2, VizLayout, VizLegend } from '@grafana/ui';
import type uPlot from 'uplot';
import { Canvas } from './canvas';
import type { BodyProps } from './panels';

export function BarChart({ panel, frames, picture, width, height }: BodyProps) {
  const theme = useTheme2();
  const frame = frames[0];
  const names = frame.fields.find((field) => field.type === FieldType.string)!.values;
  const numbers = frame.fields.filter((field) => field.type === FieldType.number);
  const ends = names.map((_: string, row: number) => numbers.reduce((sum, field) => sum + (field.values[row] ?? 0), 0));
  const draw = (u: uPlot) => {
    const thickness = (u.bbox.height / names.length) * (panel.options?.barWidth ?? 0.97);
    names.forEach((_: string, row: number) => {
      const middle = u.valToPos(names.length - row - 0.5, 'y', true);
      let from = 0;
      for (const field of numbers) {
        const to = from + (field.values[row] ?? 0);
        drawBar(u, field, getFieldSeriesColor(field, theme).color, [from, to], middle, thickness);
        from = to;
      }
    });
  };
  const items = numbers
    .filter((field) => !field.config.custom?.hideFrom?.legend)
    .map((field) => ({ label: getFieldDisplayName(field, frame), color: getFieldSeriesColor(field, theme).color, yAxis: 1 }));
  const legend = panel.options?.legend ?? {};
  const drawnLegend = legend.showLegend ? (
    <VizLayout.Legend placement={legend.placement}>
      <VizLegend items={items} placement={legend.placement} displayMode={legend.displayMode} />
    </VizLayout.Legend>
  ) : null;
  return (
    <VizLayout width={width} height={height} legend={drawnLegend}>
      {(width, height) => (
        <Canvas
          {...{ picture, width, height, draw }}
          top={names.length}
          splits={names.map((_: string, row: number) => row + 0.5)}
          labels={[...names].reverse()}
          across={{ to: Math.max(...ends) * 1.02, text: (value) => formattedValueToString(numbers[0].display!(value)) }}
        />
      )}
    </VizLayout>
  );
}

function drawBar(u: uPlot, field: Field, color: string, ends: [number, number], middle: number, thickness: number) {
  const [left, right] = ends.map((end) => u.valToPos(end, 'x', true));
  const { fillOpacity = 80, lineWidth = 1 } = field.config.custom ?? {};
  if (right <= left || color === 'transparent') {
    return;
  }
  u.ctx.save();
  u.ctx.fillStyle = color;
  u.ctx.strokeStyle = color;
  u.ctx.lineWidth = lineWidth;
  u.ctx.globalAlpha = fillOpacity / 100;
  u.ctx.fillRect(left, middle - thickness / 2, right - left, thickness);
  u.ctx.globalAlpha = 1;
  u.ctx.strokeRect(left, middle - thickness / 2, right - left, thickness);
  u.ctx.restore();
}
