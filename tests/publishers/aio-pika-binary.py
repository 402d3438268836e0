# aio-pika: a binary CloudEvent, confirmed, mandatory and persistent. Arguments: broker, exchange, id.
import asyncio, json, sys

import aio_pika


async def publish(broker, exchange, id):
    connection = await aio_pika.connect(broker)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        received = await channel.get_exchange(exchange, ensure=False)
        attributes = {"specversion": "1.0", "id": id, "source": "/try/aio-pika", "type": "processing.requested"}
        message = aio_pika.Message(
            json.dumps({"task": "try", "payload": {"by": "aio-pika"}}).encode(),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            headers={f"cloudEvents:{name}": value for name, value in attributes.items()},
        )
        await received.publish(message, routing_key="processing.requested", mandatory=True)


asyncio.run(publish(*sys.argv[1:]))
