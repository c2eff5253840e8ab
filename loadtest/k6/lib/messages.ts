// Bodies of sends.

import exec from 'k6/execution';
import http from 'k6/http';

import { bearer } from './setting.ts';
import { member } from './verdict.ts';
import type { Answer } from './verdict.ts';

/** So many recipients that none gets more than Meta's pair limit allows. */
const RECIPIENTS = 100_000;

/** The recipient of this number of the pool. */
export const recipient = (nth: number): string => `+1555${String(nth % RECIPIENTS).padStart(7, '0')}`;

/** Another recipient at each iteration of the scenario. */
export const nextRecipient = (): string => recipient(exec.scenario.iterationInTest);

const to = (whom: string, type: string, content: object) => ({
    messaging_product: 'whatsapp',
    recipient_type: 'individual',
    to: whom,
    type,
    [type]: content,
});

export const text = (whom: string) => to(whom, 'text', { body: 'Your order has left our house.' });

export const picture = (whom: string, id: string) => to(whom, 'image', { id, caption: 'Your receipt' });

export const linked = (whom: string) => to(whom, 'image', { link: 'https://pictures.example/receipt.jpg' });

const parameter = (value: string) => ({ type: 'text', text: value });

export const template = (whom: string) =>
    to(whom, 'template', {
        name: 'appointment_reminder',
        language: { code: 'en_US' },
        components: [
            { type: 'header', parameters: [parameter('Dr. Example')] },
            { type: 'body', parameters: ['Monday, 23 November', '09:40', 'Room 12'].map(parameter) },
            { type: 'button', sub_type: 'quick_reply', index: '0', parameters: [{ type: 'payload', payload: 'yes' }] },
        ],
    });

/** Sends a body, an object or text that is sent as it is. */
export function send(base: string, number: string, key: string | undefined, body: object | string): Answer {
    return http.post(
        `${base}/v23.0/${number}/messages`,
        typeof body === 'string' ? body : JSON.stringify(body),
        { headers: { 'Content-Type': 'application/json', ...(key && bearer(key)) }, tags: { name: 'messages' } },
    );
}

/** Whether an answer names the message that went. */
export const isSent = (answer: Answer): boolean => String(member(answer, 'messages.0.id')).startsWith('wamid.');
