// What every scenario finds prepared.

import http from 'k6/http';

import { FILES, PICTURE, upload, uploaded } from './media.ts';
import type { File, Medium } from './media.ts';
import { BASE, HANDLES, KEY, NUMBER } from './setting.ts';

export interface Prepared {
    /** A picture of each number that sends, by `phone_number_id`. */
    pictures: Record<string, string>;
    /** Media of the number with No Storage that are downloaded again and again. */
    hot: Medium[];
}

/** Checks that the load goes to an emulator and to nobody else, and uploads what is sent and downloaded. */
export function setup(): Prepared {
    if (http.get(`${HANDLES}/health`).status !== 200) {
        throw new Error('EMULATOR is no emulator: this load is not for anybody else');
    }
    const put = (number: string, file: File): Medium => {
        const fields = number === NUMBER.noStorage ? { ttl_minutes: '1440' } : {};
        const answer = upload(BASE.gateway, number, KEY.everything, file, fields);
        const medium = uploaded('upload before the load', answer, number, file);
        if (medium === undefined) {
            throw new Error('the gateway takes no uploads');
        }
        return medium;
    };
    const senders = [NUMBER.noStorage, NUMBER.inCountry, NUMBER.default];
    return {
        pictures: Object.fromEntries(senders.map((number) => [number, put(number, PICTURE).id])),
        hot: FILES.map((file) => put(NUMBER.noStorage, file)),
    };
}
