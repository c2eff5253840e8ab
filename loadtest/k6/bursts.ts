// Three times what a number and what a recipient may get, against an emulator that holds Meta's limits.
//
// Whoever comes too fast waits or is told by the gateway when to come back; of Meta's own limits nobody hears.

import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';

import { isSent, nextRecipient, recipient, send, text } from './lib/messages.ts';
import { arrivals, plan } from './lib/plan.ts';
import { BASE, KEY, NUMBER, SECONDS } from './lib/setting.ts';
import { answeredWith, fault, member, reason, taken } from './lib/verdict.ts';
import type { Answer } from './lib/verdict.ts';

export { setup } from './lib/prepare.ts';
export { handleSummary } from './lib/report.ts';

/** `sends.per_second` and `sends.pair.burst` in policies.toml. */
const PER_SECOND = 80;
const PAIR_BURST = 40;

const throughputLetGo = new Counter('throughput_let_go');
const throughputTurnedAway = new Counter('throughput_turned_away');
const pairLetGo = new Counter('pair_let_go');
const pairTurnedAway = new Counter('pair_turned_away');
const turnedAwayAfter = new Trend('pair_turned_away_after', true);
const metasOwn = new Counter('metas_own_limit');

export const options = plan({
    // The rate is what is offered above throughput; a quarter of it goes to single recipients.
    // Sends above throughput wait for up to a second.
    scenarios: { throughput: arrivals('throughput', 1, 2), pair: arrivals('pair', 0.25) },
    kinds: [],
    some: ['throughput_let_go', 'throughput_turned_away', 'pair_let_go', 'pair_turned_away'],
    more: { metas_own_limit: ['count==0'] },
    timings: {
        throughput_let_go: [`count>=${Math.floor(PER_SECOND * SECONDS * 0.95)}`],
        pair_turned_away_after: ['p(99)<20'],
    },
});

/** A send above a limit: it goes, or it is turned away by the gateway for this reason and told when to come back. */
function paced(answer: Answer, letGo: Counter, turnedAway: Counter, code: number, slug: string): void {
    if (answer.status === 200) {
        taken('send', answer, isSent) && letGo.add(1);
    } else if (reason(answer) === undefined && [130429, 131056].includes(Number(member(answer, 'error.code')))) {
        fault(metasOwn, "Meta's own limit", answer);
    } else if (answeredWith('send', answer, { status: 429, code, reason: slug })) {
        const seconds = answer.headers['Retry-After'] ?? '';
        if (/^[1-9]\d*$/.test(seconds)) {
            turnedAway.add(1);
        } else {
            fault(metasOwn, '429 without Retry-After', answer);
        }
    }
}

export function throughput(): void {
    const answer = send(BASE.gateway, NUMBER.throughput, KEY.everything, text(nextRecipient()));
    paced(answer, throughputLetGo, throughputTurnedAway, 130429, 'limited_throughput');
}

export function pair(): void {
    const whom = recipient(Math.floor(exec.scenario.iterationInTest / (3 * PAIR_BURST)));
    const answer = send(BASE.gateway, NUMBER.pair, KEY.everything, text(whom));
    paced(answer, pairLetGo, pairTurnedAway, 131056, 'limited_pair');
    if (answer.status === 429) {
        turnedAwayAfter.add(answer.timings.duration);
    }
}
