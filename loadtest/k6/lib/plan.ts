// k6's options: a fixed arrival rate, and the thresholds that fail a run.

import type { Options, Scenario } from 'k6/options';

import type { Kind } from './latency.ts';
import { RATE, SECONDS, SMOKE } from './setting.ts';
import { NEVER } from './verdict.ts';

/**
 * Calls a function of the scenario at this share of its rate, whether earlier calls have ended or not: up to so many
 * seconds' worth of calls are under way at once.
 */
export function arrivals(exec: string, share = 1, underWay = 1): Scenario {
    // As many a ten seconds, since k6 takes whole numbers.
    const rate = Math.max(1, Math.round(RATE * share * 10));
    return {
        executor: 'constant-arrival-rate',
        exec,
        rate,
        timeUnit: '10s',
        duration: `${SECONDS}s`,
        preAllocatedVUs: Math.max(8, Math.ceil((rate / 10) * underWay)),
    };
}

/** What a scenario says about itself. */
interface Plan {
    scenarios: Record<string, Scenario>;
    /** The kinds of request that are compared: each must have been. */
    kinds: Kind[];
    /** Counters that must have counted. */
    some: string[];
    /** Thresholds of its own. */
    more?: Record<string, string[]>;
    /** Those that are about time. */
    timings?: Record<string, string[]>;
}

export function plan({ scenarios, kinds, some, more, timings }: Plan): Options {
    const thresholds: Record<string, string[]> = {};
    for (const counter of NEVER) {
        thresholds[counter] = ['count==0'];
    }
    // A run in which nothing happened is not a good one.
    for (const counter of some) {
        thresholds[counter] = ['count>0'];
    }
    for (const kind of kinds) {
        thresholds[`gateway_${kind}`] = ['max>0'];
    }
    Object.assign(thresholds, more);
    if (!SMOKE) {
        thresholds['dropped_iterations'] = ['count==0'];
        Object.assign(thresholds, timings);
    }
    return {
        scenarios,
        thresholds,
        summaryTrendStats: ['p(50)', 'p(99)', 'avg', 'min', 'max'],
        setupTimeout: '60s',
    };
}
