# Makes the calls of the test with examples/publish/python/publisher.py, and says of each what came of it.
import json, sys

sys.path.insert(0, sys.argv[1])
from publisher import Publisher, PublishError

plan = json.load(sys.stdin)
times = {"deadline": plan["deadline"], "timeout": plan["timeout"], "first_wait": plan["first_wait"]}
try:
    publisher = Publisher(plan["url"], plan["key"], **{name: time / 1000 for name, time in times.items()})
except ValueError as error:
    print(json.dumps({"error": "unusable", "message": str(error)}))
    sys.exit()
for call, *arguments in plan["calls"]:
    try:
        accepted = getattr(publisher, call)(*arguments)
        accepted = accepted if isinstance(accepted, list) else [accepted]
        said = {"accepted": [one._asdict() for one in accepted]}
    except PublishError as error:
        said = {"error": type(error).__name__, "message": f"{error} {error!r}", **vars(error)}
    print(json.dumps(said))
