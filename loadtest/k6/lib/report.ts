// The end of a run: the summary as JSON, and in words.

import { judge } from './latency.ts';
import { OUTPUT } from './setting.ts';

interface Metric {
    type: string;
    values: Record<string, number>;
    thresholds?: Record<string, { ok: boolean }>;
}

interface Summary {
    state: { testRunDurationMs: number };
    metrics: Record<string, Metric>;
}

const figure = (value: number | undefined): string => (value ?? 0).toFixed(2).padStart(9);

export function handleSummary(data: Summary): Record<string, string> {
    const { metrics } = data;
    const lines = [''];
    const added = judge(metrics);
    const kinds = Object.entries(added);
    if (kinds.length > 0) {
        lines.push('milliseconds   added p50     p99   gateway p50     p99    direct p50     p99');
        for (const [kind, { p50, p99 }] of kinds) {
            const sides = ['gateway', 'direct'].map((side) => {
                const values = metrics[`${side}_${kind}`]?.values;
                return `${figure(values?.['p(50)'])}${figure(values?.['p(99)'])}`;
            });
            lines.push(`${kind.padEnd(14)}${figure(p50)}${figure(p99)}    ${sides.join('    ')}`);
        }
    }
    const counters = Object.entries(metrics).filter(([, metric]) => metric.type === 'counter');
    for (const [name, metric] of counters.sort(([one], [other]) => one.localeCompare(other))) {
        const { count = 0, rate = 0 } = metric.values;
        lines.push(`${name.padEnd(28)} ${String(count).padStart(12)} ${rate.toFixed(1).padStart(12)}/s`);
    }
    for (const [name, metric] of Object.entries(metrics)) {
        for (const [threshold, { ok }] of Object.entries(metric.thresholds ?? {})) {
            if (!ok) {
                lines.push(`FAILED: ${name} ${threshold}`);
            }
        }
    }
    for (const [kind, { ok }] of kinds) {
        if (!ok) {
            lines.push(`FAILED: more is added to ${kind} than may be`);
        }
    }
    return { [`${OUTPUT}/summary.json`]: JSON.stringify({ ...data, added }, null, 2), stdout: `${lines.join('\n')}\n` };
}
