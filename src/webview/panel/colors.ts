import { END_NAMES, type End } from '../../vscode/panel/messages.ts';

/**
 * Colours of the picture that is drawn on a canvas, from the theme. Ends also differ by pattern and servers by lightness and order, so that
 * nobody has to tell colours apart; with forced colours everything is drawn in those of the system.
 */
export interface Palette {
  readonly text: string;
  readonly grid: string;
  readonly ends: Readonly<Record<End, string | CanvasPattern>>;
  readonly servers: readonly (string | CanvasPattern)[];
}

/** Theme variable, and what is taken without it: colours of Okabe and Ito, which colour-blind people can tell apart. */
const END_COLORS: Readonly<Record<End, readonly [variable: string, fallback: string]>> = {
  ok: ['--vscode-charts-blue', '#56b4e9'],
  failed: ['--vscode-charts-yellow', '#f0e442'],
  stopped: ['--vscode-charts-purple', '#cc79a7'],
  denied: ['--vscode-charts-red', '#d55e00'],
};
const SERVER_COLORS = [
  ['--vscode-charts-blue', '#56b4e9'],
  ['--vscode-charts-orange', '#e69f00'],
  ['--vscode-charts-green', '#009e73'],
  ['--vscode-charts-purple', '#cc79a7'],
  ['--vscode-charts-yellow', '#f0e442'],
  ['--vscode-charts-red', '#d55e00'],
] as const;

/** Reads the palette as the theme has it now. */
export function readPalette(): Palette {
  const style = getComputedStyle(document.body);
  const read = (variable: string, fallback: string) => style.getPropertyValue(variable).trim() || fallback;
  const forced = matchMedia('(forced-colors: active)').matches;
  const ground = forced ? 'Canvas' : read('--vscode-sideBar-background', 'Canvas');
  const color = ([variable, fallback]: readonly [string, string]) => (forced ? 'CanvasText' : read(variable, fallback));
  return {
    text: forced ? 'CanvasText' : read('--vscode-foreground', 'CanvasText'),
    grid: forced ? 'GrayText' : read('--vscode-editorIndentGuide-background1', read('--vscode-panel-border', '#8884')),
    ends: Object.fromEntries(END_NAMES.map((end) => [end, pattern(end, color(END_COLORS[end]), ground)])) as unknown as Palette['ends'],
    servers: Array.from({ length: 9 }, (_, at) =>
      pattern(
        PATTERNS[Math.floor(at / SERVER_COLORS.length) + (forced ? at : 0)] ?? 'ok',
        color(SERVER_COLORS[at % SERVER_COLORS.length] ?? SERVER_COLORS[0]),
        ground,
      ),
    ),
  };
}

const PATTERNS: readonly End[] = ['ok', 'denied', 'stopped', 'failed'];

/** `ok` is plain, `denied` has slanted lines, `stopped` level ones, `failed` dots. */
function pattern(kind: End, color: string, ground: string): string | CanvasPattern {
  if (kind === 'ok') return color;
  const size = 6 * Math.max(1, Math.round(devicePixelRatio));
  const tile = document.createElement('canvas');
  tile.width = tile.height = size;
  const pen = tile.getContext('2d');
  if (!pen) return color;
  pen.fillStyle = color;
  pen.fillRect(0, 0, size, size);
  pen.strokeStyle = pen.fillStyle = ground;
  pen.lineWidth = size / 4;
  pen.beginPath();
  if (kind === 'denied') {
    for (const shift of [-size, 0, size]) {
      pen.moveTo(shift, size);
      pen.lineTo(shift + size, 0);
    }
    pen.stroke();
  } else if (kind === 'stopped') {
    pen.moveTo(0, size / 2);
    pen.lineTo(size, size / 2);
    pen.stroke();
  } else {
    pen.arc(size / 2, size / 2, size / 5, 0, 2 * Math.PI);
    pen.fill();
  }
  return pen.createPattern(tile, 'repeat') ?? color;
}
