//! A plan of PostgreSQL's in one line: the nodes that do something, their indexes, and how many rows they gave.

use serde_json::Value;

/// Nodes that only pass rows on.
const SILENT: [&str; 3] = ["Result", "Subquery Scan", "Append"];

/// `Node index rows (rows read; and further work)`. All loops of a node are added up.
pub(super) fn condensed(plan: &Value) -> String {
    nodes(&plan[0]["Plan"]).join("; ")
}

fn nodes(node: &Value) -> Vec<String> {
    let children = node["Plans"].as_array().into_iter().flatten();
    let children: Vec<String> = children.flat_map(nodes).collect();
    let name = node["Node Type"].as_str().unwrap_or("?");
    if SILENT.contains(&name) && !children.is_empty() {
        return children;
    }
    let rows = node["Actual Rows"].as_f64().unwrap_or_default();
    let loops = node["Actual Loops"].as_f64().unwrap_or_default();
    let of = ["Index Name", "CTE Name", "Function Name"];
    let of = of.into_iter().find_map(|key| node[key].as_str());
    let mut text = name.to_owned();
    if let Some(of) = of {
        text.push_str(&format!(" {of}"));
    }
    text.push_str(&format!(" {:.0}", rows * loops));
    if !children.is_empty() {
        text.push_str(&format!(" ({})", children.join("; ")));
    }
    vec![text]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_tells_what_was_read_by_which_index_and_how_much() {
        let index = json!({
            "Node Type": "Index Only Scan", "Index Name": "letters_idx", "Actual Rows": 7, "Actual Loops": 3,
        });
        let classes = json!({
            "Node Type": "Seq Scan", "Relation Name": "classes", "Actual Rows": 3, "Actual Loops": 1,
        });
        let silent = json!({ "Node Type": "Subquery Scan", "Plans": [index] });
        let join = json!({
            "Node Type": "Nested Loop", "Actual Rows": 21, "Actual Loops": 1, "Plans": [classes, silent],
        });
        assert_eq!(
            condensed(&json!([{ "Plan": join }])),
            "Nested Loop 21 (Seq Scan 3; Index Only Scan letters_idx 21)"
        );
    }
}
