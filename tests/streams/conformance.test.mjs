// The conformance tests of the Durable Streams protocol against the URL in STREAMS_URL.

import { runConformanceTests } from '@durable-streams/server-conformance-tests';

runConformanceTests({ baseUrl: process.env.STREAMS_URL });
