//! Messages of Redis on a subscribed connection: cut at any place, the parser either returns the same result from the
//! first part as from the whole, or waits for more.

use tidegate::broker::resp::{InvalidResp, RespMessage, next};

/// The first byte sets the place of a cut; the rest are the bytes that Redis sent.
pub fn check(bytes: &[u8]) {
    let [cut, stream @ ..] = bytes else { return };
    let mut rest = stream;
    loop {
        let parsed = next(rest);
        for cut in [1, usize::from(*cut), rest.len() / 2, rest.len().saturating_sub(1)] {
            if let Some(beginning) = rest.get(..cut) {
                check_prefix(next(beginning), &parsed, cut);
            }
        }
        let Ok(Some((message, taken))) = parsed else { return };
        assert!((1..=rest.len()).contains(&taken), "{message:?} takes {taken} of {}", rest.len());
        rest = &rest[taken..];
    }
}

type Outcome<'a> = Result<Option<(RespMessage<'a>, usize)>, InvalidResp>;

/// Asserts that a message or an error found in the first part is the same in the whole.
fn check_prefix(beginning: Outcome<'_>, whole: &Outcome<'_>, cut: usize) {
    match beginning {
        Ok(None) => {
            let taken = whole.as_ref().ok().and_then(|found| found.as_ref()).map(|found| found.1);
            assert!(taken.is_none_or(|taken| taken > cut), "it was complete after {taken:?}");
        }
        known => assert_eq!(&known, whole, "cut at {cut}"),
    }
}
