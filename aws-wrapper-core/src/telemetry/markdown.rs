//! Metrics and spans as tables for people.

use std::fmt::Write as _;

use super::metric::Metric;
use super::metrics::METRICS;
use super::spans::SPANS;

/// The tables of `docs/guide/telemetry.md`: the metrics, those whose names are taken, and the spans.
pub fn markdown() -> String {
    let mut out =
        String::from("| Name | Kind | Unit | Attributes | Meaning |\n| --- | --- | --- | --- | --- |\n");
    for metric in METRICS.iter().filter(|metric| metric.waits_for.is_none()) {
        let _ = writeln!(out, "{} {} |", columns(metric), metric.doc);
    }
    out.push_str(
        "\nThese names are taken by what is still to come:\n\n\
         | Name | Kind | Unit | Attributes | Meaning | Waits for |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for metric in METRICS {
        if let Some(capability) = metric.waits_for {
            let _ = writeln!(out, "{} {} | {capability} |", columns(metric), metric.doc);
        }
    }
    out.push_str("\n## All spans\n\n| Name | Around | Fields | Waits for |\n| --- | --- | --- | --- |\n");
    for span in SPANS {
        let waits_for = span.waits_for.unwrap_or("–");
        let _ = writeln!(out, "| `{}` | {} | {} | {waits_for} |", span.name, span.doc, list(span.fields));
    }
    out
}

/// The first four columns.
fn columns(metric: &Metric) -> String {
    let keys: Vec<_> = metric.attributes.iter().map(|key| key.name()).collect();
    let keys = list(&keys);
    format!("| `{}` | {} | {} | {keys} |", metric.name, metric.kind.name(), metric.unit.symbol())
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "–".to_owned() } else { format!("`{}`", names.join("`, `")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/telemetry.md");
        assert!(
            std::fs::read_to_string(path).unwrap().contains(&markdown()),
            "docs/guide/telemetry.md does not match the tables of metrics and spans: run `cargo xtask docs`"
        );
    }
}
