// Makes the calls of the test with examples/publish/node/publisher.mjs, and says of each what came of it.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";

const { Publisher, PublishError } = await import(pathToFileURL(`${process.argv[2]}/publisher.mjs`).href);
const { url, key, deadline, timeout, first_wait, calls } = JSON.parse(readFileSync(0, "utf8"));

function publisherOf() {
  try {
    return new Publisher(url, key, { deadline, timeout, firstWait: first_wait });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    console.log(JSON.stringify({ error: "unusable", message: inspect(error) }));
    process.exit();
  }
}

const publisher = publisherOf();
for (const [call, ...rest] of calls) {
  try {
    // A key that is absent is null in JSON.
    const accepted = await publisher[call](...rest.map((argument) => argument ?? undefined));
    console.log(JSON.stringify({ accepted: [accepted].flat() }));
  } catch (error) {
    if (!(error instanceof PublishError)) throw error;
    const { name, idempotencyKey: idempotency_key, ...facts } = error;
    const message = `${error.message} ${inspect(error)} ${inspect(publisher)}`;
    console.log(JSON.stringify({ ...facts, error: error.name, message, idempotency_key }));
  }
}
