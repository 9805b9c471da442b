// What the driver hands over: one dashboard with the answers to its queries. Written by deploy/pictures/make/board.py.

export interface Answer {
  refId: string;
  name?: string;
  kind: 'series' | 'table' | 'heatmap' | 'exemplars';
  fields: Array<{
    name: string;
    type: 'time' | 'number' | 'string' | 'boolean' | 'other';
    labels?: Record<string, string>;
    config?: Record<string, unknown>;
    values: unknown[];
  }>;
}

export interface PanelJson {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  fieldConfig?: { defaults: any; overrides: any[] };
  options?: any;
  transformations?: any[];
  transparent?: boolean;
}

export interface Mark {
  from: number;
  to: number;
  color: string;
  title: string;
}

export interface Picture {
  title: string;
  theme: 'dark' | 'light';
  width: number;
  height: number;
  range: { from: number; to: number; label: string };
  step: number;
  variables: Array<{ name: string; label: string; value: string }>;
  panels: Array<{ panel: PanelJson; answers: Answer[]; error?: string }>;
  marks: Mark[];
}
