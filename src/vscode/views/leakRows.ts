import type { FindingLog, StoredFinding } from '../../inspection/findingLog.ts';
import { SEVERITIES } from './leakTexts.ts';

/** Findings with a heading: of one severity, of one server in it, or those that were dismissed. */
export interface LeakGroup {
  readonly kind: 'group';
  readonly id: string;
  readonly icon: string;
  /** Absent: the colour of the text. */
  readonly severity?: StoredFinding['severity'];
  readonly open: boolean;
  label: string;
  count: number;
  children: readonly LeakRow[];
}

/** One finding, as it was read last. */
export interface FindingRow {
  readonly kind: 'finding';
  finding: StoredFinding;
}

export type LeakRow = LeakGroup | FindingRow;

/** Where the rows come from. */
export interface LeakSource {
  readonly findings: Pick<FindingLog, 'list'>;
  /** What a server is called, by its id. */
  labelOf(server: string): string;
}

const ICONS: Readonly<Record<StoredFinding['severity'], string>> = { high: 'error', medium: 'warning', low: 'info' };

/** The rows of **Leak Warnings** without an editor: by severity and server, newest first. A row stays the same object as long as it is listed. */
export class LeakRows {
  readonly #source: LeakSource;
  #groups = new Map<string, LeakGroup>();
  #findings = new Map<string, FindingRow>();
  #top: readonly LeakGroup[] = [];

  constructor(source: LeakSource) {
    this.#source = source;
  }

  /** Reads the findings anew. */
  read(): void {
    const [groups, findings] = [this.#groups, this.#findings];
    this.#groups = new Map();
    this.#findings = new Map();
    const group = (of: LeakGroup): LeakGroup => {
      const { label, count, children } = of;
      const row = Object.assign(groups.get(of.id) ?? of, { label, count, children });
      this.#groups.set(row.id, row);
      return row;
    };
    const rowOf = (finding: StoredFinding): FindingRow => {
      const row: FindingRow = findings.get(finding.id) ?? { kind: 'finding', finding };
      row.finding = finding;
      this.#findings.set(finding.id, row);
      return row;
    };
    const open = this.#source.findings.list({ dismissed: false });
    const top = SEVERITIES.flatMap(({ severity, label }) => {
      const found = open.filter((f) => f.severity === severity);
      if (found.length === 0) return [];
      const children = [...Map.groupBy(found, ({ server }) => server)].map(([server, list]) =>
        group({
          kind: 'group',
          id: `${severity}/${server}`,
          label: this.#source.labelOf(server),
          icon: server === '' ? 'vm' : 'server',
          open: true,
          count: list.length,
          children: list.map(rowOf),
        }),
      );
      const isOpen = severity !== 'low';
      return group({ kind: 'group', id: severity, label, icon: ICONS[severity], severity, open: isOpen, count: found.length, children });
    });
    const dismissed = this.#source.findings.list({ dismissed: true });
    const { length: count } = dismissed;
    const children = dismissed.map(rowOf);
    if (count > 0)
      top.push(group({ kind: 'group', id: 'dismissed', label: 'Dismissed', icon: 'circle-slash', open: false, count, children }));
    this.#top = top;
  }

  /** The rows below a row, or on top. */
  below(row?: LeakRow): readonly LeakRow[] {
    if (!row) return this.#top;
    return row.kind === 'group' ? row.children : [];
  }
}

/** Id of a row among all. */
export function idOfLeakRow(row: LeakRow): string {
  return row.kind === 'group' ? `group/${row.id}` : row.finding.id;
}
