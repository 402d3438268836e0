# The RabbitMQ binding of the CloudEvents SDK with pika: an event in the mode of the last argument, confirmed, mandatory
# and persistent. Arguments: broker, exchange, id, binary or structured.
import sys

import pika
from cloudevents.core.bindings import rabbitmq
from cloudevents.core.v1.event import CloudEvent

broker, exchange, id, mode = sys.argv[1:]
attributes = {
    "specversion": "1.0", "id": id, "source": f"/try/sdk/{mode}", "type": "processing.requested",
    "datacontenttype": "application/json",
}
event = CloudEvent(attributes, {"task": "try", "payload": {"by": "pika"}})
message = getattr(rabbitmq, f"to_{mode}_event")(event)
connection = pika.BlockingConnection(pika.URLParameters(broker))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_publish(
    exchange=exchange, routing_key=event.get_type(), mandatory=True, body=message.body,
    properties=pika.BasicProperties(
        content_type=message.content_type, headers=message.headers, delivery_mode=pika.DeliveryMode.Persistent.value
    ),
)
connection.close()
