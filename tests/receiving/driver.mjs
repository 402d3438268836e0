// Beside the JavaScript of docs/receiving.md: reads the requests of the test, and says of each whether it is taken.
import { readFileSync } from "node:fs";
import { verify } from "./verify.mjs";

for (const [secret, headers, body] of JSON.parse(readFileSync(0, "utf8"))) {
  console.log(verify(secret, headers, Buffer.from(body)));
}
