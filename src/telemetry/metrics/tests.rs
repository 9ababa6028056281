//! Prometheus conventions for metrics, which its own tool checks only partly.

use std::collections::BTreeMap;

use super::adder::SECONDS;
use super::*;

/// Names, with type and help.
fn families(text: &str) -> BTreeMap<&str, (&str, &str)> {
    let about = |line: &'static str| {
        let lines = text.lines().filter_map(move |it| it.strip_prefix(line)?.split_once(' '));
        lines.collect::<BTreeMap<_, _>>()
    };
    let helps = about("# HELP ");
    about("# TYPE ").into_iter().map(|(name, kind)| (name, (kind, helps[name]))).collect()
}

/// The upper bounds of a histogram's buckets.
fn bounds<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let bucket = format!("{name}_bucket{{");
    let bound =
        |line: &'a str| line.strip_prefix(&bucket)?.split("le=\"").nth(1)?.split('"').next();
    text.lines().filter_map(bound).collect()
}

#[test]
fn metric_names_end_with_unit_and_kind_and_have_help() {
    let text = exposition(Levels::default());
    for (name, (kind, help)) in families(&text) {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
        for (word, unit) in [("bytes", "_bytes"), ("seconds", "_seconds")] {
            let bare = name.trim_end_matches("_total");
            assert!(!name.contains(word) || bare.ends_with(unit), "{name} ends with its unit");
        }
        for part in ["_bucket", "_sum", "_count"] {
            assert!(!name.ends_with(part), "{name} looks like a part of a histogram");
        }
        assert!(name.starts_with("tidegate_") || name.starts_with("process_"), "{name}");
    }
}

#[test]
fn histograms_can_be_summed_over_all_nodes() {
    let text = exposition(Levels::default());
    let expected: Vec<String> = SECONDS.iter().map(f64::to_string).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).chain(["+Inf"]).collect();
    let mut histograms = 0;
    for (name, (kind, _)) in families(&text) {
        assert_ne!(kind, "summary", "{name}: quantiles of nodes cannot be added up");
        if kind == "histogram" {
            assert!(name.ends_with("_seconds"), "{name}");
            assert_eq!(bounds(&text, name), expected, "{name}");
            histograms += 1;
        }
    }
    assert_eq!(histograms, 7);
    assert!(SECONDS.is_sorted() && SECONDS[0] <= 1e-5 && SECONDS[SECONDS.len() - 1] >= 10.);
}
