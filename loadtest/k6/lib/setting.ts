// What the run was started with, and the names of policies.toml.

export type Side = 'gateway' | 'direct';

function variable(name: string): string {
    const value = __ENV[name];
    if (value === undefined || value === '') {
        throw new Error(`${name} is not set: start this by loadtest/k6/run`);
    }
    return value;
}

/** Where each side of a comparison is asked: no slash at the end. */
export const BASE: Record<Side, string> = { gateway: variable('GATEWAY'), direct: variable('EMULATOR') };

/** The emulator's handles. */
export const HANDLES = `${BASE.direct}/_emulator`;

/** Load of the scenario, in iterations a second. */
export const RATE = Number(variable('RATE'));

/** How long it lasts, in seconds. */
export const SECONDS = Number(variable('SECONDS'));

/** Whether only right and wrong counts, and not how fast: on a busy machine timings say nothing. */
export const SMOKE = variable('SMOKE') === 'true';

/** The folder of the summary. */
export const OUTPUT = variable('OUTPUT');

/** `phone_number_id`s. */
export const NUMBER = {
    noStorage: '106540352242922',
    inCountry: '106540352242933',
    default: '106540352242944',
    throughput: '106540352242955',
    pair: '106540352242966',
    faulty: '106540352242977',
} as const;

/** Callers' keys. The emulator takes any as a token. */
export const KEY = { everything: 'everything-of-the-load-test', branch: 'branch-of-the-load-test' } as const;

export const bearer = (key: string): Record<string, string> => ({ Authorization: `Bearer ${key}` });
