//! What a token says about topics: in its claim `mercure`, or in its `authorization_details` (RFC 9396).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{InvalidSelector, TopicSelector};

/// The type of authorization details that are about topics.
pub const DETAIL_TYPE: &str = "https://mercure.rocks/authorization-detail";

/// The same type, as an earlier draft names it.
const DETAIL_TYPE_BEFORE: &str = "mercure";

/// The most selectors of a token, because each is tried for every topic.
pub const SELECTORS_MAX: usize = 200;

/// The longest payload of a token, in bytes.
const PAYLOAD_BYTES_MAX: usize = 1024;

/// The claim is not about topics, or lists too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRights;

impl From<InvalidSelector> for InvalidRights {
    fn from(_: InvalidSelector) -> Self {
        Self
    }
}

impl From<serde_json::Error> for InvalidRights {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// What a token allows with topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicAction {
    Subscribe,
    Publish,
}

/// The topics that a token lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TopicRights {
    grants: Box<[TopicGrant]>,
    /// The payload of all subscriptions that have none of a grant: JSON.
    payload: Option<Arc<str>>,
}

#[derive(Debug, PartialEq, Eq)]
struct TopicGrant {
    subscribe: bool,
    publish: bool,
    selectors: Box<[TopicSelector]>,
    payload: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct Claim<'a> {
    #[serde(default)]
    subscribe: Option<Vec<String>>,
    #[serde(default)]
    publish: Option<Vec<String>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Detail<'a> {
    r#type: String,
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    topics: Vec<DetailTopic>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct DetailTopic {
    r#match: String,
    #[serde(default, alias = "matchType")]
    match_type: Option<String>,
}

impl TopicRights {
    /// Reads the JSON of the claims `mercure` and `authorization_details`. None: neither is about topics.
    pub fn read(
        mercure: Option<&RawValue>,
        details: Option<&RawValue>,
    ) -> Result<Option<Self>, InvalidRights> {
        let mut grants = Vec::new();
        let mut of_all = None;
        if let Some(claim) = mercure {
            let claim: Claim<'_> = serde_json::from_str(claim.get())?;
            of_all = payload(claim.payload)?;
            for (list, publish) in [(claim.subscribe, false), (claim.publish, true)] {
                let list = list.unwrap_or_default();
                let selectors = list.iter().map(|text| TopicSelector::parse(text));
                let selectors = selectors.collect::<Result<_, _>>()?;
                grants.push(TopicGrant { subscribe: !publish, publish, selectors, payload: None });
            }
        }
        for detail in details.map_or(Ok(Vec::new()), |raw| serde_json::from_str(raw.get()))? {
            let Detail { r#type, actions, topics, payload: of_grant } = detail;
            if r#type != DETAIL_TYPE && r#type != DETAIL_TYPE_BEFORE {
                continue;
            }
            let is_known = |action: &String| action == "subscribe" || action == "publish";
            if actions.is_empty() || topics.is_empty() || !actions.iter().all(is_known) {
                return Err(InvalidRights);
            }
            let does = |name: &str| actions.iter().any(|action| action == name);
            let selectors = topics.iter().map(DetailTopic::selector).collect::<Result<_, _>>()?;
            let (subscribe, publish) = (does("subscribe"), does("publish"));
            grants.push(TopicGrant { subscribe, publish, selectors, payload: payload(of_grant)? });
        }
        if grants.iter().map(|grant| grant.selectors.len()).sum::<usize>() > SELECTORS_MAX {
            return Err(InvalidRights);
        }
        let is_about_topics = mercure.is_some() || !grants.is_empty();
        Ok(is_about_topics.then(|| Self { grants: grants.into(), payload: of_all }))
    }

    /// Whether the token lists the topic. `topic`: as its channel.
    pub fn lists(&self, action: TopicAction, topic: &str) -> bool {
        let of_action = self.grants.iter().filter(|grant| match action {
            TopicAction::Subscribe => grant.subscribe,
            TopicAction::Publish => grant.publish,
        });
        let mut selectors = of_action.flat_map(|grant| &grant.selectors);
        selectors.any(|selector| selector.matches(topic))
    }

    /// Whether the token lists any topic for subscribing.
    pub fn lists_subscriptions(&self) -> bool {
        self.grants.iter().any(|grant| grant.subscribe && !grant.selectors.is_empty())
    }

