//! Server-Sent Events as a server writes them (the HTML standard, section 9.2): an event consists of fields,
//! one per line.

use bytes::Bytes;

/// A comment, which every client ignores.
pub const COMMENT: &[u8] = b":\n\n";

/// An event under construction.
#[derive(Default)]
pub struct SseEvent(Vec<u8>);

impl SseEvent {
    /// The position from which to resume: the client sends it back as `Last-Event-ID`.
    pub fn id(mut self, id: &str) -> Self {
        self.line("id", id.as_bytes());
        self
    }

    /// The event's type. The default is `message`.
    pub fn name(mut self, name: &str) -> Self {
        self.line("event", name.as_bytes());
        self
    }

    /// How long the client waits before it reconnects.
    pub fn retry(mut self, milliseconds: u64) -> Self {
        self.line("retry", milliseconds.to_string().as_bytes());
        self
    }

    /// The event's data. Line ends of any kind become `\n`, the only one that the format can represent.
    pub fn data(mut self, data: &[u8]) -> Self {
        let mut rest = data;
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            self.line("data", &rest[..end]);
            let is_pair = rest[end..].starts_with(b"\r\n");
            rest = &rest[end + 1 + usize::from(is_pair)..];
        }
        self.line("data", rest);
        self
    }

    /// A comment, which every client ignores. `text`: without a line end.
    pub fn comment(mut self, text: &str) -> Self {
        self.line("", text.as_bytes());
        self
    }

    /// The bytes of the event, with the empty line at its end.
    pub fn end(mut self) -> Bytes {
        self.0.push(b'\n');
        self.0.into()
    }

    /// `value`: without a line end.
    fn line(&mut self, field: &str, value: &[u8]) {
        self.0.reserve(field.len() + value.len() + 4);
        for piece in [field.as_bytes(), b": ", value, b"\n"] {
            self.0.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(data: &str) -> String {
        String::from_utf8(SseEvent::default().data(data.as_bytes()).end().to_vec()).unwrap()
    }

    #[test]
    fn an_sse_event_consists_of_its_fields_and_an_empty_line() {
        let event = SseEvent::default().id("1-2").name("gap").retry(1000).data(b"{}").end();
        assert_eq!(&event[..], b"id: 1-2\nevent: gap\nretry: 1000\ndata: {}\n\n");
    }

    #[test]
    fn each_line_of_sse_data_becomes_a_field() {
        assert_eq!(data(""), "data: \n\n");
        assert_eq!(data("a"), "data: a\n\n");
        assert_eq!(data(" a:b"), "data:  a:b\n\n");
        assert_eq!(data("a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n\n");
        assert_eq!(data("a\n"), "data: a\ndata: \n\n");
        assert_eq!(data("\n\r"), "data: \ndata: \ndata: \n\n");
    }
}
