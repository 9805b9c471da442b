// The panels whose components are Grafana's own.
import {
  cacheFieldDisplayNames,
  dateTime,
  type DataFrame,
  type FieldDisplay,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  type GrafanaTheme2,
  renderTextPanelMarkdown,
  type TimeRange,
  VizOrientation,
} from '@grafana/data';
import { BarGauge, BigValue, TimeSeries, useTheme2, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { applyNullInsertThreshold } from 'grafana-null-insert';
import { BarChart } from './bars';
import { interpolated } from './fields';
import { Heatmap } from './heatmap';
import { Marks } from './marks';
import type { PanelJson, Picture } from './picture';
import { StateTimeline } from './states';

export interface BodyProps {
  panel: PanelJson;
  frames: DataFrame[];
  picture: Picture;
  width: number;
  height: number;
}

const BODIES: Record<string, (props: BodyProps) => React.ReactNode> = {
  stat: Stat,
  bargauge: Bars,
  timeseries: Series,
  table: Rows,
  text: Text,
  'state-timeline': StateTimeline,
  heatmap: Heatmap,
  barchart: BarChart,
  logs: Logs,
};

export function Body(props: BodyProps) {
  const Known = BODIES[props.panel.type];
  if (!Known) {
    return <div>No renderer for {props.panel.type}</div>;
  }
  const empty = props.frames.every((frame) => frame.length === 0);
  if (empty && !['text', 'stat'].includes(props.panel.type)) {
    return <NoData {...props} />;
  }
  return <Known {...props} />;
}

export function timeRange(picture: Picture): TimeRange {
  const from = dateTime(picture.range.from);
  const to = dateTime(picture.range.to);
  return { from, to, raw: { from, to } };
}

export function withoutExemplars(frames: DataFrame[]): DataFrame[] {
  return frames.filter((frame) => frame.meta?.custom?.kind !== 'exemplars');
}

export function exemplarsOf(frames: DataFrame[]): DataFrame[] {
  return frames.filter((frame) => frame.meta?.custom?.kind === 'exemplars');
}

function NoData({ panel, width, height }: BodyProps) {
  const style = { width, height, display: 'flex', alignItems: 'center', justifyContent: 'center', opacity: 0.7 };
  return <div style={style}>{panel.fieldConfig?.defaults.noValue ?? 'No data'}</div>;
}

function displayed({ panel, frames, picture }: BodyProps, theme: GrafanaTheme2): FieldDisplay[] {
  return getFieldDisplayValues({
    data: frames,
    reduceOptions: { calcs: ['lastNotNull'], ...panel.options?.reduceOptions },
    fieldConfig: panel.fieldConfig as any,
    replaceVariables: (text, scoped) => interpolated(text, picture, scoped),
    theme,
    sparkline: panel.options?.graphMode !== 'none',
    timeZone: 'utc',
  });
}

function Stat(props: BodyProps) {
  const theme = useTheme2();
  const { panel, frames, width, height, picture } = props;
  const options = panel.options ?? {};
  return (
    <VizRepeater
      getValues={() => displayed(props, theme)}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, alignmentFactors, width, height, count }: any) => {
        if (value.sparkline) {
          value.sparkline.timeRange = timeRange(picture);
        }
        return (
          <BigValue
            value={value.display}
            count={count}
            sparkline={value.sparkline}
            colorMode={options.colorMode ?? 'value'}
            graphMode={options.graphMode ?? 'area'}
            justifyMode={options.justifyMode ?? 'auto'}
            textMode={options.textMode ?? 'auto'}
            alignmentFactors={alignmentFactors}
            text={options.text}
            width={width}
            height={height}
            theme={theme}
            disableWideLayout={!(options.wideLayout ?? true)}
          />
        );
      }}
      width={width}
      height={height}
      source={frames}
      itemSpacing={3}
      renderCounter={0}
      autoGrid
      orientation={options.orientation ?? VizOrientation.Auto}
    />
  );
}

