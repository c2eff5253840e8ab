// Uploads: parts in random order, files of several types and sizes, every way to say how long they live, and a fifth that
// policy must refuse.

import exec from 'k6/execution';
import http from 'k6/http';

import { compare } from './lib/latency.ts';
import { FILES, STICKER_TOO_LARGE, inTurn, remove, upload, uploaded } from './lib/media.ts';
import type { Fields, File } from './lib/media.ts';
import { arrivals, plan } from './lib/plan.ts';
import { BASE, KEY, NUMBER, bearer } from './lib/setting.ts';
import { fault, refused, unexpected } from './lib/verdict.ts';
import type { Answer, Refusal } from './lib/verdict.ts';

export { setup } from './lib/prepare.ts';
export { handleSummary } from './lib/report.ts';

export const options = plan({
    scenarios: { uploads: arrivals('legalUpload', 0.8), illegal: arrivals('illegalUpload', 0.2) },
    kinds: ['upload'],
    some: ['legal_taken', 'illegal_refused'],
});

/** A number, the `ttl_minutes` of an upload there, and how many minutes the medium then lives. */
const LEGAL: readonly { number: string; ttl?: string; minutes: number }[] = [
    { number: NUMBER.noStorage, ttl: '60', minutes: 60 },
    { number: NUMBER.noStorage, minutes: 120 },
    { number: NUMBER.noStorage, ttl: '1440', minutes: 1440 },
    { number: NUMBER.noStorage, ttl: '10080', minutes: 10080 },
    { number: NUMBER.inCountry, minutes: 30 * 24 * 60 },
    { number: NUMBER.default, minutes: 30 * 24 * 60 },
];

export function legalUpload(): void {
    const nth = exec.scenario.iterationInTest;
    const { number, ttl, minutes } = inTurn(LEGAL, nth);
    const file = inTurn(FILES, nth);
    const fields: Fields = { ...(nth % 3 !== 0 && { type: file.mime }), ...(ttl !== undefined && { ttl_minutes: ttl }) };
    const from = Date.now();
    compare('upload', (side, base) => {
        const answer = upload(base, number, KEY.everything, file, fields);
        const medium = uploaded(`upload, ${side}`, answer, number, file);
        if (medium !== undefined) {
            if (side === 'gateway') {
                endsInTime(answer, from, minutes);
            }
            remove(side, medium);
        }
        return { answer, right: medium !== undefined };
    });
}

/** The end that the answer tells is counted from some moment between the request and its answer. */
function endsInTime(answer: Answer, from: number, minutes: number): void {
    const told = Date.parse(answer.headers['Curfew-Media-Expires'] ?? '');
    const counted = told - minutes * 60_000;
    // It is told in whole seconds.
    if (!(counted > from - 1000 && counted <= Date.now())) {
        fault(unexpected, `it ends ${counted - from} ms after what was asked for`, answer);
    }
}

interface Illegal extends Refusal {
    number: string;
    key?: string;
    file?: File;
    fields: Fields;
}

const badTtl = (ttl: string, reason: string): Illegal => ({
    number: NUMBER.noStorage,
    fields: { ttl_minutes: ttl },
    status: 400,
    code: 131009,
    reason,
});
const ttlElsewhere = (number: string): Illegal => ({
    number,
    fields: { ttl_minutes: '120' },
    status: 400,
    code: 131009,
    reason: 'ttl_without_no_storage',
});
const badFile = (file: File, fields: Fields, reason: string): Illegal => ({
    number: NUMBER.noStorage,
    file,
    fields,
    status: 400,
    code: 131053,
    reason,
});

const JPEG = inTurn(FILES, 0);

const ILLEGAL: readonly Illegal[] = [
    badTtl('10081', 'ttl_out_of_bounds'),
    badTtl('59', 'ttl_out_of_bounds'),
    badTtl('120.5', 'ttl_not_whole'),
    badTtl('2 hours', 'ttl_not_whole'),
    ttlElsewhere(NUMBER.inCountry),
    ttlElsewhere(NUMBER.default),
    badFile({ ...JPEG, mime: 'application/zip' }, {}, 'media_type_not_taken'),
    badFile(JPEG, { type: 'audio/ogg' }, 'media_types_disagree'),
    badFile(STICKER_TOO_LARGE, {}, 'file_too_large'),
    {
        number: NUMBER.noStorage,
        key: KEY.branch,
        fields: {},
        status: 403,
        code: 131005,
        reason: 'number_not_allowed',
    },
];

export function illegalUpload(): void {
    const nth = exec.scenario.iterationInTest;
    if (nth % (ILLEGAL.length + 1) === ILLEGAL.length) {
        refused('upload', twoTtls(), { status: 400, code: 131009, reason: 'form_field_twice' });
        return;
    }
    const { number, key, file, fields, ...refusal } = inTurn(ILLEGAL, nth % (ILLEGAL.length + 1));
    refused('upload', upload(BASE.gateway, number, key ?? KEY.everything, file ?? JPEG, fields), refusal);
}

/** A form with `ttl_minutes` twice, which k6's own forms cannot have. */
function twoTtls(): Answer {
    const boundary = 'the-load-test-has-no-such-line';
    const part = (head: string, content: string) =>
        `--${boundary}\r\nContent-Disposition: form-data; name=${head}\r\n\r\n${content}\r\n`;
    const form = [
        part('"messaging_product"', 'whatsapp'),
        part('"ttl_minutes"', '120'),
        part('"file"; filename="medium"\r\nContent-Type: text/plain', 'a medium'),
        part('"ttl_minutes"', '43200'),
        `--${boundary}--\r\n`,
    ];
    const headers = { ...bearer(KEY.everything), 'Content-Type': `multipart/form-data; boundary=${boundary}` };
    return http.post(`${BASE.gateway}/v23.0/${NUMBER.noStorage}/media`, form.join(''), { headers, tags: { name: 'media' } });
}
