// Data frames with the panel's field configuration, applied by Grafana's own code.
import {
  applyFieldOverrides,
  type DataFrame,
  FieldColorModeId,
  FieldConfigOptionsRegistry,
  type GrafanaTheme2,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';
import type { Answer, PanelJson, Picture } from './picture';

const STANDARD = [
  'unit', 'min', 'max', 'fieldMinMax', 'decimals', 'displayName', 'noValue', 'thresholds', 'mappings', 'links',
  'actions', 'color', 'filterable', 'description', 'path', 'writeable',
];

// What the panel plugins of Grafana set where the JSON is silent; they are not in the npm packages.
const DEFAULTS: Record<string, { color: string; custom: Record<string, unknown> }> = {
  timeseries: {
    color: FieldColorModeId.PaletteClassic,
    custom: {
      drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none',
      showPoints: 'auto', pointSize: 5, spanNulls: false, axisPlacement: 'auto', axisBorderShow: false, barAlignment: 0,
      barWidthFactor: 0.6, scaleDistribution: { type: 'linear' }, axisCenteredZero: false, axisColorMode: 'text',
      hideFrom: { tooltip: false, viz: false, legend: false }, stacking: { mode: 'none', group: 'A' },
      thresholdsStyle: { mode: 'off' }, insertNulls: false,
    },
  },
  'state-timeline': { color: FieldColorModeId.ContinuousGrYlRd, custom: { lineWidth: 0, fillOpacity: 70 } },
  barchart: { color: FieldColorModeId.PaletteClassic, custom: { lineWidth: 1, fillOpacity: 80 } },
  table: {
    color: FieldColorModeId.Thresholds,
    custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false, footer: { reducers: [] } },
  },
};

export function setUpTransformers() {
  // Some are listed twice, under an older name too.
  const known = new Map(Object.values(standardTransformers).map((info: any) => [info.id, info]));
  standardTransformersRegistry.setInit(() =>
    [...known.values()].map(
      (info) => ({ id: info.id, name: info.name, transformation: () => Promise.resolve(info) }) as any
    )
  );
}

export async function appliedFrames(
  panel: PanelJson,
  answers: Answer[],
  picture: Picture,
  theme: GrafanaTheme2
): Promise<DataFrame[]> {
  let frames = answers.map((answer) => {
    const frame = toDataFrame({ refId: answer.refId, name: answer.name, fields: answer.fields });
    frame.meta = { custom: { kind: answer.kind } };
    return frame;
  });
  const steps = (panel.transformations ?? []).filter((step) => !step.disabled);
  if (steps.length > 0) {
    frames = await lastValueFrom(transformDataFrame(steps, frames, { interpolate: (text: string) => text }));
  }
  const fallback = DEFAULTS[panel.type] ?? { color: FieldColorModeId.Thresholds, custom: {} };
  const source = panel.fieldConfig ?? { defaults: {}, overrides: [] };
  const defaults = {
    color: { mode: fallback.color },
    thresholds: { mode: 'absolute', steps: [{ color: 'green', value: -Infinity }, { color: 'red', value: 80 }] },
    ...source.defaults,
    custom: { ...fallback.custom, ...source.defaults.custom },
  };
  return applyFieldOverrides({
    data: frames,
    fieldConfig: { defaults, overrides: source.overrides } as any,
    fieldConfigRegistry: registry(defaults, source.overrides),
    replaceVariables: (text, scoped) => interpolated(text, picture, scoped),
    theme,
    timeZone: 'utc',
  });
}

export function interpolated(text: string, picture: Picture, scoped: any = {}): string {
  return text.replace(/\$\{(\w+)((?:\.\w+)*)(?::\w+)?\}|\$(\w+)/g, (whole, braced, path, plain) => {
    const name = braced ?? plain;
    if (scoped?.[name] && path) {
      return path.slice(1).split('.').reduce((found: any, part: string) => found?.[part], scoped[name].value) ?? '';
    }
    const variable = picture.variables.find((one) => one.name === name);
    return scoped?.[name]?.text ?? scoped?.[name]?.value ?? variable?.value ?? whole;
  });
}

function registry(defaults: any, overrides: any[]): FieldConfigOptionsRegistry {
  const custom = new Set(Object.keys(defaults.custom));
  for (const property of overrides.flatMap((rule) => rule.properties)) {
    if (property.id.startsWith('custom.')) {
      custom.add(property.id.slice('custom.'.length));
    }
  }
  const item = (id: string, path: string, isCustom: boolean) =>
    ({ id, path, name: id, isCustom, process: (value: unknown) => value, shouldApply: () => true }) as any;
  return new FieldConfigOptionsRegistry(() => [
    ...STANDARD.map((id) => item(id, id, false)),
    ...[...custom].map((path) => item(`custom.${path}`, path, true)),
  ]);
}
