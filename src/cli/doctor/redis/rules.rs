//! Which rules Redis applies: pub/sub and functions belong to the whole server, so all fleets with the same
//! `broker.prefix` share them, whatever their database.

use super::super::finding::Finding;
use crate::broker::{Answers, RulesFound};
use crate::config::Config;

const WHY: &str = "Redis keeps histories by the rules installed last, for all nodes that share the prefix: other \
    fleets' histories may be kept too short, too long or not at all";

const REMEDY: &str = "if those are the fleet's rules, run this with the fleet's configuration; else give each fleet \
    its own broker.prefix, and then restart one node with the right rules: the rules of the node that started \
    last apply";

pub fn findings(answers: &Answers, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &answers.rules {
        Ok(RulesFound::Same) => {
            findings.push(Finding::ok("rules", "those of this configuration are installed"));
        }
        Ok(RulesFound::Others { installed_by, database }) => {
            let by = if installed_by.is_empty() { "a node" } else { installed_by.as_str() };
            let measured = format!(
                "other rules than this configuration's are installed under {:?}: by {by}, for database {database}",
                config.broker.prefix
            );
            findings.push(Finding::warning("rules", measured, WHY, REMEDY));
        }
        // The first node installs them; missing read permission is reported with the permissions.
        Ok(RulesFound::None) | Err(_) => {}
    }
    let others: Vec<_> = answers.nodes_with_other_rules.iter().map(ToString::to_string).collect();
    if !others.is_empty() {
        let measured = format!("other rules than this configuration's: {}", others.join(", "));
        findings.push(Finding::warning("nodes' rules", measured, WHY, REMEDY));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Level;
    use super::super::tests::{HISTORY, answers, level};
    use super::*;
    use crate::publication::NodeId;

    #[test]
    fn other_rules_in_redis_or_on_other_nodes_are_a_warning() {
        let mut found = answers(&[], &[]);
        assert_eq!(level(found.clone(), &[HISTORY], "rules"), Some(Level::Ok));
        assert_eq!(level(found.clone(), &[HISTORY], "nodes' rules"), None);
        found.nodes_with_other_rules.push(NodeId::random());
        assert_eq!(level(found.clone(), &[HISTORY], "nodes' rules"), Some(Level::Warning));
        let installed_by = "0123456789ab on staging-1".to_owned();
        found.rules = Ok(RulesFound::Others { installed_by, database: 3 });
        assert_eq!(level(found.clone(), &[HISTORY], "rules"), Some(Level::Warning));
        found.rules = Ok(RulesFound::None);
        assert_eq!(level(found, &[HISTORY], "rules"), None);
    }
}
