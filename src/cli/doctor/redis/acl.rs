//! What the user may not do, and whether anybody will miss it.

use super::super::finding::Finding;
use super::needs::{keeps_history, keeps_presence};
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
        (NodeFeature::Presence, keeps_presence(config)),
        (NodeFeature::Revocations, true),
    ];
    let needed = needs.into_iter().filter(|(_, is_needed)| *is_needed);
    let mut findings: Vec<_> =
        needed.filter_map(|(need, _)| lacking(need, &user, answers)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("permissions", format!("{user} may do all that nodes do")));
    }
    findings
}

/// None: the user may do all that this needs.
fn lacking(need: NodeFeature, user: &str, answers: &Answers) -> Option<Finding> {
    let rules = answers.forbidden.iter().filter(|it| it.feature == need);
    let rules: Vec<&str> = rules.map(|it| it.rule.as_str()).collect();
    if rules.is_empty() {
        return None;
    }
    let rules = rules.join(" ");
    // A shell would take `|`, `&`, `~` and `*` for its own.
    let quoted: Vec<_> = rules.split(' ').map(|rule| format!("'{rule}'")).collect();
    let remedy = format!(
        "ACL SETUSER {user} {}, and the same in redis.conf, or ACL SAVE where Redis has an ACL file",
        quoted.join(" ")
    );
    let measured = format!("{user} may not: {rules}");
    let (subject, why) = words(need);
    Some(match need {
        NodeFeature::Everything | NodeFeature::History | NodeFeature::Presence => {
            Finding::problem(subject, measured, why, remedy)
        }
        NodeFeature::Revocations => Finding::warning(subject, measured, why, remedy),
    })
}

/// What it is called in the report, and what comes of its lack.
fn words(need: NodeFeature) -> (&'static str, &'static str) {
    match need {
        NodeFeature::Everything => ("permissions", "nodes need these for everything they do"),
        NodeFeature::History => (
            "permissions, history",
            "publishing to channels with history, and resuming them, is answered unavailable",
        ),
        NodeFeature::Presence => {
            ("permissions, presence", "who is in a channel is not known beyond one node")
        }
        NodeFeature::Revocations => (
            "permissions, disconnect",
            "a user that is disconnected stays connected to other nodes, and revoked tokens count again \
             after a restart",
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
    fn what_is_forbidden_matters_to_those_who_need_it() {
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
