//! Metrics of settings and TLS files.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::adder::Adder;

/// Values of the `outcome` label of a reload.
pub const TAKEN_UP: &str = "taken_up";
/// Values of the `outcome` label: changed TLS files are in use, or cannot be used.
pub const REPLACED: &str = "replaced";
pub const REFUSED: &str = "refused";

/// Values of the `listener` label: the names of the configuration's sections.
const LISTENERS: [&str; 2] = ["server", "internal"];

pub struct SettingsMetrics {
    pub reloads: IntCounterVec,
    pub refused: IntGauge,
    pub tls_reloads: IntCounterVec,
    pub tls_files_refused: IntGaugeVec,
}

impl SettingsMetrics {
    pub fn new(add: &Adder<'_>) -> Self {
        let tls_files_refused = add.gauges(
            "tls_files_refused",
            "1 while a listener's TLS files cannot be used and the previous ones stay in use.",
            &["listener"],
        );
        for listener in LISTENERS {
            tls_files_refused.with_label_values(&[listener]);
        }
        Self {
            reloads: add.counters(
                "config_reloads_total",
                "Reloads of the configuration, by outcome.",
                "outcome",
                [TAKEN_UP, REFUSED],
            ),
            refused: add.gauge(
                "config_refused",
                "1 while the configuration in the file is refused and the previous one is in force.",
            ),
            tls_reloads: add.counters(
                "tls_reloads_total",
                "Changes of a listener's TLS files, by whether they could be used.",
                "outcome",
                [REPLACED, REFUSED],
            ),
            tls_files_refused,
        }
    }
}
