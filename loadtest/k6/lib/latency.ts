// What the gateway adds: the same request by way of the gateway and to the emulator directly, one right after the other.
//
// Only such pairs are compared: on a shared machine latencies drift, and both sides of a pair drift alike. The median is
// that of what was added pair by pair. A pause of the machine strikes one side of a pair, but over a run both alike: so
// what is added for the slowest is the difference of both sides' 99th of 100.

import exec from 'k6/execution';
import { Trend } from 'k6/metrics';

import { BASE, SMOKE } from './setting.ts';
import type { Side } from './setting.ts';
import type { Answer } from './verdict.ts';

/** Milliseconds that the gateway may add to a request of each kind. */
export const MAY_ADD = {
    text: { p50: 1, p99: 10 },
    template: { p50: 1, p99: 10 },
    picture: { p50: 1, p99: 10 },
    upload: { p50: 4, p99: 40 },
    metadata: { p50: 1, p99: 10 },
    download_cold: { p50: 4, p99: 40 },
    download_hot: { p50: 2, p99: 20 },
} as const;

export type Kind = keyof typeof MAY_ADD;

export const KINDS = Object.keys(MAY_ADD) as Kind[];

const trends = (prefix: string) =>
    Object.fromEntries(KINDS.map((kind) => [kind, new Trend(`${prefix}_${kind}`, true)])) as Record<Kind, Trend>;

const added = trends('added');
const sides: Record<Side, Record<Kind, Trend>> = { gateway: trends('gateway'), direct: trends('direct') };

/** Asks both sides, in turns which one first, and records what each took. */
export function compare<T extends { answer: Answer; right: boolean }>(
    kind: Kind,
    ask: (side: Side, base: string) => T,
): Record<Side, T> {
    const gatewayFirst = exec.scenario.iterationInTest % 2 === 0;
    const first = gatewayFirst ? ask('gateway', BASE.gateway) : ask('direct', BASE.direct);
    const second = gatewayFirst ? ask('direct', BASE.direct) : ask('gateway', BASE.gateway);
    const [gateway, direct] = gatewayFirst ? [first, second] : [second, first];
    if (gateway.right && direct.right) {
        const [through, past] = [gateway.answer.timings.duration, direct.answer.timings.duration];
        sides.gateway[kind].add(through);
        sides.direct[kind].add(past);
        added[kind].add(through - past);
    }
    return { gateway, direct };
}

/** What was added to one kind of request, in milliseconds, and whether that is no more than it may be. */
export interface Added {
    p50: number;
    p99: number;
    ok: boolean;
}

/** What the run's metrics say was added, by kind. k6's own thresholds see one metric at a time, and this takes two. */
export function judge(metrics: Record<string, { values: Record<string, number> }>): Record<string, Added> {
    const value = (side: string, kind: Kind, statistic: string) => metrics[`${side}_${kind}`]?.values[statistic] ?? NaN;
    const measured = KINDS.filter((kind) => metrics[`gateway_${kind}`] !== undefined);
    return Object.fromEntries(
        measured.map((kind) => {
            const p50 = value('added', kind, 'p(50)');
            const p99 = value('gateway', kind, 'p(99)') - value('direct', kind, 'p(99)');
            return [kind, { p50, p99, ok: SMOKE || (p50 < MAY_ADD[kind].p50 && p99 < MAY_ADD[kind].p99) }];
        }),
    );
}
