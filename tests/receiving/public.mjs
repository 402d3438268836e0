// The public verifier of npm: reads the requests of the test, and says of each whether it is taken.
import { readFileSync } from "node:fs";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

for (const [secret, headers, body] of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    new Webhook(secret).verify(body, headers, { jsonParse: false });
    console.log(true);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    console.log(false);
  }
}
