// The mixture for a long time, while Meta makes mistakes on one number: whatever goes wrong there stays there.

import { sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

import { KINDS } from './lib/latency.ts';
import { inTurn } from './lib/media.ts';
import { isSent, nextRecipient, send, text } from './lib/messages.ts';
import { plan } from './lib/plan.ts';
import { BASE, HANDLES, KEY, NUMBER, SECONDS } from './lib/setting.ts';
import { answeredWith, taken } from './lib/verdict.ts';
import { scenarios } from './mixed.ts';

export { setup } from './lib/prepare.ts';
export { handleSummary } from './lib/report.ts';
export {
    coldDownload,
    hotDownload,
    illegalDownload,
    illegalSend,
    illegalUpload,
    legalSend,
    legalUpload,
} from './mixed.ts';

const withstood = new Counter('faults_withstood');

export const options = plan({
    scenarios: {
        ...scenarios,
        // One fault at a time, so that it is known whom it strikes.
        faults: { executor: 'constant-vus', exec: 'faultySend', vus: 1, duration: `${SECONDS}s` },
    },
    kinds: KINDS,
    some: ['legal_taken', 'illegal_refused', 'faults_withstood'],
});

/** Between two sends of the faulty number. */
const PAUSE_SECONDS = 0.4;

/** What Meta does to a send, and what the caller then hears: a status, a code, and whether the gateway says it. */
const FAULTS = [
    { effect: { latency: { millis: 300 } }, answer: undefined },
    {
        effect: { error: { status: 500, code: 131000 } },
        answer: { status: 500, code: 131000, reason: undefined },
    },
    {
        effect: { reset_reply: { after_bytes: 20 } },
        answer: { status: 409, code: 131000, reason: 'outcome_unknown' },
    },
    {
        effect: { truncate_reply: { after_bytes: 10 } },
        answer: { status: 409, code: 131000, reason: 'outcome_unknown' },
    },
];

export function faultySend(): void {
    const nth = exec.scenario.iterationInTest;
    const number = NUMBER.faulty;
    // Most sends of the number pass.
    const fault = nth % 3 === 0 ? inTurn(FAULTS, nth / 3) : undefined;
    if (fault !== undefined) {
        const body = JSON.stringify({ on: 'send', number: Number(number), times: 1, effect: fault.effect });
        const asked = http.post(`${HANDLES}/faults`, body, { tags: { name: 'faults' } });
        taken('a fault', asked, () => true);
    }
    const answer = send(BASE.gateway, number, KEY.everything, text(nextRecipient()));
    if (fault?.answer === undefined) {
        taken('send of the faulty number', answer, isSent);
    } else if (answeredWith('fault', answer, fault.answer)) {
        withstood.add(1);
    }
    sleep(PAUSE_SECONDS);
}
