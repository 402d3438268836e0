// The page: a form, and then the steps of the signup.

import { startForm } from "./form.js";
import { startProgress } from "./progress.js";

const form = startForm(document.getElementById("signup"), (accepted) => {
  // So that a reload, or the link kept for later, shows this signup again.
  history.pushState(null, "", `#${accepted.id}`);
  progress.show(accepted);
});

const progress = startProgress(document.getElementById("progress"), {
  change: () => leave(() => form.show()),
  another: () => leave(() => form.showEmpty()),
});

function leave(show) {
  history.pushState(null, "", location.pathname);
  progress.hide();
  show();
}

// The view of the address: the steps of a signup, or the form.
function follow() {
  const id = location.hash.slice(1);
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) {
    form.hide();
    progress.show({ id });
  } else if (!progress.hidden()) {
    progress.hide();
    form.show();
  }
}

addEventListener("popstate", follow);
follow();
