// Media: upload, metadata, download, delete.

import crypto from 'k6/crypto';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

import { BASE, KEY, bearer } from './setting.ts';
import type { Side } from './setting.ts';
import { member, taken } from './verdict.ts';
import type { Answer } from './verdict.ts';

const KIB = 1024;

/** A file to upload: its type and its size. */
export interface File {
    mime: string;
    kib: number;
}

/** A medium that was uploaded. */
export interface Medium {
    id: string;
    number: string;
    bytes: number;
    sha256: string;
}

/** How many media were stored, and how many of them deleted again: the emulator must hold the difference. */
const stored = new Counter('media_stored');
const deleted = new Counter('media_deleted');

/** Legal files of several types and sizes. */
export const FILES: readonly File[] = [
    { mime: 'image/jpeg', kib: 64 },
    { mime: 'application/pdf', kib: 1024 },
    { mime: 'audio/ogg', kib: 16 },
    { mime: 'video/mp4', kib: 256 },
    { mime: 'text/plain', kib: 4 },
];

export const PICTURE: File = { mime: 'image/png', kib: 48 };

/** Larger than any sticker may be (Cloud API, "Media", supported media types: 500 KB). */
export const STICKER_TOO_LARGE: File = { mime: 'image/webp', kib: 501 };

const contents = new Map<number, { bytes: ArrayBuffer; sha256: string }>();

/** The content of files of a size: each virtual user has its own, made when it first needs it. */
function content({ kib }: File): { bytes: ArrayBuffer; sha256: string } {
    let made = contents.get(kib);
    if (made === undefined) {
        const bytes = crypto.randomBytes(kib * KIB);
        made = { bytes, sha256: crypto.sha256(bytes, 'hex') };
        contents.set(kib, made);
    }
    return made;
}

/** One of a list, in turn. */
export function inTurn<T>(list: readonly T[], nth: number): T {
    const item = list[nth % list.length];
    if (item === undefined) {
        throw new Error('the list is empty');
    }
    return item;
}

export interface Fields {
    type?: string;
    ttl_minutes?: string;
}

/** Uploads a file. k6 writes the parts in another order each time. */
export function upload(base: string, number: string, key: string, file: File, fields: Fields): Answer {
    const form = {
        messaging_product: 'whatsapp',
        ...fields,
        file: http.file(content(file).bytes, 'medium', file.mime),
    };
    return http.post(`${base}/v23.0/${number}/media`, form, { headers: bearer(key), tags: { name: 'media' } });
}

/** The medium that an upload was answered with. */
export function uploaded(what: string, answer: Answer, number: string, file: File): Medium | undefined {
    if (!taken(what, answer, (answer) => /^\d+$/.test(String(member(answer, 'id'))))) {
        return undefined;
    }
    stored.add(1);
    return { id: String(member(answer, 'id')), number, bytes: file.kib * KIB, sha256: content(file).sha256 };
}

export function metadata(base: string, medium: Medium, key: string = KEY.everything): Answer {
    return http.get(`${base}/v23.0/${medium.id}?phone_number_id=${medium.number}`, {
        headers: bearer(key),
        tags: { name: 'metadata' },
    });
}

/** The URL in a medium's metadata, if that is this medium's and leads to the side that was asked. */
export function mediaUrl(side: Side, answer: Answer, medium: Medium): string | undefined {
    const url = String(member(answer, 'url'));
    const isRight = (answer: Answer) =>
        member(answer, 'id') === medium.id &&
        Number(member(answer, 'file_size')) === medium.bytes &&
        url.startsWith(`${BASE[side]}/`);
    return taken(`metadata, ${side}`, answer, isRight) ? url : undefined;
}

export const download = (url: string): Answer =>
    http.get(url, { headers: bearer(KEY.everything), responseType: 'binary', tags: { name: 'download' } });

/** Whether the bytes of an answer are those of a medium. */
export function isContent(answer: Answer, medium: Medium): boolean {
    const { body } = answer;
    return (
        body !== null &&
        typeof body !== 'string' &&
        body.byteLength === medium.bytes &&
        crypto.sha256(body, 'hex') === medium.sha256
    );
}

/** Deletes a medium, so that runs of any length keep as little as short ones. */
export function remove(side: Side, medium: Medium): void {
    const url = `${BASE[side]}/v23.0/${medium.id}?phone_number_id=${medium.number}`;
    const answer = http.del(url, null, { headers: bearer(KEY.everything), tags: { name: 'delete' } });
    if (taken(`delete, ${side}`, answer, (answer) => member(answer, 'success') === true)) {
        deleted.add(1);
    }
}
