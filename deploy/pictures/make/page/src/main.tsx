// One dashboard, laid out on Grafana's grid.
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import '@fontsource/inter/600.css';
import '@fontsource/roboto-mono/400.css';
import { createTheme, type DataFrame, type GrafanaTheme2, ThemeContext } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { ErrorBoundary, GlobalStyles, PanelChrome } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { appliedFrames, interpolated, setUpTransformers } from './fields';
import { Body } from './panels';
import type { PanelJson, Picture } from './picture';

const COLUMNS = 24;
const ROW = 30;
const GAP = 8;
const PADDING = 16;
const HEADER = 96;

interface Filled {
  panel: PanelJson;
  frames: DataFrame[];
  error?: string;
}

async function start() {
  const picture: Picture = await (await fetch('picture.json')).json();
  await initPluginTranslations('runstep');
  setUpTransformers();
  // Grafana measures its texts as it lays them out, so the fonts must be there first.
  const faces = ['400 14px Inter', '500 14px Inter', '600 14px Inter', '400 14px "Roboto Mono"'];
  await Promise.all(faces.map((face) => document.fonts.load(face)));
  const theme = createTheme({ colors: { mode: picture.theme } });
  const filled = await Promise.all(
    picture.panels.map(async ({ panel, answers, error }) => ({
      panel,
      error,
      frames: await appliedFrames(panel, answers, picture, theme),
    }))
  );
  document.body.style.width = `${picture.width}px`;
  createRoot(document.getElementById('board')!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Board picture={picture} filled={filled} theme={theme} />
    </ThemeContext.Provider>
  );
}

function Board({ picture, filled, theme }: { picture: Picture; filled: Filled[]; theme: GrafanaTheme2 }) {
  const inner = picture.width - 2 * PADDING;
  const column = (inner + GAP) / COLUMNS;
  return (
    <div
      style={{ position: 'relative', width: picture.width, height: picture.height, background: theme.colors.background.canvas }}
    >
      <Header picture={picture} theme={theme} />
      {filled.map(({ panel, frames, error }) => {
        const { x, y, w, h } = panel.gridPos;
        const place = {
          position: 'absolute' as const,
          left: PADDING + x * column,
          top: HEADER + y * (ROW + GAP),
          width: w * column - GAP,
          height: h * (ROW + GAP) - GAP,
        };
        return (
          <div key={panel.id} style={place}>
            {panel.type === 'row' ? (
              <Heading title={interpolated(panel.title, picture)} theme={theme} />
            ) : (
              <Panel {...{ panel, frames, error, picture }} width={place.width} height={place.height} />
            )}
          </div>
        );
      })}
    </div>
  );
}

function Panel(props: Filled & { picture: Picture; width: number; height: number }) {
  const { panel, picture, width, height } = props;
  const bare = panel.type === 'table';
  return (
    <PanelChrome
      title={interpolated(panel.title ?? '', picture)}
      description={panel.description}
      width={width}
      height={height}
      padding={bare ? 'none' : 'md'}
      displayMode={panel.transparent ? 'transparent' : 'default'}
      hoverHeader={!panel.title}
      statusMessage={props.error}
    >
      {(innerWidth, innerHeight) => (
        <ErrorBoundary>
          {({ error }) => (error ? <pre>{error.stack}</pre> : <Body {...props} width={innerWidth} height={innerHeight} />)}
        </ErrorBoundary>
      )}
    </PanelChrome>
  );
}

function Heading({ title, theme }: { title: string; theme: GrafanaTheme2 }) {
  return <div style={{ ...theme.typography.h5, padding: '4px 0' }}>⌄ {title}</div>;
}

function Header({ picture, theme }: { picture: Picture; theme: GrafanaTheme2 }) {
  const box = { border: `1px solid ${theme.colors.border.medium}`, borderRadius: 4, height: 30, display: 'flex' };
  const part = { padding: '4px 8px', fontSize: 12, whiteSpace: 'nowrap' as const };
  return (
    <div style={{ padding: `12px ${PADDING}px` }}>
      <div style={{ display: 'flex', justifyContent: 'space-between', marginBottom: 8 }}>
        <div style={{ ...theme.typography.h4, margin: 0 }}>{picture.title}</div>
        <div style={{ ...part, color: theme.colors.text.secondary }}>{picture.range.label}</div>
      </div>
      <div style={{ display: 'flex', gap: 8 }}>
        {picture.variables.map((variable) => (
          <div key={variable.name} style={box}>
            <div style={{ ...part, background: theme.colors.background.secondary }}>{variable.label}</div>
            <div style={{ ...part, background: theme.components.input.background }}>{variable.value || ' '}</div>
          </div>
        ))}
      </div>
    </div>
  );
}

start().catch((error) => {
  document.body.textContent = `The page failed: ${error.stack}`;
});
