// The interleavings in tests/vectors/, which tests/protocol/test_merge_vectors.py runs against the Python merge too.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { Merge } from "../../messaging/static/messaging/client/merge.js";

const VECTORS = new URL("../vectors/", import.meta.url);

const drivers = {
  expect: (merge) => merge.expect(),
  begin: (merge, { mode, ...entry }) => merge.begin(entry, mode),
  recover: (merge) => merge.recover(),
  message: (merge, { offset }) => merge.message({ offset }),
  gap: (merge, gap) => merge.gap(gap),
  page: (merge, page) => merge.page({ ...page, messages: page.messages.map((offset) => ({ offset })) }),
  gone: (merge, refusal) => merge.gone(refusal),
  caught_up: (merge, { upto }) => merge.caughtUp({ upto }),
  closed: (merge, { head }) => merge.closed({ head }),
  away: (merge, { done }) => merge.away(done),
};

const told = ({ message, ...effect }) => effect;

for (const file of readdirSync(VECTORS).filter((name) => /^merge-.*\.json$/.test(name)).sort()) {
  describe(file, () => {
    for (const vector of JSON.parse(readFileSync(new URL(file, VECTORS), "utf-8"))) {
      test(vector.name, () => {
        let merge = new Merge(vector.start);

        for (const { in: { event, ...about }, out } of vector.steps) {
          if (event === "restart") { // the app was killed: a new merge, with what the store held
            merge = new Merge(about);
            continue;
          }
          assert.deepEqual(drivers[event](merge, about).map(told), out, JSON.stringify({ event, ...about }));
        }

        const { state, epoch, done, buffered } = merge;
        assert.deepEqual({ state, epoch, done, buffered }, vector.end);
      });
    }
  });
}
