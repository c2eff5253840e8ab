// What a company does all day: mostly sends, some media, and the mistakes of its applications.

import { KINDS } from './lib/latency.ts';
import { arrivals, plan } from './lib/plan.ts';

export { setup } from './lib/prepare.ts';
export { handleSummary } from './lib/report.ts';
export { coldDownload, hotDownload, illegalDownload } from './downloads.ts';
export { illegalSend, legalSend } from './sends.ts';
export { illegalUpload, legalUpload } from './uploads.ts';

/** The mixture, at the rate of the run. */
export const scenarios = {
    sends: arrivals('legalSend', 0.8),
    uploads: arrivals('legalUpload', 0.04),
    hot: arrivals('hotDownload', 0.08),
    cold: arrivals('coldDownload', 0.02),
    illegal_sends: arrivals('illegalSend', 0.04),
    illegal_uploads: arrivals('illegalUpload', 0.01),
    illegal_downloads: arrivals('illegalDownload', 0.01),
};

export const options = plan({ scenarios, kinds: KINDS, some: ['legal_taken', 'illegal_refused'] });
