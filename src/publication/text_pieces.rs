//! Joins the publications of a streamed text into fewer, longer ones. The joined text is the same, byte for byte.

mod typed_part;

use bytes::{Bytes, BytesMut};

pub use self::typed_part::typed_part_type;
use self::typed_part::{Delta, TypedPart};
use super::{PayloadKind, Position, Publication};

/// Most bytes of a joined payload. A single publication may be longer, and is then not joined.
const PIECE_BYTES_MAX: usize = 16 << 10;

/// One or more publications that follow each other, joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its position and time are those of the last part, so that a client that resumes from it continues after it.
    pub publication: Publication,
    /// The position that its first part follows. None: it is in no history, or the first of one.
    pub after: Option<Position>,
}

impl From<Publication> for Piece {
    fn from(publication: Publication) -> Self {
        Self { after: publication.position_before(), publication }
    }
}

/// Takes publications in their order and returns the pieces that are complete.
#[derive(Debug, Default)]
pub struct TextPieces(Option<OpenPiece>);

#[derive(Debug)]
struct OpenPiece {
    first: Publication,
    /// What later parts add to the first one.
    joined: Option<JoinedText>,
}

#[derive(Debug)]
struct JoinedText {
    content: Content,
    /// Without its payload.
    last: Publication,
}

#[derive(Debug)]
enum Content {
    Text(BytesMut),
    Delta(Delta),
}

impl TextPieces {
    /// Adds a publication. Returns what is complete: nothing, the piece before it, the publication itself, or both.
    pub fn add(&mut self, publication: Publication) -> [Option<Piece>; 2] {
        if self.0.as_mut().is_some_and(|open| open.join(&publication)) {
            return [None, None];
        }
        let complete = self.take();
        self.0 = OpenPiece::begin(&publication);
        let alone = self.0.is_none().then(|| as_text_part(publication).into());
        [complete, alone]
    }

    /// The piece that could still grow.
    pub fn take(&mut self) -> Option<Piece> {
        self.0.take().map(OpenPiece::close)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The position that the piece that could still grow follows.
    pub fn open_after(&self) -> Option<Position> {
        self.0.as_ref().and_then(|open| open.first.position_before())
    }

    /// Joins all of a list.
    pub fn join(publications: impl IntoIterator<Item = Publication>) -> Vec<Piece> {
        let mut pieces = Self::default();
        let mut all: Vec<_> =
            publications.into_iter().flat_map(|it| pieces.add(it)).flatten().collect();
        all.extend(pieces.take());
        all
    }
}

/// Marks a text that is no typed part as a part of the streamed text.
pub fn as_text_part(publication: Publication) -> Publication {
    let is_text = publication.kind == PayloadKind::Text && publication.end.is_none();
    let kind = match is_text && TypedPart::read(&publication.payload).is_none() {
        true => PayloadKind::TextPart,
        false => publication.kind,
    };
    Publication { kind, ..publication }
}

/// Whether the publication may be joined: it is neither bytes nor the end of the run.
fn is_part(publication: &Publication) -> bool {
    publication.kind != PayloadKind::Binary && publication.end.is_none()
}

impl OpenPiece {
    /// None: it is not joined with others.
    fn begin(publication: &Publication) -> Option<Self> {
        // Without a position it is in no history: a client that resumes between the parts would not get it again.
        let is_kept = publication.position.is_some();
        let fits = publication.payload.len() <= PIECE_BYTES_MAX;
        if !is_kept || !fits || !is_part(publication) {
            return None;
        }
        let joins = !matches!(TypedPart::read(&publication.payload), Some(TypedPart::Other));
        joins.then(|| Self { first: publication.clone(), joined: None })
    }

    fn last(&self) -> &Publication {
        self.joined.as_ref().map_or(&self.first, |joined| &joined.last)
    }

    /// Adds a part. Returns whether it fits.
    fn join(&mut self, next: &Publication) -> bool {
        if !is_part(next) {
            return false;
        }
        let last = self.last();
        let same_source = (next.session, &next.user) == (last.session, &last.user);
        let follows = last.position.is_some_and(|position| next.follows(position));
        if !same_source || !follows || next.rules_changed {
            return false;
        }
        if let Some(joined) = &mut self.joined {
            return joined.append(next);
        }
        let joined = JoinedText::begin(&self.first);
        self.joined = joined.and_then(|mut joined| joined.append(next).then_some(joined));
        self.joined.is_some()
    }

    fn close(self) -> Piece {
        let Self { mut first, joined } = self;
        first = as_text_part(first);
        let after = first.position_before();
        let publication = match joined {
            None => first,
            Some(JoinedText { content, last }) => Publication {
                payload: content.to_payload(),
                kind: first.kind,
                previous: first.previous,
                rules_changed: first.rules_changed,
                ..last
            },
        };
        Piece { publication, after }
    }
}

impl JoinedText {
    fn begin(first: &Publication) -> Option<Self> {
        let content = match TypedPart::read(&first.payload) {
            None => Content::Text(BytesMut::from(&first.payload[..])),
            Some(TypedPart::Delta(delta)) => Content::Delta(delta),
            Some(TypedPart::Other) => return None,
        };
        Some(Self { content, last: Publication { payload: Bytes::new(), ..first.clone() } })
    }

    /// Returns whether the publication is of the same kind and fits.
    fn append(&mut self, next: &Publication) -> bool {
        let fits = self.content.append(&next.payload);
        if fits {
            self.last = Publication { payload: Bytes::new(), ..next.clone() };
        }
        fits
    }
}

impl Content {
    /// Appends what the payload has. Returns whether it is of the same kind and fits.
    fn append(&mut self, payload: &[u8]) -> bool {
        match (self, TypedPart::read(payload)) {
            (Self::Text(text), None) if text.len() + payload.len() <= PIECE_BYTES_MAX => {
                text.extend_from_slice(payload);
                true
            }
            (Self::Delta(delta), Some(TypedPart::Delta(more))) => {
                delta.append(&more, PIECE_BYTES_MAX)
            }
            _ => false,
        }
    }

    fn to_payload(&self) -> Bytes {
        match self {
            Self::Text(text) => Bytes::copy_from_slice(text),
            Self::Delta(delta) => delta.to_payload(),
        }
    }
}

#[cfg(test)]
mod tests;
