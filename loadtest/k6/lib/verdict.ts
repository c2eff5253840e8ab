// Whether an answer is what it must be. Each way to be wrong has a counter of its own, and a threshold that fails the run.

import type { RefinedResponse, ResponseType } from 'k6/http';
import { Counter } from 'k6/metrics';

export type Answer = RefinedResponse<ResponseType | undefined>;

/** How a request is refused: status, Graph code and `Curfew-Reason`. */
export interface Refusal {
    status: number;
    code: number;
    reason: string;
}

const legalTaken = new Counter('legal_taken');
const legalRefused = new Counter('legal_refused');
const illegalRefused = new Counter('illegal_refused');
const illegalAccepted = new Counter('illegal_accepted');
export const unexpected = new Counter('answers_unexpected');

/** Of which there must be none, whatever the scenario. */
export const NEVER = ['legal_refused', 'illegal_accepted', 'answers_unexpected'];

// Each virtual user tells its first faults; the counters tell all.
let toTell = 2;

/** Counts a fault, and tells the first ones in the log. */
export function fault(counter: Counter, what: string, answer: Answer): void {
    counter.add(1);
    if (toTell > 0) {
        toTell -= 1;
        const body = typeof answer.body === 'string' ? answer.body.slice(0, 400) : '';
        console.error(`${what}: ${answer.status} ${answer.error} ${reason(answer) ?? 'no Curfew-Reason'} ${body}`);
    }
}

export const reason = (answer: Answer): string | undefined => answer.headers['Curfew-Reason'];

/** A member of the answer's JSON; none if it is no JSON or has no such member. */
export function member(answer: Answer, path: string): unknown {
    try {
        return answer.json(path);
    } catch {
        return undefined;
    }
}

/** A legal request: 200, and an answer that is what was asked for. */
export function taken(what: string, answer: Answer, isRight: (answer: Answer) => boolean): boolean {
    if (reason(answer) !== undefined) {
        fault(legalRefused, `legal, and refused: ${what}`, answer);
        return false;
    }
    if (answer.status !== 200 || !isRight(answer)) {
        fault(unexpected, `not what was asked for: ${what}`, answer);
        return false;
    }
    legalTaken.add(1);
    return true;
}

/** An illegal request: refused, and for the right reason. */
export function refused(what: string, answer: Answer, expected: Refusal): void {
    if (answer.status >= 200 && answer.status < 300) {
        fault(illegalAccepted, `illegal, and accepted: ${what}`, answer);
        return;
    }
    answeredWith(what, answer, expected) && illegalRefused.add(1);
}

/** An answer with this status and Graph code, from the gateway if it has a reason, from Meta if it has none. */
export function answeredWith(
    what: string,
    answer: Answer,
    expected: { status: number; code: number; reason: string | undefined },
): boolean {
    const isIt =
        answer.status === expected.status &&
        member(answer, 'error.code') === expected.code &&
        reason(answer) === expected.reason;
    if (!isIt) {
        fault(unexpected, `expected ${JSON.stringify(expected)}: ${what}`, answer);
    }
    return isIt;
}
