use serde::Serialize;

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Events a second.
    #[serde(rename = "events/s")]
    EventsPerSecond,
    /// Requests a second.
    #[serde(rename = "requests/s")]
    RequestsPerSecond,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// One figure divided by another.
    #[serde(rename = "ratio")]
    Ratio,
    /// Megabytes (10^6 bytes).
    #[serde(rename = "MB")]
    Megabytes,
    /// Percent of one core.
    #[serde(rename = "% of a core")]
    PercentOfCore,
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Stable name for scripts, words joined by `_`.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
    /// The least (or, for times and sizes, the most) it should be, where something is aimed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
}

impl Figure {
    /// Whether the figure meets its goal; `None` when it has none.
    ///
    /// Rates and ratios are to be at least their goal, everything else at most.
    #[must_use]
    pub fn met(&self) -> Option<bool> {
        let goal = self.goal?;
        Some(match self.unit {
            Unit::EventsPerSecond | Unit::RequestsPerSecond | Unit::Ratio => self.value >= goal,
            Unit::Milliseconds | Unit::Microseconds | Unit::Megabytes | Unit::PercentOfCore => {
                self.value <= goal
            }
        })
    }
}

/// The figures of one run, one JSON document: `{"items": [{"name", "value", "unit", "goal"?}]}`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The figures in the order they were measured.
    pub items: Vec<Figure>,
}

impl Report {
    /// Adds a figure that is only to be known.
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: Unit) {
        self.push(name.into(), value, unit, None);
    }

    /// Adds a figure that should meet `goal`.
    pub fn aim(&mut self, name: impl Into<String>, value: f64, unit: Unit, goal: f64) {
        self.push(name.into(), value, unit, Some(goal));
    }

    /// The figure with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Figure> {
        self.items.iter().find(|figure| figure.name == name)
    }

    /// Whether every figure that has a goal meets it.
    #[must_use]
    pub fn met(&self) -> bool {
        self.items.iter().all(|figure| figure.met() != Some(false))
    }

    fn push(&mut self, name: String, value: f64, unit: Unit, goal: Option<f64>) {
        self.items.push(Figure {
            name,
            value,
            unit,
            goal,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, Unit};

    #[test]
    fn a_missed_goal_fails_the_report_whichever_way_it_points() {
        let mut report = Report::default();
        report.add("twin_events", 4000.0, Unit::EventsPerSecond);
        report.aim("pipeline_to_twin", 0.85, Unit::Ratio, 0.8);
        report.aim("idle_memory", 20.0, Unit::Megabytes, 25.0);
        assert!(report.met());
        report.aim("idle_cpu", 3.0, Unit::PercentOfCore, 0.5);
        assert!(!report.met());
    }

    #[test]
    fn the_document_is_a_list_of_items() {
        let mut report = Report::default();
        report.add("twin_events", 4000.0, Unit::EventsPerSecond);
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"items":[{"name":"twin_events","value":4000.0,"unit":"events/s"}]}"#
        );
    }
}
