//! The topology drawn: a Mermaid flowchart made from the data, never by hand.

use std::fmt::Write as _;

use super::{QueueKind, Target, Topology};

impl Topology {
    /// The topology as a Mermaid flowchart (`topology show --diagram`). Delay levels are drawn as
    /// one box: their chain says nothing that the names do not.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        let is_delay = |name: &str| name.contains(".delay.");
        for exchange in self.exchanges.iter().filter(|name| !is_delay(name)) {
            line(
                &mut text,
                format_args!("{}([{exchange}])", id("x", exchange)),
            );
        }
        for queue in self.queues.iter().filter(|queue| !is_delay(&queue.name)) {
            let node = id("q", &queue.name);
            match queue.kind {
                QueueKind::Stream { .. } => {
                    line(&mut text, format_args!("{node}[({})]", queue.name));
                }
                _ => line(&mut text, format_args!("{node}[{}]", queue.name)),
            }
        }
        let levels = self
            .queues
            .iter()
            .filter(|queue| is_delay(&queue.name))
            .count();
        line(&mut text, format_args!("delay[[{levels} delay levels]]"));
        for binding in self
            .bindings
            .iter()
            .filter(|binding| !is_delay(&binding.exchange))
        {
            let to = match &binding.to {
                Target::Queue(name) => id("q", name),
                Target::Exchange(name) => id("x", name),
            };
            let from = id("x", &binding.exchange);
            line(
                &mut text,
                format_args!("{from} -- \"{}\" --> {to}", binding.pattern),
            );
        }
        self.push_ways_out(&mut text);
        text
    }

    /// From the delays to each work queue, and from there to where its lost messages go.
    fn push_ways_out(&self, text: &mut String) {
        for queue in self.work_queues() {
            line(text, format_args!("delay -.-> {}", id("q", &queue.name)));
            if let QueueKind::Work {
                dead_letter_exchange,
                dead_letter_routing_key,
            } = &queue.kind
            {
                let to = match dead_letter_routing_key {
                    Some(parked) => id("q", parked),
                    None => id("x", dead_letter_exchange),
                };
                line(
                    text,
                    format_args!("{} -. gives up .-> {to}", id("q", &queue.name)),
                );
            }
        }
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "    {what}");
}

fn id(kind: &str, name: &str) -> String {
    format!("{kind}_{}", name.replace(['.', '-'], "_"))
}
