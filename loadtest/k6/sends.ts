// Sends at a constant rate: texts, templates and pictures of three numbers, and a tenth that policy must refuse.

import exec from 'k6/execution';

import { compare } from './lib/latency.ts';
import type { Kind } from './lib/latency.ts';
import { inTurn } from './lib/media.ts';
import { isSent, linked, nextRecipient, picture, send, template, text } from './lib/messages.ts';
import { arrivals, plan } from './lib/plan.ts';
import type { Prepared } from './lib/prepare.ts';
import { BASE, KEY, NUMBER } from './lib/setting.ts';
import { refused, taken } from './lib/verdict.ts';
import type { Refusal } from './lib/verdict.ts';

export { setup } from './lib/prepare.ts';
export { handleSummary } from './lib/report.ts';

export const options = plan({
    scenarios: { sends: arrivals('legalSend', 0.9), illegal: arrivals('illegalSend', 0.1) },
    kinds: ['text', 'template', 'picture'],
    some: ['legal_taken', 'illegal_refused'],
});

const SENDERS = [NUMBER.noStorage, NUMBER.inCountry, NUMBER.default];
const TYPES: readonly Kind[] = ['template', 'text', 'picture', 'template'];

export function legalSend({ pictures }: Prepared): void {
    const nth = exec.scenario.iterationInTest;
    const number = inTurn(SENDERS, nth);
    const kind = inTurn(TYPES, nth);
    const whom = nextRecipient();
    const body =
        kind === 'text' ? text(whom) : kind === 'template' ? template(whom) : picture(whom, pictures[number] ?? '');
    const encoded = JSON.stringify(body);
    compare(kind, (side, base) => {
        const answer = send(base, number, KEY.everything, encoded);
        return { answer, right: taken(`${kind}, ${side}`, answer, isSent) };
    });
}

interface Illegal extends Refusal {
    number: string;
    key?: string;
    body: (whom: string, prepared: Prepared) => object | string;
}

const ILLEGAL: readonly Illegal[] = [
    {
        number: NUMBER.inCountry,
        key: KEY.everything,
        body: (whom, { pictures }) => picture(whom, pictures[NUMBER.noStorage] ?? ''),
        status: 400,
        code: 100,
        reason: 'media_of_other_number',
    },
    {
        number: NUMBER.noStorage,
        key: KEY.everything,
        body: linked,
        status: 403,
        code: 131005,
        reason: 'link_not_allowed',
    },
    {
        number: NUMBER.noStorage,
        key: KEY.everything,
        body: (whom) => ({ messaging_product: 'whatsapp', to: whom, type: 'hologram', hologram: {} }),
        status: 403,
        code: 131005,
        reason: 'unknown_message_type',
    },
    {
        number: NUMBER.default,
        key: KEY.everything,
        body: (whom) => JSON.stringify(text(whom)).replace('{', '{"to":"+15559999999",'),
        status: 400,
        code: 100,
        reason: 'json_duplicate_key',
    },
    { number: NUMBER.noStorage, key: KEY.branch, body: text, status: 403, code: 131005, reason: 'number_not_allowed' },
    { number: NUMBER.noStorage, body: text, status: 401, code: 190, reason: 'unknown_caller' },
];

export function illegalSend(prepared: Prepared): void {
    const { number, key, body, ...refusal } = inTurn(ILLEGAL, exec.scenario.iterationInTest);
    refused('send', send(BASE.gateway, number, key, body(nextRecipient(), prepared)), refusal);
}
