//! Permissions that the user lacks, and whether the configuration needs them.

use super::super::finding::Finding;
use super::needs::{has_runs, keeps_history, keeps_presence};
use crate::broker::{Answers, NodeFeature, Url};
use crate::config::Config;

pub fn findings(answers: &Answers, config: &Config) -> Vec<Finding> {
    let user = match &config.broker.url {
        Url::Redis(deployment) => deployment.login.username().unwrap_or("default").to_owned(),
        Url::Memory => String::new(),
    };
    let needs = [
        (NodeFeature::Everything, true),
        (NodeFeature::History, keeps_history(config)),
        (NodeFeature::Runs, has_runs(config)),
        (NodeFeature::Presence, keeps_presence(config)),
        (NodeFeature::Revocations, true),
    ];
    let needed = needs.into_iter().filter(|(_, is_needed)| *is_needed);
    let mut findings: Vec<_> =
        needed.filter_map(|(need, _)| lacking(need, &user, answers)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("permissions", format!("{user} has all that nodes need")));
    }
    findings
}

/// None: the user has all permissions that this needs.
fn lacking(need: NodeFeature, user: &str, answers: &Answers) -> Option<Finding> {
    let rules = answers.forbidden.iter().filter(|it| it.feature == need);
    let rules: Vec<&str> = rules.map(|it| it.rule.as_str()).collect();
    if rules.is_empty() {
        return None;
    }
    let rules = rules.join(" ");
    // Quoted, because a shell would interpret `|`, `&`, `~` and `*`.
    let quoted: Vec<_> = rules.split(' ').map(|rule| format!("'{rule}'")).collect();
    let remedy = format!(
        "ACL SETUSER {user} {}, and the same in redis.conf, or ACL SAVE where Redis has an ACL file",
        quoted.join(" ")
    );
    let measured = format!("{user} lacks: {rules}");
    let (subject, why) = words(need);
    Some(match need {
        NodeFeature::Everything
        | NodeFeature::History
        | NodeFeature::Runs
        | NodeFeature::Presence => Finding::problem(subject, measured, why, remedy),
        NodeFeature::Revocations => Finding::warning(subject, measured, why, remedy),
    })
}

/// The subject in the report, and the consequence.
fn words(need: NodeFeature) -> (&'static str, &'static str) {
    match need {
        NodeFeature::Everything => ("permissions", "nodes need these for all their functions"),
        NodeFeature::History => (
            "permissions, history",
            "publishing to channels with history, and resuming them, is answered unavailable",
        ),
        NodeFeature::Runs => {
            ("permissions, runs", "publishing to channels with runs is answered unavailable")
        }
        NodeFeature::Presence => {
            ("permissions, presence", "a node knows only the members that are connected to it")
        }
        NodeFeature::Revocations => (
            "permissions, disconnect",
            "a disconnected user stays connected to other nodes, and revoked tokens are accepted again after a \
             restart",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Level;
    use super::super::tests::{HISTORY, answers, level};
    use super::*;
    use crate::broker::Forbidden;

    #[test]
    fn a_missing_permission_is_reported_only_if_the_configuration_needs_it() {
        let of = |feature, flags: &[&str], subject| {
            let forbidden = vec![Forbidden { feature, rule: "+fcall".to_owned() }];
            level(Answers { forbidden, ..answers(&[], &[]) }, flags, subject)
        };
        assert_eq!(of(NodeFeature::Everything, &[], "permissions"), Some(Level::Problem));
        assert_eq!(of(NodeFeature::History, &[], "permissions"), Some(Level::Ok));
        assert_eq!(
            of(NodeFeature::History, &[HISTORY], "permissions, history"),
            Some(Level::Problem)
        );
        assert_eq!(
            of(NodeFeature::Presence, &[HISTORY], "permissions, presence"),
            Some(Level::Problem)
        );
        assert_eq!(
            of(NodeFeature::Revocations, &[], "permissions, disconnect"),
            Some(Level::Warning)
        );
    }
}