function Bars(props: BodyProps) {
  const theme = useTheme2();
  const { panel, frames, width, height } = props;
  const options = panel.options ?? {};
  const orientation =
    (options.orientation ?? 'auto') !== 'auto'
      ? options.orientation
      : width > height
        ? VizOrientation.Vertical
        : VizOrientation.Horizontal;
  return (
    <VizRepeater
      getValues={() => displayed(props, theme)}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, alignmentFactors, width, height, orientation }: any) => (
        <BarGauge
          value={value.display}
          width={width}
          height={height}
          orientation={orientation}
          field={value.field}
          text={options.text}
          display={value.view?.getFieldDisplayProcessor(value.colIndex)}
          theme={theme}
          itemSpacing={8}
          lcdCellWidth={12}
          displayMode={options.displayMode ?? 'gradient'}
          showUnfilled={options.showUnfilled ?? true}
          valueDisplayMode={options.valueMode ?? 'color'}
          namePlacement={options.namePlacement ?? 'auto'}
          alignmentFactors={alignmentFactors}
        />
      )}
      source={frames}
      width={width}
      height={height}
      renderCounter={0}
      minVizWidth={options.minVizWidth ?? 8}
      minVizHeight={options.minVizHeight ?? 16}
      maxVizHeight={options.maxVizHeight ?? 300}
      itemSpacing={8}
      orientation={orientation}
    />
  );
}

function Series({ panel, frames, picture, width, height }: BodyProps) {
  const theme = useTheme2();
  const range = timeRange(picture);
  // Where a series has no sample, as of a daemon that was away, its line stops.
  const stopping = withoutExemplars(frames).map((frame) =>
    applyNullInsertThreshold({ frame, refFieldPseudoMin: picture.range.from, refFieldPseudoMax: picture.range.to })
  );
  const legend = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [], ...panel.options?.legend };
  return (
    <TimeSeries
      frames={stopping}
      structureRev={1}
      timeRange={range}
      timeZone="utc"
      width={width}
      height={height}
      legend={legend}
      options={panel.options}
    >
      {(config) => <Marks config={config} marks={picture.marks} exemplars={exemplarsOf(frames)} theme={theme} />}
    </TimeSeries>
  );
}

function Rows({ panel, frames, picture, width, height }: BodyProps) {
  const theme = useTheme2();
  const options = panel.options ?? {};
  // As Grafana's table panel does; without it a renamed column is called as before.
  cacheFieldDisplayNames(frames);
  return (
    <TableNG
      height={height}
      width={width}
      data={frames[options.frameIndex ?? 0]}
      noHeader={options.showHeader === false}
      showTypeIcons={options.showTypeIcons}
      resizable
      sortBy={options.sortBy}
      enablePagination={options.enablePagination}
      cellHeight={options.cellHeight}
      maxRowHeight={options.maxRowHeight}
      frozenColumns={options.frozenColumns?.left}
      timeRange={timeRange(picture)}
      fieldConfig={panel.fieldConfig as any}
      getActions={() => []}
      structureRev={1}
      transparent={panel.transparent}
      key={theme.name}
    />
  );
}

function Text({ panel, picture, width, height }: BodyProps) {
  const content = interpolated(panel.options?.content ?? '', picture);
  const html = panel.options?.mode === 'html' ? content : renderTextPanelMarkdown(content);
  return (
    <div
      className="markdown-html"
      style={{ width, height, overflow: 'hidden' }}
      dangerouslySetInnerHTML={{ __html: html }}
    />
  );
}

// Grafana's log rows are a part of its application, too.
function Logs({ panel, frames, width, height }: BodyProps) {
  const theme = useTheme2();
  const body = frames[0].fields.find((field) => field.name === 'body')!.values;
  const line = { display: 'flex', gap: 8, padding: '2px 8px', whiteSpace: 'pre-wrap' as const, overflowWrap: 'anywhere' as const };
  const font = { fontFamily: theme.typography.fontFamilyMonospace, fontSize: 12, lineHeight: '18px' };
  return (
    <div style={{ width, height, overflow: 'hidden', ...font }}>
      {body.map((text: string, index: number) => (
        <div key={index} style={line}>
          <div style={{ minWidth: 3, background: theme.colors.text.disabled }} />
          <div>{panel.options?.prettifyLogMessage ? prettified(text) : text}</div>
        </div>
      ))}
    </div>
  );
}

function prettified(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
