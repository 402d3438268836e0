# Behind the Python of docs/receiving.md: reads the requests of the test, and says of each whether it is taken.
import json, sys

for secret, headers, body in json.load(sys.stdin):
    print(json.dumps(verify(secret, headers, body.encode())))