    /// The JSON that the token attaches to a subscription. `selector`: the subscription's own text.
    pub fn payload(&self, selector: &str) -> Option<&Arc<str>> {
        let of_selector = self.grants.iter().find(|grant| {
            grant.payload.is_some() && grant.selectors.iter().any(|it| it.matches(selector))
        });
        of_selector.and_then(|grant| grant.payload.as_ref()).or(self.payload.as_ref())
    }
}

impl DetailTopic {
    fn selector(&self) -> Result<TopicSelector, InvalidRights> {
        let selector = match self.match_type.as_deref() {
            None | Some("exact" | "Exact") => TopicSelector::exact(&self.r#match),
            Some("urlpattern" | "URLPattern") => TopicSelector::url_pattern(&self.r#match),
            Some(_) => return Err(InvalidRights),
        };
        Ok(selector?)
    }
}

fn payload(raw: Option<&RawValue>) -> Result<Option<Arc<str>>, InvalidRights> {
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(json) if json.len() <= PAYLOAD_BYTES_MAX => Ok(Some(json.into())),
        Some(_) => Err(InvalidRights),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mercure: &str, details: &str) -> Result<Option<TopicRights>, InvalidRights> {
        let raw = |json: &str| {
            (!json.is_empty()).then(|| serde_json::from_str::<Box<RawValue>>(json).unwrap())
        };
        let (mercure, details) = (raw(mercure), raw(details));
        TopicRights::read(mercure.as_deref(), details.as_deref())
    }

    #[test]
    fn the_mercure_claim_lists_topics_for_each_action() {
        use TopicAction::{Publish, Subscribe};
        let claim = r#"{"subscribe":["https://a.test/{id}"],"publish":["*"],"payload":{"a":1.50}}"#;
        let rights = read(claim, "").unwrap().unwrap();
        assert!(rights.lists(Subscribe, "https://a.test/1") && !rights.lists(Subscribe, "b"));
        assert!(rights.lists(Publish, "b"));
        assert_eq!(rights.payload("any").map(|it| &**it), Some(r#"{"a":1.50}"#));
        let none = read("{}", "").unwrap().unwrap();
        assert!(!none.lists(Publish, "b") && none.payload("b").is_none());
        assert_eq!(read("", ""), Ok(None));
    }

    #[test]
    fn authorization_details_list_topics_with_a_payload_each() {
        use TopicAction::{Publish, Subscribe};
        let details = format!(
            r#"[{{"type":"other","x":1}},
            {{"type":"{DETAIL_TYPE}","actions":["subscribe"],"topics":[{{"match":"a"}},{{"match":"/:x","match_type":"urlpattern"}}],"payload":{{"n":1}}}},
            {{"type":"{DETAIL_TYPE}","actions":["subscribe","publish"],"topics":[{{"match":"w","match_type":"exact"}}]}}]"#
        );
        let rights = read("", &details).unwrap().unwrap();
        assert!(rights.lists(Subscribe, "a") && rights.lists(Subscribe, "/7"));
        assert!(!rights.lists(Publish, "a") && rights.lists(Publish, "w"));
        assert_eq!(rights.payload("a").map(|it| &**it), Some(r#"{"n":1}"#));
        assert_eq!(rights.payload("w"), None);
        assert_eq!(read("", r#"[{"type":"other"}]"#), Ok(None));
    }

    #[test]
    fn invalid_claims_about_topics_are_refused_as_a_whole() {
        for claim in
            [r#"{"subscribe":"a"}"#, r#"{"publish":[1]}"#, r#"{"publish":[""]}"#, "[1]", "1"]
        {
            assert_eq!(read(claim, ""), Err(InvalidRights), "{claim}");
        }
        let many = serde_json::json!({ "publish": vec!["a"; 201] }).to_string();
        assert_eq!(read(&many, ""), Err(InvalidRights));
        let large = serde_json::json!({ "payload": "x".repeat(1025) }).to_string();
        assert_eq!(read(&large, ""), Err(InvalidRights));
        let detail = |rest: &str| format!(r#"[{{"type":"{DETAIL_TYPE}",{rest}}}]"#);
        for rest in [
            r#""actions":["subscribe"]"#,
            r#""actions":[],"topics":[{"match":"a"}]"#,
            r#""actions":["read"],"topics":[{"match":"a"}]"#,
            r#""actions":["subscribe"],"topics":["a"]"#,
            r#""actions":["subscribe"],"topics":[{"match":"a","match_type":"regexp"}]"#,
            r#""actions":["subscribe"],"topics":[{"match":"(a)","match_type":"urlpattern"}]"#,
        ] {
            assert_eq!(read("", &detail(rest)), Err(InvalidRights), "{rest}");
        }
    }
}
