// What surrounds the lines for amqplib in docs/publishing.md. Arguments: broker, exchange, id.
import amqplib from "amqplib";

const [broker, , messageId] = process.argv.slice(2);
const connection = await amqplib.connect(broker);

export const channel = await connection.createConfirmChannel();
export const id = messageId;
export const data = { email: "ada@example.com", name: "Ada Lovelace" };

channel.on("return", () => {
  console.error("returned");
  process.exitCode = 1;
});

export async function end() {
  await connection.close();
}
