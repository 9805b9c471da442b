// A plot of Grafana's with a time axis or a number line below and names at the left, on which panels draw themselves.
import { AxisPlacement, ScaleDirection, ScaleOrientation, VisibilityMode } from '@grafana/schema';
import { measureText, UPlotChart, UPlotConfigBuilder, useTheme2 } from '@grafana/ui';
import { useMemo } from 'react';
import type uPlot from 'uplot';
import type { BodyProps } from './panels';

interface CanvasProps extends Pick<BodyProps, 'picture' | 'width' | 'height'> {
  top: number;
  splits: number[];
  labels: string[];
  draw: (u: uPlot) => void;
  /** A number line from 0 in place of the time. */
  across?: { to: number; text: (value: number) => string };
}

export function Canvas({ picture, width, height, top, splits, labels, draw, across }: CanvasProps) {
  const theme = useTheme2();
  const { from, to } = across ? { from: 0, to: across.to } : picture.range;
  const config = useMemo(() => {
    const builder = new UPlotConfigBuilder('utc');
    const right = { orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right };
    const up = { orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up };
    builder.addScale({ scaleKey: 'x', isTime: !across, ...right, range: () => [from, to] });
    builder.addScale({ scaleKey: 'y', ...up, range: () => [0, top] });
    const bare = { theme, grid: { show: false } };
    const labelled = across ? { formatValue: across.text } : { isTime: true, timeZone: 'utc' };
    builder.addAxis({ scaleKey: 'x', placement: AxisPlacement.Bottom, ...labelled, ...bare, grid: { show: !!across } });
    builder.addAxis({
      scaleKey: 'y',
      placement: AxisPlacement.Left,
      splits: () => splits,
      values: () => thinned(labels, height),
      size: 20 + Math.max(...labels.map((label) => measureText(label, 12).width)),
      ticks: { show: false },
      ...bare,
    });
    const invisible = { lineWidth: 0, showPoints: VisibilityMode.Never, pathBuilder: () => null };
    builder.addSeries({ scaleKey: 'y', theme, pxAlign: false, ...invisible } as any);
    builder.addHook('draw', draw);
    return builder;
  }, []);
  return <UPlotChart config={config} data={[[from, to], [0, 0]]} width={width} height={height} />;
}

function thinned(labels: string[], height: number): string[] {
  const every = Math.ceil(labels.length / Math.max(1, (height - 40) / 16));
  return labels.map((label, index) => ((labels.length - 1 - index) % every === 0 ? label : ''));
}
