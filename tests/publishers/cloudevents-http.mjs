// The CloudEvents SDK of Node: an event in the mode of the last argument. Arguments: door, id, binary or structured.
import { CloudEvent, emitterFor, httpTransport, Mode } from "cloudevents";

const [door, id, mode] = process.argv.slice(2);
const emit = emitterFor(httpTransport(`${door}/v1/events`), { mode: Mode[mode.toUpperCase()] });
const data = { task: "try", payload: { by: "cloudevents" } };
const answer = await emit(new CloudEvent({ id, source: `/try/node/${mode}`, type: "processing.requested", data }));
const { accepted, id: event } = JSON.parse(answer.body);
if (!accepted && !event) throw new Error(`answered ${answer.body}`);
