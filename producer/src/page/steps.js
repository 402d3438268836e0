// A status document in words. Pure: from a document to the view.

/**
 * The steps of a signup: `{title, text, state, at}`, where `state` is `done`, `busy`, `todo` or
 * `bad`. `status` is the document of `GET /v1/events/{id}`, or null while nothing is known.
 */
export function stepsOf(status) {
  const timeline = status?.timeline ?? [];
  const at = (step, destination) =>
    timeline.findLast((one) => one.step === step && one.destination === destination)?.at;
  if (!status) return [{ title: "Looking for your signup", text: "", state: "busy" }];
  const received = {
    title: "We have it",
    text: "From here on your signup cannot get lost.",
    state: "done",
    at: at("received"),
  };
  const stored = at("stored");
  if (!stored && status.status === "rejected") {
    return [{ ...received, text: "" }, rejected(status, at("rejected"))];
  }
  if (!stored && status.status === "dead") return [received, stuck(status, timeline)];
  return [
    received,
    {
      title: "Checked",
      text: at("accepted") ? "Everything in it is in order." : "",
      state: at("accepted") ? "done" : "busy",
      at: at("accepted"),
    },
    {
      title: "Stored",
      text: stored ? "The database has it." : "",
      state: stored ? "done" : "todo",
      at: stored,
    },
    ...status.deliveries.map((delivery) =>
      passedOn(delivery, at("delivered", delivery.destination)),
    ),
    ...(status.filtered ?? []).map((one) => passedOver(one, at("filtered", one.destination))),
    ...(status.conflicts ?? []).map(turnedAway),
  ];
}

/** How it stands: a greeting, one sentence, and its `end` (`good` or `bad`) once there is one. */
export function verdictOf(status) {
  if (status?.conflicts?.length) {
    return {
      greeting: "Sorry",
      text: "Something else was sent under the same key before. What you see here is that, not what came later.",
      end: "bad",
    };
  }
  switch (status?.status) {
    case "completed":
      return { greeting: "Thank you", text: "All done. Your signup is where it belongs.", end: "good" };
    case "rejected":
      return { greeting: "Sorry", text: "We could not accept this signup.", end: "bad" };
    case "dead":
      return {
        greeting: "Thank you",
        text: "Your signup is safe, but not all of it worked out. We will look at it.",
        end: "bad",
      };
    default:
      return { greeting: "Thank you", text: "This is where your signup is right now.", end: "" };
  }
}

function rejected({ reason }, at) {
  const known = {
    email_taken: "Somebody has signed up with this e-mail address already.",
  };
  const details = (reason?.errors ?? []).map(({ detail }) => detail);
  const text = known[reason?.code] ?? [reason?.detail, ...details].filter(Boolean).join(" ");
  return { title: "Not accepted", text, state: "bad", at };
}

function turnedAway({ at }) {
  return {
    title: "Another signup turned away",
    text: "It came later, under the same key. Send it again under a new one.",
    state: "bad",
    at,
  };
}

function stuck({ reason }, timeline) {
  return {
    title: "Put aside",
    text: `${reason?.detail ?? ""} It is kept safe, and somebody will look at it.`.trim(),
    state: "bad",
    at: timeline.findLast(({ step }) => step === "dead")?.at,
  };
}

function passedOver({ destination, error }, at) {
  const text = error ? `Its filter has no answer for this signup (${error}).` : "Its filter passes over this signup.";
  return { title: `Not for ${destination}`, text, state: "done", at };
}

function passedOn({ destination, status, attempts }, delivered) {
  const tries = attempts === 1 ? "1 try" : `${attempts} tries`;
  switch (status) {
    case "delivered":
      return {
        title: `Passed on to ${destination}`,
        text: attempts > 1 ? `It took ${tries}.` : "",
        state: "done",
        at: delivered,
      };
    case "dead":
      return {
        title: `Not passed on to ${destination}`,
        text: `Given up after ${tries}. Nothing is lost: somebody will look at it.`,
        state: "bad",
      };
    case "discarded":
      return { title: `Not passed on to ${destination}`, text: "That is on purpose.", state: "done" };
    default:
      return {
        title: `Passing it on to ${destination}`,
        text: attempts > 0 ? `Not yet, after ${tries}. It is tried again by itself.` : "",
        state: "busy",
      };
  }
}
