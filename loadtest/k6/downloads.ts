// Downloads: media that are in the cache, media that nobody has fetched yet, and a tenth that policy must refuse.

import exec from 'k6/execution';

import { compare } from './lib/latency.ts';
import { FILES, download, inTurn, isContent, mediaUrl, metadata, remove, upload, uploaded } from './lib/media.ts';
import type { Medium } from './lib/media.ts';
import { arrivals, plan } from './lib/plan.ts';
import type { Prepared } from './lib/prepare.ts';
import { BASE, KEY, NUMBER } from './lib/setting.ts';
import type { Side } from './lib/setting.ts';
import { refused, taken } from './lib/verdict.ts';
import type { Answer } from './lib/verdict.ts';

export { setup } from './lib/prepare.ts';
export { handleSummary } from './lib/report.ts';

export const options = plan({
    scenarios: {
        hot: arrivals('hotDownload', 0.7),
        cold: arrivals('coldDownload', 0.2),
        illegal: arrivals('illegalDownload', 0.1),
    },
    kinds: ['metadata', 'download_hot', 'download_cold'],
    some: ['legal_taken', 'illegal_refused'],
});

/** What the gateway may say of its cache: the first download of a hot medium fetches it, and others meanwhile share it. */
const ANY = ['hit', 'miss'];

function fetched(side: Side, url: string, medium: Medium, cache: readonly string[]): { answer: Answer; right: boolean } {
    const answer = download(url);
    const isRight = (answer: Answer) =>
        isContent(answer, medium) && (side === 'direct' || cache.includes(answer.headers['Curfew-Cache'] ?? ''));
    return { answer, right: taken(`download, ${side}`, answer, isRight) };
}

export function hotDownload({ hot }: Prepared): void {
    const medium = inTurn(hot, exec.scenario.iterationInTest);
    // A URL is good for five minutes, and asked for just before, as applications do.
    const asked = compare('metadata', (side, base) => {
        const answer = metadata(base, medium);
        const url = mediaUrl(side, answer, medium);
        return { answer, url, right: url !== undefined };
    });
    const { gateway, direct } = { gateway: asked.gateway.url, direct: asked.direct.url };
    if (gateway !== undefined && direct !== undefined) {
        compare('download_hot', (side) => fetched(side, side === 'gateway' ? gateway : direct, medium, ANY));
    }
}

export function coldDownload(): void {
    const file = inTurn(FILES, exec.scenario.iterationInTest);
    const fresh = (side: Side): { medium: Medium; url: string } | undefined => {
        const answer = upload(BASE[side], NUMBER.noStorage, KEY.everything, file, { ttl_minutes: '60' });
        const medium = uploaded(`upload, ${side}`, answer, NUMBER.noStorage, file);
        const url = medium && mediaUrl(side, metadata(BASE[side], medium), medium);
        return medium && url !== undefined ? { medium, url } : undefined;
    };
    const [gateway, direct] = [fresh('gateway'), fresh('direct')];
    if (gateway === undefined || direct === undefined) {
        return;
    }
    compare('download_cold', (side) => {
        const { medium, url } = side === 'gateway' ? gateway : direct;
        return fetched(side, url, medium, ['miss']);
    });
    // The copy that was just made serves the second, and dies with the medium.
    fetched('gateway', gateway.url, gateway.medium, ['hit']);
    remove('gateway', gateway.medium);
    remove('direct', direct.medium);
    refused('download of what was deleted', download(gateway.url), {
        status: 400,
        code: 100,
        reason: 'media_ended',
    });
}

export function illegalDownload({ hot }: Prepared): void {
    const nth = exec.scenario.iterationInTest;
    const medium = inTurn(hot, nth);
    const url = mediaUrl('gateway', metadata(BASE.gateway, medium), medium);
    if (nth % 2 === 0) {
        // To a caller of another number it is as if there were no such medium.
        const asked = metadata(BASE.gateway, { ...medium, number: NUMBER.inCountry }, KEY.branch);
        refused('metadata', asked, { status: 400, code: 100, reason: 'media_not_usable' });
    } else if (url !== undefined) {
        // One letter of the signature, and it is nobody's URL.
        const last = url.slice(-1) === 'A' ? 'B' : 'A';
        const refusal = { status: 404, code: 100, reason: 'media_url_invalid' };
        refused('download', download(url.slice(0, -1) + last), refusal);
    }
}
