# kombu: plain JSON, confirmed, mandatory and persistent. Arguments: broker, exchange, id.
import sys

from kombu import Connection, Exchange, Producer

broker, exchange, id = sys.argv[1:]
returned = []
with Connection(broker, transport_options={"confirm_publish": True}) as connection:
    producer = Producer(
        connection.channel(),
        Exchange(exchange, no_declare=True),
        auto_declare=False,
        on_return=lambda error, *_: returned.append(error),
    )
    producer.publish(
        {"task": "try", "payload": {"by": "kombu"}},
        routing_key="processing.requested",
        serializer="json",
        delivery_mode="persistent",
        mandatory=True,
        message_id=id,
        app_id="/try/kombu",
        timeout=30,
    )
sys.exit(f"returned: {returned}" if returned else 0)
