//! A UI message as one viewer gets it: what must stand before a chunk and at the end.

use serde_json::json;

use super::mark::FrameMark;

const START: &str = r#"{"type":"start"}"#;
const TEXT_START: &str = r#"{"type":"text-start","id":"0"}"#;
const TEXT_END: &str = r#"{"type":"text-end","id":"0"}"#;

/// The reasons with which a message is finished, as the AI SDK names them; `done` is Tidegate's.
const FINISHED: [&str; 5] = ["stop", "length", "content-filter", "tool-calls", "other"];

/// How far a viewer is in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UiMessage {
    has_started: bool,
    has_open_text: bool,
    /// The worker itself has finished it.
    is_complete: bool,
}

impl UiMessage {
    /// The chunks that must stand before one of this kind.
    pub fn before(&mut self, mark: FrameMark) -> impl Iterator<Item = &'static str> + use<> {
        let ends_text = self.has_open_text && mark != FrameMark::Text;
        // The client empties the message at its start, so that a replay adds nothing twice.
        let starts = !self.has_started && mark != FrameMark::Start;
        let starts_text = !self.has_open_text && mark == FrameMark::Text;
        self.has_started = true;
        self.has_open_text = mark == FrameMark::Text;
        self.is_complete |= mark == FrameMark::Last;
        [ends_text.then_some(TEXT_END), starts.then_some(START), starts_text.then_some(TEXT_START)]
            .into_iter()
            .flatten()
    }

    /// The last chunks of a run that has ended for this reason.
    pub fn end(&mut self, reason: &str) -> impl Iterator<Item = String> + use<> {
        let text_end = self.has_open_text.then(|| TEXT_END.to_owned());
        let start = (!self.has_started).then(|| START.to_owned());
        let last = (!self.is_complete).then(|| last_chunk(reason));
        *self = Self { has_started: true, has_open_text: false, is_complete: true };
        [start, text_end, last].into_iter().flatten()
    }
}

/// The chunk that says how a run has ended. A reason that is none of the known ones is an error: the user sees it.
fn last_chunk(reason: &str) -> String {
    match reason {
        "done" => r#"{"type":"finish"}"#.to_owned(),
        "stopped" | "aborted" | "cancelled" => r#"{"type":"abort"}"#.to_owned(),
        reason if FINISHED.contains(&reason) => {
            json!({ "type": "finish", "finishReason": reason }).to_string()
        }
        reason => error_chunk(reason),
    }
}

/// The chunk of an error.
pub fn error_chunk(text: &str) -> String {
    json!({ "type": "error", "errorText": text }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(chunks: impl Iterator<Item = impl AsRef<str>>) -> Vec<String> {
        let name = |chunk: &str| {
            serde_json::from_str::<serde_json::Value>(chunk).unwrap()["type"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        chunks.map(|chunk| name(chunk.as_ref())).collect()
    }

    #[test]
    fn texts_stand_in_one_block_between_start_and_finish() {
        let mut message = UiMessage::default();
        assert_eq!(types(message.before(FrameMark::Text)), ["start", "text-start"]);
        assert_eq!(types(message.before(FrameMark::Text)), [""; 0]);
        assert_eq!(types(message.end("done")), ["text-end", "finish"]);
    }

    #[test]
    fn the_start_and_the_finish_of_a_worker_are_not_doubled() {
        let mut message = UiMessage::default();
        assert_eq!(types(message.before(FrameMark::Start)), [""; 0]);
        assert_eq!(types(message.before(FrameMark::Typed)), [""; 0]);
        assert_eq!(types(message.before(FrameMark::Last)), [""; 0]);
        assert_eq!(types(message.end("abandoned")), [""; 0]);
        let mut message = UiMessage::default();
        assert_eq!(types(message.before(FrameMark::Typed)), ["start"]);
        assert_eq!(types(message.end("done")), ["finish"]);
    }

    #[test]
    fn a_typed_part_between_texts_is_in_no_text_block() {
        let mut message = UiMessage::default();
        assert_eq!(types(message.before(FrameMark::Start)), [""; 0]);
        assert_eq!(types(message.before(FrameMark::Text)), ["text-start"]);
        assert_eq!(types(message.before(FrameMark::Typed)), ["text-end"]);
        assert_eq!(types(message.before(FrameMark::Text)), ["text-start"]);
        assert_eq!(types(message.before(FrameMark::Last)), ["text-end"]);
    }

    #[test]
    fn the_reason_of_a_run_decides_its_last_chunk() {
        for (reason, last) in [
            ("done", r#"{"type":"finish"}"#),
            ("length", r#"{"finishReason":"length","type":"finish"}"#),
            ("stopped", r#"{"type":"abort"}"#),
            ("abandoned", r#"{"errorText":"abandoned","type":"error"}"#),
            ("error: no \"tokens\"", r#"{"errorText":"error: no \"tokens\"","type":"error"}"#),
        ] {
            assert_eq!(last_chunk(reason), last);
        }
    }
}
