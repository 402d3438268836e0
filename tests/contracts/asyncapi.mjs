// Parses an AsyncAPI document: node asyncapi.mjs URL. Exit code 1 when the parser has an error or a warning about it.

import { DiagnosticSeverity, Parser } from "@asyncapi/parser";

const [address] = process.argv.slice(2);
const answer = await fetch(address);
if (!answer.ok) {
  throw new Error(`${address}: expected 200, found ${answer.status}`);
}
const { document, diagnostics } = await new Parser().parse(await answer.text());
for (const { severity, code, message, path } of diagnostics) {
  console.log(`${DiagnosticSeverity[severity]} ${code} at /${path.join("/")}: ${message}`);
}
const grave = diagnostics.filter((it) => it.severity <= DiagnosticSeverity.Warning);
if (document === undefined || grave.length > 0) {
  process.exit(1);
}
const channels = document.channels().all();
const messages = document.allMessages().all();
console.log(`${address}: AsyncAPI ${document.version()}, ${channels.length} channels, ${messages.length} messages: ok`);
