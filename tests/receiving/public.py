# The public verifier of PyPI: reads the requests of the test, and says of each whether it is taken.
import json, sys
from standardwebhooks import Webhook, WebhookVerificationError

for secret, headers, body in json.load(sys.stdin):
    try:
        Webhook(secret).verify(body.encode(), headers, json_parse=False)
        print("true")
    except WebhookVerificationError:
        print("false")
