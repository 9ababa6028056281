//! Findings about Redis, master by master.

mod acl;
mod buffers;
mod keeping;
mod needs;
mod rules;
mod server;

use self::needs::CONNECTIONS_PER_MASTER;
use super::finding::{Finding, Level, ReportSection};
use crate::broker::{MasterSurvey, Survey, Url};
use crate::config::Config;
use crate::transport::{OWN_FILES, RESERVED_FILES, open_file_limit};

/// The most files of a node besides clients and Redis.
const OTHER_FILES: usize = 14;

/// Empty if the broker is not Redis.
pub fn parts(survey: Option<&Result<Survey, String>>, config: &Config) -> Vec<ReportSection> {
    let url = config.broker.url.masked();
    match survey {
        None => Vec::new(),
        Some(Err(why)) => {
            let finding = Finding::problem(
                "masters",
                why,
                "without a master nothing is published, and the node is not ready",
                remedy(why, &config.broker.url).unwrap_or_else(|| {
                    format!("check that broker.url is right and that the servers run: {url}")
                }),
            );
            vec![ReportSection::new("Redis", vec![finding])]
        }
        Some(Ok(survey)) => found(survey, config),
    }
}

fn found(survey: &Survey, config: &Config) -> Vec<ReportSection> {
    let mut parts = Vec::new();
    if survey.slots_unserved > 0 {
        let finding = Finding::problem(
            "slots",
            format!("{} of 16384 have no master", survey.slots_unserved),
            "channels of these slots answer unavailable, and the node is not ready",
            "redis-cli --cluster check, then --cluster fix",
        );
        parts.push(ReportSection::new("Redis, the cluster", vec![finding]));
    }
    let masters = survey.masters.len() + survey.masters_not_queried;
    if let Some(finding) = files(masters, open_file_limit(), config) {
        parts.push(ReportSection::new("Redis, its masters", vec![finding]));
    }
    let several = survey.masters.len() > 1;
    for master in &survey.masters {
        let findings = of_master(master, config);
        let findings = if several { with_ok_findings_joined(findings) } else { findings };
        parts.push(ReportSection::new(format!("Redis {}", master.address), findings));
    }
    if survey.masters_not_queried > 0 {
        let left = format!("{} masters were not checked", survey.masters_not_queried);
        parts.push(ReportSection::new(
            "Redis, the rest",
            vec![Finding::hint("masters", left, "", "")],
        ));
    }
    parts
}

/// The files that a node reserves for Redis suffice for ten masters; no setting gives them to clients.
fn files(masters: usize, open_files: usize, config: &Config) -> Option<Finding> {
    let needed = masters * CONNECTIONS_PER_MASTER + OTHER_FILES;
    if needed <= OWN_FILES {
        return None;
    }
    let fits = open_files.saturating_sub(needed + RESERVED_FILES - OWN_FILES);
    let kept_for_clients = open_files.saturating_sub(RESERVED_FILES);
    let connections_max = match config.limits.connections_max {
        0 => kept_for_clients,
        max => max.min(kept_for_clients),
    };
    // 0 would mean: as many as there is room for.
    let remedy = match fits {
        0 => "more open files".to_owned(),
        fits => format!("limits.connections_max = {fits}, or more open files"),
    };
    (connections_max > fits).then(|| {
        Finding::warning(
            "files for masters",
            format!(
                "{masters} masters may need {needed} open files; {OWN_FILES} are reserved for them"
            ),
            "a node full of clients could not reconnect to Redis",
            remedy,
        )
    })
}

fn of_master(master: &MasterSurvey, config: &Config) -> Vec<Finding> {
    match &master.answers {
        Err(why) => vec![Finding::problem(
            "connection",
            why,
            "while this master is not reachable, its channels answer unavailable, and the node is not ready",
            away(why, &master.address, &config.broker.url),
        )],
        Ok(answers) => {
            let mut findings = server::findings(answers, config);
            findings.extend(buffers::findings(answers, config));
            findings.extend(keeping::findings(answers, config));
            findings.extend(rules::findings(answers, config));
            findings.extend(acl::findings(answers, config));
            findings
        }
    }
}

fn away(why: &str, address: &str, url: &Url) -> String {
    if let Some(remedy) = remedy(why, url) {
        return remedy;
    }
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "6379"));
    let tls = if url.is_encrypted() { " --tls" } else { "" };
    let or_tls = match !url.is_encrypted() && closed_by_server(why) {
        true => ", or it requires TLS: rediss:// in broker.url",
        false => "",
    };
    format!(
        "redis-cli{tls} -h {} -p {port} PING from this host, then check Redis' own log and firewalls{or_tls}",
        host.trim_matches(['[', ']'])
    )
}

/// The remedy, if the error message identifies the cause.
fn remedy(why: &str, url: &Url) -> Option<String> {
    let says = |part: &&str| why.contains(part);
    if ["NOAUTH", "WRONGPASS", "AuthenticationFailed"].iter().any(says) {
        return Some(format!(
            "set the right user and password in broker.url, now {}",
            url.masked()
        ));
    }
    if why.contains("certificate is not trusted") {
        let remedy = "broker.ca_file = a file with the certificate of the authority that signed the server's; \
                      the server's own must be an end-entity certificate (CA:FALSE) for its name in \
                      broker.url";
        return Some(remedy.to_owned());
    }
    if why.contains("does not speak Redis") {
        return Some(format!("another host or port in broker.url, now {}", url.masked()));
    }
    why.contains("not a cluster").then(|| "redis:// in broker.url, or rediss://".to_owned())
}

/// Whether the server closed the connection. So does a server that waits for a TLS handshake.
fn closed_by_server(why: &str) -> bool {
    let why = why.to_lowercase();
    ["reset", "end of file", "eof", "broken pipe", "closed", "dropped"]
        .iter()
        .any(|it| why.contains(it))
}

/// With many masters, the `ok` findings of each take one line.
fn with_ok_findings_joined(findings: Vec<Finding>) -> Vec<Finding> {
    let (well, mut others): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.level == Level::Ok);
    if !well.is_empty() {
        let subjects: Vec<_> = well.iter().map(|finding| finding.subject.as_str()).collect();
        others.push(Finding::ok("all else", subjects.join(", ")));
    }
    others
}

#[cfg(test)]
pub mod tests;
